//! A SQL destination and the one in memory, side by side through the same random schedules: commits, spills, crashes, ends
//! and new jobs. After every step readers of both see the same rows. SQLite here, PostgreSQL in its own folder.

use std::sync::Arc;

use connector::{
    Batch, Commit, Complete, Destination, OpenRequest, Recovered, StreamCommit, StreamIndex, StreamPlan, Target,
    Writer,
    testing::{
        MemoryDestination,
        conformance::Subject,
        rows::{Row, batch, integers, texts},
    },
};
use proptest::prelude::*;
use protocol::{
    ColumnType, DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Point, PositionKind, Scope},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::sqlite::{File, Yes};

/// Key, name, cursor.
type Given = (Option<i64>, u8, Option<i64>);

#[derive(Clone, Debug)]
pub enum Step {
    Commit(Vec<Given>),
    Spill(Vec<Given>),
    Complete(Vec<Given>),
    Crash,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let given = (proptest::option::weighted(0.9, 0..5_i64), any::<u8>(), proptest::option::weighted(0.8, 0..4_i64));
    let rows = proptest::collection::vec(given, 0..6);
    let step = prop_oneof![
        4 => rows.clone().prop_map(Step::Commit),
        2 => rows.clone().prop_map(Step::Spill),
        2 => rows.prop_map(Step::Complete),
        2 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..14)
}

fn target(sync_mode: SyncMode, mode: DestinationSyncMode, generation: i64) -> Target {
    Target {
        stream: StreamDescriptor::new(None, "s"),
        table: StreamDescriptor::new(None, "t"),
        columns: vec![
            ("id".into(), ColumnType::Integer),
            ("name".into(), ColumnType::String),
            ("at".into(), ColumnType::Integer),
        ],
        sync_mode,
        mode,
        primary_key: vec!["id".into()],
        cursor: Some("at".into()),
        generation,
    }
}

fn rows(given: &[Given]) -> Batch {
    let columns = vec![
        ("id", integers(given.iter().map(|row| row.0))),
        ("name", texts(given.iter().map(|row| row.1.to_string()))),
        ("at", integers(given.iter().map(|row| row.2))),
    ];
    Batch::new(StreamIndex(0), batch(columns), 1_700_000_000_000)
}

/// One destination on its way through the schedule.
struct Side {
    destination: Arc<dyn Destination>,
    config: Value,
    writer: Option<Box<dyn Writer>>,
}

impl Side {
    async fn open(&mut self, claim: &Claim, target: &Target) {
        self.writer = None;
        let (notes, _) = tokio::sync::mpsc::unbounded_channel();
        let request = OpenRequest {
            config: self.config.clone(),
            claim: claim.clone(),
            targets: vec![target.clone()],
            cancel: CancellationToken::new(),
            notes,
        };
        let mut writer = self.destination.open(request).await.unwrap();
        let Recovered::Positions { positions, staging } = writer.recover(Arc::new(Yes)).await.unwrap() else {
            panic!("both remember")
        };
        let position = positions.into_iter().next();
        // As the engine decides: a full refresh goes on within its job only, and an end of this job is not begun again.
        let here = position.as_ref().is_some_and(|position| position.job == claim.job);
        let ended = here && position.as_ref().is_some_and(|position| position.kind == PositionKind::End);
        let plan = match (target.sync_mode, staging[0].1) {
            _ if ended => StreamPlan::Done,
            (SyncMode::Incremental, staging) => StreamPlan::Resume { generation: staging.unwrap_or(target.generation) },
            (SyncMode::FullRefresh, Some(generation)) if here => StreamPlan::Resume { generation },
            (SyncMode::FullRefresh, _) => StreamPlan::Fresh { generation: target.generation },
        };
        writer.start(&[plan]).await.unwrap();
        self.writer = Some(writer);
    }

    /// What the position says after the step.
    async fn step(&mut self, step: &Step, point: Point) -> Option<(i64, i64)> {
        let writer = self.writer.as_mut().unwrap();
        let scope = Scope::Stream(StreamDescriptor::new(None, "s"));
        let piece = |given: &[Given]| StreamCommit {
            scope,
            batches: vec![rows(given)],
            point,
            state: None,
            counts: vec![(StreamIndex(0), Counts { read: given.len() as i64, ..Counts::default() })],
        };
        let durable = match step {
            Step::Commit(given) => writer.commit(Commit { streams: vec![piece(given)] }).await.unwrap(),
            Step::Complete(given) => {
                writer.complete(Complete { commit: piece(given), streams: vec![StreamIndex(0)] }).await.unwrap()
            }
            Step::Spill(given) => {
                writer.spill(vec![rows(given)]).await.unwrap();
                return None;
            }
            Step::Crash => return None,
        };
        let line = &durable[0].position.lines[0];
        Some((durable[0].written.iter().map(|(_, rows)| rows).sum(), line.counts.written))
    }
}

fn sorted(rows: Option<Vec<Row>>) -> Vec<String> {
    let mut texts: Vec<String> =
        rows.unwrap_or_default().into_iter().map(|row| Value::Object(row).to_string()).collect();
    texts.sort();
    texts
}

pub fn modes() -> impl Strategy<Value = (SyncMode, DestinationSyncMode)> {
    prop_oneof![
        Just((SyncMode::Incremental, DestinationSyncMode::Append)),
        Just((SyncMode::Incremental, DestinationSyncMode::AppendDedup)),
        Just((SyncMode::FullRefresh, DestinationSyncMode::Append)),
        Just((SyncMode::FullRefresh, DestinationSyncMode::Overwrite)),
        Just((SyncMode::FullRefresh, DestinationSyncMode::OverwriteDedup)),
        Just((SyncMode::FullRefresh, DestinationSyncMode::AppendDedup)),
    ]
}

/// `subject` has no tables yet.
pub async fn run(subject: &dyn Subject, sync_mode: SyncMode, mode: DestinationSyncMode, steps: &[Step]) {
    let memory = MemoryDestination::default();
    let mut one = Side { destination: subject.destination(), config: subject.config(), writer: None };
    let mut two = Side { destination: Arc::new(memory.clone()), config: json!({}), writer: None };
    let mut claim = Claim { store: "s".into(), connection: "c".into(), job: 1, attempt: 0, owner: "1.0".into() };
    let mut generation = 1;
    let table = StreamDescriptor::new(None, "t");
    one.open(&claim, &target(sync_mode, mode, generation)).await;
    two.open(&claim, &target(sync_mode, mode, generation)).await;
    for (seq, step) in steps.iter().enumerate() {
        let point = Point { origin: 1, seq: seq as i64 + 1 };
        let told = (one.step(step, point).await, two.step(step, point).await);
        assert_eq!(told.0, told.1, "{step:?}");
        let again = match step {
            Step::Complete(_) => {
                claim.job += 1;
                claim.attempt = 0;
                generation += i64::from(sync_mode == SyncMode::FullRefresh);
                true
            }
            Step::Crash => {
                claim.attempt += 1;
                true
            }
            _ => false,
        };
        if again {
            claim.owner = format!("{}.{}", claim.job, claim.attempt);
            one.open(&claim, &target(sync_mode, mode, generation)).await;
            two.open(&claim, &target(sync_mode, mode, generation)).await;
        }
        assert_eq!(sorted(subject.rows(&table).await), sorted(memory.rows(&table)), "after {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn both_show_the_same_rows(mode in modes(), steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&File::new(), mode.0, mode.1, &steps));
    }
}
