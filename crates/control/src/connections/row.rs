//! A connection in the store: its row, and its way back.

use protocol::Json;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use store::Tx;
use uuid::Uuid;

use super::{
    model::{Connection, Schedule},
    timing::ScheduleKind,
};
use crate::{Error, ErrorKind, Result};

/// Upstream's word for a connection in errors.
pub(crate) const TOKEN: &str = "STANDARD_SYNC";

/// What the row has no column for.
#[derive(Default, Serialize, Deserialize)]
struct Doc {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
}

/// The connection with this id, deprecated ones too. A 404 otherwise.
pub async fn load(tx: &mut Tx, id: Uuid) -> Result<Connection> {
    let row = tx.connection(id).await?.ok_or_else(|| Error::not_found(TOKEN, id))?;
    let operations = tx.connection_operations(id).await?;
    of(row, operations)
}

/// Gives the notices of a connection to the job that is being created, and forgets them.
pub async fn take_notices(tx: &mut Tx, connection: &mut Connection) -> Result<Vec<String>> {
    if connection.notices.is_empty() {
        return Ok(Vec::new());
    }
    let notices = std::mem::take(&mut connection.notices);
    tx.set_connection_doc(connection.id, &doc(connection)?).await?;
    Ok(notices)
}

/// `operation_ids` are those that the store has for this connection.
pub(crate) fn of(row: store::Connection, operation_ids: Vec<Uuid>) -> Result<Connection> {
    let id = row.id;
    let corrupt = |error: serde_json::Error| {
        let message = format!("The stored connection {id} cannot be read");
        Error::new(ErrorKind::Internal, "corrupt_connection", message).with_source(error)
    };
    let schedule = match &row.schedule {
        Some(schedule) => schedule.to().map_err(corrupt)?,
        None => Schedule::Manual,
    };
    let doc: Doc = row.doc.to().map_err(corrupt)?;
    let resources = row.resource_requirements.as_ref().map(Json::to).transpose().map_err(corrupt)?;
    Ok(Connection {
        id,
        workspace_id: row.workspace_id,
        source_id: row.source_id,
        destination_id: row.destination_id,
        name: row.name,
        status: row.status,
        schedule,
        namespace_definition: from_word(row.namespace_definition).map_err(corrupt)?,
        namespace_format: row.namespace_format,
        prefix: row.prefix,
        operation_ids,
        source_catalog_id: row.source_catalog_id,
        catalog_id: row.catalog_id,
        selection: row.selection,
        resource_requirements: resources,
        geography: row.geography.map(from_word).transpose().map_err(corrupt)?.unwrap_or_default(),
        notify_schema_changes: row.notify_schema_changes,
        notify_schema_changes_by_email: row.notify_schema_changes_by_email,
        non_breaking_changes: row
            .non_breaking_changes_preference
            .map(from_word)
            .transpose()
            .map_err(corrupt)?
            .unwrap_or_default(),
        breaking_change: row.breaking_change,
        notices: doc.notices,
        created_ms: row.created_ms,
        updated_ms: row.updated_ms,
    })
}

/// The row of a connection; its operations are links of their own.
pub(crate) fn row(connection: &Connection, next_run_at_ms: Option<i64>) -> Result<store::Connection> {
    let schedule = match &connection.schedule {
        Schedule::Manual => None,
        schedule => Some(json(schedule)?),
    };
    Ok(store::Connection {
        id: connection.id,
        workspace_id: connection.workspace_id,
        source_id: connection.source_id,
        destination_id: connection.destination_id,
        name: connection.name.clone(),
        status: connection.status,
        schedule_type: word(ScheduleKind::of(&connection.schedule))?,
        schedule,
        namespace_definition: word(connection.namespace_definition)?,
        namespace_format: connection.namespace_format.clone(),
        prefix: connection.prefix.clone(),
        source_catalog_id: connection.source_catalog_id,
        catalog_id: connection.catalog_id,
        selection: connection.selection.clone(),
        breaking_change: connection.breaking_change,
        geography: Some(word(connection.geography)?),
        resource_requirements: connection.resource_requirements.as_ref().map(json).transpose()?,
        notify_schema_changes: connection.notify_schema_changes,
        notify_schema_changes_by_email: connection.notify_schema_changes_by_email,
        non_breaking_changes_preference: Some(word(connection.non_breaking_changes)?),
        next_run_at_ms,
        wait_reason: None,
        doc: doc(connection)?,
        created_ms: connection.created_ms,
        updated_ms: connection.updated_ms,
    })
}

fn doc(connection: &Connection) -> Result<Json> {
    json(&Doc { notices: connection.notices.clone() })
}

fn json<T: Serialize>(value: &T) -> Result<Json> {
    Json::from_value(value).map_err(unwritable)
}

fn word<T: Serialize>(value: T) -> Result<String> {
    serde_json::to_value(value).and_then(serde_json::from_value).map_err(unwritable)
}

fn from_word<T: DeserializeOwned>(word: String) -> serde_json::Result<T> {
    serde_json::from_value(Value::String(word))
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "unwritable_connection", "The connection cannot be written as JSON")
        .with_source(error)
}
