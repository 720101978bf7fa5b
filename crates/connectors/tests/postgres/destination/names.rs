//! Names of every kind through every way of writing, and columns that come and change.

use DestinationSyncMode::{Append, AppendDedup, Overwrite, OverwriteDedup};
use connector::ErrorKind;

use super::*;

#[tokio::test]
async fn mixed_case_and_reserved_names_work_in_an_upsert() {
    let database = Database::new().await;
    let fields = ["Id", "basePrice", "user", "group", "table", "select", "changedAt", "a\"b", "1st", "_airbyte_meta"];
    let mut number = 0;
    for (sync_mode, mode) in [
        (SyncMode::Incremental, AppendDedup),
        (SyncMode::FullRefresh, OverwriteDedup),
        (SyncMode::FullRefresh, Overwrite),
        (SyncMode::Incremental, Append),
    ] {
        let mut target = target(mode, 1);
        target.sync_mode = sync_mode;
        target.columns = fields.iter().map(|name| ((*name).to_owned(), ColumnType::Integer)).collect();
        target.primary_key = vec!["Id".into(), "select".into()];
        target.cursor = Some("changedAt".into());
        target.stream = StreamDescriptor::new(Some("Sales.EU"), "order");
        target.table = StreamDescriptor::new(Some("Sales.EU"), format!("order {mode:?}"));
        let rows = |value: i64| {
            let columns = fields.iter().map(|name| {
                let own = if ["Id", "select"].contains(name) { 1 } else { value };
                (*name, integers([own, own]))
            });
            Batch::new(StreamIndex(0), batch(columns.collect()), value)
        };
        for value in [1, 2] {
            number += 1;
            load(&database, number, target.clone(), vec![rows(value)]).await.unwrap();
        }
        let table = format!("\"Sales_EU\".\"order_{mode:?}\"");
        let seen = database.sql(&format!(
            "SELECT count(*), max(\"basePrice\" + \"user\" + \"group\" + \"table\" + a_b + _1st + _airbyte_meta_1) FROM {table}"
        ));
        let expected = match mode {
            AppendDedup | OverwriteDedup => "1|14",
            Overwrite => "2|14",
            _ => "4|14",
        };
        assert_eq!(seen, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn types_change_only_without_loss() {
    let database = Database::new().await;
    load(&database, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let mut wider = target(Append, 2);
    wider.columns = vec![("id".into(), ColumnType::String), ("name".into(), ColumnType::String)];
    let row = batch(vec![("id", texts(["A-2".to_owned()])), ("name", texts(["x".to_owned()]))]);
    load(&database, 2, wider, vec![Batch::new(StreamIndex(0), row, 0)]).await.unwrap();
    assert_eq!(database.sql("SELECT string_agg(id, ',' ORDER BY id) FROM users"), "1,A-2", "whole numbers become text");
    let error = load(&database, 3, target(Append, 3), vec![users(9..=9)]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("`id`") && error.hint.as_ref().unwrap().contains("Refresh"), "{error}");
    assert_eq!(database.sql("SELECT count(*) FROM users"), "2");
    load(&database, 4, target(Overwrite, 4), vec![users(9..=9)]).await.unwrap();
    assert_eq!(database.sql("SELECT id + 1 FROM users"), "10", "a truncating refresh builds the table again");
    let mut number = target(AppendDedup, 5);
    number.columns[0].1 = ColumnType::Number;
    load(&database, 5, number, vec![users(9..=10)]).await.unwrap();
    assert_eq!(database.sql("SELECT pg_typeof(id), id FROM users ORDER BY id"), "numeric|9\nnumeric|10");
}

#[tokio::test]
async fn existing_tables_keep_their_types() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE users (_airbyte_raw_id varchar NOT NULL, _airbyte_extracted_at timestamptz NOT NULL,
             _airbyte_meta json NOT NULL, _airbyte_generation_id bigint,
             id integer, name varchar(3), amount decimal(38,9), mine text DEFAULT 'x')",
    );
    for (number, mode) in [(1, Append), (2, AppendDedup)] {
        let mut target = target(mode, number);
        target.columns.push(("amount".into(), ColumnType::Number));
        let rows = batch(vec![
            ("id", integers([number * 10, 1 << 40])),
            ("name", texts(["abc".to_owned(), "abcd".to_owned()])),
            ("amount", texts(["1.5".to_owned(), "0.12345678949".to_owned()])),
        ]);
        load(&database, number, target, vec![Batch::new(StreamIndex(0), rows, 0)]).await.unwrap();
    }
    let seen = database.sql("SELECT id, name, amount, mine FROM users ORDER BY id NULLS LAST");
    assert_eq!(
        seen, "10|abc|1.500000000|x\n20|abc|1.500000000|x\n|abc|0.123456789|x",
        "a key that did not fit is NULL, and one"
    );
    assert_eq!(
        database.sql("SELECT DISTINCT json_array_length(_airbyte_meta->'changes') FROM users ORDER BY 1"),
        "0\n3",
        "what did not fit is noted"
    );
}

#[tokio::test]
async fn tables_that_are_not_ours_are_refused() {
    let database = Database::new().await;
    database.sql("CREATE TABLE users (id integer); INSERT INTO users VALUES (1); CREATE VIEW v AS SELECT 1 AS x");
    for mode in [Append, Overwrite, AppendDedup] {
        let error = load(&database, 1, target(mode, 1), vec![]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("users") && error.hint.is_some(), "{error}");
    }
    let mut view = target(Append, 1);
    view.table = StreamDescriptor::new(None, "v");
    assert!(load(&database, 1, view, vec![]).await.unwrap_err().message.contains("view"));
    let mut job = job(database.config(), 2, target(Append, 1)).await.unwrap();
    let clear = connector::Clear { streams: vec![StreamIndex(0)], point: Point { origin: 1, seq: 0 }, remaining: None };
    assert_eq!(job.writer.clear(clear).await.unwrap_err().kind, ErrorKind::Config);
    assert_eq!(database.sql("SELECT count(*) FROM users"), "1");
}

#[tokio::test]
async fn the_key_index_follows_the_key_and_odd_tables_merge() {
    let database = Database::new().await;
    let keys = || database.sql("SELECT indexdef FROM pg_indexes WHERE tablename = 'users'");
    load(&database, 1, target(AppendDedup, 1), vec![users(1..=3), users(2..=3)]).await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM users"), "3");
    let before = keys();
    assert!(before.contains("_leat_key_") && before.ends_with("(id)"), "{before}");
    load(&database, 2, target(OverwriteDedup, 2), vec![users(1..=4), users(4..=4)]).await.unwrap();
    assert_eq!(keys(), before, "also over a swap");
    load(&database, 3, target(OverwriteDedup, 3), vec![users(1..=4)]).await.unwrap();
    assert_eq!(keys(), before, "also where staging takes the place itself");
    // A key that the table has twice, from the time before it was deduplicated.
    database.sql("INSERT INTO users SELECT * FROM users WHERE id = 1");
    let told = load(&database, 4, target(AppendDedup, 4), vec![users(1..=2), users(5..=5)]).await.unwrap();
    assert!(told.contains("1 inserted, 2 updated, 0 superseded, 0 deleted"), "{told}");
    assert_eq!(database.sql("SELECT count(*), count(DISTINCT id) FROM users"), "5|5");
    let mut other = target(AppendDedup, 5);
    other.primary_key = vec!["name".into()];
    load(&database, 5, other, vec![users(5..=6)]).await.unwrap();
    assert!(keys().ends_with("(name)") && keys().lines().count() == 1, "{}", keys());
}

#[tokio::test]
async fn soft_deletes_keep_the_row() {
    let database = Database::new().await;
    for (number, mode, expected) in [(1, "Soft delete", "1|t\n2|f"), (2, "Hard delete", "2|f")] {
        let mut target = target(AppendDedup, 1);
        target.table = StreamDescriptor::new(None, format!("t{number}"));
        target.columns.push(("_ab_cdc_deleted_at".into(), ColumnType::String));
        let rows = batch(vec![
            ("id", integers([1, 2, 1])),
            ("_ab_cdc_deleted_at", texts([None, None, Some("2024-01-01".to_owned())])),
        ]);
        let config = database.config_with(json!({"cdc_deletion_mode": mode}));
        load_as(config, number, target, vec![Batch::new(StreamIndex(0), rows, 0)]).await.unwrap();
        let seen = database.sql(&format!("SELECT id, _ab_cdc_deleted_at IS NOT NULL FROM t{number} ORDER BY id"));
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn keys_longer_than_an_index_takes() {
    let database = Database::new().await;
    let long: String = (0..400).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    let one = |key: &str| {
        let rows = batch(vec![("id", integers([1])), ("name", texts([key.to_owned()]))]);
        vec![Batch::new(StreamIndex(0), rows, 0)]
    };
    let by_name = |mode, number| Target { primary_key: vec!["name".into()], ..target(mode, number) };
    load(&database, 1, by_name(AppendDedup, 1), one("short")).await.unwrap();
    for number in [2, 3] {
        load(&database, number, by_name(AppendDedup, number), one(&long)).await.unwrap();
        assert_eq!(database.sql("SELECT count(*) FROM users"), "2");
        assert_eq!(database.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'users'"), "0");
    }
    load(&database, 4, by_name(OverwriteDedup, 4), one("short")).await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'users'"), "1");
    load(&database, 5, by_name(OverwriteDedup, 5), one(&long)).await.unwrap();
    load(&database, 6, by_name(AppendDedup, 6), one(&long)).await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM users"), "1");
}
