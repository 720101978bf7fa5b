//! Full refresh in chunks, quiet and under writes.

use std::collections::HashMap;

use super::*;

const ROWS: i64 = 60_000;

fn big(name: &str, key: &str) -> String {
    format!(
        "CREATE TABLE {name} (id bigint NOT NULL {key}, n integer NOT NULL DEFAULT 0, pad text);
         INSERT INTO {name} SELECT g, 0, repeat('x', 1000) FROM generate_series(1, {ROWS}) g; ANALYZE {name};"
    )
}

/// Moves rows about, makes and removes some: ids above 1,000,000 come and go, the others stay.
fn turmoil(name: &str) -> String {
    let mut sql = String::new();
    for round in 0..2000 {
        let seed = (round * 7919) % 997;
        sql += &format!(
            "UPDATE {name} SET n = n + 1 WHERE id % 997 = {seed} AND id <= {ROWS};
             INSERT INTO {name} SELECT 1000000 + {round} * 100 + g, 0, repeat('y', 1000) FROM generate_series(1, 50) g;
             DELETE FROM {name} WHERE id > 1000000 AND id % 3 = {};\n",
            round % 3
        );
    }
    sql
}

#[tokio::test]
async fn chunks_hold_each_row_once_and_in_order() {
    let database = Database::new().await;
    database.sql(&(big("keyed", "PRIMARY KEY") + &big("keyless", "")));
    let config = database.config();
    for (name, kind) in [("keyed", "primary_key"), ("keyless", "ctid")] {
        let seen = read(&config, vec![full(&config, name).await], vec![]).await.one();
        let ids: Vec<i64> = seen.rows.iter().map(|row| row[0].parse().unwrap()).collect();
        assert_eq!(ids, (1..=ROWS).collect::<Vec<i64>>(), "{name}: chunks come in their order");
        assert!(seen.states.len() >= 4, "{name}: {} states", seen.states.len());
        let (last, inner) = seen.states.split_last().unwrap();
        for (_, state) in inner {
            assert_eq!(state_json(state)["state_type"], kind);
        }
        assert_eq!(state_json(&last.1), json!({"version": 2, "state_type": "primary_key"}));
        assert!(inner.iter().map(|(rows, _)| rows).is_sorted());
    }
}

#[tokio::test]
async fn composite_and_odd_keys() {
    let database = Database::new().await;
    database.sql(
        "CREATE TYPE stage AS ENUM ('z', 'a', 'm');
         CREATE TABLE t (s stage, c char(3), d timestamptz, n numeric, pad text, PRIMARY KEY (s, c, d, n));
         INSERT INTO t SELECT (ARRAY['z', 'a', 'm']::stage[])[1 + g / 15000], 'k' || g % 2, '2024-01-01'::timestamptz + g * interval '1 s',
             g / 10.0, repeat('x', 1000) FROM generate_series(0, 44999) g",
    );
    let config = database.config();
    let mut stream = full(&config, "t").await;
    stream.stream.is_resumable = Some(true);
    let whole = read(&config, vec![stream.clone()], vec![]).await.one();
    assert_eq!(whole.rows.len(), 45_000);
    assert!(whole.states.len() >= 3);
    for (rows, state) in &whole.states {
        let rest = read(&config, vec![stream.clone()], vec![state.clone()]).await.one();
        assert_eq!(rest.rows.len(), 45_000 - rows, "{state:?}");
    }
}

