//! A ledger in memory, with the store's rules: fenced by the claim, append-only, head by (origin, seq).

use async_trait::async_trait;
use connector::{Error, ErrorKind, Result};
use engine::Checkpoints;
use protocol::{
    StreamDescriptor,
    checkpoint::{Chain, Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
};

use super::{Shared, gate::Gate, lock, name, source::offset_in};

/// Rules that a test switches off, to see that something breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slack {
    /// Entries are taken from whoever sends them.
    pub owner: bool,
    /// Nobody remembers what was committed, so a destination that is behind is not noticed.
    pub made: bool,
    /// Every entry is said to be of the current job.
    pub jobs: bool,
}

#[derive(Clone, Default)]
pub struct Ledger {
    pub names: Vec<StreamDescriptor>,
    pub entries: Vec<Entry>,
    pub generations: Vec<i64>,
    pub counter: i64,
    /// The attempt that owns the connection.
    pub owner: Option<Claim>,
    pub slack: Slack,
}

impl Ledger {
    pub fn new(streams: usize) -> Self {
        Self::of_streams((0..streams).map(name).collect())
    }

    pub fn of_streams(names: Vec<StreamDescriptor>) -> Self {
        Self { generations: vec![0; names.len()], names, ..Self::default() }
    }

    fn index(&self, stream: &StreamDescriptor) -> usize {
        self.names.iter().position(|name| name == stream).unwrap()
    }

    fn number(&mut self) -> i64 {
        self.counter += 1;
        self.counter
    }

    /// An attempt claims the connection; attempt 0 raises the generations of full refreshes and begins the chains.
    pub fn claim(&mut self, claim: &Claim, full_refresh: &[bool]) {
        self.owner = Some(claim.clone());
        if claim.attempt > 0 {
            return;
        }
        for (index, full) in full_refresh.iter().enumerate() {
            self.generations[index] += i64::from(*full);
        }
        let new: Vec<usize> =
            (0..full_refresh.len()).filter(|index| self.head(&self.names[*index]).is_none()).collect();
        if !new.is_empty() {
            self.begin_chain(&new, EntryKind::Begin, Why::Begin, None, Some(claim));
        }
    }

    pub fn begin_chain(
        &mut self,
        streams: &[usize],
        kind: EntryKind,
        why: Why,
        state: Option<protocol::StateMessage>,
        claim: Option<&Claim>,
    ) -> Entry {
        let origin = self.number();
        let line = |index: &usize| Line {
            stream: self.names[*index].clone(),
            generation: self.generations[*index],
            place: Place::Final,
            counts: Counts::default(),
        };
        let entry = Entry {
            point: Point { origin, seq: 0 },
            kind,
            why,
            job: claim.map(|claim| claim.job),
            attempt: claim.map(|claim| claim.attempt),
            state,
            lines: streams.iter().map(line).collect(),
        };
        self.entries.push(entry.clone());
        entry
    }

