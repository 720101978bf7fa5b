//! The checkpoints of one attempt, in the store, under its claim.

use async_trait::async_trait;
use connector::{Error, ErrorKind, Result};
use control::clock::{Clock, SystemClock};
use engine::checkpoints::Checkpoints;
use protocol::{
    StreamDescriptor,
    checkpoint::{Chain, Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
};
use store::{Priority, Store, Tx};
use uuid::Uuid;

pub struct Ledger {
    store: Store,
    claim: Claim,
    connection: Uuid,
}

impl Ledger {
    pub fn new(store: Store, claim: Claim) -> Result<Self> {
        let connection = Uuid::parse_str(&claim.connection)
            .map_err(|error| Error::system("The claim names no connection").with_source(error))?;
        Ok(Self { store, claim, connection })
    }

    async fn read(&self) -> Result<Tx> {
        self.store.read().await.map_err(failed)
    }

    /// A transaction in which the claim holds (Invariant 3).
    async fn write(&self) -> Result<Tx> {
        let mut tx = self.store.write(Priority::Ledger).await.map_err(failed)?;
        tx.confirm_claim(&self.claim, now_ms()).await.map_err(failed)?;
        Ok(tx)
    }
}

#[async_trait]
impl Checkpoints for Ledger {
    async fn chains(&self) -> Result<Vec<Chain>> {
        let mut tx = self.read().await?;
        tx.chains(self.connection).await.map_err(failed)
    }

    async fn confirm(&self, highest_origin: i64) -> Result<()> {
        let mut tx = self.write().await?;
        tx.raise_counter_above(self.connection, highest_origin).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<()> {
        self.store.append_entries(&self.claim, &entries, now_ms()).await.map_err(failed)
    }

    async fn begin(&self, streams: &[StreamDescriptor], why: Why) -> Result<Entry> {
        let mut tx = self.write().await?;
        let mut lines = Vec::new();
        for stream in streams {
            let generation = tx.generation(self.connection, stream).await.map_err(failed)?;
            lines.push(Line { stream: stream.clone(), generation, place: Place::Final, counts: Counts::default() });
        }
        let origin = tx.reserve_origin(self.connection).await.map_err(failed)?;
        let entry = Entry {
            point: Point { origin, seq: 0 },
            kind: EntryKind::Begin,
            why,
            job: Some(self.claim.job),
            attempt: Some(self.claim.attempt),
            state: None,
            lines,
        };
        tx.append_entries(&self.claim, std::slice::from_ref(&entry), now_ms()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(entry)
    }

    async fn reserve_origin(&self) -> Result<i64> {
        let mut tx = self.write().await?;
        let origin = tx.reserve_origin(self.connection).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(origin)
    }

    async fn last_final(&self, origin: i64, streams: &[StreamDescriptor]) -> Result<Option<Entry>> {
        let mut tx = self.read().await?;
        tx.last_final(self.connection, origin, streams).await.map_err(failed)
    }

    async fn job_counts(&self, job: i64) -> Result<Vec<(StreamDescriptor, Counts)>> {
        let mut tx = self.read().await?;
        tx.job_counts(job).await.map_err(failed)
    }

    async fn raise_generation(&self, stream: &StreamDescriptor) -> Result<i64> {
        let mut tx = self.store.write(Priority::Ledger).await.map_err(failed)?;
        let generation = tx.raise_generation(&self.claim, stream, now_ms()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(generation)
    }
}

fn now_ms() -> i64 {
    SystemClock.now().timestamp_millis()
}

/// In the words of the data plane. The engine reports it as a failure of the persistence.
fn failed(error: store::Error) -> Error {
    let kind = match error.kind {
        store::ErrorKind::Fenced => ErrorKind::Fenced,
        store::ErrorKind::Unavailable => ErrorKind::Transient,
        _ => ErrorKind::System,
    };
    Error::new(kind, error.message.clone()).with_source(error)
}
