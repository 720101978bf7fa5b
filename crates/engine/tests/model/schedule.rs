//! One random schedule over one connection.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use connector::ErrorKind;
use engine::{Attempt, Ending, Event, Kind, Origin, Outcome, run};
use protocol::{
    ConfiguredCatalog, StreamDescriptor, SyncMode,
    checkpoint::{Claim, EntryKind, PositionKind, Why},
};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{oracle::Facts, random::Random};
use crate::world::{
    Shared, catalog,
    destination::{self, Contents, World},
    gate::Gate,
    ledger::{self, Claimed, Ledger},
    lock, name, shared,
    source::{Logs, Script, ScriptedSource, States, message, offset_in},
};

#[derive(Clone, Debug)]
pub struct Mode {
    pub states: States,
    pub streams: Vec<(&'static str, &'static str, bool)>,
}

/// Rules that are switched off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    pub destination: destination::Slack,
    pub ledger: ledger::Slack,
}

/// What happens, to read after a failure.
macro_rules! tell {
    ($model:expr, $($text:tt)*) => {
        if $model.verbose {
            $model.told.push(format!($($text)*));
        }
    };
}

type Check<T = ()> = Result<T, String>;

struct Running {
    future: Pin<Box<dyn Future<Output = Outcome>>>,
    gate: Gate,
    cancel: CancellationToken,
    log: UnboundedReceiver<Event>,
    label: String,
    /// The destination was restored under it.
    restored: bool,
}

#[derive(Clone)]
struct Job {
    number: i64,
    next_attempt: i64,
    kind: Kind,
}

struct Model<'a> {
    mode: &'a Mode,
    random: Random,
    logs: Shared<Logs>,
    ledger: Shared<Ledger>,
    world: World,
    catalog: ConfiguredCatalog,
    prefix: usize,
    job: Option<Job>,
    jobs: i64,
    live: Option<Running>,
    ghosts: Vec<Running>,
    /// With what was set by hand until then.
    backup: Option<(Contents, Vec<bool>)>,
    ledger_backup: Option<Ledger>,
    /// How long the logs were when each job began.
    lengths: BTreeMap<i64, Vec<usize>>,
    /// A state was set by hand, by stream.
    again: Vec<bool>,
    /// Readers saw rows, by stream, and nothing took them away since.
    filled: Vec<bool>,
    /// The destination was restored from a backup.
    restored: bool,
    /// The ledger was.
    ledger_restored: bool,
    calm: bool,
    verbose: bool,
    told: Vec<String>,
}

/// Runs the schedule of a seed. `Err` says which promise was broken, and, if `verbose`, what happened before.
pub async fn schedule(mode: &Mode, rules: Rules, seed: u64, verbose: bool) -> Check {
    let streams = mode.streams.len();
    let mut ledger = Ledger::new(streams);
    ledger.slack = rules.ledger;
    let mut model = Model {
        mode,
        random: Random::new(seed),
        logs: shared(Logs { streams: vec![Vec::new(); streams] }),
        ledger: shared(ledger),
        world: World { slack: rules.destination, ..World::default() },
        catalog: catalog(&mode.streams),
        prefix: 0,
        job: None,
        jobs: 0,
        live: None,
        ghosts: Vec::new(),
        backup: None,
        ledger_backup: None,
        lengths: BTreeMap::new(),
        again: vec![false; streams],
        filled: vec![false; streams],
        restored: false,
        ledger_restored: false,
        calm: false,
        verbose,
        told: Vec::new(),
    };
    let done = model.run().await;
    if !verbose {
        return done;
    }
    done.map_err(|text| {
        let told = model.told.join("\n  ");
        format!("{text}\n  {told}\n{}{:#?}", lock(&model.ledger).text(), lock(&model.world.contents).positions)
    })
}

