//! The process is killed at every named point of the checkpoint protocol; the tables end up equal to those of a run that
//! nobody killed: nothing lost, nothing doubled. Planted bugs show that the test can fail.

use std::{fs, time::Duration};

use serde_json::json;

use crate::ground::{Ground, Job, StoreKind, sample};

/// Where an attempt may die, and at which hit. Each is reached by every mode, unless it says otherwise.
const POINTS: &[(&str, u64)] = &[
    ("attempt-begin", 1),
    ("recover-before-commit", 1),
    ("recovered", 1),
    ("before-first-state", 1),
    ("commit-before", 1),
    ("commit-after", 2),
    ("commit-before-ledger", 1),
    ("commit-before-ledger", 3),
    ("ledger-after", 2),
    ("complete-before", 1),
    ("complete-after", 1),
    ("complete-before-ledger", 1),
    ("outcome", 1),
];
const RESET_POINTS: &[(&str, u64)] =
    &[("clear-before", 1), ("clear-after", 1), ("clear-before-ledger", 1), ("outcome", 1)];
const ROWS: u64 = 20_000;
const FIRST: u64 = 6_000;

struct Mode {
    sync: &'static str,
    destination: &'static str,
    streams: &'static [&'static str],
}

const APPEND: Mode = Mode { sync: "incremental", destination: "append", streams: &["users"] };
const DEDUP: Mode = Mode { sync: "incremental", destination: "append_dedup", streams: &["users"] };
const OVERWRITE: Mode = Mode { sync: "full_refresh", destination: "overwrite", streams: &["users"] };
const FULL_APPEND: Mode = Mode { sync: "full_refresh", destination: "append", streams: &["users"] };
const TWO_STREAMS: Mode = Mode { sync: "incremental", destination: "append", streams: &["users", "purchases"] };

impl Mode {
    fn connection(&self, ground: &Ground) -> String {
        let streams: Vec<_> = self.streams.iter().map(|name| (*name, self.sync, self.destination)).collect();
        ground.connection(&streams)
    }

    fn fingerprints(&self, ground: &Ground) -> Vec<(String, i64)> {
        self.streams.iter().map(|table| ground.fingerprint(table)).collect()
    }
}

/// What a run ends with.
#[derive(Debug, PartialEq, Eq)]
struct End {
    tables: Vec<(String, i64)>,
    committed: i64,
}

/// Two syncs, the source growing in between. The second is killed at `point`, if there is one.
fn run(store: StoreKind, mode: &Mode, point: Option<(&str, u64)>, plant: Option<&str>) -> (End, Job) {
    let mut ground = Ground::on(store, FIRST);
    let connection = mode.connection(&ground);
    assert_eq!(ground.sync(&connection).status, "succeeded");
    ground.configure(sample(ROWS));
    let Some((name, hit)) = point else {
        let job = ground.sync(&connection);
        assert_eq!(job.status, "succeeded", "{job:#?}");
        return (End { tables: mode.fingerprints(&ground), committed: job.committed }, job);
    };
    arm(&mut ground, name, hit, plant);
    // The answer may never come: the process dies.
    let _ = ground.server().request("connections/sync", &json!({ "connectionId": connection }));
    survive(&mut ground, name, plant);
    let job = last_job(&ground, &connection, "sync");
    let end = End { tables: mode.fingerprints(&ground), committed: job.committed };
    assert_eq!(ground.leftovers(), Vec::<String>::new(), "{name}:{hit}");
    (end, job)
}

fn arm(ground: &mut Ground, name: &str, hit: u64, plant: Option<&str>) {
    let log = ground.server().data().join("died");
    let log = log.to_str().unwrap().to_owned();
    let point = format!("{name}:{hit}");
    let mut variables = vec![("LEAT_FAILPOINT", point.as_str()), ("LEAT_FAILPOINT_LOG", log.as_str())];
    variables.extend(plant.map(|bug| ("LEAT_PLANT", bug)));
    ground.restart(&variables);
}

/// The process died at the point, proved by what it wrote there; it starts again and its job goes on by itself.
fn survive(ground: &mut Ground, name: &str, plant: Option<&str>) {
    ground.server_mut().ended(Duration::from_secs(30)).unwrap();
    let died = fs::read_to_string(ground.server().data().join("died")).unwrap_or_default();
    assert_eq!(died.trim(), name, "the process did not die at {name}");
    let variables: Vec<_> = plant.map(|bug| ("LEAT_PLANT", bug)).into_iter().collect();
    ground.restart(&variables);
}

fn last_job(ground: &Ground, connection: &str, kind: &str) -> Job {
    let jobs = ground.post("jobs/list", json!({ "configTypes": [kind], "configId": connection }));
    ground.wait(jobs["jobs"][0]["job"]["id"].as_i64().unwrap())
}

