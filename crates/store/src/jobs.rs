//! Jobs: runs of a connection. pending → running → succeeded | failed | cancelled, incomplete between attempts.
//!
//! At most one job of a connection is active (pending, running or incomplete): that is a unique index, so a second
//! insert is a `Conflict`. The last three statuses are final: a later write changes nothing.

use protocol::Json;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, any::AnyRow};
use uuid::Uuid;

use crate::{
    Result, Tx,
    columns::{Columns, placeholders, word},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Sync,
    ResetConnection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    Pending,
    Running,
    Incomplete,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobStatus {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: i64,
    pub connection_id: Uuid,
    pub kind: JobKind,
    pub status: JobStatus,
    /// What the job is to do (streams and reserved origin of a reset, notices, ...).
    pub doc: Json,
    /// Retry counters.
    pub retry: Json,
    /// Not before this time; `None` = at once.
    pub next_attempt_at_ms: Option<i64>,
    pub cancel_requested: bool,
    pub created_ms: i64,
    pub updated_ms: i64,
}

#[derive(Clone, Debug)]
pub struct NewJob {
    pub connection_id: Uuid,
    pub kind: JobKind,
    pub doc: Json,
    pub retry: Json,
    pub now_ms: i64,
}

/// All given conditions must hold; an empty list of kinds or statuses means all of them.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub connection_id: Option<Uuid>,
    pub kinds: Vec<JobKind>,
    pub statuses: Vec<JobStatus>,
    /// Only jobs with at least this time of creation.
    pub created_from_ms: Option<i64>,
    /// `None` = all.
    pub limit: Option<i64>,
    pub offset: i64,
}

const COLUMNS: &str = "select id, connection_id, kind, status, doc, retry, next_attempt_at_ms, cancel_requested, \
     created_ms, updated_ms from jobs";

const ACTIVE: &str = "status in ('pending', 'running', 'incomplete')";

pub(crate) fn decode(row: &AnyRow) -> Result<Job> {
    Ok(Job {
        id: row.int("id")?,
        connection_id: row.uuid("connection_id")?,
        kind: row.word("kind")?,
        status: row.word("status")?,
        doc: row.json("doc")?,
        retry: row.json("retry")?,
        next_attempt_at_ms: row.opt_int("next_attempt_at_ms")?,
        cancel_requested: row.flag("cancel_requested")?,
        created_ms: row.int("created_ms")?,
        updated_ms: row.int("updated_ms")?,
    })
}

impl Tx {
    /// A new job, `pending`. `Conflict` if the connection has an active one.
    pub async fn insert_job(&mut self, new: &NewJob) -> Result<Job> {
        let row = sqlx::query("update counters set value = value + 1 where name = 'job' returning value")
            .fetch_one(self.conn())
            .await?;
        let id = row.int("value")?;
        sqlx::query(
            "insert into jobs (id, connection_id, kind, status, doc, retry, cancel_requested, created_ms, updated_ms) \
             values ($1, $2, $3, 'pending', $4, $5, 0, $6, $6)",
        )
        .bind(id)
        .bind(new.connection_id.to_string())
        .bind(word(new.kind))
        .bind(new.doc.text())
        .bind(new.retry.text())
        .bind(new.now_ms)
        .execute(self.conn())
        .await?;
        Ok(Job {
            id,
            connection_id: new.connection_id,
            kind: new.kind,
            status: JobStatus::Pending,
            doc: new.doc.clone(),
            retry: new.retry.clone(),
            next_attempt_at_ms: None,
            cancel_requested: false,
            created_ms: new.now_ms,
            updated_ms: new.now_ms,
        })
    }

