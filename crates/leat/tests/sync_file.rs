//! `leat sync`, `check`, `discover` and `connectors`, as a user runs them on a file.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rusqlite::Connection as Database;
use serde_json::Value;
use tempfile::TempDir;

use crate::ground::leat;

const SHOP: &str = r#"
sources:
  shop: { connector: sample, config: { count: "${COUNT}", seed: 7, always_updated: false, records_per_slice: 500 } }
destinations:
  lake: { connector: sqlite, config: { destination_path: lake.db } }
connections:
  shop-to-lake:
    source: shop
    destination: lake
    prefix: shop_
    streams:
      - { name: users, mode: incremental_deduped_history, key: [id], fields: [id, name, updated_at] }
      - { name: "p*s", mode: incremental_append }
  all: { source: shop, destination: lake, prefix: all_, status: inactive }
"#;

struct Folder(TempDir);

impl Folder {
    fn new(file: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("leat.yaml", file);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str], count: u64) -> Command {
        let mut command = Command::new(leat());
        command.args(arguments).current_dir(self.0.path()).env("COUNT", count.to_string());
        command.env_remove("LEAT_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], count: u64) -> Told {
        Told::of(self.command(arguments, count).output().unwrap())
    }

    fn database(&self) -> Database {
        let database = Database::open(self.path("lake.db")).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database
    }

    fn number(&self, query: &str) -> i64 {
        self.database().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Told {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The `result` lines.
    fn results(&self) -> Vec<Value> {
        let lines = self.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == "result").collect()
    }
}

#[test]
fn a_file_is_synced_and_goes_on_where_it_was() {
    let folder = Folder::new(SHOP);
    let first = folder.run(&["sync", "leat.yaml"], 1200).expect(0);
    assert!(first.out.contains("shop-to-lake: succeeded"), "{first:?}");
    let users = first.out.lines().find(|line| line.starts_with("users")).unwrap();
    let cells: Vec<&str> = users.split_whitespace().collect();
    assert_eq!(cells[..5], ["users", "1,200", "1,200", "1,200", "0"]);
    assert_eq!(folder.number("select count(*) from shop_users"), 1200);
    assert_eq!(folder.number("select count(*) from shop_products"), 100);
    let email = "select count(*) from pragma_table_info('shop_users') where name in ('email', 'name')";
    assert_eq!(folder.number(email), 1, "a field that was not chosen");
    // From another folder, by another path, with more rows in the source.
    let path = folder.path("leat.yaml");
    let mut again = folder.command(&["sync", path.to_str().unwrap(), "shop-to-lake", "--json"], 1500);
    let second = Told::of(again.current_dir("/").output().unwrap()).expect(0);
    let results = second.results();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["succeeded"], true);
    let users = results[0]["streams"].as_array().unwrap().iter().find(|stream| stream["stream"] == "users").unwrap();
    for figure in ["read", "written", "committed"] {
        assert_eq!(users[figure], 300, "{results:?}");
    }
    assert_eq!(folder.number("select count(*) from shop_users"), 1500);
    assert_eq!(folder.number("select count(distinct id) from shop_purchases"), 1500);
    // An inactive connection runs when it is named.
    folder.run(&["sync", "leat.yaml", "all"], 10).expect(0);
    assert_eq!(folder.number("select count(*) from all_users"), 10);
    folder.run(&["sync", "leat.yaml", "all"], 7).expect(0);
    assert_eq!(folder.number("select count(*) from all_users"), 7, "overwrite");
    // Secrets and state are nobody else's business.
    assert_eq!(fs::metadata(folder.path(".leat")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_is_killed_or_interrupted_goes_on_without_loss_or_doubles() {
    let folder = Folder::new(&SHOP.replace("incremental_deduped_history, key: [id]", "incremental_append"));
    let mut before = 0;
    for signal in ["-INT", "-KILL"] {
        let mut process = folder.command(&["sync", "leat.yaml", "shop-to-lake"], 5_000_000).spawn().unwrap();
        // Until more rows are committed.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let rows = Database::open(folder.path("lake.db")).and_then(|database| {
                database.query_row("select count(*) from shop_users", [], |row| row.get::<_, i64>(0))
            });
            if let Ok(rows) = rows
                && rows > before
            {
                before = rows;
                break;
            }
            assert!(Instant::now() < deadline, "no rows");
            assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
        let told = Told::of(process.wait_with_output().unwrap());
        if signal == "-INT" {
            let told = told.expect(130);
            assert!(told.err.contains("run the same command again"), "{told:?}");
        }
    }
    // The leftover job of one connection does not run because another one does.
    let told = folder.run(&["sync", "leat.yaml", "all", "--json"], 10).expect(0);
    assert_eq!(told.results().len(), 1);
    assert_eq!(folder.number("select count(*) from all_users"), 10);
    // The source has shrunk, so that the rest is short: ids that were sent stay sent.
    let last = folder.run(&["sync", "leat.yaml", "shop-to-lake", "--json"], 1000).expect(0);
    let result = last.results().remove(0);
    assert_eq!(result["job"], 1, "the same job goes on");
    assert!(result["attempts"].as_u64().unwrap() >= 3, "{result}");
    for stream in result["streams"].as_array().unwrap() {
        let table = format!("shop_{}", stream["stream"].as_str().unwrap());
        let rows = folder.number(&format!("select count(*) from {table}"));
        assert_eq!(rows, folder.number(&format!("select count(distinct id) from {table}")), "{table}");
        assert_eq!(rows, folder.number(&format!("select coalesce(max(id), 0) from {table}")), "{table}");
        assert_eq!(stream["committed"], rows, "{table}");
    }
}

#[test]
fn wrong_files_and_arguments_end_with_two() {
    let folder = Folder::new(SHOP);
    let check = |arguments: &[&str], expected: &str| {
        let told = folder.run(arguments, 10).expect(2);
        assert!(told.err.contains(expected), "{told:?} lacks {expected:?}");
        assert!(told.out.is_empty(), "{told:?}");
    };
    check(&["sync"], "Usage");
    check(&["sync", "no.yaml"], "no.yaml: cannot be read");
    check(&["sync", "leat.yaml", "shop-to-lak"], "did you mean `shop-to-lake`?");
    check(&["discover", "leat.yaml", "shp"], "did you mean `shop`?");
    check(&["check", "leat.yaml", "lak"], "did you mean `lake`?");
    for (from, to, expected) in [
        ("prefix:", "prefx:", "connections.shop-to-lake.prefx: is not known; did you mean `prefix`?"),
        (
            "connector: sample",
            "connector: sampel",
            "sources.shop.connector: `sampel` is not built in; did you mean `sample`?",
        ),
        ("name: users", "name: usrs", "source `shop` has no stream `usrs`; did you mean `users`?"),
        ("seed: 7", "seed: seven", "sources.shop.config.seed: the value is not of type"),
        ("lake.db", ".leat/leat.db", "belongs to Leat itself"),
        ("fields: [id,", "fields: [id, nme,", "nme"),
        ("connector: sqlite", "connector: \"exec:x\"", "a destination must be native"),
    ] {
        folder.write("wrong.yaml", &SHOP.replacen(from, to, 1));
        let told = folder.run(&["sync", "wrong.yaml", "shop-to-lake"], 10);
        assert!(told.err.contains(expected), "{told:?} lacks {expected:?}");
        // What only the connector can refuse is a failed sync.
        let code = if expected.contains("Leat itself") { 1 } else { 2 };
        assert_eq!(told.code, Some(code), "{told:?}");
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let folder = Folder::new(SHOP);
    folder.run(&["sync", "leat.yaml", "shop-to-lake"], 10).expect(0);
    folder.write("reader.sh", "#!/bin/sh\necho '{\"type\":\"SPEC\",\"spec\":{\"connectionSpecification\":{}}}'\n");
    fs::set_permissions(folder.path("reader.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("leat.yaml", &SHOP.replacen("connector: sample", "connector: \"exec:./reader.sh\"", 1));
    let told = folder.run(&["sync", "leat.yaml", "shop-to-lake"], 10).expect(2);
    assert!(told.err.contains("sources.shop.connector: it was Sample Data (Faker) before"), "{told:?}");
    assert_eq!(folder.number("select count(*) from shop_users"), 10);
}

/// A source in shell: two streams, and a failure on request.
const READER: &str = r#"#!/bin/sh
case "$1" in
spec) echo '{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","properties":{"key":{"type":"string","airbyte_secret":true},"fail":{}}}}}';;
check) if grep -q s3cret "$3"; then echo '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}'
  else echo '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"the key '"$(cat "$3" | tr -d '"{}')"' is wrong"}}'; fi;;
