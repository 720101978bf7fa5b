//! A destination in memory with everything that the checkpoint rules ask for: positions written with the rows, fence,
//! tails, staging with a generation. It can be backed up, restored, and told to break single rules.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::{Int64Array, cast::AsArray, types::Int64Type};
use async_trait::async_trait;
use connector::{
    Admission, Batch, Clear, Commit, Complete, Destination, Durable, Error, ErrorKind, OpenRequest, Recovered, Result,
    Spec, StreamCommit, StreamIndex, StreamPlan, Target, Writer,
};
use protocol::{
    StateMessage, StreamDescriptor,
    checkpoint::{Claim, Counts, Line, Place, Point, Position, PositionKind, Scope},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Shared, gate::Gate, lock};

/// (id, version, the job that wrote it)
pub type Row = (i64, i64, i64);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staging {
    pub generation: i64,
    pub rows: Vec<Row>,
}

/// What lies in the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub tables: BTreeMap<String, Vec<Row>>,
    pub staging: BTreeMap<StreamDescriptor, Staging>,
    pub tails: BTreeMap<StreamDescriptor, Vec<Row>>,
    pub positions: BTreeMap<Scope, Position>,
    pub fence: Option<Claim>,
    /// Another number after each change, never the same again: stands for what an attempt left behind (positions, and how
    /// many rows lie in staging and tails).
    pub stamp: u64,
}

/// Rules that a test switches off, to see that something breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slack {
    /// Nobody compares the token.
    pub fence: bool,
    /// Merge and swap do not compare the token.
    pub swap: bool,
    /// Nobody compares the positions, tails and staging with what the attempt left.
    pub moved: bool,
    /// Positions are written in a transaction of their own.
    pub split: bool,
    /// `recover` drops no tails.
    pub tails: bool,
    /// `recover` drops no staging.
    pub staging: bool,
    /// It remembers nothing.
    pub memory: bool,
    /// A truncating stream empties its table when it begins.
    pub early: bool,
}

#[derive(Clone, Default)]
pub struct World {
    pub contents: Shared<Contents>,
    pub slack: Slack,
    pub gate: Gate,
    /// Every commit fails.
    pub broken: bool,
}

#[async_trait]
impl Destination for World {
    fn spec(&self) -> Spec {
        Spec::of::<()>("https://example.test")
    }

    async fn check(&self, _: &Value, _: &CancellationToken) -> Result<()> {
        Ok(())
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Session {
            world: self.clone(),
            claim: request.claim,
            plans: vec![StreamPlan::Done; request.targets.len()],
            totals: vec![Counts::default(); request.targets.len()],
            targets: request.targets,
            left: 0,
        }))
    }
}

struct Session {
    world: World,
    claim: Claim,
    targets: Vec<Target>,
    plans: Vec<StreamPlan>,
    /// Running totals of the job.
    totals: Vec<Counts>,
    /// The contents as this attempt left them.
    left: u64,
}

fn decode(batches: Vec<Batch>, job: i64) -> Vec<(usize, Vec<Row>)> {
    let column =
        |batch: &Batch, index: usize| -> Int64Array { batch.rows.column(index).as_primitive::<Int64Type>().clone() };
    let rows = |batch: &Batch| {
        let (id, version) = (column(batch, 0), column(batch, 1));
        (0..batch.rows.num_rows()).map(|row| (id.value(row), version.value(row), job)).collect()
    };
    batches.iter().map(|batch| (batch.stream.0, rows(batch))).collect()
}

impl Session {
    /// One transaction: compares the fence and what was left, then works.
    async fn transaction<T>(
        &mut self,
        fenced: bool,
        work: impl FnOnce(&mut Self, &mut Contents) -> T + Send,
    ) -> Result<T> {
        self.world.gate.step().await;
        let slack = self.world.slack;
        let shared = self.world.contents.clone();
        let positions;
        let done = {
            let mut contents = lock(&shared);
            if fenced && !slack.fence && contents.fence.as_ref() != Some(&self.claim) {
                return Err(Error::new(ErrorKind::Fenced, "Another writer has the fence"));
            }
            if fenced && !slack.moved && !slack.fence && contents.stamp != self.left {
                return Err(Error::new(ErrorKind::Moved, "The destination is not as this attempt left it"));
            }
            let before = slack.split.then(|| contents.positions.clone());
            let done = work(self, &mut contents);
            positions = before.map(|before| std::mem::replace(&mut contents.positions, before));
            self.stamp(&mut contents);
            done
        };
        self.world.gate.step().await;
        if let Some(positions) = positions {
            lock(&shared).positions = positions;
            self.world.gate.step().await;
        }
        Ok(done)
    }

