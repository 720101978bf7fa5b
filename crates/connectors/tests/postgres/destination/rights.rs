//! Roles: one that owns only its schema can do everything there, and one that lacks a right is told which.

use DestinationSyncMode::{Append, AppendDedup, Overwrite, OverwriteDedup};
use connector::ErrorKind;

use super::*;

#[tokio::test]
async fn a_role_that_owns_only_its_schema() {
    let database = Database::new().await;
    database.role("only_schema");
    database.sql(&format!(
        "CREATE SCHEMA \"My Lake\" AUTHORIZATION only_schema; REVOKE ALL ON SCHEMA public FROM PUBLIC;
         REVOKE ALL ON DATABASE {0} FROM PUBLIC; GRANT CONNECT ON DATABASE {0} TO only_schema",
        database.name
    ));
    let config = with_user(&database, "only_schema", "My Lake");
    PostgresDestination.check(&config, &CancellationToken::new()).await.unwrap();
    let tables = || database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'My Lake'");
    assert_eq!(tables(), "0", "a check leaves nothing behind");
    let mut number = 0;
    for mode in [Append, Overwrite, AppendDedup, OverwriteDedup] {
        for rows in [vec![users(1..=3)], vec![users(2..=4), users(4..=4)]] {
            number += 1;
            let mut target = target(mode, number);
            target.table = StreamDescriptor::new(None, format!("t {mode:?}"));
            load_as(config.clone(), number, target, rows).await.unwrap();
        }
    }
    assert_eq!(tables(), "6", "four tables and our two");
    let count = |mode: &str| database.sql(&format!("SELECT count(*) FROM \"My Lake\".\"t_{mode}\""));
    assert_eq!(
        [count("Append"), count("Overwrite"), count("AppendDedup"), count("OverwriteDedup")],
        ["7", "4", "4", "3"]
    );
    // Another schema is more than it may.
    let mut elsewhere = target(Append, 1);
    elsewhere.table = StreamDescriptor::new(Some("elsewhere"), "t");
    let error = load_as(config, 99, elsewhere, vec![]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    let hint = error.hint.unwrap();
    assert!(hint.contains("GRANT CREATE ON DATABASE") && hint.contains("TO \"only_schema\""), "{hint}");
}

#[tokio::test]
async fn a_missing_grant_is_named_and_enough() {
    let database = Database::new().await;
    database.role("no_rights");
    database.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC");
    let config = with_user(&database, "no_rights", "public");
    let run_hint = |error: connector::Error, expected: &str| {
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        let hint = error.hint.unwrap_or_default();
        assert!(hint.contains(expected), "{}: {hint}", error.message);
        database.sql(hint.strip_prefix("Run: ").unwrap());
    };
    let error = PostgresDestination.check(&config, &CancellationToken::new()).await.unwrap_err();
    run_hint(error, "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"no_rights\"");
    PostgresDestination.check(&config, &CancellationToken::new()).await.unwrap();
    load_as(config.clone(), 1, target(AppendDedup, 1), vec![users(1..=2)]).await.unwrap();
    database.sql("ALTER TABLE users OWNER TO owner");
    let error = load_as(config.clone(), 2, target(AppendDedup, 2), vec![users(2..=3)]).await.unwrap_err();
    run_hint(error, "GRANT SELECT, INSERT, UPDATE, DELETE ON \"public\".\"users\" TO \"no_rights\"");
    // With grants alone rows can be merged, appended and replaced.
    for (number, mode) in [(3, AppendDedup), (4, Append), (5, Overwrite)] {
        let told = load_as(config.clone(), number, target(mode, number), vec![users(2..=3)]).await.unwrap();
        assert!(mode != Overwrite || told.contains("it belongs to owner"), "{told}");
    }
    assert_eq!(database.sql("SELECT count(*) FROM users"), "2");
    let mut wider = target(Append, 6);
    wider.columns.push(("size".into(), ColumnType::Number));
    let error = load_as(config.clone(), 6, wider.clone(), vec![]).await.unwrap_err();
    run_hint(error, "ALTER TABLE \"public\".\"users\" OWNER TO \"no_rights\"");
    load_as(config, 7, wider, vec![]).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let database = Database::new().await;
    database.role("someone");
    let cancel = CancellationToken::new();
    let latin = format!("{}_latin", database.name);
    database.sql(&format!("CREATE DATABASE {latin} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"));
    for (extra, words) in [
        (json!({"database": latin}), "LATIN1"),
        (json!({"username": "someone", "password": "wrong"}), "password"),
        (json!({"database": "nowhere"}), "nowhere"),
        (json!({"port": 1}), "127.0.0.1:1"),
        (json!({"host": "does-not-exist.invalid"}), "does-not-exist.invalid"),
        (json!({"disable_type_dedupe": true}), "disable_type_dedupe"),
    ] {
        let error = PostgresDestination.check(&database.config_with(extra), &cancel).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.message.contains(words) && error.hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn an_attempt_that_does_not_let_go_is_waited_for() {
    let database = Database::new().await;
    load(&database, 1, target(Append, 1), vec![users(1..=1)]).await.unwrap();
    let mut holder = database.beside("BEGIN; SELECT * FROM _leat_fence FOR UPDATE; SELECT pg_sleep(600);");
    let held = "SELECT count(*) FROM pg_locks WHERE relation = '_leat_fence'::regclass AND mode = 'RowShareLock'";
    while database.sql(held) != "1" {
        tokio::task::yield_now().await;
    }
    let (sender, mut notes) = unbounded_channel();
    let claim = Claim { store: "store".into(), connection: "c".into(), job: 2, attempt: 0, owner: "next".into() };
    let targets = vec![target(Append, 1)];
    let cancel = CancellationToken::new();
    let request = OpenRequest { config: database.config(), claim, targets, cancel, notes: sender };
    let mut writer = PostgresDestination.open(request).await.unwrap();
    let release = async {
        let (_, note) = notes.recv().await.unwrap();
        assert!(note.contains("Waiting for an earlier attempt"), "{note}");
        let _ = holder.kill();
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()");
        let _ = holder.wait();
    };
    let (recovered, ()) = tokio::join!(writer.recover(Arc::new(Yes)), release);
    assert!(matches!(recovered.unwrap(), connector::Recovered::Positions { positions, .. } if positions.len() == 1));
}