    pub async fn job(&mut self, id: i64) -> Result<Option<Job>> {
        let sql = format!("{COLUMNS} where id = $1{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// The pending, running or incomplete job of a connection.
    pub async fn active_job(&mut self, connection: Uuid) -> Result<Option<Job>> {
        let sql = format!("{COLUMNS} where connection_id = $1 and {ACTIVE}{}", self.lock_rows());
        let row = sqlx::query(AssertSqlSafe(sql)).bind(connection.to_string()).fetch_optional(self.conn()).await?;
        row.as_ref().map(decode).transpose()
    }

    /// All active jobs, oldest first.
    pub async fn active_jobs(&mut self) -> Result<Vec<Job>> {
        let sql = format!("{COLUMNS} where {ACTIVE} order by created_ms, id");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// Jobs that an attempt may be claimed for now, oldest first.
    pub async fn due_jobs(&mut self, now_ms: i64, limit: i64) -> Result<Vec<Job>> {
        let sql = format!(
            "{COLUMNS} where status in ('pending', 'incomplete') and cancel_requested = 0 \
             and (next_attempt_at_ms is null or next_attempt_at_ms <= $1) order by created_ms, id limit $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(now_ms).bind(limit).fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// Newest first, by time of creation and id.
    pub async fn jobs(&mut self, filter: &JobFilter) -> Result<Vec<Job>> {
        let (conditions, values) = conditions(filter);
        let mut sql = format!("{COLUMNS}{conditions} order by created_ms desc, id desc");
        if filter.limit.is_some() || filter.offset > 0 {
            let next = values.len() + 2;
            sql.push_str(&format!(" limit ${next} offset ${}", next + 1));
        }
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(filter.created_from_ms.unwrap_or(i64::MIN));
        for value in values {
            query = query.bind(value);
        }
        if filter.limit.is_some() || filter.offset > 0 {
            query = query.bind(filter.limit.unwrap_or(i64::MAX)).bind(filter.offset);
        }
        let rows = query.fetch_all(self.conn()).await?;
        rows.iter().map(decode).collect()
    }

    /// How many jobs the filter finds, whatever its limit and offset.
    pub async fn count_jobs(&mut self, filter: &JobFilter) -> Result<i64> {
        let (conditions, values) = conditions(filter);
        let sql = format!("select count(*) as n from jobs{conditions}");
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(filter.created_from_ms.unwrap_or(i64::MIN));
        for value in values {
            query = query.bind(value);
        }
        query.fetch_one(self.conn()).await?.int("n")
    }

    /// Moves a job on. False, and nothing is changed, if it does not exist or has a final status.
    pub async fn set_job_status(&mut self, job: i64, status: JobStatus, now_ms: i64) -> Result<bool> {
        let sql = format!("update jobs set status = $2, updated_ms = $3 where id = $1 and {ACTIVE}");
        let done =
            sqlx::query(AssertSqlSafe(sql)).bind(job).bind(word(status)).bind(now_ms).execute(self.conn()).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Retry counters, and when the next attempt may start. False for a job with a final status.
    pub async fn set_job_retry(&mut self, job: i64, retry: &Json, next_attempt_at_ms: Option<i64>) -> Result<bool> {
        let sql = format!("update jobs set retry = $2, next_attempt_at_ms = $3 where id = $1 and {ACTIVE}");
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(job)
            .bind(retry.text())
            .bind(next_attempt_at_ms)
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    pub async fn set_job_doc(&mut self, job: i64, doc: &Json) -> Result<()> {
        sqlx::query("update jobs set doc = $2 where id = $1").bind(job).bind(doc.text()).execute(self.conn()).await?;
        Ok(())
    }

    /// Asks whoever runs the job to stop; no new attempt is claimed from now on. False for a job with a final status.
    pub async fn request_cancel(&mut self, job: i64, now_ms: i64) -> Result<bool> {
        let sql = format!("update jobs set cancel_requested = 1, updated_ms = $2 where id = $1 and {ACTIVE}");
        let done = sqlx::query(AssertSqlSafe(sql)).bind(job).bind(now_ms).execute(self.conn()).await?;
        Ok(done.rows_affected() > 0)
    }
}

/// The `where` of a filter; `$1` is the earliest time of creation, the values follow from `$2`.
fn conditions(filter: &JobFilter) -> (String, Vec<String>) {
    let mut sql = String::from(" where created_ms >= $1");
    let mut values = Vec::new();
    if let Some(connection) = filter.connection_id {
        sql.push_str(" and connection_id = $2");
        values.push(connection.to_string());
    }
    let lists = [
        ("kind", filter.kinds.iter().map(|kind| word(*kind)).collect::<Vec<_>>()),
        ("status", filter.statuses.iter().map(|status| word(*status)).collect()),
    ];
    for (column, words) in lists {
        if !words.is_empty() {
            sql.push_str(&format!(" and {column} in ({})", placeholders(values.len() + 2, words.len())));
            values.extend(words);
        }
    }
    (sql, values)
}
