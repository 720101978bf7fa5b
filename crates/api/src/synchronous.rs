//! The answers of calls that ask a connector and wait: checks, discoveries, and specifications, which only look so.

use control::{
    connections::ConnectionStatus,
    discovery::{Check, ConnectionChange, Discovery, SynchronousJob},
    runner::Failure,
    schema_change::{FieldChange, FieldChangeKind, StreamChange},
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::catalog::{AirbyteCatalog, discovered};

/// Its times are in milliseconds, unlike those of other jobs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SynchronousJobRead {
    id: Uuid,
    config_type: ConfigType,
    config_id: String,
    created_at: i64,
    ended_at: i64,
    succeeded: bool,
    connector_configuration_updated: bool,
    logs: LogRead,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<Failure>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigType {
    CheckConnectionSource,
    CheckConnectionDestination,
    DiscoverSchema,
    GetSpec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRead {
    log_lines: Vec<String>,
}

impl SynchronousJobRead {
    pub fn of(job: SynchronousJob, config_type: ConfigType) -> Self {
        Self {
            id: job.id,
            config_type,
            config_id: job.config_id.to_string(),
            created_at: job.created_ms,
            ended_at: job.ended_ms,
            succeeded: job.succeeded,
            connector_configuration_updated: false,
            logs: LogRead { log_lines: job.log_lines },
            failure_reason: job.failure,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckConnectionRead {
    /// Always there: the oldest clients die without it.
    status: CheckStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    job_info: SynchronousJobRead,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum CheckStatus {
    Succeeded,
    Failed,
}

impl CheckConnectionRead {
    pub fn of(check: Check, config_type: ConfigType) -> Self {
        Self {
            status: if check.succeeded { CheckStatus::Succeeded } else { CheckStatus::Failed },
            message: check.message,
            job_info: SynchronousJobRead::of(check.job, config_type),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceDiscoverSchemaRead {
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<AirbyteCatalog>,
    job_info: SynchronousJobRead,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog_diff: Option<CatalogDiff>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaking_change: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_status: Option<ConnectionStatus>,
}

impl From<Discovery> for SourceDiscoverSchemaRead {
    fn from(discovery: Discovery) -> Self {
        let (catalog, catalog_id) = match discovery.found {
            Some(found) => (Some(discovered(&found.catalog)), found.catalog_id),
            None => (None, None),
        };
        let (catalog_diff, breaking_change, connection_status) = match discovery.change {
            Some(ConnectionChange { changes, breaking, status }) => {
                (Some(CatalogDiff::from(changes)), Some(breaking), Some(status))
            }
            None => (None, None, None),
        };
        Self {
            catalog,
            job_info: SynchronousJobRead::of(discovery.job, ConfigType::DiscoverSchema),
            catalog_id,
            catalog_diff,
            breaking_change,
            connection_status,
        }
    }
}

/// What changed between two catalogs.
#[derive(Serialize)]
pub struct CatalogDiff {
    transforms: Vec<StreamTransform>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamTransform {
    transform_type: &'static str,
    stream_descriptor: StreamDescriptor,
    /// An array: that is what the oldest contract says.
    #[serde(skip_serializing_if = "Option::is_none")]
    update_stream: Option<Vec<FieldTransform>>,
}

#[derive(Serialize)]
struct StreamDescriptor {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldTransform {
    transform_type: &'static str,
    field_name: Vec<String>,
    breaking: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_field: Option<FieldSchema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_field: Option<FieldSchema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_field_schema: Option<FieldSchemaUpdate>,
}

#[derive(Serialize)]
struct FieldSchema {
    schema: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldSchemaUpdate {
    old_schema: Value,
    new_schema: Value,
}

impl From<Vec<StreamChange>> for CatalogDiff {
    fn from(changes: Vec<StreamChange>) -> Self {
        Self { transforms: changes.into_iter().map(StreamTransform::from).collect() }
    }
}

impl From<StreamChange> for StreamTransform {
    fn from(change: StreamChange) -> Self {
        let (transform_type, stream, update_stream) = match change {
            StreamChange::Added(stream) => ("add_stream", stream, None),
            StreamChange::Removed(stream) => ("remove_stream", stream, None),
            StreamChange::Updated(stream, fields) => {
                ("update_stream", stream, Some(fields.into_iter().map(FieldTransform::from).collect()))
            }
        };
        let stream_descriptor = StreamDescriptor { name: stream.name, namespace: stream.namespace };
        Self { transform_type, stream_descriptor, update_stream }
    }
}

impl From<FieldChange> for FieldTransform {
    fn from(change: FieldChange) -> Self {
        let mut transform = Self {
            transform_type: "",
            field_name: change.path,
            breaking: change.breaking,
            add_field: None,
            remove_field: None,
            update_field_schema: None,
        };
        match change.kind {
            FieldChangeKind::Added { schema } => {
                transform.transform_type = "add_field";
                transform.add_field = Some(FieldSchema { schema });
            }
            FieldChangeKind::Removed { schema } => {
                transform.transform_type = "remove_field";
                transform.remove_field = Some(FieldSchema { schema });
            }
            FieldChangeKind::Changed { old, new } => {
                transform.transform_type = "update_field_schema";
                transform.update_field_schema = Some(FieldSchemaUpdate { old_schema: old, new_schema: new });
            }
        }
        transform
    }
}
