//! The flow of one sync: takes the source's messages in order, and decides what is committed when.
//!
//! Rows wait in a [`Bucket`] per scope: one per stream, or a single one from the moment that the source sends a global or
//! legacy state. A commit takes every bucket up to its newest mark, in one transaction; a stream that is complete ends at
//! once, streams under one shared state end together when the source has ended.

use connector::{
    Batch, Commit, Complete, Durable, Error, SourceMessage, StreamIndex, StreamPlan, StreamStatus, Writer,
    arrow::estimated_json_bytes,
    failpoint::{planted, point},
};
use protocol::{
    State, StateMessage, StreamDescriptor,
    checkpoint::{Counts, Scope},
};
use tokio::time::{Duration, Instant};

use crate::{
    attempt::Attempt,
    marks::{Bucket, Tallies},
    outcome::{Event, Log, Step, Stop},
    resume::Resumption,
    tally::Tally,
    targets::{Projection, targets},
};

/// A mark waits for its commit at most about this long.
const MARK_WAITS: Duration = Duration::from_secs(1);

/// The kinds of state, which a source does not mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StateKind {
    Stream,
    Global,
    Legacy,
}

pub(crate) struct Flow<'a> {
    attempt: &'a Attempt,
    writer: &'a mut dyn Writer,
    tallies: &'a mut [Tally],
    log: &'a Log,
    names: Vec<StreamDescriptor>,
    projections: Vec<Projection>,
    resumption: Resumption,
    /// The streams that the source was given, in its order.
    open: Vec<usize>,
    buckets: Vec<Bucket>,
    /// The bucket of each stream.
    bucket_of: Vec<usize>,
    kind: Option<StateKind>,
    /// Bytes that may be held before they are committed or spilled.
    share: usize,
    /// Streams that the source has a state for and the catalog has not.
    unknown: Vec<StreamDescriptor>,
}

impl<'a> Flow<'a> {
    pub fn new(
        attempt: &'a Attempt,
        writer: &'a mut dyn Writer,
        tallies: &'a mut [Tally],
        log: &'a Log,
        resumption: Resumption,
    ) -> Step<Self> {
        let names: Vec<_> = tallies.iter().map(|tally| tally.stats.descriptor.clone()).collect();
        let targets = targets(&attempt.catalog, &attempt.tables).map_err(Stop::replication)?;
        let buckets = names.iter().zip(&resumption.streams);
        let buckets = buckets.map(|(name, stream)| {
            // A shared state is no state of this stream alone.
            let state = stream.state.clone().filter(|message| matches!(message.state, State::Stream(_)));
            Bucket::new(Scope::Stream(name.clone()), stream.head, state)
        });
        let open = resumption.streams.iter().enumerate().filter(|(_, stream)| stream.plan != StreamPlan::Done);
        Ok(Self {
            buckets: buckets.collect(),
            bucket_of: (0..names.len()).collect(),
            open: open.map(|(index, _)| index).collect(),
            projections: targets.iter().map(Projection::new).collect(),
            share: attempt.budget / 2,
            attempt,
            writer,
            tallies,
            log,
            names,
            resumption,
            kind: None,
            unknown: Vec::new(),
        })
    }

    /// When the oldest mark must be committed.
    pub fn due_at(&self) -> Option<Instant> {
        let oldest = self.buckets.iter().filter_map(|bucket| bucket.marked_at).min();
        oldest.map(|since| since + MARK_WAITS)
    }

    /// More is held than its share.
    pub fn is_full(&self) -> bool {
        self.buckets.iter().map(Bucket::bytes).sum::<usize>() >= self.share
    }

    pub fn tell(&self) {
        let stats = self.tallies.iter().map(|tally| tally.stats.clone()).collect();
        let _ = self.attempt.events.send(Event::Progress(stats));
    }

    pub async fn take(&mut self, message: SourceMessage) -> Step {
        match message {
            SourceMessage::Batch(batch) => self.rows(batch),
            SourceMessage::State(state) => self.mark(state).await,
            SourceMessage::Status { stream, status } => {
                let index = self.index(stream)?;
                match status {
                    StreamStatus::Started => Ok(()),
                    StreamStatus::Complete { read } => self.complete(index, read).await,
                }
            }
            SourceMessage::Last { stream, state, read } => {
                let index = self.index(stream)?;
                self.mark(state).await?;
                self.complete(index, read).await
            }
            SourceMessage::Log { level, message } => {
                self.log.line(level, message);
                Ok(())
            }
        }
    }

    async fn complete(&mut self, index: usize, read: i64) -> Step {
        self.tallies[index].read = Some(read);
        self.end_if_alone(index).await
    }