    fn stamp(&mut self, contents: &mut Contents) {
        static STAMPS: AtomicU64 = AtomicU64::new(1);
        contents.stamp = STAMPS.fetch_add(1, Ordering::Relaxed);
        self.left = contents.stamp;
    }

    fn tail(&self, contents: &mut Contents, batches: Vec<Batch>) {
        for (index, rows) in decode(batches, self.claim.job) {
            contents.tails.entry(self.targets[index].stream.clone()).or_default().extend(rows);
        }
    }

    /// Rows of the scope, with its tails, to staging or the final table; the position with them.
    fn apply(&mut self, contents: &mut Contents, commit: StreamCommit, end: bool) -> Durable {
        let indexes: Vec<usize> = match &commit.scope {
            Scope::All => (0..self.targets.len()).collect(),
            Scope::Stream(name) => {
                let own = |index: &usize| self.targets[*index].stream == *name;
                (0..self.targets.len()).filter(own).collect()
            }
        };
        self.tail(contents, commit.batches);
        let mut written = Vec::new();
        for index in &indexes {
            let target = &self.targets[*index];
            let rows = contents.tails.remove(&target.stream).unwrap_or_default();
            let count = rows.len() as i64;
            if count > 0 {
                written.push((StreamIndex(*index), count));
            }
            let read = commit.counts.iter().find(|(stream, _)| stream.0 == *index).map(|(_, counts)| *counts);
            self.totals[*index] += Counts { written: count, ..read.unwrap_or_default() };
            if !target.stages() {
                contents.tables.entry(target.table.name.clone()).or_default().extend(rows);
            } else if !rows.is_empty() {
                let generation = self.plans[*index].generation().unwrap_or_default();
                let empty = || Staging { generation, rows: Vec::new() };
                contents.staging.entry(target.stream.clone()).or_insert_with(empty).rows.extend(rows);
            }
        }
        if end {
            for index in &indexes {
                self.finish(contents, *index);
            }
        }
        let kind = if end { PositionKind::End } else { PositionKind::State };
        let lines = indexes.iter().map(|index| self.line(contents, *index)).collect();
        let position = self.write(contents, commit.scope, commit.point, kind, commit.state, lines);
        Durable { scope: position.scope.clone(), point: position.point, position, written }
    }

    fn line(&self, contents: &Contents, index: usize) -> Line {
        let stream = self.targets[index].stream.clone();
        let staging = contents.staging.get(&stream);
        let generation = staging.map(|staging| staging.generation).or(self.plans[index].generation());
        Line {
            generation: generation.unwrap_or(self.targets[index].generation),
            place: if staging.is_some() { Place::Staging } else { Place::Final },
            counts: self.totals[index],
            stream,
        }
    }

    fn write(
        &self,
        contents: &mut Contents,
        scope: Scope,
        point: Point,
        kind: PositionKind,
        state: Option<StateMessage>,
        lines: Vec<Line>,
    ) -> Position {
        let Claim { store, job, attempt, .. } = self.claim.clone();
        let position = Position { scope: scope.clone(), store, job, attempt, point, kind, state, lines };
        contents.positions.insert(scope, position.clone());
        position
    }

    /// Merge, swap or move.
    fn finish(&self, contents: &mut Contents, index: usize) {
        let target = &self.targets[index];
        let table = contents.tables.entry(target.table.name.clone()).or_default();
        let staged = contents.staging.remove(&target.stream).unwrap_or_default().rows;
        if target.truncates() {
            *table = staged;
        } else if target.merges() {
            for row in staged {
                match table.iter_mut().find(|old| old.0 == row.0) {
                    Some(old) => *old = row.max(*old),
                    None => table.push(row),
                }
            }
        } else {
            table.extend(staged);
        }
    }

    /// Whether the destination's own memory names the staging of a stream under this generation.
    fn names(&self, positions: &BTreeMap<Scope, Position>, target: &Target, generation: i64) -> bool {
        let own = positions.values().filter(|position| position.store == self.claim.store);
        let newest = own.filter(|p| p.line(&target.stream).is_some()).max_by_key(|p| p.point);
        let line = newest.and_then(|position| position.line(&target.stream));
        let current = target.sync_mode == protocol::SyncMode::Incremental || generation == target.generation;
        current && line.is_some_and(|line| line.place == Place::Staging && line.generation == generation)
    }
}

