//! SQLite: the contract, and what only a real file shows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Complete, Destination, ErrorKind, OpenRequest, Result, StreamCommit, StreamIndex, StreamPlan,
    Target, Writer,
    testing::{
        conformance::{self, Subject},
        rows::{Row, batch, integers, texts},
    },
};
use connectors::sqlite::SqliteDestination;
use protocol::{
    ColumnType, DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Point, Position, Scope},
};
use rusqlite::{Connection, types::ValueRef};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

pub struct File {
    folder: TempDir,
}

impl File {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out.db")
    }

    fn reader(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn one<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        self.reader().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

#[async_trait]
impl Subject for File {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(SqliteDestination::new(self.folder.path().join("local"), vec![]))
    }

    fn config(&self) -> Value {
        json!({"destination_path": self.path()})
    }

    async fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        let reader = self.reader();
        let mut statement = reader.prepare(&format!("SELECT * FROM \"{}\" ORDER BY rowid", table.name)).ok()?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        assert_eq!(names[..4], ["_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id"]);
        let mut rows = statement.query([]).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cell = |index: usize| match row.get_ref(index).unwrap() {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap().into(),
                ValueRef::Blob(_) => panic!("no column holds bytes"),
            };
            all.push((4..names.len()).map(|index| (names[index].clone(), cell(index))).collect());
        }
        Some(all)
    }
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    conformance::destination(File::new).await;
}

pub struct Yes;

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

struct Job {
    writer: Box<dyn Writer>,
    notes: UnboundedReceiver<(tracing::Level, String)>,
    cancel: CancellationToken,
    target: Target,
    number: i64,
}

/// Opens, recovers, starts afresh.
async fn job(file: &File, number: i64, target: Target) -> Job {
    let (sender, notes) = unbounded_channel();
    let cancel = CancellationToken::new();
    let claim = Claim {
        store: "store".into(),
        connection: "c".into(),
        job: number,
        attempt: 0,
        owner: format!("owner {number}"),
    };
    let request = OpenRequest {
        config: file.config(),
        claim,
        targets: vec![target.clone()],
        cancel: cancel.clone(),
        notes: sender,
    };
    let mut writer = file.destination().open(request).await.unwrap();
    writer.recover(Arc::new(Yes)).await.unwrap();
    Job { writer, notes, cancel, target, number }
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
}

fn users(ids: std::ops::RangeInclusive<i64>) -> Batch {
    let names = ids.clone().map(|id| format!("n{id}"));
    Batch::new(StreamIndex(0), batch(vec![("id", integers(ids)), ("name", texts(names))]), 1_700_000_000_123)
}

async fn load(file: &File, number: i64, target: Target, batches: Vec<Batch>) -> Result<i64> {
    let mut job = job(file, number, target).await;
    job.start().await?;
    let rows = job.complete(batches).await?;
    job.writer.close().await?;
    Ok(rows)
}

use DestinationSyncMode::{Append, AppendDedup, Overwrite, OverwriteDedup};

