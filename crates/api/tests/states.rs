//! States and operations over HTTP.

use axum::http::StatusCode;
use control::testing::Act;
use serde_json::{Value, json};

use crate::ground::{Answer, NOBODY, Server, World};

async fn write(server: &Server, world: &World, state: Value) -> Answer {
    let mut state = state;
    state["connectionId"] = json!(world.connection);
    server.post("state/create_or_update", json!({"connectionId": world.connection, "connectionState": state})).await
}

fn one(name: &str, state: Value) -> Value {
    let descriptor = json!({"name": name});
    match state {
        Value::Null => json!({"streamDescriptor": descriptor}),
        state => json!({"streamDescriptor": descriptor, "streamState": state}),
    }
}

#[tokio::test]
async fn stream_states_are_written_stream_by_stream() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let read = async || server.post("state/get", json!({"connectionId": world.connection})).await.ok();
    assert_eq!(read().await, json!({"stateType": "not_set", "connectionId": world.connection}));
    assert_eq!(server.post("state/get", json!({"connectionId": NOBODY})).await.ok()["stateType"], "not_set");
    let state = |streams: &[Value]| json!({"stateType": "stream", "streamState": streams});
    let users = one("users", json!({"cursor": 5}));
    let orders = one("orders", json!({"cursor": 7}));
    write(&server, &world, state(&[users.clone(), orders.clone()])).await.ok();
    let seen = read().await;
    assert_eq!(seen["stateType"], "stream");
    assert_eq!(seen["streamState"].as_array().unwrap().len(), 2);
    // Another stream stays; without a blob its own goes.
    let newer = one("users", json!({"cursor": 6}));
    let written = write(&server, &world, state(&[newer.clone(), one("orders", Value::Null)])).await.ok();
    assert_eq!(written, json!({"stateType": "stream", "connectionId": world.connection, "streamState": [newer]}));
    assert_eq!(read().await, written);
    // An unknown stream may have one too, and `null` is the same as absent.
    let stranger = json!({"streamDescriptor": {"name": "s", "namespace": "n"}, "streamState": {}});
    write(
        &server,
        &world,
        state(&[stranger.clone(), json!({"streamDescriptor": {"name": "users"}, "streamState": null})]),
    )
    .await
    .ok();
    assert_eq!(read().await["streamState"], json!([stranger]));
    // Types do not mix.
    let global = json!({"stateType": "global", "globalState": {"streamStates": []}});
    assert_eq!(write(&server, &world, global).await.refused(), "connectionState.stateType");
}

#[tokio::test]
async fn a_blob_is_kept_as_it_came() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let blob = r#"{"big":123456789012345678901234567890,"exact":0.10000000000000000001,"z":1,"a":[1, 2]}"#;
    let id = &world.connection;
    let body = format!(
        r#"{{"connectionId":"{id}","connectionState":{{"connectionId":"{id}","stateType":"stream","streamState":
        [{{"streamDescriptor":{{"name":"users"}},"streamState":{blob}}}]}}}}"#
    );
    let answer = server.post_bytes("state/create_or_update", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.text.contains(blob), "{}", answer.text);
}

#[tokio::test]
async fn global_and_legacy_states() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let other = World::create(&server).await;
    let global = json!({"stateType": "global", "globalState": {"shared_state": {"lsn": 1}, "streamStates": [one("users", json!({"id": 5}))]}});
    let written = write(&server, &world, global.clone()).await.ok();
    assert_eq!(written["globalState"], global["globalState"]);
    let more = json!({"stateType": "global", "globalState": {"shared_state": {"lsn": 2}, "streamStates": [one("orders", json!({"id": 6}))]}});
    let written = write(&server, &world, more).await.ok();
    let expected = json!({"shared_state": {"lsn": 2}, "streamStates": [one("users", json!({"id": 5})), one("orders", json!({"id": 6}))]});
    assert_eq!(written["globalState"], expected);
    // A legacy state is any JSON, and gives way to another type.
    let legacy = json!({"stateType": "legacy", "state": {"users": {"cursor": 1}}});
    assert_eq!(write(&server, &other, legacy.clone()).await.ok()["state"], legacy["state"]);
    let stream = json!({"stateType": "stream", "streamState": [one("users", json!({"cursor": 2}))]});
    let written = write(&server, &other, stream.clone()).await.ok();
    assert_eq!((&written["stateType"], &written["streamState"]), (&json!("stream"), &stream["streamState"]));
    assert_eq!(written.get("state"), None);
}

