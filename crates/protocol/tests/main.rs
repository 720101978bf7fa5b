//! The wire: what came in goes out again, and nothing that comes in panics.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use protocol::{Message, State, StateMessage, StreamDescriptor, message::TraceKind};
use serde_json::{Value, json};

fn check(line: &str) -> Message {
    let message = Message::parse(line).unwrap();
    let again: Value = serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(line).unwrap());
    message
}

#[test]
fn every_message_keeps_what_it_does_not_know() {
    check(
        r#"{"type":"RECORD","record":{"stream":"a","namespace":"n","data":{"id":1},"emitted_at":5,"partition_id":"p"}}"#,
    );
    check(
        r#"{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{"c":1},"x":2},"id":7,"sourceStats":{"recordCount":3.0}}}"#,
    );
    check(
        r#"{"type":"STATE","state":{"type":"GLOBAL","global":{"shared_state":{"lsn":1},"stream_states":[{"stream_descriptor":{"name":"a"}}],"y":[1]},"z":{}}}"#,
    );
    check(r#"{"type":"STATE","state":{"type":"LEGACY","data":{"cursor":"x"}}}"#);
    check(r#"{"type":"LOG","log":{"level":"INFO","message":"m","extra":1}}"#);
    check(r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object"},"new_property":true}}"#);
    check(r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"no"}}"#);
    check(
        r#"{"type":"TRACE","trace":{"emitted_at":1795497664799.0151,"type":"ERROR","error":{"message":"m","failure_type":"config_error"}}}"#,
    );
    check(
        r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1.0,"connectorConfig":{"config":{}}}}"#,
    );
    check(r#"{"type":"SOMETHING_NEW","something":{"a":1}}"#);
}

#[test]
fn a_number_beyond_every_type_survives_in_a_state() {
    let line = r#"{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{"n":123456789012345678901234567890.10}}}"#;
    let state: StateMessage = serde_json::from_str(line).unwrap();
    assert_eq!(serde_json::to_string(&state).unwrap(), line);
}

#[test]
fn absent_null_and_empty_namespaces_are_one() {
    let names = [json!({"name": "a"}), json!({"name": "a", "namespace": null}), json!({"name": "a", "namespace": ""})];
    for name in names {
        let descriptor: StreamDescriptor = serde_json::from_value(name).unwrap();
        assert_eq!(descriptor, StreamDescriptor::new(None, "a"));
    }
}

#[test]
fn the_old_blob_beside_a_typed_state_is_dropped() {
    let both =
        r#"{"type":"STREAM","data":{"old":1},"stream":{"stream_descriptor":{"name":"a"},"stream_state":{"new":1}}}"#;
    let state: StateMessage = serde_json::from_str(both).unwrap();
    assert!(!serde_json::to_string(&state).unwrap().contains("old"));
}

#[test]
fn a_state_without_a_type_is_legacy() {
    let state: StateMessage = serde_json::from_str(r#"{"data":{"a":1}}"#).unwrap();
    assert!(matches!(state.state, State::Legacy(_)));
}

#[test]
fn errors_name_the_member() {
    let cases = [
        (r#"{"record":{}}"#, "type"),
        (r#"{"type":"RECORD","record":{"stream":"a","emitted_at":1}}"#, "data"),
        (r#"{"type":"RECORD","record":{"stream":"a","data":[],"emitted_at":1}}"#, "data"),
        (r#"{"type":"RECORD","record":{"stream":1,"data":{},"emitted_at":1}}"#, "stream"),
        (r#"{"type":"STATE","state":{"type":"STREAM"}}"#, "stream"),
        (r#"{"type":"STATE","state":{"type":"MOON","data":{}}}"#, "MOON"),
    ];
    for (line, named) in cases {
        let error = Message::parse(line).unwrap_err().to_string();
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn a_stream_status_is_read() {
    let line = r#"{"type":"TRACE","trace":{"emitted_at":1.0,"type":"STREAM_STATUS","stream_status":{"stream_descriptor":{"name":"a"},"status":"COMPLETE"}}}"#;
    let Message::Trace(trace) = check(line) else { panic!("not a trace") };
    assert!(matches!(trace.kind, TraceKind::StreamStatus { .. }));
}

#[test]
fn each_member_of_a_trace_is_written_once() {
    let line = r#"{"type":"TRACE","trace":{"emitted_at":1.5,"type":"ANALYTICS","analytics":{"a":1},"more":[2]}}"#;
    assert_eq!(serde_json::to_string(&Message::parse(line).unwrap()).unwrap(), line);
}

proptest! {
    #[test]
    fn nothing_panics(line in "\\PC*") {
        let _ = Message::parse(&line);
        let _ = Message::parse(&format!(r#"{{"type":"STATE","state":{line}}}"#));
    }

    #[test]
    fn state_blobs_come_back_as_they_were(key in "[a-z]{1,8}", number in any::<i64>(), text in "\\PC{0,20}") {
        let blob = json!({ key: [number, text] });
        let state = StateMessage::stream(StreamDescriptor::new(Some("n"), "s"), Some(protocol::Json::from_value(&blob).unwrap()));
        let again: StateMessage = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        prop_assert_eq!(again, state);
    }
}