impl Model<'_> {
    async fn run(&mut self) -> Check {
        self.grow();
        for _ in 0..30 {
            self.event().await?;
            self.readers()?;
        }
        self.settle().await
    }

    async fn event(&mut self) -> Check {
        if !self.ghosts.is_empty() && self.random.percent(20) {
            return self.haunt().await;
        }
        if self.random.percent(6) {
            tell!(self, "backup of the destination");
            self.backup = Some((lock(&self.world.contents).clone(), self.again.clone()));
        }
        if self.random.percent(2) {
            self.restore();
        }
        if self.live.is_none() {
            return self.between().await;
        }
        let steps = self.random_steps();
        match self.random.below(100) {
            0..60 => self.advance(steps).await,
            60..74 => self.advance(1000).await,
            74..84 => self.crash(),
            84..93 => self.pause(),
            _ => self.cancel().await,
        }
    }

    fn random_steps(&mut self) -> u64 {
        1 + self.random.below(12) as u64
    }

    /// While no attempt runs.
    async fn between(&mut self) -> Check {
        match self.random.below(100) {
            0..20 => self.grow(),
            // Within a job, streams that are complete stay in the table of yesterday.
            20..24 if self.job.is_none() => {
                self.prefix += 1;
                tell!(self, "another prefix");
            }
            24..34 if self.job.is_none() => self.write_state(),
            34..40 if self.job.is_none() => self.rewind(),
            40..43 if self.job.is_none() => self.restore_ledger(),
            43..48 => {
                tell!(self, "backup of the ledger");
                self.ledger_backup = Some(lock(&self.ledger).clone());
            }
            48..54 if self.job.is_some() => {
                tell!(self, "the job is cancelled between attempts");
                self.job = None;
            }
            _ => {
                let resets = self.random.percent(15);
                self.begin(resets);
            }
        }
        Ok(())
    }

    fn grow(&mut self) {
        let mut logs = lock(&self.logs);
        for (index, log) in logs.streams.iter_mut().enumerate() {
            for _ in 0..self.random.below(9) {
                let keyed = self.mode.streams[index].1 == "append_dedup";
                let id = if keyed { self.random.below(6) as i64 } else { log.len() as i64 };
                log.push(id);
            }
        }
        let lengths: Vec<usize> = logs.streams.iter().map(Vec::len).collect();
        tell!(self, "the source has {lengths:?} rows");
    }

    fn descriptors(&self) -> Vec<StreamDescriptor> {
        (0..self.mode.streams.len()).map(name).collect()
    }

    /// A new attempt of the job, or of a new one.
    fn begin(&mut self, resets: bool) {
        if self.job.is_none() {
            self.jobs += 1;
            let kind = if resets { self.reset() } else { Kind::Sync };
            self.job = Some(Job { number: self.jobs, next_attempt: 0, kind });
            self.lengths.insert(self.jobs, lock(&self.logs).streams.iter().map(Vec::len).collect());
        }
        let Some(job) = self.job.as_mut() else { return };
        let attempt = job.next_attempt;
        job.next_attempt += 1;
        let job = job.clone();
        let label = format!("attempt {}.{attempt}", job.number);
        tell!(self, "{label}: {:?}", job.kind);
        let claim =
            Claim { store: "here".into(), connection: "c".into(), job: job.number, attempt, owner: label.clone() };
        let full = |stream: &protocol::ConfiguredStream| stream.sync_mode == SyncMode::FullRefresh;
        let full: Vec<bool> =
            self.catalog.streams.iter().map(|stream| job.kind == Kind::Sync && full(stream)).collect();
        lock(&self.ledger).claim(&claim, &full);
        for (stream, generation) in self.catalog.streams.iter_mut().zip(&lock(&self.ledger).generations) {
            stream.generation_id = Some(*generation);
        }
        let gate = Gate::default();
        let cancel = CancellationToken::new();
        let (events, log) = unbounded_channel();
        let script = self.script();
        let attempt = Attempt {
            source: Arc::new(ScriptedSource { logs: self.logs.clone(), script }),
            destination: Arc::new(World { gate: gate.clone(), ..self.world.clone() }),
            source_config: Value::Null,
            destination_config: Value::Null,
            claim: claim.clone(),
            kind: job.kind,
            tables: self.descriptors().iter().map(|stream| self.table(stream)).collect(),
            catalog: self.catalog.clone(),
            budget: self.random.pick(&[1, 64, 128, 300, 1 << 20]),
            cancel: cancel.clone(),
            checkpoints: Arc::new(Claimed { ledger: self.ledger.clone(), claim, gate: gate.clone() }),
            events,
        };
        self.live = Some(Running { future: Box::pin(run(attempt)), gate, cancel, log, label, restored: false });
    }

    fn table(&self, stream: &StreamDescriptor) -> StreamDescriptor {
        StreamDescriptor::new(None, format!("p{}_{}", self.prefix, stream.name))
    }

    fn reset(&mut self) -> Kind {
        let mut streams = self.descriptors();
        if self.mode.states != States::Legacy && self.random.percent(50) {
            streams = vec![self.random.pick(&streams)];
        }
        let mut ledger = lock(&self.ledger);
        ledger.counter += 1;
        Kind::Reset { streams, origin: ledger.counter }
    }

    fn script(&mut self) -> Script {
        let full = self.mode.streams.iter().all(|stream| stream.0 == "full_refresh");
        let random = &mut self.random;
        Script {
            batch: 1 + random.below(4),
            every: 1 + random.below(4),
            in_turn: random.percent(60),
            // The tail of an incremental stream without a state is read again by the next sync: no fault of anybody.
            last_state: !full || random.percent(60),
            fail_after: if !self.calm && random.percent(12) { Some(random.below(7)) } else { None },
            pause: Duration::from_millis(if random.percent(30) { 400 } else { 0 }),
            ..Script::new(self.mode.states)
        }
    }

    /// Lets the live attempt take some steps; if it ends, says what that means.
    async fn advance(&mut self, steps: u64) -> Check {
        let Some(mut running) = self.live.take() else { return Ok(()) };
        tell!(self, "{} takes {steps} steps", running.label);
        let ended = take(&mut running, steps).await;
        self.listen(&mut running)?;
        match ended {
            None => self.live = Some(running),
            Some(outcome) => self.ended(running, outcome)?,
        }
        Ok(())
    }

    fn ended(&mut self, running: Running, outcome: Outcome) -> Check {
        tell!(self, "{} ended: {:?}", running.label, outcome.result);
        match &outcome.result {
            Ending::Succeeded => {
                let job = self.job.take().ok_or("no job")?;
                if !running.restored {
                    self.green(&job)?;
                }
            }
            Ending::Cancelled => self.job = None,
            Ending::ClaimLost => return Err("the owner of the connection lost its claim".into()),
            Ending::Failed(failures) => {
                let broke = failures[0].message == "The source broke";
                let moved = matches!(failures[0].kind, ErrorKind::Moved | ErrorKind::Fenced)
                    && failures[0].origin == Origin::Destination
                    && running.restored;
                if !broke && !moved {
                    return Err(format!("an attempt failed: {failures:?}"));
                }
            }
        }
        Ok(())
    }

    /// No warning of a restore without one.
    fn listen(&mut self, running: &mut Running) -> Check {
        while let Ok(event) = running.log.try_recv() {
            let Event::Log { level, message } = event else { continue };
            let restored = message.contains("restored from a backup") || message.contains("has no memory of");
            if level == tracing::Level::WARN && restored && !self.restored {
                return Err(format!("{}: without a restore: {message}", running.label));
            }
        }
        Ok(())
    }

    fn crash(&mut self) -> Check {
        if let Some(running) = self.live.take() {
            tell!(self, "{} crashes", running.label);
        }
        lock(&self.ledger).owner = None;
        Ok(())
    }

    fn pause(&mut self) -> Check {
        if let Some(running) = self.live.take() {
            tell!(self, "{} is paused and loses its lease", running.label);
            self.ghosts.push(running);
        }
        lock(&self.ledger).owner = None;
        Ok(())
    }

    async fn cancel(&mut self) -> Check {
        if let Some(running) = &self.live {
            running.cancel.cancel();
            tell!(self, "{} is cancelled", running.label);
        }
        self.advance(1000).await?;
        self.job = None;
        Ok(())
    }

    /// A ghost goes on for a while, or dies.
    async fn haunt(&mut self) -> Check {
        let index = self.random.below(self.ghosts.len());
        let mut ghost = self.ghosts.swap_remove(index);
        if self.random.percent(10) {
            tell!(self, "ghost {} dies", ghost.label);
            return Ok(());
        }
        let steps = self.random_steps();
        tell!(self, "ghost {} takes {steps} steps", ghost.label);
        match take(&mut ghost, steps).await {
            None => self.ghosts.push(ghost),
            Some(outcome) => tell!(self, "ghost {} ended: {:?}", ghost.label, outcome.result),
        }
        Ok(())
    }

    fn restore(&mut self) {
        let Some((backup, again)) = self.backup.take() else { return };
        tell!(self, "the destination is restored");
        *lock(&self.world.contents) = backup;
        self.restored = true;
        self.filled.fill(false);
        for (now, then) in self.again.iter_mut().zip(again) {
            *now |= then;
        }
        for running in self.live.iter_mut().chain(&mut self.ghosts) {
            running.restored = true;
        }
    }

    fn restore_ledger(&mut self) {
        let Some(mut backup) = self.ledger_backup.take() else { return };
        tell!(self, "the ledger is restored");
        backup.owner = None;
        *lock(&self.ledger) = backup;
        self.ledger_restored = true;
    }

    /// A state is written over the API: earlier than the newest, or none.
    fn write_state(&mut self) {
        let streams = self.descriptors();
        let chosen = self.random.below(streams.len());
        if self.mode.streams[chosen].0 == "full_refresh" {
            return;
        }
        let heads: Vec<_> = streams.iter().map(|stream| lock(&self.ledger).head(stream)).collect();
        let known = |index: usize| -> Option<usize> {
            let head = heads[index].as_ref()?;
            offset_in(head.state.as_ref()?, &streams[index])
        };
        let offset = known(chosen).map(|known| self.random.below(known + 1));
        let offset = offset.filter(|_| self.random.percent(80));
        let (members, state, kind) = match self.mode.states {
            States::Stream | States::None => {
                let state = offset.and_then(|offset| message(States::Stream, 0, &[(streams[chosen].clone(), offset)]));
                (vec![chosen], state, EntryKind::Stream)
            }
            states => {
                let offsets: Vec<_> = (0..streams.len())
                    .filter_map(|index| {
                        let offset = if index == chosen { offset } else { known(index) };
                        offset.map(|offset| (streams[index].clone(), offset))
                    })
                    .collect();
                let kind = if states == States::Global { EntryKind::Global } else { EntryKind::Legacy };
                ((0..streams.len()).collect(), message(states, 0, &offsets), kind)
            }
        };
        tell!(self, "the state of {} is set to {offset:?} by hand", streams[chosen]);
        lock(&self.ledger).begin_chain(&members, kind, Why::ApiWrite, state, None);
        for member in members {
            self.again[member] = true;
        }
    }

    /// Back to an entry of the ledger that no reset came after.
    fn rewind(&mut self) {
        let streams = self.descriptors();
        let chosen = self.random.below(streams.len());
        // A restore sets entries aside, and rewind does not offer those.
        if self.restored || self.mode.streams[chosen].0 == "full_refresh" {
            return;
        }
        let mut ledger = lock(&self.ledger);
        let clear = ledger.of(&streams[chosen]).filter(|entry| entry.kind == EntryKind::Clear);
        let after = clear.map(|entry| entry.point).max();
        let offered: Vec<_> = ledger
            .of(&streams[chosen])
            .filter(|entry| entry.state.is_some() && entry.why.is_made() && after.is_none_or(|at| entry.point > at))
            .cloned()
            .collect();
        if offered.is_empty() {
            return;
        }
        let target = self.random.pick(&offered);
        ledger.counter += 1;
        let mut entry = target.clone();
        entry.point = protocol::checkpoint::Point { origin: ledger.counter, seq: 0 };
        entry.why = Why::Rewind;
        (entry.job, entry.attempt) = (None, None);
        for line in &mut entry.lines {
            line.counts = Default::default();
            self.again[crate::world::source::number(&line.stream)] = true;
        }
        ledger.entries.push(entry);
        drop(ledger);
        tell!(self, "{} is rewound to {:?}", streams[chosen], target.point);
    }

    fn facts<'f>(&self, logs: &'f Logs, lengths: &'f BTreeMap<i64, Vec<usize>>, index: usize) -> Facts<'f> {
        let (read, write, _) = self.mode.streams[index];
        let again = self.again[index];
        let table = self.table(&name(index)).name;
        Facts { index, read, write, log: &logs.streams[index], lengths, again, table }
    }

    /// What readers may see at any moment.
    fn readers(&mut self) -> Check {
        let shared = self.world.contents.clone();
        let contents = lock(&shared);
        let logs = self.logs.clone();
        let logs = lock(&logs);
        for index in 0..self.mode.streams.len() {
            let stream = name(index);
            let facts = self.facts(&logs, &self.lengths, index);
            facts.seen(&contents)?;
            let newest = contents.positions.values().filter(|position| position.line(&stream).is_some());
            let cleared = newest.max_by_key(|position| position.point).is_some_and(|position| {
                position.kind == PositionKind::Clear
                    && position.state.as_ref().and_then(|state| offset_in(state, &stream)).is_none()
            });
            let rows = contents.tables.iter().filter(|(table, _)| table.ends_with(&stream.name));
            let rows: usize = rows.map(|(_, rows)| rows.len()).sum();
            if self.filled[index] && rows == 0 && !cleared {
                return Err(format!("{stream}: a reader sees an empty table"));
            }
            self.filled[index] = rows > 0;
            if cleared && rows == 0 {
                self.again[index] = false;
            }
        }
        Ok(())
    }

    /// What a green job promises.
    fn green(&mut self, job: &Job) -> Check {
        let contents = lock(&self.world.contents).clone();
        if !contents.tails.is_empty() {
            return Err(format!("tails are left: {:?}", contents.tails));
        }
        if let Kind::Reset { streams, .. } = &job.kind {
            for stream in streams {
                let rows = contents.tables.iter().filter(|(table, _)| table.ends_with(&stream.name));
                if rows.map(|(_, rows)| rows.len()).sum::<usize>() > 0 {
                    return Err(format!("{stream} is not empty after its reset"));
                }
                self.again[crate::world::source::number(stream)] = false;
            }
            return Ok(());
        }
        if !contents.staging.is_empty() {
            return Err(format!("staging is left unmerged: {:?}", contents.staging));
        }
        let logs = lock(&self.logs);
        let ledger = lock(&self.ledger);
        for index in 0..self.mode.streams.len() {
            let facts = self.facts(&logs, &self.lengths, index);
            let seen = facts.seen(&contents)?;
            let least = self.lengths[&job.number][index];
            if seen < least {
                return Err(format!("{}: {seen} rows after a green job, at least {least} expected", name(index)));
            }
            if self.restored || self.ledger_restored || facts.write == "append_dedup" {
                continue;
            }
            let all: Vec<_> = contents.tables.iter().filter(|(table, _)| table.ends_with(&name(index).name)).collect();
            let of_job = all.iter().flat_map(|(_, rows)| rows.iter()).filter(|row| row.2 == job.number).count() as i64;
            let counted = ledger.job_counts(job.number, index);
            if counted.written != of_job || counted.read != of_job {
                return Err(format!("{}: {of_job} rows of this job, but counted {counted:?}", name(index)));
            }
            let rows: usize = all.iter().map(|(_, rows)| rows.len()).sum();
            // A `clear` of one stream does not tell whether another one had no state before it.
            if facts.read == "incremental" && !facts.again && ledger.written(&name(index)) != rows as i64 {
                let written = ledger.written(&name(index));
                return Err(format!("{}: {rows} rows, but the ledger counts {written}", name(index)));
            }
        }
        Ok(())
    }

    /// Everything comes to rest: ghosts end, the job ends, and a last sync brings every row.
    async fn settle(&mut self) -> Check {
        tell!(self, "now everything settles");
        self.calm = true;
        while !self.ghosts.is_empty() {
            self.haunt().await?;
            self.readers()?;
        }
        for _ in 0..2 {
            let before = self.jobs;
            let mut attempts = 0;
            while self.job.is_some() || self.live.is_some() || self.jobs == before {
                if self.live.is_none() {
                    self.begin(false);
                    attempts += 1;
                }
                if attempts > 6 {
                    return Err("a job does not come to its end".into());
                }
                self.advance(100_000).await?;
                self.readers()?;
            }
        }
        let contents = lock(&self.world.contents).clone();
        let logs = lock(&self.logs);
        for (index, log) in logs.streams.iter().enumerate() {
            let seen = self.facts(&logs, &self.lengths, index).seen(&contents)?;
            if seen != log.len() {
                return Err(format!("{}: {seen} rows of {} at the end", name(index), log.len()));
            }
        }
        Ok(())
    }
}

async fn take(running: &mut Running, steps: u64) -> Option<Outcome> {
    running.gate.allow(steps);
    tokio::select! {
        biased;
        outcome = &mut running.future => Some(outcome),
        () = running.gate.closed() => None,
    }
}
