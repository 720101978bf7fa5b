//! The connection operations, rule by rule.

use std::sync::Arc;

use axum::http::StatusCode;
use control::{
    clock::SystemClock,
    runner::{AttemptKind, NamespaceRule},
    testing::Act,
};
use serde_json::{Value, json};
use store::Backend;

use crate::ground::{Answer, NOBODY, Server, World, destination_definition, source_definition};

/// `base` with the members of `change` put over it; a `null` takes a member away.
pub fn with(mut base: Value, change: Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => base.as_object_mut().unwrap().shift_remove(name),
            value => base.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    base
}

fn bare(world: &World) -> Value {
    json!({"sourceId": world.source, "destinationId": world.destination, "status": "inactive"})
}

async fn create(server: &Server, world: &World, change: Value) -> Answer {
    server.post("connections/create", with(bare(world), change)).await
}

async fn update(server: &Server, world: &World, change: Value) -> Answer {
    server.post("connections/update", with(json!({"connectionId": world.connection}), change)).await
}

async fn get(server: &Server, id: &Value) -> Value {
    server.post("connections/get", json!({"connectionId": id})).await.ok()
}

fn ids(list: &Value) -> Vec<&str> {
    list["connections"].as_array().unwrap().iter().map(|c| c["connectionId"].as_str().unwrap()).collect()
}

/// One selected stream with the fields `id`, `name` and `updated_at`.
fn stream(name: &str, config: Value) -> Value {
    let fields = json!({"id": {"type": "integer"}, "name": {"type": "string"}, "updated_at": {"type": "string"}});
    let config = with(json!({"syncMode": "full_refresh", "destinationSyncMode": "append"}), config);
    json!({"stream": {"name": name, "jsonSchema": {"type": "object", "properties": fields}}, "config": config})
}

fn catalog(streams: &[Value]) -> Value {
    json!({ "streams": streams })
}

#[tokio::test]
async fn a_bare_create_gets_the_defaults() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let created = create(&server, &world, json!({})).await.ok();
    let mut expected = json!({
        "connectionId": created["connectionId"], "name": "numbers <> file", "namespaceDefinition": "source",
        "sourceId": world.source, "destinationId": world.destination, "operationIds": [], "syncCatalog": {"streams": []},
        "scheduleType": "manual", "status": "inactive", "geography": "auto", "breakingChange": false,
        "notifySchemaChanges": false, "notifySchemaChangesByEmail": false, "nonBreakingChangesPreference": "ignore",
        "workspaceId": world.workspace,
    });
    expected["created_at"] = created["created_at"].clone();
    assert_eq!(created, expected);
    assert_eq!(get(&server, &created["connectionId"]).await, created);
    // What the oldest client makes of its own defaults, and ids as somebody typed them.
    let upper = json!({"sourceId": world.source.to_uppercase(), "prefix": "", "namespaceFormat": "", "name": "x"});
    let created = create(&server, &world, upper).await.ok();
    assert_eq!(created["sourceId"], world.source);
    assert_eq!((created["prefix"].as_str(), created["namespaceFormat"].as_str()), (Some(""), Some("")));
    let blank = json!({"destinationId": "", "sourceId": "", "status": "active"});
    assert_eq!(server.post("connections/create", blank).await.refused(), "destinationId");
}

