//! The whole contract in memory: tables, staging, tails, positions and fence are one value, and a transaction is a copy of it
//! that takes its place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use protocol::{
    DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Line, Place, Position, PositionKind, Scope},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::rows::{self, Row};
use crate::{
    Admission, Batch, Clear, Commit, Complete, Destination, Durable, Error, ErrorKind, OpenRequest, Recovered, Result,
    Spec, StreamCommit, StreamPlan, Target, Writer,
};

/// Everything that survives a crash. A clone of it is a backup.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub tables: BTreeMap<StreamDescriptor, Vec<Row>>,
    /// By connection and stream, with the generation.
    staging: BTreeMap<(String, StreamDescriptor), (i64, Vec<Row>)>,
    tails: BTreeMap<(String, StreamDescriptor), Vec<Row>>,
    pub positions: BTreeMap<String, BTreeMap<Scope, Position>>,
    fences: BTreeMap<String, Claim>,
}

impl World {
    /// Forgets what was committed for a connection, and what waits beside its tables.
    pub fn forget(&mut self, connection: &str) {
        self.positions.remove(connection);
        self.staging.retain(|(owner, _), _| owner != connection);
        self.tails.retain(|(owner, _), _| owner != connection);
    }
}

/// Clones share one world.
#[derive(Clone, Debug, Default)]
pub struct MemoryDestination {
    world: Arc<Mutex<World>>,
}

impl MemoryDestination {
    /// A copy of everything: a backup.
    pub fn snapshot(&self) -> World {
        self.change(|world| world.clone())
    }

    pub fn restore(&self, backup: World) {
        self.change(|world| *world = backup);
    }

    pub fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        self.change(|world| world.tables.get(table).cloned())
    }

    pub fn change<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Destination for MemoryDestination {
    fn spec(&self) -> Spec {
        let specification = json!({"type": "object", "properties": {}});
        let spec = Spec {
            documentation_url: "https://example.com".to_owned(),
            connection_specification: specification,
            supported_destination_sync_modes: vec![],
            protocol_version: "0.2.0".to_owned(),
        };
        spec.with_modes(&[
            DestinationSyncMode::Append,
            DestinationSyncMode::Overwrite,
            DestinationSyncMode::AppendDedup,
        ])
    }

    async fn check(&self, _config: &Value, _cancel: &CancellationToken) -> Result<()> {
        Ok(())
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        let plans = request.targets.iter().map(|t| StreamPlan::Resume { generation: t.generation }).collect();
        Ok(Box::new(MemoryWriter { home: self.clone(), request, plans, held: BTreeMap::new() }))
    }
}

struct MemoryWriter {
    home: MemoryDestination,
    request: OpenRequest,
    plans: Vec<StreamPlan>,
    /// Positions as last read or written.
    held: BTreeMap<Scope, Position>,
}

impl MemoryWriter {
    /// One transaction: nothing of a step that fails is kept.
    fn step<T>(&mut self, work: impl FnOnce(&mut Self, &mut World) -> Result<T>) -> Result<T> {
        if self.request.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        let home = self.home.clone();
        let held = self.held.clone();
        let result = home.change(|world| {
            let mut next = world.clone();
            // Invariant 3.
            let owner = world.fences.get(&self.request.claim.connection).map(|claim| &claim.owner);
            if owner != Some(&self.request.claim.owner) {
                return Err(Error::new(ErrorKind::Fenced, "Another attempt writes to this connection now"));
            }
            let positions = world.positions.get(&self.request.claim.connection).cloned().unwrap_or_default();
            if positions != self.held {
                return Err(Error::new(ErrorKind::Moved, "The position is not the one of this attempt"));
            }
            let value = work(self, &mut next)?;
            *world = next;
            Ok(value)
        });
        if result.is_err() {
            self.held = held;
        }
        result
    }

    fn key(&self, index: usize) -> (String, StreamDescriptor) {
        (self.request.claim.connection.clone(), self.request.targets[index].stream.clone())
    }

