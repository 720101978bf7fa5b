//! What discover offers, and what is read of things that are not plain tables.

use super::*;

fn keys(stream: &Stream) -> Vec<String> {
    stream.source_defined_primary_key.iter().map(|field| field.join(".")).collect()
}

fn columns(stream: &Stream) -> Vec<String> {
    protocol::schema::columns(&stream.json_schema).into_iter().map(|(name, _)| name).collect()
}

/// Case 11.
#[tokio::test]
async fn a_partition_root_stands_for_its_leaves() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE reading (tenant text NOT NULL, id bigint NOT NULL, taken_at timestamptz NOT NULL, value numeric(10,2),
             PRIMARY KEY (tenant, taken_at, id)) PARTITION BY LIST (tenant);
         CREATE TABLE reading_north PARTITION OF reading FOR VALUES IN ('north') PARTITION BY RANGE (taken_at);
         CREATE TABLE reading_north_h1 PARTITION OF reading_north FOR VALUES FROM ('2025-01-01+00') TO ('2025-07-01+00');
         CREATE TABLE reading_north_h2 PARTITION OF reading_north FOR VALUES FROM ('2025-07-01+00') TO ('2026-01-01+00');
         CREATE TABLE reading_rest PARTITION OF reading DEFAULT;
         INSERT INTO reading SELECT CASE WHEN g % 3 = 0 THEN 'south' ELSE 'north' END, g,
             timestamptz '2025-01-01 00:00+00' + g * interval '1 hour', g / 4.0 FROM generate_series(1, 6000) g;
         CREATE TABLE reading_old PARTITION OF reading FOR VALUES IN ('west');
         INSERT INTO reading VALUES ('west', 900001, '2025-05-05 05:05+00', 1);
         ALTER TABLE reading DETACH PARTITION reading_old; ANALYZE",
    );
    let config = database.config();
    let catalog = discover(&config).await;
    let names: Vec<String> = catalog.streams.iter().map(|stream| stream.descriptor.to_string()).collect();
    assert_eq!(names, ["public.reading", "public.reading_old"]);
    assert_eq!(keys(&catalog.streams[0]), ["tenant", "taken_at", "id"]);
    let seen = read(&config, vec![full(&config, "reading").await], vec![]).await.one();
    assert_eq!(seen.rows.len(), 6000);
    let sum: i64 = seen.column(1).iter().map(|id| id.parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 18_003_000);
    assert_eq!(seen.states.len(), 1);
    let first = read(&config, vec![by(&config, "reading", "taken_at").await], vec![]).await.one();
    assert_eq!(first.rows.len(), 6000);
    // A role that may read the root but no leaf reads the same.
    database.role("root_reader");
    database.sql("GRANT SELECT ON reading TO root_reader");
    let limited = database.config_with(json!({"username": "root_reader", "password": "pw"}));
    let seen = read(&limited, vec![full(&limited, "reading").await], vec![]).await.one();
    assert_eq!(seen.rows.len(), 6000);
    database.sql("INSERT INTO reading VALUES ('east', 700001, '2026-01-05 00:00+00', 7.25)");
    let stream = by(&config, "reading", "taken_at").await;
    let next = read(&config, vec![stream], vec![first.last_state()]).await.one();
    assert_eq!(next.column(1), ["700001"]);
}

/// Leaves whose columns lie in another order are read side by side, in chunks.
#[tokio::test]
async fn large_leaves_are_read_in_chunks() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE t (id bigint, pad text, twice bigint GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY HASH (id);
         CREATE TABLE t0 (gone int, twice bigint GENERATED ALWAYS AS (id * 2) STORED, pad text, id bigint);
         ALTER TABLE t0 DROP gone;
         ALTER TABLE t ATTACH PARTITION t0 FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 1);
         CREATE TABLE t2 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 2);
         INSERT INTO t (id, pad) SELECT g, repeat('x', 1000) FROM generate_series(1, 60000) g",
    );
    let config = database.config();
    let seen = read(&config, vec![full(&config, "t").await], vec![]).await.one();
    assert_eq!(seen.ids(), (1..=60000).collect::<Vec<i64>>());
    assert!(seen.states.len() >= 4, "{}", seen.states.len());
    let is_twice = |row: &Vec<String>| row[2].parse::<i64>().unwrap() == 2 * row[0].parse::<i64>().unwrap();
    assert!(seen.rows.iter().all(is_twice));
}