#[tokio::test]
async fn a_schedule_is_read_back_in_both_forms() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let hours = json!({"units": 3, "timeUnit": "hours"});
    let both = json!({"schedule": hours, "scheduleType": "basic", "scheduleData": {"basicSchedule": hours}});
    let older = json!({"schedule": hours});
    let newer = json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": hours}});
    let cron = json!({"cron": {"cronExpression": "0 0 6 * * ?", "cronTimeZone": "US/Pacific"}});
    let cron = json!({"scheduleType": "cron", "scheduleData": cron});
    let manual = json!({"scheduleType": "manual"});
    let cases = [(older, both.clone()), (newer, both), (cron.clone(), cron), (manual.clone(), manual)];
    for (given, expected) in cases {
        let created = create(&server, &world, given).await.ok();
        for name in ["schedule", "scheduleType", "scheduleData"] {
            assert_eq!(created.get(name), expected.get(name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_create_refuses_is_named() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let day = json!({"units": 1, "timeUnit": "days"});
    let cron = |expression: &str, zone: &str| json!({"cron": {"cronExpression": expression, "cronTimeZone": zone}});
    let selected = |config: Value| json!({"syncCatalog": catalog(&[stream("users", config)])});
    let basic = |units: Value, unit: &str| json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": {"units": units, "timeUnit": unit}}});
    let cases = [
        (json!({"status": null}), "status"),
        (json!({"status": "locked"}), "status"),
        (json!({"status": "Active"}), "status"),
        (json!({"sourceId": "numbers"}), "sourceId"),
        (json!({"name": 5}), "name"),
        (json!({"name": "x".repeat(20_000)}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"namespaceDefinition": "customformat"}), "namespaceFormat"),
        (json!({"namespaceDefinition": "elsewhere"}), "namespaceDefinition"),
        (json!({"geography": "asia"}), "geography"),
        (json!({"nonBreakingChangesPreference": "propagate_columns"}), "nonBreakingChangesPreference"),
        (json!({"operationIds": "x"}), "operationIds"),
        (json!({"operationIds": [world.operation, 5]}), "operationIds[1]"),
        // Schedules.
        (json!({"schedule": day, "scheduleType": "basic", "scheduleData": {"basicSchedule": day}}), "schedule"),
        (json!({"schedule": {"units": 1}}), "schedule.timeUnit"),
        (json!({"schedule": {"units": 0, "timeUnit": "days"}}), "schedule.units"),
        (json!({"schedule": {"units": 566602, "timeUnit": "days"}}), "schedule.units"),
        (json!({"schedule": {"units": 1.5, "timeUnit": "days"}}), "schedule.units"),
        (json!({"schedule": {"units": 1, "timeUnit": "years"}}), "schedule.timeUnit"),
        (json!({"scheduleData": {"basicSchedule": day}}), "scheduleType"),
        (json!({"scheduleType": "basic"}), "scheduleData.basicSchedule"),
        (json!({"scheduleType": "basic", "scheduleData": {}}), "scheduleData.basicSchedule"),
        (basic(json!(-1), "hours"), "scheduleData.basicSchedule.units"),
        (basic(json!(i64::MAX), "months"), "scheduleData.basicSchedule.units"),
        (basic(json!(18446744073709551615_u64), "months"), "scheduleData.basicSchedule.units"),
        (json!({"scheduleType": "cron"}), "scheduleData.cron"),
        (json!({"scheduleType": "cron", "scheduleData": {"basicSchedule": day}}), "scheduleData.basicSchedule"),
        (
            json!({"scheduleType": "cron", "scheduleData": {"cron": {"cronExpression": "0 0 6 * * ?"}}}),
            "scheduleData.cron.cronTimeZone",
        ),
        (json!({"scheduleType": "cron", "scheduleData": cron("0 6 * * *", "UTC")}), "scheduleData.cron.cronExpression"),
        (
            json!({"scheduleType": "cron", "scheduleData": cron("0 0 6 * * ?", "Mars/Olympus")}),
            "scheduleData.cron.cronTimeZone",
        ),
        // Resources.
        (json!({"resourceRequirements": {"memory_limit": "ipsum"}}), "resourceRequirements.memory_limit"),
        (json!({"resourceRequirements": {"cpu_request": 1}}), "resourceRequirements.cpu_request"),
        // Catalogs.
        (json!({"syncCatalog": {}}), "syncCatalog.streams"),
        (json!({"syncCatalog": {"streams": [{}]}}), "syncCatalog.streams[0].stream"),
        (json!({"syncCatalog": {"streams": [{"stream": {"name": "users"}}]}}), "syncCatalog.streams[0].config"),
        (selected(json!({"syncMode": "full"})), "syncCatalog.streams[0].config.syncMode"),
        (selected(json!({"destinationSyncMode": null})), "syncCatalog.streams[0].config.destinationSyncMode"),
        (selected(json!({"selected": "yes"})), "syncCatalog.streams[0].config.selected"),
        (selected(json!({"fieldSelectionEnabled": true})), "syncCatalog.streams[0].config.selectedFields"),
        (
            selected(json!({"fieldSelectionEnabled": true, "selectedFields": []})),
            "syncCatalog.streams[0].config.selectedFields",
        ),
        (
            selected(json!({"fieldSelectionEnabled": true, "selectedFields": [{}]})),
            "syncCatalog.streams[0].config.selectedFields[0].fieldPath",
        ),
        (
            selected(json!({"fieldSelectionEnabled": true, "selectedFields": [{"fieldPath": ["nope"]}]})),
            "syncCatalog.streams[0].config.selectedFields[0].fieldPath",
        ),
        (
            json!({"syncCatalog": catalog(&[stream("users", json!({})), stream("users", json!({}))])}),
            "syncCatalog.streams[1].stream.name",
        ),
        (
            json!({"syncCatalog": {"streams": [{"stream": {"name": "new"}, "config": {"syncMode": "incremental", "destinationSyncMode": "append"}}]}}),
            "syncCatalog.streams[0].stream.jsonSchema",
        ),
    ];
    for (change, path) in cases {
        let answer = create(&server, &world, change.clone()).await;
        assert_eq!(answer.refused(), path, "{change}");
        assert!(answer.body["message"].as_str().unwrap().contains(path), "{}", answer.text);
    }
    let list = server.post("connections/list", json!({"workspaceId": world.workspace})).await.ok();
    assert_eq!(list, json!({"connections": []}));
}

#[tokio::test]
async fn a_create_finds_what_it_refers_to() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let other = World::without_connection(&server).await;
    for change in [
        json!({"sourceId": NOBODY}),
        json!({"destinationId": NOBODY}),
        json!({"operationIds": [NOBODY]}),
        json!({"sourceCatalogId": NOBODY}),
        json!({"sourceCatalogId": NOBODY, "syncCatalog": {"streams": []}}),
    ] {
        let answer = create(&server, &world, change.clone()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{change}");
        assert_eq!(answer.body["id"], NOBODY);
    }
    assert_eq!(create(&server, &world, json!({"destinationId": other.destination})).await.refused(), "destinationId");
    assert_eq!(create(&server, &world, json!({"operationIds": [other.operation]})).await.refused(), "operationIds[0]");
    let twice = json!({"operationIds": [world.operation, world.operation]});
    assert_eq!(create(&server, &world, twice).await.ok()["operationIds"], json!([world.operation]));
    server.post("operations/delete", json!({"operationId": world.operation})).await;
    assert_eq!(create(&server, &world, json!({"operationIds": [world.operation]})).await.status, StatusCode::NOT_FOUND);
    server.post("destinations/delete", json!({"destinationId": world.destination})).await;
    let answer = create(&server, &world, json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body["hint"].as_str().unwrap().contains("deleted"), "{}", answer.text);
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let mut expected = get(&server, &json!(world.connection)).await;
    let every_week = json!({"units": 1, "timeUnit": "weeks"});
    let patches = [
        json!({}),
        json!({"name": "other", "prefix": "p_", "namespaceFormat": "f"}),
        json!({"prefix": "", "namespaceFormat": ""}),
        json!({"namespaceDefinition": "customformat"}),
        json!({"operationIds": [world.operation]}),
        json!({"operationIds": []}),
        json!({"status": "inactive", "geography": "us", "breakingChange": true}),
        json!({"breakingChange": false}),
        json!({"notifySchemaChanges": true, "notifySchemaChangesByEmail": true, "nonBreakingChangesPreference": "disable"}),
        json!({"resourceRequirements": {"memory_limit": "1Gi", "cpu_limit": "2"}}),
        json!({"resourceRequirements": {"memory_limit": "2Gi"}}),
        json!({"syncCatalog": {"streams": []}}),
        json!({"sourceCatalogId": world.catalog_id}),
        json!({"scheduleType": "manual"}),
    ];
    for patch in patches {
        expected = with(expected, patch.clone());
        let nulls = json!({"name": null, "status": null, "syncCatalog": null, "schedule": null, "scheduleType": null});
        let mut body = patch.clone();
        for (name, value) in nulls.as_object().unwrap() {
            body.as_object_mut().unwrap().entry(name.clone()).or_insert(value.clone());
        }
        body["connectionId"] = json!(world.connection);
        assert_eq!(server.post("connections/update", body).await.ok(), expected, "{patch}");
        assert_eq!(get(&server, &json!(world.connection)).await, expected, "{patch}");
    }
    let patch = json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": every_week}});
    let updated = update(&server, &world, patch.clone()).await.ok();
    assert_eq!(updated, with(with(expected, patch), json!({"schedule": every_week})));
}

#[tokio::test]
async fn patches_at_once_all_count() {
    patches_at_once_all_count_on(Backend::Sqlite).await;
}

#[tokio::test]
async fn patches_at_once_all_count_on_postgres() {
    patches_at_once_all_count_on(Backend::Postgres).await;
}

async fn patches_at_once_all_count_on(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let world = World::create(&server).await;
    let patches = [
        json!({"name": "n"}),
        json!({"prefix": "p"}),
        json!({"geography": "eu"}),
        json!({"status": "inactive"}),
        json!({"breakingChange": true}),
        json!({"notifySchemaChanges": true}),
        json!({"namespaceDefinition": "destination"}),
        json!({"nonBreakingChangesPreference": "disable"}),
        json!({"syncCatalog": {"streams": []}}),
        json!({"operationIds": [world.operation]}),
    ];
    let sent = patches.iter().map(|patch| update(&server, &world, patch.clone()));
    for answer in futures::future::join_all(sent).await {
        answer.ok();
    }
    let read = get(&server, &json!(world.connection)).await;
    for patch in patches {
        assert_eq!(with(read.clone(), patch.clone()), read, "{patch}");
    }
}

#[tokio::test]
async fn what_an_update_refuses_is_named() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let day = json!({"units": 1, "timeUnit": "days"});
    let cases = [
        (json!({"schedule": day}), "schedule"),
        (json!({"scheduleData": {"basicSchedule": day}}), "scheduleType"),
        (json!({"scheduleType": "manual", "scheduleData": {"basicSchedule": day}}), "scheduleData"),
        (json!({"scheduleType": "cron", "scheduleData": {"basicSchedule": day}}), "scheduleData.basicSchedule"),
        (json!({"scheduleType": "basic"}), "scheduleData.basicSchedule"),
        (json!({"namespaceDefinition": "customformat"}), "namespaceFormat"),
        (json!({"breakingChange": "no"}), "breakingChange"),
        (json!({"syncCatalog": {"streams": [{}, {}, {}]}}), "syncCatalog.streams[0].stream"),
        (json!({"resourceRequirements": {"memory_request": "-1"}}), "resourceRequirements.memory_request"),
    ];
    for (change, path) in cases {
        assert_eq!(update(&server, &world, change.clone()).await.refused(), path, "{change}");
    }
    for change in
        [json!({"connectionId": NOBODY}), json!({"operationIds": [NOBODY]}), json!({"sourceCatalogId": NOBODY})]
    {
        assert_eq!(update(&server, &world, change.clone()).await.status, StatusCode::NOT_FOUND, "{change}");
    }
    // Names that would make one table of two streams, by a change of the rule alone.
    let two = |namespace: &str| {
        let mut entry = stream("users", json!({}));
        entry["stream"]["namespace"] = json!(namespace);
        entry
    };
    update(&server, &world, json!({"syncCatalog": catalog(&[two("a"), two("b")])})).await.ok();
    assert_eq!(
        update(&server, &world, json!({"namespaceDefinition": "destination"})).await.refused(),
        "namespaceDefinition"
    );
    let custom = json!({"namespaceDefinition": "customformat", "namespaceFormat": "x_${SOURCE_NAMESPACE}"});
    update(&server, &world, custom).await.ok();
}

#[tokio::test]
async fn a_catalog_is_replaced_whole_and_only_selected_streams_come_back() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let created = get(&server, &json!(world.connection)).await;
    assert_eq!(created["syncCatalog"]["streams"].as_array().unwrap().len(), 2);
    let mut entries = vec![stream("order lines", json!({})), stream("b", json!({"selected": false}))];
    entries.push(stream("c", json!({"selected": true, "cursorField": ["updated_at"], "primaryKey": [["id"]]})));
    let updated = update(&server, &world, json!({"syncCatalog": catalog(&entries)})).await.ok();
    let shown = updated["syncCatalog"]["streams"].as_array().unwrap();
    assert_eq!(shown.len(), 2);
    let expected = json!({
        "syncMode": "full_refresh", "cursorField": [], "destinationSyncMode": "append", "primaryKey": [],
        "aliasName": "order_lines", "selected": true, "fieldSelectionEnabled": false
    });
    assert_eq!(shown[0]["config"], expected);
    assert_eq!(shown[0]["stream"]["jsonSchema"], entries[0]["stream"]["jsonSchema"]);
    assert_eq!(
        (&shown[1]["config"]["cursorField"], &shown[1]["config"]["primaryKey"]),
        (&json!(["updated_at"]), &json!([["id"]]))
    );
    // What was read can be sent again.
    let again = update(&server, &world, json!({"syncCatalog": updated["syncCatalog"]})).await.ok();
    assert_eq!(again["syncCatalog"], updated["syncCatalog"]);
    // A fresh catalog object of the oldest client.
    let empty = update(&server, &world, json!({"syncCatalog": {"streams": []}})).await.ok();
    assert_eq!(empty["syncCatalog"], json!({"streams": []}));
}

