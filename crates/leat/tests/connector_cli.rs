//! `leat connector NAME ...`: native connectors as Airbyte executables, over real pipes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rusqlite::Connection as Database;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ground::{leat, sample};

struct Folder(TempDir);

#[derive(Debug)]
struct Told {
    code: Option<i32>,
    messages: Vec<Value>,
    err: String,
}

impl Told {
    fn of_type(&self, kind: &str) -> Vec<&Value> {
        self.messages.iter().filter(|message| message["type"] == kind).collect()
    }

    /// The statuses of a stream, in order.
    fn statuses(&self, stream: &str) -> Vec<&str> {
        let traces = self.of_type("TRACE").into_iter().map(|message| &message["trace"]["stream_status"]);
        let own = traces.filter(|status| status["stream_descriptor"]["name"] == stream);
        own.map(|status| status["status"].as_str().unwrap()).collect()
    }

    fn error(&self) -> &str {
        let mut errors = self.of_type("TRACE").into_iter().filter(|message| message["trace"]["type"] == "ERROR");
        errors.next_back().unwrap()["trace"]["error"]["message"].as_str().unwrap()
    }
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, value: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path
    }

    /// Every line of stdout must be a message.
    fn run(&self, arguments: &[&str], input: &str) -> Told {
        let mut child = Command::new(leat())
            .arg("connector")
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("LEAT_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // It may end before it has read all.
        let feed = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let messages = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Told { code: output.status.code(), messages, err: String::from_utf8(output.stderr).unwrap() }
    }

    fn catalog(&self, name: &str, mode: &str, destination_mode: &str, streams: &[&str]) -> PathBuf {
        self.write("source.json", &sample(10));
        let told = self.run(&["source-sample", "discover", "--config", "source.json"], "");
        let offered = told.of_type("CATALOG")[0]["catalog"]["streams"].as_array().unwrap().clone();
        let mut chosen = Vec::new();
        for stream in offered {
            if streams.contains(&stream["name"].as_str().unwrap()) {
                chosen.push(json!({
                    "stream": stream, "sync_mode": mode, "destination_sync_mode": destination_mode,
                    "cursor_field": ["updated_at"], "primary_key": [["id"]],
                }));
            }
        }
        self.write(name, &json!({ "streams": chosen }))
    }

    fn number(&self, query: &str) -> i64 {
        Database::open(self.0.path().join("lake.db")).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn every_native_connector_describes_itself() {
    let folder = Folder::new();
    let list = Command::new(leat()).args(["connectors", "--json"]).output().unwrap();
    let all: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
    assert!(all.len() >= 2);
    for one in all {
        let name = format!("{}-{}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap());
        let told = folder.run(&[&name, "spec"], "");
        assert_eq!(told.code, Some(0), "{name}: {told:?}");
        assert_eq!(told.messages.len(), 1, "{name}");
        assert_eq!(told.messages[0]["spec"]["connectionSpecification"]["type"], "object", "{name}");
    }
}

#[test]
fn a_check_answers_and_a_wrong_call_is_refused() {
    let folder = Folder::new();
    folder.write("good.json", &sample(10));
    folder.write("bad.json", &json!({ "count": "ten" }));
    folder.write("lake.json", &json!({ "destination_path": "no/such/../../../lake.db" }));
    let status = |arguments: &[&str]| {
        let told = folder.run(arguments, "");
        assert_eq!(told.code, Some(0), "{told:?}");
        told.of_type("CONNECTION_STATUS")[0]["connectionStatus"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&["source-sample", "check", "--config", "good.json"]), "SUCCEEDED");
    assert_eq!(status(&["sample", "check", "--config", "bad.json"]), "FAILED");
    assert_eq!(status(&["destination-sqlite", "check", "--config", "lake.json"]), "FAILED");

    let refused = |arguments: &[&str], expected: &str| {
        let told = folder.run(arguments, "");
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.messages.is_empty() && told.err.contains(expected), "{told:?} lacks {expected:?}");
    };
    refused(&["source-sampel", "spec"], "did you mean `source-sample`?");
    refused(&["destination-sqlite", "discover", "--config", "lake.json"], "is a destination");
    refused(&["source-sample", "write", "--config", "good.json", "--catalog", "good.json"], "is a source");
    refused(&["source-sample", "discover", "--config", "no.json"], "no.json: cannot be read");
    refused(&["source-sample", "discover", "--config", "bad.json"], "bad.json.config.count");
    refused(&["source-sample", "read", "--config", "good.json", "--catalog", "good.json"], "is not what is expected");
    refused(&["source-sample", "dance"], "unexpected argument 'dance'");
}

#[test]
fn a_source_tells_records_states_and_statuses() {
    let folder = Folder::new();
    let catalog = folder.catalog("catalog.json", "incremental", "append", &["users", "purchases"]);
    folder.write("config.json", &sample(1200));
    let read = |state: Option<&str>| {
        let mut arguments =
            vec!["source-sample", "read", "--config", "config.json", "--catalog", catalog.to_str().unwrap()];
        if let Some(state) = state {
            arguments.extend(["--state", state]);
        }
        folder.run(&arguments, "")
    };
    let told = read(None);
    assert_eq!(told.code, Some(0), "{:?}", told.err);
    let records = told.of_type("RECORD");
    let users: Vec<_> = records.iter().filter(|message| message["record"]["stream"] == "users").collect();
    assert_eq!((users.len(), records.len()), (1200, 2400));
    assert_eq!(users[41]["record"]["data"]["id"], 42);
    assert!(users[0]["record"]["data"]["address"].is_object());
    assert!(users[0]["record"]["emitted_at"].is_i64());
    assert_eq!(told.statuses("users"), ["STARTED", "RUNNING", "COMPLETE"]);
    let states = told.of_type("STATE");
    let counted: i64 =
        states.iter().map(|message| message["state"]["sourceStats"]["recordCount"].as_i64().unwrap()).sum();
    assert_eq!(counted, 2400, "every record is covered by one state");

    // From its last states there is nothing left to read.
    let last = |stream: &str| {
        let mut own = states.iter().filter(|message| message["state"]["stream"]["stream_descriptor"]["name"] == stream);
        own.next_back().unwrap()["state"].clone()
    };
    folder.write("state.json", &json!([last("users"), last("purchases")]));
    let again = read(Some("state.json"));
    assert_eq!((again.code, again.of_type("RECORD").len()), (Some(0), 0));
    assert_eq!(again.statuses("users"), ["STARTED", "COMPLETE"]);
    // One state alone, not in a list.
    folder.write("state.json", &last("users"));
    assert_eq!(read(Some("state.json")).of_type("RECORD").len(), 1200);
    folder.write("state.json", &json!({}));
    assert_eq!(read(Some("state.json")).of_type("RECORD").len(), 2400);
    folder.write("state.json", &json!([{ "type": "NONSENSE" }]));
    assert_eq!(read(Some("state.json")).code, Some(2));
}

const STREAM: &str = "notes";

fn record(id: i64) -> String {
    json!({"type": "RECORD", "record": {"stream": STREAM, "data": {"id": id, "text": format!("n{id}"), "more": 1}, "emitted_at": 5 + id}}).to_string()
}

fn state(id: i64) -> String {
    json!({"type": "STATE", "state": {"type": "STREAM", "id": 77, "stream": {"stream_descriptor": {"name": STREAM}, "stream_state": {"id": id}}}}).to_string()
}

fn complete() -> String {
    json!({"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1.5, "stream_status": {"stream_descriptor": {"name": STREAM}, "status": "COMPLETE"}}}).to_string()
}

struct Writing(Folder);

impl Writing {
    fn new(sync_mode: &str, mode: &str) -> Self {
        let folder = Folder::new();
        folder.write("lake.json", &json!({ "destination_path": "lake.db" }));
        let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}, "text": {"type": "string"}}});
        let stream =
            json!({"name": STREAM, "json_schema": schema, "supported_sync_modes": ["full_refresh", "incremental"]});
        let configured = json!({"stream": stream, "sync_mode": sync_mode, "destination_sync_mode": mode,
            "cursor_field": ["id"], "primary_key": [["id"]], "generation_id": 3, "minimum_generation_id": 3, "sync_id": 4});
        folder.write("catalog.json", &json!({ "streams": [configured] }));
        Self(folder)
    }

    fn feed(&self, lines: &[String]) -> Told {
        let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        self.0.run(&["destination-sqlite", "write", "--config", "lake.json", "--catalog", "catalog.json"], &input)
    }

    /// The states that came back: what was in them, and how many records they cover.
    fn states(told: &Told) -> Vec<(i64, i64)> {
        let of = |message: &&Value| {
            let state = &message["state"];
            assert_eq!(state["id"], 77, "what came with a state goes back with it");
            let id = state["stream"]["stream_state"]["id"].as_i64().unwrap();
            (id, state["destinationStats"]["recordCount"].as_i64().unwrap())
        };
        told.of_type("STATE").iter().map(of).collect()
    }

    fn rows(&self) -> i64 {
        self.0.number("select count(*) from notes")
    }
}

