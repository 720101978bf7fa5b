//! What single attempts do, one after another, over one connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use connector::ErrorKind;
use engine::{Attempt, Ending, Event, Kind, Origin, Outcome, run};
use protocol::{
    ConfiguredCatalog, StreamDescriptor,
    checkpoint::{Claim, EntryKind, Why},
};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::world::{
    Shared, catalog,
    destination::World,
    gate::Gate,
    ledger::{Claimed, Ledger},
    lock, name, shared,
    source::{Logs, Script, ScriptedSource, States, message},
};

struct Bench {
    logs: Shared<Logs>,
    ledger: Shared<Ledger>,
    world: World,
    catalog: ConfiguredCatalog,
    script: Script,
    budget: usize,
    cancel: CancellationToken,
    job: i64,
    log: Option<UnboundedReceiver<Event>>,
}

const INCREMENTAL_APPEND: (&str, &str, bool) = ("incremental", "append", true);
const INCREMENTAL_DEDUP: (&str, &str, bool) = ("incremental", "append_dedup", true);
const OVERWRITE: (&str, &str, bool) = ("full_refresh", "overwrite", true);

impl Bench {
    fn new(streams: &[(&str, &str, bool)], rows: usize, states: States) -> Self {
        let ids: Vec<i64> = (0..rows as i64).collect();
        Self {
            logs: shared(Logs { streams: vec![ids; streams.len()] }),
            ledger: shared(Ledger::new(streams.len())),
            world: World { gate: Gate::open(), ..World::default() },
            catalog: catalog(streams),
            script: Script::new(states),
            budget: 1 << 20,
            cancel: CancellationToken::new(),
            job: 0,
            log: None,
        }
    }

    fn attempt(&mut self, job: i64, attempt: i64, kind: Kind) -> Attempt {
        let claim =
            Claim { store: "here".into(), connection: "c".into(), job, attempt, owner: format!("{job}.{attempt}") };
        let full = |stream: &protocol::ConfiguredStream| stream.sync_mode == protocol::SyncMode::FullRefresh;
        let full: Vec<bool> = self.catalog.streams.iter().map(|stream| kind == Kind::Sync && full(stream)).collect();
        lock(&self.ledger).claim(&claim, &full);
        for (stream, generation) in self.catalog.streams.iter_mut().zip(&lock(&self.ledger).generations) {
            stream.generation_id = Some(*generation);
        }
        let (events, log) = unbounded_channel();
        self.log = Some(log);
        Attempt {
            source: Arc::new(ScriptedSource { logs: self.logs.clone(), script: self.script.clone() }),
            destination: Arc::new(self.world.clone()),
            source_config: Value::Null,
            destination_config: Value::Null,
            claim: claim.clone(),
            kind,
            tables: self.catalog.streams.iter().map(|stream| stream.stream.descriptor.clone()).collect(),
            catalog: self.catalog.clone(),
            budget: self.budget,
            cancel: self.cancel.clone(),
            checkpoints: Arc::new(Claimed { ledger: self.ledger.clone(), claim, gate: Gate::open() }),
            events,
        }
    }

    async fn sync(&mut self) -> Outcome {
        self.job += 1;
        let attempt = self.attempt(self.job, 0, Kind::Sync);
        run(attempt).await
    }

    async fn retry(&mut self, attempt: i64) -> Outcome {
        let attempt = self.attempt(self.job, attempt, Kind::Sync);
        run(attempt).await
    }

    async fn reset(&mut self, streams: &[usize]) -> Outcome {
        self.job += 1;
        let origin = {
            let mut ledger = lock(&self.ledger);
            ledger.counter += 1;
            ledger.counter
        };
        let streams = streams.iter().map(|index| name(*index)).collect();
        let attempt = self.attempt(self.job, 0, Kind::Reset { streams, origin });
        run(attempt).await
    }

    /// (id, version)
    fn rows(&self, stream: usize) -> Vec<(i64, i64)> {
        let contents = lock(&self.world.contents);
        let rows = contents.tables.get(&name(stream).name).into_iter().flatten();
        rows.map(|(id, version, _)| (*id, *version)).collect()
    }

    fn said(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(Ok(event)) = self.log.as_mut().map(UnboundedReceiver::try_recv) {
            if let Event::Log { message, .. } = event {
                lines.push(message);
            }
        }
        lines
    }
}

fn expected(range: std::ops::Range<i64>) -> Vec<(i64, i64)> {
    range.map(|n| (n, n)).collect()
}

