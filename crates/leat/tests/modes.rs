//! Each write mode from the call to the rows, on both stores; and what may change between two syncs.

use rusqlite::params;
use serde_json::json;

use crate::ground::{Ground, StoreKind, sample};

fn check(store: StoreKind, modes: (&str, &str), after: impl Fn(&Ground, &str)) {
    let ground = Ground::on(store, 1_000);
    let connection = ground.connection(&[("users", modes.0, modes.1)]);
    let first = ground.sync(&connection);
    assert_eq!((first.status.as_str(), first.committed), ("succeeded", 1_000), "{first:#?}");
    assert_eq!(ground.number("select count(distinct id) from users"), 1_000);
    assert_eq!(ground.leftovers(), Vec::<String>::new());
    after(&ground, &connection);
}

fn incremental_append(ground: &Ground, connection: &str) {
    assert_eq!(ground.sync(connection).committed, 0, "a sync without change moves nothing");
    ground.configure(sample(1_500));
    assert_eq!(ground.sync(connection).committed, 500);
    assert_eq!(ground.number("select count(*) from users"), 1_500);
}

fn incremental_dedup(ground: &Ground, connection: &str) {
    incremental_append(ground, connection);
    // All rows come again with a new stamp: each replaces the old one.
    ground.configure(json!({ "count": 1_500, "seed": 7, "always_updated": true, "records_per_slice": 500 }));
    let before: String =
        ground.database().query_row("select max(updated_at) from users", [], |row| row.get(0)).unwrap();
    assert_eq!(ground.sync(connection).committed, 1_500);
    assert_eq!(ground.number("select count(*) from users"), 1_500);
    let query = "select count(*) from users where updated_at > ?1";
    let replaced: i64 = ground.database().query_row(query, params![before], |row| row.get(0)).unwrap();
    assert_eq!(replaced, 1_500);
}

fn overwrite(ground: &Ground, connection: &str) {
    ground.configure(sample(400));
    assert_eq!(ground.sync(connection).committed, 400);
    assert_eq!(ground.number("select count(*) from users"), 400);
    ground.configure(sample(0));
    assert_eq!(ground.sync(connection).committed, 0);
    assert_eq!(ground.number("select count(*) from users"), 0, "an empty source leaves an empty table");
}

fn full_append(ground: &Ground, connection: &str) {
    assert_eq!(ground.sync(connection).committed, 1_000);
    assert_eq!(ground.number("select count(*) from users"), 2_000);
    assert_eq!(ground.number("select count(distinct _airbyte_generation_id) from users"), 2);
}

#[test]
fn incremental_append_on_sqlite() {
    check(StoreKind::Sqlite, ("incremental", "append"), incremental_append);
}

#[test]
fn incremental_append_on_postgres() {
    check(StoreKind::Postgres, ("incremental", "append"), incremental_append);
}

#[test]
fn incremental_append_dedup_on_sqlite() {
    check(StoreKind::Sqlite, ("incremental", "append_dedup"), incremental_dedup);
}

#[test]
fn incremental_append_dedup_on_postgres() {
    check(StoreKind::Postgres, ("incremental", "append_dedup"), incremental_dedup);
}

#[test]
fn overwrite_on_sqlite() {
    check(StoreKind::Sqlite, ("full_refresh", "overwrite"), overwrite);
}

#[test]
fn overwrite_on_postgres() {
    check(StoreKind::Postgres, ("full_refresh", "overwrite"), overwrite);
}

#[test]
fn full_refresh_append_on_sqlite() {
    check(StoreKind::Sqlite, ("full_refresh", "append"), full_append);
}

#[test]
fn full_refresh_append_on_postgres() {
    check(StoreKind::Postgres, ("full_refresh", "append"), full_append);
}

/// Columns that the catalog selects later are added, columns that it drops stay and get NULL.
#[test]
fn columns_come_and_go_without_loss() {
    let ground = Ground::new(100);
    let connection = ground.connection(&[("users", "incremental", "append_dedup")]);
    let select = |fields: &[&str]| {
        let mut streams = ground.streams(&[("users", "incremental", "append_dedup")]);
        streams[0]["config"]["fieldSelectionEnabled"] = json!(true);
        streams[0]["config"]["selectedFields"] =
            fields.iter().map(|field| json!({ "fieldPath": [field] })).collect::<Vec<_>>().into();
        ground.post("connections/update", json!({ "connectionId": connection, "syncCatalog": { "streams": streams } }));
    };
    select(&["id", "updated_at", "name"]);
    assert_eq!(ground.sync(&connection).status, "succeeded");
    select(&["id", "updated_at", "email"]);
    ground.configure(sample(150));
    let second = ground.sync(&connection);
    assert_eq!(second.committed, 50, "{second:#?}");
    assert_eq!(ground.number("select count(*) from users where name is not null and email is null"), 100);
    assert_eq!(ground.number("select count(*) from users where name is null and email is not null"), 50);
}

#[test]
fn a_reset_empties_the_table_and_the_state() {
    let ground = Ground::new(500);
    let connection = ground.connection(&[("users", "incremental", "append")]);
    assert_eq!(ground.sync(&connection).committed, 500);
    let reset = ground.post("connections/reset", json!({ "connectionId": connection }));
    let reset = ground.wait(reset["job"]["id"].as_i64().unwrap());
    assert_eq!(reset.status, "succeeded", "{reset:#?}");
    assert_eq!(reset.info["job"]["configType"], "reset_connection");
    assert_eq!(ground.number("select count(*) from users"), 0);
    let state = ground.post("state/get", json!({ "connectionId": connection }));
    assert_eq!(state["stateType"], "not_set", "{state}");
    assert_eq!(ground.sync(&connection).committed, 500);
    assert_eq!(ground.number("select count(*) from users"), 500);
}

/// Names in the destination come from the rule and the prefix of today; the state stays.
#[test]
fn a_new_prefix_begins_a_new_table_with_only_what_is_new_and_says_so() {
    let ground = Ground::new(100);
    let connection = ground.connection(&[("users", "incremental", "append")]);
    ground.sync(&connection);
    ground.post("connections/update", json!({ "connectionId": connection, "prefix": "new_" }));
    ground.configure(sample(130));
    let job = ground.sync(&connection);
    assert_eq!(job.committed, 30);
    assert_eq!(ground.number("select count(*) from users"), 100);
    assert_eq!(ground.number("select count(*) from new_users"), 30);
    assert!(job.log.contains("prefix"), "{}", job.log);
}

#[test]
fn the_log_begins_with_one_line_per_stream() {
    let ground = Ground::new(50);
    let connection =
        ground.connection(&[("users", "incremental", "append"), ("products", "full_refresh", "overwrite")]);
    let job = ground.sync(&connection);
    for stream in ["users", "products"] {
        assert!(job.log.lines().any(|line| line.contains(stream) && line.contains("generation")), "{}", job.log);
    }
}
