//! A transaction: what every repository method runs on.

use std::sync::Arc;

use sqlx::{Any, AnyConnection, Transaction};

use crate::{MasterKey, Result, gate::Turn};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// In which queue a write waits where there is one writer (SQLite). Nothing waits while holding the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// API calls and claims.
    Api,
    /// Ledger entries, progress, logs, housekeeping.
    Ledger,
}

/// One transaction, for reading ([`Store::read`](crate::Store::read): one snapshot) or writing
/// ([`Store::write`](crate::Store::write)). Dropped without [`Tx::commit`] it is rolled back.
///
/// On SQLite a write holds the only writer: do no other waiting between `write` and `commit`. On Postgres methods that
/// get *one* row by its id lock that row in a write transaction, so that "read, decide, write" is safe on both.
pub struct Tx {
    // Before `turn`: the transaction must be ended before the next writer is let in.
    inner: Transaction<'static, Any>,
    backend: Backend,
    writes: bool,
    pub(crate) store_id: Arc<str>,
    pub(crate) key: Arc<MasterKey>,
    _turn: Option<Turn>,
}

impl Tx {
    pub(crate) fn new(
        inner: Transaction<'static, Any>,
        backend: Backend,
        writes: bool,
        store_id: Arc<str>,
        key: Arc<MasterKey>,
        turn: Option<Turn>,
    ) -> Self {
        Self { inner, backend, writes, store_id, key, _turn: turn }
    }

    /// Makes everything durable. After an error nothing was.
    pub async fn commit(self) -> Result<()> {
        Ok(self.inner.commit().await?)
    }

    pub async fn rollback(self) -> Result<()> {
        Ok(self.inner.rollback().await?)
    }

    pub fn backend(&self) -> Backend {
        self.backend
    }

    pub(crate) fn conn(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// The suffix that locks the rows of a `select` that decides what is written (SQLite has only one writer anyway).
    pub(crate) fn lock_rows(&self) -> &'static str {
        match self.backend {
            // Not `for update`: that would also block the foreign-key checks of ledger entries.
            Backend::Postgres if self.writes => " for no key update",
            _ => "",
        }
    }
}
