//! Actors: configured sources and destinations.
//!
//! A configuration is checked against its connector's specification before it is stored, its secrets are put away
//! ([`crate::secrets`]), and only a masked one is ever shown. [`Control::resolve`] gives the clear one, for a connector and
//! for nobody else (Invariant 6). Start with [`Control::create_actor`].

use std::collections::{HashMap, hash_map::Entry};

use protocol::Json;
use serde_json::Value;
use store::{ActorFilter, ActorKind, ConnectionFilter, Tx};
use uuid::Uuid;

use crate::{
    Control, Error, ErrorKind, Result, Violation,
    configuration::validate,
    connections::{
        deprecate,
        search::{ActorSearch, Candidate},
    },
    definitions::{self, Definition},
    discovery::Unsaved,
    runner::{ActorInput, ConnectorRef},
    secrets::{self, Redactor, property_path},
    workspaces,
};

#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    pub id: Uuid,
    pub kind: ActorKind,
    pub workspace_id: Uuid,
    pub definition_id: Uuid,
    pub name: String,
    pub definition_name: String,
    pub icon: Option<String>,
    /// For responses: every secret is masked.
    pub configuration: Value,
    /// As stored, with references in place of secrets.
    pub stored: Value,
    pub tombstone: bool,
}

impl Actor {
    /// As a search sees it.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: self.id,
            definition_id: self.definition_id,
            workspace_id: self.workspace_id,
            name: &self.name,
            definition_name: &self.definition_name,
            configuration: &self.configuration,
            stored: &self.stored,
        }
    }
}

/// What a connector needs to run for an actor. Secrets are in clear: it is never stored, logged or shown.
#[derive(Clone)]
pub struct Resolved {
    pub connector: ConnectorRef,
    /// The connector's version: part of the key under which a discovered catalog is kept.
    pub version: String,
    pub config: Value,
    /// Cuts the secrets of this actor out of texts.
    pub redactor: Redactor,
}

impl Resolved {
    /// What an attempt is given.
    pub fn input(self) -> ActorInput {
        ActorInput { connector: self.connector, config: self.config }
    }
}

/// Upstream's word for such an actor in errors.
fn token(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Source => "SOURCE_CONNECTION",
        ActorKind::Destination => "DESTINATION_CONNECTION",
    }
}

/// The row, deleted or not.
pub(crate) async fn row(tx: &mut Tx, kind: ActorKind, id: Uuid) -> Result<store::Actor> {
    tx.actor(kind, id).await?.ok_or_else(|| Error::not_found(token(kind), id))
}

/// The row, for what a deleted actor cannot do any more.
pub(crate) async fn living(tx: &mut Tx, kind: ActorKind, id: Uuid) -> Result<store::Actor> {
    let row = row(tx, kind, id).await?;
    if row.tombstone {
        return Err(Error::not_found(token(kind), id).with_hint("It was deleted; it can only be read."));
    }
    Ok(row)
}

/// `row` as it is shown.
fn shown(row: &store::Actor, definition: &Definition) -> Result<Actor> {
    let stored = configuration(row)?;
    Ok(Actor {
        id: row.id,
        kind: row.kind,
        workspace_id: row.workspace_id,
        definition_id: row.definition_id,
        name: row.name.clone(),
        definition_name: definition.name.clone(),
        icon: definition.profile.icon.clone(),
        configuration: secrets::mask(definition.connection_specification(), &stored),
        stored,
        tombstone: row.tombstone,
    })
}

fn configuration(row: &store::Actor) -> Result<Value> {
    row.config.to().map_err(|error| {
        let message = format!("The stored configuration of {} cannot be read", row.id);
        Error::new(ErrorKind::Internal, "corrupt_configuration", message).with_source(error)
    })
}

/// The secrets of a stored configuration, in clear, by id.
async fn clear_secrets(tx: &mut Tx, stored: &Value) -> Result<HashMap<String, String>> {
    let mut clear = HashMap::new();
    for id in secrets::references(stored) {
        let Ok(secret) = Uuid::parse_str(&id) else { continue };
        if let Some(text) = tx.secret(secret).await? {
            clear.insert(id, text);
        }
    }
    Ok(clear)
}

fn inflate(config: &mut Value, clear: &HashMap<String, String>) -> Result<()> {
    secrets::inflate(config, clear).map_err(|id| {
        Error::new(ErrorKind::Internal, "missing_secret", "A secret of the configuration is not in the store any more.")
            .with_hint("Update the source or destination with the secret's value.")
            .with_source(format!("secret {id}"))
    })
}

/// Checks a configuration that came from outside. Answers it with stored secrets as references and new ones in clear, and
/// the same all in clear.
fn checked(
    definition: &Definition,
    mut incoming: Value,
    stored: Option<&Value>,
    clear: &HashMap<String, String>,
) -> Result<(Value, Value)> {
    if let Some(steps) = secrets::reserved_key(&incoming) {
        return Err(Error::invalid(property_path(&steps), "this name is reserved"));
    }
    let specification = definition.connection_specification();
    let masked: Vec<Violation> = secrets::restore(specification, &mut incoming, stored)
        .iter()
        .map(|steps| Violation {
            property_path: property_path(steps),
            invalid_value: None,
            message: "is masked, but no value is stored here: send the value itself".to_owned(),
        })
        .collect();
    if !masked.is_empty() {
        return Err(Error::violations(masked).with_code("invalid_configuration"));
    }
    let mut whole = incoming.clone();
    inflate(&mut whole, clear)?;
    validate(specification, &whole)?;
    Ok((incoming, whole))
}