/// A read that is broken off and goes on by the key, while the table is written to.
#[tokio::test]
async fn every_row_that_stays_is_read_whatever_is_written() {
    let database = Database::new().await;
    database.sql(&big("t", "PRIMARY KEY"));
    let config = database.config();
    let stream = full(&config, "t").await;
    let mut writer = database.beside(&turmoil("t"));
    let whole = read(&config, vec![stream.clone()], vec![]).await.one();
    check_stayed(&whole.rows, "in one attempt");
    for (rows, state) in whole.states.iter().step_by(2) {
        let rest = read(&config, vec![stream.clone()], vec![state.clone()]).await.one();
        let both: Vec<Vec<String>> = whole.rows[..*rows].iter().chain(&rest.rows).cloned().collect();
        check_stayed(&both, "in two attempts");
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

#[tokio::test]
async fn a_keyless_table_is_read_in_one_snapshot() {
    let database = Database::new().await;
    database.sql(&big("t", ""));
    let config = database.config();
    let stream = full(&config, "t").await;
    assert_eq!(stream.stream.is_resumable, Some(false));
    let mut writer = database.beside(&turmoil("t"));
    for _ in 0..3 {
        let seen = read(&config, vec![stream.clone()], vec![]).await.one();
        check_stayed(&seen.rows, "without a key");
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

/// What is taken from the first chunk is put down in the second, thousands of times a second.
#[tokio::test]
async fn all_chunks_see_the_same_moment() {
    let database = Database::new().await;
    database.sql(&(big("keyed", "PRIMARY KEY") + &big("keyless", "") + "CREATE INDEX ON keyless (id)"));
    let config = database.config();
    for name in ["keyed", "keyless"] {
        let stream = full(&config, name).await;
        let mut writer = database.beside(&format!(
            "DO $$ BEGIN FOR i IN 1..10000000 LOOP
                 UPDATE {name} SET n = n - 1 WHERE id = 1 + i % 500;
                 UPDATE {name} SET n = n + 1 WHERE id = 20000 + i % 500;
                 COMMIT;
             END LOOP; END $$"
        ));
        let started = std::time::Instant::now();
        while database.sql(&format!("SELECT count(*) FROM {name} WHERE n <> 0")) == "0" {
            assert!(started.elapsed() < PATIENCE);
        }
        for _ in 0..5 {
            let seen = read(&config, vec![stream.clone()], vec![]).await.one();
            let sum: i64 = seen.column(1).iter().map(|n| n.parse::<i64>().unwrap()).sum();
            assert_eq!((seen.rows.len() as i64, sum), (ROWS, 0), "{name}");
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DO%'");
    }
}

/// Each id that was there throughout, exactly once.
fn check_stayed(rows: &[Vec<String>], what: &str) {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for row in rows {
        *counts.entry(row[0].parse().unwrap()).or_default() += 1;
    }
    let missing = (1..=ROWS).filter(|id| !counts.contains_key(id)).count();
    let doubled = (1..=ROWS).filter(|id| counts.get(id).is_some_and(|count| *count > 1)).count();
    assert_eq!((missing, doubled), (0, 0), "{what}");
}

#[tokio::test]
async fn states_that_a_full_refresh_refuses() {
    let database = Database::new().await;
    database.sql("CREATE TABLE t (id bigint PRIMARY KEY, c int); INSERT INTO t VALUES (1, 1)");
    let config = database.config();
    let stream = full(&config, "t").await;
    for state in [
        json!({"state_type": "cursor_based", "cursor_field": ["c"], "cursor": "1"}),
        json!({"state_type": "primary_key", "pk_name": ["other"], "pk_val": ["1"]}),
        json!({"state_type": "xmin", "xmin_xid_value": 5}),
        json!({"state_type": "primary_key", "pk_name": ["id"], "pk_val": ["x'; DROP TABLE t; --"]}),
        json!("nonsense"),
    ] {
        let json = protocol::Json::from_value(&state).unwrap();
        let message = StateMessage::stream(stream.stream.descriptor.clone(), Some(json));
        let error = read(&config, vec![stream.clone()], vec![message]).await.result.unwrap_err();
        assert_eq!(error.kind, connector::ErrorKind::Config, "{state}: {error}");
        assert!(error.message.contains("`public.t`"), "{state}: {error}");
    }
}

/// One table that is gone, or that has lost its column, does not stop the others.
#[tokio::test]
async fn other_streams_go_on() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, c int); INSERT INTO b VALUES (1, 1);
        CREATE VIEW broken AS SELECT 1 / (id - 1) AS x FROM b",
    );
    let config = database.config();
    let streams = vec![full(&config, "a").await, full(&config, "broken").await, by(&config, "b", "c").await];
    database.sql("DROP TABLE a");
    let outcome = read(&config, streams, vec![]).await;
    assert!(outcome.result.unwrap_err().message.contains("`public.a`"));
    assert!(
        outcome.logs.iter().any(|line| line.contains("division by zero") && line.contains("public.broken")),
        "{:?}",
        outcome.logs
    );
    assert_eq!(outcome.seen.iter().map(|seen| seen.read).collect::<Vec<_>>(), [None, None, Some(1)]);
}
