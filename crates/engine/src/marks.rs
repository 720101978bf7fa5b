//! Rows and marks between the source and the destination.
//!
//! A [`Bucket`] is one scope: rows that a mark covers already and that may be committed, and the rows behind the newest
//! mark, which wait for the next one. What was handed over and is not answered yet waits in order, so that a destination
//! may answer several marks at once and late.

use std::collections::{BTreeMap, VecDeque};

use connector::{Batch, Durable, Error, Result, StreamCommit, StreamIndex};
use protocol::{
    State, StateMessage, StreamDescriptor,
    checkpoint::{Claim, Counts, Entry, EntryKind, Line, Point, PositionKind, Scope, Why},
};
use tokio::time::Instant;

/// Counts by stream.
pub(crate) type Tallies = BTreeMap<usize, Counts>;

pub(crate) struct Bucket {
    pub scope: Scope,
    /// The newest mark of the chain.
    head: Point,
    /// The newest state: what an `end` holds.
    state: Option<StateMessage>,
    covered: Rows,
    uncovered: Rows,
    /// Since when a mark waits for its commit.
    pub marked_at: Option<Instant>,
    unanswered: VecDeque<Handed>,
}

#[derive(Default)]
struct Rows {
    batches: Vec<Batch>,
    bytes: usize,
    /// Of these rows and of those that were spilled.
    counts: Tallies,
}

impl Rows {
    fn append(&mut self, mut other: Rows) {
        self.batches.append(&mut other.batches);
        self.bytes += other.bytes;
        for (stream, counts) in other.counts {
            *self.counts.entry(stream).or_default() += counts;
        }
    }
}

/// A mark that the destination was given.
struct Handed {
    point: Point,
    state: Option<StateMessage>,
    counts: Tallies,
}

/// What a destination's answer means: the entry for the ledger, and what was added per stream.
pub(crate) struct Noted {
    pub entry: Entry,
    pub added: Tallies,
}

impl Bucket {
    pub fn new(scope: Scope, head: Point, state: Option<StateMessage>) -> Self {
        Self {
            scope,
            head,
            state,
            covered: Rows::default(),
            uncovered: Rows::default(),
            marked_at: None,
            unanswered: VecDeque::new(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.covered.bytes + self.uncovered.bytes
    }

    pub fn push(&mut self, batch: Batch, counts: Counts) {
        self.uncovered.bytes += batch.bytes();
        *self.uncovered.counts.entry(batch.stream.0).or_default() += counts;
        self.uncovered.batches.push(batch);
    }

    /// A mark covers everything before it.
    pub fn mark(&mut self, state: StateMessage) {
        self.covered.append(std::mem::take(&mut self.uncovered));
        self.state = Some(state);
        self.marked_at.get_or_insert_with(Instant::now);
    }

    /// Takes over rows that came before anybody knew that the source has one state for all streams.
    pub fn absorb(&mut self, other: Bucket) {
        self.uncovered.append(other.covered);
        self.uncovered.append(other.uncovered);
    }

    /// Rows up to the last mark, if there is one that is not committed.
    pub fn take_marked(&mut self) -> Option<StreamCommit> {
        self.marked_at.take()?;
        let mut rows = std::mem::take(&mut self.covered);
        if connector::failpoint::planted("commit-past-mark") {
            rows.append(std::mem::take(&mut self.uncovered));
        }
        Some(self.hand_over(rows))
    }

    /// Everything, for the `end`.
    pub fn take_all(&mut self) -> StreamCommit {
        self.marked_at = None;
        let mut rows = std::mem::take(&mut self.covered);
        rows.append(std::mem::take(&mut self.uncovered));
        self.hand_over(rows)
    }

    /// Rows that no mark covers.
    pub fn take_uncovered(&mut self) -> Vec<Batch> {
        self.uncovered.bytes = 0;
        std::mem::take(&mut self.uncovered.batches)
    }

    fn hand_over(&mut self, rows: Rows) -> StreamCommit {
        self.head.seq += 1;
        self.unanswered.push_back(Handed { point: self.head, state: self.state.clone(), counts: rows.counts.clone() });
        StreamCommit {
            scope: self.scope.clone(),
            batches: rows.batches,
            point: self.head,
            state: self.state.clone(),
            counts: rows.counts.into_iter().map(|(stream, counts)| (StreamIndex(stream), counts)).collect(),
        }
    }

    pub fn is_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Takes the destination's word for a mark and all before it.
    pub fn answer(&mut self, durable: &Durable, claim: &Claim, streams: &[StreamDescriptor]) -> Result<Noted> {
        let mut state = None;
        let mut added = Tallies::new();
        let mut known = false;
        while let Some(handed) = self.unanswered.pop_front_if(|handed| handed.point <= durable.point) {
            known = handed.point == durable.point;
            state = handed.state;
            for (stream, counts) in handed.counts {
                *added.entry(stream).or_default() += counts;
            }
        }
        if !known {
            return Err(Error::system("The destination confirmed a mark that it was not given"));
        }
        for counts in added.values_mut() {
            counts.written = 0;
        }
        for (stream, written) in &durable.written {
            added.entry(stream.0).or_default().written += written;
        }
        let counts_of = |line: &Line| {
            let index = streams.iter().position(|stream| *stream == line.stream);
            index.and_then(|index| added.get(&index)).copied().unwrap_or_default()
        };
        let lines =
            durable.position.lines.iter().map(|line| Line { counts: counts_of(line), ..line.clone() }).collect();
        let kind = match durable.position.kind {
            PositionKind::End => EntryKind::End,
            PositionKind::Clear => EntryKind::Clear,
            PositionKind::State => match state.as_ref().map(|message| &message.state) {
                Some(State::Global { .. }) => EntryKind::Global,
                Some(State::Legacy(_)) => EntryKind::Legacy,
                Some(State::Stream(_)) | None => EntryKind::Stream,
            },
        };
        let entry = Entry {
            point: durable.point,
            kind,
            why: Why::Sync,
            job: Some(claim.job),
            attempt: Some(claim.attempt),
            state,
            lines,
        };
        Ok(Noted { entry, added })
    }
}
