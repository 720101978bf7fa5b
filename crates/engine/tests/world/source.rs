//! A source that sends a log of rows with states in between.

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use async_trait::async_trait;
use connector::{Batch, Error, Output, ReadRequest, Result, Source, Spec, StreamIndex, StreamStatus};
use protocol::{Catalog, Json, State, StateMessage, StreamDescriptor, StreamState};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Shared, lock};

/// Row `n` of a stream is (id, n): the log never changes what it once said.
#[derive(Default)]
pub struct Logs {
    /// The id of each row, by stream.
    pub streams: Vec<Vec<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum States {
    None,
    Stream,
    Global,
    Legacy,
}

#[derive(Clone)]
pub struct Script {
    pub states: States,
    /// Rows per batch.
    pub batch: usize,
    /// A state after every so many batches.
    pub every: usize,
    /// Streams in turn, a batch of each.
    pub in_turn: bool,
    /// A last state, so that a later sync does not read the tail again.
    pub last_state: bool,
    /// Fails after this many batches.
    pub fail_after: Option<usize>,
    pub complete: bool,
    /// Added to what is said to have been read.
    pub miscount: i64,
    /// Before each batch.
    pub pause: Duration,
}

impl Script {
    pub fn new(states: States) -> Self {
        Self {
            states,
            batch: 3,
            every: 1,
            in_turn: false,
            last_state: true,
            fail_after: None,
            complete: true,
            miscount: 0,
            pause: Duration::ZERO,
        }
    }
}

pub struct ScriptedSource {
    pub logs: Shared<Logs>,
    pub script: Script,
}

pub fn rows(ids: &[i64], from: usize) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    let versions: Vec<i64> = (from..from + ids.len()).map(|n| n as i64).collect();
    let version: ArrayRef = Arc::new(Int64Array::from(versions));
    RecordBatch::try_from_iter([("id", id), ("version", version)]).unwrap()
}

pub fn number(stream: &StreamDescriptor) -> usize {
    stream.name.trim_start_matches("stream").parse().unwrap()
}

pub fn offset(state: &Json) -> usize {
    state.to::<Value>().unwrap()["offset"].as_u64().unwrap() as usize
}

pub fn blob(offset: usize) -> Json {
    Json::from_value(&json!({ "offset": offset })).unwrap()
}

/// A state of the given kind for all these streams.
pub fn message(states: States, stream: usize, offsets: &[(StreamDescriptor, usize)]) -> Option<StateMessage> {
    let all = || offsets.iter().map(|(name, at)| StreamState::new(name.clone(), Some(blob(*at)))).collect();
    match states {
        States::None => None,
        States::Stream => Some(StateMessage::stream(offsets[stream].0.clone(), Some(blob(offsets[stream].1)))),
        States::Global => {
            Some(State::Global { shared: Some(blob(0)), streams: all(), extra: Default::default() }.into())
        }
        States::Legacy => {
            let map: serde_json::Map<String, Value> =
                offsets.iter().map(|(name, at)| (name.name.clone(), json!(at))).collect();
            Some(State::Legacy(Json::from_value(&map).unwrap()).into())
        }
    }
}

/// How far a state says a stream was read.
pub fn offset_in(message: &StateMessage, stream: &StreamDescriptor) -> Option<usize> {
    match &message.state {
        State::Legacy(blob) => Some(blob.to::<Value>().unwrap()[&stream.name].as_u64().unwrap_or(0) as usize),
        _ => message.of(stream).map(offset),
    }
}

#[async_trait]
impl Source for ScriptedSource {
    fn spec(&self) -> Spec {
        Spec::of::<()>("https://example.test")
    }

    async fn check(&self, _: &Value, _: &CancellationToken) -> Result<()> {
        Ok(())
    }

    async fn discover(&self, _: &Value, _: &CancellationToken) -> Result<Catalog> {
        Ok(Catalog::default())
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        let names: Vec<_> = request.catalog.streams.iter().map(|s| s.stream.descriptor.clone()).collect();
        let logs: Vec<Vec<i64>> = names.iter().map(|name| lock(&self.logs).streams[number(name)].clone()).collect();
        let mut at: Vec<(StreamDescriptor, usize)> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let full = request.catalog.streams[index].sync_mode == protocol::SyncMode::FullRefresh;
            let found = request.state.iter().find_map(|message| offset_in(message, name));
            // A legacy state cannot leave a stream out: one that is read in full begins again.
            let found = found.filter(|_| !full || self.script.states != States::Legacy);
            at.push((name.clone(), found.unwrap_or(0)));
        }
        let begun: Vec<usize> = at.iter().map(|(_, at)| *at).collect();
        let mut batches = 0;
        let mut since_state = vec![0; names.len()];
        let mut done = vec![false; names.len()];
        let mut turn = 0;
        while let Some(index) = (0..names.len()).map(|n| (turn + n) % names.len()).find(|index| !done[*index]) {
            if !self.script.pause.is_zero() {
                tokio::time::sleep(self.script.pause).await;
            }
            if request.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            if self.script.fail_after.is_some_and(|limit| batches >= limit) {
                return Err(Error::transient("The source broke"));
            }
            let from = at[index].1;
            let to = (from + self.script.batch).min(logs[index].len());
            if from < to {
                let batch = Batch::new(StreamIndex(index), rows(&logs[index][from..to], from), 0);
                output.batch(batch).await?;
                at[index].1 = to;
                batches += 1;
                since_state[index] += 1;
            }
            let ended = at[index].1 >= logs[index].len();
            let due = if ended { self.script.last_state } else { since_state[index] >= self.script.every };
            if due && let Some(message) = message(self.script.states, index, &at) {
                output.state(message).await?;
                since_state[index] = 0;
            }
            if ended {
                done[index] = true;
                let read = (at[index].1 - begun[index]) as i64 + self.script.miscount;
                if self.script.complete {
                    output.status(StreamIndex(index), StreamStatus::Complete { read }).await?;
                }
            }
            turn = if self.script.in_turn || ended { index + 1 } else { index };
        }
        Ok(())
    }
}