discover) echo '{"type":"CATALOG","catalog":{"streams":[{"name":"notes","json_schema":{"properties":{"id":{"type":"integer"},"text":{"type":"string"}}},"supported_sync_modes":["full_refresh","incremental"],"source_defined_cursor":true,"default_cursor_field":["id"]},{"name":"tags","json_schema":{"properties":{"id":{"type":"integer"}}},"supported_sync_modes":["full_refresh"]}]}}';;
read)
  if grep -q '"fail":"at once"' "$3"; then exit 3; fi
  echo 'plain text that is no message'
  echo '{"type":"RECORD","record":{"stream":"notes","data":{"id":1,"text":"a"},"emitted_at":1}}'
  echo '{"type":"RECORD","record":{"stream":"notes","data":{"id":2,"text":"b"},"emitted_at":1}}'
  echo '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"notes"},"stream_state":{"id":2}}}}'
  if grep -q '"fail":true' "$3"; then
    echo '{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"the well is dry","failure_type":"system_error"}}}'; exit 1
  fi
  echo '{"type":"RECORD","record":{"stream":"tags","data":{"id":9},"emitted_at":1}}';;
esac
"#;

const STRANGE: &str = r#"
sources:
  well: { connector: "exec:./reader.sh", config: { key: "${file:key.txt}", fail: false } }
