//! What is remembered of a sync: the entries of the ledger, and the positions that a destination keeps itself.
//!
//! The store appends [`Entry`] rows; a destination writes one [`Position`] per scope in the same transaction as the
//! rows. At the start of an attempt both are compared (`engine::decide`). Counts in an entry's lines are what was added
//! since the previous line of that stream; counts in a position are the running totals of the job that wrote it.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::{StateMessage, StreamDescriptor};

/// Who is writing: one attempt of one job, known by a random owner token. Attempt numbers repeat, tokens do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Identity of the store (the installation); two stores never trust each other's positions.
    pub store: String,
    pub connection: String,
    pub job: i64,
    pub attempt: i64,
    pub owner: String,
}

/// A place in the order of marks: first by chain, then within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// Number of the ledger entry that began the chain.
    pub origin: i64,
    /// Number of the mark within the chain; goes on across attempts and jobs.
    pub seq: i64,
}

/// Rows and estimated JSON bytes of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows, as the source's wire says.
    pub read: i64,
    /// Rows, as the destination answered.
    pub written: i64,
    /// Rows that a mapper left out on purpose.
    pub filtered: i64,
    /// Rows that could not be kept.
    pub rejected: i64,
    /// Estimated JSON bytes of the written rows.
    pub bytes: i64,
}

impl Add for Counts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            written: self.written + other.written,
            filtered: self.filtered + other.filtered,
            rejected: self.rejected + other.rejected,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Counts {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            read: self.read - other.read,
            written: self.written - other.written,
            filtered: self.filtered - other.filtered,
            rejected: self.rejected - other.rejected,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// Where the rows that a state covers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Final,
    Staging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Head of a chain, without a state.
    Begin,
    Stream,
    Global,
    Legacy,
    /// The stream (all streams, for a global state) is complete and its rows are in the final table.
    End,
    /// The final table was emptied; what state remains belongs to the other streams.
    Clear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Begin,
    Sync,
    Reset,
    Refresh,
    Import,
    ApiWrite,
    Rewind,
    /// Found in the destination ahead of the ledger: the process died between the commit and the entry.
    Recovered,
    /// Found in the destination behind the ledger: the destination was restored from a backup.
    Restored,
}

impl Why {
    /// Entries that stand for something a destination made durable; the others are intentions of the store.
    pub fn is_made(self) -> bool {
        matches!(self, Self::Sync | Self::Reset | Self::Refresh | Self::Recovered | Self::Restored)
    }
}

/// One stream in an entry or a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub stream: StreamDescriptor,
    pub generation: i64,
    pub place: Place,
    pub counts: Counts,
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub point: Point,
    pub kind: EntryKind,
    pub why: Why,
    pub job: Option<i64>,
    pub attempt: Option<i64>,
    /// The whole message; `None` where the chain has no state yet or was cleared.
    pub state: Option<StateMessage>,
    /// One line for the stream of a stream state; one per stream otherwise.
    pub lines: Vec<Line>,
}

/// What is known of one stream at the start of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub stream: StreamDescriptor,
    /// The entry with the greatest point that has a line for this stream (not the latest written).
    pub head: Entry,
    /// The greatest point among entries that a commit, a reset or a restore made ([`Why::is_made`]), leaving out those
    /// that a later `restored` entry set aside.
    pub newest_made: Option<Point>,
    /// All origins of this stream that the ledger knows.
    pub origins: Vec<i64>,
    /// The current generation of the stream.
    pub generation: i64,
}

/// A destination keeps one position per stream, or a single one for a source whose state is global (or legacy).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    Stream(StreamDescriptor),
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionKind {
    State,
    End,
    Clear,
}

/// The newest mark that a destination made durable in a scope, as it lies in its commit table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub scope: Scope,
    pub store: String,
    pub job: i64,
    pub attempt: i64,
    pub point: Point,
    pub kind: PositionKind,
    pub state: Option<StateMessage>,
    /// Counts are the running totals of `job`, without rows of an older generation, which were dropped with their staging.
    pub lines: Vec<Line>,
}

impl Position {
    pub fn line(&self, stream: &StreamDescriptor) -> Option<&Line> {
        self.lines.iter().find(|line| line.stream == *stream)
    }
}
