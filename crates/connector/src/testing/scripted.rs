//! A source whose rows and states a test chooses: none at all, one per row, one for all streams, one blob.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use protocol::{
    Catalog, ConfiguredStream, DestinationSyncMode, Json, State, StateMessage, Stream, StreamDescriptor, StreamState,
    SyncMode,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::rows::{batch, integers, texts};
use crate::{Batch, Error, Output, ReadRequest, Result, Source, Spec, StreamIndex, StreamStatus};

/// How the source tells where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    None,
    PerRow,
    /// A state of its stream after so many rows.
    Every(i64),
    /// A global state after each row of any stream.
    Global,
    /// One blob for the whole source after each row.
    Legacy,
}

/// Streams of rows `{id, name, updated_at}` with ids from 1 on, read in turns of one row each.
#[derive(Clone, Debug)]
pub struct ScriptedSource {
    pub streams: Vec<(StreamDescriptor, i64)>,
    pub states: States,
    /// Fails (transiently) after so many rows of this read.
    pub fails_after: Option<i64>,
}

impl ScriptedSource {
    pub fn new(states: States, streams: &[(&str, i64)]) -> Self {
        let streams = streams.iter().map(|(name, rows)| (StreamDescriptor::new(None, *name), *rows)).collect();
        Self { streams, states, fails_after: None }
    }

    pub fn catalog(&self) -> Catalog {
        let stream = |(descriptor, _): &(StreamDescriptor, i64)| Stream {
            descriptor: descriptor.clone(),
            json_schema: json!({"type": "object", "properties": {
                "id": {"type": "integer"}, "name": {"type": "string"}, "updated_at": {"type": "integer"},
            }}),
            supported_sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
            source_defined_cursor: Some(true),
            default_cursor_field: vec!["updated_at".to_owned()],
            source_defined_primary_key: vec![vec!["id".to_owned()]],
            is_resumable: Some(self.states != States::None),
            is_file_based: None,
            extra: Map::new(),
        };
        Catalog { streams: self.streams.iter().map(stream).collect(), extra: Map::new() }
    }

    fn state(&self, catalog: &[StreamDescriptor], sent: &[i64], stream: usize) -> Option<StateMessage> {
        let blob = |sent: i64| json_of(&json!({ "sent": sent }));
        let descriptor = catalog[stream].clone();
        match self.states {
            States::None => None,
            States::Every(rows) if sent[stream] % rows != 0 => None,
            States::PerRow | States::Every(_) => Some(StateMessage::stream(descriptor, Some(blob(sent[stream])))),
            States::Global => {
                let streams = catalog.iter().zip(sent);
                let streams = streams.map(|(name, sent)| StreamState::new(name.clone(), Some(blob(*sent)))).collect();
                let shared = Some(json_of(&json!({"total": sent.iter().sum::<i64>()})));
                Some(State::Global { shared, streams, extra: Default::default() }.into())
            }
            States::Legacy => {
                let all: Map<String, Value> =
                    catalog.iter().zip(sent).map(|(name, sent)| (name.name.clone(), (*sent).into())).collect();
                Some(State::Legacy(json_of(&Value::Object(all))).into())
            }
        }
    }

    fn sent_before(&self, request: &ReadRequest, index: usize) -> Result<i64> {
        let descriptor = &request.catalog.streams[index].stream.descriptor;
        let sent = |json: &Json, key: &str| {
            let value: Value = json.to().map_err(|error| Error::config("The state is no JSON").with_source(error))?;
            Ok(value[key].as_i64().unwrap_or_default())
        };
        if let Some(own) = request.state_of(index) {
            return sent(own, "sent");
        }
        match request.state.first().map(|message| &message.state) {
            Some(State::Legacy(blob)) => sent(blob, &descriptor.name),
            _ => Ok(0),
        }
    }
}

fn json_of(value: &Value) -> Json {
    Json::from_value(value).expect("a JSON value is JSON")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[async_trait]
impl Source for ScriptedSource {
    fn spec(&self) -> Spec {
        Spec {
            documentation_url: "https://example.com".to_owned(),
            connection_specification: json!({"type": "object", "properties": {}}),
            supported_destination_sync_modes: vec![],
            protocol_version: "0.2.0".to_owned(),
        }
    }

    async fn check(&self, _config: &Value, _cancel: &CancellationToken) -> Result<()> {
        Ok(())
    }

    async fn discover(&self, _config: &Value, _cancel: &CancellationToken) -> Result<Catalog> {
        Ok(self.catalog())
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        let streams = &request.catalog.streams;
        let names: Vec<_> = streams.iter().map(|stream| stream.stream.descriptor.clone()).collect();
        let mut sent = Vec::new();
        let mut ends = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let rows = self.streams.iter().find(|(own, _)| own == name).map(|(_, rows)| *rows);
            ends.push(rows.ok_or_else(|| Error::config(format!("There is no stream `{name}`")))?);
            sent.push(self.sent_before(&request, index)?);
            output.status(StreamIndex(index), StreamStatus::Started).await?;
        }
        let before = sent.clone();
        let mut total = 0;
        while let Some(index) = (0..sent.len()).filter(|index| sent[*index] < ends[*index]).min_by_key(|i| sent[*i]) {
            if request.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            if self.fails_after == Some(total) {
                return Err(Error::transient("The script says so"));
            }
            let id = sent[index] + 1;
            let rows = batch(vec![
                ("id", integers([id])),
                ("name", texts([format!("row {id}")])),
                ("updated_at", integers([id])),
            ]);
            output.batch(Batch::new(StreamIndex(index), rows, now())).await?;
            sent[index] = id;
            total += 1;
            if let Some(state) = self.state(&names, &sent, index) {
                output.state(state).await?;
            }
        }
        for (index, name) in names.iter().enumerate() {
            // A last state for what no mark covers yet.
            if let States::Every(rows) = self.states
                && sent[index] % rows != 0
            {
                let state = StateMessage::stream(name.clone(), Some(json_of(&json!({"sent": sent[index]}))));
                output.state(state).await?;
            }
            let read = sent[index] - before[index];
            output.status(StreamIndex(index), StreamStatus::Complete { read }).await?;
        }
        Ok(())
    }
}

/// A stream as a connection would want it.
pub fn configured(stream: Stream, sync_mode: SyncMode, mode: DestinationSyncMode) -> ConfiguredStream {
    ConfiguredStream {
        stream,
        sync_mode,
        destination_sync_mode: mode,
        cursor_field: vec![],
        primary_key: vec![],
        generation_id: None,
        minimum_generation_id: None,
        sync_id: None,
        extra: Map::new(),
    }
}