destinations:
  lake: { connector: sqlite, config: { destination_path: lake.db } }
connections:
  well-to-lake: { source: well, destination: lake, streams: [ { name: notes, mode: incremental_append }, tags ] }
"#;

#[test]
fn a_strangers_executable_is_a_source() {
    let folder = Folder::new(STRANGE);
    folder.write("reader.sh", READER);
    folder.write("key.txt", "s3cret\n");
    fs::set_permissions(folder.path("reader.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    folder.run(&["check", "leat.yaml"], 0).expect(0);
    let told = folder.run(&["discover", "leat.yaml", "well"], 0).expect(0);
    assert!(told.out.contains("id:integer text:string"), "{told:?}");
    let told = folder.run(&["sync", "leat.yaml", "--json"], 0).expect(0);
    assert_eq!(told.results()[0]["streams"][0]["committed"], 2);
    let kept = fs::read(folder.path(".leat/leat.db")).unwrap();
    assert!(!kept.windows(6).any(|bytes| bytes == b"s3cret"), "a secret lies in clear in the state");
    assert_eq!(folder.number("select count(*) from tags"), 1);

    // It fails before anything moved: no waiting here, the next run is the next attempt of the same job.
    folder.write("leat.yaml", &STRANGE.replace("fail: false", "fail: at once"));
    let told = folder.run(&["sync", "leat.yaml", "--json"], 0).expect(1);
    let failed = &told.results()[0];
    assert_eq!((&failed["attempts"], &failed["succeeded"]), (&1.into(), &false.into()), "{told:?}");
    assert!(told.err.contains("run the same command again"), "{told:?}");
    folder.write("leat.yaml", STRANGE);
    let told = folder.run(&["sync", "leat.yaml", "--json"], 0).expect(0);
    let passed = &told.results()[0];
    assert_eq!((&passed["attempts"], &passed["job"]), (&2.into(), &failed["job"]), "{told:?}");

    // It fails half way: what its state covers stays, the exit code and stderr say what happened.
    folder.write("leat.yaml", &STRANGE.replace("fail: false", "fail: true"));
    let told = folder.run(&["sync", "leat.yaml", "--json"], 0);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("the well is dry"), "{told:?}");
    assert_eq!(told.results()[0]["succeeded"], false);
    assert_eq!(folder.number("select count(*) from tags"), 1);

    // A failed check says why, without the secret.
    folder.write("key.txt", "wr0ng-key");
    let told = folder.run(&["check", "leat.yaml", "well", "--json"], 0).expect(1);
    let line: Value = serde_json::from_str(told.out.trim()).unwrap();
    assert_eq!(line["succeeded"], false);
    assert!(line["message"].as_str().unwrap().contains("is wrong"), "{line}");
    assert!(!told.out.contains("wr0ng-key") && !told.err.contains("wr0ng-key"), "{told:?}");
}

#[test]
fn check_discover_and_connectors_answer_in_tables_and_json() {
    let folder = Folder::new(SHOP);
    let told = folder.run(&["check", "leat.yaml"], 10).expect(0);
    assert!(told.out.lines().any(|line| line.split_whitespace().eq(["destination", "lake", "ok"])), "{told:?}");
    let told = folder.run(&["discover", "leat.yaml", "--json"], 10).expect(0);
    let catalog: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(catalog["streams"].as_array().unwrap().len(), 3);
    let told = folder.run(&["connectors"], 10).expect(0);
    assert!(told.out.contains("Local SQLite"), "{told:?}");
    let told = folder.run(&["connectors", "--json"], 10).expect(0);
    let all: Value = serde_json::from_str(&told.out).unwrap();
    assert!(all.as_array().unwrap().iter().any(|one| one["name"] == "sample" && one["kind"] == "source"));
    // Nothing was kept: none of them needs a state.
    assert!(!folder.path(".leat").exists());
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let folder = Folder::new(SHOP);
    let mut first = folder.command(&["sync", "leat.yaml", "shop-to-lake"], 5_000_000).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder.path("lake.db").exists() {
        assert!(Instant::now() < deadline, "it did not begin");
        std::thread::yield_now();
    }
    let second = folder.run(&["sync", "leat.yaml", "shop-to-lake"], 10).expect(1);
    assert!(second.err.contains("Is another `leat sync` of this file running?"), "{second:?}");
    first.kill().unwrap();
    first.wait().unwrap();
}