#[tokio::test]
async fn wrong_states_are_refused() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let cases = [
        (json!({"stateType": "stream"}), "connectionState.streamState"),
        (json!({"stateType": "global"}), "connectionState.globalState"),
        (json!({"stateType": "global", "globalState": {}}), "connectionState.globalState.streamStates"),
        (json!({"stateType": "other"}), "connectionState.stateType"),
        (json!({"stateType": "stream", "streamState": [{}]}), "connectionState.streamState[0].streamDescriptor"),
        (
            json!({"stateType": "stream", "streamState": [one("a", json!(5))]}),
            "connectionState.streamState[0].streamState",
        ),
        (
            json!({"stateType": "stream", "streamState": [one("a", json!({})), one("a", json!({}))]}),
            "connectionState.streamState[1].streamDescriptor",
        ),
        (
            json!({"stateType": "global", "globalState": {"shared_state": "x", "streamStates": []}}),
            "connectionState.globalState.shared_state",
        ),
    ];
    for (state, path) in cases {
        assert_eq!(write(&server, &world, state.clone()).await.refused(), path, "{state}");
    }
    let body =
        json!({"connectionId": world.connection, "connectionState": {"connectionId": NOBODY, "stateType": "not_set"}});
    assert_eq!(server.post("state/create_or_update", body).await.refused(), "connectionState.connectionId");
    // A running job would not see it.
    server.runner.then(Act::Hang);
    server.control.sync(world.connection.parse().unwrap()).await.unwrap();
    let stream = json!({"stateType": "stream", "streamState": [one("users", json!({"cursor": 2}))]});
    let answer = write(&server, &world, stream).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::CONFLICT, &json!("job_active")));
}

#[tokio::test]
async fn operations_are_kept_for_stored_scripts() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let normalization = json!({"operatorType": "normalization", "normalization": {"option": "basic"}});
    let dbt = json!({"operatorType": "dbt", "dbt": {"gitRepoUrl": "u"}, "normalization": {"option": "basic"}});
    let own = json!({"operationId": world.operation});
    let read = server.post("operations/get", own.clone()).await.ok();
    assert_eq!(read["operatorConfiguration"], normalization);
    let body = json!({"operationId": world.operation, "name": "n", "operatorConfiguration": dbt});
    let updated = server.post("operations/update", body).await.ok();
    assert_eq!(updated["operatorConfiguration"], json!({"operatorType": "dbt", "dbt": {"gitRepoUrl": "u"}}));
    let missing = json!({"operatorType": "webhook", "dbt": {"gitRepoUrl": "u"}});
    assert_eq!(server.post("operations/check", missing.clone()).await.ok()["status"], "failed");
    assert_eq!(server.post("operations/check", normalization).await.ok()["status"], "succeeded");
    let body = json!({"operationId": world.operation, "name": "n", "operatorConfiguration": missing});
    assert_eq!(server.post("operations/update", body).await.refused(), "operatorConfiguration.webhook");
    let of_connection = json!({"connectionId": world.connection});
    let list = async || server.post("operations/list", of_connection.clone()).await.ok();
    assert_eq!(list().await, json!({"operations": []}));
    let link = json!({"connectionId": world.connection, "operationIds": [world.operation]});
    server.post("connections/update", link).await.ok();
    assert_eq!(list().await, json!({"operations": [updated]}));
    for id in [world.operation.as_str(), NOBODY] {
        let answer = server.post("operations/delete", json!({"operationId": id})).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(list().await, json!({"operations": []}));
    assert_eq!(server.post("operations/get", own).await.ok(), updated);
    let body = json!({"workspaceId": NOBODY, "name": "n", "operatorConfiguration": {"operatorType": "normalization", "normalization": {}}});
    assert_eq!(server.post("operations/create", body).await.status, StatusCode::NOT_FOUND);
}
