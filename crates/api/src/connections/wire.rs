//! What the connection operations take and answer. Names, types and words are those of the oldest contract
//! (Invariant 9).

use control::{
    Error, ErrorKind,
    catalog::{RequestedCatalog, RequestedConfig, RequestedEntry, StreamSelection},
    connections::{
        Connection, ConnectionPatch, ConnectionStatus, CronText, Geography, Interval, NamespaceDefinition,
        NewConnection, NonBreakingChanges, ResourceRequirements, Schedule, ScheduleKind, ScheduleRequest, Search,
        TimeUnit,
    },
};
use protocol::Json;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    body::{Name, Text},
    catalog::{AirbyteCatalog, AirbyteStreamConfiguration, SelectedFieldInfo, SyncMode, alias_name, names, texts},
    destinations::DestinationSearch,
    sources::SourceSearch,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCreate {
    source_id: Uuid,
    destination_id: Uuid,
    status: ConnectionStatus,
    name: Option<Name>,
    namespace_definition: Option<NamespaceDefinition>,
    namespace_format: Option<Name>,
    prefix: Option<Name>,
    operation_ids: Option<Vec<Uuid>>,
    sync_catalog: Option<AirbyteCatalog>,
    schedule: Option<ConnectionSchedule>,
    schedule_type: Option<ScheduleKind>,
    schedule_data: Option<ConnectionScheduleData>,
    resource_requirements: Option<ResourceRequirements>,
    source_catalog_id: Option<Uuid>,
    geography: Option<Geography>,
    notify_schema_changes: Option<bool>,
    non_breaking_changes_preference: Option<NonBreakingChanges>,
}

