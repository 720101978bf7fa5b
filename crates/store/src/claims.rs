//! Claims: who may run an attempt, and what becomes of the attempts of a process that died.
//!
//! Invariant 3: at most one attempt writes to a connection. A claim makes an attempt with a random owner token; every
//! later write of that attempt is made `where attempt = n and owner = token` ([`Tx::confirm_claim`]). A claim names the
//! worker it was made by; when that worker is gone its open attempts are *voided*: failed as crashed, the job due at
//! once. Start with [`Tx::claim_attempt`].

use protocol::{StreamDescriptor, checkpoint::Claim};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{Backend, Error, Job, JobStatus, Result, Tx, columns::Columns, jobs};

/// A stream of the configured catalog, as an attempt is about to sync it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimStream {
    pub stream: StreamDescriptor,
    /// The job rewrites the stream (full refresh, refresh): its generation rises when attempt 0 is claimed.
    pub raise_generation: bool,
}

#[derive(Clone, Debug)]
pub struct ClaimRequest<'a> {
    pub job: i64,
    /// Of [`WorkerLease::id`](crate::WorkerLease::id).
    pub worker: &'a str,
    /// All streams that the attempt touches.
    pub streams: &'a [ClaimStream],
    pub now_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    pub claim: Claim,
    /// As it is now: `running`.
    pub job: Job,
    /// Attempt 0: the generations were raised and new streams got the head of a chain.
    pub first: bool,
    /// Current generation of each stream of the request, in its order.
    pub generations: Vec<(StreamDescriptor, i64)>,
}

/// An attempt whose process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voided {
    pub job: i64,
    pub attempt: i64,
    pub connection: Uuid,
    /// Its job was being cancelled: it must not be started again.
    pub cancel_requested: bool,
}

impl Tx {
    /// Claims the next attempt of a job and sets the job running. `None` if there is nothing to claim: the job is not
    /// pending or incomplete, not due, being cancelled, or (Postgres) is being claimed by another process right now.
    ///
    /// For attempt 0 the same transaction raises the generations and writes the `begin` entry of the streams that have no
    /// line in the ledger yet.
    ///
    /// # Errors
    /// `Fenced`: the worker has lost its lease.
    pub async fn claim_attempt(&mut self, request: &ClaimRequest<'_>) -> Result<Option<Claimed>> {
        self.confirm_worker(request.worker, request.now_ms).await?;
        let Some(mut job) = self.claimable(request.job, request.now_ms).await? else { return Ok(None) };
        let row = sqlx::query("select coalesce(max(number) + 1, 0) as n from attempts where job_id = $1")
            .bind(job.id)
            .fetch_one(self.conn())
            .await?;
        let claim = Claim {
            store: self.store_id.to_string(),
            connection: job.connection_id.to_string(),
            job: job.id,
            attempt: row.int("n")?,
            owner: Uuid::new_v4().to_string(),
        };
        sqlx::query(
            "insert into attempts (job_id, number, status, owner, worker_id, crashed, created_ms, updated_ms) \
             values ($1, $2, 'running', $3, $4, 0, $5, $5)",
        )
        .bind(claim.job)
        .bind(claim.attempt)
        .bind(claim.owner.as_str())
        .bind(request.worker)
        .bind(request.now_ms)
        .execute(self.conn())
        .await?;
        sqlx::query("update jobs set status = 'running', next_attempt_at_ms = null, updated_ms = $2 where id = $1")
            .bind(job.id)
            .bind(request.now_ms)
            .execute(self.conn())
            .await?;
        job.status = JobStatus::Running;
        job.next_attempt_at_ms = None;
        job.updated_ms = request.now_ms;
        let first = claim.attempt == 0;
        if first {
            self.begin_streams(&claim, request.streams, request.now_ms).await?;
        }
        let mut generations = Vec::with_capacity(request.streams.len());
        for wanted in request.streams {
            let generation = self.generation(job.connection_id, &wanted.stream).await?;
            generations.push((wanted.stream.clone(), generation));
        }
        Ok(Some(Claimed { claim, job, first, generations }))
    }

    async fn claimable(&mut self, job: i64, now_ms: i64) -> Result<Option<Job>> {
        let skip = match self.backend() {
            Backend::Postgres => " for no key update skip locked",
            Backend::Sqlite => "",
        };
        let sql = format!(
            "select id, connection_id, kind, status, doc, retry, next_attempt_at_ms, cancel_requested, created_ms, \
             updated_ms from jobs where id = $1 and status in ('pending', 'incomplete') and cancel_requested = 0 \
             and (next_attempt_at_ms is null or next_attempt_at_ms <= $2){skip}"
        );
        let row = sqlx::query(AssertSqlSafe(sql)).bind(job).bind(now_ms).fetch_optional(self.conn()).await?;
        row.as_ref().map(jobs::decode).transpose()
    }

    /// A worker whose lease was voided has no row any more. Locks the row, so that it cannot be voided before the
    /// claim is committed.
    async fn confirm_worker(&mut self, worker: &str, now_ms: i64) -> Result<()> {
        let done = sqlx::query("update workers set seen_ms = $2 where id = $1")
            .bind(worker)
            .bind(now_ms)
            .execute(self.conn())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::fenced("this worker has lost its lease"));
        }
        Ok(())
    }

    /// Removes a worker and voids its open attempts. The caller knows that the worker is gone.
    pub(crate) async fn void_worker(&mut self, worker: &str, now_ms: i64) -> Result<Vec<Voided>> {
        // First the row: a claim of this worker that is under way ends before it, or finds it gone.
        sqlx::query("delete from workers where id = $1").bind(worker).execute(self.conn()).await?;
        // Then the jobs, before their attempts: the order in which everybody locks them.
        let sql = format!(
            "select id from jobs where id in (select job_id from attempts where worker_id = $1 and status = 'running') \
             order by id{}",
            self.lock_rows()
        );
        sqlx::query(AssertSqlSafe(sql)).bind(worker).fetch_all(self.conn()).await?;
        let rows = sqlx::query(
            "update attempts set status = 'failed', crashed = 1, updated_ms = $2, ended_ms = $2 \
             where worker_id = $1 and status = 'running' returning job_id, number",
        )
        .bind(worker)
        .bind(now_ms)
        .fetch_all(self.conn())
        .await?;
        let mut voided = Vec::with_capacity(rows.len());
        for row in rows {
            let (job, attempt) = (row.int("job_id")?, row.int("number")?);
            let row = sqlx::query(
                "update jobs set status = 'incomplete', next_attempt_at_ms = $2, updated_ms = $2 \
                 where id = $1 and status = 'running' returning connection_id, cancel_requested",
            )
            .bind(job)
            .bind(now_ms)
            .fetch_optional(self.conn())
            .await?;
            let Some(row) = row else { continue };
            let (connection, cancel_requested) = (row.uuid("connection_id")?, row.flag("cancel_requested")?);
            voided.push(Voided { job, attempt, connection, cancel_requested });
        }
        voided.sort_by_key(|lost| (lost.job, lost.attempt));
        Ok(voided)
    }
}