#[tokio::test]
async fn a_swap_keeps_views_indexes_triggers_and_columns() {
    let file = File::new();
    load(&file, 1, target(Overwrite, 1), vec![users(1..=3)]).await.unwrap();
    file.reader()
        .execute_batch(
            "ALTER TABLE users ADD COLUMN note TEXT;
             UPDATE users SET note = 'mine';
             CREATE VIEW names AS SELECT name FROM users;
             CREATE UNIQUE INDEX by_id ON users (id);
             CREATE TABLE log (id INTEGER REFERENCES users (id));
             INSERT INTO log VALUES (1);
             CREATE TRIGGER on_insert AFTER INSERT ON users BEGIN INSERT INTO log VALUES (new.id); END;
             CREATE TRIGGER on_log AFTER INSERT ON log BEGIN SELECT count(*) FROM users; END;",
        )
        .unwrap();
    load(&file, 2, target(Overwrite, 2), vec![users(2..=5)]).await.unwrap();
    assert_eq!(file.one::<i64>("SELECT count(*) FROM names"), 4, "a view goes on reading the table");
    let text: String = file.one("SELECT sql FROM sqlite_schema WHERE name = 'names'");
    assert_eq!(text, "CREATE VIEW names AS SELECT name FROM users");
    assert_eq!(
        file.one::<i64>(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('by_id', 'on_insert') AND tbl_name = 'users'"
        ),
        2
    );
    assert_eq!(file.one::<i64>("SELECT count(*) FROM log"), 1, "a swap inserts nothing into the table");
    assert_eq!(
        file.one::<i64>("SELECT count(note) FROM users"),
        0,
        "a column that is not in the catalog stays and is NULL"
    );
    let text: String = file.one("SELECT sql FROM sqlite_schema WHERE name = 'log'");
    assert!(text.contains("REFERENCES users"), "{text}");
    file.reader().execute_batch("INSERT INTO users SELECT 'x', 'y', 'z', 1, 77, 'n', NULL").unwrap();
    assert_eq!(file.one::<i64>("SELECT max(id) FROM log"), 77, "the trigger works");
    assert_eq!(file.one::<String>("PRAGMA integrity_check"), "ok");
    // A unique index that the new rows break is named.
    let error = load(&file, 3, target(Overwrite, 3), vec![users(1..=2), users(2..=2)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("`by_id`"), "{error}");
    assert_eq!(file.one::<i64>("SELECT count(*) FROM users"), 5, "old rows stay");
}

#[tokio::test]
async fn readers_never_see_an_empty_table() {
    let file = File::new();
    load(&file, 1, target(Overwrite, 1), vec![users(1..=500)]).await.unwrap();
    let path = file.path();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looking = stop.clone();
    let reader = std::thread::spawn(move || {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        while !looking.load(std::sync::atomic::Ordering::Relaxed) {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            seen.insert(
                connection
                    .query_row("SELECT count(*), count(DISTINCT _airbyte_generation_id) FROM users", [], row)
                    .unwrap(),
            );
        }
        seen
    });
    for number in 2..12 {
        load(&file, number, target(Overwrite, number), vec![users(1..=500)]).await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let seen = reader.join().unwrap();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(500, 1)], "old rows or new rows, all of them");
}