/// Cases 12 and 15.
#[tokio::test]
async fn generated_columns_and_names_in_need_of_quotes() {
    let database = Database::new().await;
    database.sql(
        r#"CREATE TABLE person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, first text, last text,
             height_cm numeric(6,2), height_in numeric GENERATED ALWAYS AS (height_cm / 2.54) STORED,
             full_name text GENERATED ALWAYS AS (coalesce(first, '') || ' ' || coalesce(last, '')) STORED);
         INSERT INTO person (first, last, height_cm) VALUES ('Ada', 'Zorn', 170.18), ('Bo', NULL, NULL);
         CREATE SCHEMA "Sales.EU";
         CREATE TABLE "Sales.EU"."or""der" ("Id" bigint PRIMARY KEY, "select" jsonb, "changed At" timestamptz NOT NULL);
         INSERT INTO "Sales.EU"."or""der" VALUES (1, '{"from": 1.10}', '2025-01-01 00:00+00'), (2, NULL, '2025-01-02 00:00+00')"#,
    );
    let config = database.config();
    let person = full(&config, "person").await;
    assert_eq!(columns(&person.stream), ["id", "first", "last", "height_cm", "height_in", "full_name"]);
    let seen = read(&config, vec![person], vec![]).await.one();
    assert_eq!(seen.rows[0], ["1", "Ada", "Zorn", "170.18", "67.0000000000000000", "Ada Zorn"]);
    assert_eq!(seen.rows[1], ["2", "Bo", "∅", "∅", "∅", "Bo "]);
    let stream = by(&config, "Sales.EU.or\"der", "changed At").await;
    assert_eq!(stream.stream.descriptor.namespace.as_deref(), Some("Sales.EU"));
    assert_eq!(keys(&stream.stream), ["Id"]);
    let first = read(&config, vec![stream.clone()], vec![]).await.one();
    assert_eq!(first.column(1), ["{\"from\": 1.10}", "∅"]);
    database.sql(r#"INSERT INTO "Sales.EU"."or""der" VALUES (3, '[]', '2025-01-03 00:00+00')"#);
    let next = read(&config, vec![stream], vec![first.last_state()]).await.one();
    assert_eq!(next.column(0), ["3"]);
}

/// Case 19: one that was never filled fails alone.
#[tokio::test]
async fn views_and_materialized_views() {
    let database = Database::new().await;
    database.sql(
        r#"CREATE TABLE sale (id integer PRIMARY KEY, region text, amount numeric(8,2), updated_at timestamptz NOT NULL);
         INSERT INTO sale VALUES (1, 'n', 10.00, '2025-01-01 00:00+00'), (2, 'n', 2.50, '2025-01-02 00:00+00'),
             (3, 's', 7.75, '2025-01-03 00:00+00');
         CREATE VIEW sale_v AS SELECT id, amount * 2 AS doubled, updated_at FROM sale;
         CREATE MATERIALIZED VIEW sale_by_region AS
             SELECT region, sum(amount) AS total, count(*) AS n, max(updated_at) AS "Updated At" FROM sale GROUP BY region;
         CREATE MATERIALIZED VIEW sale_pending AS SELECT * FROM sale WITH NO DATA"#,
    );
    let config = database.config();
    let names: Vec<String> =
        discover(&config).await.streams.iter().map(|stream| stream.descriptor.name.clone()).collect();
    assert_eq!(names, ["sale", "sale_by_region", "sale_pending", "sale_v"]);
    let streams = vec![
        full(&config, "sale_v").await,
        full(&config, "sale_pending").await,
        by(&config, "sale_by_region", "Updated At").await,
    ];
    let outcome = read(&config, streams.clone(), vec![]).await;
    let error = outcome.result.unwrap_err();
    assert_eq!(error.kind, connector::ErrorKind::Config);
    assert!(error.message.contains("sale_pending"), "{error}");
    assert!(error.hint.unwrap().contains("REFRESH MATERIALIZED VIEW"));
    let read_of: Vec<Option<i64>> = outcome.seen.iter().map(|seen| seen.read).collect();
    assert_eq!(read_of, [Some(3), None, Some(2)]);
    database
        .sql("INSERT INTO sale VALUES (4, 's', 0.25, '2025-01-04 00:00+00'); REFRESH MATERIALIZED VIEW sale_by_region");
    let state = outcome.seen[2].last_state();
    let next = read(&config, vec![streams[2].clone()], vec![state]).await.one();
    assert_eq!(next.rows, [["s", "8.00", "2", "1735948800000000"]]);
}

