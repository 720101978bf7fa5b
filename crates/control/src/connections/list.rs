//! Reading connections: one, all of a workspace, or those that a search finds.
//!
//! Lists come in pieces, so that ten thousand catalogs never lie in memory at once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    vec,
};

use protocol::Json;
use store::{ActorKind, ConnectionFilter};
use uuid::Uuid;

use super::{
    model::Connection,
    row,
    search::{ActorSearch, Search},
};
use crate::{Control, Result, catalog};

/// What is in memory at once: so many connections, or the first few whose catalogs reach this size in bytes.
const PIECE: usize = 50;
const PIECE_BYTES: usize = 4 << 20;

/// Connections in order of creation, still without their catalogs.
pub struct Connections {
    rest: vec::IntoIter<Connection>,
}

impl Control {
    /// A connection with its catalog ([`catalog::text`]), deprecated ones too.
    ///
    /// # Errors
    /// 404: no such connection.
    pub async fn connection(&self, id: Uuid) -> Result<(Connection, Json)> {
        let mut tx = self.read().await?;
        let connection = row::load(&mut tx, id).await?;
        let catalog = catalog::text(&mut tx, &connection).await?;
        Ok((connection, catalog))
    }

    /// The catalog of a connection that was read before.
    pub async fn catalog_text(&self, connection: &Connection) -> Result<Json> {
        catalog::text(&mut self.read().await?, connection).await
    }

    /// Those of a workspace; with `deprecated` the deleted ones too. None for an unknown workspace.
    pub async fn connections(&self, workspace_id: Uuid, deprecated: bool) -> Result<Connections> {
        let filter = ConnectionFilter {
            workspace_id: Some(workspace_id),
            include_deprecated: deprecated,
            ..ConnectionFilter::default()
        };
        let mut tx = self.read().await?;
        let mut links: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        for (connection, operation) in tx.operation_links(workspace_id).await? {
            links.entry(connection).or_default().push(operation);
        }
        let mut found = Vec::new();
        for row in tx.connections(&filter).await? {
            let operations = links.remove(&row.id).unwrap_or_default();
            found.push(row::of(row, operations)?);
        }
        Ok(Connections { rest: found.into_iter() })
    }

    /// Those of all workspaces that match.
    pub async fn search_connections(&self, search: &Search) -> Result<Connections> {
        let mut tx = self.read().await?;
        let filter = ConnectionFilter {
            source_id: search.source_id,
            destination_id: search.destination_id,
            ..ConnectionFilter::default()
        };
        let mut found = Vec::new();
        for row in tx.connections(&filter).await? {
            let connection = row::of(row, Vec::new())?;
            if search.matches(&connection) {
                found.push(connection);
            }
        }
        drop(tx);
        self.keep_matching(ActorKind::Source, search.source.as_ref(), &mut found).await?;
        self.keep_matching(ActorKind::Destination, search.destination.as_ref(), &mut found).await?;
        let mut tx = self.read().await?;
        for connection in &mut found {
            connection.operation_ids = tx.connection_operations(connection.id).await?;
        }
        Ok(Connections { rest: found.into_iter() })
    }

    async fn keep_matching(
        &self,
        kind: ActorKind,
        wanted: Option<&ActorSearch>,
        found: &mut Vec<Connection>,
    ) -> Result<()> {
        let Some(wanted) = wanted else { return Ok(()) };
        let actor_of = |connection: &Connection| match kind {
            ActorKind::Source => connection.source_id,
            ActorKind::Destination => connection.destination_id,
        };
        let mut matching = HashMap::new();
        for id in found.iter().map(actor_of) {
            if let Entry::Vacant(unknown) = matching.entry(id) {
                unknown.insert(wanted.matches(&self.actor(kind, id).await?.candidate()));
            }
        }
        found.retain(|connection| matching.get(&actor_of(connection)) == Some(&true));
        Ok(())
    }
}

impl Connections {
    /// The next few with their catalogs; empty at the end. Equal catalogs share their text.
    pub async fn next(&mut self, control: &Control) -> Result<Vec<(Connection, Arc<Json>)>> {
        let mut loaded = Vec::new();
        if self.rest.len() == 0 {
            return Ok(loaded);
        }
        let mut tx = control.read().await?;
        let mut texts: HashMap<Uuid, Arc<Json>> = HashMap::new();
        let mut bytes = 0;
        while loaded.len() < PIECE && bytes < PIECE_BYTES {
            let Some(connection) = self.rest.next() else { break };
            let text = match texts.get(&connection.catalog_id) {
                Some(text) => text.clone(),
                None => {
                    let text = Arc::new(catalog::text(&mut tx, &connection).await?);
                    texts.insert(connection.catalog_id, text.clone());
                    text
                }
            };
            // Written out, a shared catalog counts each time.
            bytes += text.text().len();
            loaded.push((connection, text));
        }
        Ok(loaded)
    }
}