    /// The source numbers the streams that it was given; the attempt numbers those of its catalog.
    fn index(&self, stream: StreamIndex) -> Step<usize> {
        self.open.get(stream.0).copied().ok_or_else(|| {
            Stop::source(Error::system(format!(
                "The source sent rows or a status of a stream (number {}) that it was not asked for",
                stream.0
            )))
        })
    }

    fn rows(&mut self, mut batch: Batch) -> Step {
        let index = self.index(batch.stream)?;
        batch.stream = StreamIndex(index);
        let tally = &mut self.tallies[index];
        if tally.read.is_some() {
            let text = format!("The source sent rows of stream `{}` after it was complete", self.names[index]);
            return Err(Stop::source(Error::system(text)));
        }
        // Undeclared and deselected fields never leave the engine.
        if let Some(cut) = self.projections[index].apply(&batch.rows).map_err(Stop::replication)? {
            batch = batch.with_rows(cut);
        }
        let rows = i64::try_from(batch.rows.num_rows()).unwrap_or(i64::MAX);
        let bytes = i64::try_from(estimated_json_bytes(&batch.rows)).unwrap_or(i64::MAX);
        tally.stats.emitted += rows;
        tally.stats.emitted_bytes += bytes;
        let counts = Counts { read: rows, bytes, ..Counts::default() };
        self.buckets[self.bucket_of[index]].push(batch, counts);
        Ok(())
    }

    async fn mark(&mut self, message: StateMessage) -> Step {
        point(if self.kind.is_none() { "before-first-state" } else { "between-states" });
        let kind = match &message.state {
            State::Stream(_) => StateKind::Stream,
            State::Global { .. } => StateKind::Global,
            State::Legacy(_) => StateKind::Legacy,
        };
        if self.kind.is_some_and(|before| before != kind) {
            let text = "The source mixed kinds of state (stream, global, legacy) in one attempt";
            return Err(Stop::source(Error::system(text)));
        }
        if let State::Stream(own) = &message.state {
            let Some(index) = self.names.iter().position(|name| *name == own.descriptor) else {
                return self.ignore(&own.descriptor, "is not in the catalog");
            };
            if !self.open.contains(&index) || self.tallies[index].stats.complete {
                return self.ignore(&own.descriptor, "is complete already");
            }
            self.tallies[index].stats.states += 1;
            self.buckets[index].mark(message);
        } else {
            if self.kind.is_none() {
                self.share_one_bucket();
            }
            for index in &self.open {
                self.tallies[*index].stats.states += 1;
            }
            self.buckets[0].mark(message);
        }
        if self.kind.replace(kind).is_none() {
            // Now it is known that streams end one by one.
            for index in self.open.clone() {
                self.end_if_alone(index).await?;
            }
        }
        Ok(())
    }

    fn ignore(&mut self, stream: &StreamDescriptor, why: &str) -> Step {
        if !self.unknown.contains(stream) {
            self.log.warn(format!("A state of stream `{stream}` was ignored: the stream {why}"));
            self.unknown.push(stream.clone());
        }
        Ok(())
    }

    /// From now on one mark covers all streams.
    fn share_one_bucket(&mut self) {
        let heads = self.resumption.streams.iter().map(|stream| stream.head);
        let head = heads.max().unwrap_or(protocol::checkpoint::Point { origin: 0, seq: 0 });
        let mut shared = Bucket::new(Scope::All, head, self.resumption.shared.clone());
        for bucket in std::mem::take(&mut self.buckets) {
            shared.absorb(bucket);
        }
        self.buckets.push(shared);
        self.bucket_of.fill(0);
    }

    /// Commits every bucket up to its newest mark (Invariant 1).
    pub async fn flush(&mut self) -> Step {
        let streams: Vec<_> = self.buckets.iter_mut().filter_map(Bucket::take_marked).collect();
        if streams.is_empty() {
            return Ok(());
        }
        let commit = Commit { streams };
        if planted("ledger-before-commit") {
            let early = self.planned(&commit);
            self.attempt.checkpoints.append(early).await.map_err(Stop::persistence)?;
        }
        let durable = self.writer.commit(commit).await.map_err(Stop::destination)?;
        self.note(durable, "commit-before-ledger").await
    }