fn assert_green(outcome: &Outcome) {
    assert!(matches!(outcome.result, Ending::Succeeded), "{outcome:?}");
    assert!(outcome.streams.iter().all(|stream| stream.complete), "{outcome:?}");
}

/// The only failure of an attempt.
fn failure(outcome: &Outcome) -> (Origin, ErrorKind, String) {
    match &outcome.result {
        Ending::Failed(failures) if failures.len() == 1 => {
            let failure = &failures[0];
            (failure.origin, failure.kind, failure.message.clone())
        }
        other => panic!("not a single failure: {other:?}"),
    }
}

fn committed(outcome: &Outcome) -> Vec<i64> {
    outcome.streams.iter().map(|stream| stream.committed.written).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_sync_moves_nothing_whatever_the_kind_of_state() {
    for states in [States::Stream, States::Global, States::Legacy] {
        let mut bench = Bench::new(&[INCREMENTAL_APPEND, INCREMENTAL_DEDUP], 20, states);
        let first = bench.sync().await;
        assert_green(&first);
        assert_eq!(committed(&first), [20, 20], "{states:?}");
        let second = bench.sync().await;
        assert_green(&second);
        assert_eq!(committed(&second), [0, 0], "{states:?}");
        lock(&bench.logs).streams[0].extend([20, 21]);
        assert_eq!(committed(&bench.sync().await), [2, 0], "{states:?}");
        assert_eq!(bench.rows(0), expected(0..22), "{states:?}");
        assert_eq!(bench.rows(1), expected(0..20), "{states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_without_states_reads_everything_each_time() {
    let mut bench = Bench::new(&[OVERWRITE, INCREMENTAL_APPEND], 20, States::None);
    assert_green(&bench.sync().await);
    let second = bench.sync().await;
    assert_green(&second);
    assert_eq!(committed(&second), [20, 20]);
    assert_eq!(bench.rows(0), expected(0..20));
    assert_eq!(bench.rows(1).len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_keeps_what_its_states_cover_and_the_next_attempt_goes_on() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND, OVERWRITE], 20, States::Stream);
    assert_green(&bench.sync().await);
    lock(&bench.logs).streams.iter_mut().for_each(|log| log.extend(20..40));
    bench.script.in_turn = true;
    bench.script.every = 2;
    bench.script.fail_after = Some(6);
    let failed = bench.sync().await;
    assert_eq!(failure(&failed), (Origin::Source, ErrorKind::Transient, "The source broke".into()));
    // Two of the three batches of each stream are covered; the third is not.
    assert_eq!(committed(&failed), [6, 6]);
    assert_eq!(bench.rows(0), expected(0..26));
    assert_eq!(bench.rows(1), expected(0..20), "readers see the old rows");

    bench.script.fail_after = None;
    let retried = bench.retry(1).await;
    assert_green(&retried);
    assert_eq!(committed(&retried), [14, 34]);
    assert_eq!(bench.rows(0), expected(0..40));
    assert_eq!(bench.rows(1), expected(0..40));
    let said = bench.said();
    assert!(said[0].contains("`stream0` (incremental, append, generation 0) resumes at mark"), "{said:?}");
    assert!(said[1].contains("`stream1` (full_refresh, overwrite, generation 2) resumes at mark"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_refresh_that_cannot_resume_begins_again_under_a_new_generation() {
    let mut bench = Bench::new(&[("full_refresh", "append", false)], 20, States::Stream);
    bench.script.fail_after = Some(3);
    let failed = bench.sync().await;
    assert_eq!(failure(&failed).0, Origin::Source);
    assert_eq!(bench.rows(0), []);
    bench.script.fail_after = None;
    let retried = bench.retry(1).await;
    assert_green(&retried);
    assert_eq!(committed(&retried), [20]);
    assert_eq!(bench.rows(0), expected(0..20));
    assert_eq!(lock(&bench.ledger).generations, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_complete_is_left_out_of_later_attempts() {
    let mut bench = Bench::new(&[OVERWRITE, OVERWRITE], 6, States::Stream);
    bench.script.fail_after = Some(3);
    let failed = bench.sync().await;
    assert_eq!(failed.streams.iter().map(|stream| stream.complete).collect::<Vec<_>>(), [true, false]);
    bench.script.fail_after = None;
    let retried = bench.retry(1).await;
    assert_green(&retried);
    assert_eq!(retried.streams.iter().map(|stream| stream.emitted).collect::<Vec<_>>(), [0, 3]);
    assert!(bench.said()[0].contains("is left out: it is complete in this job"));
    assert_eq!(bench.rows(0), expected(0..6));
    assert_eq!(bench.rows(1), expected(0..6));
    assert_green(&bench.sync().await);
}

#[tokio::test(start_paused = true)]
async fn counts_that_disagree_are_no_green_job_and_swap_nothing() {
    let mut bench = Bench::new(&[OVERWRITE], 6, States::Stream);
    assert_green(&bench.sync().await);
    bench.script.miscount = 1;
    lock(&bench.logs).streams[0].push(6);
    let (origin, _, message) = failure(&bench.sync().await);
    assert_eq!(origin, Origin::Replication);
    assert_eq!(message, "Stream `stream0`: the source counted 8 rows read, but 7 rows arrived");
    assert_eq!(bench.rows(0), expected(0..6));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_say_complete_is_complete_when_it_ends_well() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 6, States::Stream);
    bench.script.complete = false;
    assert_green(&bench.sync().await);
    assert_eq!(bench.rows(0), expected(0..6));
    assert!(bench.said().iter().any(|line| line.contains("without saying that stream `stream0` is complete")));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_stops_the_source() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 2000, States::Stream);
    bench.world.broken = true;
    bench.budget = 2048;
    let outcome = bench.sync().await;
    assert_eq!(failure(&outcome), (Origin::Destination, ErrorKind::Transient, "The disk is full".into()));
    assert!(outcome.streams[0].emitted < 2000);
    assert_eq!(bench.rows(0), []);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_writes_nothing_more() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 30, States::Stream);
    bench.cancel.cancel();
    let outcome = bench.sync().await;
    assert!(matches!(outcome.result, Ending::Cancelled), "{outcome:?}");
    assert_eq!(bench.rows(0), []);
    bench.cancel = CancellationToken::new();
    assert_green(&bench.retry(1).await);
    assert_eq!(bench.rows(0), expected(0..30));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_claim_is_gone_records_nothing() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 6, States::Stream);
    bench.job = 1;
    let old = bench.attempt(1, 0, Kind::Sync);
    let new = bench.attempt(1, 1, Kind::Sync);
    let outcome = run(old).await;
    assert!(matches!(outcome.result, Ending::ClaimLost), "{outcome:?}");
    assert_eq!(bench.rows(0), []);
    assert_green(&run(new).await);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_the_writer_although_the_claim_holds_is_a_failure() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 6, States::Stream);
    bench.job = 6;
    assert_green(&bench.sync().await);
    // The store was restored from a backup and counts its jobs again.
    bench.job = 2;
    let (origin, kind, message) = failure(&bench.sync().await);
    assert_eq!((origin, kind), (Origin::Destination, ErrorKind::Fenced));
    assert_eq!(message, "A newer attempt has written here");
}

#[tokio::test(start_paused = true)]
async fn little_memory_moves_the_same_rows() {
    for (budget, every) in [(1, 1), (1, 7), (1024, 1000), (4096, 3), (4096, 1000)] {
        let streams = [INCREMENTAL_APPEND, INCREMENTAL_DEDUP, OVERWRITE];
        let mut bench = Bench::new(&streams, 500, States::Stream);
        bench.budget = budget;
        bench.script.every = every;
        bench.script.in_turn = true;
        assert_green(&bench.sync().await);
        for stream in 0..3 {
            assert_eq!(bench.rows(stream), expected(0..500), "budget {budget}, a state every {every} batches");
        }
        assert!(lock(&bench.world.contents).tails.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_empties_the_table_and_forgets_the_state() {
    for states in [States::Stream, States::Global, States::Legacy] {
        let mut bench = Bench::new(&[INCREMENTAL_APPEND, INCREMENTAL_DEDUP], 20, states);
        assert_green(&bench.sync().await);
        let outcome = bench.reset(&[0, 1]).await;
        assert!(matches!(outcome.result, Ending::Succeeded), "{outcome:?}");
        assert_eq!((bench.rows(0), bench.rows(1)), (vec![], vec![]));
        let head = lock(&bench.ledger).head(&name(0)).unwrap();
        assert_eq!((head.kind, head.why, head.state, head.lines.len()), (EntryKind::Clear, Why::Reset, None, 2));
        assert_eq!(committed(&bench.sync().await), [20, 20], "{states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_one_stream_leaves_the_others_where_they_were() {
    for states in [States::Stream, States::Global] {
        let mut bench = Bench::new(&[INCREMENTAL_APPEND, INCREMENTAL_DEDUP], 20, states);
        assert_green(&bench.sync().await);
        let outcome = bench.reset(&[0]).await;
        assert!(matches!(outcome.result, Ending::Succeeded), "{outcome:?}");
        assert_eq!((bench.rows(0).len(), bench.rows(1).len()), (0, 20), "{states:?}");
        assert_eq!(committed(&bench.sync().await), [20, 0], "{states:?}");
    }
    let mut bench = Bench::new(&[INCREMENTAL_APPEND, INCREMENTAL_DEDUP], 20, States::Legacy);
    assert_green(&bench.sync().await);
    let (origin, kind, message) = failure(&bench.reset(&[0]).await);
    assert_eq!((origin, kind), (Origin::Replication, ErrorKind::Config));
    assert!(message.contains("one state for all streams"), "{message}");
    assert_eq!(bench.rows(0).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_was_done_already_does_nothing_more() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 20, States::Stream);
    assert_green(&bench.sync().await);
    let outcome = bench.reset(&[0]).await;
    assert!(matches!(outcome.result, Ending::Succeeded));
    let kind = Kind::Reset { streams: vec![name(0)], origin: 99 };
    let again = bench.attempt(bench.job, 1, kind);
    assert!(matches!(run(again).await.result, Ending::Succeeded));
    let ledger = lock(&bench.ledger);
    assert_eq!(ledger.entries.iter().filter(|entry| entry.kind == EntryKind::Clear).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn states_of_unknown_streams_and_of_mixed_kinds() {
    struct Odd(Vec<protocol::StateMessage>);
    #[async_trait::async_trait]
    impl connector::Source for Odd {
        fn spec(&self) -> connector::Spec {
            connector::Spec::of::<()>("https://example.test")
        }
        async fn check(&self, _: &Value, _: &CancellationToken) -> connector::Result<()> {
            Ok(())
        }
        async fn discover(&self, _: &Value, _: &CancellationToken) -> connector::Result<protocol::Catalog> {
            Ok(protocol::Catalog::default())
        }
        async fn read(&self, _: connector::ReadRequest, output: connector::Output) -> connector::Result<()> {
            for state in &self.0 {
                output.state(state.clone()).await?;
            }
            Ok(())
        }
    }
    let at = |stream: StreamDescriptor| vec![(stream, 1)];
    let unknown = message(States::Stream, 0, &at(name(9))).unwrap();
    let known = message(States::Stream, 0, &at(name(0))).unwrap();
    let global = message(States::Global, 0, &at(name(0))).unwrap();

    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 0, States::Stream);
    let mut attempt = bench.attempt(1, 0, Kind::Sync);
    attempt.source = Arc::new(Odd(vec![unknown.clone(), known.clone(), unknown]));
    assert_green(&run(attempt).await);
    let said = bench.said();
    assert_eq!(said.iter().filter(|line| line.contains("`stream9` was ignored")).count(), 1, "{said:?}");

    let mut attempt = bench.attempt(2, 0, Kind::Sync);
    attempt.source = Arc::new(Odd(vec![known, global]));
    let (origin, kind, message) = failure(&run(attempt).await);
    assert_eq!((origin, kind), (Origin::Source, ErrorKind::System));
    assert!(message.contains("mixed kinds of state"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_or_names_no_stream_is_a_failure_of_the_source() {
    #[derive(Clone, Copy, Debug)]
    enum Rude {
        Panics,
        NamesNoStream,
        FailsAndHoldsOn,
    }
    #[async_trait::async_trait]
    impl connector::Source for Rude {
        fn spec(&self) -> connector::Spec {
            connector::Spec::of::<()>("https://example.test")
        }
        async fn check(&self, _: &Value, _: &CancellationToken) -> connector::Result<()> {
            Ok(())
        }
        async fn discover(&self, _: &Value, _: &CancellationToken) -> connector::Result<protocol::Catalog> {
            Ok(protocol::Catalog::default())
        }
        async fn read(&self, _: connector::ReadRequest, output: connector::Output) -> connector::Result<()> {
            let rows = crate::world::source::rows(&[1], 0);
            match self {
                Self::Panics => panic!("planned"),
                Self::NamesNoStream => output.batch(connector::Batch::new(connector::StreamIndex(7), rows, 0)).await,
                Self::FailsAndHoldsOn => {
                    // A task that outlives the read must not keep the attempt.
                    tokio::spawn(async move {
                        let _output = output;
                        std::future::pending::<()>().await;
                    });
                    Err(connector::Error::system("The source fell over"))
                }
            }
        }
    }
    let cases = [
        (Rude::Panics, "stopped without an answer"),
        (Rude::NamesNoStream, "number 7"),
        (Rude::FailsAndHoldsOn, "fell over"),
    ];
    for (source, expected) in cases {
        let mut bench = Bench::new(&[INCREMENTAL_APPEND], 0, States::Stream);
        let mut attempt = bench.attempt(1, 0, Kind::Sync);
        attempt.source = Arc::new(source);
        let (origin, kind, message) = failure(&run(attempt).await);
        assert_eq!((origin, kind), (Origin::Source, ErrorKind::System));
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_is_committed_about_every_second() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 60, States::Stream);
    bench.script.pause = Duration::from_millis(250);
    assert_green(&bench.sync().await);
    // Twenty batches in five seconds.
    let commits = lock(&bench.ledger).entries.iter().filter(|entry| entry.kind == EntryKind::Stream).count();
    assert!((3..=6).contains(&commits), "{commits} commits");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_the_attempt_while_the_source_is_silent() {
    let mut bench = Bench::new(&[INCREMENTAL_APPEND, OVERWRITE], 6, States::Stream);
    assert_green(&bench.sync().await);
    lock(&bench.logs).streams.iter_mut().for_each(|log| log.extend(6..12));
    bench.script.pause = Duration::from_secs(3600);
    bench.job = 2;
    let attempt = bench.attempt(2, 0, Kind::Sync);
    let cancel = bench.cancel.clone();
    let begun = tokio::time::Instant::now();
    let (outcome, ()) = tokio::join!(run(attempt), async move {
        // One batch of three rows was committed by then, the next one is on its way.
        tokio::time::sleep(Duration::from_secs(3700)).await;
        cancel.cancel();
    });
    assert!(matches!(outcome.result, Ending::Cancelled), "{outcome:?}");
    assert_eq!(committed(&outcome), [3, 0]);
    assert_eq!((bench.rows(0), bench.rows(1)), (expected(0..9), expected(0..6)));
    assert!(begun.elapsed() < Duration::from_secs(3720), "{:?}", begun.elapsed());
}

/// Rows that are on their way between source and destination never take more than the budget.
#[tokio::test(start_paused = true)]
async fn memory_is_bounded_by_the_budget() {
    struct Watched {
        inner: ScriptedSource,
        ledger: Shared<Ledger>,
        most: Arc<AtomicUsize>,
    }
    #[async_trait::async_trait]
    impl connector::Source for Watched {
        fn spec(&self) -> connector::Spec {
            self.inner.spec()
        }
        async fn check(&self, config: &Value, cancel: &CancellationToken) -> connector::Result<()> {
            self.inner.check(config, cancel).await
        }
        async fn discover(&self, config: &Value, cancel: &CancellationToken) -> connector::Result<protocol::Catalog> {
            self.inner.discover(config, cancel).await
        }
        async fn read(&self, _: connector::ReadRequest, output: connector::Output) -> connector::Result<()> {
            let ids: Vec<i64> = (0..100).collect();
            for from in (0..10_000).step_by(100) {
                let batch = crate::world::source::rows(&ids, from);
                output.batch(connector::Batch::new(connector::StreamIndex(0), batch, 0)).await?;
                let at = [(name(0), from + 100)];
                output.state(message(States::Stream, 0, &at).unwrap()).await?;
                let committed = lock(&self.ledger).written(&name(0)) as usize;
                self.most.fetch_max(from + 100 - committed, Ordering::SeqCst);
            }
            output.status(connector::StreamIndex(0), connector::StreamStatus::Complete { read: 10_000 }).await
        }
    }
    let mut bench = Bench::new(&[INCREMENTAL_APPEND], 0, States::Stream);
    // A batch of 100 rows takes two units of a kilobyte: eight batches fit.
    bench.budget = 16 << 10;
    let most = Arc::new(AtomicUsize::new(0));
    let mut attempt = bench.attempt(1, 0, Kind::Sync);
    let inner = ScriptedSource { logs: bench.logs.clone(), script: bench.script.clone() };
    attempt.source = Arc::new(Watched { inner, ledger: bench.ledger.clone(), most: most.clone() });
    assert_green(&run(attempt).await);
    assert_eq!(bench.rows(0).len(), 10_000);
    let most = most.load(Ordering::SeqCst);
    assert!((100..=800).contains(&most), "{most} rows were on their way at once");
}