/// Deletes the actor's secrets and marks it as deleted. Its connections must be gone.
pub(crate) async fn bury(tx: &mut Tx, mut row: store::Actor, now_ms: i64) -> Result<()> {
    delete_secrets(tx, &secrets::references(&configuration(&row)?)).await?;
    row.tombstone = true;
    row.updated_ms = now_ms;
    tx.update_actor(&row).await?;
    Ok(())
}

/// Takes every connection that `filter` finds out of use; answers which.
pub(crate) async fn deprecate_all(tx: &mut Tx, filter: &ConnectionFilter, now_ms: i64) -> Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = tx.connections(filter).await?.into_iter().map(|connection| connection.id).collect();
    for id in &ids {
        deprecate(tx, *id, now_ms).await?;
    }
    Ok(ids)
}

async fn delete_secrets(tx: &mut Tx, ids: &[String]) -> Result<()> {
    for id in ids.iter().filter_map(|id| Uuid::parse_str(id).ok()) {
        tx.delete_secret(id).await?;
    }
    Ok(())
}

fn text(config: &Value) -> Result<Json> {
    Json::from_value(config).map_err(|error| {
        Error::new(ErrorKind::Internal, "internal", "A configuration cannot be written").with_source(error)
    })
}

impl Control {
    /// Deleted ones too.
    pub async fn actor(&self, kind: ActorKind, id: Uuid) -> Result<Actor> {
        let mut tx = self.read().await?;
        let row = row(&mut tx, kind, id).await?;
        let definition = definitions::find(&mut tx, kind, row.definition_id).await?;
        shown(&row, &definition)
    }

    /// Of one workspace or of all, not the deleted ones, oldest first.
    pub async fn actors(&self, kind: ActorKind, workspace: Option<Uuid>) -> Result<Vec<Actor>> {
        let mut tx = self.read().await?;
        let filter = ActorFilter { kind: Some(kind), workspace_id: workspace, ..Default::default() };
        let mut known: HashMap<Uuid, Definition> = HashMap::new();
        let mut actors = Vec::new();
        for row in tx.actors(&filter).await? {
            let definition = match known.entry(row.definition_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(definitions::find(&mut tx, kind, row.definition_id).await?),
            };
            actors.push(shown(&row, definition)?);
        }
        Ok(actors)
    }

    /// Over all workspaces.
    pub async fn search_actors(&self, kind: ActorKind, search: &ActorSearch) -> Result<Vec<Actor>> {
        let mut actors = self.actors(kind, search.workspace_id).await?;
        actors.retain(|actor| search.matches(&actor.candidate()));
        Ok(actors)
    }

    pub async fn create_actor(
        &self,
        kind: ActorKind,
        workspace: Uuid,
        definition: Uuid,
        name: &str,
        config: Value,
    ) -> Result<Actor> {
        let mut tx = self.write().await?;
        workspaces::row(&mut tx, workspace).await?;
        let definition = definitions::usable(&mut tx, kind, definition, workspace).await?;
        let (config, _) = checked(&definition, config, None, &HashMap::new())?;
        let now = self.now_ms();
        let config = self.put_secrets(&mut tx, workspace, &definition, config).await?;
        let row = store::Actor {
            id: Uuid::new_v4(),
            kind,
            workspace_id: workspace,
            definition_id: definition.id,
            name: name.to_owned(),
            config: text(&config)?,
            doc: text(&Value::Object(Default::default()))?,
            tombstone: false,
            created_ms: now,
            updated_ms: now,
        };
        tx.insert_actor(&row).await?;
        tx.commit().await?;
        shown(&row, &definition)
    }

    /// Replaces name and configuration; a masked secret keeps its stored value.
    pub async fn update_actor(&self, kind: ActorKind, id: Uuid, name: &str, config: Value) -> Result<Actor> {
        let mut tx = self.write().await?;
        let mut row = living(&mut tx, kind, id).await?;
        let definition = definitions::find(&mut tx, kind, row.definition_id).await?;
        let stored = configuration(&row)?;
        let clear = clear_secrets(&mut tx, &stored).await?;
        let (config, _) = checked(&definition, config, Some(&stored), &clear)?;
        let config = self.put_secrets(&mut tx, row.workspace_id, &definition, config).await?;
        let kept = secrets::references(&config);
        let dropped: Vec<String> = secrets::references(&stored).into_iter().filter(|id| !kept.contains(id)).collect();
        delete_secrets(&mut tx, &dropped).await?;
        row.name = name.to_owned();
        row.config = text(&config)?;
        row.updated_ms = self.now_ms();
        tx.update_actor(&row).await?;
        tx.commit().await?;
        shown(&row, &definition)
    }

