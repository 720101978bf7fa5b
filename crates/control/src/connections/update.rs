//! Changing a connection. An absent member stays as it is; a catalog is replaced whole; a refused patch changes nothing.

use protocol::Catalog;
use store::{ActorKind, Tx};
use uuid::Uuid;

use super::{
    model::{Connection, ConnectionStatus, Geography, NamespaceDefinition, NonBreakingChanges, ResourceRequirements},
    resources, row, rules,
    timing::ScheduleRequest,
};
use crate::{
    Control, Error, Result, actors,
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
        for _ in 0..TRIES {
            if let Some(connection) = self.try_update(id, &patch).await? {
                self.schedule_changed(id);
                return Ok(connection);
            }
        }
        Err(Error::conflict("changed_meanwhile", format!("Connection {id} is being changed by others: try again")))
    }

    /// `None` if somebody else changed the connection while the patch was worked out.
    async fn try_update(&self, id: Uuid, patch: &ConnectionPatch) -> Result<Option<Connection>> {
        let mut tx = self.read().await?;
        let before = row::load(&mut tx, id).await?;
        let mut after = before.clone();
        if let Some(ids) = &patch.operation_ids {
            after.operation_ids = rules::check_operations(&mut tx, ids, before.workspace_id).await?;
        }
        if let Some(schedule) = patch.schedule.for_update()? {
            after.schedule = schedule;
        }
        apply_members(&mut after, patch)?;
        let replaced = match &patch.catalog {
            Some(_) => Some(catalog::text(&mut tx, &before).await?),
            None => None,
        };
        let descriptors = catalog::descriptors(&mut tx, &before).await?;
        drop(tx);

        let naming = after.naming();
        let referred = patch.source_catalog_id;
        let mut known = self.catalogs_for(before.source_id, referred, patch.catalog.is_some()).await?;
        let mut new_catalog = None;
        if let (Some(requested), Some(replaced)) = (&patch.catalog, replaced) {
            // The catalog that the client refers to knows best, then the one that it replaces.
            let replaced: Catalog = replaced.to().map_err(|error| catalog::corrupt(&before).with_source(error))?;
            known.insert(usize::from(referred.is_some()), replaced);
            let known: Vec<&Catalog> = known.iter().collect();
            new_catalog = Some(check(requested.clone(), "syncCatalog", &known, &naming)?.stored()?);
        } else {
            rules::check_names(&descriptors, &naming)?;
        }
        after.notices.extend(notice(&before, &after, &descriptors));

        let now_ms = self.now_ms();
        after.updated_ms = now_ms;
        let mut tx = self.write().await?;
        if row::load(&mut tx, id).await? != before {
            return Ok(None);
        }
        self.check_references(&mut tx, &before, &after).await?;
        if let Some((text, selection)) = new_catalog {
            after.catalog_id = tx.put_catalog(&text, now_ms).await?;
            after.selection = selection;
        }
        let next_run_at_ms = rules::next_run_ms(&mut tx, &after, now_ms).await?;
        tx.update_connection(&row::row(&after, next_run_at_ms)?).await?;
        if after.operation_ids != before.operation_ids {
            tx.set_connection_operations(id, &after.operation_ids).await?;
        }
        tx.commit().await?;
        Ok(Some(after))
    }

    /// What may have been deleted since it was looked at.
    async fn check_references(&self, tx: &mut Tx, before: &Connection, after: &Connection) -> Result<()> {
        if after.operation_ids != before.operation_ids {
            rules::check_operations(tx, &after.operation_ids, before.workspace_id).await?;
        }
        let comes_back = before.status == ConnectionStatus::Deprecated && after.status != ConnectionStatus::Deprecated;
        if comes_back {
            actors::living(tx, ActorKind::Source, before.source_id).await?;
            actors::living(tx, ActorKind::Destination, before.destination_id).await?;
        }
        Ok(())
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
        check(ConnectionPatch { prefix: Some("p_".to_owned()), ..none() }, Some("raw_shop.p_users instead of raw_shop.users"));
        check(
            ConnectionPatch { namespace_definition: Some(NamespaceDefinition::Destination), ..none() },
            Some("written to users instead of raw_shop.users"),
        );
    }
}
