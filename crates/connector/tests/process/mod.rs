//! A stranger's source: small scripts in Python that do what real connectors do on a bad day, and one real connector.

#![allow(clippy::unwrap_used)]

mod faker;
mod stranger;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arrow_array::{Array, RecordBatch};
use connector::{
    Batch, Error, ReadRequest, Source, SourceMessage, StreamStatus, output,
    process::{Command, ProcessSource},
};
use protocol::{ConfiguredCatalog, StateMessage};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The script beside this file.
fn script() -> Command {
    let mut command = Command::new("python3");
    command.args = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/process/connector.py").into()];
    command.limits.linger = Duration::from_millis(50);
    command.limits.grace = Duration::from_millis(300);
    command
}

async fn source(command: Command) -> Arc<ProcessSource> {
    Arc::new(ProcessSource::start(command, &CancellationToken::new()).await.unwrap())
}

/// Streams `a` and `n.b`, or whatever a real catalog offers.
fn catalog(streams: &[Value]) -> ConfiguredCatalog {
    let configured: Vec<_> = streams
        .iter()
        .map(|stream| json!({"stream": stream, "sync_mode": "incremental", "destination_sync_mode": "overwrite_dedup", "generation_id": 1}))
        .collect();
    serde_json::from_value(json!({"streams": configured})).unwrap()
}

fn two_streams() -> ConfiguredCatalog {
    let schema = json!({"properties": {"id": {"type": "integer"}, "name": {"type": "string"}}});
    catalog(&[
        json!({"name": "a", "json_schema": schema, "supported_sync_modes": []}),
        json!({"name": "b", "namespace": "n", "json_schema": schema, "supported_sync_modes": []}),
    ])
}

fn request(mode: &str, more: Value) -> ReadRequest {
    let mut config = json!({"mode": mode, "password": "swordfish"});
    config.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    ReadRequest { config, catalog: two_streams(), state: Vec::new(), cancel: CancellationToken::new() }
}

/// Everything that a read said.
#[derive(Default)]
struct Seen {
    batches: Vec<Batch>,
    states: Vec<StateMessage>,
    logs: Vec<(tracing::Level, String)>,
    started: Vec<usize>,
    /// Stream and count.
    complete: Vec<(usize, i64)>,
    /// Batches and states in their order: `2 rows of 0`, `state`.
    order: Vec<String>,
}

impl Seen {
    fn take(&mut self, message: SourceMessage) {
        match message {
            SourceMessage::Batch(batch) => {
                self.order.push(format!("{} rows of {}", batch.rows.num_rows(), batch.stream.0));
                self.batches.push(batch);
            }
            SourceMessage::State(state) => {
                self.order.push("state".to_owned());
                self.states.push(state);
            }
            SourceMessage::Status { stream, status: StreamStatus::Started } => self.started.push(stream.0),
            SourceMessage::Status { stream, status: StreamStatus::Complete { read } } => {
                self.complete.push((stream.0, read))
            }
            // Only a source that counts its own rows says so.
            SourceMessage::Last { .. } => panic!("a stranger's stream ends when its process does"),
            SourceMessage::Log { level, message } => self.logs.push((level, message)),
        }
    }

    /// The values of a column of stream 0, as text.
    fn column(&self, name: &str) -> Vec<Option<String>> {
        let mut values = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.stream.0 == 0) {
            values.extend(texts(&batch.rows, name));
        }
        values
    }

    fn ids(&self) -> Vec<i64> {
        self.column("id").into_iter().flatten().map(|text| text.parse().unwrap()).collect()
    }

    fn rows(&self, stream: usize) -> usize {
        self.batches.iter().filter(|batch| batch.stream.0 == stream).map(|batch| batch.rows.num_rows()).sum()
    }

    fn has_log(&self, level: tracing::Level, part: &str) -> bool {
        self.logs.iter().any(|(logged, text)| *logged == level && text.contains(part))
    }
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = rows.column_by_name(name).unwrap();
    if let Some(texts) = column.as_any().downcast_ref::<arrow_array::StringArray>() {
        return texts.iter().map(|text| text.map(str::to_owned)).collect();
    }
    let numbers = column.as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
    (0..numbers.len()).map(|row| numbers.is_valid(row).then(|| numbers.value(row).to_string())).collect()
}

/// Reads to the end.
async fn read(source: Arc<ProcessSource>, request: ReadRequest) -> (Result<(), Error>, Seen) {
    read_with(source, request, |_, _| {}).await
}

/// Reads to the end and shows each message as it comes.
async fn read_with(
    source: Arc<ProcessSource>,
    request: ReadRequest,
    mut each: impl FnMut(&SourceMessage, &Seen),
) -> (Result<(), Error>, Seen) {
    let (output, mut input) = output::channel(64 << 20);
    let task = tokio::spawn(async move { source.read(request, output).await });
    let mut seen = Seen::default();
    while let Some(message) = input.next().await {
        each(&message, &seen);
        seen.take(message);
    }
    (task.await.unwrap(), seen)
}

async fn read_mode(mode: &str) -> (Result<(), Error>, Seen) {
    read(source(script()).await, request(mode, json!({}))).await
}
