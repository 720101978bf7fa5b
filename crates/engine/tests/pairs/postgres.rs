//! Pairs with a real PostgreSQL at one end or at both.

use connectors::postgres::{PostgresDestination, PostgresSource};

use super::{server::Database, *};

fn into(database: &Arc<Database>) -> Place {
    let reader = database.clone();
    Place {
        what: "postgres",
        destination: Arc::new(PostgresDestination),
        config: database.config(),
        ids: Box::new(move |table| {
            let ids = reader.sql(&format!("SELECT id FROM \"{table}\" ORDER BY id"));
            ids.lines().map(|id| id.parse().unwrap()).collect()
        }),
        remembers: true,
        _folder: None,
    }
}

#[tokio::test]
async fn every_state_into_postgres_in_every_mode() {
    for states in STATES {
        for (sync, write) in MODES {
            let database = Arc::new(Database::new().await);
            let place = into(&database);
            let at = format!("{states:?}, {sync:?}, {write:?}");
            let mut source = ScriptedSource::new(states, &[("stream0", 10), ("stream1", 7)]);
            if states != States::None {
                source.fails_after = Some(9);
            }
            let mut pair = Pair::new(&place, source.clone(), sync, write);
            if states == States::None {
                assert_eq!(committed(&pair.sync().await), [10, 7], "{at}");
            } else {
                assert!(matches!(pair.sync().await.result, Ending::Failed(_)), "{at}");
                source.fails_after = None;
                pair.source = Arc::new(source);
                committed(&pair.retry(1).await);
            }
            for (stream, rows) in [("stream0", 10), ("stream1", 7)] {
                assert_eq!((place.ids)(stream), (1..=rows).collect::<Vec<i64>>(), "{at}");
            }
            let reads_again = sync == SyncMode::FullRefresh || states == States::None;
            assert_eq!(committed(&pair.sync().await), if reads_again { [10, 7] } else { [0, 0] }, "{at}");
            let doubled = reads_again && write == DestinationSyncMode::Append;
            assert_eq!((place.ids)("stream0").len(), if doubled { 20 } else { 10 }, "{at}");
        }
    }
}

