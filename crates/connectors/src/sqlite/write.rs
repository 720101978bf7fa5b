//! The writer: what one attempt does to the file, each step one transaction that first checks the fence, the position and
//! what lies beside the tables. Start with [`Writer::recover`] and [`SqliteWriter::append`].

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use connector::{
    Admission, Batch, Clear, Commit, Complete, Durable, Error, OpenRequest, Recovered, Result, StreamCommit,
    StreamIndex, StreamPlan, Writer,
    failpoint::{planted, point},
};
use protocol::checkpoint::{Claim, Counts, Line, Place, Position, PositionKind, Scope};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use crate::direct::position;

use super::{
    client::Client,
    commits::{self, moved},
    lane::{Lane, lanes},
    load::{self, Stamp},
    names, table,
};

pub struct SqliteWriter {
    client: Client,
    book: Book,
}

/// What the attempt knows about the file. A step works on a copy, which replaces this one when it has committed.
#[derive(Clone)]
struct Book {
    claim: Claim,
    cancel: CancellationToken,
    lanes: Arc<Vec<Lane>>,
    /// As last read or written.
    positions: HashMap<Scope, Position>,
    /// Rows in staging, by lane.
    staged: Vec<i64>,
    /// Rows in the tail, by lane.
    tailed: Vec<i64>,
}

impl SqliteWriter {
    pub fn new(client: Client, request: OpenRequest) -> Result<Self> {
        let lanes = Arc::new(lanes(&request.claim.connection, request.targets)?);
        let none = vec![0; lanes.len()];
        let book = Book {
            claim: request.claim,
            cancel: request.cancel,
            positions: HashMap::new(),
            staged: none.clone(),
            tailed: none,
            lanes,
        };
        Ok(Self { client, book })
    }

    /// One step: `work` on a copy of the book, within a transaction.
    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Book) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut book = self.book.clone();
        let run = move |connection: &Connection| {
            let value = work(connection, &mut book)?;
            Ok((book, value))
        };
        let (book, value) = self.client.transaction(run).await?;
        self.book = book;
        Ok(value)
    }

    fn told(&self, lines: Vec<String>) {
        for line in lines {
            self.client.note(tracing::Level::INFO, line);
        }
    }

    /// A planted bug: the position in a transaction of its own.
    async fn write_late(&mut self, durable: &[Durable]) -> Result<()> {
        if !planted("commit-row-outside-transaction") {
            return Ok(());
        }
        let positions: Vec<Position> = durable.iter().map(|durable| durable.position.clone()).collect();
        self.step(move |connection, book| {
            positions.iter().try_for_each(|position| commits::write(connection, &book.claim, position))
        })
        .await
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        let mut book = self.book.clone();
        let work = move |connection: &Connection| {
            commits::create(connection)?;
            commits::take_fence(connection, &book.claim)?;
            book.positions = commits::read(connection, &book.claim)?;
            let staging = book.sweep(connection)?;
            point("recover-before-commit");
            let mut positions: Vec<Position> = book.positions.values().cloned().collect();
            positions.sort_by(|a, b| a.scope.cmp(&b.scope));
            Ok((book, positions, staging))
        };
        let (book, positions, staging) =
            self.client.transaction_confirmed(work, async |found| admission.confirm(&found.1).await).await?;
        point("recover-after-commit");
        self.book = book;
        Ok(Recovered::Positions { positions, staging })
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        if plans.len() != self.book.lanes.len() {
            return Err(Error::system("There must be one plan per stream"));
        }
        let plans = plans.to_vec();
        self.step(move |connection, book| {
            commits::check_fence(connection, &book.claim)?;
            book.check_positions(connection)?;
            let mut lanes = (*book.lanes).clone();
            for (index, (lane, plan)) in lanes.iter_mut().zip(plans).enumerate() {
                // A generation that was raised has another staging table than the one that was found.
                let kept = (plan.generation() == Some(lane.generation())).then_some(book.staged[index]);
                lane.plan = plan;
                book.staged[index] = lane.start(connection, kept)?;
            }
            book.lanes = Arc::new(lanes);
            Ok(())
        })
        .await
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.step(move |connection, book| {
            commits::check_fence(connection, &book.claim)?;
            let lanes = book.lanes.clone();
            for batch in batches {
                let index = book.open_lane(batch.stream)?;
                let lane = &lanes[index];
                book.check_position(connection, &Scope::Stream(lane.target.stream.clone()))?;
                book.check_position(connection, &Scope::All)?;
                book.check_beside(connection, index)?;
                let tail = lane.beside.tail();
                if lane.tailed(connection)?.is_none() {
                    table::create(connection, &tail, &lane.columns)?;
                }
                book.tailed[index] += book.insert(connection, &tail, lane, &batch)?;
            }
            Ok(())
        })
        .await?;
        point("spill-after");
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        let durable = self
            .step(move |connection, book| {
                commits::check_fence(connection, &book.claim)?;
                let mut durable = Vec::new();
                for stream in commit.streams {
                    book.check_position(connection, &stream.scope)?;
                    durable.push(book.append(connection, stream, PositionKind::State, &[])?);
                }
                point("commit-before");
                Ok(durable)
            })
            .await?;
        point("commit-after");
        self.write_late(&durable).await?;
        Ok(durable)
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        // The place where a writer may be paused while another one takes over.
        point("complete-begin");
        let (durable, told) = self
            .step(move |connection, book| {
                if planted("swap-without-fence") {
                    book.believe(connection)?;
                } else {
                    commits::check_fence(connection, &book.claim)?;
                    book.check_position(connection, &complete.commit.scope)?;
                }
                point("fence-checked");
                let streams: Vec<usize> = complete.streams.iter().map(|stream| stream.0).collect();
                let mut told = Vec::new();
                let durable = book.append_and(connection, complete.commit, PositionKind::End, &streams, &mut told)?;
                point("complete-before");
                Ok((vec![durable], told))
            })
            .await?;
        point("complete-after");
        self.write_late(&durable).await?;
        self.told(told);
        Ok(durable)
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        let (durable, told) = self
            .step(move |connection, book| {
                commits::check_fence(connection, &book.claim)?;
                let result = book.clear(connection, clear)?;
                point("clear-before");
                Ok(result)
            })
            .await?;
        point("clear-after");
        self.told(told);
        Ok(durable)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.client.close().await
    }
}