#[async_trait]
impl Writer for Session {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        loop {
            self.world.gate.step().await;
            let (positions, fence) = {
                let contents = lock(&self.world.contents);
                let mine = (self.claim.job, self.claim.attempt);
                if let Some(fence) = &contents.fence
                    && fence.store == self.claim.store
                    && mine < (fence.job, fence.attempt)
                    && !self.world.slack.fence
                {
                    return Err(Error::new(ErrorKind::Fenced, "A newer attempt has written here"));
                }
                (contents.positions.clone(), contents.fence.clone())
            };
            let known: Vec<Position> = positions.values().cloned().collect();
            admission.confirm(&known).await?;
            // A real destination holds the fence's lock since the positions were read; here they are compared.
            let shared = self.world.contents.clone();
            let mut contents = lock(&shared);
            if contents.positions != positions || contents.fence != fence {
                continue;
            }
            contents.fence = Some(self.claim.clone());
            if !self.world.slack.tails {
                contents.tails.clear();
            }
            let mut staging = Vec::new();
            for (index, target) in self.targets.iter().enumerate() {
                let found = contents.staging.get(&target.stream).map(|staging| staging.generation);
                let keep =
                    found.filter(|generation| self.world.slack.staging || self.names(&positions, target, *generation));
                if keep.is_none() {
                    contents.staging.remove(&target.stream);
                }
                staging.push((target.stream.clone(), keep));
                let own = positions.values().filter(|p| p.store == self.claim.store && p.job == self.claim.job);
                let newest = own.filter(|p| p.line(&target.stream).is_some()).max_by_key(|p| p.point);
                let line = newest.and_then(|position| position.line(&target.stream));
                self.totals[index] = line.map(|line| line.counts).unwrap_or_default();
            }
            self.stamp(&mut contents);
            if self.world.slack.memory {
                return Ok(Recovered::Unknown);
            }
            return Ok(Recovered::Positions { positions: known, staging });
        }
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        self.plans = plans.to_vec();
        self.transaction(true, |session, contents| {
            for (index, plan) in session.plans.iter().enumerate() {
                let target = &session.targets[index];
                let table = contents.tables.entry(target.table.name.clone()).or_default();
                if session.world.slack.early && target.truncates() && *plan != StreamPlan::Done {
                    table.clear();
                }
                if matches!(plan, StreamPlan::Fresh { .. }) && target.stages() {
                    contents.staging.remove(&target.stream);
                    session.totals[index] = Counts::default();
                }
            }
        })
        .await
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.transaction(true, |session, contents| {
            session.tail(contents, batches);
        })
        .await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        if self.world.broken {
            return Err(Error::transient("The disk is full"));
        }
        self.transaction(true, |session, contents| {
            commit.streams.into_iter().map(|commit| session.apply(contents, commit, false)).collect()
        })
        .await
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        let fenced = !self.world.slack.swap;
        self.transaction(fenced, |session, contents| vec![session.apply(contents, complete.commit, true)]).await
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        self.transaction(true, |session, contents| {
            let mut durable = Vec::new();
            for index in &clear.streams {
                let target = &session.targets[index.0];
                // A table under an older prefix would stay in a real destination; here a reset begins from nothing.
                for (_, table) in contents.tables.iter_mut().filter(|(name, _)| name.ends_with(&target.stream.name)) {
                    table.clear();
                }
                contents.staging.remove(&target.stream);
                contents.tails.remove(&target.stream);
            }
            let cleared = clear.streams.iter().map(|index| {
                let Target { stream, generation, .. } = &session.targets[index.0];
                let (stream, generation) = (stream.clone(), *generation);
                Line { stream, generation, place: Place::Final, counts: Counts::default() }
            });
            let scopes: Vec<_> = match clear.remaining {
                Some(remaining) => vec![(Scope::All, remaining.state, cleared.chain(remaining.lines).collect())],
                None => cleared.map(|line| (Scope::Stream(line.stream.clone()), None, vec![line])).collect(),
            };
            for (scope, state, lines) in scopes {
                let position = session.write(contents, scope, clear.point, PositionKind::Clear, state, lines);
                let scope = position.scope.clone();
                durable.push(Durable { scope, point: clear.point, position, written: Vec::new() });
            }
            durable
        })
        .await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