    /// Deletes the actor and its connections; what runs for them is cancelled, for which this waits at most 10 s.
    /// Repeating it is fine.
    pub async fn delete_actor(&self, kind: ActorKind, id: Uuid) -> Result<()> {
        let filter = match kind {
            ActorKind::Source => ConnectionFilter { source_id: Some(id), ..Default::default() },
            ActorKind::Destination => ConnectionFilter { destination_id: Some(id), ..Default::default() },
        };
        let mut tx = self.write().await?;
        let row = row(&mut tx, kind, id).await?;
        let now = self.now_ms();
        let deprecated = deprecate_all(&mut tx, &filter, now).await?;
        if !row.tombstone {
            bury(&mut tx, row, now).await?;
        }
        tx.commit().await?;
        self.end_all(&deprecated).await
    }

    /// After the commit that took these connections out of use.
    pub(crate) async fn end_all(&self, connections: &[Uuid]) -> Result<()> {
        // As tasks, so that they wait at the same time and go on when the client goes away.
        let mut ends = Vec::new();
        for id in connections.iter().copied() {
            let control = self.clone();
            ends.push(tokio::spawn(async move { control.end_deleted(id).await }));
        }
        let mut outcome = Ok(());
        for end in ends {
            outcome = outcome.and(end.await.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Internal, "internal", "Cancelling a job broke off.").with_source(error))
            }));
        }
        outcome
    }

    /// Puts every clear secret of `config` away and leaves its reference.
    async fn put_secrets(
        &self,
        tx: &mut Tx,
        workspace: Uuid,
        definition: &Definition,
        mut config: Value,
    ) -> Result<Value> {
        for taken in secrets::take(definition.connection_specification(), &config) {
            let id = tx.put_secret(workspace, &taken.clear, self.now_ms()).await?;
            secrets::put(&mut config, &taken.steps, secrets::reference(&id.to_string()));
        }
        Ok(config)
    }

    /// What a connector needs to run for this actor. 404 if there is none or it was deleted.
    pub async fn resolve(&self, kind: ActorKind, id: Uuid) -> Result<Resolved> {
        let mut tx = self.read().await?;
        let row = living(&mut tx, kind, id).await?;
        resolved(&mut tx, &row).await
    }

    /// As [`Control::resolve`], for a configuration that is not stored. With an actor, masked secrets are those of that actor.
    pub(crate) async fn resolve_unsaved(&self, unsaved: Unsaved) -> Result<Resolved> {
        let Unsaved { kind, workspace_id: workspace, definition_id: definition, actor_id, config } = unsaved;
        let mut tx = self.read().await?;
        workspaces::row(&mut tx, workspace).await?;
        let definition = definitions::usable(&mut tx, kind, definition, workspace).await?;
        let stored = match actor_id {
            Some(id) => {
                let row = living(&mut tx, kind, id).await?;
                // Another definition or workspace could send the secret to a place of its own choosing.
                if row.definition_id != definition.id || row.workspace_id != workspace {
                    let path = if kind == ActorKind::Source { "sourceId" } else { "destinationId" };
                    return Err(Error::invalid(path, "belongs to another definition or workspace"));
                }
                Some(configuration(&row)?)
            }
            None => None,
        };
        resolved_anew(&mut tx, &definition, config, stored.as_ref()).await
    }

    /// As [`Control::resolve`], for the configuration that an update of this actor would store.
    pub(crate) async fn resolve_update(&self, kind: ActorKind, id: Uuid, config: Value) -> Result<Resolved> {
        let mut tx = self.read().await?;
        let row = living(&mut tx, kind, id).await?;
        let definition = definitions::find(&mut tx, kind, row.definition_id).await?;
        resolved_anew(&mut tx, &definition, config, Some(&configuration(&row)?)).await
    }
}

async fn resolved_anew(
    tx: &mut Tx,
    definition: &Definition,
    config: Value,
    stored: Option<&Value>,
) -> Result<Resolved> {
    let clear = match stored {
        Some(stored) => clear_secrets(tx, stored).await?,
        None => HashMap::new(),
    };
    let (_, whole) = checked(definition, config, stored, &clear)?;
    let new: Vec<String> =
        secrets::take(definition.connection_specification(), &whole).into_iter().map(|taken| taken.clear).collect();
    Ok(Resolved {
        connector: definition.connector(),
        version: definition.profile.docker_image_tag.clone(),
        config: whole,
        redactor: Redactor::new(clear.values().chain(&new)),
    })
}

pub(crate) async fn resolved(tx: &mut Tx, row: &store::Actor) -> Result<Resolved> {
    let definition = definitions::find(tx, row.kind, row.definition_id).await?;
    let mut config = configuration(row)?;
    let clear = clear_secrets(tx, &config).await?;
    inflate(&mut config, &clear)?;
    Ok(Resolved {
        connector: definition.connector(),
        version: definition.profile.docker_image_tag,
        config,
        redactor: Redactor::new(clear.values()),
    })
}