impl Book {
    /// Drops tails and every staging table that no position of this store stands for. Returns what was kept.
    fn sweep(&mut self, connection: &Connection) -> Result<Vec<(protocol::StreamDescriptor, Option<i64>)>> {
        for tail in table::beginning(connection, &names::tails_of(&self.claim.connection))? {
            table::drop(connection, &tail)?;
        }
        let named = position::kept_staging(&self.claim, &self.positions, self.lanes.iter().map(|lane| &lane.target));
        let mut kept = HashMap::new();
        for staging in table::beginning(connection, &names::stagings_of(&self.claim.connection))? {
            match named.get(&staging) {
                Some(generation) => {
                    kept.insert(staging, *generation);
                }
                None => table::drop(connection, &staging)?,
            }
        }
        let mut lanes = (*self.lanes).clone();
        let mut answer = Vec::new();
        for (index, lane) in lanes.iter_mut().enumerate() {
            let prefix = lane.beside.stagings();
            let found = kept.iter().find(|(name, _)| name.starts_with(&prefix)).map(|(_, generation)| *generation);
            self.tailed[index] = 0;
            self.staged[index] = 0;
            if let Some(generation) = found {
                lane.plan = StreamPlan::Resume { generation };
                self.staged[index] = lane.staged(connection)?.unwrap_or_default();
            }
            answer.push((lane.target.stream.clone(), found));
        }
        self.lanes = Arc::new(lanes);
        Ok(answer)
    }

    fn check_position(&self, connection: &Connection, scope: &Scope) -> Result<()> {
        commits::check_position(connection, &self.claim, scope, self.positions.get(scope))
    }

    fn check_positions(&self, connection: &Connection) -> Result<()> {
        for scope in self.positions.keys() {
            self.check_position(connection, scope)?;
        }
        Ok(())
    }

    /// Staging and tail must hold exactly what was sent.
    fn check_beside(&self, connection: &Connection, index: usize) -> Result<()> {
        let lane = &self.lanes[index];
        if lane.target.stages() && lane.staged(connection)? != Some(self.staged[index]) {
            return Err(moved("A staging table does not hold what was sent"));
        }
        if lane.tailed(connection)?.unwrap_or_default() != self.tailed[index] {
            return Err(moved("A tail table does not hold what was sent"));
        }
        Ok(())
    }

