//! The Postgres source against a real server. [`server`] starts it, [`read`] collects what a read sends.

mod access;
mod destination;
mod incremental;
mod offers;
mod refresh;
mod server;
mod values;

use std::{sync::Arc, time::Duration};

use arrow_array::{Array, ArrayRef, cast::AsArray, types};
use arrow_schema::DataType;
use async_trait::async_trait;
use connector::{
    Change, Output, ReadRequest, Result, Source, SourceMessage, Spec, StreamStatus, output,
    testing::{configured, conformance},
};
use connectors::postgres::PostgresSource;
use protocol::{Catalog, ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, StateMessage, Stream, SyncMode};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use server::Database;

/// What a read sent of one stream.
#[derive(Debug, Default)]
struct Seen {
    /// Cells as text; `∅` is NULL.
    rows: Vec<Vec<String>>,
    /// Rows that came before each.
    states: Vec<(usize, StateMessage)>,
    /// With the row in the whole stream.
    changes: Vec<Change>,
    read: Option<i64>,
}

impl Seen {
    fn column(&self, index: usize) -> Vec<&str> {
        self.rows.iter().map(|row| row[index].as_str()).collect()
    }

    /// Numbers of the first column, in order.
    fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.rows.iter().map(|row| row[0].parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    fn last_state(&self) -> StateMessage {
        self.states.last().unwrap().1.clone()
    }

    fn state_json(&self, index: usize) -> Value {
        state_json(&self.states[index].1)
    }
}

fn state_json(message: &StateMessage) -> Value {
    serde_json::to_value(message).unwrap()["stream"]["stream_state"].clone()
}

struct Outcome {
    result: Result<()>,
    seen: Vec<Seen>,
    logs: Vec<String>,
}

impl Outcome {
    /// Of a read of one stream that succeeded.
    fn one(mut self) -> Seen {
        self.result.unwrap();
        assert_eq!(self.seen.len(), 1);
        let seen = self.seen.remove(0);
        assert_eq!(seen.read, Some(seen.rows.len() as i64), "the count of the wire is the count of the rows");
        seen
    }
}

async fn read(config: &Value, streams: Vec<ConfiguredStream>, state: Vec<StateMessage>) -> Outcome {
    read_until(config, streams, state, CancellationToken::new(), |_, _| {}).await
}

/// `met` is told of each message and its stream's rows so far.
async fn read_until(
    config: &Value,
    streams: Vec<ConfiguredStream>,
    state: Vec<StateMessage>,
    cancel: CancellationToken,
    mut met: impl FnMut(&SourceMessage, &[Seen]),
) -> Outcome {
    let names: Vec<_> = streams.iter().map(|stream| stream.stream.descriptor.clone()).collect();
    let mut seen: Vec<Seen> = names.iter().map(|_| Seen::default()).collect();
    let mut logs = Vec::new();
    let (out, mut input) = output::channel(4 << 20);
    let request = ReadRequest {
        config: config.clone(),
        catalog: ConfiguredCatalog { streams, extra: Map::new() },
        state,
        cancel,
    };
    let take = async {
        while let Some(message) = input.next().await {
            met(&message, &seen);
            match message {
                SourceMessage::Batch(batch) => {
                    let seen = &mut seen[batch.stream.0];
                    assert!(seen.read.is_none());
                    let before = seen.rows.len();
                    for row in 0..batch.rows.num_rows() {
                        seen.rows.push(batch.rows.columns().iter().map(|column| cell(column, row)).collect());
                    }
                    seen.changes.extend(batch.changes.into_iter().map(|c| Change { row: c.row + before, ..c }));
                }
                SourceMessage::State(state) => {
                    let protocol::State::Stream(own) = &state.state else { panic!("a state of one stream") };
                    let seen = &mut seen[names.iter().position(|name| *name == own.descriptor).unwrap()];
                    seen.states.push((seen.rows.len(), state));
                }
                SourceMessage::Last { stream, state, read } => {
                    let seen = &mut seen[stream.0];
                    seen.states.push((seen.rows.len(), state));
                    seen.read = Some(read);
                }
                SourceMessage::Status { status, .. } => assert_eq!(status, StreamStatus::Started),
                SourceMessage::Log { message, .. } => logs.push(message),
            }
        }
    };
    let (result, ()) = tokio::join!(PostgresSource.read(request, out), take);
    Outcome { result, seen, logs }
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "∅".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int16 => column.as_primitive::<types::Int16Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<types::Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<types::Int64Type>().value(row).to_string(),
        DataType::UInt32 => column.as_primitive::<types::UInt32Type>().value(row).to_string(),
        DataType::Float32 => column.as_primitive::<types::Float32Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<types::Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<types::Decimal128Type>().value_as_string(row),
        DataType::Date32 => column.as_primitive::<types::Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<types::TimestampMicrosecondType>().value(row).to_string(),
        DataType::Time64(_) => column.as_primitive::<types::Time64MicrosecondType>().value(row).to_string(),
        other => panic!("{other} is not one of the types of this source"),
    }
}

