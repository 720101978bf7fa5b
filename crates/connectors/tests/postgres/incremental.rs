//! Incremental reads: bounds, ties, NULLs, states of others, and a first pass that is broken off.

use std::collections::HashSet;

use super::*;

fn cursor_state(stream: &ConfiguredStream, state: Value) -> StateMessage {
    StateMessage::stream(stream.stream.descriptor.clone(), Some(protocol::Json::from_value(&state).unwrap()))
}

#[tokio::test]
async fn ties_are_neither_lost_nor_sent_for_ever() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, c timestamptz);
        INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-02'), (3, '2024-01-02')",
    );
    let config = database.config();
    let stream = by(&config, "t", "c").await;
    let first = read(&config, vec![stream.clone()], vec![]).await.one();
    assert_eq!(first.ids(), [1, 2, 3]);
    let state = first.state_json(first.states.len() - 1);
    assert_eq!(state["cursor"], "2024-01-02T00:00:00Z");
    assert_eq!(state["cursor_record_count"], 2);
    assert_eq!(state["version"], 2);
    let nothing = read(&config, vec![stream.clone()], vec![first.last_state()]).await.one();
    assert_eq!((nothing.rows.len(), nothing.states.len()), (0, 1));
    assert_eq!(nothing.last_state(), first.last_state());
    // A late tie: all of them come again, once, and it is said.
    database.sql("INSERT INTO t VALUES (4, '2024-01-02')");
    let outcome = read(&config, vec![stream.clone()], vec![nothing.last_state()]).await;
    assert!(outcome.logs.iter().any(|line| line.contains("3 rows") && line.contains("again")), "{:?}", outcome.logs);
    let late = outcome.one();
    assert_eq!(late.ids(), [2, 3, 4]);
    let quiet = read(&config, vec![stream.clone()], vec![late.last_state()]).await.one();
    assert_eq!(quiet.rows.len(), 0);
    database.sql("INSERT INTO t VALUES (5, '2024-01-03'); DELETE FROM t WHERE id < 4");
    let next = read(&config, vec![stream.clone()], vec![quiet.last_state()]).await.one();
    assert_eq!(next.ids(), [4, 5]);
    // The table lost its newest rows: the cursor stays.
    database.sql("DELETE FROM t WHERE id = 5");
    let lost = read(&config, vec![stream.clone()], vec![next.last_state()]).await.one();
    assert_eq!((lost.rows.len(), lost.last_state()), (0, next.last_state()));
    database.sql("TRUNCATE t");
    let empty = read(&config, vec![stream.clone()], vec![lost.last_state()]).await.one();
    assert_eq!((empty.rows.len(), empty.last_state()), (0, next.last_state()));
}

#[tokio::test]
async fn rows_without_a_cursor_are_counted() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE t (id int PRIMARY KEY, c int); INSERT INTO t VALUES (1, NULL), (2, 7), (3, NULL);
        CREATE TABLE e (id int PRIMARY KEY, c int); CREATE VIEW v AS SELECT * FROM t",
    );
    let config = database.config();
    let streams = vec![by(&config, "t", "c").await, by(&config, "e", "c").await, by(&config, "v", "c").await];
    let first = read(&config, streams.clone(), vec![]).await;
    first.result.unwrap();
    let warnings = first.logs.iter().filter(|line| line.contains("2 rows") && line.contains("`c`")).count();
    assert_eq!(warnings, 2, "{:?}", first.logs);
    assert_eq!(first.seen[0].ids(), [1, 2, 3]);
    assert_eq!(first.seen[2].ids(), [2]);
    let states: Vec<StateMessage> = first.seen.iter().map(Seen::last_state).collect();
    assert_eq!(state_json(&states[1]).get("cursor"), None);
    database.sql("INSERT INTO e VALUES (1, NULL), (2, 1)");
    let next = read(&config, streams, states).await;
    next.result.unwrap();
    assert_eq!(next.seen.iter().map(Seen::ids).collect::<Vec<_>>(), [vec![], vec![2], vec![]]);
}

