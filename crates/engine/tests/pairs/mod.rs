//! Every kind of source state through every kind of destination: with memory of its commits, without, a real file, and
//! ([`postgres`]) a real server.

mod postgres;
// The one helper that starts a PostgreSQL for tests.
#[path = "../../../connectors/tests/postgres/server.rs"]
#[allow(dead_code)]
mod server;

use std::{sync::Arc, time::Duration};

use connector::{
    Destination, Source,
    testing::{ForgetfulDestination, MemoryDestination, ScriptedSource, States, configured},
};
use connectors::{sample::SampleSource, sqlite::SqliteDestination};
use engine::{Attempt, Ending, Kind, Outcome, run};
use protocol::{ConfiguredCatalog, DestinationSyncMode, StreamDescriptor, SyncMode, checkpoint::Claim};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use crate::world::{
    Shared,
    gate::Gate,
    ledger::{Claimed, Ledger},
    lock, name, shared,
};

type Ids = dyn Fn(&str) -> Vec<i64>;

/// A destination and a look into its tables.
struct Place {
    what: &'static str,
    destination: Arc<dyn Destination>,
    config: Value,
    /// The ids in a table, in its order.
    ids: Box<Ids>,
    remembers: bool,
    _folder: Option<TempDir>,
}

fn places() -> Vec<Place> {
    let memory = MemoryDestination::default();
    let forgetful = ForgetfulDestination::default();
    let ids = |rows: Option<Vec<connector::testing::rows::Row>>| -> Vec<i64> {
        rows.unwrap_or_default().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    let (in_memory, in_forgetful) = (memory.clone(), forgetful.clone());
    vec![
        Place {
            what: "memory",
            destination: Arc::new(memory),
            config: json!({}),
            ids: Box::new(move |table| ids(in_memory.rows(&StreamDescriptor::new(None, table)))),
            remembers: true,
            _folder: None,
        },
        Place {
            what: "forgetful",
            destination: Arc::new(forgetful),
            config: json!({}),
            ids: Box::new(move |table| ids(in_forgetful.rows(&StreamDescriptor::new(None, table)))),
            remembers: false,
            _folder: None,
        },
        sqlite(),
    ]
}

fn sqlite() -> Place {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("lake.db");
    let path = file.to_str().unwrap().to_owned();
    Place {
        what: "sqlite",
        destination: Arc::new(SqliteDestination::new(folder.path().join("local"), Vec::new())),
        config: json!({ "destination_path": path }),
        ids: Box::new(move |table| {
            let connection = rusqlite::Connection::open(&file).unwrap();
            let mut statement = connection.prepare(&format!("select id from \"{table}\" order by rowid")).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        }),
        remembers: true,
        _folder: Some(folder),
    }
}

struct Pair<'a> {
    place: &'a Place,
    source: Arc<dyn Source>,
    source_config: Value,
    catalog: ConfiguredCatalog,
    ledger: Shared<Ledger>,
    job: i64,
}

impl<'a> Pair<'a> {
    fn new(place: &'a Place, source: ScriptedSource, sync: SyncMode, write: DestinationSyncMode) -> Self {
        let streams = source.catalog().streams.into_iter().map(|stream| configured(stream, sync, write)).collect();
        Self::over(place, Arc::new(source), json!({}), ConfiguredCatalog { streams, ..Default::default() })
    }

    fn over(place: &'a Place, source: Arc<dyn Source>, config: Value, catalog: ConfiguredCatalog) -> Self {
        let names = catalog.streams.iter().map(|stream| stream.stream.descriptor.clone()).collect();
        let ledger = shared(Ledger::of_streams(names));
        Self { place, source, source_config: config, catalog, ledger, job: 0 }
    }

    fn attempt(&mut self, number: i64, gate: Gate) -> Attempt {
        let owner = format!("{}.{number}", self.job);
        let claim = Claim { store: "here".into(), connection: "c".into(), job: self.job, attempt: number, owner };
        let full: Vec<bool> =
            self.catalog.streams.iter().map(|stream| stream.sync_mode == SyncMode::FullRefresh).collect();
        lock(&self.ledger).claim(&claim, &full);
        for (stream, generation) in self.catalog.streams.iter_mut().zip(&lock(&self.ledger).generations) {
            stream.generation_id = Some(*generation);
        }
        let (events, _) = unbounded_channel();
        Attempt {
            source: self.source.clone(),
            destination: self.place.destination.clone(),
            source_config: self.source_config.clone(),
            destination_config: self.place.config.clone(),
            claim: claim.clone(),
            kind: Kind::Sync,
            tables: self.catalog.streams.iter().map(|stream| stream.stream.descriptor.clone()).collect(),
            catalog: self.catalog.clone(),
            // Little, so that commits happen at several marks.
            budget: 8 << 10,
            cancel: CancellationToken::new(),
            checkpoints: Arc::new(Claimed { ledger: self.ledger.clone(), claim, gate }),
            events,
        }
    }

    async fn sync(&mut self) -> Outcome {
        self.job += 1;
        let attempt = self.attempt(0, Gate::open());
        run(attempt).await
    }

    async fn retry(&mut self, number: i64) -> Outcome {
        let attempt = self.attempt(number, Gate::open());
        run(attempt).await
    }

    /// The process dies after so many steps of the ledger: before or after an entry, with the commit done.
    async fn die(&mut self, number: i64, steps: u64) {
        let gate = Gate::default();
        gate.allow(steps);
        let attempt = self.attempt(number, gate.clone());
        tokio::select! {
            biased;
            _ = run(attempt) => {}
            () = gate.closed_later() => {}
        }
    }
}