async fn discover(config: &Value) -> Catalog {
    PostgresSource.discover(config, &CancellationToken::new()).await.unwrap()
}

/// The stream `schema.name`, or `name` of the schema `public`.
async fn offered(config: &Value, name: &str) -> Stream {
    let name = if name.contains('.') { name.to_owned() } else { format!("public.{name}") };
    let streams = discover(config).await.streams;
    streams.into_iter().find(|stream| stream.descriptor.to_string() == name).unwrap()
}

async fn full(config: &Value, name: &str) -> ConfiguredStream {
    configured(offered(config, name).await, SyncMode::FullRefresh, DestinationSyncMode::Overwrite)
}

async fn by(config: &Value, name: &str, cursor: &str) -> ConfiguredStream {
    let mut stream = configured(offered(config, name).await, SyncMode::Incremental, DestinationSyncMode::Append);
    stream.cursor_field = vec![cursor.to_owned()];
    stream
}

/// A whole database as the suite of the contract wants it: with a cursor that is known beforehand.
struct WithCursor;

#[async_trait]
impl Source for WithCursor {
    fn spec(&self) -> Spec {
        PostgresSource.spec()
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        PostgresSource.check(config, cancel).await
    }

    async fn discover(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog> {
        let mut catalog = PostgresSource.discover(config, cancel).await?;
        for stream in &mut catalog.streams {
            stream.default_cursor_field = vec!["c".to_owned()];
        }
        Ok(catalog)
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        PostgresSource.read(request, output).await
    }
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE keyed (id bigint PRIMARY KEY, c integer NOT NULL, t text);
         INSERT INTO keyed SELECT g, g / 3, 'row ' || g FROM generate_series(1, 5000) g;
         CREATE TABLE keyless (c timestamptz, note text);
         INSERT INTO keyless SELECT timestamptz '2024-01-01' + g * interval '1 s', 'x' FROM generate_series(1, 100) g;
         CREATE TABLE empty (c date, id integer PRIMARY KEY);
         CREATE VIEW seen AS SELECT id, c FROM keyed WHERE id % 2 = 0;
         CREATE TABLE wide (id bigint PRIMARY KEY, c bigint, pad text);
         INSERT INTO wide SELECT g, g % 7, repeat('x', 1000) FROM generate_series(1, 40000) g;
         ANALYZE",
    );
    let bad = [
        database.config_with(json!({"replication_method": {"method": "CDC"}})),
        database.config_with(json!({"database": "nowhere"})),
        database.config_with(json!({"port": 1})),
        database.config_with(json!({"schemas": ["nowhere"]})),
        database.config_with(json!({"host": "does-not-exist.invalid"})),
    ];
    conformance::source(Arc::new(WithCursor), database.config(), &bad).await;
}

/// Long enough for a loaded machine; only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_secs(60);
