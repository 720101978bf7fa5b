//! How fast rows are made and written on this machine, without an engine between:
//! `cargo run --release -p connectors --example throughput -- [ROWS]`.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Commit, Complete, Destination, OpenRequest, ReadRequest, Result, Source, SourceMessage,
    StreamCommit, StreamIndex, StreamPlan, Target, output,
};
use connectors::{sample::SampleSource, sqlite::SqliteDestination};
use protocol::{
    ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, Stream, SyncMode,
    checkpoint::{Claim, Point, Position, Scope},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// Rows of a transaction.
const COMMIT: usize = 65_536;

struct Yes;

#[async_trait]
impl Admission for Yes {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Ok(())
    }
}

fn source_config(rows: i64) -> Value {
    json!({"count": rows, "seed": 1, "records_per_slice": 8192})
}

async fn users() -> Stream {
    let catalog = SampleSource.discover(&json!({}), &CancellationToken::new()).await.unwrap();
    catalog.streams.into_iter().find(|stream| stream.descriptor.name == "users").unwrap()
}

/// Reads users and hands the batches of each transaction to `take`.
async fn read(rows: i64, mut take: impl AsyncFnMut(Vec<Batch>, bool)) {
    let configured = ConfiguredStream {
        stream: users().await,
        sync_mode: SyncMode::FullRefresh,
        destination_sync_mode: DestinationSyncMode::Append,
        cursor_field: vec![],
        primary_key: vec![],
        generation_id: None,
        minimum_generation_id: None,
        sync_id: None,
        extra: Map::new(),
    };
    let request = ReadRequest {
        config: source_config(rows),
        catalog: ConfiguredCatalog { streams: vec![configured], extra: Map::new() },
        state: vec![],
        cancel: CancellationToken::new(),
    };
    // Twice a transaction, so that the source works while one is written.
    let (out, mut input) = output::channel(128 << 20);
    let task = tokio::spawn(async move { SampleSource.read(request, out).await });
    let (mut waiting, mut count) = (Vec::new(), 0);
    while let Some(message) = input.next().await {
        if let SourceMessage::Batch(batch) = message {
            count += batch.rows.num_rows();
            waiting.push(batch);
            if count >= COMMIT {
                take(std::mem::take(&mut waiting), false).await;
                count = 0;
            }
        }
    }
    task.await.unwrap().unwrap();
    take(waiting, true).await;
}

async fn write(rows: i64, sync_mode: SyncMode, mode: DestinationSyncMode) {
    let folder = tempfile::tempdir().unwrap();
    let destination = SqliteDestination::new(folder.path().to_owned(), vec![]);
    let stream = users().await;
    let target = Target {
        stream: stream.descriptor.clone(),
        table: stream.descriptor.clone(),
        columns: protocol::schema::columns(&stream.json_schema),
        sync_mode,
        mode,
        primary_key: vec!["id".into()],
        cursor: Some("updated_at".into()),
        generation: 1,
    };
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let claim = Claim { store: "s".into(), connection: "c".into(), job: 1, attempt: 0, owner: "o".into() };
    let request = OpenRequest {
        config: json!({"destination_path": "out.db"}),
        claim,
        targets: vec![target],
        cancel: CancellationToken::new(),
        notes,
    };
    let mut writer = destination.open(request).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    writer.start(&[StreamPlan::Fresh { generation: 1 }]).await.unwrap();
    let began = Instant::now();
    let mut seq = 0;
    read(rows, async |batches, last| {
        seq += 1;
        let scope = Scope::Stream(stream.descriptor.clone());
        let point = Point { origin: 1, seq };
        let commit = StreamCommit { scope, batches, point, state: None, counts: vec![] };
        if last {
            println!("  loaded after {:.2} s", began.elapsed().as_secs_f64());
            writer.complete(Complete { commit, streams: vec![StreamIndex(0)] }).await.unwrap();
        } else {
            writer.commit(Commit { streams: vec![commit] }).await.unwrap();
        }
    })
    .await;
    writer.close().await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(folder.path().join("out.db")).unwrap().len();
    println!(
        "sample to SQLite, {sync_mode:?} {mode:?}: {rows} rows in {seconds:.2} s, {:.0} rows/s, {} MB",
        rows as f64 / seconds,
        bytes >> 20
    );
}

#[tokio::main]
async fn main() {
    let rows = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    let began = Instant::now();
    read(rows, async |_, _| {}).await;
    let seconds = began.elapsed().as_secs_f64();
    println!("sample alone: {rows} rows in {seconds:.2} s, {:.0} rows/s", rows as f64 / seconds);
    write(rows, SyncMode::Incremental, DestinationSyncMode::Append).await;
    write(rows, SyncMode::FullRefresh, DestinationSyncMode::Overwrite).await;
    write(rows, SyncMode::Incremental, DestinationSyncMode::AppendDedup).await;
}
