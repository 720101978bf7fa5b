//! Brings the store in line with the file: its sources, destinations and connections, known by their names.
//!
//! What was synced before keeps its id and with it its state. Whatever would make that state meaningless (another kind of
//! source, another destination) is refused, never followed in silence (Invariant 10).

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use connectors::Native;
use control::{
    Control, ErrorKind,
    connections::{ConnectionPatch, ConnectionStatus, NewConnection, ScheduleRequest},
    discovery::DiscoverRequest,
    runner::ActorKind,
};
use protocol::{Catalog, DestinationSyncMode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    explain,
    file::{Actor, Connection, File, Refused, streams, typed},
    outside,
    registry::Registry,
};

/// The connector of each actor that is needed, found once.
pub struct Plan {
    found: HashMap<(&'static str, String), Found>,
}

struct Found {
    native: Native,
    specification: Value,
    /// What a destination says that it can do; empty = not said.
    modes: Vec<DestinationSyncMode>,
}

/// A connection that is ready to be synced.
pub struct Prepared {
    pub connection: Uuid,
    pub remarks: Vec<String>,
}

fn word(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Source => "source",
        ActorKind::Destination => "destination",
    }
}

impl Plan {
    pub async fn resolve(
        registry: &mut Registry,
        file: &File,
        chosen: &[&Connection],
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mut found = HashMap::new();
        for connection in chosen {
            for (kind, name) in
                [(ActorKind::Source, &connection.source), (ActorKind::Destination, &connection.destination)]
            {
                if found.contains_key(&(word(kind), name.clone())) {
                    continue;
                }
                let actor = actor(file, kind, name)?;
                let (connector, native) = outside::connect(registry, file, kind, actor, cancel).await?;
                let spec = match kind {
                    ActorKind::Source => registry.source(&connector).map(|source| source.spec()),
                    ActorKind::Destination => registry.destination(&connector).map(|destination| destination.spec()),
                };
                let spec = spec.context("the connector is gone from the registry")?;
                let modes = spec.supported_destination_sync_modes;
                let specification = spec.connection_specification;
                found.insert((word(kind), name.clone()), Found { native, specification, modes });
            }
        }
        Ok(Self { found })
    }

    /// Source, destination, catalog and connection as the file has them now.
    pub async fn apply(&self, control: &Control, file: &File, connection: &Connection) -> Result<Prepared> {
        let workspaces = control.workspaces().await.map_err(explain::control)?;
        let workspace = workspaces.first().context("the store has no workspace")?.id;
        let source = self.actor(control, workspace, file, ActorKind::Source, &connection.source).await?;
        let destination = self.actor(control, workspace, file, ActorKind::Destination, &connection.destination).await?;
        let (offered, catalog_id) =
            discover(control, source).await.with_context(|| format!("source `{}`", connection.source))?;
        let (catalog, remarks) = streams::catalog(connection, &offered)?;
        self.check_modes(connection, &catalog)?;

        let mut existing = None;
        let mut all = control.connections(workspace, false).await.map_err(explain::control)?;
        loop {
            let piece = all.next(control).await.map_err(explain::control)?;
            if piece.is_empty() {
                break;
            }
            let named = piece.into_iter().map(|(known, _)| known).find(|known| known.name == connection.name);
            existing = existing.or(named);
        }
        let Some(existing) = existing else {
            let new = NewConnection {
                source_id: source,
                destination_id: destination,
                status: ConnectionStatus::Active,
                name: Some(connection.name.clone()),
                namespace_definition: Some(connection.namespace),
                namespace_format: connection.namespace_format.clone(),
                prefix: connection.prefix.clone(),
                operation_ids: Vec::new(),
                catalog: Some(catalog),
                schedule: ScheduleRequest::default(),
                resource_requirements: Some(connection.resources.clone()),
                source_catalog_id: catalog_id,
                geography: None,
                notify_schema_changes: None,
                non_breaking_changes: None,
            };
            let created = control.create_connection(new).await.map_err(|error| in_file(error, connection))?;
            return Ok(Prepared { connection: created.id, remarks });
        };
        if (existing.source_id, existing.destination_id) != (source, destination) {
            let message = format!(
                "connections.{}: it was between another source and destination before, whose state does not fit: give it \
                 another name, or give the old ones their names back",
                connection.name
            );
            return Err(Refused(message).into());
        }
        let patch = ConnectionPatch {
            namespace_definition: Some(connection.namespace),
            namespace_format: Some(connection.namespace_format.clone().unwrap_or_default()),
            prefix: Some(connection.prefix.clone().unwrap_or_default()),
            catalog: Some(catalog),
            status: Some(ConnectionStatus::Active),
            resource_requirements: Some(connection.resources.clone()),
            source_catalog_id: catalog_id,
            ..ConnectionPatch::default()
        };
        control.update_connection(existing.id, patch).await.map_err(|error| in_file(error, connection))?;
        Ok(Prepared { connection: existing.id, remarks })
    }

