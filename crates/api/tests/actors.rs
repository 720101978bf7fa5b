//! Workspaces, sources and destinations: secrets, searches, checks, discoveries, deletes.

use control::{
    runner::{CheckOutcome, FailureType},
    testing::{Act, failure},
};
use serde_json::{Value, json};

use crate::ground::{Server, World, source_definition};

const MASK: &str = "**********";

async fn config_of(server: &Server, source: &str) -> Value {
    let read = server.post("sources/get", json!({"sourceId": source})).await.ok();
    read["connectionConfiguration"].clone()
}

/// What a connector would be given.
async fn clear(server: &Server, source: &str) -> Value {
    server.control.resolve(control::runner::ActorKind::Source, source.parse().unwrap()).await.unwrap().config
}

#[tokio::test]
async fn secrets_are_masked_and_restored() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let config = json!({
        "count": 3, "password": "pass-one", "keys": [{"key": "key-one"}, {"key": "key-two"}],
        "method": {"kind": "token", "token": "token-one"}
    });
    // As the oldest client sends it: JSON text in a string.
    let body = json!({
        "workspaceId": world.workspace, "name": "s", "sourceDefinitionId": source_definition(),
        "connectionConfiguration": config.to_string()
    });
    let created = server.post("sources/create", body).await.ok();
    let source = created["sourceId"].as_str().unwrap();
    let masked = json!({
        "count": 3, "password": MASK, "keys": [{"key": MASK}, {"key": MASK}], "method": {"kind": "token", "token": MASK}
    });
    assert_eq!(created["connectionConfiguration"], masked);
    assert_eq!(config_of(&server, source).await, masked);
    assert_eq!(clear(&server, source).await, config);
    let dump = server.store.dump().await.unwrap().to_string();
    for secret in ["pass-one", "key-one", "key-two", "token-one"] {
        assert!(!dump.contains(secret), "{secret} lies in the store in clear");
    }

    let mut update = masked.clone();
    update["count"] = json!(4);
    update["keys"][1]["key"] = json!("key-new");
    let body = json!({"sourceId": source, "name": "s", "connectionConfiguration": update});
    assert_eq!(server.post("sources/update", body).await.ok()["connectionConfiguration"]["keys"][1]["key"], MASK);
    let mut expected = config.clone();
    expected["count"] = json!(4);
    expected["keys"][1]["key"] = json!("key-new");
    assert_eq!(clear(&server, source).await, expected);

    // A key that is left out is dropped, and so is its secret.
    let body = json!({"sourceId": source, "name": "s", "connectionConfiguration": {"count": 5}});
    server.post("sources/update", body).await.ok();
    assert_eq!(clear(&server, source).await, json!({"count": 5}));
    let body = json!({"sourceId": source, "name": "s", "connectionConfiguration": {"count": 5, "password": MASK}});
    assert_eq!(server.post("sources/update", body).await.refused(), "connectionConfiguration.password");
}