#[tokio::test(start_paused = true)]
async fn another_program_is_waited_for_and_cancel_ends_the_wait() {
    let file = File::new();
    load(&file, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let mut waiting = job(&file, 2, target(Append, 2)).await;
    let other = file.reader();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let cancel = waiting.cancel.clone();
    let ending = async {
        // The clock of the test runs ahead whenever nothing else can.
        while waiting.notes.recv().await.is_some_and(|(_, text)| !text.contains("another program")) {}
        cancel.cancel();
    };
    let plan = [StreamPlan::Fresh { generation: 2 }];
    let (started, ()) = tokio::join!(waiting.writer.start(&plan), ending);
    assert_eq!(started.unwrap_err().kind, ErrorKind::Cancelled);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(load(&file, 3, target(Append, 3), vec![users(2..=2)]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_lock_that_goes_away_is_met_by_retry() {
    let file = File::new();
    load(&file, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let other = file.reader();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writing = load(&file, 2, target(Append, 2), vec![users(2..=2)]);
    let releasing = async {
        tokio::task::yield_now().await;
        other.execute_batch("ROLLBACK").unwrap();
    };
    let (rows, ()) = tokio::join!(writing, releasing);
    assert_eq!(rows.unwrap(), 1);
}

#[tokio::test]
async fn a_long_statement_is_interrupted() {
    let file = File::new();
    load(&file, 1, target(AppendDedup, 1), vec![users(1..=10)]).await.unwrap();
    // A trigger that takes for ever stands for a merge of many rows.
    file.reader()
        .execute_batch(
            "CREATE TRIGGER slow AFTER INSERT ON users BEGIN
                 SELECT count(*) FROM users a, users b, users c, users d, users e, users f, users g, users h, users i, users j,
                     users k, users l, users m;
             END",
        )
        .unwrap();
    let mut job = job(&file, 2, target(AppendDedup, 2)).await;
    job.start().await.unwrap();
    let cancel = job.cancel.clone();
    let path = file.path();
    let watch = async move {
        // The write lock is taken once the transaction runs.
        let probe = Connection::open(path).unwrap();
        probe.busy_timeout(Duration::ZERO).unwrap();
        while probe.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(job.complete(vec![users(11..=12)]), watch);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(file.one::<i64>("SELECT count(*) FROM users"), 10);
}

#[tokio::test]
async fn writers_of_one_file_take_turns() {
    let file = Arc::new(File::new());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let file = file.clone();
        tasks.spawn(async move {
            let mut target = target(Append, 1);
            target.stream = StreamDescriptor::new(None, format!("s{number}"));
            target.table = target.stream.clone();
            let (sender, _) = unbounded_channel();
            let claim = Claim {
                store: "store".into(),
                connection: format!("c{number}"),
                job: 1,
                attempt: 0,
                owner: format!("o{number}"),
            };
            let cancel = CancellationToken::new();
            let request = OpenRequest {
                config: file.config(),
                claim,
                targets: vec![target.clone()],
                cancel: cancel.clone(),
                notes: sender,
            };
            let mut writer = file.destination().open(request).await.unwrap();
            writer.recover(Arc::new(Yes)).await.unwrap();
            writer.start(&[StreamPlan::Fresh { generation: 1 }]).await.unwrap();
            let (_, notes) = unbounded_channel();
            let mut job = Job { writer, notes, cancel, target, number: 1 };
            assert_eq!(job.complete(vec![users(1..=2000)]).await.unwrap(), 2000);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for number in 0..8 {
        assert_eq!(file.one::<i64>(&format!("SELECT count(*) FROM s{number}")), 2000);
    }
}

#[tokio::test]
async fn a_table_that_is_not_ours_is_refused() {
    let file = File::new();
    file.reader()
        .execute_batch("CREATE TABLE users (id INTEGER); INSERT INTO users VALUES (1); CREATE VIEW v AS SELECT 1")
        .unwrap();
    for mode in [Append, Overwrite, AppendDedup] {
        let error = load(&file, 1, target(mode, 1), vec![]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("`users`") && error.hint.is_some(), "{error}");
    }
    let mut view = target(Append, 1);
    view.table = StreamDescriptor::new(None, "v");
    assert!(load(&file, 1, view, vec![]).await.unwrap_err().message.contains("view"));
    let mut job = job(&file, 2, target(Append, 1)).await;
    let clear = connector::Clear { streams: vec![StreamIndex(0)], point: Point { origin: 1, seq: 0 }, remaining: None };
    assert_eq!(job.writer.clear(clear).await.unwrap_err().kind, ErrorKind::Config);
    assert_eq!(file.one::<i64>("SELECT count(*) FROM users"), 1);
}

#[tokio::test]
async fn types_change_only_without_loss() {
    let file = File::new();
    load(&file, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let mut wider = target(Append, 2);
    wider.columns[0].1 = ColumnType::Number;
    load(&file, 2, wider, vec![users(2..=2)]).await.unwrap();
    let mut narrower = target(Append, 3);
    narrower.columns[1].1 = ColumnType::Integer;
    let error = load(&file, 3, narrower.clone(), vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("`name`") && error.hint.unwrap().contains("Refresh"), "names the column");
    // A truncating refresh builds the table again.
    narrower.mode = Overwrite;
    load(&file, 4, narrower, vec![]).await.unwrap();
    assert_eq!(file.one::<String>("SELECT type FROM pragma_table_info('users') WHERE name = 'name'"), "INTEGER");
}

#[tokio::test]
async fn metadata_says_where_a_row_is_from() {
    let file = File::new();
    let mut target = target(Append, 7);
    target.columns[1].1 = ColumnType::Integer;
    load(&file, 42, target, vec![users(1..=1)]).await.unwrap();
    assert_eq!(file.one::<String>("SELECT _airbyte_extracted_at FROM users"), "2023-11-14T22:13:20.123Z");
    assert_eq!(file.one::<i64>("SELECT _airbyte_generation_id FROM users"), 7);
    assert_eq!(file.one::<i64>("SELECT json_extract(_airbyte_meta, '$.sync_id') FROM users"), 42);
    let change: String = file.one("SELECT json_extract(_airbyte_meta, '$.changes') FROM users");
    let expected = json!([{"field": "name", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}]);
    assert_eq!(serde_json::from_str::<Value>(&change).unwrap(), expected);
    let id: String = file.one("SELECT _airbyte_raw_id FROM users");
    assert_eq!(id.len(), 36);
}

#[tokio::test]
async fn odd_column_names_work_in_every_mode() {
    let fields = ["rowid", "_rowid_", "select", "a b", "A-B", "_airbyte_meta", "1st"];
    for (number, mode) in [(1, AppendDedup), (2, Overwrite), (3, Append)] {
        let file = File::new();
        let mut target = target(mode, 1);
        target.columns = fields.iter().map(|name| ((*name).to_owned(), ColumnType::Integer)).collect();
        target.primary_key = vec!["rowid".into(), "a b".into()];
        target.cursor = Some("select".into());
        target.table = StreamDescriptor::new(Some("x\"y"), "order; by");
        let columns = fields.iter().map(|name| (*name, integers([1, 1])));
        let rows = Batch::new(StreamIndex(0), batch(columns.collect()), 0);
        load(&file, number, target, vec![rows]).await.unwrap();
        let expected = if mode == AppendDedup { 1 } else { 2 };
        assert_eq!(
            file.one::<i64>("SELECT sum(\"A_B_1\" + \"_airbyte_meta_1\" + \"_1st\") FROM x_y_order__by"),
            expected * 3
        );
    }
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed() {
    let file = File::new();
    load(&file, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let backup = file.folder.path().join("backup.db");
    file.reader().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    let mut job = job(&file, 2, target(Append, 2)).await;
    job.start().await.unwrap();
    std::fs::rename(&backup, file.path()).unwrap();
    assert_eq!(job.complete(vec![users(2..=2)]).await.unwrap_err().kind, ErrorKind::Moved);
}

#[tokio::test]
async fn paths_are_kept_where_they_belong() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    let local = data.join("local");
    std::fs::create_dir_all(&local).unwrap();
    std::fs::write(data.join("leat.db"), "").unwrap();
    std::os::unix::fs::symlink(outside.path(), local.join("out")).unwrap();
    std::os::unix::fs::symlink("nowhere", local.join("dangling")).unwrap();
    std::fs::hard_link(data.join("leat.db"), outside.path().join("link.db")).unwrap();
    let forbidden = vec![data.clone(), data.join("leat.db")];
    let destination = SqliteDestination::new(local.clone(), forbidden);
    let cancel = CancellationToken::new();
    let here = outside.path().display().to_string();
    let data = data.display().to_string();
    let allowed = [
        "a.db",
        "deep/er/a.db",
        "/local/a.db",
        "./a.db",
        "deep/../b.db",
        &format!("{here}/a.db"),
        &format!("{data}/local/c.db"),
    ];
    for path in allowed {
        let checked = destination.check(&json!({"destination_path": path}), &cancel).await;
        assert!(checked.is_ok(), "{path}: {checked:?}");
    }
    let refused = [
        "",
        "  ",
        "../leat.db",
        "/local/../leat.db",
        "/local",
        "/local/",
        ".",
        "out/a.db",
        "/local/out/a.db",
        "dangling/a.db",
        "a\u{0}b.db",
        &format!("{data}/leat.db"),
        &format!("{data}/leat.db-wal"),
        &format!("{data}/other.db"),
        &format!("{data}/local/../leat.db"),
        &format!("{here}/link.db"),
        &here,
        &format!("{here}/missing/a.db"),
    ];
    for path in refused {
        let error = destination.check(&json!({"destination_path": path}), &cancel).await.expect_err(path);
        assert_eq!(error.kind, ErrorKind::Config, "{path}: {error}");
    }
    for bad in [json!({}), json!({"destination_path": 7}), json!({"destination_path": null}), json!([])] {
        assert_eq!(destination.check(&bad, &cancel).await.unwrap_err().kind, ErrorKind::Config, "{bad}");
    }
    assert!(!local.join("a.db").exists(), "a check leaves nothing behind");
}

#[tokio::test]
async fn files_that_are_no_database_are_named() {
    let file = File::new();
    std::fs::write(
        file.path(),
        "this is not a database, whatever its name says, and it is long enough to look like one".repeat(20),
    )
    .unwrap();
    let checked = file.destination().check(&file.config(), &CancellationToken::new()).await.unwrap_err();
    assert_eq!(checked.kind, ErrorKind::Config);
    assert!(checked.message.contains("out.db") && checked.hint.is_some(), "{checked}");
}

#[tokio::test]
async fn new_files_get_wal_and_old_ones_keep_their_mode() {
    let file = File::new();
    load(&file, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    assert_eq!(file.one::<String>("PRAGMA journal_mode"), "wal");
    let old = File::new();
    old.reader().execute_batch("CREATE TABLE mine (x)").unwrap();
    load(&old, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    assert_eq!(old.one::<String>("PRAGMA journal_mode"), "delete");
}

#[tokio::test]
async fn the_key_index_follows_the_key() {
    let keys = |file: &File| {
        file.one::<String>(
            "SELECT group_concat(i.name || ':' || x.name) FROM sqlite_schema i, pragma_index_info(i.name) x
             WHERE i.type = 'index' AND i.tbl_name = 'users'",
        )
    };
    for first in [vec![users(1..=3)], vec![users(1..=3), users(2..=3)]] {
        let file = File::new();
        load(&file, 1, target(AppendDedup, 1), first).await.unwrap();
        assert_eq!(file.one::<i64>("SELECT count(*) FROM users"), 3);
        let before = keys(&file);
        assert!(before.starts_with("_leat_key_") && before.ends_with(":id"), "{before}");
        load(&file, 2, target(AppendDedup, 2), vec![users(3..=4)]).await.unwrap();
        assert_eq!(keys(&file), before, "the index is made once");
        load(&file, 3, target(OverwriteDedup, 3), vec![users(1..=4), users(4..=4)]).await.unwrap();
        assert_eq!(keys(&file), before, "also over a swap");
        let mut other = target(AppendDedup, 4);
        other.primary_key = vec!["name".into()];
        load(&file, 4, other, vec![users(4..=5)]).await.unwrap();
        assert_eq!(file.one::<i64>("SELECT count(*) FROM users"), 5);
        assert!(keys(&file).ends_with(":name") && !keys(&file).contains(','), "{}", keys(&file));
        let plan: String = {
            let reader = file.reader();
            let query = "EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE name IS 'x'";
            reader.query_row(query, [], |row| row.get(3)).unwrap()
        };
        assert!(plan.contains("_leat_key_"), "{plan}");
    }
}

#[tokio::test]
async fn streams_that_cannot_be_written_are_named_at_once() {
    let file = File::new();
    let refused = async |change: fn(&mut Target)| {
        let mut target = target(AppendDedup, 1);
        change(&mut target);
        let (notes, _) = unbounded_channel();
        let claim = Claim { store: "s".into(), connection: "c".into(), job: 1, attempt: 0, owner: "o".into() };
        let cancel = CancellationToken::new();
        let request = OpenRequest { config: file.config(), claim, targets: vec![target], cancel, notes };
        let error = file.destination().open(request).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.hint.is_some(), "{error}");
    };
    refused(|target| target.mode = DestinationSyncMode::SoftDelete).await;
    refused(|target| target.stream.name.clear()).await;
    refused(|target| target.primary_key.clear()).await;
    refused(|target| target.primary_key = vec!["absent".into()]).await;
    refused(|target| target.columns.extend((0..2000).map(|n| (format!("c{n}"), ColumnType::String)))).await;
    refused(|target| {
        target.columns.extend(["rowid", "oid", "_ROWID_"].map(|name| (name.to_owned(), ColumnType::Integer)));
    })
    .await;
}