    async fn actor(
        &self,
        control: &Control,
        workspace: Uuid,
        file: &File,
        kind: ActorKind,
        name: &str,
    ) -> Result<Uuid> {
        let Found { native, specification, .. } = self.found(kind, name)?;
        let mut config = actor(file, kind, name)?.config.clone();
        typed::fit(&mut config, specification);
        let place = format!("{}s.{name}", word(kind));
        let known = control.actors(kind, Some(workspace)).await.map_err(explain::control)?;
        let saved = match known.into_iter().find(|actor| actor.name == name) {
            None => control.create_actor(kind, workspace, native.definition_id, name, config).await,
            Some(known) if known.definition_id != native.definition_id => {
                let message = format!(
                    "{place}.connector: it was {} before, whose state does not fit: give the {} another name",
                    known.definition_name,
                    word(kind)
                );
                return Err(Refused(message).into());
            }
            Some(known) => control.update_actor(kind, known.id, name, config).await,
        };
        match saved {
            Ok(actor) => Ok(actor.id),
            Err(error) if error.kind == ErrorKind::Invalid => Err(explain::configuration(&error, &place).into()),
            Err(error) => Err(explain::control(error)),
        }
    }

    fn found(&self, kind: ActorKind, name: &str) -> Result<&Found> {
        self.found
            .get(&(word(kind), name.to_owned()))
            .with_context(|| format!("{} `{name}` was not looked at", word(kind)))
    }

    fn check_modes(&self, connection: &Connection, catalog: &control::catalog::RequestedCatalog) -> Result<()> {
        let found = self.found(ActorKind::Destination, &connection.destination)?;
        for entry in &catalog.streams {
            // Both overwrite; the other is a word of the platform, not of connectors.
            let mode = match entry.config.destination_sync_mode {
                DestinationSyncMode::OverwriteDedup => DestinationSyncMode::AppendDedup,
                mode => mode,
            };
            if !found.modes.is_empty() && !found.modes.contains(&mode) {
                let message = format!(
                    "connections.{}: the destination `{}` cannot take stream `{}` in this mode",
                    connection.name, found.native.name, entry.stream.descriptor
                );
                return Err(Refused(message).into());
            }
            if !entry.stream.supported_sync_modes.is_empty()
                && !entry.stream.supported_sync_modes.contains(&entry.config.sync_mode)
            {
                let message = format!(
                    "connections.{}: stream `{}` can only be read in full; choose a mode that begins with `full_refresh_`",
                    connection.name, entry.stream.descriptor
                );
                return Err(Refused(message).into());
            }
        }
        Ok(())
    }
}

fn actor<'a>(file: &'a File, kind: ActorKind, name: &str) -> Result<&'a Actor> {
    let found = match kind {
        ActorKind::Source => file.source(name),
        ActorKind::Destination => file.destination(name),
    };
    found.with_context(|| format!("the file has no {} `{name}`", word(kind)))
}

async fn discover(control: &Control, source: Uuid) -> Result<(Catalog, Option<Uuid>)> {
    let request = DiscoverRequest { source_id: source, connection_id: None, disable_cache: true };
    let discovery = control.discover(request).await.map_err(explain::control)?;
    match (discovery.found, discovery.job.failure) {
        (Some(found), _) => Ok((found.catalog, found.catalog_id)),
        (None, Some(failure)) => bail!(explain::failure(&failure)),
        (None, None) => bail!("the source did not answer with its streams"),
    }
}

/// A refusal of the connection, in the words of the file.
fn in_file(error: control::Error, connection: &Connection) -> anyhow::Error {
    if error.kind != ErrorKind::Invalid {
        return explain::control(error);
    }
    Refused(format!("connections.{}: {error}", connection.name)).into()
}
