//! The flow from a source to the engine: messages in order, bounded in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arrow_array::{Array, ArrayRef, RecordBatch};
use protocol::StateMessage;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{Error, Result};

/// A stream by its place in the catalog that the source was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamIndex(pub usize);

/// Rows of one stream. Columns are named as the properties of the stream's schema; a property without a column is NULL.
#[derive(Debug)]
pub struct Batch {
    pub stream: StreamIndex,
    pub rows: RecordBatch,
    /// Values that were changed on the way, sparse, ordered by row.
    pub changes: Vec<Change>,
    /// Epoch milliseconds; becomes `_airbyte_extracted_at`.
    pub emitted_at: i64,
    /// Held until the rows are encoded and sent: dropping the batch gives its bytes back to the flow.
    reservation: Option<Arc<OwnedSemaphorePermit>>,
}

/// An entry of `_airbyte_meta.changes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Row within the batch.
    pub row: usize,
    pub field: Arc<str>,
    /// `NULLED` or `TRUNCATED`.
    pub change: &'static str,
    /// As in `SOURCE_SERIALIZATION_ERROR`.
    pub reason: &'static str,
}

impl Batch {
    pub fn new(stream: StreamIndex, rows: RecordBatch, emitted_at: i64) -> Self {
        Self { stream, rows, changes: Vec::new(), emitted_at, reservation: None }
    }

    pub fn with_changes(mut self, changes: Vec<Change>) -> Self {
        self.changes = changes;
        self
    }

    /// Other rows (a projection, a mapping) in the place of these, under the same reservation.
    pub fn with_rows(mut self, rows: RecordBatch) -> Self {
        self.rows = rows;
        self
    }

    /// Bytes of memory that these rows take, not those of a larger batch that they may be a slice of.
    pub fn bytes(&self) -> usize {
        let size = |column: &ArrayRef| column.to_data().get_slice_memory_size();
        self.rows.columns().iter().map(|column| size(column).unwrap_or_else(|_| column.get_array_memory_size())).sum()
    }

    /// The same rows from `from` on, `rows` of them, without a copy.
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        let changes = self
            .changes
            .iter()
            .filter(|change| (from..from + rows).contains(&change.row))
            .map(|change| Change { row: change.row - from, ..change.clone() })
            .collect();
        Self {
            stream: self.stream,
            rows: self.rows.slice(from, rows),
            changes,
            emitted_at: self.emitted_at,
            reservation: self.reservation.clone(),
        }
    }
}

#[derive(Debug)]
pub enum SourceMessage {
    Batch(Batch),
    /// A mark: everything of its stream (of all streams, for a global or legacy state) that came before is covered.
    State(StateMessage),
    Status {
        stream: StreamIndex,
        status: StreamStatus,
    },
    /// The last mark of a stream and [`StreamStatus::Complete`] in one: they are committed together, so that no later
    /// attempt of the job finds a finished state without its end (and, where a finished state means "all again", sends
    /// everything twice).
    Last {
        stream: StreamIndex,
        state: StateMessage,
        read: i64,
    },
    Log {
        level: tracing::Level,
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    Started,
    /// The stream was read to its end. `read`: rows as the source's wire counted them in this attempt, independent of
    /// the batches (Invariant 2).
    Complete {
        read: i64,
    },
}

/// The sending half. Cloneable, so that streams can be read side by side.
#[derive(Clone, Debug)]
pub struct Output {
    sender: mpsc::Sender<SourceMessage>,
    budget: Arc<Semaphore>,
    capacity: usize,
    stall: Stall,
}

/// The receiving half.
#[derive(Debug)]
pub struct Input {
    receiver: mpsc::Receiver<SourceMessage>,
    stall: Stall,
}

/// Tells the reader that a producer waits for room: whoever holds rows without need should let go of them.
#[derive(Clone, Debug, Default)]
pub struct Stall {
    waiting: Arc<AtomicUsize>,
    begun: Arc<Notify>,
}

impl Stall {
    /// Returns once for each time that a producer began to wait, if it still waits.
    pub async fn met(&self) {
        loop {
            self.begun.notified().await;
            if self.waiting.load(Ordering::SeqCst) > 0 {
                return;
            }
        }
    }

    fn enter(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        Waiting(&self.waiting)
    }
}

/// A producer that waits; one that is dropped while it waits does not wait any more.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Messages without rows are small; this many may wait.
const MESSAGES: usize = 1024;
/// The budget is counted in units, because a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// A flow that holds at most `capacity` bytes of rows. A batch larger than that is admitted alone.
pub fn channel(capacity: usize) -> (Output, Input) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let capacity = (capacity / UNIT).max(1);
    let stall = Stall::default();
    let budget = Arc::new(Semaphore::new(capacity));
    (Output { sender, budget, capacity, stall: stall.clone() }, Input { receiver, stall })
}

impl Output {
    /// Waits for room. `Err` of kind `Cancelled` means that nobody reads any more: stop.
    pub async fn batch(&self, mut batch: Batch) -> Result<()> {
        let units = batch.bytes().div_ceil(UNIT).clamp(1, self.capacity);
        let permits = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = match self.budget.clone().try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = self.stall.enter();
                tokio::select! {
                    permit = self.budget.clone().acquire_many_owned(permits) => permit.map_err(|_| Error::cancelled())?,
                    // A reader that is gone frees nothing any more.
                    () = self.sender.closed() => return Err(Error::cancelled()),
                }
            }
        };
        batch.reservation = Some(Arc::new(permit));
        self.send(SourceMessage::Batch(batch)).await
    }

    pub async fn state(&self, state: StateMessage) -> Result<()> {
        self.send(SourceMessage::State(state)).await
    }

    pub async fn status(&self, stream: StreamIndex, status: StreamStatus) -> Result<()> {
        self.send(SourceMessage::Status { stream, status }).await
    }

    /// The last mark of a stream, with its end. See [`SourceMessage::Last`].
    pub async fn last(&self, stream: StreamIndex, state: StateMessage, read: i64) -> Result<()> {
        self.send(SourceMessage::Last { stream, state, read }).await
    }

    pub async fn log(&self, level: tracing::Level, message: impl Into<String>) -> Result<()> {
        self.send(SourceMessage::Log { level, message: message.into() }).await
    }

    async fn send(&self, message: SourceMessage) -> Result<()> {
        self.sender.send(message).await.map_err(|_| Error::cancelled())
    }
}

impl Input {
    /// The next message; `None` when every [`Output`] is gone.
    pub async fn next(&mut self) -> Option<SourceMessage> {
        self.receiver.recv().await
    }

    /// Takes nothing more; what was sent already can still be read, then comes `None`.
    pub fn close(&mut self) {
        self.receiver.close();
    }

    pub fn stall(&self) -> Stall {
        self.stall.clone()
    }
}
