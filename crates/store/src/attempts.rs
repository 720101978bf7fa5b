//! Attempts: tries of a job, numbered from 0. An attempt is made by a claim (see [`crate::claims`]) and ended once, by
//! its owner or, when its process died, by whoever voids its lease.
//!
//! A transaction that touches a job and its attempt gets the job first ([`Tx::job`] locks it on Postgres): everybody locks
//! them in that order, so nobody waits in a circle.

use protocol::{Json, checkpoint::Claim};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, any::AnyRow};

use crate::{
    Error, Result, Tx,
    columns::{Columns, placeholders, word},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    Running,
    Failed,
    Succeeded,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub job_id: i64,
    pub number: i64,
    pub status: AttemptStatus,
    /// The random token of the claim.
    pub owner: String,
    pub worker_id: String,
    /// Failures and statistics: the newest progress while it runs.
    pub outcome: Option<Json>,
    /// Ended by the loss of its process.
    pub crashed: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub ended_ms: Option<i64>,
}

const COLUMNS: &str = "select job_id, number, status, owner, worker_id, outcome, crashed, created_ms, updated_ms, \
     ended_ms from attempts";

/// The condition that fences: `$1` job, `$2` attempt, `$3` owner token.
pub(crate) const OWNED: &str = "job_id = $1 and number = $2 and owner = $3 and status = 'running'";

fn decode(row: &AnyRow) -> Result<Attempt> {
    Ok(Attempt {
        job_id: row.int("job_id")?,
        number: row.int("number")?,
        status: row.word("status")?,
        owner: row.text("owner")?,
        worker_id: row.text("worker_id")?,
        outcome: row.opt_json("outcome")?,
        crashed: row.flag("crashed")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
        ended_ms: row.opt_int("ended_ms")?,
    })
}

impl Tx {
    /// Of one job, oldest first.
    pub async fn attempts(&mut self, job: i64) -> Result<Vec<Attempt>> {
        self.attempts_of(&[job]).await
    }

    /// Of several jobs (at most some thousands), by job and number.
    pub async fn attempts_of(&mut self, jobs: &[i64]) -> Result<Vec<Attempt>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let list = placeholders(1, jobs.len());
        let sql = format!("{COLUMNS} where job_id in ({list}) order by job_id, number");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for job in jobs {
            query = query.bind(*job);
        }
        let rows = query.fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    pub async fn attempt(&mut self, job: i64, number: i64) -> Result<Option<Attempt>> {
        let sql = format!("{COLUMNS} where job_id = $1 and number = $2{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(job).bind(number).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// Invariant 3: refuses with `Fenced` unless the claim's attempt runs and is the claim's. Locks it until the end of
    /// the transaction, so that it cannot be voided meanwhile, and notes the time.
    pub async fn confirm_claim(&mut self, claim: &Claim, now_ms: i64) -> Result<()> {
        if claim.store != *self.store_id {
            return Err(Error::fenced("it belongs to another store"));
        }
        let sql = format!("update attempts set updated_ms = $4 where {OWNED}");
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(claim.job)
            .bind(claim.attempt)
            .bind(claim.owner.as_str())
            .bind(now_ms)
            .execute(self.conn())
            .await?;
        if done.rows_affected() == 0 {
            return Err(Error::fenced(format_args!(
                "attempt {} of job {} has ended or has another owner",
                claim.attempt, claim.job
            )));
        }
        Ok(())
    }

    /// Keeps the newest figures of a running attempt. `Fenced` if it is not the claim's any more.
    pub async fn save_progress(&mut self, claim: &Claim, outcome: &Json, now_ms: i64) -> Result<()> {
        self.confirm_claim(claim, now_ms).await?;
        sqlx::query("update attempts set outcome = $3 where job_id = $1 and number = $2")
            .bind(claim.job)
            .bind(claim.attempt)
            .bind(outcome.text())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Ends an attempt. `Fenced`, and nothing is changed, if it has ended already or is another owner's: so what was
    /// cancelled stays cancelled.
    pub async fn end_attempt(
        &mut self,
        claim: &Claim,
        status: AttemptStatus,
        outcome: &Json,
        now_ms: i64,
    ) -> Result<()> {
        self.confirm_claim(claim, now_ms).await?;
        sqlx::query("update attempts set status = $3, outcome = $4, ended_ms = $5 where job_id = $1 and number = $2")
            .bind(claim.job)
            .bind(claim.attempt)
            .bind(word(status))
            .bind(outcome.text())
            .bind(now_ms)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Replaces the outcome of an ended attempt, as to add the reason to one that crashed.
    pub async fn set_attempt_outcome(&mut self, job: i64, attempt: i64, outcome: &Json) -> Result<()> {
        sqlx::query("update attempts set outcome = $3 where job_id = $1 and number = $2 and status <> 'running'")
            .bind(job)
            .bind(attempt)
            .bind(outcome.text())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Ends the running attempt of a job from outside (a cancel that its owner did not answer): its owner is fenced from
    /// now on. Answers the number of the attempt, if one was running.
    pub async fn revoke_attempt(&mut self, job: i64, outcome: &Json, now_ms: i64) -> Result<Option<i64>> {
        let row = sqlx::query(
            "update attempts set status = 'failed', outcome = $2, updated_ms = $3, ended_ms = $3 \
             where job_id = $1 and status = 'running' returning number",
        )
        .bind(job)
        .bind(outcome.text())
        .bind(now_ms)
        .fetch_optional(self.conn())
        .await?;
        row.map(|row| row.int("number")).transpose()
    }
}