#[tokio::test]
async fn a_run_gets_the_selected_fields_and_the_answer_keeps_them_all() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let config =
        json!({"fieldSelectionEnabled": true, "selectedFields": [{"fieldPath": ["name"]}, {"fieldPath": ["id"]}]});
    let entry = stream("users", config);
    let updated = update(&server, &world, json!({"syncCatalog": catalog(std::slice::from_ref(&entry))})).await.ok();
    let shown = &updated["syncCatalog"]["streams"][0];
    assert_eq!(shown["stream"]["jsonSchema"], entry["stream"]["jsonSchema"]);
    assert_eq!(shown["config"]["selectedFields"], json!([{"fieldPath": ["id"]}, {"fieldPath": ["name"]}]));
    server.post("connections/sync", json!({"connectionId": world.connection})).await.ok();
    server.runner.begun(1).await;
    let ran = server.runner.ran();
    let schema = &ran[0].catalog.streams[0].stream.json_schema;
    assert_eq!(
        *schema,
        json!({"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}})
    );
}

#[tokio::test]
async fn a_schema_that_a_client_lost_is_found_again() {
    a_schema_that_a_client_lost_is_found_again_on(Backend::Sqlite).await;
}

#[tokio::test]
async fn a_schema_that_a_client_lost_is_found_again_on_postgres() {
    a_schema_that_a_client_lost_is_found_again_on(Backend::Postgres).await;
}

async fn a_schema_that_a_client_lost_is_found_again_on(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let world = World::without_connection(&server).await;
    let lost = |name: &str, schema: Value| {
        let config = json!({"syncMode": "full_refresh", "destinationSyncMode": "append"});
        catalog(&[json!({"stream": with(json!({"name": name}), json!({"jsonSchema": schema})), "config": config})])
    };
    let schema_of = |answer: &Value| answer["syncCatalog"]["streams"][0]["stream"]["jsonSchema"].clone();
    let discovered = world.catalog["streams"][0]["stream"]["jsonSchema"].clone();
    let own = json!({"type": "object", "properties": {"own": {"type": "string"}}});
    // The source's latest discovery.
    let created = create(&server, &world, json!({"syncCatalog": lost("users", Value::Null)})).await.ok();
    assert_eq!(schema_of(&created), discovered);
    // The catalog that is replaced comes before it, and the one that the client refers to before both.
    let id = json!({"connectionId": created["connectionId"]});
    let sent = with(id.clone(), json!({"syncCatalog": lost("users", own.clone())}));
    assert_eq!(schema_of(&server.post("connections/update", sent).await.ok()), own);
    for empty in [Value::Null, json!({}), json!([])] {
        let sent = with(id.clone(), json!({"syncCatalog": lost("users", empty)}));
        assert_eq!(schema_of(&server.post("connections/update", sent).await.ok()), own);
    }
    let sent = with(id, json!({"syncCatalog": lost("users", Value::Null), "sourceCatalogId": world.catalog_id}));
    assert_eq!(schema_of(&server.post("connections/update", sent).await.ok()), discovered);
    let answer = create(&server, &world, json!({"syncCatalog": lost("unheard of", Value::Null)})).await;
    assert_eq!(answer.refused(), "syncCatalog.streams[0].stream.jsonSchema");
}

#[tokio::test]
async fn a_large_catalog_is_fine() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let mut entry = stream("wide", json!({}));
    for number in 0..40_000 {
        entry["stream"]["jsonSchema"]["properties"][format!("column_number_{number}")] =
            json!({"type": ["null", "string"], "description": "one of many columns of one wide table"});
    }
    let body = json!({"syncCatalog": catalog(&[entry])});
    assert!(body.to_string().len() > 3_000_000);
    let created = create(&server, &world, body.clone()).await.ok();
    assert_eq!(
        created["syncCatalog"]["streams"][0]["stream"]["jsonSchema"],
        body["syncCatalog"]["streams"][0]["stream"]["jsonSchema"]
    );
}