#[tokio::test]
async fn a_secret_never_shows_in_a_refusal() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let cases = [
        json!({"count": "x", "password": "s3cr3t-value"}),
        json!({"count": 1, "password": ["s3cr3t-value"]}),
        json!({"count": 1, "method": {"kind": "other", "token": "s3cr3t-value"}}),
        json!("s3cr3t-value"),
        json!(["s3cr3t-value"]),
    ];
    for config in cases {
        let body = json!({"sourceId": world.source, "name": "s", "connectionConfiguration": config});
        for path in ["sources/update", "sources/check_connection_for_update"] {
            let answer = server.post(path, body.clone()).await;
            answer.refused();
            assert!(!answer.text.contains("s3cr3t-value"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_search_compares_whole_values_and_no_secrets() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let check = async |body: Value, expected: usize| {
        let found = server.post("sources/search", body.clone()).await.ok();
        assert_eq!(found["sources"].as_array().unwrap().len(), expected, "{body}");
    };
    check(json!({}), 1).await;
    check(json!({"name": "numbers", "sourceName": "Sample Data (Faker)"}), 1).await;
    check(json!({"name": "Numbers"}), 0).await;
    check(json!({"name": ""}), 1).await;
    check(json!({"sourceId": world.source.to_uppercase()}), 1).await;
    check(json!({"connectionConfiguration": {"count": 10}}), 1).await;
    check(json!({"connectionConfiguration": "{\"count\":10}"}), 1).await;
    check(json!({"connectionConfiguration": {"count": 11}}), 0).await;
    check(json!({"connectionConfiguration": "word"}), 0).await;
    check(json!({"connectionConfiguration": []}), 1).await;
    check(json!({"connectionConfiguration": {"password": "hunter2"}}), 0).await;
    check(json!({"connectionConfiguration": {"password": MASK}}), 0).await;
}

#[tokio::test]
async fn a_failed_check_is_an_answer() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let own = json!({"sourceId": world.source});
    let answer = server.post("sources/check_connection", own.clone()).await.ok();
    assert_eq!((&answer["status"], &answer["jobInfo"]["succeeded"]), (&json!("succeeded"), &json!(true)));

    server.runner.checks(Ok(CheckOutcome { succeeded: false, message: Some("no login with hunter2".to_owned()) }));
    let answer = server.post("sources/check_connection", own.clone()).await.ok();
    assert_eq!((&answer["status"], &answer["jobInfo"]["succeeded"]), (&json!("failed"), &json!(true)));
    assert_eq!(answer["message"], format!("no login with {MASK}"));

    server.runner.checks(Err(failure(FailureType::SystemError)));
    let answer = server.post("sources/check_connection", own).await.ok();
    assert_eq!((&answer["status"], &answer["jobInfo"]["succeeded"]), (&json!("failed"), &json!(false)));
    assert_eq!(answer["message"], "scripted SystemError");
    assert_eq!(answer["jobInfo"]["configType"], "check_connection_source");
}

#[tokio::test]
async fn unsaved_checks_take_masked_secrets_only_from_their_own_kind() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let other = World::without_connection(&server).await;
    let body = |workspace: &str| {
        json!({"workspaceId": workspace, "sourceDefinitionId": source_definition(), "sourceId": world.source,
            "connectionConfiguration": {"count": 1, "password": MASK}})
    };
    let path = "scheduler/sources/check_connection";
    assert_eq!(server.post(path, body(&world.workspace)).await.ok()["status"], "succeeded");
    assert_eq!(server.post(path, body(&other.workspace)).await.refused(), "sourceId");
}

#[tokio::test]
async fn discoveries_are_kept_by_version_and_configuration() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let path = "sources/discover_schema";
    let cached = server.post(path, json!({"sourceId": world.source})).await.ok();
    assert_eq!(cached["jobInfo"]["createdAt"], 0, "the second one is answered from the store");
    assert_eq!(cached["catalogId"], world.catalog_id.as_str());
    let fresh = server.post(path, json!({"sourceId": world.source, "disable_cache": true})).await.ok();
    assert_ne!(fresh["jobInfo"]["createdAt"], 0);
    assert_eq!(fresh["catalogId"], world.catalog_id.as_str(), "the same catalog is stored once");

    let body = json!({"sourceId": world.source, "name": "s", "connectionConfiguration": {"count": 99}});
    server.post("sources/update", body).await.ok();
    let changed = server.post(path, json!({"sourceId": world.source})).await.ok();
    assert_ne!(changed["jobInfo"]["createdAt"], 0, "another configuration is asked anew");

    server.runner.discovers(Err(failure(FailureType::ConfigError)));
    let failed = server.post(path, json!({"sourceId": world.source, "disable_cache": true})).await.ok();
    assert_eq!(failed["jobInfo"]["succeeded"], false);
    assert_eq!(failed["jobInfo"]["failureReason"]["externalMessage"], "scripted ConfigError");
    assert!(failed.get("catalog").is_none() && failed.get("catalogId").is_none());

    let latest = server.post("sources/most_recent_source_actor_catalog", json!({"sourceId": world.source})).await.ok();
    assert_eq!(latest["catalog"]["streams"][0]["supported_sync_modes"], json!(["full_refresh", "incremental"]));
    assert!(latest["updatedAt"].as_i64().unwrap() < 100_000_000_000, "seconds");
}

