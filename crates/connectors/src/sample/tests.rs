//! Rules of the sample source's state and rows.
#![allow(clippy::unwrap_used)]

use arrow_array::{Array, cast::AsArray, types::TimestampMicrosecondType};
use connector::{ErrorKind, ReadRequest, Source, SourceMessage, output};
use protocol::{
    ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, Json, StateMessage, StreamDescriptor, SyncMode,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{SampleSource, config::Config, discover, state::Run};

fn configured(name: &str, mode: SyncMode) -> ConfiguredStream {
    let stream = discover::catalog().streams.into_iter().find(|stream| stream.descriptor.name == name).unwrap();
    ConfiguredStream {
        stream,
        sync_mode: mode,
        destination_sync_mode: DestinationSyncMode::Append,
        cursor_field: vec![],
        primary_key: vec![],
        generation_id: None,
        minimum_generation_id: None,
        sync_id: None,
        extra: Map::new(),
    }
}

struct Seen {
    ids: Vec<i64>,
    states: Vec<(usize, StateMessage)>,
    read: Option<i64>,
    rows: Vec<String>,
}

fn cell(column: &dyn Array, row: usize) -> String {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(instants) => format!("{:?}", instants.is_valid(row).then(|| instants.value(row))),
        None => arrow_cast::display::array_value_to_string(column, row).unwrap(),
    }
}

async fn read(name: &str, mode: SyncMode, config: Value, state: Option<StateMessage>) -> connector::Result<Seen> {
    let (out, mut input) = output::channel(1 << 20);
    let request = ReadRequest {
        config,
        catalog: ConfiguredCatalog { streams: vec![configured(name, mode)], extra: Map::new() },
        state: state.into_iter().collect(),
        cancel: CancellationToken::new(),
    };
    let task = tokio::spawn(async move { SampleSource.read(request, out).await });
    let mut seen = Seen { ids: vec![], states: vec![], read: None, rows: vec![] };
    while let Some(message) = input.next().await {
        match message {
            SourceMessage::Batch(batch) => {
                seen.ids.extend(batch.rows.column(0).as_primitive::<arrow_array::types::Int64Type>().values());
                for row in 0..batch.rows.num_rows() {
                    let values: Vec<String> =
                        batch.rows.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
                    seen.rows.push(values.join("|"));
                }
            }
            SourceMessage::State(state) => seen.states.push((seen.ids.len(), state)),
            SourceMessage::Last { state, read, .. } => {
                seen.states.push((seen.ids.len(), state));
                seen.read = Some(read);
            }
            _ => {}
        }
    }
    task.await.unwrap()?;
    Ok(seen)
}

#[tokio::test]
async fn every_state_resumes_exactly_after_its_rows() {
    for (slice, count) in [(1, 5), (7, 100), (1000, 9000), (20_000, 9000), (3000, 20_000)] {
        let config = json!({"count": count, "seed": 3, "records_per_slice": slice, "always_updated": false});
        let whole = read("users", SyncMode::Incremental, config.clone(), None).await.unwrap();
        assert_eq!(whole.ids, (1..=count).collect::<Vec<i64>>());
        assert_eq!(whole.read, Some(count));
        let marks: Vec<usize> = whole.states.iter().map(|(at, _)| *at).collect();
        let expected: Vec<usize> = (1..).map(|n| n * slice).take_while(|at| *at < count as usize).collect();
        assert_eq!(marks, [expected, vec![count as usize]].concat());
        for (at, state) in whole.states.iter().take(12) {
            let rest = read("users", SyncMode::Incremental, config.clone(), Some(state.clone())).await.unwrap();
            assert_eq!(rest.rows, whole.rows[*at..]);
            assert_eq!(rest.read, Some(count - *at as i64));
        }
    }
}

#[tokio::test]
async fn a_resumed_run_keeps_its_stamp() {
    let config = json!({"count": 20, "seed": 3, "records_per_slice": 10});
    let whole = read("purchases", SyncMode::FullRefresh, config.clone(), None).await.unwrap();
    let rest = read("purchases", SyncMode::FullRefresh, config.clone(), Some(whole.states[0].1.clone())).await.unwrap();
    assert_eq!(rest.rows, whole.rows[10..]);
    // A finished full refresh has nothing left; a finished incremental run sends all again, later.
    let state = Some(whole.states[1].1.clone());
    assert_eq!(read("purchases", SyncMode::FullRefresh, config.clone(), state.clone()).await.unwrap().read, Some(0));
    let again = read("purchases", SyncMode::Incremental, config, state).await.unwrap();
    assert_eq!(again.ids, whole.ids);
    assert_ne!(again.rows, whole.rows);
}