/// Runs every point; each must end as the clean run did, without a warning that only a restore explains.
fn check(store: StoreKind, mode: &Mode) {
    let (clean, _) = run(store, mode, None, None);
    for (name, hit) in POINTS {
        let (end, job) = run(store, mode, Some((name, *hit)), None);
        assert_eq!(job.status, "succeeded", "{name}:{hit}: {job:#?}");
        assert_eq!(end, clean, "{name}:{hit}\n{}", job.log);
        for word in ["restored", "behind"] {
            assert!(!job.log.contains(word), "{name}:{hit}: {word} without a restore\n{}", job.log);
        }
    }
}

#[test]
fn append_on_sqlite() {
    check(StoreKind::Sqlite, &APPEND);
}

#[test]
fn append_on_postgres() {
    check(StoreKind::Postgres, &APPEND);
}

#[test]
fn append_dedup_on_sqlite() {
    check(StoreKind::Sqlite, &DEDUP);
}

#[test]
fn append_dedup_on_postgres() {
    check(StoreKind::Postgres, &DEDUP);
}

#[test]
fn overwrite_on_sqlite() {
    check(StoreKind::Sqlite, &OVERWRITE);
}

#[test]
fn overwrite_on_postgres() {
    check(StoreKind::Postgres, &OVERWRITE);
}

#[test]
fn full_refresh_append_on_sqlite() {
    check(StoreKind::Sqlite, &FULL_APPEND);
}

#[test]
fn full_refresh_append_on_postgres() {
    check(StoreKind::Postgres, &FULL_APPEND);
}

#[test]
fn two_streams_on_sqlite() {
    check(StoreKind::Sqlite, &TWO_STREAMS);
}

/// The default of the sample source sends every row again with a new stamp. A retry within the job goes on with the stamp
/// of its job, and a finished state is never found without its end: no row comes twice.
#[test]
fn append_of_rows_that_always_change() {
    let always = |count: u64| json!({ "count": count, "seed": 7, "records_per_slice": 500 });
    for (name, hit) in [
        ("commit-before-ledger", 1),
        ("ledger-after", 4),
        ("complete-before", 1),
        ("complete-after", 1),
        ("outcome", 1),
    ] {
        let mut ground = Ground::new(1);
        ground.configure(always(FIRST));
        let connection = APPEND.connection(&ground);
        assert_eq!(ground.sync(&connection).committed, 6_000);
        arm(&mut ground, name, hit, None);
        let _ = ground.server().request("connections/sync", &json!({ "connectionId": connection }));
        survive(&mut ground, name, None);
        let job = last_job(&ground, &connection, "sync");
        assert_eq!((job.status.as_str(), job.committed), ("succeeded", 6_000), "{name}: {}", job.log);
        assert_eq!(ground.number("select count(*) from users"), 12_000, "{name}");
        assert_eq!(ground.number("select count(*) from (select distinct id, updated_at from users)"), 12_000, "{name}");
    }
}

fn check_reset(store: StoreKind) {
    for (name, hit) in RESET_POINTS {
        let mut ground = Ground::on(store, FIRST);
        let connection = APPEND.connection(&ground);
        assert_eq!(ground.sync(&connection).status, "succeeded");
        arm(&mut ground, name, *hit, None);
        let _ = ground.server().request("connections/reset", &json!({ "connectionId": connection }));
        survive(&mut ground, name, None);
        let reset = last_job(&ground, &connection, "reset_connection");
        assert_eq!(reset.status, "succeeded", "{name}: {reset:#?}");
        assert_eq!(ground.number("select count(*) from users"), 0, "{name}");
        let again = ground.sync(&connection);
        assert_eq!(again.committed, i64::try_from(FIRST).unwrap(), "{name}: {}", again.log);
        assert_eq!(ground.number("select count(distinct id) from users"), i64::try_from(FIRST).unwrap(), "{name}");
    }
}

#[test]
fn reset_on_sqlite() {
    check_reset(StoreKind::Sqlite);
}

#[test]
fn reset_on_postgres() {
    check_reset(StoreKind::Postgres);
}

/// With the bug planted the outcome differs from the clean run, or the log shows what only a restore explains.
fn check_plant(bug: &str, mode: &Mode, point: (&str, u64)) {
    let (clean, _) = run(StoreKind::Sqlite, mode, None, None);
    let outcome = std::panic::catch_unwind(|| run(StoreKind::Sqlite, mode, Some(point), Some(bug)));
    let Ok((end, job)) = outcome else { return };
    let told = job.log.contains("restored") || job.log.contains("behind");
    assert!(
        end != clean || told || job.status != "succeeded",
        "the bug {bug} went unnoticed at {point:?}\n{}",
        job.log
    );
}

#[test]
fn a_flush_past_a_mark_is_noticed() {
    check_plant("commit-past-mark", &APPEND, ("commit-before-ledger", 2));
}

#[test]
fn a_skipped_recovery_is_noticed() {
    check_plant("skip-recover", &APPEND, ("commit-before-ledger", 2));
}

#[test]
fn a_commit_row_outside_the_transaction_is_noticed() {
    check_plant("commit-row-outside-transaction", &APPEND, ("commit-after", 2));
}

#[test]
fn a_ledger_before_the_commit_is_noticed() {
    check_plant("ledger-before-commit", &APPEND, ("commit-before", 2));
}