#[tokio::test]
async fn a_deleted_actor_can_be_read_and_nothing_else() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let own = json!({"sourceId": world.source});
    for _ in 0..2 {
        assert_eq!(server.post("sources/delete", own.clone()).await.status, 204);
    }
    let read = server.post("sources/get", own.clone()).await.ok();
    assert_eq!(read["connectionConfiguration"]["password"], MASK);
    let list = server.post("sources/list", json!({"workspaceId": world.workspace})).await.ok();
    assert_eq!(list, json!({"sources": []}));
    for path in ["sources/check_connection", "sources/discover_schema"] {
        assert_eq!(server.post(path, own.clone()).await.status, 404, "{path}");
    }
    let body = json!({"sourceId": world.source, "name": "s", "connectionConfiguration": {"count": 1}});
    assert_eq!(server.post("sources/update", body).await.status, 404);
}

#[tokio::test]
async fn workspaces_are_patched_and_keep_their_slugs_apart() {
    let server = Server::start().await;
    let first = server.post_bytes("workspaces/list", "").await.ok();
    let seeded = &first["workspaces"][0];
    assert_eq!(seeded["name"], seeded["workspaceId"]);
    assert_eq!(seeded["slug"], seeded["workspaceId"]);
    assert_eq!((&seeded["initialSetupComplete"], &seeded["displaySetupWizard"]), (&json!(false), &json!(true)));

    let a = server.post("workspaces/create", json!({"name": "My Team", "email": "a@b.c"})).await.ok();
    let b = server.post("workspaces/create", json!({"name": "My Team"})).await.ok();
    assert_eq!(a["slug"], "my-team");
    let slug = b["slug"].as_str().unwrap();
    assert!(slug.starts_with("my-team-") && slug.len() == "my-team-".len() + 8, "{slug}");

    let id = &a["workspaceId"];
    let patch = json!({"workspaceId": id, "email": "", "news": true, "webhookConfigs": [{"name": "w", "authToken": "t0ken-x"}]});
    let patched = server.post("workspaces/update", patch).await.ok();
    assert_eq!((&patched["email"], &patched["news"]), (&json!("a@b.c"), &json!(true)));
    assert_eq!(patched["webhookConfigs"].as_array().unwrap().len(), 1);
    assert!(!server.store.dump().await.unwrap().to_string().contains("t0ken-x"));
    let renamed = server.post("workspaces/update_name", json!({"workspaceId": id, "name": "New"})).await.ok();
    assert_eq!((&renamed["name"], &renamed["slug"]), (&json!("New"), &json!("new")));

    assert_eq!(server.post("workspaces/delete", json!({"workspaceId": id})).await.status, 204);
    for path in ["workspaces/get", "workspaces/delete", "workspaces/update"] {
        assert_eq!(server.post(path, json!({"workspaceId": id})).await.status, 404, "{path}");
    }
    assert_eq!(
        server.post("workspaces/create", json!({"name": "New"})).await.ok()["slug"],
        "new",
        "a slug becomes free again"
    );
}

async fn status_of(server: &Server, connection: &str) -> Value {
    let read = server.post("connections/get", json!({"connectionId": connection})).await.ok();
    json!([read["status"], read["breakingChange"]])
}

/// The scripted catalog with one edit.
fn edited(world: &World, edit: impl FnOnce(&mut Value)) -> protocol::Catalog {
    let mut streams = Vec::new();
    for entry in world.catalog["streams"].as_array().unwrap() {
        let stream = &entry["stream"];
        streams.push(json!({
            "name": stream["name"], "json_schema": stream["jsonSchema"], "supported_sync_modes": stream["supportedSyncModes"],
            "source_defined_cursor": true, "default_cursor_field": ["updated_at"], "source_defined_primary_key": [["id"]]
        }));
    }
    let mut catalog = json!({ "streams": streams });
    edit(&mut catalog);
    serde_json::from_value(catalog).unwrap()
}

