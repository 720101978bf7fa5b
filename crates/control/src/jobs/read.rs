//! Reading jobs: one, a page of a connection's, the last one.

use std::collections::HashMap;

use store::{JobFilter, JobKind, JobStatus, Tx};
use uuid::Uuid;

use super::{
    create,
    model::{Attempt, Job, JobInfo, OutcomeDoc},
};
use crate::{Control, Error, Result};

/// Upstream's page where a client names none.
const PAGE_SIZE: u32 = 200;
/// Bytes of an attempt's log in an answer, from its end.
const LOG_LIMIT: usize = 4 << 20;

/// Which jobs of a connection: newest first, by creation and id.
#[derive(Clone, Debug)]
pub struct JobQuery {
    pub connection: Uuid,
    /// Empty = all.
    pub kinds: Vec<JobKind>,
    /// Pages from the newest up to the one with this job; the offset does not count then.
    pub including: Option<i64>,
    pub page_size: Option<u32>,
    pub offset: u32,
}

#[derive(Clone, Debug)]
pub struct JobList {
    pub jobs: Vec<JobInfo>,
    /// Of all pages.
    pub total: i64,
}

pub(crate) fn not_found(job: i64) -> Error {
    Error::not_found("JOB", job)
}

impl Control {
    /// A job with its attempts and their logs. 404 for an unknown one.
    pub async fn job_info(&self, id: i64) -> Result<JobInfo> {
        let mut tx = self.read().await?;
        let job = tx.job(id).await?.ok_or_else(|| not_found(id))?;
        let mut infos = self.with_attempts(&mut tx, vec![job]).await?;
        let mut info = infos.pop().ok_or_else(|| not_found(id))?;
        for attempt in &mut info.attempts {
            let text = tx.read_log(id, attempt.number, LOG_LIMIT).await?;
            attempt.log = text.lines().map(str::to_owned).collect();
        }
        Ok(info)
    }

    pub async fn job_light(&self, id: i64) -> Result<Job> {
        let job = self.read().await?.job(id).await?.ok_or_else(|| not_found(id))?;
        told(&job)
    }

    /// The newest sync or reset that was not cancelled.
    pub async fn last_replication_job(&self, connection: Uuid) -> Result<Option<Job>> {
        let filter = JobFilter {
            connection_id: Some(connection),
            statuses: vec![
                JobStatus::Pending,
                JobStatus::Running,
                JobStatus::Incomplete,
                JobStatus::Succeeded,
                JobStatus::Failed,
            ],
            limit: Some(1),
            ..JobFilter::default()
        };
        let jobs = self.read().await?.jobs(&filter).await?;
        jobs.first().map(told).transpose()
    }

    /// A page of a connection's jobs without logs; none for an unknown connection.
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobList> {
        let page_size = i64::from(query.page_size.unwrap_or(PAGE_SIZE));
        let mut tx = self.read().await?;
        let mut filter = JobFilter {
            connection_id: Some(query.connection),
            kinds: query.kinds.clone(),
            limit: Some(page_size),
            offset: i64::from(query.offset),
            ..JobFilter::default()
        };
        let total = tx.count_jobs(&filter).await?;
        if let Some(id) = query.including {
            let Some(wanted) = tx.job(id).await?.filter(|job| job.connection_id == query.connection) else {
                return Ok(JobList { jobs: Vec::new(), total });
            };
            let newer =
                tx.count_jobs(&JobFilter { created_from_ms: Some(wanted.created_ms), ..filter.clone() }).await?;
            filter.offset = 0;
            filter.limit = Some(page_size.max(1) * (newer / page_size.max(1) + 1));
        }
        let jobs = if filter.limit == Some(0) { Vec::new() } else { tx.jobs(&filter).await? };
        Ok(JobList { jobs: self.with_attempts(&mut tx, jobs).await?, total })
    }

    async fn with_attempts(&self, tx: &mut Tx, jobs: Vec<store::Job>) -> Result<Vec<JobInfo>> {
        let mut attempts: HashMap<i64, Vec<store::Attempt>> = HashMap::new();
        let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
        for part in ids.chunks(1_000) {
            for attempt in tx.attempts_of(part).await? {
                attempts.entry(attempt.job_id).or_default().push(attempt);
            }
        }
        let mut infos = Vec::with_capacity(jobs.len());
        for job in jobs {
            let rows = attempts.remove(&job.id).unwrap_or_default();
            let attempts = rows.into_iter().map(|row| self.attempt_of(row)).collect::<Result<_>>()?;
            infos.push(JobInfo { job: told(&job)?, attempts });
        }
        Ok(infos)
    }

    fn attempt_of(&self, row: store::Attempt) -> Result<Attempt> {
        let outcome = row.outcome.as_ref().map(|json| json.to::<OutcomeDoc>()).transpose();
        let mut outcome = outcome.map_err(|error| create::corrupt(row.job_id, error))?.unwrap_or_default();
        if row.status == store::AttemptStatus::Running
            && let Some(newest) = self.inner.dispatch.progress(row.job_id)
        {
            outcome.streams = newest;
        }
        Ok(Attempt {
            number: row.number,
            status: row.status,
            streams: outcome.streams,
            failures: outcome.failures,
            log: Vec::new(),
            created_ms: row.created_ms,
            updated_ms: row.updated_ms,
            ended_ms: row.ended_ms,
        })
    }
}

fn told(job: &store::Job) -> Result<Job> {
    Ok(Job {
        id: job.id,
        connection_id: job.connection_id,
        kind: job.kind,
        status: job.status,
        reset_streams: create::doc(job)?.reset.map(|reset| reset.streams),
        created_ms: job.created_ms,
        updated_ms: job.updated_ms,
    })
}