    /// Rows, ends, then the position that covers them.
    fn append(&mut self, world: &mut World, commit: StreamCommit, ended: Option<&[usize]>) -> Result<Durable> {
        let claim = self.request.claim.clone();
        let targets = self.request.targets.clone();
        let covered: Vec<usize> = (0..targets.len())
            .filter(|index| commit.scope == Scope::All || commit.scope == Scope::Stream(targets[*index].stream.clone()))
            .collect();
        let mut added: BTreeMap<usize, Counts> =
            commit.counts.iter().map(|(stream, counts)| (stream.0, Counts { written: 0, ..*counts })).collect();
        let mut arrived: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for index in &covered {
            if let Some(tail) = world.tails.remove(&self.key(*index)) {
                arrived.entry(*index).or_default().extend(tail);
            }
        }
        for batch in &commit.batches {
            arrived.entry(batch.stream.0).or_default().extend(self.decode(batch));
        }
        for (index, mut rows) in arrived {
            added.entry(index).or_default().written += rows.len() as i64;
            if targets[index].stages() {
                let staging = world.staging.get_mut(&self.key(index));
                let staging = staging.ok_or_else(|| Error::new(ErrorKind::Moved, "Staging is gone"))?;
                staging.1.append(&mut rows);
            } else {
                world.tables.entry(targets[index].table.clone()).or_default().append(&mut rows);
            }
        }
        for index in ended.unwrap_or_default() {
            let staged = world.staging.remove(&self.key(*index)).map(|(_, rows)| rows).unwrap_or_default();
            finish(world.tables.entry(targets[*index].table.clone()).or_default(), staged, &targets[*index]);
        }
        let before = self.held.get(&commit.scope);
        let same_job = before.is_some_and(|before| before.store == claim.store && before.job == claim.job);
        let line = |index: &usize| {
            let stream = targets[*index].stream.clone();
            let generation = self.plans[*index].generation().unwrap_or(targets[*index].generation);
            // Rows of an older generation were dropped with their staging.
            let total = before.filter(|_| same_job).and_then(|before| before.line(&stream));
            let total = total.filter(|line| line.generation == generation).map(|line| line.counts);
            let staged = world.staging.get(&(claim.connection.clone(), stream.clone()));
            Line {
                stream,
                generation,
                place: if staged.is_some_and(|staged| !staged.1.is_empty()) { Place::Staging } else { Place::Final },
                counts: total.unwrap_or_default() + added.get(index).copied().unwrap_or_default(),
            }
        };
        let position = Position {
            scope: commit.scope.clone(),
            store: claim.store.clone(),
            job: claim.job,
            attempt: claim.attempt,
            point: commit.point,
            kind: if ended.is_some() { PositionKind::End } else { PositionKind::State },
            state: commit.state,
            lines: covered.iter().map(line).collect(),
        };
        self.put(world, position.clone());
        let written = added.into_iter().map(|(index, counts)| (crate::StreamIndex(index), counts.written)).collect();
        Ok(Durable { scope: commit.scope, point: commit.point, position, written })
    }

    fn put(&mut self, world: &mut World, position: Position) {
        let own = world.positions.entry(self.request.claim.connection.clone()).or_default();
        own.insert(position.scope.clone(), position.clone());
        self.held.insert(position.scope.clone(), position);
    }

    /// Rows with the columns of the stream, in the order of its schema.
    fn decode(&self, batch: &Batch) -> Vec<Row> {
        let columns = &self.request.targets[batch.stream.0].columns;
        let cut = |mut row: Row| {
            columns.iter().map(|(name, _)| (name.clone(), row.remove(name).unwrap_or(Value::Null))).collect()
        };
        rows::of(&batch.rows).into_iter().map(cut).collect()
    }
}

