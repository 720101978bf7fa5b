//! The destination: its laws in every format, crashes at each step, what readers see, and what it refuses.

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Commit, Destination, ErrorKind, OpenRequest, Result, StreamCommit, StreamIndex, StreamPlan,
    Target, Writer,
    testing::{
        conformance::{self, Subject},
        rows::{Row, batch, integers, texts},
    },
};
use protocol::{
    ColumnType, DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Point, Position, Scope},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Inbox, table};

struct Lake {
    inbox: Inbox,
    format: &'static str,
    compression: Value,
}

impl Lake {
    fn new(format: &'static str, compression: Value) -> Self {
        Self { inbox: Inbox::new(), format, compression }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.inbox.path().join("lake").join(name)
    }

    fn files(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder(name)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[async_trait]
impl Subject for Lake {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(self.inbox.destination())
    }

    fn config(&self) -> Value {
        json!({"path": self.inbox.path().join("lake"), "format": self.format, "compression": self.compression})
    }

    fn merges(&self) -> bool {
        false
    }

    async fn rows(&self, name: &StreamDescriptor) -> Option<Vec<Row>> {
        table(&self.inbox, &self.folder(&name.name)).await
    }
}

#[tokio::test]
async fn parquet_keeps_the_contract() {
    conformance::destination(|| Lake::new("parquet", Value::Null)).await;
}

#[tokio::test]
async fn csv_keeps_the_contract() {
    conformance::destination(|| Lake::new("csv", Value::Null)).await;
}

#[tokio::test]
async fn json_lines_keep_the_contract() {
    conformance::destination(|| Lake::new("jsonl", json!("zstd"))).await;
}

struct Yes;

#[async_trait]
impl Admission for Yes {
    async fn confirm(&self, _positions: &[Position]) -> Result<()> {
        Ok(())
    }
}

fn target(sync_mode: SyncMode, mode: DestinationSyncMode, generation: i64) -> Target {
    Target {
        stream: StreamDescriptor::new(None, "s"),
        table: StreamDescriptor::new(None, "s"),
        columns: vec![("id".into(), ColumnType::Integer), ("name".into(), ColumnType::String)],
        sync_mode,
        mode,
        primary_key: vec![],
        cursor: None,
        generation,
    }
}

async fn open(lake: &Lake, job: i64, attempt: i64, target: Target) -> Result<Box<dyn Writer>> {
    let claim =
        Claim { store: "s".into(), connection: "c".into(), job, attempt, owner: format!("owner {job}.{attempt}") };
    let (notes, _) = tokio::sync::mpsc::unbounded_channel();
    let request =
        OpenRequest { config: lake.config(), claim, targets: vec![target], cancel: CancellationToken::new(), notes };
    lake.destination().open(request).await
}

async fn begun(lake: &Lake, job: i64, attempt: i64, target: Target) -> Box<dyn Writer> {
    let plan = match target.sync_mode {
        SyncMode::FullRefresh if attempt == 0 => StreamPlan::Fresh { generation: target.generation },
        _ => StreamPlan::Resume { generation: target.generation },
    };
    let mut writer = open(lake, job, attempt, target).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    writer.start(&[plan]).await.unwrap();
    writer
}

fn piece(ids: std::ops::RangeInclusive<i64>, seq: i64) -> StreamCommit {
    let names = ids.clone().map(|id| format!("n{id}"));
    let rows = batch(vec![("id", integers(ids)), ("name", texts(names))]);
    StreamCommit {
        scope: Scope::Stream(StreamDescriptor::new(None, "s")),
        batches: vec![Batch::new(StreamIndex(0), rows, 1_700_000_000_123)],
        point: Point { origin: 1, seq },
        state: None,
        counts: vec![(StreamIndex(0), Counts::default())],
    }
}

async fn ids(lake: &Lake) -> Vec<i64> {
    let rows = lake.rows(&StreamDescriptor::new(None, "s")).await.unwrap_or_default();
    let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// The commit is the book: whatever of the publishing a crash left undone is done by the next attempt.
#[tokio::test]
async fn what_was_committed_is_published_after_a_crash() {
    let lake = Lake::new("parquet", Value::Null);
    let append = || target(SyncMode::Incremental, DestinationSyncMode::Append, 0);
    let mut writer = begun(&lake, 1, 0, append()).await;
    writer.commit(Commit { streams: vec![piece(1..=2, 1)] }).await.unwrap();
    writer.commit(Commit { streams: vec![piece(3..=4, 2)] }).await.unwrap();
    drop(writer);
    // As if the process had died between the commit and the rename of the second file.
    let own = fs::read_dir(lake.folder("_leat")).unwrap().map(|entry| entry.unwrap().path());
    let own = own.filter(|path| path.is_dir()).collect::<Vec<_>>().remove(0);
    let book: Value = serde_json::from_slice(&fs::read(own.join("book.json")).unwrap()).unwrap();
    let last = book["pending"][0]["files"][0].as_str().unwrap();
    fs::rename(lake.folder("s").join(last), own.join("files").join(last)).unwrap();
    // And as if another step had died before its commit.
    fs::write(own.join("files/leat-torn.parquet"), "PAR1").unwrap();
    assert_eq!(ids(&lake).await, [1, 2]);
    let mut writer = open(&lake, 1, 1, append()).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    assert_eq!(ids(&lake).await, [1, 2, 3, 4]);
    assert_eq!(fs::read_dir(own.join("files")).unwrap().count(), 0, "nothing is left beside");
}

#[tokio::test]
async fn a_replacement_goes_on_after_a_crash_and_keeps_strangers_files() {
    let lake = Lake::new("csv", json!("gzip"));
    let full = |generation| target(SyncMode::FullRefresh, DestinationSyncMode::Overwrite, generation);
    let complete = async |job: i64, rows: std::ops::RangeInclusive<i64>| {
        let mut writer = begun(&lake, job, 0, full(job)).await;
        let complete = connector::Complete { commit: piece(rows, 1), streams: vec![StreamIndex(0)] };
        writer.complete(complete).await.unwrap();
    };
    complete(1, 1..=3).await;
    assert_eq!(ids(&lake).await, [1, 2, 3]);
    let old = lake.files("s");
    assert!(old.len() == 1 && old[0].starts_with("leat-1-1-0-") && old[0].ends_with(".csv.gz"), "{old:?}");
    fs::write(lake.folder("s").join("_notes.txt"), "mine").unwrap();
    fs::create_dir(lake.folder("s").join("_charts")).unwrap();
    complete(2, 4..=5).await;
    assert_eq!(ids(&lake).await, [4, 5]);
    assert_eq!(fs::read_to_string(lake.folder("s").join("_notes.txt")).unwrap(), "mine");
    assert!(lake.folder("s").join("_charts").is_dir());

    // A crash after the exchange and before the old folder went: the old content lies beside.
    let own = fs::read_dir(lake.folder("_leat")).unwrap().map(|entry| entry.unwrap().path());
    let own = own.filter(|path| path.is_dir()).collect::<Vec<_>>().remove(0);
    fs::create_dir_all(own.join("next/s")).unwrap();
    fs::write(own.join("next/s").join(&old[0]), "old").unwrap();
    fs::write(own.join("next/s/_late.txt"), "late").unwrap();
    let mut writer = open(&lake, 2, 1, full(2)).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    assert_eq!(ids(&lake).await, [4, 5]);
    assert!(!own.join("next/s").exists());
    assert_eq!(fs::read_to_string(lake.folder("s").join("_late.txt")).unwrap(), "late");

    // A crash before the exchange: the new content lies beside, or waits in `files`.
    let name = lake.files("s").into_iter().find(|name| name.starts_with("leat-2-")).unwrap();
    fs::create_dir_all(own.join("next/s")).unwrap();
    fs::rename(lake.folder("s").join(&name), own.join("next/s").join(&name)).unwrap();
    fs::write(lake.folder("s").join(&old[0]), "old").unwrap();
    let mut writer = open(&lake, 2, 2, full(2)).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    assert_eq!(ids(&lake).await, [4, 5]);
    assert!(!lake.files("s").contains(&old[0]));
}

/// Readers list the folder as fast as they can while it is replaced again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_is_never_empty_and_never_mixed() {
    let lake = Lake::new("jsonl", Value::Null);
    let full = |generation| target(SyncMode::FullRefresh, DestinationSyncMode::Overwrite, generation);
    let folder = lake.folder("s");
    let done = CancellationToken::new();
    // Also where this test fails before its end.
    let guard = done.clone().drop_guard();
    let watch = {
        let (done, folder) = (done.clone(), folder.clone());
        tokio::task::spawn_blocking(move || {
            let mut listings = 0;
            while !done.is_cancelled() {
                let Ok(entries) = fs::read_dir(&folder) else { continue };
                let generations: std::collections::BTreeSet<String> = entries
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter_map(|name| name.split('-').nth(1).map(str::to_owned))
                    .collect();
                assert_eq!(generations.len(), 1, "one generation at a time: {generations:?}");
                listings += 1;
            }
            listings
        })
    };
    for job in 1..=30 {
        let mut writer = begun(&lake, job, 0, full(job)).await;
        writer.commit(Commit { streams: vec![piece(1..=3, 1)] }).await.unwrap();
        let complete = connector::Complete { commit: piece(4..=5, 2), streams: vec![StreamIndex(0)] };
        writer.complete(complete).await.unwrap();
    }
    drop(guard);
    let listings: u64 = watch.await.unwrap();
    assert!(listings > 0);
    assert_eq!(ids(&lake).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn staging_that_lost_a_file_stops_the_writer() {
    let lake = Lake::new("parquet", Value::Null);
    let mut writer = begun(&lake, 1, 0, target(SyncMode::FullRefresh, DestinationSyncMode::Overwrite, 1)).await;
    writer.commit(Commit { streams: vec![piece(1..=3, 1)] }).await.unwrap();
    let own = fs::read_dir(lake.folder("_leat")).unwrap().map(|entry| entry.unwrap().path());
    let own = own.filter(|path| path.is_dir()).collect::<Vec<_>>().remove(0);
    for entry in fs::read_dir(own.join("files")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let complete = connector::Complete { commit: piece(4..=5, 2), streams: vec![StreamIndex(0)] };
    let error = writer.complete(complete).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Moved, "{error}");
}

#[tokio::test]
async fn refusals() {
    let lake = Lake::new("parquet", Value::Null);
    let dedup = target(SyncMode::Incremental, DestinationSyncMode::AppendDedup, 0);
    let error = open(&lake, 1, 0, dedup).await.err().unwrap();
    assert!(error.kind == ErrorKind::Config && error.message.contains("deduplicated"), "{error}");
    let check = async |config: Value, expected: &str| {
        let error = lake.destination().check(&config, &CancellationToken::new()).await.unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.message.contains(expected), "{config}: {error}");
    };
    lake.inbox.put("file.txt", "x");
    check(json!({}), "path").await;
    check(json!({"path": "../x"}), "leaves the folder").await;
    check(json!({"path": lake.inbox.path().parent().unwrap().join("own/x")}), "belongs to Leat").await;
    check(json!({"path": lake.inbox.path().join("file.txt")}), "not a folder").await;
    check(json!({"path": "x", "format": "xlsx"}), "format").await;
    check(json!({"path": "x", "format": "csv", "compression": "snappy"}), "compression").await;
    check(json!({"path": "/proc/nothing"}), "/proc").await;
    check(json!({"path": "x", "delimiter_type": {"delimiter": ";"}}), "delimiter_type").await;
    let modes = lake.destination().spec().supported_destination_sync_modes;
    assert_eq!(modes, [DestinationSyncMode::Append, DestinationSyncMode::Overwrite]);
    lake.destination().check(&lake.config(), &CancellationToken::new()).await.unwrap();
    assert!(!lake.folder("").exists(), "a check leaves nothing behind");
}

/// The metadata columns, and changes of source and destination side by side.
#[tokio::test]
async fn metadata_comes_first() {
    let lake = Lake::new("jsonl", Value::Null);
    let mut odd = target(SyncMode::Incremental, DestinationSyncMode::Append, 3);
    odd.columns[1].1 = ColumnType::Number;
    let mut writer = begun(&lake, 7, 0, odd).await;
    let mut piece = piece(1..=2, 1);
    let rows = piece.batches.remove(0);
    let change = connector::Change { row: 1, field: "id".into(), change: "TRUNCATED", reason: "SOURCE_X" };
    piece.batches = vec![rows.with_changes(vec![change])];
    writer.commit(Commit { streams: vec![piece] }).await.unwrap();
    let text = fs::read_to_string(lake.folder("s").join(&lake.files("s")[0])).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let expected =
        ["_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id", "id", "name"];
    assert_eq!(names, expected);
    assert_eq!(rows[0]["_airbyte_extracted_at"], "2023-11-14T22:13:20.123Z");
    assert_eq!(rows[0]["_airbyte_generation_id"], 3);
    assert_eq!(
        rows[1]["_airbyte_meta"],
        json!({"sync_id": 7, "changes": [
            {"field": "id", "change": "TRUNCATED", "reason": "SOURCE_X"},
            {"field": "name", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"},
        ]})
    );
}