/// A mark lies only between different cursors, so that going on from it loses no tie.
#[tokio::test]
async fn every_mark_of_a_long_delta_resumes_exactly() {
    let database = Database::new().await;
    for (of, value) in [
        ("integer", "g / 5000"),
        ("timestamptz", "timestamptz '2024-01-01' + (g / 7) * interval '1 s'"),
        ("float8", "CASE WHEN g < 30000 THEN 0.0 * (1 - 2 * (g % 2)) ELSE g / 3 END"),
        ("text", "'k' || lpad((g / 11)::text, 9, '0')"),
        ("date", "date '0003-01-01 BC' + g / 20"),
        ("numeric(12,2)", "g / 100.0"),
        ("uuid", "lpad(to_hex(g / 3), 32, '0')::uuid"),
    ] {
        database.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, pad text, c {of});
             INSERT INTO t SELECT g, repeat('x', 50), {value} FROM generate_series(1, 60000) g"
        ));
        let config = database.config();
        let mut stream = by(&config, "t", "c").await;
        // The cursor need not be among the fields that are sent.
        stream.stream.json_schema["properties"].as_object_mut().unwrap().shift_remove("c");
        let start = cursor_state(&stream, json!({"version": 2, "state_type": "cursor_based", "cursor_field": ["c"]}));
        let whole = read(&config, vec![stream.clone()], vec![start]).await.one();
        assert_eq!((whole.rows.len(), whole.rows[0].len()), (60_000, 2), "{of}");
        assert!(whole.states.len() >= 3, "{of}: {} states", whole.states.len());
        let (last, marks) = whole.states.split_last().unwrap();
        assert!(state_json(&last.1)["cursor_record_count"].as_i64().unwrap() > 0, "{of}");
        for (rows, state) in marks {
            assert!(state_json(state).get("cursor_record_count").is_none());
            let rest = read(&config, vec![stream.clone()], vec![state.clone()]).await.one();
            assert_eq!(rest.rows.len(), 60_000 - rows, "{of}: {state:?}");
        }
    }
}

