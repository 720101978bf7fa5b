//! The line protocol: one JSON object per line, an envelope and one payload.
//!
//! Record data stays text ([`Json`]): the envelope is read, the data is not. Unknown properties of every payload are kept
//! and written again. Unknown message types are [`Message::Other`]: shown or ignored, never fatal.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    Catalog, StreamDescriptor,
    json::{Fields, Json},
    state::StateMessage,
};

#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Record(Record),
    State(StateMessage),
    Log(Log),
    Spec(Payload),
    ConnectionStatus(ConnectionStatus),
    Catalog(Catalog),
    Trace(Trace),
    Control(Payload),
    DestinationCatalog(Payload),
    /// A type that this version does not know, with everything that came.
    Other {
        kind: String,
        fields: Fields,
    },
}

/// A payload that is passed on as it came.
pub type Payload = Json;

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub stream: StreamDescriptor,
    pub data: Json,
    /// Epoch milliseconds.
    pub emitted_at: i64,
    pub meta: Option<RecordMeta>,
    pub extra: Fields,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordMeta {
    #[serde(default)]
    pub changes: Vec<RecordChange>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    pub field: String,
    pub change: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_trace: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    pub status: CheckStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckStatus {
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "TraceOnTheWire")]
pub struct Trace {
    /// Epoch milliseconds; Python connectors send fractions.
    pub emitted_at: f64,
    #[serde(flatten)]
    pub kind: TraceKind,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct TraceOnTheWire {
    emitted_at: f64,
    #[serde(flatten)]
    kind: TraceKind,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl From<TraceOnTheWire> for Trace {
    fn from(wire: TraceOnTheWire) -> Self {
        let TraceOnTheWire { emitted_at, kind, mut extra } = wire;
        // serde hands all members to each flattened part; those of the kind would be written twice.
        extra.shift_remove("type");
        extra.shift_remove(match kind {
            TraceKind::Error { .. } => "error",
            TraceKind::Estimate { .. } => "estimate",
            TraceKind::StreamStatus { .. } => "stream_status",
            TraceKind::Analytics { .. } => "analytics",
        });
        Self { emitted_at, kind, extra }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TraceKind {
    Error { error: TraceError },
    Estimate { estimate: Value },
    StreamStatus { stream_status: StreamStatusTrace },
    Analytics { analytics: Value },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceError {
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_trace: Option<String>,
    /// `system_error`, `config_error` or `transient_error`; absent means system_error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_descriptor: Option<StreamDescriptor>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStatusTrace {
    pub stream_descriptor: StreamDescriptor,
    /// `STARTED`, `RUNNING`, `COMPLETE` or `INCOMPLETE`.
    pub status: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// Reads one line. A line that is not one JSON object with a known shape is an error that says what is wrong.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    fn kind(&self) -> (&str, &'static str) {
        match self {
            Self::Record(_) => ("RECORD", "record"),
            Self::State(_) => ("STATE", "state"),
            Self::Log(_) => ("LOG", "log"),
            Self::Spec(_) => ("SPEC", "spec"),
            Self::ConnectionStatus(_) => ("CONNECTION_STATUS", "connectionStatus"),
            Self::Catalog(_) => ("CATALOG", "catalog"),
            Self::Trace(_) => ("TRACE", "trace"),
            Self::Control(_) => ("CONTROL", "control"),
            Self::DestinationCatalog(_) => ("DESTINATION_CATALOG", "destination_catalog"),
            Self::Other { kind, .. } => (kind, ""),
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, name) = self.kind();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind)?;
        match self {
            Self::Record(record) => map.serialize_entry(name, record)?,
            Self::State(state) => map.serialize_entry(name, state)?,
            Self::Log(log) => map.serialize_entry(name, log)?,
            Self::ConnectionStatus(status) => map.serialize_entry(name, status)?,
            Self::Catalog(catalog) => map.serialize_entry(name, catalog)?,
            Self::Trace(trace) => map.serialize_entry(name, trace)?,
            Self::Spec(payload) | Self::Control(payload) | Self::DestinationCatalog(payload) => {
                map.serialize_entry(name, payload)?;
            }
            Self::Other { fields, .. } => fields.write(&mut map)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let kind: String = fields.require::<_, D::Error>("type")?;
        Ok(match kind.as_str() {
            "RECORD" => Self::Record(fields.require::<_, D::Error>("record")?),
            "STATE" => Self::State(fields.require::<_, D::Error>("state")?),
            "LOG" => Self::Log(fields.require::<_, D::Error>("log")?),
            "SPEC" => Self::Spec(fields.require::<_, D::Error>("spec")?),
            "CONNECTION_STATUS" => Self::ConnectionStatus(fields.require::<_, D::Error>("connectionStatus")?),
            "CATALOG" => Self::Catalog(fields.require::<_, D::Error>("catalog")?),
            "TRACE" => Self::Trace(fields.require::<_, D::Error>("trace")?),
            "CONTROL" => Self::Control(fields.require::<_, D::Error>("control")?),
            "DESTINATION_CATALOG" => Self::DestinationCatalog(fields.require::<_, D::Error>("destination_catalog")?),
            _ => Self::Other { kind, fields },
        })
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream", &self.stream.name)?;
        if let Some(namespace) = &self.stream.namespace {
            map.serialize_entry("namespace", namespace)?;
        }
        map.serialize_entry("data", &self.data)?;
        map.serialize_entry("emitted_at", &self.emitted_at)?;
        if let Some(meta) = &self.meta {
            map.serialize_entry("meta", meta)?;
        }
        self.extra.write(&mut map)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let name: String = fields.require::<_, D::Error>("stream")?;
        let namespace: Option<String> = fields.take::<_, D::Error>("namespace")?;
        let data: Json = fields.require::<_, D::Error>("data")?;
        if !data.text().trim_start().starts_with('{') {
            return Err(D::Error::custom("data: expected an object"));
        }
        Ok(Self {
            stream: StreamDescriptor::new(namespace.as_deref(), name),
            data,
            emitted_at: fields.require::<_, D::Error>("emitted_at")?,
            meta: fields.take::<_, D::Error>("meta")?,
            extra: fields,
        })
    }
}