    /// A planted bug: takes whatever lies beside the tables for its own, and makes what is missing.
    fn believe(&mut self, connection: &Connection) -> Result<()> {
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_done()) {
            if lane.target.stages() {
                table::ensure(connection, &lane.staging(), lane.stream(), &lane.columns)?;
                self.staged[index] = lane.staged(connection)?.unwrap_or_default();
            }
            self.tailed[index] = lane.tailed(connection)?.unwrap_or_default();
        }
        Ok(())
    }

    fn open_lane(&self, stream: StreamIndex) -> Result<usize> {
        match self.lanes.get(stream.0) {
            Some(lane) if !lane.is_done() => Ok(stream.0),
            Some(lane) => Err(Error::system(format!("Stream `{}` is done and gets no more rows", lane.target.stream))),
            None => Err(Error::system(format!("There is no stream number {}", stream.0))),
        }
    }

    /// Lanes that a scope covers.
    fn covered(&self, scope: &Scope) -> Result<Vec<usize>> {
        let covered = |lane: &Lane| match scope {
            Scope::All => true,
            Scope::Stream(stream) => lane.target.stream == *stream,
        };
        let found: Vec<usize> =
            self.lanes.iter().enumerate().filter(|(_, lane)| covered(lane)).map(|(index, _)| index).collect();
        if found.is_empty() {
            return Err(Error::system(format!("There is no stream for {scope:?}")));
        }
        Ok(found)
    }

    fn insert(&self, connection: &Connection, into: &str, lane: &Lane, batch: &Batch) -> Result<i64> {
        let stamp = Stamp { job: self.claim.job, generation: lane.generation() };
        load::insert(connection, into, &lane.columns, batch, &stamp, &self.cancel)
    }

    fn append(
        &mut self,
        connection: &Connection,
        commit: StreamCommit,
        kind: PositionKind,
        ended: &[usize],
    ) -> Result<Durable> {
        self.append_and(connection, commit, kind, ended, &mut Vec::new())
    }

    /// Rows, tails and the ends of streams, then the position that covers them.
    fn append_and(
        &mut self,
        connection: &Connection,
        commit: StreamCommit,
        kind: PositionKind,
        ended: &[usize],
        told: &mut Vec<String>,
    ) -> Result<Durable> {
        let lanes = self.lanes.clone();
        let covered = self.covered(&commit.scope)?;
        let mut added: HashMap<usize, Counts> = HashMap::new();
        for (stream, counts) in &commit.counts {
            *added.entry(stream.0).or_default() += Counts { written: 0, ..*counts };
        }
        for index in covered.iter().copied().filter(|index| !lanes[*index].is_done()) {
            self.check_beside(connection, index)?;
            if self.tailed[index] > 0 {
                let arrived = lanes[index].move_tail(connection)?;
                if arrived != self.tailed[index] {
                    return Err(Error::system("Rows of a tail did not all arrive"));
                }
                self.tailed[index] = 0;
                self.arrived(&mut added, index, arrived);
            }
        }
        for batch in commit.batches {
            let index = self.open_lane(batch.stream)?;
            if !covered.contains(&index) {
                return Err(Error::system("A batch lies outside the scope of its mark"));
            }
            let arrived = self.insert(connection, &lanes[index].loads_into(), &lanes[index], &batch)?;
            self.arrived(&mut added, index, arrived);
        }
        for index in ended {
            let index = self.open_lane(StreamIndex(*index))?;
            told.push(lanes[index].finish(connection, self.staged[index])?);
            self.staged[index] = 0;
        }
        let line = |index: &usize| {
            let lane = &lanes[*index];
            position::Covered {
                stream: &lane.target.stream,
                generation: lane.generation(),
                place: if ended.contains(index) { Place::Final } else { lane.place(self.staged[*index]) },
                is_done: lane.is_done(),
                added: added.get(index).copied().unwrap_or_default(),
            }
        };
        let covered: Vec<_> = covered.iter().map(line).collect();
        let lines = position::advance(&self.claim, self.positions.get(&commit.scope), &covered);
        let position = position::of(&self.claim, commit.scope.clone(), commit.point, kind, commit.state, lines);
        if !planted("commit-row-outside-transaction") {
            // Invariant 1: rows and state in one transaction.
            commits::write(connection, &self.claim, &position)?;
        }
        self.positions.insert(commit.scope.clone(), position.clone());
        let mut written: Vec<(StreamIndex, i64)> =
            added.iter().map(|(index, counts)| (StreamIndex(*index), counts.written)).collect();
        written.sort_unstable();
        Ok(Durable { scope: commit.scope, point: commit.point, position, written })
    }

    fn arrived(&mut self, added: &mut HashMap<usize, Counts>, index: usize, rows: i64) {
        added.entry(index).or_default().written += rows;
        if self.lanes[index].target.stages() {
            self.staged[index] += rows;
        }
    }

    fn clear(&mut self, connection: &Connection, clear: Clear) -> Result<(Vec<Durable>, Vec<String>)> {
        let lanes = self.lanes.clone();
        let mut told = Vec::new();
        let mut lines = Vec::new();
        for stream in &clear.streams {
            let lane = lanes.get(stream.0).ok_or_else(|| Error::system("There is no such stream to clear"))?;
            told.push(lane.clear(connection)?);
            self.staged[stream.0] = 0;
            self.tailed[stream.0] = 0;
            lines.push(Line {
                stream: lane.target.stream.clone(),
                generation: lane.target.generation,
                place: Place::Final,
                counts: Counts::default(),
            });
        }
        let mut durable = Vec::new();
        for position in position::cleared(&self.claim, clear.point, lines, clear.remaining) {
            self.check_position(connection, &position.scope)?;
            commits::write(connection, &self.claim, &position)?;
            self.positions.insert(position.scope.clone(), position.clone());
            durable.push(Durable { scope: position.scope.clone(), point: clear.point, position, written: Vec::new() });
        }
        Ok((durable, told))
    }
}