#[tokio::test]
async fn nothing_to_send_still_gives_a_state() {
    let seen = read("users", SyncMode::Incremental, json!({"count": 0}), None).await.unwrap();
    assert_eq!((seen.ids.len(), seen.states.len(), seen.read), (0, 1, Some(0)));
    let products = read("products", SyncMode::Incremental, json!({"count": 0}), None).await.unwrap();
    assert_eq!(products.read, Some(100));
}

#[test]
fn where_a_run_begins() {
    let check = |mode, always_updated: bool, seed: i64, count: i64, state: Value, expected: Option<(i64, i64)>| {
        let config = Config::read(&json!({"count": count, "seed": seed, "always_updated": always_updated})).unwrap();
        let users = StreamDescriptor::new(None, "users");
        let json = Json::from_value(&state).unwrap();
        let run = Run::plan(&users, mode, Some(&json), &config, count, 77, 1000);
        match (run, expected) {
            (Ok(run), Some((start, end))) => {
                assert_eq!((run.offsets.start, run.offsets.end), (start, end), "{state}");
                run.state(&users, end).unwrap();
            }
            (Err(error), None) => {
                assert_eq!(error.kind, ErrorKind::Config);
                assert!(error.message.contains("`users`"), "{error}");
            }
            (run, expected) => panic!("{state}: {run:?}, not {expected:?}"),
        }
    };
    let incremental = SyncMode::Incremental;
    let stamp = "2026-01-01T00:00:00.000000Z";
    let state = |seed: i64, offset: i64, count: i64| json!({"seed": seed, "loop_offset": offset, "count": count, "updated_at": stamp});
    check(incremental, true, 5, 100, json!({}), Some((0, 100)));
    check(incremental, true, 5, 100, Value::Null, Some((0, 100)));
    check(incremental, true, 5, 100, state(5, 40, 100), Some((40, 100)));
    check(incremental, true, 5, 100, state(5, 100, 100), Some((0, 100)));
    check(incremental, false, 5, 100, state(5, 100, 100), Some((100, 100)));
    check(incremental, false, 5, 150, state(5, 100, 100), Some((100, 150)));
    check(incremental, false, 5, 50, state(5, 100, 100), Some((100, 100)));
    check(incremental, true, 5, 50, state(5, 70, 100), Some((70, 70)));
    check(incremental, true, 5, 200, state(5, 70, 100), Some((70, 200)));
    check(incremental, false, 6, 100, state(5, 40, 100), Some((0, 100)));
    check(incremental, false, -1, 100, state(5, 40, 100), Some((40, 100)));
    // Upstream's own state has no count.
    check(incremental, false, 5, 100, json!({"seed": 5, "loop_offset": 60, "updated_at": stamp}), Some((60, 100)));
    check(incremental, true, 5, 100, json!({"seed": 5, "loop_offset": 60, "updated_at": stamp}), Some((0, 100)));
    check(SyncMode::FullRefresh, true, 5, 100, state(5, 100, 100), Some((100, 100)));
    for garbage in [
        json!([]),
        json!("x"),
        json!(7),
        json!({"loop_offset": "many"}),
        json!({"seed": 5, "loop_offset": -1, "count": 3}),
        json!({"seed": 5, "loop_offset": 9_223_372_036_854_775_807_i64}),
        json!({"seed": 5, "loop_offset": 1, "count": 3, "updated_at": "yesterday"}),
        json!({"seed": 5.5, "loop_offset": 1, "count": 3}),
    ] {
        check(incremental, true, 5, 100, garbage, None);
    }
}

#[test]
fn bounds_are_named() {
    for (field, value) in [
        ("count", json!(-1)),
        ("count", json!(i64::MAX)),
        ("count", json!("ten")),
        ("records_per_slice", json!(0)),
        ("parallelism", json!(0)),
        ("parallelism", json!(100_000)),
        ("seed", json!(-2)),
        ("always_updated", json!("yes")),
    ] {
        let mut config = json!({});
        config[field] = value;
        let error = Config::read(&config).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains(&format!("`{field}`")), "{error}");
    }
    assert_eq!(Config::read(&json!({"unknown": 1})).unwrap().count, 1000);
}

#[tokio::test]
async fn cancel_stops_a_long_read() {
    let (out, mut input) = output::channel(1 << 20);
    let cancel = CancellationToken::new();
    let request = ReadRequest {
        config: json!({"count": 1_000_000_000}),
        catalog: ConfiguredCatalog { streams: vec![configured("users", SyncMode::FullRefresh)], extra: Map::new() },
        state: vec![],
        cancel: cancel.clone(),
    };
    let task = tokio::spawn(async move { SampleSource.read(request, out).await });
    input.next().await.unwrap();
    cancel.cancel();
    while input.next().await.is_some() {}
    assert_eq!(task.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}
