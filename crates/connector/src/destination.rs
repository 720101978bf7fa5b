//! Where rows go to, and how they become durable together with the mark that covers them.
//!
//! The engine owns *when* (bytes, time, marks), the writer owns *how*. One attempt calls, in this order:
//! [`Writer::recover`] (always first: takes the fence, reads the positions, drops leftovers), [`Writer::start`] (tables
//! as the streams need them), then any number of [`Writer::spill`] and [`Writer::commit`], and [`Writer::complete`] as
//! streams end; or [`Writer::clear`] for a reset. Each of them that writes is one transaction that first compares the
//! fence token and the position, and stops with `Fenced` or `Moved` where they are not what this attempt left
//! (Invariant 3).

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{
    ColumnType, DestinationSyncMode, StateMessage, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Counts, Line, Point, Position, Scope},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Batch, Result, Spec, StreamIndex};

#[async_trait]
pub trait Destination: Send + Sync {
    fn spec(&self) -> Spec;

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()>;

    /// Connects. Writes nothing and creates nothing but the file or the connection itself.
    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>>;
}

#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub config: Value,
    pub claim: Claim,
    /// Every stream of the connection, in the order of the catalog, also in a reset of one: names that collide in the
    /// destination are told apart by their place in this list.
    pub targets: Vec<Target>,
    /// The whole attempt: ends waits and interrupts statements.
    pub cancel: CancellationToken,
    /// Lines for the log of the attempt (a long wait for another writer, a renamed column, ...).
    pub notes: Notes,
}

/// A line for the attempt's log.
pub type Notes = tokio::sync::mpsc::UnboundedSender<(tracing::Level, String)>;

/// A stream as the destination sees it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name in the source. Staging is named by this and the connection, never by the name in the destination, which
    /// users edit.
    pub stream: StreamDescriptor,
    /// Name in the destination, after namespace rule and prefix.
    pub table: StreamDescriptor,
    pub columns: Vec<(String, ColumnType)>,
    pub sync_mode: SyncMode,
    pub mode: DestinationSyncMode,
    /// Top-level fields.
    pub primary_key: Vec<String>,
    /// Top-level field.
    pub cursor: Option<String>,
    /// As of the claim. A later attempt may raise it before [`Writer::start`].
    pub generation: i64,
}

impl Target {
    /// Whether rows wait beside the final table until the stream is complete: every full refresh, and everything that
    /// merges by key. Only an incremental append writes straight into the final table.
    pub fn stages(&self) -> bool {
        self.sync_mode == SyncMode::FullRefresh || self.merges()
    }

    /// Whether rows meet the final table by key.
    pub fn merges(&self) -> bool {
        matches!(self.mode, DestinationSyncMode::AppendDedup | DestinationSyncMode::OverwriteDedup)
    }

    /// Whether completion replaces the rows of older generations.
    pub fn truncates(&self) -> bool {
        self.sync_mode == SyncMode::FullRefresh
            && matches!(self.mode, DestinationSyncMode::Overwrite | DestinationSyncMode::OverwriteDedup)
    }
}

/// Asked inside the transaction that takes the fence over, before it commits: is the claim still ours in the store, and
/// does the store know an entry counter above every origin found?
#[async_trait]
pub trait Admission: Send + Sync {
    async fn confirm(&self, positions: &[Position]) -> Result<()>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// What the destination remembers of this connection, and the generation of each staging table that was kept
    /// (`None` where there is none). A staging table is kept only if the position of the same store names it and, in full
    /// refresh, its generation is the current one; tails are always dropped.
    Positions { positions: Vec<Position>, staging: Vec<(StreamDescriptor, Option<i64>)> },
    /// The destination cannot remember: at-least-once.
    Unknown,
}

/// How a stream begins in this attempt, after `recover` and the decision made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPlan {
    /// Nothing is kept of an earlier attempt: staging is dropped and begun again under this generation.
    Fresh { generation: i64 },
    /// Rows of an earlier attempt, in staging of this generation or in the final table, stay.
    Resume { generation: i64 },
    /// The stream has its `end` in this job already: it is left alone.
    Done,
}

impl StreamPlan {
    pub fn generation(&self) -> Option<i64> {
        match self {
            Self::Fresh { generation } | Self::Resume { generation } => Some(*generation),
            Self::Done => None,
        }
    }
}

/// Rows up to marks, to be made durable together in one transaction.
#[derive(Debug)]
pub struct Commit {
    /// One for a stream state; for a global or legacy state one mark covers all streams.
    pub streams: Vec<StreamCommit>,
}

#[derive(Debug)]
pub struct StreamCommit {
    pub scope: Scope,
    /// Rows since the last commit or spill, in order; batches of several streams for [`Scope::All`].
    pub batches: Vec<Batch>,
    pub point: Point,
    pub state: Option<StateMessage>,
    /// Rows read (filtered, rejected) since the last commit of each stream, as the engine knows them; the writer adds
    /// what it wrote and keeps the job's running totals in the position.
    pub counts: Vec<(StreamIndex, Counts)>,
}

/// Streams that are complete: their last rows, then merges and swaps, each with its `end`, in one transaction.
#[derive(Debug)]
pub struct Complete {
    /// Rows after the last mark go only with the `end`: a source that gave no state for them sends them again at the next
    /// sync, but never twice within this job. `point` and `state` are those of the `end`.
    pub commit: StreamCommit,
    /// The streams of the scope that end here.
    pub streams: Vec<StreamIndex>,
}

/// A reset: empties final tables (never drops them), drops staging, writes `clear`, in one transaction.
#[derive(Debug)]
pub struct Clear {
    pub streams: Vec<StreamIndex>,
    pub point: Point,
    /// For a chain with a global or legacy state: what remains for the other streams, under [`Scope::All`], with the place
    /// of their rows. Otherwise each stream gets its own `clear` without a state.
    pub remaining: Option<Remaining>,
}

#[derive(Debug)]
pub struct Remaining {
    pub state: Option<StateMessage>,
    /// Of the streams that are not cleared; the position holds these and one for each stream that is.
    pub lines: Vec<Line>,
}

/// What became durable. `written` is what the destination answered (rows affected), never a batch length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    pub scope: Scope,
    pub point: Point,
    /// The position as it now lies in the destination: running totals of the job.
    pub position: Position,
    /// Rows written since the last mark, per stream.
    pub written: Vec<(StreamIndex, i64)>,
}

#[async_trait]
pub trait Writer: Send {
    /// Takes the fence over in one transaction: waits for a commit of the old owner, refuses a lower (job, attempt) of
    /// the same store, reads the positions in a second statement, drops what is to be dropped, asks `admission`, commits.
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered>;

    /// Prepares tables and columns for the streams, one plan per target.
    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()>;

    /// Rows that no mark covers yet and that memory should not hold: durable in a tail, which `recover` drops.
    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()>;

    /// Accepts rows and marks. Returns the marks that are durable now, oldest first: a transactional destination returns
    /// exactly those given; one that answers later returns what it has answered so far.
    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>>;

    /// Ends streams: every mark before is durable when this returns. Merge and swap report what they did in the notes.
    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>>;

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>>;

    /// Releases what is held. Rows accepted and not committed are forgotten.
    async fn close(self: Box<Self>) -> Result<()>;
}