fn finish(table: &mut Vec<Row>, staged: Vec<Row>, target: &Target) {
    if target.truncates() {
        table.clear();
    }
    if !target.merges() {
        return table.extend(staged);
    }
    let key = |row: &Row| target.primary_key.iter().map(|field| row.get(field).cloned()).collect::<Vec<_>>();
    let cursor = |row: &Row| target.cursor.as_ref().and_then(|field| row.get(field)?.as_i64());
    for row in staged {
        let same = table.iter().position(|old| key(old) == key(&row));
        // The staged row is the later one: it wins where the cursors are equal.
        if same.is_some_and(|at| cursor(&table[at]) > cursor(&row)) {
            continue;
        }
        same.map(|at| table.remove(at));
        if row.get("_ab_cdc_deleted_at").is_none_or(Value::is_null) {
            table.push(row);
        }
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        let claim = self.request.claim.clone();
        let mut next = self.home.snapshot();
        let before = next.fences.insert(claim.connection.clone(), claim.clone());
        if before.is_some_and(|b| b.store == claim.store && (b.job, b.attempt) > (claim.job, claim.attempt)) {
            return Err(Error::config("The destination was last written by a later attempt"));
        }
        let positions = next.positions.get(&claim.connection).cloned().unwrap_or_default();
        next.tails.retain(|(owner, _), _| *owner != claim.connection);
        let named = |stream: &StreamDescriptor, generation: i64| {
            let full = self.request.targets.iter().find(|target| target.stream == *stream);
            let full = full.filter(|target| target.sync_mode == SyncMode::FullRefresh);
            let lines = positions.values().filter(|p| p.store == claim.store).filter_map(|p| p.line(stream));
            let mut lines = lines.filter(|line| line.place == Place::Staging && line.generation == generation);
            lines.next().is_some() && full.is_none_or(|target| target.generation == generation)
        };
        next.staging
            .retain(|(owner, stream), (generation, _)| *owner != claim.connection || named(stream, *generation));
        let staged = |index: usize| next.staging.get(&self.key(index)).map(|(generation, _)| *generation);
        let staging =
            self.request.targets.iter().enumerate().map(|(i, target)| (target.stream.clone(), staged(i))).collect();
        let list: Vec<Position> = positions.values().cloned().collect();
        admission.confirm(&list).await?;
        self.held = positions;
        self.home.restore(next);
        Ok(Recovered::Positions { positions: list, staging })
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        self.step(|writer, world| {
            writer.plans = plans.to_vec();
            for (index, plan) in plans.iter().enumerate() {
                let target = &writer.request.targets[index];
                let Some(generation) = plan.generation() else { continue };
                if !target.stages() {
                    world.tables.entry(target.table.clone()).or_default();
                    continue;
                }
                let staging = world.staging.entry(writer.key(index)).or_insert((generation, vec![]));
                if matches!(plan, StreamPlan::Fresh { .. }) || staging.0 != generation {
                    *staging = (generation, vec![]);
                }
            }
            // Columns that are new are NULL in the rows that are there.
            for target in &writer.request.targets {
                for row in world.tables.get_mut(&target.table).into_iter().flatten() {
                    for (column, _) in &target.columns {
                        row.entry(column.clone()).or_insert(Value::Null);
                    }
                }
            }
            Ok(())
        })
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.step(|writer, world| {
            for batch in &batches {
                let rows = writer.decode(batch);
                world.tails.entry(writer.key(batch.stream.0)).or_default().extend(rows);
            }
            Ok(())
        })
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        self.step(|writer, world| commit.streams.into_iter().map(|stream| writer.append(world, stream, None)).collect())
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        let ended: Vec<usize> = complete.streams.iter().map(|stream| stream.0).collect();
        self.step(|writer, world| Ok(vec![writer.append(world, complete.commit, Some(&ended))?]))
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        self.step(|writer, world| {
            let claim = writer.request.claim.clone();
            let mut lines = Vec::new();
            for stream in &clear.streams {
                let target = writer.request.targets[stream.0].clone();
                world.tables.entry(target.table.clone()).and_modify(Vec::clear);
                world.staging.remove(&writer.key(stream.0));
                world.tails.remove(&writer.key(stream.0));
                let (stream, generation) = (target.stream, target.generation);
                lines.push(Line { stream, generation, place: Place::Final, counts: Counts::default() });
            }
            let position = |scope, state, lines| Position {
                scope,
                store: claim.store.clone(),
                job: claim.job,
                attempt: claim.attempt,
                point: clear.point,
                kind: PositionKind::Clear,
                state,
                lines,
            };
            let positions: Vec<Position> = match clear.remaining {
                Some(remaining) => {
                    lines.extend(remaining.lines);
                    vec![position(Scope::All, remaining.state, lines)]
                }
                None => {
                    let own = |line: Line| position(Scope::Stream(line.stream.clone()), None, vec![line]);
                    lines.into_iter().map(own).collect()
                }
            };
            let mut durable = Vec::new();
            for position in positions {
                writer.put(world, position.clone());
                durable.push(Durable { scope: position.scope.clone(), point: clear.point, position, written: vec![] });
            }
            Ok(durable)
        })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
