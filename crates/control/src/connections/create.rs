//! A new connection.

use protocol::Catalog;
use store::{ActorKind, Tx};
use uuid::Uuid;

use super::{
    model::{
        Connection, ConnectionStatus, Geography, NamespaceDefinition, NonBreakingChanges, ResourceRequirements, naming,
    },
    resources, row, rules,
    timing::ScheduleRequest,
};
use crate::{
    Control, Error, Result, actors,
    catalog::{RequestedCatalog, SyncCatalog, check::check},
    workspaces::{self, Workspace},
};

/// What a create says; absent members get their defaults.
#[derive(Clone, Debug)]
pub struct NewConnection {
    pub source_id: Uuid,
    pub destination_id: Uuid,
    pub status: ConnectionStatus,
    /// Default: `<source> <> <destination>`.
    pub name: Option<String>,
    pub namespace_definition: Option<NamespaceDefinition>,
    pub namespace_format: Option<String>,
    pub prefix: Option<String>,
    pub operation_ids: Vec<Uuid>,
    /// Default: no streams.
    pub catalog: Option<RequestedCatalog>,
    pub schedule: ScheduleRequest,
    pub resource_requirements: Option<ResourceRequirements>,
    pub source_catalog_id: Option<Uuid>,
    /// Default: that of the workspace.
    pub geography: Option<Geography>,
    /// Upstream's server of 2023 forgot it on create.
    pub notify_schema_changes: Option<bool>,
    pub non_breaking_changes: Option<NonBreakingChanges>,
}

impl Control {
    /// # Errors
    /// 404: source, destination, operation or catalog are unknown, or deleted. 422: a field is not acceptable.
    pub async fn create_connection(&self, new: NewConnection) -> Result<Connection> {
        let mut tx = self.read().await?;
        // Not found before not acceptable, as upstream.
        Parties::load(&mut tx, &new).await?;
        let known = known_catalogs(&mut tx, new.source_id, new.source_catalog_id, new.catalog.is_some()).await?;
        drop(tx);
        let schedule = new.schedule.for_create()?;
        rules::check_text("name", new.name.as_deref())?;
        rules::check_text("namespaceFormat", new.namespace_format.as_deref())?;
        rules::check_text("prefix", new.prefix.as_deref())?;
        if let Some(requirements) = &new.resource_requirements {
            resources::check(requirements)?;
        }
        let namespace_definition = new.namespace_definition.unwrap_or_default();
        rules::check_namespace(namespace_definition, new.namespace_format.as_deref())?;
        let naming = naming(namespace_definition, new.namespace_format.as_deref(), new.prefix.as_deref());
        let known: Vec<&Catalog> = known.iter().collect();
        let catalog = match &new.catalog {
            Some(requested) => check(requested.clone(), "syncCatalog", &known, &naming)?,
            None => SyncCatalog::default(),
        };
        let (text, selection) = catalog.stored()?;

        let now_ms = self.now_ms();
        let mut tx = self.write().await?;
        // Once more, where nothing can be deleted any more before the connection is there.
        let Parties { source, destination, operation_ids, geography } = Parties::load(&mut tx, &new).await?;
        let connection = Connection {
            id: Uuid::new_v4(),
            workspace_id: source.workspace_id,
            source_id: source.id,
            destination_id: destination.id,
            name: new.name.unwrap_or_else(|| format!("{} <> {}", source.name, destination.name)),
            status: new.status,
            schedule,
            namespace_definition,
            namespace_format: new.namespace_format,
            prefix: new.prefix,
            operation_ids,
            source_catalog_id: new.source_catalog_id,
            catalog_id: tx.put_catalog(&text, now_ms).await?,
            selection,
            resource_requirements: new.resource_requirements,
            geography: new.geography.unwrap_or(geography),
            notify_schema_changes: new.notify_schema_changes.unwrap_or(false),
            notify_schema_changes_by_email: false,
            non_breaking_changes: new.non_breaking_changes.unwrap_or_default(),
            breaking_change: false,
            notices: Vec::new(),
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let next_run_at_ms = rules::next_run_ms(&mut tx, &connection, now_ms).await?;
        tx.insert_connection(&row::row(&connection, next_run_at_ms)?).await?;
        tx.set_connection_operations(connection.id, &connection.operation_ids).await?;
        tx.commit().await?;
        self.schedule_changed(connection.id);
        Ok(connection)
    }
}

/// The catalogs from which a requested one is completed, the best first. With `needed` false the one that the client refers
/// to is only looked for: catalogs are large.
pub(super) async fn known_catalogs(
    tx: &mut Tx,
    source_id: Uuid,
    referred: Option<Uuid>,
    needed: bool,
) -> Result<Vec<Catalog>> {
    let mut known = Vec::new();
    match referred {
        Some(id) if needed => known.push(rules::source_catalog(tx, id).await?),
        Some(id) if !tx.catalog_exists(id).await? => return Err(Error::not_found("ACTOR_CATALOG", id)),
        _ => {}
    }
    if needed {
        known.extend(rules::latest_catalog(tx, source_id).await?);
    }
    Ok(known)
}

/// What a connection refers to.
struct Parties {
    source: store::Actor,
    destination: store::Actor,
    operation_ids: Vec<Uuid>,
    /// That of the workspace.
    geography: Geography,
}

impl Parties {
    /// Upstream takes a deleted source or destination and makes a connection that can never run, a known complaint:
    /// here it is not found.
    async fn load(tx: &mut Tx, new: &NewConnection) -> Result<Self> {
        let source = actors::living(tx, ActorKind::Source, new.source_id).await?;
        let destination = actors::living(tx, ActorKind::Destination, new.destination_id).await?;
        if source.workspace_id != destination.workspace_id {
            let message = "Source and destination belong to different workspaces";
            return Err(Error::invalid("destinationId", message).with_code("other_workspace"));
        }
        let operation_ids = rules::check_operations(tx, &new.operation_ids, source.workspace_id).await?;
        let geography = Workspace::of(&workspaces::row(tx, source.workspace_id).await?)?.profile.default_geography;
        Ok(Self { source, destination, operation_ids, geography })
    }
}
