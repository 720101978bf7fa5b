//! Changing a connection. An absent member stays as it is; a catalog is replaced whole; a refused patch changes nothing.

use protocol::{Catalog, Json};
use store::{ActorKind, CurrentState, Tx};
use uuid::Uuid;

use super::{
    create::known_catalogs,
    model::{Connection, ConnectionStatus, Geography, NamespaceDefinition, NonBreakingChanges, ResourceRequirements},
    resources, row, rules,
    timing::ScheduleRequest,
};
use crate::{
    Control, Result, actors,
    catalog::{self, RequestedCatalog, check::check},
};

/// How often a patch is worked out again because the connection changed under it.
const TRIES: usize = 5;

#[derive(Clone, Debug, Default)]
pub struct ConnectionPatch {
    pub name: Option<String>,
    pub namespace_definition: Option<NamespaceDefinition>,
    /// An empty text is how a format is taken away.
    pub namespace_format: Option<String>,
    /// An empty text is how a prefix is taken away.
    pub prefix: Option<String>,
    /// Replaces all of them.
    pub operation_ids: Option<Vec<Uuid>>,
    pub catalog: Option<RequestedCatalog>,
    pub schedule: ScheduleRequest,
    pub status: Option<ConnectionStatus>,
    pub resource_requirements: Option<ResourceRequirements>,
    pub source_catalog_id: Option<Uuid>,
    pub geography: Option<Geography>,
    pub notify_schema_changes: Option<bool>,
    pub notify_schema_changes_by_email: Option<bool>,
    pub non_breaking_changes: Option<NonBreakingChanges>,
    pub breaking_change: Option<bool>,
}

impl Control {
    /// # Errors
    /// 404: the connection, an operation or the catalog are unknown. 422: a field is not acceptable.
    pub async fn update_connection(&self, id: Uuid, patch: ConnectionPatch) -> Result<Connection> {
        // Worked out before anything is locked: catalogs are large.
        for _ in 0..TRIES {
            let mut tx = self.read().await?;
            let change = Change::work_out(&mut tx, id, &patch).await?;
            drop(tx);
            let mut tx = self.write().await?;
            if row::load(&mut tx, id).await? == change.before {
                return self.apply_change(tx, change).await;
            }
        }
        // The others are always faster: once more, while nobody else can write.
        let mut tx = self.write().await?;
        let change = Change::work_out(&mut tx, id, &patch).await?;
        self.apply_change(tx, change).await
    }

    async fn apply_change(&self, mut tx: Tx, change: Change) -> Result<Connection> {
        let Change { before, mut after, catalog, notice } = change;
        let now_ms = self.now_ms();
        let id = before.id;
        if after.operation_ids != before.operation_ids {
            // One may have been deleted since.
            rules::check_operations(&mut tx, &after.operation_ids, before.workspace_id).await?;
            tx.set_connection_operations(id, &after.operation_ids).await?;
        }
        if before.status == ConnectionStatus::Deprecated && after.status != ConnectionStatus::Deprecated {
            actors::living(&mut tx, ActorKind::Source, before.source_id).await?;
            actors::living(&mut tx, ActorKind::Destination, before.destination_id).await?;
        }
        if let Some((text, selection)) = catalog {
            after.catalog_id = tx.put_catalog(&text, now_ms).await?;
            after.selection = selection;
        }
        if tx.current_state(id).await? != CurrentState::NotSet {
            after.notices.extend(notice);
        }
        after.updated_ms = now_ms;
        let next_run_at_ms = rules::next_run_ms(&mut tx, &after, now_ms).await?;
        tx.update_connection(&row::row(&after, next_run_at_ms)?).await?;
        tx.commit().await?;
        self.schedule_changed(id);
        Ok(after)
    }
}

/// A patch, checked against the connection as it was.
struct Change {
    before: Connection,
    after: Connection,
    /// The new catalog and its selection.
    catalog: Option<(Json, Json)>,
    /// For the next job, if there is a state by then.
    notice: Option<String>,
}

