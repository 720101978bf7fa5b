//! The catalog as the API speaks it (`AirbyteCatalog`): streams with the configuration that a connection gives them.
//!
//! `stream` and `config` of an entry are required and refused with their path when absent; of a configuration only
//! `syncMode` and `destinationSyncMode` are. Sync modes are those of the oldest contract, so no client ever receives a
//! word that it does not know (Invariant 9).

use protocol::{Catalog, Stream, StreamDescriptor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::body::{Name, spelled_object};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AirbyteCatalog {
    pub streams: Vec<AirbyteStreamAndConfiguration>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AirbyteStreamAndConfiguration {
    pub stream: AirbyteStream,
    pub config: AirbyteStreamConfiguration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AirbyteStream {
    pub name: Name,
    /// The oldest client loses every schema that it reads: an absent, an empty and a `[]` schema are all `None`.
    #[serde(default, deserialize_with = "schema", skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported_sync_modes: Option<Vec<SyncMode>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_defined_cursor: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_cursor_field: Option<Vec<Name>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_defined_primary_key: Option<Vec<Vec<Name>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AirbyteStreamConfiguration {
    pub sync_mode: SyncMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_field: Option<Vec<Name>>,
    pub destination_sync_mode: DestinationSyncMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<Vec<Vec<Name>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_selection_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_fields: Option<Vec<SelectedFieldInfo>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectedFieldInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_path: Option<Vec<Name>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    FullRefresh,
    Incremental,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationSyncMode {
    Append,
    Overwrite,
    AppendDedup,
}

impl From<protocol::SyncMode> for SyncMode {
    fn from(mode: protocol::SyncMode) -> Self {
        match mode {
            protocol::SyncMode::FullRefresh => Self::FullRefresh,
            protocol::SyncMode::Incremental => Self::Incremental,
        }
    }
}

impl From<SyncMode> for protocol::SyncMode {
    fn from(mode: SyncMode) -> Self {
        match mode {
            SyncMode::FullRefresh => Self::FullRefresh,
            SyncMode::Incremental => Self::Incremental,
        }
    }
}

impl From<DestinationSyncMode> for protocol::DestinationSyncMode {
    fn from(mode: DestinationSyncMode) -> Self {
        match mode {
            DestinationSyncMode::Append => Self::Append,
            DestinationSyncMode::Overwrite => Self::Overwrite,
            DestinationSyncMode::AppendDedup => Self::AppendDedup,
        }
    }
}

impl From<protocol::DestinationSyncMode> for DestinationSyncMode {
    /// Modes newer than the contract show as the known one that is nearest.
    fn from(mode: protocol::DestinationSyncMode) -> Self {
        match mode {
            protocol::DestinationSyncMode::Append => Self::Append,
            protocol::DestinationSyncMode::Overwrite => Self::Overwrite,
            protocol::DestinationSyncMode::AppendDedup
            | protocol::DestinationSyncMode::OverwriteDedup
            | protocol::DestinationSyncMode::Update
            | protocol::DestinationSyncMode::SoftDelete => Self::AppendDedup,
        }
    }
}

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    if value.is_null() {
        return Ok(None);
    }
    match spelled_object(value) {
        Some(members) if members.is_empty() => Ok(None),
        Some(members) => Ok(Some(members)),
        None => Err(serde::de::Error::custom("expected an object")),
    }
}

pub(crate) fn names(path: &[String]) -> Vec<Name> {
    path.iter().map(|part| Name::from(part.as_str())).collect()
}

fn keys(keys: &[Vec<String>]) -> Vec<Vec<Name>> {
    keys.iter().map(|path| names(path)).collect()
}

pub(crate) fn texts(path: Vec<Name>) -> Vec<String> {
    path.into_iter().map(String::from).collect()
}

impl From<&Stream> for AirbyteStream {
    fn from(stream: &Stream) -> Self {
        Self {
            name: Name::from(stream.descriptor.name.as_str()),
            json_schema: Some(stream.json_schema.as_object().cloned().unwrap_or_default()),
            supported_sync_modes: Some(stream.supported_sync_modes.iter().map(|mode| (*mode).into()).collect()),
            source_defined_cursor: stream.source_defined_cursor,
            default_cursor_field: Some(names(&stream.default_cursor_field)),
            source_defined_primary_key: Some(keys(&stream.source_defined_primary_key)),
            namespace: stream.descriptor.namespace.as_deref().map(Name::from),
        }
    }
}

impl From<AirbyteStream> for Stream {
    /// A stream without a schema gets `null` as its schema: whoever takes it from a request fills it in or refuses it.
    fn from(stream: AirbyteStream) -> Self {
        let namespace = stream.namespace.map(String::from);
        Self {
            descriptor: StreamDescriptor::new(namespace.as_deref(), stream.name),
            json_schema: stream.json_schema.map_or(Value::Null, Value::Object),
            supported_sync_modes: stream.supported_sync_modes.unwrap_or_default().into_iter().map(Into::into).collect(),
            source_defined_cursor: stream.source_defined_cursor,
            default_cursor_field: texts(stream.default_cursor_field.unwrap_or_default()),
            source_defined_primary_key: stream
                .source_defined_primary_key
                .unwrap_or_default()
                .into_iter()
                .map(texts)
                .collect(),
            is_resumable: None,
            is_file_based: None,
            extra: Map::new(),
        }
    }
}

/// The name with every character that is no ASCII letter or digit replaced by an underscore.
pub fn alias_name(name: &str) -> Name {
    let alias: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    Name::from(alias.as_str())
}

/// What a stream starts with when it was just discovered: selected, its first supported mode, append, and the cursor and
/// key that the source gives.
fn default_configuration(stream: &Stream) -> AirbyteStreamConfiguration {
    AirbyteStreamConfiguration {
        sync_mode: stream.supported_sync_modes.first().map_or(SyncMode::Incremental, |mode| (*mode).into()),
        cursor_field: Some(names(&stream.default_cursor_field)),
        destination_sync_mode: DestinationSyncMode::Append,
        primary_key: Some(keys(&stream.source_defined_primary_key)),
        alias_name: Some(alias_name(&stream.descriptor.name)),
        selected: Some(true),
        suggested: Some(true),
        field_selection_enabled: Some(false),
        selected_fields: None,
    }
}

/// A discovered stream with its default configuration.
pub fn discovered_stream(stream: &Stream) -> AirbyteStreamAndConfiguration {
    AirbyteStreamAndConfiguration { stream: stream.into(), config: default_configuration(stream) }
}

/// The answer of a discover.
pub fn discovered(catalog: &Catalog) -> AirbyteCatalog {
    AirbyteCatalog { streams: catalog.streams.iter().map(discovered_stream).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;

    #[test]
    fn a_discovered_catalog_says_what_the_contract_says() {
        let catalog: Catalog = serde_json::from_value(json!({"streams": [{
            "name": "order lines", "namespace": "shop", "json_schema": {"type": "object"},
            "supported_sync_modes": ["full_refresh", "incremental"], "source_defined_cursor": true,
            "default_cursor_field": ["updated_at"], "source_defined_primary_key": [["id"]], "is_resumable": true
        }]}))
        .unwrap();
        let wire = discovered(&catalog);
        assert_eq!(
            serde_json::to_value(&wire).unwrap(),
            json!({"streams": [{
                "stream": {"name": "order lines", "namespace": "shop", "jsonSchema": {"type": "object"},
                    "supportedSyncModes": ["full_refresh", "incremental"], "sourceDefinedCursor": true,
                    "defaultCursorField": ["updated_at"], "sourceDefinedPrimaryKey": [["id"]]},
                "config": {"syncMode": "full_refresh", "cursorField": ["updated_at"], "destinationSyncMode": "append",
                    "primaryKey": [["id"]], "aliasName": "order_lines", "selected": true, "suggested": true,
                    "fieldSelectionEnabled": false}
            }]})
        );
        let back = Stream::from(wire.streams.into_iter().next().unwrap().stream);
        assert_eq!(back.descriptor, catalog.streams[0].descriptor);
        assert_eq!(back.json_schema, catalog.streams[0].json_schema);
    }

    #[test]
    fn wrong_catalogs_are_refused_with_the_path() {
        let cases = [
            (json!({"streams": [{}]}), "streams[0].stream"),
            (json!({"streams": [{"stream": {"name": "a"}}]}), "streams[0].config"),
            (json!({"streams": [{"stream": {}, "config": {}}]}), "streams[0].stream.name"),
            (json!({"streams": [{"stream": {"name": "a", "jsonSchema": 5}}]}), "streams[0].stream.jsonSchema"),
            (
                json!({"streams": [{"stream": {"name": "a"}, "config": {"syncMode": "full"}}]}),
                "streams[0].config.syncMode",
            ),
            (
                json!({"streams": [{"stream": {"name": "a"}, "config": {"syncMode": "incremental", "destinationSyncMode": "overwrite_dedup"}}]}),
                "streams[0].config.destinationSyncMode",
            ),
            (json!({}), "streams"),
        ];
        for (body, path) in cases {
            let error = parse::<AirbyteCatalog>(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.violations[0].property_path, path, "{body}");
        }
        for schema in [json!(null), json!([]), json!({})] {
            let stream: AirbyteStream = serde_json::from_value(json!({"name": "a", "jsonSchema": schema})).unwrap();
            assert_eq!(stream.json_schema, None);
        }
    }
}
