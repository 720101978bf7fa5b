//! Workers: the processes that run attempts, and how the loss of one is noticed.
//!
//! On SQLite there is one process (the data folder is locked), so registering voids whatever an earlier one left open.
//! On Postgres each worker holds a session advisory lock, keyed by its id, on a connection of its own: whoever can take
//! the key of another worker knows that it is gone. Start with [`Store::register_worker`].

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{Backend, Error, ErrorKind, Priority, Result, Store, StoreUrl, Voided, columns::Columns};

/// How often the connection that holds the lock is tried, and how long an answer may take.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The registration of this process as a worker. When it is lost, all claims made under it are lost: stop writing, and
/// register anew. Dropping it gives the lock back without waiting.
pub struct WorkerLease {
    id: String,
    held: watch::Receiver<bool>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl WorkerLease {
    /// Names the worker in claims.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// False once the connection with the lock was lost.
    pub fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// Completes when the lease is lost (on SQLite: never). Cancellable.
    pub async fn lost(&self) {
        let mut held = self.held.clone();
        // The sender lives as long as the lease on SQLite and until the loss on Postgres.
        if held.wait_for(|held| !held).await.is_err() {
            tracing::debug!("the watcher of the worker lease ended");
        }
    }

    /// Gives the lock back, at the end of an orderly stop. Open attempts of this worker are voided by the next process.
    pub async fn release(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for WorkerLease {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Store {
    /// Registers this process as a worker (`kind`: free text, as in `serve`) and voids the attempts of workers that are
    /// gone. On SQLite these are all others: they can only be of earlier processes.
    pub async fn register_worker(&self, kind: &str, now_ms: i64) -> Result<(WorkerLease, Vec<Voided>)> {
        let id = Uuid::new_v4().to_string();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (sender, held) = watch::channel(true);
        match &self.inner.url {
            StoreUrl::Sqlite(_) => {
                let stop = stop.clone();
                // Keeps the sender, so that `lost` waits.
                tasks.spawn(async move {
                    stop.cancelled().await;
                    drop(sender);
                });
            }
            StoreUrl::Postgres(url) => {
                let conn =
                    tokio::time::timeout(CONNECT_TIMEOUT, connect_and_lock(url, &id)).await.map_err(|error| {
                        Error::new(ErrorKind::Unavailable, "the store does not answer").with_source(error)
                    })??;
                tasks.spawn(hold(conn, sender, stop.clone()));
            }
        }
        let lease = WorkerLease { id, held, stop, tasks };
        let mut tx = self.write(Priority::Api).await?;
        sqlx::query("insert into workers (id, kind, started_ms, seen_ms) values ($1, $2, $3, $3)")
            .bind(lease.id.as_str())
            .bind(kind)
            .bind(now_ms)
            .execute(tx.conn())
            .await?;
        tx.commit().await?;
        let voided = self.void_gone_workers(&lease.id, now_ms).await?;
        Ok((lease, voided))
    }

    /// Voids the attempts of workers that are gone. To be called every 2 s where several processes share the store; on
    /// SQLite it does nothing.
    pub async fn sweep_dead_workers(&self, own: &WorkerLease, now_ms: i64) -> Result<Vec<Voided>> {
        match self.backend() {
            Backend::Sqlite => Ok(Vec::new()),
            Backend::Postgres => self.void_gone_workers(&own.id, now_ms).await,
        }
    }

    async fn void_gone_workers(&self, own: &str, now_ms: i64) -> Result<Vec<Voided>> {
        let mut tx = self.read().await?;
        let rows = sqlx::query(
            "select id as worker from workers where id <> $1 union \
             select worker_id as worker from attempts where status = 'running' and worker_id <> $1",
        )
        .bind(own)
        .fetch_all(tx.conn())
        .await?;
        drop(tx);
        let mut voided = Vec::new();
        for row in rows {
            let worker = row.text("worker")?;
            let mut tx = self.write(Priority::Api).await?;
            if self.backend() == Backend::Postgres {
                let row = sqlx::query("select cast(pg_try_advisory_xact_lock($1) as int)::bigint as gone")
                    .bind(lock_key(&worker))
                    .fetch_one(tx.conn())
                    .await?;
                if !row.flag("gone")? {
                    continue;
                }
            }
            let lost = tx.void_worker(&worker, now_ms).await?;
            tx.commit().await?;
            if !lost.is_empty() {
                tracing::warn!(worker, attempts = lost.len(), "a worker is gone; its attempts were voided");
            }
            voided.extend(lost);
        }
        Ok(voided)
    }
}

/// The advisory key of a worker: the first 8 bytes of its id.
fn lock_key(worker: &str) -> i64 {
    let id = Uuid::parse_str(worker).unwrap_or_default();
    let (high, _) = id.as_u64_pair();
    i64::from_ne_bytes(high.to_ne_bytes())
}

async fn connect_and_lock(url: &str, worker: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    // The server must notice within 10 s that this machine is gone, too: else nobody could take the key.
    let options = options.application_name("leat worker lease").options([
        ("tcp_keepalives_idle", "3"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
    ]);
    let mut conn = PgConnection::connect_with(&options).await?;
    sqlx::query("select pg_advisory_lock($1)").bind(lock_key(worker)).execute(&mut conn).await?;
    Ok(conn)
}

/// Holds the connection until it breaks or the lease is given back.
async fn hold(mut conn: PgConnection, held: watch::Sender<bool>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(PING_EVERY) => {}
        }
        let answer = tokio::time::timeout(PING_TIMEOUT, conn.ping()).await;
        if !matches!(answer, Ok(Ok(()))) {
            tracing::error!("the connection that holds this worker's lease was lost; its attempts stop");
            held.send_replace(false);
            stop.cancelled().await;
            return;
        }
    }
    // The server frees the lock with the session; a failure here means that it is gone already.
    let _ = tokio::time::timeout(PING_TIMEOUT, conn.close()).await;
    held.send_replace(false);
}
