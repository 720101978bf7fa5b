//! What is forgotten, and when. Nothing of an active job, and nothing that a sync resumes from, ever is.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use crate::{Priority, Result, Store, columns::Columns};

/// How long things are kept. The newest job of a connection is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Ended jobs with their attempts and logs, in milliseconds after their end.
    pub jobs_ms: i64,
    /// Logs of ended jobs.
    pub logs_ms: i64,
    /// Entries of the ledger that are not needed to resume.
    pub ledger_ms: i64,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Default for Keep {
    fn default() -> Self {
        Self { jobs_ms: 180 * DAY_MS, logs_ms: 30 * DAY_MS, ledger_ms: 180 * DAY_MS }
    }
}

/// How many rows went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub jobs: u64,
    pub log_segments: u64,
    pub entries: u64,
}

/// Jobs per transaction: the writer is not held for long.
const BATCH: i64 = 200;

const FINAL: &str = "status in ('succeeded', 'failed', 'cancelled')";

impl Store {
    /// Forgets what is older than `keep` says, in short transactions.
    pub async fn prune(&self, now_ms: i64, keep: Keep) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        pruned.log_segments += self
            .repeat(&format!(
                "delete from log_segments where job_id in (select j.id from jobs j where {FINAL} and j.updated_ms < $1 \
                 and exists (select 1 from log_segments s where s.job_id = j.id) order by j.id limit $2)"
            ), now_ms - keep.logs_ms)
            .await?;
        pruned.entries += self.prune_ledger(now_ms - keep.ledger_ms).await?;
        pruned.jobs += self.prune_jobs(now_ms - keep.jobs_ms).await?;
        Ok(pruned)
    }

    async fn prune_jobs(&self, before_ms: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let mut tx = self.write(Priority::Ledger).await?;
            let sql = format!(
                "select id from jobs where {FINAL} and updated_ms < $1 and exists (select 1 from jobs newer where \
                 newer.connection_id = jobs.connection_id and newer.id > jobs.id) order by id limit $2"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).bind(before_ms).bind(BATCH).fetch_all(tx.conn()).await?;
            for row in &rows {
                let job = row.int("id")?;
                for sql in [
                    "delete from log_segments where job_id = $1",
                    "delete from attempts where job_id = $1",
                    "delete from jobs where id = $1",
                ] {
                    sqlx::query(sql).bind(job).execute(tx.conn()).await?;
                }
            }
            tx.commit().await?;
            gone += rows.len() as u64;
            if rows.len() < BATCH as usize {
                return Ok(gone);
            }
        }
    }

    /// Old entries that are nobody's resume point: all their streams have a later entry of the same origin with its rows
    /// in the final table, or a later origin that has been committed to.
    async fn prune_ledger(&self, before_ms: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let mut tx = self.write(Priority::Ledger).await?;
            let rows = sqlx::query(
                "select e.connection_id, e.number from ledger_entries e where e.at_ms < $1 \
                 and not exists (select 1 from jobs j where j.connection_id = e.connection_id \
                 and j.status in ('pending', 'running', 'incomplete')) \
                 and not exists (select 1 from ledger_lines l where l.connection_id = e.connection_id \
                 and l.number = e.number and not exists (select 1 from ledger_lines later \
                 where later.connection_id = l.connection_id and later.namespace = l.namespace and later.name = l.name \
                 and (later.origin > l.origin or (later.origin = l.origin and later.seq > l.seq)) \
                 and later.why in ('sync', 'reset', 'refresh', 'recovered', 'restored') and not exists \
                 (select 1 from ledger_lines staged where staged.connection_id = later.connection_id \
                 and staged.number = later.number and staged.place = 'staging'))) limit $2",
            )
            .bind(before_ms)
            .bind(BATCH)
            .fetch_all(tx.conn())
            .await?;
            let mut connections = BTreeSet::new();
            for row in &rows {
                let (connection, number) = (row.text("connection_id")?, row.int("number")?);
                for sql in [
                    "delete from ledger_lines where connection_id = $1 and number = $2",
                    "delete from ledger_entries where connection_id = $1 and number = $2",
                ] {
                    sqlx::query(sql).bind(connection.as_str()).bind(number).execute(tx.conn()).await?;
                }
                connections.insert(connection);
            }
            for connection in connections {
                sqlx::query(
                    "delete from state_blobs where connection_id = $1 and not exists (select 1 from ledger_entries e \
                     where e.connection_id = state_blobs.connection_id and e.state_hash = state_blobs.hash)",
                )
                .bind(connection)
                .execute(tx.conn())
                .await?;
            }
            tx.commit().await?;
            gone += rows.len() as u64;
            if rows.len() < BATCH as usize {
                return Ok(gone);
            }
        }
    }

    /// Runs a bounded delete until it finds nothing more.
    async fn repeat(&self, sql: &str, before_ms: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let mut tx = self.write(Priority::Ledger).await?;
            let done = sqlx::query(AssertSqlSafe(sql.to_owned()))
                .bind(before_ms)
                .bind(BATCH)
                .execute(tx.conn())
                .await?
                .rows_affected();
            tx.commit().await?;
            if done == 0 {
                return Ok(gone);
            }
            gone += done;
        }
    }
}
