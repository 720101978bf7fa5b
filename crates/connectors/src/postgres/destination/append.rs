//! Rows, marks, ends and resets within the transaction of a step. Start with [`Step::append`].

use std::collections::{BTreeMap, HashMap};

use connector::{Batch, Clear, Durable, Error, Result, StreamCommit, StreamIndex, failpoint::planted};
use protocol::checkpoint::{Counts, Line, Place, PositionKind, Scope};

use super::{
    commits,
    lane::Lane,
    load::{self, Load},
    table,
    write::Step,
};
use crate::direct::position::{self, moved};

impl Step {
    /// Rows, tails and the ends of streams, then the position that covers them.
    pub async fn append(&mut self, commit: StreamCommit, kind: PositionKind, ended: &[usize]) -> Result<Durable> {
        let lanes = self.book.lanes.clone();
        let covered = self.covered(&commit.scope)?;
        let mut added: HashMap<usize, Counts> = HashMap::new();
        for (stream, counts) in &commit.counts {
            *added.entry(stream.0).or_default() += Counts { written: 0, ..*counts };
        }
        for index in covered.iter().copied().filter(|index| !lanes[*index].is_done()) {
            self.check_beside(index).await?;
            if self.book.tailed[index] > 0 {
                let arrived = lanes[index].move_tail(&mut self.session).await?;
                if arrived != self.book.tailed[index] {
                    return Err(moved("A tail table does not hold what was sent"));
                }
                self.book.tailed[index] = 0;
                self.book.tails[index] = None;
                self.arrived(&mut added, index, arrived);
            }
        }
        for (index, batches) in self.by_lane(commit.batches)? {
            if !covered.contains(&index) {
                return Err(Error::system("A batch lies outside the scope of its mark"));
            }
            let arrived =
                self.load(&lanes[index], &lanes[index].loads_into(), self.book.staged[index], batches).await?;
            self.arrived(&mut added, index, arrived);
        }
        for index in ended {
            let index = self.open_lane(StreamIndex(*index))?;
            let told = lanes[index].finish(&mut self.session, self.book.staged[index]).await?;
            self.told.push(told);
            self.book.staged[index] = 0;
        }
        let line = |index: &usize| {
            let lane = &lanes[*index];
            position::Covered {
                stream: &lane.target.stream,
                generation: lane.generation(),
                place: if ended.contains(index) { Place::Final } else { lane.place(self.book.staged[*index]) },
                is_done: lane.is_done(),
                added: added.get(index).copied().unwrap_or_default(),
            }
        };
        let covered: Vec<_> = covered.iter().map(line).collect();
        let lines = position::advance(&self.book.claim, self.book.positions.get(&commit.scope), &covered);
        let position = position::of(&self.book.claim, commit.scope.clone(), commit.point, kind, commit.state, lines);
        if !planted("commit-row-outside-transaction") {
            // Invariant 1: rows and state in one transaction.
            commits::write(&mut self.session, &self.book.home, &self.book.claim, &position).await?;
        }
        self.book.positions.insert(commit.scope.clone(), position.clone());
        let mut written: Vec<(StreamIndex, i64)> =
            added.iter().map(|(index, counts)| (StreamIndex(*index), counts.written)).collect();
        written.sort_unstable();
        Ok(Durable { scope: commit.scope, point: commit.point, position, written })
    }

    pub async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        let lanes = self.book.lanes.clone();
        for (index, batches) in self.by_lane(batches)? {
            let lane = &lanes[index];
            self.check_position(&Scope::Stream(lane.target.stream.clone()))?;
            self.check_position(&Scope::All)?;
            self.check_beside(index).await?;
            if self.book.tails[index].is_none() {
                lane.make_tail(&mut self.session).await?;
                self.book.tails[index] = table::oid(&mut self.session, &lane.tail()).await?;
            }
            let first = self.book.staged[index] + self.book.tailed[index];
            self.book.tailed[index] += self.load(lane, &lane.tail(), first, batches).await?;
        }
        Ok(())
    }

    pub async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        let lanes = self.book.lanes.clone();
        let mut lines = Vec::new();
        for stream in &clear.streams {
            let lane = lanes.get(stream.0).ok_or_else(|| Error::system("There is no such stream to clear"))?;
            let told = lane.clear(&mut self.session).await?;
            self.told.push(told);
            self.book.staged[stream.0] = 0;
            self.book.tailed[stream.0] = 0;
            self.book.tails[stream.0] = None;
            lines.push(Line {
                stream: lane.target.stream.clone(),
                generation: lane.target.generation,
                place: Place::Final,
                counts: Counts::default(),
            });
        }
        let mut durable = Vec::new();
        for position in position::cleared(&self.book.claim, clear.point, lines, clear.remaining) {
            self.check_position(&position.scope)?;
            commits::write(&mut self.session, &self.book.home, &self.book.claim, &position).await?;
            self.book.positions.insert(position.scope.clone(), position.clone());
            durable.push(Durable { scope: position.scope.clone(), point: clear.point, position, written: Vec::new() });
        }
        Ok(durable)
    }

    /// Staging and tail must be the tables that this attempt found or made. Their rows come and go with the position, in
    /// the same transactions, and are counted when they move on.
    async fn check_beside(&mut self, index: usize) -> Result<()> {
        let lane = &self.book.lanes[index];
        if lane.target.stages() && table::oid(&mut self.session, &lane.staging()).await? != lane.staging_oid {
            return Err(moved("A staging table is gone"));
        }
        if self.book.tails[index] != table::oid(&mut self.session, &lane.tail()).await? {
            return Err(moved("A tail table is not the one that rows were sent to"));
        }
        Ok(())
    }

    async fn load(&mut self, lane: &Lane, table: &super::names::Place, first: i64, batches: Vec<Batch>) -> Result<i64> {
        let load = Load {
            table,
            columns: &lane.columns,
            wires: &lane.wires,
            first: lane.target.merges().then_some(first),
            job: self.book.claim.job,
            generation: lane.generation(),
        };
        load::copy(&mut self.session, &load, batches).await
    }

    /// Batches by stream, each in its order: one COPY for each.
    fn by_lane(&self, batches: Vec<Batch>) -> Result<BTreeMap<usize, Vec<Batch>>> {
        let mut sorted: BTreeMap<usize, Vec<Batch>> = BTreeMap::new();
        for batch in batches {
            sorted.entry(self.open_lane(batch.stream)?).or_default().push(batch);
        }
        Ok(sorted)
    }

    /// Lanes that a scope covers.
    fn covered(&self, scope: &Scope) -> Result<Vec<usize>> {
        let covered = |lane: &Lane| match scope {
            Scope::All => true,
            Scope::Stream(stream) => lane.target.stream == *stream,
        };
        let lanes = self.book.lanes.iter().enumerate();
        let found: Vec<usize> = lanes.filter(|(_, lane)| covered(lane)).map(|(index, _)| index).collect();
        if found.is_empty() {
            return Err(Error::system(format!("There is no stream for {scope:?}")));
        }
        Ok(found)
    }

    fn arrived(&mut self, added: &mut HashMap<usize, Counts>, index: usize, rows: i64) {
        added.entry(index).or_default().written += rows;
        if self.book.lanes[index].target.stages() {
            self.book.staged[index] += rows;
        }
    }
}