#[tokio::test]
async fn only_what_the_role_may_read() {
    let database = Database::new().await;
    database.role("clerk");
    database.sql(
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t (id int); GRANT SELECT ON hidden.t TO clerk;
         CREATE TABLE open (id int PRIMARY KEY, salary int); GRANT SELECT ON open TO clerk;
         CREATE TABLE partly (id int PRIMARY KEY, name text, salary int); GRANT SELECT (name) ON partly TO clerk;
         CREATE TABLE closed (id int); CREATE TABLE _leat_commits (id int); GRANT SELECT ON _leat_commits TO clerk",
    );
    let config = database.config_with(json!({"username": "clerk", "password": "pw"}));
    let catalog = discover(&config).await;
    let names: Vec<String> = catalog.streams.iter().map(|stream| stream.descriptor.to_string()).collect();
    assert_eq!(names, ["public.open", "public.partly"]);
    assert_eq!(columns(&catalog.streams[1]), ["name"]);
    assert!(keys(&catalog.streams[1]).is_empty());
    database.sql("INSERT INTO partly VALUES (1, 'x', 9)");
    let seen = read(&config, vec![full(&config, "partly").await], vec![]).await.one();
    assert_eq!(seen.rows, [["x"]]);
    let seen = read(&config, vec![by(&config, "partly", "name").await], vec![]).await.one();
    assert_eq!(seen.rows, [["x"]]);
    let config = database.config_with(json!({"schemas": ["hidden"]}));
    let names: Vec<String> =
        discover(&config).await.streams.iter().map(|stream| stream.descriptor.to_string()).collect();
    assert_eq!(names, ["hidden.t"]);
}

/// Resumable is what has a key that its pages follow.
#[tokio::test]
async fn which_streams_are_resumable() {
    let database = Database::new().await;
    database.sql(
        "CREATE TABLE small (id uuid PRIMARY KEY); INSERT INTO small SELECT gen_random_uuid() FROM generate_series(1, 100);
         CREATE TABLE in_order (id bigint PRIMARY KEY, pad text);
         INSERT INTO in_order SELECT g, repeat('x', 3000) FROM generate_series(1, 20000) g;
         CREATE TABLE shuffled (id uuid PRIMARY KEY, pad text);
         INSERT INTO shuffled SELECT gen_random_uuid(), repeat('x', 3000) FROM generate_series(1, 20000) g;
         ALTER TABLE in_order ALTER pad SET STORAGE PLAIN;
         CREATE TABLE keyless (id int); CREATE VIEW v AS SELECT 1 AS id; ANALYZE;
         -- Figures of large tables, without their rows.
         UPDATE pg_class SET relpages = 100000 WHERE relname IN ('in_order', 'shuffled')",
    );
    let resumable: Vec<(String, bool)> = discover(&database.config())
        .await
        .streams
        .into_iter()
        .map(|stream| (stream.descriptor.name, stream.is_resumable.unwrap()))
        .collect();
    let expected = [("in_order", true), ("keyless", false), ("shuffled", false), ("small", true), ("v", false)];
    assert_eq!(resumable, expected.map(|(name, resumable)| (name.to_owned(), resumable)));
}
