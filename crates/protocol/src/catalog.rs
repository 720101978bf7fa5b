//! Streams, catalogs and sync modes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The name of a stream. A missing namespace, null and the empty text are the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamDescriptor {
    pub name: String,
    #[serde(default, deserialize_with = "blank_is_none", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl StreamDescriptor {
    pub fn new(namespace: Option<&str>, name: impl Into<String>) -> Self {
        let namespace = namespace.filter(|text| !text.is_empty()).map(str::to_owned);
        Self { name: name.into(), namespace }
    }
}

impl fmt::Display for StreamDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

fn blank_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    FullRefresh,
    Incremental,
}

/// How rows meet the table. `OverwriteDedup` is a value of the platform only: no connector ever sees it on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationSyncMode {
    Append,
    Overwrite,
    AppendDedup,
    OverwriteDedup,
    Update,
    SoftDelete,
}

/// What a source offers (`AirbyteStream`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    #[serde(flatten)]
    pub descriptor: StreamDescriptor,
    pub json_schema: Value,
    #[serde(default, deserialize_with = "null_is_default")]
    pub supported_sync_modes: Vec<SyncMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_defined_cursor: Option<bool>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub default_cursor_field: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub source_defined_primary_key: Vec<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_resumable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_file_based: Option<bool>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    pub streams: Vec<Stream>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A stream as a connection wants it (`ConfiguredAirbyteStream`). Its schema holds only the selected fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfiguredStream {
    pub stream: Stream,
    pub sync_mode: SyncMode,
    pub destination_sync_mode: DestinationSyncMode,
    #[serde(default, deserialize_with = "null_is_default")]
    pub cursor_field: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub primary_key: Vec<Vec<String>>,
    #[serde(default)]
    pub generation_id: Option<i64>,
    #[serde(default)]
    pub minimum_generation_id: Option<i64>,
    #[serde(default)]
    pub sync_id: Option<i64>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ConfiguredStream {
    /// The cursor in force: the source's own wins, then the configured one, then the default one.
    pub fn cursor(&self) -> &[String] {
        let source_defined = self.stream.source_defined_cursor == Some(true);
        if (source_defined || self.cursor_field.is_empty()) && !self.stream.default_cursor_field.is_empty() {
            return &self.stream.default_cursor_field;
        }
        &self.cursor_field
    }

    /// The key in force: the configured one, otherwise the source's.
    pub fn key(&self) -> &[Vec<String>] {
        if self.primary_key.is_empty() { &self.stream.source_defined_primary_key } else { &self.primary_key }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfiguredCatalog {
    pub streams: Vec<ConfiguredStream>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