    /// Entries with a line for the stream, in the order in which they were written.
    pub fn of<'a>(&'a self, stream: &'a StreamDescriptor) -> impl Iterator<Item = &'a Entry> + 'a {
        self.entries.iter().filter(move |entry| entry.lines.iter().any(|line| line.stream == *stream))
    }

    /// The greatest point; of two, the later written.
    pub fn head(&self, stream: &StreamDescriptor) -> Option<Entry> {
        self.of(stream).max_by_key(|entry| entry.point).cloned()
    }

    /// Rows that the ledger counts as written for a stream since it was last emptied.
    pub fn written(&self, stream: &StreamDescriptor) -> i64 {
        let mut written = 0;
        let mut ordered: Vec<&Entry> = self.of(stream).collect();
        ordered.sort_by_key(|entry| entry.point);
        for entry in ordered {
            let goes_on = entry.state.as_ref().is_some_and(|state| offset_in(state, stream).is_some());
            if entry.kind == EntryKind::Clear && !goes_on {
                written = 0;
            }
            let line = entry.lines.iter().find(|line| line.stream == *stream);
            written += line.map_or(0, |line| line.counts.written);
        }
        written
    }

    /// The entries, one a line, to read after a failure.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Entry { point, kind, why, job, attempt, state, lines } in &self.entries {
            let state = state.as_ref().map(|state| format!("{:?}", state.state)).unwrap_or_default();
            text += &format!("{}.{} {kind:?} {why:?} job {job:?}.{attempt:?} {state}\n", point.origin, point.seq);
            for line in lines {
                let Line { stream, generation, place, counts } = line;
                text += &format!("    {stream} generation {generation} {place:?} written {}\n", counts.written);
            }
        }
        text
    }

    /// What a job counted for a stream; what it counted into staging of an older generation is gone with it.
    pub fn job_counts(&self, job: i64, index: usize) -> Counts {
        let stream = self.names[index].clone();
        let mut sum = Counts::default();
        for entry in self.of(&stream).filter(|entry| entry.job == Some(job)) {
            let lines = entry.lines.iter().filter(|line| line.stream == stream);
            for line in lines.filter(|line| line.generation == self.generations[index]) {
                sum += line.counts;
            }
        }
        sum
    }

    fn chain(&self, stream: &StreamDescriptor, generation: i64) -> Option<Chain> {
        let mut head = self.head(stream)?;
        if self.slack.jobs {
            head.job = head.job.and(self.owner.as_ref()).map(|claim| claim.job);
        }
        let made = self.of(stream).filter(|entry| entry.why.is_made()).map(|entry| entry.point).max();
        let mut origins: Vec<i64> = self.of(stream).map(|entry| entry.point.origin).collect();
        origins.dedup();
        let newest_made = made.filter(|_| !self.slack.made);
        Some(Chain { stream: stream.clone(), head, newest_made, origins, generation })
    }
}

/// The ledger as one attempt sees it.
pub struct Claimed {
    pub ledger: Shared<Ledger>,
    pub claim: Claim,
    pub gate: Gate,
}

impl Claimed {
    /// One transaction of the store, in which the claim holds.
    async fn write<T>(&self, work: impl FnOnce(&mut Ledger) -> T + Send) -> Result<T> {
        self.gate.step().await;
        let done = {
            let mut ledger = lock(&self.ledger);
            if ledger.owner.as_ref() != Some(&self.claim) && !ledger.slack.owner {
                return Err(Error::new(ErrorKind::Fenced, "Another attempt owns the connection"));
            }
            work(&mut ledger)
        };
        self.gate.step().await;
        Ok(done)
    }
}

#[async_trait]
impl Checkpoints for Claimed {
    async fn chains(&self) -> Result<Vec<Chain>> {
        let ledger = lock(&self.ledger);
        let generations = ledger.generations.iter().enumerate();
        Ok(generations.filter_map(|(index, generation)| ledger.chain(&ledger.names[index], *generation)).collect())
    }

    async fn confirm(&self, highest_origin: i64) -> Result<()> {
        self.write(|ledger| ledger.counter = ledger.counter.max(highest_origin)).await
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<()> {
        self.write(|ledger| ledger.entries.extend(entries)).await
    }

    async fn begin(&self, streams: &[StreamDescriptor], why: Why) -> Result<Entry> {
        self.write(|ledger| {
            let indexes: Vec<usize> = streams.iter().map(|stream| ledger.index(stream)).collect();
            ledger.begin_chain(&indexes, EntryKind::Begin, why, None, Some(&self.claim))
        })
        .await
    }

    async fn reserve_origin(&self) -> Result<i64> {
        self.write(Ledger::number).await
    }

    async fn last_final(&self, origin: i64, streams: &[StreamDescriptor]) -> Result<Option<Entry>> {
        let ledger = lock(&self.ledger);
        let final_for = |entry: &&Entry| {
            entry.point.origin == origin
                && streams
                    .iter()
                    .all(|stream| entry.lines.iter().any(|line| line.stream == *stream && line.place == Place::Final))
        };
        Ok(ledger.entries.iter().filter(final_for).max_by_key(|entry| entry.point).cloned())
    }

    async fn job_counts(&self, job: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
        let ledger = lock(&self.ledger);
        Ok((0..ledger.generations.len())
            .map(|index| (ledger.names[index].clone(), ledger.job_counts(job, index)))
            .collect())
    }

    async fn raise_generation(&self, stream: &StreamDescriptor) -> Result<i64> {
        self.write(|ledger| {
            let index = ledger.index(stream);
            ledger.generations[index] += 1;
            ledger.generations[index]
        })
        .await
    }
}
