//! What an attempt asks of the ledger. The binary implements it over the store, under the attempt's claim; tests and the
//! command line over memory.

use async_trait::async_trait;
use connector::Result;
use protocol::{
    StreamDescriptor,
    checkpoint::{Chain, Counts, Entry, Why},
};

/// Every call is fenced by the claim: `ErrorKind::Fenced` means that another attempt owns the connection, and that this
/// one writes nothing any more (Invariant 3).
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// One chain for each stream of the connection that the ledger knows.
    async fn chains(&self) -> Result<Vec<Chain>>;

    /// Confirms that the claim holds, and raises the connection's entry counter above `highest_origin`.
    async fn confirm(&self, highest_origin: i64) -> Result<()>;

    /// Appends entries in one transaction, in order.
    async fn append(&self, entries: Vec<Entry>) -> Result<()>;

    /// Begins a new chain without a state for these streams: a `begin` entry under a new origin.
    async fn begin(&self, streams: &[StreamDescriptor], why: Why) -> Result<Entry>;

    /// A number for an origin that nothing uses, above all that are known.
    async fn reserve_origin(&self) -> Result<i64>;

    /// The newest entry of this origin that has a line for each of the streams, each with its rows in the final table
    /// (`begin` and `clear` count).
    async fn last_final(&self, origin: i64, streams: &[StreamDescriptor]) -> Result<Option<Entry>>;

    /// What the ledger counted for a job so far, per stream.
    async fn job_counts(&self, job: i64) -> Result<Vec<(StreamDescriptor, Counts)>>;

    /// Raises the generation of a stream and returns the new one.
    async fn raise_generation(&self, stream: &StreamDescriptor) -> Result<i64>;
}