impl Change {
    async fn work_out(tx: &mut Tx, id: Uuid, patch: &ConnectionPatch) -> Result<Self> {
        let before = row::load(tx, id).await?;
        let mut after = before.clone();
        if let Some(ids) = &patch.operation_ids {
            after.operation_ids = rules::check_operations(tx, ids, before.workspace_id).await?;
        }
        if let Some(schedule) = patch.schedule.for_update()? {
            after.schedule = schedule;
        }
        apply_members(&mut after, patch)?;
        let naming = after.naming();
        let mut known = known_catalogs(tx, before.source_id, patch.source_catalog_id, patch.catalog.is_some()).await?;
        let mut catalog = None;
        if let Some(requested) = &patch.catalog {
            // The catalog that the client refers to knows best, then the one that is replaced.
            let replaced = catalog::text(tx, &before).await?.to::<Catalog>();
            let replaced = replaced.map_err(|error| catalog::corrupt(&before).with_source(error))?;
            known.insert(usize::from(patch.source_catalog_id.is_some()), replaced);
            let known: Vec<&Catalog> = known.iter().collect();
            catalog = Some(check(requested.clone(), "syncCatalog", &known, &naming)?.stored()?);
        }
        let mut moved = None;
        if naming != before.naming() {
            let descriptors = catalog::descriptors(tx, &before).await?;
            if catalog.is_none() {
                rules::check_names(&descriptors, &naming)?;
            }
            moved = notice(&before, &after, &descriptors);
        }
        Ok(Self { before, after, catalog, notice: moved })
    }
}

fn apply_members(after: &mut Connection, patch: &ConnectionPatch) -> Result<()> {
    rules::check_text("name", patch.name.as_deref())?;
    rules::check_text("namespaceFormat", patch.namespace_format.as_deref())?;
    rules::check_text("prefix", patch.prefix.as_deref())?;
    if let Some(name) = &patch.name {
        after.name.clone_from(name);
    }
    if let Some(definition) = patch.namespace_definition {
        after.namespace_definition = definition;
    }
    if patch.namespace_format.is_some() {
        after.namespace_format.clone_from(&patch.namespace_format);
    }
    if patch.prefix.is_some() {
        after.prefix.clone_from(&patch.prefix);
    }
    rules::check_namespace(after.namespace_definition, after.namespace_format.as_deref())?;
    if let Some(status) = patch.status {
        after.status = status;
    }
    if let Some(requirements) = &patch.resource_requirements {
        resources::check(requirements)?;
        after.resource_requirements = Some(requirements.clone());
    }
    if patch.source_catalog_id.is_some() {
        after.source_catalog_id = patch.source_catalog_id;
    }
    if let Some(geography) = patch.geography {
        after.geography = geography;
    }
    if let Some(notify) = patch.notify_schema_changes {
        after.notify_schema_changes = notify;
    }
    if let Some(notify) = patch.notify_schema_changes_by_email {
        after.notify_schema_changes_by_email = notify;
    }
    if let Some(preference) = patch.non_breaking_changes {
        after.non_breaking_changes = preference;
    }
    // False clears only the flag: a connection that was set inactive stays so.
    if let Some(breaking) = patch.breaking_change {
        after.breaking_change = breaking;
    }
    Ok(())
}

/// A change of names keeps the state, so the new tables get only what is new: the next job says so.
fn notice(before: &Connection, after: &Connection, descriptors: &[protocol::StreamDescriptor]) -> Option<String> {
    let (old, new) = (before.naming(), after.naming());
    let moved = descriptors.iter().find(|stream| old.map(stream) != new.map(stream))?;
    Some(format!(
        "The prefix or namespace of this connection was changed: stream {moved}, for one, is now written to {} instead of \
         {}. The state was kept, so an incremental stream's new table gets only rows that are new since the last sync. \
         Reset the connection to have all rows there.",
        new.map(moved),
        old.map(moved),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use protocol::StreamDescriptor;

    use super::*;
    use crate::connections::search::tests::connection;

    #[test]
    fn a_change_of_names_is_told_to_the_next_job() {
        let users = [StreamDescriptor::new(Some("shop"), "users")];
        let check = |patch: ConnectionPatch, expected: Option<&str>| {
            let before = connection();
            let mut after = before.clone();
            apply_members(&mut after, &patch).unwrap();
            let notice = notice(&before, &after, &users);
            match expected {
                Some(table) => assert!(notice.unwrap().contains(table)),
                None => assert_eq!(notice, None),
            }
        };
        let none = ConnectionPatch::default;
        check(none(), None);
        check(ConnectionPatch { name: Some("other".to_owned()), ..none() }, None);
        check(ConnectionPatch { prefix: Some(String::new()), ..none() }, None);
        check(
            ConnectionPatch { prefix: Some("p_".to_owned()), ..none() },
            Some("raw_shop.p_users instead of raw_shop.users"),
        );
        check(
            ConnectionPatch { namespace_definition: Some(NamespaceDefinition::Destination), ..none() },
            Some("written to users instead of raw_shop.users"),
        );
    }
}