fn committed(outcome: &Outcome) -> Vec<i64> {
    assert!(matches!(outcome.result, Ending::Succeeded), "{outcome:?}");
    outcome.streams.iter().map(|stream| stream.committed.written).collect()
}

const MODES: [(SyncMode, DestinationSyncMode); 4] = [
    (SyncMode::Incremental, DestinationSyncMode::Append),
    (SyncMode::Incremental, DestinationSyncMode::AppendDedup),
    (SyncMode::FullRefresh, DestinationSyncMode::Overwrite),
    (SyncMode::FullRefresh, DestinationSyncMode::Append),
];

const STATES: [States; 5] = [States::None, States::PerRow, States::Every(3), States::Global, States::Legacy];

#[tokio::test]
async fn every_state_through_every_destination_in_every_mode() {
    for states in STATES {
        for (sync, write) in MODES {
            for place in places() {
                let at = format!("{states:?}, {sync:?}, {write:?}, {}", place.what);
                let source = ScriptedSource::new(states, &[("stream0", 10), ("stream1", 7)]);
                let mut pair = Pair::new(&place, source, sync, write);
                assert_eq!(committed(&pair.sync().await), [10, 7], "{at}");
                let first: Vec<i64> = (1..=10).collect();
                assert_eq!((place.ids)("stream0"), first, "{at}");

                let reads_again = sync == SyncMode::FullRefresh || states == States::None;
                let second = pair.sync().await;
                assert_eq!(committed(&second), if reads_again { [10, 7] } else { [0, 0] }, "{at}");
                let doubled = reads_again && write == DestinationSyncMode::Append;
                let expected = if doubled { [first.clone(), first].concat() } else { first };
                let mut found = (place.ids)("stream0");
                if !doubled {
                    found.sort_unstable();
                }
                assert_eq!(found, expected, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_read_goes_on_from_its_last_state() {
    for states in [States::PerRow, States::Every(3), States::Global, States::Legacy] {
        for (sync, write) in MODES {
            for place in places() {
                let at = format!("{states:?}, {sync:?}, {write:?}, {}", place.what);
                let mut source = ScriptedSource::new(states, &[("stream0", 10), ("stream1", 7)]);
                source.fails_after = Some(9);
                let mut pair = Pair::new(&place, source.clone(), sync, write);
                assert!(matches!(pair.sync().await.result, Ending::Failed(_)), "{at}");
                source.fails_after = None;
                pair.source = Arc::new(source);
                committed(&pair.retry(1).await);
                for (stream, rows) in [("stream0", 10), ("stream1", 7)] {
                    let mut found = (place.ids)(stream);
                    found.sort_unstable();
                    if !place.remembers {
                        found.dedup();
                    }
                    assert_eq!(found, (1..=rows).collect::<Vec<i64>>(), "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_death_between_commit_and_ledger_doubles_nothing() {
    for (sync, write) in MODES {
        for steps in 0..12 {
            let place = sqlite();
            let at = format!("{sync:?}, {write:?}, dies after {steps} steps of the ledger");
            let source = ScriptedSource::new(States::PerRow, &[("stream0", 40), ("stream1", 7)]);
            let mut pair = Pair::new(&place, source, sync, write);
            pair.job = 1;
            pair.die(0, steps).await;
            pair.die(1, steps + 1).await;
            let outcome = pair.retry(2).await;
            assert!(matches!(outcome.result, Ending::Succeeded), "{at}: {outcome:?}");
            for (index, rows) in [(0, 40), (1, 7)] {
                let mut found = (place.ids)(&name(index).name);
                found.sort_unstable();
                assert_eq!(found, (1..=rows).collect::<Vec<i64>>(), "{at}");
                // Over all attempts the ledger counts what lies in the table.
                assert_eq!(lock(&pair.ledger).job_counts(1, index).written, rows, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn sample_data_into_a_file() {
    let place = sqlite();
    let source = Arc::new(SampleSource);
    let config = json!({"count": 3000, "seed": 7, "always_updated": false, "records_per_slice": 250});
    let found = source.discover(&config, &CancellationToken::new()).await.unwrap();
    let mode = (SyncMode::Incremental, DestinationSyncMode::AppendDedup);
    let streams: Vec<_> = found.streams.into_iter().map(|stream| configured(stream, mode.0, mode.1)).collect();
    let names: Vec<String> = streams.iter().map(|stream| stream.stream.descriptor.name.clone()).collect();
    let catalog = ConfiguredCatalog { streams, ..Default::default() };
    let mut pair = Pair::over(&place, source, config, catalog);
    let first = committed(&pair.sync().await);
    for (name, rows) in names.iter().zip(&first) {
        assert_eq!((place.ids)(name).len() as i64, *rows, "{name}");
    }
    assert_eq!(first.iter().max(), Some(&3000));
    assert_eq!(committed(&pair.sync().await), [0, 0, 0]);
    pair.source_config["count"] = json!(3100);
    assert!(committed(&pair.sync().await).contains(&100));
}

impl Gate {
    /// Like [`Gate::closed`], for attempts whose work wakes other tasks.
    async fn closed_later(&self) {
        loop {
            if tokio::time::timeout(Duration::from_millis(1), self.closed()).await.is_ok() {
                return;
            }
        }
    }
}
