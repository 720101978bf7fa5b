//! A refused request changes nothing, whatever is wrong with it: bodies of the nine connection operations, each mutated
//! somewhere, and a dump of the store before and after.

use std::sync::{Mutex, PoisonError};

use chrono::DateTime;
use control::testing::ManualClock;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use store::Backend;

use crate::ground::{Answer, Server, World};

/// What is done to a good body. Places are chosen modulo the number of places.
#[derive(Clone, Debug)]
enum Mutation {
    Replace { place: usize, junk: usize },
    Remove { place: usize },
    Truncate { at: usize },
    Byte { at: usize, byte: u8 },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        8 => (any::<usize>(), any::<usize>()).prop_map(|(place, junk)| Mutation::Replace { place, junk }),
        2 => any::<usize>().prop_map(|place| Mutation::Remove { place }),
        1 => any::<usize>().prop_map(|at| Mutation::Truncate { at }),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte { at, byte }),
    ]
}

fn junk() -> Vec<Value> {
    let mut deep = json!("bottom");
    for level in 0..300 {
        deep = if level % 2 == 0 { json!([deep]) } else { json!({ "x": deep }) };
    }
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("nonsense"),
        json!("ACTIVE"),
        json!("a\u{0}b"),
        json!("é".repeat(20_000)),
        json!("00000000-0000-4000-8000-000000000000"),
        json!([]),
        json!([null]),
        json!(["x", {"y": [1]}]),
        json!({}),
        json!({"a": {"b": [{"c": null}]}}),
        deep,
    ]
}

/// The nine operations, each with a body that says as much as it can.
fn bodies(world: &World) -> Vec<(&'static str, Value)> {
    let own = json!({"connectionId": world.connection});
    let of_workspace = json!({"workspaceId": world.workspace});
    let mut catalog = world.catalog.clone();
    catalog["streams"][0]["config"]["fieldSelectionEnabled"] = json!(true);
    catalog["streams"][0]["config"]["selectedFields"] = json!([{"fieldPath": ["id"]}, {"fieldPath": ["updated_at"]}]);
    let members = json!({
        "name": "full", "namespaceDefinition": "customformat", "namespaceFormat": "raw_${SOURCE_NAMESPACE}", "prefix": "p_",
        "operationIds": [world.operation], "syncCatalog": catalog, "status": "inactive", "scheduleType": "cron",
        "scheduleData": {"cron": {"cronExpression": "0 0 6 * * ?", "cronTimeZone": "Europe/Paris"}},
        "resourceRequirements": {"cpu_request": "0.5", "cpu_limit": "1", "memory_request": "64Mi", "memory_limit": "1Gi"},
        "sourceCatalogId": world.catalog_id, "geography": "auto", "notifySchemaChanges": true,
        "nonBreakingChangesPreference": "ignore"
    });
    let mut create = members.clone();
    create["sourceId"] = json!(world.source);
    create["destinationId"] = json!(world.destination);
    let mut update = members;
    update["connectionId"] = json!(world.connection);
    update["breakingChange"] = json!(false);
    let search = json!({
        "connectionId": world.connection, "name": "x", "namespaceDefinition": "source", "namespaceFormat": "f", "prefix": "p",
        "sourceId": world.source, "destinationId": world.destination, "status": "active",
        "schedule": {"units": 1, "timeUnit": "days"}, "scheduleType": "basic",
        "scheduleData": {"basicSchedule": {"units": 1, "timeUnit": "days"}, "cron": {"cronExpression": "x", "cronTimeZone": "y"}},
        "source": {"sourceId": world.source, "connectionConfiguration": {"count": 10}, "name": "n", "sourceName": "s"},
        "destination": {"workspaceId": world.workspace, "connectionConfiguration": "{}", "destinationName": "d"}
    });
    vec![
        ("connections/create", create),
        ("connections/update", update),
        ("connections/get", own.clone()),
        ("connections/list", of_workspace.clone()),
        ("connections/list_all", of_workspace),
        ("connections/search", search),
        ("connections/delete", own.clone()),
        ("connections/sync", own.clone()),
        ("connections/reset", own),
    ]
}

/// Every value below `value`, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut add = |name: &str, inner: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(inner, &place, found);
        found.push(place);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| add(name, inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| add(&index.to_string(), inner)),
        _ => {}
    }
}

fn mutated(mut body: Value, mutation: &Mutation) -> Vec<u8> {
    let mut found = Vec::new();
    places(&body, "", &mut found);
    match *mutation {
        Mutation::Replace { place, junk: which } => {
            let junk = junk();
            *body.pointer_mut(&found[place % found.len()]).unwrap() = junk[which % junk.len()].clone();
        }
        Mutation::Remove { place } => {
            let (parent, name) = found[place % found.len()].rsplit_once('/').unwrap();
            match body.pointer_mut(parent).unwrap() {
                Value::Object(members) => {
                    members.shift_remove(name);
                }
                Value::Array(items) => {
                    items.remove(name.parse().unwrap());
                }
                _ => unreachable!(),
            }
        }
        Mutation::Truncate { at } => {
            let mut bytes = body.to_string().into_bytes();
            bytes.truncate(at % bytes.len());
            return bytes;
        }
        Mutation::Byte { at, byte } => {
            let mut bytes = body.to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            return bytes;
        }
    }
    body.to_string().into_bytes()
}

/// A refusal is an object that says what is wrong and where.
fn check_refusal(answer: &Answer) -> Result<(), TestCaseError> {
    prop_assert!(answer.status.is_client_error(), "{}: {}", answer.status, answer.text);
    prop_assert!(answer.body["message"].is_string(), "{}", answer.text);
    if answer.status == 422 {
        // Where the body as a whole is no JSON there may be no path, but the place in the text.
        let path = answer.body["validationErrors"][0]["propertyPath"].as_str();
        let is_broken = answer.body["code"] == "invalid_json";
        prop_assert!(is_broken || path.is_some_and(|path| !path.is_empty()), "{}", answer.text);
    }
    Ok(())
}

async fn fresh(backend: Backend) -> (Server, World) {
    // Time stands still, so that no schedule runs behind the test's back.
    let server = Server::start_on(backend, ManualClock::new(DateTime::UNIX_EPOCH)).await;
    let world = World::create(&server).await;
    (server, world)
}

#[test]
fn a_refused_request_changes_nothing() {
    changes_nothing(Backend::Sqlite, 600);
}

#[test]
fn a_refused_request_changes_nothing_on_postgres() {
    changes_nothing(Backend::Postgres, 100);
}

fn changes_nothing(backend: Backend, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state = Mutex::new(runtime.block_on(fresh(backend)));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let strategy = (0..9_usize, mutation());
    let result = TestRunner::new(config).run(&strategy, |(operation, mutation)| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.block_on(async {
            let (server, world) = &*state;
            let (path, body) = bodies(world).swap_remove(operation);
            let before = server.store.dump().await.unwrap();
            let answer = server.post_bytes(path, mutated(body, &mutation)).await;
            if !answer.status.is_success() {
                check_refusal(&answer)?;
                let after = server.store.dump().await.unwrap();
                prop_assert!(before == after, "{path} was refused and changed the store: {}", answer.text);
            } else if matches!(
                path,
                "connections/create"
                    | "connections/update"
                    | "connections/delete"
                    | "connections/sync"
                    | "connections/reset"
            ) {
                // The comparison can tell: what was not refused left a trace.
                let after = server.store.dump().await.unwrap();
                prop_assert!(before != after || path == "connections/update", "{path} succeeded and changed nothing");
                *state = fresh(backend).await;
            }
            Ok(())
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