#[test]
fn states_come_back_when_rows_are_durable() {
    let writing = Writing::new("incremental", "append");
    let lines =
        ["a line that is no message".to_owned(), record(1), record(2), state(2), record(3), state(3), complete()];
    let told = writing.feed(&lines);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(Writing::states(&told), [(2, 2), (3, 1)]);
    assert_eq!(writing.rows(), 3);

    // The source died: what its state covers stays and was confirmed, what no state covers is not there.
    let told = writing.feed(&[record(4), state(4), record(5)]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.error().contains("before these streams were complete: `notes`"), "{told:?}");
    assert_eq!(Writing::states(&told), [(4, 1)]);
    assert_eq!(writing.rows(), 4);
}

#[test]
fn a_rewrite_is_confirmed_only_when_it_is_visible() {
    for (sync_mode, mode) in
        [("full_refresh", "overwrite"), ("incremental", "append_dedup"), ("full_refresh", "append")]
    {
        let writing = Writing::new(sync_mode, mode);
        let told = writing.feed(&[record(1), record(1), state(1), complete()]);
        assert_eq!(told.code, Some(0), "{told:?}");
        assert_eq!(Writing::states(&told), [(1, 2)], "{mode}");
        let before = writing.rows();
        assert_eq!(before, if mode == "append_dedup" { 1 } else { 2 });
        // Broken off: the table is as it was, and nothing was confirmed that a source could resume behind.
        let told = writing.feed(&[record(8), state(8), record(9)]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(Writing::states(&told).is_empty(), "{told:?}");
        assert_eq!(writing.rows(), before, "{mode}");
        let told = writing.feed(&[record(8), state(8), complete()]);
        assert_eq!(told.code, Some(0), "{told:?}");
        assert_eq!(writing.rows(), if mode == "overwrite" { 1 } else { before + 1 });
    }
}

#[test]
fn strange_input_is_named_and_loses_nothing() {
    let writing = Writing::new("incremental", "append");
    let check = |line: &str, expected: &str| {
        let told = writing.feed(&[record(1), state(1), line.to_owned(), complete()]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.error().contains(expected), "{told:?} lacks {expected:?}");
    };
    check(
        r#"{"type":"RECORD","record":{"stream":"other","data":{},"emitted_at":1}}"#,
        "`other` came on stdin and is not in the catalog",
    );
    check(r#"{"type":"RECORD","record":{"stream":"notes","data":[],"emitted_at":1}}"#, "cannot be read");
    check(r#"{"type":"RECORD","record":{"stream":"notes","data":{"id":"#, "cannot be read");
    // What is no record does no harm; a wrong value is NULL and noted.
    let wrong = r#"{"type":"RECORD","record":{"stream":"notes","data":{"id":"x","text":"odd"},"emitted_at":1}}"#;
    let lines = ["\u{0}", "{}", "[]", r#"{"type":"NEWS"}"#, wrong, &complete()].map(str::to_owned);
    let told = writing.feed(&lines);
    assert_eq!(told.code, Some(0), "{told:?}");
    let noted = "select count(*) from notes where id is null and text = 'odd' and _airbyte_meta like '%NULLED%'";
    assert_eq!(writing.0.number(noted), 1);
}

#[test]
fn two_executables_move_everything() {
    let folder = Folder::new();
    let catalog = folder.catalog("catalog.json", "full_refresh", "overwrite", &["users", "products", "purchases"]);
    folder.write("source.json", &sample(5000));
    folder.write("lake.json", &json!({ "destination_path": "lake.db" }));
    let catalog = catalog.to_str().unwrap();
    let mut source = Command::new(leat())
        .args(["connector", "source-sample", "read", "--config", "source.json", "--catalog", catalog])
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = Command::new(leat())
        .args(["connector", "destination-sqlite", "write", "--config", "lake.json", "--catalog", catalog])
        .current_dir(folder.0.path())
        .stdin(source.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success() && source.wait().unwrap().success());
    assert_eq!(folder.number("select count(*) from users"), 5000);
    assert_eq!(folder.number("select count(*) from products"), 100);
    assert_eq!(folder.number("select count(*) from purchases"), 5000);
    assert_eq!(folder.number("select count(*) from users where _airbyte_meta like '%NULLED%'"), 0);
}

#[test]
fn an_interrupt_ends_a_write_at_once() {
    let writing = Writing::new("incremental", "append");
    let mut child = Command::new(leat())
        .args(["connector", "destination-sqlite", "write", "--config", "lake.json", "--catalog", "catalog.json"])
        .current_dir(writing.0.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n{}\n", record(1), state(1)).as_bytes()).unwrap();
    // The state comes back though stdin stays open: a mark waits for its commit about a second.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"STATE\"")));
    let asked = Instant::now();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert_eq!(writing.rows(), 1);
}
