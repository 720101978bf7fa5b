//! The Postgres destination: the contract, and what only a real server shows. [`Target`]s are driven without an engine.

mod names;
mod rights;
mod swaps;
mod values;

use std::sync::Arc;

use async_trait::async_trait;
use connector::{
    Admission, Batch, Complete, Destination, OpenRequest, Result, StreamCommit, StreamIndex, StreamPlan, Target,
    Writer,
    testing::{
        conformance::{self, Subject},
        rows::{Row, batch, integers, texts},
    },
};
use connectors::postgres::PostgresDestination;
use protocol::{
    ColumnType, DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Point, Position, Scope},
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::server::Database;
use crate::same;

#[async_trait]
impl Subject for Database {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(PostgresDestination)
    }

    fn config(&self) -> Value {
        Database::config(self)
    }

    async fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        let name = format!("public.\"{}\"", table.name);
        if self.sql(&format!("SELECT to_regclass('{name}')")).is_empty() {
            return None;
        }
        let columns = self.sql(&format!(
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped"
        ));
        let head = "_airbyte_raw_id,_airbyte_extracted_at,_airbyte_meta,_airbyte_generation_id";
        assert!(columns.starts_with(head) && !columns.contains("_leat_"), "{columns}");
        let lines = self.sql(&format!("SELECT to_json(t) FROM {name} t"));
        let own = |line: &str| {
            let mut row: Row = serde_json::from_str(line).unwrap();
            row.retain(|name, _| !head.split(',').any(|metadata| metadata == name));
            row
        };
        Some(lines.lines().map(own).collect())
    }
}

/// Each law needs tables of its own, and a database is made asynchronously.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_destination_keeps_the_contract() {
    let make = || tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(Database::new()));
    conformance::destination(make).await;
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(16))]

    #[test]
    fn postgres_shows_the_same_rows_as_memory(mode in same::modes(), steps in same::steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Database::new().await;
            same::run(&database, mode.0, mode.1, &steps).await;
        });
    }
}

struct Yes;

#[async_trait]
impl Admission for Yes {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Ok(())
    }
}

fn target(mode: DestinationSyncMode, generation: i64) -> Target {
    Target {
        stream: StreamDescriptor::new(None, "users"),
        table: StreamDescriptor::new(None, "users"),
        columns: vec![("id".into(), ColumnType::Integer), ("name".into(), ColumnType::String)],
        sync_mode: SyncMode::FullRefresh,
        mode,
        primary_key: vec!["id".into()],
        cursor: None,
        generation,
    }
}

/// One stream alone, in a job of its own.
struct Job {
    writer: Box<dyn Writer>,
    notes: UnboundedReceiver<(tracing::Level, String)>,
    cancel: CancellationToken,
    target: Target,
    number: i64,
}

/// Opens and recovers.
async fn job(config: Value, number: i64, target: Target) -> Result<Job> {
    let (sender, notes) = unbounded_channel();
    let cancel = CancellationToken::new();
    let claim = Claim {
        store: "store".into(),
        connection: "c".into(),
        job: number,
        attempt: 0,
        owner: format!("owner {number}"),
    };
    let request = OpenRequest { config, claim, targets: vec![target.clone()], cancel: cancel.clone(), notes: sender };
    let mut writer = PostgresDestination.open(request).await?;
    writer.recover(Arc::new(Yes)).await?;
    Ok(Job { writer, notes, cancel, target, number })
}

impl Job {
    async fn start(&mut self) -> Result<()> {
        self.writer.start(&[StreamPlan::Fresh { generation: self.target.generation }]).await
    }

    async fn complete(&mut self, batches: Vec<Batch>) -> Result<i64> {
        let commit = StreamCommit {
            scope: Scope::Stream(self.target.stream.clone()),
            batches,
            point: Point { origin: self.number, seq: 1 },
            state: None,
            counts: vec![(StreamIndex(0), Counts::default())],
        };
        let durable = self.writer.complete(Complete { commit, streams: vec![StreamIndex(0)] }).await?;
        Ok(durable[0].written.iter().map(|(_, rows)| rows).sum())
    }

    fn told(&mut self) -> String {
        let mut told = String::new();
        while let Ok((_, line)) = self.notes.try_recv() {
            told.push_str(&line);
            told.push('\n');
        }
        told
    }
}

fn users(ids: std::ops::RangeInclusive<i64>) -> Batch {
    let names = ids.clone().map(|id| format!("n{id}"));
    Batch::new(StreamIndex(0), batch(vec![("id", integers(ids)), ("name", texts(names))]), 1_700_000_000_123)
}

/// A whole job; what it told.
async fn load(database: &Database, number: i64, target: Target, batches: Vec<Batch>) -> Result<String> {
    load_as(database.config(), number, target, batches).await
}

async fn load_as(config: Value, number: i64, target: Target, batches: Vec<Batch>) -> Result<String> {
    let mut job = job(config, number, target).await?;
    job.start().await?;
    job.complete(batches).await?;
    let told = job.told();
    job.writer.close().await?;
    Ok(told)
}

fn with_user(database: &Database, user: &str, schema: &str) -> Value {
    database.config_with(json!({"username": user, "password": "pw", "schema": schema}))
}