impl From<ConnectionCreate> for NewConnection {
    fn from(body: ConnectionCreate) -> Self {
        Self {
            source_id: body.source_id,
            destination_id: body.destination_id,
            status: body.status,
            name: body.name.map(String::from),
            namespace_definition: body.namespace_definition,
            namespace_format: body.namespace_format.map(String::from),
            prefix: body.prefix.map(String::from),
            operation_ids: body.operation_ids.unwrap_or_default(),
            catalog: body.sync_catalog.map(requested_catalog),
            schedule: schedule_request(body.schedule, body.schedule_type, body.schedule_data),
            resource_requirements: body.resource_requirements,
            source_catalog_id: body.source_catalog_id,
            geography: body.geography,
            notify_schema_changes: body.notify_schema_changes,
            non_breaking_changes: body.non_breaking_changes_preference,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionUpdate {
    connection_id: Uuid,
    name: Option<Name>,
    namespace_definition: Option<NamespaceDefinition>,
    namespace_format: Option<Name>,
    prefix: Option<Name>,
    operation_ids: Option<Vec<Uuid>>,
    sync_catalog: Option<AirbyteCatalog>,
    schedule: Option<ConnectionSchedule>,
    schedule_type: Option<ScheduleKind>,
    schedule_data: Option<ConnectionScheduleData>,
    status: Option<ConnectionStatus>,
    resource_requirements: Option<ResourceRequirements>,
    source_catalog_id: Option<Uuid>,
    geography: Option<Geography>,
    notify_schema_changes: Option<bool>,
    notify_schema_changes_by_email: Option<bool>,
    non_breaking_changes_preference: Option<NonBreakingChanges>,
    breaking_change: Option<bool>,
}

impl ConnectionUpdate {
    pub fn into_patch(self) -> (Uuid, ConnectionPatch) {
        let patch = ConnectionPatch {
            name: self.name.map(String::from),
            namespace_definition: self.namespace_definition,
            namespace_format: self.namespace_format.map(String::from),
            prefix: self.prefix.map(String::from),
            operation_ids: self.operation_ids,
            catalog: self.sync_catalog.map(requested_catalog),
            schedule: schedule_request(self.schedule, self.schedule_type, self.schedule_data),
            status: self.status,
            resource_requirements: self.resource_requirements,
            source_catalog_id: self.source_catalog_id,
            geography: self.geography,
            notify_schema_changes: self.notify_schema_changes,
            notify_schema_changes_by_email: self.notify_schema_changes_by_email,
            non_breaking_changes: self.non_breaking_changes_preference,
            breaking_change: self.breaking_change,
        };
        (self.connection_id, patch)
    }
}

/// The older form of a schedule, and the inside of the newer one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSchedule {
    units: i64,
    time_unit: TimeUnit,
}

impl From<ConnectionSchedule> for Interval {
    fn from(schedule: ConnectionSchedule) -> Self {
        Self { units: schedule.units, unit: schedule.time_unit }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionScheduleData {
    #[serde(skip_serializing_if = "Option::is_none")]
    basic_schedule: Option<ConnectionSchedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Cron>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cron {
    cron_expression: Text<1000>,
    cron_time_zone: Text<200>,
}

fn schedule_request(
    legacy: Option<ConnectionSchedule>,
    kind: Option<ScheduleKind>,
    data: Option<ConnectionScheduleData>,
) -> ScheduleRequest {
    let data = data.unwrap_or_default();
    ScheduleRequest {
        legacy: legacy.map(Into::into),
        kind,
        basic: data.basic_schedule.map(Into::into),
        cron: data.cron.map(Into::into),
    }
}

impl From<Cron> for CronText {
    fn from(cron: Cron) -> Self {
        Self { expression: cron.cron_expression.into(), zone: cron.cron_time_zone.into() }
    }
}

fn requested_catalog(catalog: AirbyteCatalog) -> RequestedCatalog {
    let mut streams = Vec::with_capacity(catalog.streams.len());
    for entry in catalog.streams {
        let config = entry.config;
        let field_path = |field: SelectedFieldInfo| texts(field.field_path.unwrap_or_default());
        let config = RequestedConfig {
            sync_mode: config.sync_mode.into(),
            destination_sync_mode: config.destination_sync_mode.into(),
            cursor_field: config.cursor_field.map(texts),
            primary_key: config.primary_key.map(|key| key.into_iter().map(texts).collect()),
            selected: config.selected,
            field_selection_enabled: config.field_selection_enabled,
            selected_fields: config.selected_fields.map(|fields| fields.into_iter().map(field_path).collect()),
        };
        streams.push(RequestedEntry { stream: entry.stream.into(), config });
    }
    RequestedCatalog { streams }
}

// No Debug: a configuration may hold a secret (Invariant 6).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSearch {
    connection_id: Option<Uuid>,
    name: Option<Name>,
    namespace_definition: Option<NamespaceDefinition>,
    namespace_format: Option<Name>,
    prefix: Option<Name>,
    source_id: Option<Uuid>,
    destination_id: Option<Uuid>,
    schedule: Option<ConnectionSchedule>,
    schedule_type: Option<ScheduleKind>,
    schedule_data: Option<ConnectionScheduleData>,
    status: Option<ConnectionStatus>,
    source: Option<SourceSearch>,
    destination: Option<DestinationSearch>,
}

impl From<ConnectionSearch> for Search {
    fn from(body: ConnectionSearch) -> Self {
        let data = body.schedule_data.unwrap_or_default();
        Self {
            connection_id: body.connection_id,
            name: body.name.map(String::from),
            namespace_definition: body.namespace_definition,
            namespace_format: body.namespace_format.map(String::from),
            prefix: body.prefix.map(String::from),
            source_id: body.source_id,
            destination_id: body.destination_id,
            legacy: body.schedule.map(Into::into),
            kind: body.schedule_type,
            basic: data.basic_schedule.map(Into::into),
            cron: data.cron.map(Into::into),
            status: body.status,
            source: body.source.map(Into::into),
            destination: body.destination.map(Into::into),
        }
    }
}

/// A connection as every operation answers it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRead<C = CatalogRead> {
    pub connection_id: Uuid,
    pub name: String,
    pub namespace_definition: NamespaceDefinition,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    pub source_id: Uuid,
    pub destination_id: Uuid,
    pub operation_ids: Vec<Uuid>,
    pub sync_catalog: C,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ConnectionSchedule>,
    pub schedule_type: ScheduleKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_data: Option<ConnectionScheduleData>,
    pub status: ConnectionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_requirements: Option<ResourceRequirements>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_catalog_id: Option<Uuid>,
    pub geography: Geography,
    pub breaking_change: bool,
    pub notify_schema_changes: bool,
    pub notify_schema_changes_by_email: bool,
    pub non_breaking_changes_preference: NonBreakingChanges,
    pub workspace_id: Uuid,
    /// Epoch seconds; the newer contract spells it so.
    #[serde(rename = "created_at")]
    pub created_at: i64,
}

impl ConnectionRead {
    /// With the selected streams only.
    pub fn of(connection: Connection, catalog: &Json) -> Result<Self, Error> {
        let sync_catalog = CatalogRead::of(&connection, catalog)?;
        Ok(Self::with_catalog(connection, sync_catalog))
    }
}

impl<C> ConnectionRead<C> {
    pub fn with_catalog(connection: Connection, sync_catalog: C) -> Self {
        let (schedule, schedule_data) = match connection.schedule.clone() {
            Schedule::Manual => (None, None),
            Schedule::Basic { units, unit } => {
                let basic = ConnectionSchedule { units, time_unit: unit };
                (Some(basic), Some(ConnectionScheduleData { basic_schedule: Some(basic), cron: None }))
            }
            Schedule::Cron { expression, zone } => {
                let cron = Cron {
                    cron_expression: Text::from(expression.as_str()),
                    cron_time_zone: Text::from(zone.as_str()),
                };
                (None, Some(ConnectionScheduleData { basic_schedule: None, cron: Some(cron) }))
            }
        };
        Self {
            connection_id: connection.id,
            name: connection.name,
            namespace_definition: connection.namespace_definition,
            namespace_format: connection.namespace_format,
            prefix: connection.prefix,
            source_id: connection.source_id,
            destination_id: connection.destination_id,
            operation_ids: connection.operation_ids,
            sync_catalog,
            schedule,
            schedule_type: ScheduleKind::of(&connection.schedule),
            schedule_data,
            status: connection.status,
            resource_requirements: connection.resource_requirements,
            source_catalog_id: connection.source_catalog_id,
            geography: connection.geography,
            breaking_change: connection.breaking_change,
            notify_schema_changes: connection.notify_schema_changes,
            notify_schema_changes_by_email: connection.notify_schema_changes_by_email,
            non_breaking_changes_preference: connection.non_breaking_changes,
            workspace_id: connection.workspace_id,
            created_at: connection.created_ms.div_euclid(1000),
        }
    }
}

/// The streams of a connection. Their schemas are passed on as the text that is stored.
#[derive(Debug, Default, Serialize)]
pub struct CatalogRead {
    pub streams: Vec<EntryRead>,
}

#[derive(Debug, Serialize)]
pub struct EntryRead {
    pub stream: StreamRead,
    pub config: AirbyteStreamConfiguration,
}

/// Read in the words of the store, written in those of the API.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub struct StreamRead {
    pub name: String,
    pub json_schema: Json,
    #[serde(default)]
    supported_sync_modes: Vec<SyncMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_defined_cursor: Option<bool>,
    #[serde(default)]
    default_cursor_field: Vec<String>,
    #[serde(default)]
    source_defined_primary_key: Vec<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Deserialize)]
pub struct StreamsRead {
    pub streams: Vec<StreamRead>,
}

impl CatalogRead {
    pub fn of(connection: &Connection, catalog: &Json) -> Result<Self, Error> {
        let corrupt = |error: serde_json::Error| {
            let message = format!("The stored catalog of connection {} cannot be read", connection.id);
            Error::new(ErrorKind::Internal, "corrupt_catalog", message).with_source(error)
        };
        let catalog: StreamsRead = catalog.to().map_err(corrupt)?;
        let selection: Vec<StreamSelection> = connection.selection.to().map_err(corrupt)?;
        let streams = catalog.streams.into_iter().zip(selection).map(|(stream, selection)| {
            let config = configuration(&stream.name, selection);
            EntryRead { stream, config }
        });
        Ok(Self { streams: streams.collect() })
    }
}

/// How a synced stream shows.
pub fn configuration(name: &str, selection: StreamSelection) -> AirbyteStreamConfiguration {
    let field = |name: &String| SelectedFieldInfo { field_path: Some(vec![Name::from(name.as_str())]) };
    AirbyteStreamConfiguration {
        sync_mode: selection.sync_mode.into(),
        cursor_field: Some(names(&selection.cursor_field)),
        destination_sync_mode: selection.destination_sync_mode.into(),
        primary_key: Some(selection.primary_key.iter().map(|path| names(path)).collect()),
        alias_name: Some(alias_name(name)),
        selected: Some(true),
        suggested: None,
        field_selection_enabled: Some(selection.fields.is_some()),
        selected_fields: selection.fields.map(|fields| fields.iter().map(field).collect()),
    }
}
