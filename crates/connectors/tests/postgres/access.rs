//! Getting in: passwords, encryption, rights; and what is said when it does not work.

use connector::{Error, ErrorKind};

use super::*;

async fn check(config: &Value) -> Result<()> {
    PostgresSource.check(config, &CancellationToken::new()).await
}

fn text(error: &Error) -> String {
    format!("{} | {}", error.message, error.hint.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn every_way_of_proving_a_password() {
    let database = Database::new().await;
    for role in ["scrambled", "in_clear"] {
        database.role(role);
    }
    database.sql(
        "SET password_encryption = 'md5'; DO $$ BEGIN CREATE ROLE hashed LOGIN PASSWORD 'pw';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    for role in ["scrambled", "in_clear", "hashed"] {
        let config = |password: Value| database.config_with(json!({"username": role, "password": password}));
        check(&config(json!("pw"))).await.unwrap();
        let error = check(&config(json!("wrong"))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("password") && error.message.contains(role), "{error}");
        let error = check(&config(Value::Null)).await.unwrap_err();
        assert!(error.message.contains("wants a password"), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let database = Database::new().await;
    database.role("shut_out");
    database.role("stranger");
    database.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA locked; CREATE TABLE locked.t (id int)");
    for (extra, words) in [
        (json!({"database": "nowhere"}), &["`nowhere`"][..]),
        (json!({"username": "shut_out", "password": "pw"}), &["pg_hba.conf", "shut_out"]),
        (json!({"host": "does-not-exist.invalid"}), &["does-not-exist.invalid"]),
        (json!({"port": 1}), &["127.0.0.1:1", "`host` and `port`"]),
        (json!({"schemas": ["Public"]}), &["`Public`"]),
        (json!({"username": "stranger", "password": "pw"}), &["may not read any table", "GRANT SELECT ON ALL TABLES"]),
        (json!({"username": "stranger", "password": "pw", "schemas": ["locked"]}), &["`locked`", "GRANT USAGE"]),
        (json!({"replication_method": {"method": "CDC"}}), &["`CDC`", "Standard"]),
    ] {
        let error = check(&database.config_with(extra.clone())).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{extra}");
        for word in words {
            assert!(text(&error).contains(word), "{extra}: {}", text(&error));
        }
    }
    // In a read, what may pass is tried again.
    let stream = full(&database.config(), "t").await;
    let outcome = read(&database.config_with(json!({"port": 1})), vec![stream.clone()], vec![]).await;
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Transient);
    let config = database.config_with(json!({"username": "stranger", "password": "pw"}));
    let error = read(&config, vec![stream.clone()], vec![]).await.result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(text(&error).contains("GRANT SELECT ON \"public\".\"t\" TO \"stranger\""), "{}", text(&error));
    database.sql("DROP TABLE t");
    let error = read(&database.config(), vec![stream], vec![]).await.result.unwrap_err();
    assert!(error.message.contains("`public.t`"), "{error}");
}

#[tokio::test]
async fn encryption_by_every_mode() {
    let database = Database::new().await;
    for role in ["only_encrypted", "only_plain"] {
        database.role(role);
    }
    let (authority, own) = database.certificates();
    let config = |role: &str, host: &str, mode: Value| {
        database.config_with(json!({"username": role, "password": "pw", "host": host, "ssl_mode": mode}))
    };
    let other = || {
        std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=Somebody else", "-keyout", "/dev/null"])
            .output()
            .unwrap()
            .stdout
    };
    let other = String::from_utf8(other()).unwrap();
    let plain = json!({"mode": "disable"});
    let verify = |mode: &str, ca: &str| json!({"mode": mode, "ca_certificate": ca});
    // The certificate is for localhost and db.test, not for 127.0.0.1.
    for (role, host, mode, works) in [
        ("only_encrypted", "127.0.0.1", plain.clone(), false),
        ("only_encrypted", "127.0.0.1", json!({"mode": "allow"}), true),
        ("only_encrypted", "127.0.0.1", json!({"mode": "prefer"}), true),
        ("only_encrypted", "127.0.0.1", json!({"mode": "require"}), true),
        ("only_encrypted", "127.0.0.1", verify("verify-ca", &authority), true),
        ("only_encrypted", "127.0.0.1", verify("verify-full", &authority), false),
        ("only_encrypted", "localhost", verify("verify-full", &authority), true),
        ("only_encrypted", "127.0.0.1", verify("verify-ca", &own), true),
        ("only_encrypted", "127.0.0.1", verify("verify-ca", &other), false),
        ("only_encrypted", "localhost", verify("verify-full", &other), false),
        ("only_plain", "127.0.0.1", plain, true),
        ("only_plain", "127.0.0.1", json!({"mode": "prefer"}), true),
        ("only_plain", "127.0.0.1", json!({"mode": "allow"}), true),
        ("only_plain", "127.0.0.1", json!({"mode": "require"}), false),
    ] {
        let result = check(&config(role, host, mode.clone())).await;
        let shown = mode["mode"].as_str().unwrap();
        match (works, result) {
            (true, result) => result.unwrap_or_else(|error| panic!("{role} {host} {shown}: {}", text(&error))),
            (false, Err(error)) => assert_eq!(error.kind, ErrorKind::Config, "{role} {host} {shown}"),
            (false, Ok(())) => panic!("{role} {host} {shown} was let in"),
        }
    }
}

/// Case 16: neither transaction ids nor temporary tables nor anything else that a standby refuses.
#[tokio::test]
async fn a_role_that_can_only_read() {
    let database = Database::new().await;
    database.role("standby_reader");
    database.sql(&format!(
        "CREATE TABLE ledger (id bigint PRIMARY KEY, booked_at timestamptz NOT NULL, amount numeric(14,2) NOT NULL, pad text);
         INSERT INTO ledger SELECT g, timestamptz '2025-01-01 00:00+00' + g * interval '1 minute', g * 1.01, repeat('x', 1000)
             FROM generate_series(1, 40000) g;
         CREATE TABLE keyless AS SELECT * FROM ledger;
         GRANT SELECT ON ledger, keyless TO standby_reader;
         ALTER ROLE standby_reader SET default_transaction_read_only = on;
         REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC; ANALYZE",
        database.name
    ));
    let config = database.config_with(json!({"username": "standby_reader", "password": "pw"}));
    check(&config).await.unwrap();
    for stream in [
        full(&config, "ledger").await,
        full(&config, "keyless").await,
        by(&config, "ledger", "booked_at").await,
        by(&config, "keyless", "id").await,
    ] {
        let seen = read(&config, vec![stream.clone()], vec![]).await.one();
        assert_eq!(seen.ids(), (1..=40000).collect::<Vec<i64>>());
        assert!(seen.states.len() > 2);
        if stream.sync_mode == SyncMode::Incremental {
            let again = read(&config, vec![stream], vec![seen.last_state()]).await.one();
            assert_eq!(again.rows.len(), 0);
        }
    }
    let log = server::log();
    for refused in ["read-only transaction", "cannot assign TransactionIds", "serializable mode in a hot standby"] {
        assert!(!log.contains(refused), "{refused}");
    }
}

#[tokio::test]
async fn cancel_interrupts_the_statement() {
    let database = Database::new().await;
    database.sql("CREATE VIEW slow AS SELECT g AS id, pg_sleep(0.01)::text AS s FROM generate_series(1, 1000000) g");
    let config = database.config();
    let stream = full(&config, "slow").await;
    let cancel = CancellationToken::new();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%' AND state = 'active'";
    let stop = async {
        let started = std::time::Instant::now();
        while database.sql(running) == "0" {
            assert!(started.elapsed() < PATIENCE);
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(read_until(&config, vec![stream], vec![], cancel.clone(), |_, _| {}), stop);
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Cancelled);
    let started = std::time::Instant::now();
    while database.sql(running) != "0" {
        assert!(started.elapsed() < PATIENCE, "the statement goes on without us");
    }
}

#[tokio::test]
async fn a_session_that_is_killed() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, pad text);
         INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 60000) g; ANALYZE",
    );
    let config = database.config();
    let stream = full(&config, "t").await;
    let mut killed = false;
    let kill = |message: &SourceMessage, _: &[Seen]| {
        if matches!(message, SourceMessage::State(_)) && !std::mem::replace(&mut killed, true) {
            database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
        }
    };
    let outcome = read_until(&config, vec![stream.clone()], vec![], CancellationToken::new(), kill).await;
    assert_eq!(outcome.result.unwrap_err().kind, ErrorKind::Transient);
    let seen = &outcome.seen[0];
    assert_eq!(seen.read, None);
    let (rows, state) = seen.states.last().unwrap().clone();
    assert!(rows < 60000);
    let rest = read(&config, vec![stream], vec![state]).await.one();
    let mut ids: Vec<i64> = seen.rows[..rows].iter().chain(&rest.rows).map(|row| row[0].parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=60000).collect::<Vec<i64>>());
}