#[tokio::test]
async fn a_death_between_commit_and_ledger_doubles_nothing_in_postgres() {
    for (sync, write) in MODES {
        for steps in [0, 1, 3, 5, 8] {
            let database = Arc::new(Database::new().await);
            let place = into(&database);
            let at = format!("{sync:?}, {write:?}, dies after {steps} steps of the ledger");
            let source = ScriptedSource::new(States::PerRow, &[("stream0", 40), ("stream1", 7)]);
            let mut pair = Pair::new(&place, source, sync, write);
            pair.job = 1;
            pair.die(0, steps).await;
            pair.die(1, steps + 1).await;
            let outcome = pair.retry(2).await;
            assert!(matches!(outcome.result, Ending::Succeeded), "{at}: {outcome:?}");
            for (index, rows) in [(0, 40), (1, 7)] {
                assert_eq!((place.ids)(&name(index).name), (1..=rows).collect::<Vec<i64>>(), "{at}");
                assert_eq!(lock(&pair.ledger).job_counts(1, index).written, rows, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn sample_data_into_postgres() {
    let database = Arc::new(Database::new().await);
    let place = into(&database);
    let source = Arc::new(SampleSource);
    let config = json!({"count": 3000, "seed": 7, "always_updated": false, "records_per_slice": 250});
    let found = source.discover(&config, &CancellationToken::new()).await.unwrap();
    let mode = (SyncMode::Incremental, DestinationSyncMode::AppendDedup);
    let streams: Vec<_> = found.streams.into_iter().map(|stream| configured(stream, mode.0, mode.1)).collect();
    let names: Vec<String> = streams.iter().map(|stream| stream.stream.descriptor.name.clone()).collect();
    let mut pair = Pair::over(&place, source, config, ConfiguredCatalog { streams, ..Default::default() });
    let first = committed(&pair.sync().await);
    for (name, rows) in names.iter().zip(&first) {
        assert_eq!((place.ids)(name).len() as i64, *rows, "{name}");
        let changed = format!("SELECT count(*) FROM \"{name}\" WHERE _airbyte_meta->'changes' <> '[]'");
        assert_eq!(database.sql(&changed), "0", "{name}");
    }
    assert_eq!(committed(&pair.sync().await), [0, 0, 0]);
    pair.source_config["count"] = json!(3100);
    assert!(committed(&pair.sync().await).contains(&100));
}

/// One table of the source through both connectors.
async fn pair_of<'a>(
    place: &'a Place,
    source: &Database,
    (sync, write): (SyncMode, DestinationSyncMode),
    cursor: Option<&str>,
) -> Pair<'a> {
    let connector = Arc::new(PostgresSource);
    let found = connector.discover(&source.config(), &CancellationToken::new()).await.unwrap();
    let with_cursor = |stream| {
        let mut stream = configured(stream, sync, write);
        if let Some(cursor) = cursor {
            stream.cursor_field = vec![cursor.to_owned()];
        }
        stream
    };
    let streams = found.streams.into_iter().map(with_cursor).collect();
    Pair::over(place, connector, source.config(), ConfiguredCatalog { streams, ..Default::default() })
}

#[tokio::test]
async fn infinities_and_far_years_from_postgres_to_postgres() {
    let (source, target) = (Database::new().await, Arc::new(Database::new().await));
    source.sql(
        "CREATE TABLE tariff (id integer PRIMARY KEY, starts date, ends date, seen timestamp, valid timestamptz, ratio double precision,
             amount numeric, clock time, zoned timetz, small real, flags boolean, list integer[], doc jsonb, raw bytea, cost numeric(12,4));
         INSERT INTO tariff VALUES
         (1, '2024-02-29', 'infinity', '2024-02-29 10:00:00', 'infinity', 1.5,
             12345678901234567890123456789012345678901234567890.000000000000000000001, '24:00:00', '03:04:05.678+02:30', 0.1, true, '{1,NULL}', '{\"a\": 1.10}', '\\x00ff', 10.5),
         (2, '-infinity', '2024-03-01', '-infinity', '2024-03-01 00:00:00+02', 'NaN', 'NaN', '00:00:00', '24:00:00-15', 1e-30, false, '{}', '[]', '', -0.0001),
         (3, '0044-03-15 BC', '12024-01-01', 'infinity', '-infinity', 'Infinity', 'Infinity', '23:59:59.999999', '00:00+00', 'NaN', NULL, NULL, NULL, NULL, 99999999.9999),
         (4, NULL, NULL, NULL, NULL, '-Infinity', 0.10, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    let place = into(&target);
    let mut pair = pair_of(&place, &source, (SyncMode::FullRefresh, DestinationSyncMode::Overwrite), None).await;
    assert_eq!(committed(&pair.sync().await), [4]);
    let seen = |database: &Database| {
        database.sql(
            "SET TimeZone = 'UTC'; SELECT id, starts, ends, seen, valid, ratio::text, amount, clock, zoned, small::numeric, flags,
             to_jsonb(list), doc, raw::text, cost FROM tariff ORDER BY id",
        )
    };
    assert_eq!(seen(&target), seen(&source));
    assert_eq!(target.sql("SELECT count(*) FROM tariff WHERE _airbyte_meta->'changes' <> '[]'"), "0");
}

#[tokio::test]
async fn mixed_case_and_reserved_names_from_postgres_to_postgres() {
    let (source, target) = (Database::new().await, Arc::new(Database::new().await));
    source.sql(
        "CREATE SCHEMA \"Sales.EU\";
         CREATE TABLE \"Sales.EU\".\"order\" (\"Id\" bigint PRIMARY KEY, \"basePrice\" numeric(12,4) NOT NULL, \"user\" text,
             \"group\" integer, \"table\" boolean, \"select\" jsonb, \"changedAt\" timestamptz NOT NULL);
         INSERT INTO \"Sales.EU\".\"order\" VALUES
             (1, 10.0000, 'ann', 1, true, '{\"from\": 1.10}', '2025-01-01 00:00+00'),
             (2, 20.5000, 'bob', 2, false, NULL, '2025-01-01 00:00+00')",
    );
    let place = into(&target);
    let mode = (SyncMode::Incremental, DestinationSyncMode::AppendDedup);
    let mut pair = pair_of(&place, &source, mode, Some("changedAt")).await;
    assert_eq!(committed(&pair.sync().await), [2]);
    source.sql(
        "UPDATE \"Sales.EU\".\"order\" SET \"basePrice\" = 11.25, \"changedAt\" = '2025-01-02' WHERE \"Id\" = 1;
         INSERT INTO \"Sales.EU\".\"order\" VALUES (3, 30, 'cy', NULL, NULL, '[]', '2025-01-02')",
    );
    committed(&pair.sync().await);
    assert_eq!(
        target.sql("SELECT \"Id\", \"basePrice\", \"user\", \"group\", \"table\", \"select\" FROM \"Sales_EU\".\"order\" ORDER BY 1"),
        "1|11.2500|ann|1|t|{\"from\": 1.10}\n2|20.5000|bob|2|f|\n3|30.0000|cy|||[]"
    );
}