    /// The planted bug: entries for marks that are not durable yet.
    fn planned(&self, commit: &Commit) -> Vec<protocol::checkpoint::Entry> {
        use protocol::checkpoint::{Entry, EntryKind, Line, Place, Why};
        let entry = |stream: &connector::StreamCommit| {
            let line = |(index, counts): &(StreamIndex, Counts)| Line {
                stream: self.names[index.0].clone(),
                generation: self.resumption.streams[index.0].plan.generation().unwrap_or_default(),
                place: Place::Final,
                counts: *counts,
            };
            Entry {
                point: stream.point,
                kind: EntryKind::Stream,
                why: Why::Sync,
                job: Some(self.attempt.claim.job),
                attempt: Some(self.attempt.claim.attempt),
                state: stream.state.clone(),
                lines: stream.counts.iter().map(line).collect(),
            }
        };
        commit.streams.iter().map(entry).collect()
    }

    /// Rows that no mark covers leave memory: the destination keeps them where `recover` drops them.
    pub async fn spill(&mut self) -> Step {
        let batches: Vec<Batch> = self.buckets.iter_mut().flat_map(Bucket::take_uncovered).collect();
        if batches.is_empty() {
            return Ok(());
        }
        self.writer.spill(batches).await.map_err(Stop::destination)
    }

    /// Holds nothing any more.
    pub async fn let_go(&mut self) -> Step {
        self.flush().await?;
        self.spill().await
    }

    /// Notes in the ledger what became durable; only then does a mark count as acknowledged.
    async fn note(&mut self, durable: Vec<Durable>, before_ledger: &str) -> Step {
        let mut entries = Vec::with_capacity(durable.len());
        let mut added = Tallies::new();
        for durable in &durable {
            let Some(bucket) = self.buckets.iter_mut().find(|bucket| bucket.scope == durable.scope) else {
                return Err(Stop::destination(Error::system("The destination confirmed a mark of no stream")));
            };
            let noted = bucket.answer(durable, &self.attempt.claim, &self.names).map_err(Stop::destination)?;
            for (stream, counts) in noted.added {
                *added.entry(stream).or_default() += counts;
            }
            entries.push(noted.entry);
            for line in &durable.position.lines {
                if let Some(index) = self.names.iter().position(|name| *name == line.stream) {
                    self.tallies[index].total = Some(line.counts.written);
                }
            }
        }
        for (stream, counts) in &added {
            self.tallies[*stream].written += counts.written;
        }
        point(before_ledger);
        if !entries.is_empty() {
            self.attempt.checkpoints.append(entries).await.map_err(Stop::persistence)?;
        }
        point("ledger-after");
        for (stream, counts) in added {
            self.tallies[stream].stats.committed += counts;
        }
        Ok(())
    }

    /// Ends a stream that the source has read to its end, unless it shares its state with others, or may.
    async fn end_if_alone(&mut self, index: usize) -> Step {
        let tally = &self.tallies[index];
        if self.kind != Some(StateKind::Stream) || tally.read.is_none() || tally.stats.complete {
            return Ok(());
        }
        self.end(index, vec![index]).await
    }

    /// Last rows, then merge or swap, and the `end`, in one transaction.
    async fn end(&mut self, bucket: usize, streams: Vec<usize>) -> Step {
        for index in &streams {
            self.tallies[*index].check_read().map_err(Stop::replication)?;
        }
        let commit = self.buckets[bucket].take_all();
        let complete = Complete { commit, streams: streams.iter().copied().map(StreamIndex).collect() };
        let durable = self.writer.complete(complete).await.map_err(Stop::destination)?;
        self.note(durable, "complete-before-ledger").await?;
        if !self.buckets[bucket].is_answered() {
            let text = "The destination did not confirm the end of a stream";
            return Err(Stop::destination(Error::system(text)));
        }
        for index in streams {
            self.tallies[index].stats.complete = true;
        }
        Ok(())
    }

    /// The source has ended well: every stream is complete, whether it said so or not.
    pub async fn finish(mut self) -> Step {
        for index in self.open.clone() {
            let tally = &mut self.tallies[index];
            if tally.read.is_none() {
                let emitted = tally.stats.emitted;
                tally.read = Some(emitted);
                self.log.warn(format!(
                    "The source ended without saying that stream `{}` is complete; the {emitted} rows that arrived count as read",
                    self.names[index]
                ));
            }
        }
        if self.kind.is_none() && self.resumption.shared.is_some() {
            self.share_one_bucket();
        }
        if self.buckets[0].scope == Scope::All {
            self.end(0, self.open.clone()).await?;
        } else {
            for index in self.open.clone() {
                if !self.tallies[index].stats.complete {
                    self.end(index, vec![index]).await?;
                }
            }
        }
        for index in &self.open {
            self.tallies[*index].check().map_err(Stop::replication)?;
        }
        Ok(())
    }
}