#[tokio::test]
async fn deprecated_is_a_status_that_an_update_takes_back() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    update(&server, &world, json!({"status": "deprecated"})).await.ok();
    assert_eq!(get(&server, &json!(world.connection)).await["status"], "deprecated");
    let list = json!({"workspaceId": world.workspace});
    assert_eq!(ids(&server.post("connections/list", list.clone()).await.ok()), [""; 0]);
    assert_eq!(ids(&server.post("connections/list_all", list.clone()).await.ok()), [world.connection.as_str()]);
    let sync = server.control.sync(world.connection.parse().unwrap()).await.unwrap_err();
    assert_eq!(sync.kind, control::ErrorKind::Conflict);
    update(&server, &world, json!({"status": "active"})).await.ok();
    assert_eq!(ids(&server.post("connections/list", list).await.ok()), [world.connection.as_str()]);
    // Not if there is nothing left to sync.
    update(&server, &world, json!({"status": "deprecated"})).await.ok();
    server.post("sources/delete", json!({"sourceId": world.source})).await;
    assert_eq!(update(&server, &world, json!({"status": "active"})).await.status, StatusCode::NOT_FOUND);
    update(&server, &world, json!({"name": "still to be edited"})).await.ok();
}

#[tokio::test]
async fn a_delete_ends_the_job_and_removes_operations_that_nobody_else_uses() {
    a_delete_ends_the_job_and_removes_operations_that_nobody_else_uses_on(Backend::Sqlite).await;
}