/// Types whose values may be equal with different bytes have no mark but the last; others cannot be a cursor.
#[tokio::test]
async fn cursors_of_other_types() {
    let database = Database::new().await;
    database.sql("CREATE TABLE t (id int, i interval, n numeric, j json, e inet, b boolean);
        INSERT INTO t SELECT g, g * interval '1 hour', g / 10.0, '{}', '10.0.0.1'::inet + g, g > 2 FROM generate_series(1, 3) g");
    let config = database.config();
    for cursor in ["i", "n", "e", "b"] {
        let stream = by(&config, "t", cursor).await;
        let first = read(&config, vec![stream.clone()], vec![]).await.one();
        assert_eq!(first.rows.len(), 3);
        let again = read(&config, vec![stream], vec![first.last_state()]).await.one();
        assert_eq!(again.rows.len(), 0, "{cursor}");
    }
    for (cursor, words) in [("j", "no order"), ("nothing", "`nothing`")] {
        let stream = by(&config, "t", cursor).await;
        let error = read(&config, vec![stream], vec![]).await.result.unwrap_err();
        assert!(error.kind == connector::ErrorKind::Config && error.message.contains(words), "{error}");
    }
    let mut stream = by(&config, "t", "n").await;
    stream.cursor_field.clear();
    let error = read(&config, vec![stream], vec![]).await.result.unwrap_err();
    assert!(error.hint.unwrap().contains("cursor_field"));
}

#[tokio::test]
async fn states_of_the_connector_that_is_replaced() {
    let database = Database::new().await;
    database.sql("CREATE TABLE t (id int PRIMARY KEY, c timestamp, d date);
        INSERT INTO t SELECT g, timestamp '2024-01-01' + g * interval '1 day', date '2024-01-01' + g FROM generate_series(1, 5) g");
    let config = database.config();
    let file: i64 = database.sql("SELECT pg_relation_filenode('t')").parse().unwrap();
    let based = |cursor: &str, count: i64| {
        json!({"version": 2, "state_type": "cursor_based", "stream_name": "t",
        "stream_namespace": "public", "cursor_field": ["c"], "cursor": cursor, "cursor_record_count": count})
    };
    for (state, ids) in [
        (based("2024-01-04T00:00:00.000000", 1), vec![4, 5]),
        (based("2024-01-04T00:00:00", 0), vec![4, 5]),
        (based("2024-01-04T00:00:00", 2), vec![3, 4, 5]),
        (json!({"version": 3, "state_type": "cursor_based", "cursors": {"c": "2024-01-05T00:00:00"}}), vec![4, 5]),
        (
            json!({"version": 2, "state_type": "ctid", "ctid": "(0,3)", "relation_filenode": file,
            "incremental_state": based("2024-01-06T00:00:00", 1)}),
            vec![4, 5],
        ),
        // Of a table that was rewritten since, and of another cursor: all is read again.
        (
            json!({"version": 2, "state_type": "ctid", "ctid": "(0,3)", "relation_filenode": file + 1,
            "incremental_state": based("2024-01-06T00:00:00", 1)}),
            vec![1, 2, 3, 4, 5],
        ),
        (
            json!({"version": 2, "state_type": "cursor_based", "cursor_field": ["d"], "cursor": "2024-01-04"}),
            vec![1, 2, 3, 4, 5],
        ),
        (json!({}), vec![1, 2, 3, 4, 5]),
    ] {
        let stream = by(&config, "t", "c").await;
        let seen = read(&config, vec![stream.clone()], vec![cursor_state(&stream, state.clone())]).await.one();
        assert_eq!(seen.ids(), ids, "{state}");
        let after = read(&config, vec![stream], vec![seen.last_state()]).await.one();
        assert_eq!(after.rows.len(), 0, "{state}");
    }
    let stream = by(&config, "t", "c").await;
    for state in [based("yesterday maybe", 1), json!({"state_type": "xmin"}), json!({"state_type": "primary_key"})] {
        let error =
            read(&config, vec![stream.clone()], vec![cursor_state(&stream, state.clone())]).await.result.unwrap_err();
        assert!(error.kind == connector::ErrorKind::Config && error.message.contains("`public.t`"), "{state}: {error}");
    }
}

/// The first pass over the pages is broken off, rows move, and it goes on: none that stayed may be missing, even where
/// an update leaves the cursor as it was.
#[tokio::test]
async fn a_first_pass_that_goes_on_after_rows_moved() {
    for cursor in ["id", "changed"] {
        let database = Database::new().await;
        database.sql(
            "CREATE TABLE t (id bigint PRIMARY KEY, changed bigint NOT NULL, n integer, pad text);
             INSERT INTO t SELECT g, g, 0, repeat('x', 1000) FROM generate_series(1, 60000) g",
        );
        let config = database.config();
        let stream = by(&config, "t", cursor).await;
        let whole = read(&config, vec![stream.clone()], vec![]).await.one();
        let (rows, state) = whole.states[1].clone();
        assert_eq!(state_json(&state)["state_type"], "ctid");
        assert_eq!(state_json(&state)["incremental_state"]["cursor"], "60000");
        let mut have: HashSet<i64> = whole.rows[..rows].iter().map(|row| row[0].parse().unwrap()).collect();
        // Room in the pages that were read, then updates that move rows of the others there.
        database.sql("DELETE FROM t WHERE id < 4000");
        database.sql("VACUUM t");
        let bump = if cursor == "changed" { ", changed = 100000 + id" } else { "" };
        database.sql(&format!("UPDATE t SET n = 1 {bump} WHERE id > 57000"));
        let moved = database.sql(&format!(
            "SELECT count(*) FROM t WHERE n = 1 AND ctid < '({},0)'",
            state_json(&state)["ctid"].as_str().unwrap().trim_matches(&['(', ')'][..]).split(',').next().unwrap()
        ));
        assert!(moved.parse::<i64>().unwrap() > 500, "{moved} rows moved");
        let rest = read(&config, vec![stream.clone()], vec![state]).await.one();
        have.extend(rest.ids());
        let next = read(&config, vec![stream], vec![rest.last_state()]).await.one();
        have.extend(next.ids());
        let missing = (4000..=60000).filter(|id| !have.contains(id)).count();
        assert_eq!(missing, 0, "{cursor}");
        if cursor == "changed" {
            assert_eq!(next.rows.len(), 3000, "each moved row comes once, by its cursor");
        }
    }
}
