//! What strangers do.

use std::{error::Error as _, fs, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use connector::ErrorKind;
use protocol::{Json, State, StreamDescriptor, StreamState};
use tokio::time::timeout;
use tracing::Level;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn is_alive(pid: &str) -> bool {
    // Whoever has ended and was not buried yet is dead.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn assert_dead(pids: &Path) {
    let pids = fs::read_to_string(pids).unwrap();
    let alive: Vec<_> = pids.split(' ').filter(|pid| is_alive(pid)).collect();
    assert!(alive.is_empty(), "left running: {alive:?}");
}

#[tokio::test]
async fn answers() {
    let source = source(script()).await;
    assert_eq!(source.spec().documentation_url, "https://example.com");
    assert!(source.specification().text().contains("advanced_auth"), "what nobody knows is kept");
    let cancel = CancellationToken::new();
    let config = |mode: &str| json!({"mode": mode, "password": "swordfish"});
    source.check(&config(""), &cancel).await.unwrap();
    source.check(&config("answer_then_1"), &cancel).await.unwrap();
    let cases = [
        ("failed", ErrorKind::Config, "Wrong password **********"),
        ("crash", ErrorKind::Transient, "Wrong password **********"),
        ("exit_3", ErrorKind::System, "The connector `python3` ended with exit code 3"),
        ("mute", ErrorKind::System, "The connector `python3` ended without an answer to `check`"),
    ];
    for (mode, kind, message) in cases {
        let error = source.check(&config(mode), &cancel).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{mode}");
        assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
    }
    let error = source.check(&config("exit_3"), &cancel).await.unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("Its last words: boom"));
    let error = source.check(&config("unreadable"), &cancel).await.unwrap_err();
    assert!(error.hint.as_deref().unwrap().contains("could not be read: "), "{error:?}");
    let catalog = source.discover(&config(""), &cancel).await.unwrap();
    assert_eq!(catalog.streams[0].descriptor, StreamDescriptor::new(None, "a"));
    assert!(catalog.streams[0].extra.contains_key("unknown"));
}

#[tokio::test]
async fn what_cannot_be_started_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "echo").unwrap();
    let noise = folder.path().join("noise");
    fs::write(&noise, [0u8, 1, 2]).unwrap();
    fs::set_permissions(&noise, fs::Permissions::from_mode(0o755)).unwrap();
    let cases = [
        (folder.path().join("absent"), ErrorKind::Config, "does not exist"),
        (plain, ErrorKind::Config, "may not be executed"),
        (noise, ErrorKind::Config, "not an executable"),
        ("true".into(), ErrorKind::System, "without an answer to `spec`"),
        ("false".into(), ErrorKind::System, "exit code 1"),
    ];
    for (program, kind, part) in cases {
        let error = ProcessSource::start(Command::new(&program), &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(part), "{error:?}");
    }
}