#[tokio::test]
async fn a_delete_ends_the_job_and_removes_operations_that_nobody_else_uses_on_postgres() {
    a_delete_ends_the_job_and_removes_operations_that_nobody_else_uses_on(Backend::Postgres).await;
}

async fn a_delete_ends_the_job_and_removes_operations_that_nobody_else_uses_on(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let world = World::create(&server).await;
    let operation = json!({"workspaceId": world.workspace, "name": "shared",
        "operatorConfiguration": {"operatorType": "normalization", "normalization": {}}});
    let shared = server.post("operations/create", operation).await.ok()["operationId"].clone();
    update(&server, &world, json!({"operationIds": [world.operation, shared]})).await.ok();
    create(&server, &world, json!({"operationIds": [shared], "name": "other"})).await.ok();
    server.runner.then(Act::Hang);
    let job = server.control.sync(world.connection.parse().unwrap()).await.unwrap().job.id;
    let own = json!({"connectionId": world.connection});
    for _ in 0..2 {
        let answer = server.post("connections/delete", own.clone()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(server.control.job_light(job).await.unwrap().status, control::jobs::JobStatus::Cancelled);
    let read = get(&server, &json!(world.connection)).await;
    assert_eq!((&read["status"], &read["operationIds"]), (&json!("deprecated"), &json!([])));
    assert_eq!(read["syncCatalog"]["streams"].as_array().unwrap().len(), 2);
    let linked = |id: Value| json!({"operationIds": [id]});
    assert_eq!(create(&server, &world, linked(json!(world.operation))).await.status, StatusCode::NOT_FOUND);
    create(&server, &world, linked(shared)).await.ok();
    // Deleted operations can still be read.
    server.post("operations/get", json!({"operationId": world.operation})).await.ok();
    assert_eq!(server.post("connections/delete", json!({"connectionId": NOBODY})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn search_finds_the_right_one() {
    search_finds_the_right_one_on(Backend::Sqlite).await;
}

#[tokio::test]
async fn search_finds_the_right_one_on_postgres() {
    search_finds_the_right_one_on(Backend::Postgres).await;
}

async fn search_finds_the_right_one_on(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let world = World::without_connection(&server).await;
    let (source, destination) = (&world.source, &world.destination);
    let format = "raw_${SOURCE_NAMESPACE}";
    let custom =
        json!({"name": "A", "namespaceDefinition": "customformat", "namespaceFormat": format, "status": "active"});
    let a = create(&server, &world, custom).await.ok()["connectionId"].as_str().unwrap().to_owned();
    let hours = json!({"units": 2, "timeUnit": "hours"});
    let b = create(&server, &world, json!({"name": "B", "schedule": hours, "prefix": "p"})).await.ok();
    let b = b["connectionId"].as_str().unwrap().to_owned();
    let search = async |body: Value| {
        let found = server.post("connections/search", body).await.ok();
        let found: Vec<String> = ids(&found).into_iter().map(str::to_owned).collect();
        found
    };
    let (none, only_a, only_b, both) = (vec![], vec![a.clone()], vec![b.clone()], vec![a.clone(), b.clone()]);
    let cases = [
        (json!({"namespaceDefinition": "customformat", "namespaceFormat": format}), &only_a),
        (json!({}), &both),
        (json!({"namespaceDefinition": "destination"}), &none),
        (json!({"connectionId": b}), &only_b),
        (json!({"name": "a"}), &none),
        (json!({"name": "", "prefix": "", "namespaceFormat": ""}), &both),
        (json!({"schedule": hours}), &only_b),
        (json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": hours}}), &only_b),
        (json!({"status": "inactive"}), &only_b),
        (
            json!({"source": {"name": "numbers", "sourceName": "Sample Data (Faker)", "sourceDefinitionId": source_definition()}}),
            &both,
        ),
        (
            json!({"destination": {"destinationDefinitionId": destination_definition(), "workspaceId": world.workspace}}),
            &both,
        ),
        (json!({"source": {"name": "Numbers"}}), &none),
        (json!({"source": {"connectionConfiguration": {"count": 10}}}), &both),
        (json!({"source": {"connectionConfiguration": "{\"count\": 10}"}}), &both),
        (json!({"source": {"connectionConfiguration": {"count": 11}}}), &none),
        (json!({"source": {"connectionConfiguration": "id"}}), &none),
        (json!({"destination": {"connectionConfiguration": {"destination_path": "a.db"}}}), &both),
        // Invariant 6: no search tells whether a password was guessed.
        (json!({"source": {"connectionConfiguration": {"password": "hunter2"}}}), &none),
        (json!({"source": {"connectionConfiguration": {"count": 10, "password": "**********"}}}), &none),
    ];
    for (body, expected) in cases {
        let body = with(body, json!({"sourceId": source, "destinationId": destination}));
        assert_eq!(search(body.clone()).await, *expected, "{body}");
    }
    server.post("connections/delete", json!({"connectionId": a})).await;
    assert_eq!(search(json!({"sourceId": source, "destinationId": destination})).await, only_b);
    assert_eq!(search(json!({"status": "deprecated"})).await, none);
}

#[tokio::test]
async fn lists_keep_the_order_of_creation() {
    lists_keep_the_order_of_creation_on(Backend::Sqlite).await;
}

#[tokio::test]
async fn lists_keep_the_order_of_creation_on_postgres() {
    lists_keep_the_order_of_creation_on(Backend::Postgres).await;
}

async fn lists_keep_the_order_of_creation_on(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let world = World::without_connection(&server).await;
    let mut expected = Vec::new();
    // More than one piece of a long list.
    for number in 0..120 {
        let change =
            json!({"name": format!("c{number}"), "operationIds": [world.operation], "syncCatalog": world.catalog});
        expected.push(create(&server, &world, change).await.ok());
    }
    expected.sort_by_key(|connection| connection["created_at"].as_i64());
    let of_workspace = json!({"workspaceId": world.workspace});
    let list = server.post("connections/list", of_workspace.clone()).await.ok();
    let mut listed = list["connections"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 120);
    assert!(listed.is_sorted_by_key(|connection| connection["created_at"].as_i64()));
    let by_id = |connection: &Value| connection["connectionId"].as_str().unwrap().to_owned();
    listed.sort_by_key(by_id);
    expected.sort_by_key(by_id);
    assert_eq!(listed, expected);
    assert_eq!(server.post("connections/list_all", of_workspace).await.ok(), list);
    for path in ["connections/list", "connections/list_all"] {
        assert_eq!(server.post(path, json!({"workspaceId": NOBODY})).await.ok(), json!({"connections": []}));
    }
}

#[tokio::test]
async fn a_basic_schedule_runs_at_once_and_a_change_of_names_is_told_to_the_next_job() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    // As long as there is no state every table gets all rows, whatever its name: nothing to tell.
    update(&server, &world, json!({"prefix": "early_"})).await.ok();
    let state = json!({"connectionId": world.connection, "stateType": "stream", "streamState": [
        {"streamDescriptor": {"name": "users"}, "streamState": {"cursor": 5}}]});
    server
        .post("state/create_or_update", json!({"connectionId": world.connection, "connectionState": state}))
        .await
        .ok();
    update(&server, &world, json!({"prefix": "p_"})).await.ok();
    update(
        &server,
        &world,
        json!({"scheduleType": "basic", "scheduleData": {"basicSchedule": {"units": 1, "timeUnit": "days"}}}),
    )
    .await
    .ok();
    server.runner.begun(1).await;
    let ran = server.runner.ran();
    assert!(matches!(ran[0].kind, AttemptKind::Sync));
    assert_eq!((&ran[0].naming.namespace, ran[0].naming.prefix.as_str()), (&NamespaceRule::Source, "p_"));
    assert_eq!(ran[0].notices.len(), 1);
    assert!(ran[0].notices[0].contains("p_users instead of early_users"), "{}", ran[0].notices[0]);
    // Told once.
    server
        .control
        .until("the end of the first job", async |control| {
            control
                .last_replication_job(world.connection.parse().unwrap())
                .await
                .unwrap()
                .filter(|job| job.status.is_final())
        })
        .await;
    server.control.sync(world.connection.parse().unwrap()).await.unwrap();
    server.runner.begun(2).await;
    assert!(server.runner.ran()[1].notices.is_empty());
}

#[tokio::test]
async fn the_page_of_a_connection_shows_what_its_source_offers() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let users =
        json!({"syncCatalog": catalog(&[world.catalog["streams"][0].clone()]), "sourceCatalogId": world.catalog_id});
    let created = create(&server, &world, users).await.ok();
    let id = json!({"connectionId": created["connectionId"]});
    let names = |page: &Value| -> Vec<(String, bool)> {
        let streams = page["syncCatalog"]["streams"].as_array().unwrap();
        let name = |entry: &Value| entry["stream"]["name"].as_str().unwrap().to_owned();
        streams.iter().map(|entry| (name(entry), entry["config"]["selected"] == true)).collect()
    };
    let page = server.post("web_backend/connections/get", id.clone()).await.ok();
    assert_eq!(names(&page), [("users".to_owned(), true), ("orders".to_owned(), false)]);
    assert_eq!((&page["schemaChange"], &page["isSyncing"]), (&json!("no_change"), &json!(false)));
    assert_eq!(page["catalogId"], world.catalog_id);
    assert_eq!(page["source"]["connectionConfiguration"]["password"], "**********");
    assert_eq!(page.get("catalogDiff"), None);
    // The source gets a stream.
    let mut fresh: protocol::Catalog = serde_json::from_value(json!({"streams": [
        {"name": "users", "json_schema": {"properties": {"id": {"type": "integer"}, "updated_at": {"type": "string"}}}, "supported_sync_modes": ["full_refresh"]},
        {"name": "new", "json_schema": {"properties": {}}, "supported_sync_modes": ["full_refresh"]}
    ]})).unwrap();
    fresh.streams[0].source_defined_cursor = Some(true);
    server.runner.discovers(Ok(fresh));
    let page =
        server.post("web_backend/connections/get", with(id.clone(), json!({"withRefreshedCatalog": true}))).await.ok();
    assert_eq!(names(&page), [("users".to_owned(), true), ("new".to_owned(), false)]);
    assert_eq!(page["schemaChange"], "non_breaking");
    let kinds: Vec<&str> = page["catalogDiff"]["transforms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["transformType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["remove_stream", "add_stream", "update_stream"]);
    assert_ne!(page["catalogId"], world.catalog_id);
    // The connection itself is as it was.
    assert_eq!(get(&server, &created["connectionId"]).await["syncCatalog"], created["syncCatalog"]);
}
