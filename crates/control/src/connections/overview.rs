//! Everything about one connection at once, as a page about it needs it.

use store::{ActorKind, JobFilter, JobKind, JobStatus};
use uuid::Uuid;

use super::{Connection, row, rules};
use crate::{
    Control, Result,
    actors::Actor,
    catalog::{
        SyncCatalog,
        merge::{Offered, with_fresh, with_offered},
    },
    discovery::DiscoverRequest,
    operations::Operation,
    schema_change::StreamChange,
};

pub struct Overview {
    pub connection: Connection,
    /// All streams that the source offers.
    pub streams: Vec<Offered>,
    pub source: Actor,
    pub destination: Actor,
    pub operations: Vec<Operation>,
    pub latest_sync: Option<LatestSync>,
    /// A sync is active.
    pub is_syncing: bool,
    /// The discovered catalog of which `streams` tells.
    pub catalog_id: Option<Uuid>,
    /// What a refresh found.
    pub changes: Option<Vec<StreamChange>>,
    pub schema_change: SchemaChange,
}

pub struct LatestSync {
    pub status: JobStatus,
    /// Epoch milliseconds.
    pub created_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaChange {
    NoChange,
    NonBreaking,
    Breaking,
}

impl Control {
    /// With `refresh` the source is asked anew first, which may stop its connections ([`Control::discover`]). Where it
    /// cannot be reached the view is that of before.
    ///
    /// # Errors
    /// 404: no such connection; with `refresh` also for a deleted source.
    pub async fn overview(&self, id: Uuid, refresh: bool) -> Result<Overview> {
        let mut fresh = None;
        let mut changes = None;
        if refresh {
            let source_id = row::load(&mut self.read().await?, id).await?.source_id;
            let request = DiscoverRequest { source_id, connection_id: Some(id), disable_cache: true };
            let discovery = self.discover(request).await?;
            fresh = discovery.found;
            changes = discovery.change.map(|change| change.changes);
        }
        let mut tx = self.read().await?;
        let connection = row::load(&mut tx, id).await?;
        let configured = SyncCatalog::load(&mut tx, &connection).await?;
        let (streams, catalog_id) = match fresh {
            Some(found) => (with_fresh(configured, found.catalog), found.catalog_id),
            None => {
                let discovered = match connection.source_catalog_id {
                    Some(id) => rules::source_catalog(&mut tx, id).await?,
                    None => rules::latest_catalog(&mut tx, connection.source_id).await?.unwrap_or_default(),
                };
                (with_offered(configured, discovered), connection.source_catalog_id)
            }
        };
        let filter =
            JobFilter { connection_id: Some(id), kinds: vec![JobKind::Sync], limit: Some(1), ..JobFilter::default() };
        let latest = tx.jobs(&filter).await?.into_iter().next();
        let latest_sync = latest.map(|job| LatestSync { status: job.status, created_ms: job.created_ms });
        let fetched = tx.latest_catalog_fetch(connection.source_id).await?.map(|fetch| fetch.catalog_id);
        drop(tx);
        let schema_change = match connection.source_catalog_id {
            None => SchemaChange::NoChange,
            Some(_) if connection.breaking_change => SchemaChange::Breaking,
            Some(own) if fetched.is_some_and(|fetched| fetched != own) => SchemaChange::NonBreaking,
            Some(_) => SchemaChange::NoChange,
        };
        Ok(Overview {
            streams,
            source: self.actor(ActorKind::Source, connection.source_id).await?,
            destination: self.actor(ActorKind::Destination, connection.destination_id).await?,
            operations: self.operations_of(id).await?,
            is_syncing: latest_sync.as_ref().is_some_and(|job| !job.status.is_final()),
            latest_sync,
            catalog_id,
            changes,
            schema_change,
            connection,
        })
    }
}