#[tokio::test]
async fn a_changed_schema_is_told_and_applied() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let second = json!({
        "sourceId": world.source, "destinationId": world.destination, "status": "active", "syncCatalog": world.catalog,
        "nonBreakingChangesPreference": "disable"
    });
    let second = server.post("connections/create", second).await.ok();
    let second = second["connectionId"].as_str().unwrap();
    let request = json!({"sourceId": world.source, "connectionId": world.connection, "disable_cache": true});
    let discover = async || server.post("sources/discover_schema", request.clone()).await.ok();

    let same = discover().await;
    assert_eq!(same["catalogDiff"], json!({"transforms": []}));
    assert_eq!((&same["breakingChange"], &same["connectionStatus"]), (&json!(false), &json!("active")));

    server.runner.discovers(Ok(edited(&world, |catalog| {
        catalog["streams"][0]["json_schema"]["properties"]["age"] = json!({"type": "integer"});
        catalog["streams"][1]["name"] = json!("lines");
    })));
    let changed = discover().await;
    let users = &changed["catalogDiff"]["transforms"][2];
    assert_eq!(
        changed["catalogDiff"]["transforms"][0],
        json!({"transformType": "remove_stream", "streamDescriptor": {"name": "orders"}})
    );
    assert_eq!(
        changed["catalogDiff"]["transforms"][1],
        json!({"transformType": "add_stream", "streamDescriptor": {"name": "lines"}})
    );
    assert_eq!(
        users["updateStream"],
        json!([{"transformType": "add_field", "fieldName": ["age"], "breaking": false, "addField": {"schema": {"type": "integer"}}}])
    );
    assert_eq!((&changed["breakingChange"], &changed["connectionStatus"]), (&json!(false), &json!("active")));
    assert_eq!(status_of(&server, second).await, json!(["inactive", false]), "it asked to be stopped by any change");

    let incremental = json!({"syncCatalog": {"streams": [{
        "stream": world.catalog["streams"][0]["stream"],
        "config": {"syncMode": "incremental", "destinationSyncMode": "append", "selected": true}
    }]}, "connectionId": world.connection});
    server.post("connections/update", incremental).await.ok();
    server.runner.discovers(Ok(edited(&world, |catalog| {
        catalog["streams"][0]["json_schema"]["properties"].as_object_mut().unwrap().remove("updated_at");
    })));
    let broken = discover().await;
    assert_eq!((&broken["breakingChange"], &broken["connectionStatus"]), (&json!(true), &json!("inactive")));
    assert_eq!(status_of(&server, &world.connection).await, json!(["inactive", true]));

    server.runner.discovers(Ok(edited(&world, |_| {})));
    let repaired = discover().await;
    assert_eq!((&repaired["breakingChange"], &repaired["connectionStatus"]), (&json!(false), &json!("inactive")));
    let other = World::without_connection(&server).await;
    let request = json!({"sourceId": other.source, "connectionId": world.connection});
    assert_eq!(server.post("sources/discover_schema", request).await.refused(), "connectionId");
}

#[tokio::test]
async fn what_is_deleted_takes_its_connections_along() {
    let server = Server::start().await;
    for what in ["sources", "destinations", "workspaces"] {
        let world = World::create(&server).await;
        let own = json!({"sourceId": world.source, "destinationId": world.destination, "workspaceId": world.workspace});
        server.runner.then(Act::Hang);
        let job = server.control.sync(world.connection.parse().unwrap()).await.unwrap().job.id;
        assert_eq!(server.post(&format!("{what}/delete"), own).await.status, 204, "{what}");
        assert_eq!(status_of(&server, &world.connection).await, json!(["deprecated", false]), "{what}");
        let job = server.control.job_light(job).await.unwrap();
        assert_eq!(job.status, control::jobs::JobStatus::Cancelled, "{what}: what runs is cancelled");
    }
}
