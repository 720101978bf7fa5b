//! Entries that wait for SQLite's one writer are committed together: one write to disk for all attempts that wait.
//!
//! Each append is all or nothing by itself (a savepoint), so a claim that was lost spoils only its own. Entries that were
//! handed over are written even when the caller stops waiting: the rows that they tell of are durable already.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::checkpoint::{Claim, Entry};
use tokio::sync::oneshot;

use crate::{Error, ErrorKind, Priority, Result, Store, Tx};

/// Appends that wait, at most one per running attempt.
#[derive(Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    appends: Vec<Append>,
    /// A task is on its way to write them.
    has_writer: bool,
}

struct Append {
    claim: Claim,
    entries: Vec<Entry>,
    now_ms: i64,
    done: oneshot::Sender<Result<()>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    pub(super) async fn append_in_group(&self, claim: &Claim, entries: &[Entry], now_ms: i64) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let is_first = {
            let mut state = self.inner.waiting.lock();
            state.appends.push(Append { claim: claim.clone(), entries: entries.to_vec(), now_ms, done });
            !std::mem::replace(&mut state.has_writer, true)
        };
        if is_first {
            tokio::spawn(write_groups(self.clone()));
        }
        answer.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Unavailable, "the store stopped before it could answer").with_source(error))
        })
    }
}

/// Writes groups until nothing waits.
async fn write_groups(store: Store) {
    loop {
        {
            let mut state = store.inner.waiting.lock();
            if state.appends.is_empty() {
                state.has_writer = false;
                return;
            }
        }
        let writer = store.write(Priority::Ledger).await;
        // Taken only now: what came while the writer was awaited goes along.
        let group = std::mem::take(&mut store.inner.waiting.lock().appends);
        let tx = match writer {
            Ok(tx) => tx,
            Err(error) => {
                tell_all(group, &error);
                continue;
            }
        };
        write_group(tx, group).await;
    }
}

async fn write_group(mut tx: Tx, group: Vec<Append>) {
    let mut written = Vec::with_capacity(group.len());
    let mut group = group.into_iter();
    while let Some(append) = group.next() {
        match tx.append_or_nothing(&append).await {
            Ok(Ok(())) => written.push(append),
            Ok(Err(refused)) => tell(append.done, Err(refused)),
            Err(broken) => {
                written.push(append);
                written.extend(group);
                tell_all(written, &broken);
                return;
            }
        }
    }
    match tx.commit().await {
        Ok(()) => written.into_iter().for_each(|append| tell(append.done, Ok(()))),
        Err(error) => tell_all(written, &error),
    }
}

impl Tx {
    /// The inner result is that of the append; the outer one that of the transaction.
    async fn append_or_nothing(&mut self, append: &Append) -> Result<Result<()>> {
        sqlx::query("savepoint append").execute(self.conn()).await?;
        let result = self.append_entries(&append.claim, &append.entries, append.now_ms).await;
        if result.is_err() {
            sqlx::query("rollback to append").execute(self.conn()).await?;
        }
        sqlx::query("release append").execute(self.conn()).await?;
        Ok(result)
    }
}

fn tell(done: oneshot::Sender<Result<()>>, result: Result<()>) {
    if done.send(result).is_err() {
        tracing::debug!("an append was written whose caller had stopped waiting");
    }
}

fn tell_all(group: Vec<Append>, error: &Error) {
    for append in group {
        tell(append.done, Err(Error::new(error.kind, error.message.clone())));
    }
}
