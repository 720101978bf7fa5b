//! What create and update check alike.

use chrono::DateTime;
use protocol::{Catalog, StreamDescriptor};
use store::{JobFilter, JobStatus, Tx};
use uuid::Uuid;

use super::model::{Connection, NamespaceDefinition};
use crate::{Error, ErrorKind, Result, catalog, runner::Naming, schedule};

/// Longest name, prefix and namespace format.
const MAX_TEXT: usize = 10_000;
/// More operations than anybody links.
const MAX_OPERATIONS: usize = 1_000;

/// Refuses unknown and deleted operations and those of another workspace; answers each id once, in order.
pub(super) async fn check_operations(tx: &mut Tx, ids: &[Uuid], workspace_id: Uuid) -> Result<Vec<Uuid>> {
    if ids.len() > MAX_OPERATIONS {
        return Err(Error::invalid("operationIds", format!("A connection has at most {MAX_OPERATIONS} operations")));
    }
    let mut checked = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        if checked.contains(id) {
            continue;
        }
        let operation = tx.operation(*id).await?.filter(|operation| !operation.tombstone);
        let operation = operation.ok_or_else(|| Error::not_found("STANDARD_SYNC_OPERATION", id))?;
        if operation.workspace_id != workspace_id {
            let message = "This operation belongs to another workspace than the source";
            return Err(Error::invalid(format!("operationIds[{index}]"), message).with_value(id));
        }
        checked.push(*id);
    }
    Ok(checked)
}

pub(super) async fn source_catalog(tx: &mut Tx, id: Uuid) -> Result<Catalog> {
    let text = tx.catalog(id).await?.ok_or_else(|| Error::not_found("ACTOR_CATALOG", id))?;
    text.to().map_err(|error| {
        Error::new(ErrorKind::Internal, "corrupt_catalog", format!("The stored catalog {id} cannot be read"))
            .with_source(error)
    })
}

/// What the latest discovery of a source found, if there was one.
pub(super) async fn latest_catalog(tx: &mut Tx, source_id: Uuid) -> Result<Option<Catalog>> {
    let Some(fetch) = tx.latest_catalog_fetch(source_id).await? else { return Ok(None) };
    source_catalog(tx, fetch.catalog_id).await.map(Some)
}

pub(super) fn check_text(path: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > MAX_TEXT {
        return Err(Error::invalid(path, format!("At most {MAX_TEXT} characters")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(path, "The character U+0000 cannot be stored"));
    }
    Ok(())
}

pub(super) fn check_namespace(definition: NamespaceDefinition, format: Option<&str>) -> Result<()> {
    // An empty format is legal: it means the destination's default.
    if definition == NamespaceDefinition::Customformat && format.is_none() {
        let message = "namespaceDefinition customformat needs a format, as in raw_${SOURCE_NAMESPACE}";
        return Err(Error::invalid("namespaceFormat", message).with_code("invalid_namespace"));
    }
    Ok(())
}

/// For a catalog that stays while the names change.
pub(super) fn check_names(descriptors: &[StreamDescriptor], naming: &Naming) -> Result<()> {
    match catalog::check::collision(descriptors, naming) {
        Some(message) => Err(Error::invalid("namespaceDefinition", message).with_code("invalid_namespace")),
        None => Ok(()),
    }
}

/// When the connection runs next by its schedule, in epoch milliseconds. While a job is active there is no next run: it is
/// worked out when that job ends.
pub(super) async fn next_run_ms(tx: &mut Tx, connection: &Connection, now_ms: i64) -> Result<Option<i64>> {
    if tx.active_job(connection.id).await?.is_some() {
        return Ok(None);
    }
    // A cancelled job does not count as a run.
    let statuses = vec![JobStatus::Succeeded, JobStatus::Failed];
    let filter = JobFilter { connection_id: Some(connection.id), statuses, limit: Some(1), ..JobFilter::default() };
    let last = tx.jobs(&filter).await?.into_iter().next();
    let last_start = last.and_then(|job| DateTime::from_timestamp_millis(job.created_ms));
    let Some(now) = DateTime::from_timestamp_millis(now_ms) else { return Ok(None) };
    let next = schedule::next_run(&connection.schedule, connection.status, last_start, now);
    Ok(next.map(|next| next.timestamp_millis()))
}