#[tokio::test]
async fn a_stranger_of_another_protocol_is_refused() {
    let specification = |text: &str| Json::parse(text.to_owned()).unwrap();
    let new = |text| ProcessSource::with_specification(script(), specification(text));
    assert!(new(r#"{"connectionSpecification":{},"protocol_version":"0.3.2"}"#).is_ok());
    assert!(new(r#"{"connectionSpecification":{},"protocol_version":"1.0.0"}"#).is_err());
    assert!(new("{}").is_err());
}

#[tokio::test]
async fn a_stranger_that_resumes_obeys_the_laws_of_a_source() {
    let config = |mode: &str| json!({"mode": mode, "password": "swordfish"});
    connector::testing::conformance::source(source(script()).await, config("resume"), &[config("failed")]).await;
}

#[tokio::test]
async fn rows_without_a_state() {
    let (result, seen) = read_mode("plain").await;
    result.unwrap();
    assert_eq!(seen.ids(), [1, 2, 3, 4, 5]);
    assert_eq!(seen.column("name")[4].as_deref(), Some("row 5"));
    assert_eq!(seen.complete, [(0, 5), (1, 0)], "after exit code 0 every stream is complete");
    assert_eq!(seen.batches[0].emitted_at, 1_735_689_600_000);
}

#[tokio::test]
async fn an_early_end_with_code_0_is_an_end() {
    let (result, seen) = read_mode("empty").await;
    result.unwrap();
    assert_eq!(seen.complete, [(0, 0), (1, 0)]);
}

#[tokio::test]
async fn plain_text_is_logged() {
    let (result, seen) = read_mode("garbage").await;
    result.unwrap();
    assert_eq!(seen.ids(), [1, 2]);
    assert!(seen.has_log(Level::INFO, "Loading drivers ..."));
    assert!(seen.has_log(Level::INFO, "structured"));
    assert!(seen.has_log(Level::INFO, "[1]"));
    assert!(seen.has_log(Level::DEBUG, "PIGEON"));
    assert!(seen.has_log(Level::WARN, "slow **********"));
    assert!(seen.has_log(Level::ERROR, "on stderr **********"));
    assert!(seen.logs.iter().all(|(_, text)| !text.contains("swordfish")));
}

#[tokio::test]
async fn malformed_records_are_counted() {
    let (result, seen) = read_mode("malformed").await;
    result.unwrap();
    assert_eq!(seen.ids(), [1, 3]);
    assert_eq!(seen.complete[0], (0, 2));
    assert!(seen.has_log(Level::ERROR, "2 lines of the connector"), "{:?}", seen.logs);
}

#[tokio::test]
async fn failures() {
    let cases = [
        ("exit_1", ErrorKind::System, "The connector `python3` ended with exit code 1"),
        ("killed", ErrorKind::System, "The connector `python3` was killed (signal 9), perhaps because memory ran out"),
        ("config_error", ErrorKind::Config, "Wrong password **********"),
        ("transient_error", ErrorKind::Transient, "Wrong password **********"),
        ("incomplete", ErrorKind::System, "said that stream `a` is incomplete"),
        ("unknown", ErrorKind::System, "record of stream `stranger`, which is not in the catalog"),
        ("namespaces", ErrorKind::System, "record of stream `n.a`, which is not in the catalog"),
        ("no such mode", ErrorKind::System, "exit code 2"),
    ];
    for (mode, kind, part) in cases {
        let (result, seen) = read_mode(mode).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind, kind, "{mode}: {error:?}");
        assert!(error.message.contains(part), "{mode}: {error:?}");
        assert!(seen.complete.is_empty(), "{mode}: nothing is complete after a failure");
    }
    let (result, seen) = read_mode("exit_1").await;
    assert_eq!(result.unwrap_err().source().unwrap().to_string(), "out of luck");
    assert_eq!(seen.order, ["2 rows of 0", "state", "2 rows of 0"]);
}

#[tokio::test]
async fn a_failure_that_was_only_announced_is_logged() {
    let (result, seen) = read_mode("announced").await;
    result.unwrap();
    assert_eq!(seen.complete[0], (0, 1));
    assert!(seen.has_log(Level::ERROR, "Wrong password ********** (401)"));
}

#[tokio::test]
async fn statuses_and_control() {
    let (result, seen) = read_mode("statuses").await;
    result.unwrap();
    assert_eq!(seen.started, [0]);
    assert_eq!(seen.complete, [(0, 2), (1, 0)]);
    assert!(seen.has_log(Level::WARN, "`stranger`"));
    let (result, seen) = read_mode("control").await;
    result.unwrap();
    assert!(seen.has_log(Level::WARN, "CONTROL"));
    assert!(seen.logs.iter().all(|(_, text)| !text.contains("fresh")));
}

#[tokio::test]
async fn states_of_all_kinds_are_relayed() {
    let (result, seen) = read_mode("states").await;
    result.unwrap();
    assert_eq!(seen.order, ["state", "2 rows of 0", "state", "1 rows of 0", "state"]);
    let texts: Vec<_> =
        seen.states.iter().map(|state| serde_json::to_string(state).unwrap().replace(": ", ":")).collect();
    assert!(texts[0].contains("\"deep\":1.2345678901234567e+19"), "{}", texts[0]);
    assert!(texts[0].contains("\"id\":7") && texts[0].contains("\"sourceStats\"") && !texts[0].contains("old"));
    assert!(texts[1].contains("\"more\":2") && texts[1].contains("\"note\":1") && texts[1].contains("\"lsn\":1"));
    assert_eq!(texts[2], r#"{"type":"LEGACY","data":{"cursor":3},"partition_id":"p"}"#);
    assert!(seen.has_log(Level::WARN, "covers 3 records, but 2 came"));
}

#[tokio::test]
async fn a_stranger_is_given_what_the_protocol_says() {
    let descriptor = StreamDescriptor::new(None, "a");
    let blob = Json::parse(r#"{"id":12345678901234567890123}"#.to_owned()).unwrap();
    let stream = StateMessage::stream(descriptor.clone(), Some(blob.clone()));
    let global = StateMessage::from(State::Global {
        shared: None,
        streams: vec![StreamState::new(descriptor, Some(blob.clone()))],
        extra: Default::default(),
    });
    let cases = [
        (vec![], None),
        (
            vec![stream],
            Some(
                r#"[{"type": "STREAM", "stream": {"stream_descriptor": {"name": "a"}, "stream_state": {"id": 12345678901234567890123}}}]"#,
            ),
        ),
        (
            vec![global],
            Some(
                r#"[{"type": "GLOBAL", "global": {"stream_states": [{"stream_descriptor": {"name": "a"}, "stream_state": {"id": 12345678901234567890123}}]}}]"#,
            ),
        ),
        (vec![StateMessage::from(State::Legacy(blob))], Some(r#"{"id": 12345678901234567890123}"#)),
    ];
    let source = source(script()).await;
    for (state, expected) in cases {
        let (result, seen) = read(source.clone(), ReadRequest { state, ..request("inputs", json!({})) }).await;
        result.unwrap();
        let log = |name: &str| seen.logs.iter().find_map(|(_, text)| text.strip_prefix(name));
        assert_eq!(log("state 0o600 0o700 "), expected);
        assert!(log("config 0o600 0o700 ").unwrap().contains("\"mode\""));
        let catalog = log("catalog 0o600 0o700 ").unwrap();
        assert!(
            catalog.contains("\"destination_sync_mode\": \"overwrite\"") && catalog.contains("\"generation_id\": 1")
        );
        let args = if expected.is_some() {
            "read --config PATH --catalog PATH --state PATH"
        } else {
            "read --config PATH --catalog PATH"
        };
        assert_eq!(log("args "), Some(args));
        let env: Vec<_> = log("env ").unwrap().split(' ').collect();
        assert!(env.contains(&"DEPLOYMENT_MODE") && env.contains(&"USE_STREAM_CAPABLE_STATE"));
        assert!(!env.iter().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")), "{env:?}");
    }
}

#[tokio::test]
async fn cancel_ends_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let request = request("hang", json!({"pids": pids}));
    let cancel = request.cancel.clone();
    let stop = |message: &SourceMessage, _: &Seen| {
        if matches!(message, SourceMessage::Batch(_)) {
            cancel.cancel();
        }
    };
    let (result, _) = timeout(LONG, read_with(source(script()).await, request, stop)).await.unwrap();
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert_dead(&pids);
}

#[tokio::test]
async fn a_read_that_is_dropped_leaves_nobody_behind() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let request = request("hang", json!({"pids": pids}));
    let source = source(script()).await;
    let (output, mut input) = output::channel(1 << 20);
    let task = tokio::spawn(async move { source.read(request, output).await });
    while !matches!(input.next().await.unwrap(), SourceMessage::Batch(_)) {}
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // The group was sent its end; the kernel takes a moment.
    let started = Instant::now();
    while fs::read_to_string(&pids).unwrap().split(' ').any(is_alive) && started.elapsed() < LONG {
        tokio::task::yield_now().await;
    }
    assert_dead(&pids);
}

#[tokio::test]
async fn a_check_that_hangs_ends_with_the_cancel_and_with_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let config = json!({"mode": "hang", "pids": pids});
    let mut command = script();
    let patient = source(command.clone()).await;
    let cancel = CancellationToken::new();
    let check = patient.check(&config, &cancel);
    let stop = async {
        while !pids.exists() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(check, stop);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert_dead(&pids);

    command.limits.answer = Duration::from_millis(400);
    let hasty = ProcessSource::with_specification(command, patient.specification().clone()).unwrap();
    let error = hasty.check(&config, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error:?}");
    assert!(error.message.contains("did not answer `check`"));
    assert_dead(&pids);
}

#[tokio::test]
async fn silence_has_an_end() {
    let mut command = script();
    command.limits.silence = Duration::from_millis(300);
    let (result, _) = timeout(LONG, read(source(command).await, request("silent", json!({})))).await.unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.message.contains("sent no record and no state"));
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_is_not_waited_for() {
    let (result, seen) = timeout(LONG, read_mode("leaves_a_child")).await.unwrap();
    result.unwrap();
    assert_eq!(seen.complete[0], (0, 1));
}

#[tokio::test]
async fn rows_that_trickle_do_not_wait_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("seen");
    let request = request("trickle", json!({"seen": flag}));
    let tell = |message: &SourceMessage, _: &Seen| {
        if matches!(message, SourceMessage::Batch(_)) {
            fs::write(&flag, "").unwrap();
        }
    };
    let (result, seen) = timeout(LONG, read_with(source(script()).await, request, tell)).await.unwrap();
    result.unwrap();
    assert_eq!(seen.ids(), [1, 2]);
}

#[tokio::test]
async fn a_line_of_25_megabytes_is_kept() {
    let (result, seen) = read(source(script()).await, request("huge", json!({"size": 12_500_000}))).await;
    result.unwrap();
    assert_eq!(seen.ids(), [1, 2, 3, 4]);
    assert_eq!(seen.column("name")[1].as_ref().map(String::len), Some(25_000_000));
    assert_eq!(seen.complete[0], (0, 4));
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_left_out_and_counted() {
    let mut command = script();
    command.limits.line = 1 << 20;
    let (result, seen) = read(source(command).await, request("huge", json!({"size": 2_000_000}))).await;
    result.unwrap();
    assert_eq!(seen.ids(), [1, 3, 4]);
    assert!(seen.has_log(Level::ERROR, "at most 1048576 are read"));
    assert!(seen.has_log(Level::ERROR, "1 lines of the connector"));
    assert_eq!(seen.complete[0], (0, 3));
}

#[tokio::test]
async fn values_that_are_not_text_become_null() {
    let (result, seen) = read_mode("invalid_utf8").await;
    result.unwrap();
    assert_eq!(seen.column("name"), [None, Some("row 2".to_owned())]);
    let changes: Vec<_> =
        seen.batches.iter().flat_map(|batch| &batch.changes).map(|c| (c.row, &*c.field, c.reason)).collect();
    assert_eq!(changes, [(0, "name", "DESTINATION_SERIALIZATION_ERROR")]);
}

#[tokio::test]
async fn changes_of_the_source_are_kept() {
    let (result, seen) = read_mode("changes").await;
    result.unwrap();
    let changes: Vec<_> =
        seen.batches.iter().flat_map(|batch| &batch.changes).map(|c| (c.row, &*c.field, c.change, c.reason)).collect();
    let expected = [
        (0, "name", "TRUNCATED", "SOURCE_FIELD_SIZE_LIMITATION"),
        (0, "name", "NULLED", "SOURCE_RETRIEVAL_ERROR"),
        (1, "id", "NULLED", "DESTINATION_SERIALIZATION_ERROR"),
    ];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn rows_of_one_batch_are_of_one_second() {
    let mut command = script();
    command.limits.linger = LONG;
    let (result, seen) = read(source(command).await, request("clocks", json!({}))).await;
    result.unwrap();
    let stamps: Vec<_> = seen.batches.iter().map(|batch| (batch.rows.num_rows(), batch.emitted_at)).collect();
    assert_eq!(stamps, [(3, 2000), (1, 2001), (2, 950)]);
}
