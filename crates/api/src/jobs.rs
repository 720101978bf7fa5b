//! Jobs and attempts over HTTP: sync, reset and cancel, and reading what ran.
//!
//! Times of jobs and attempts are epoch seconds, those of failures milliseconds; enum values are only those that the
//! oldest contract knows. Start with [`routes`].

use axum::extract::State;
use control::{
    jobs::{Attempt, AttemptStatus, Job, JobInfo, JobKind, JobList, JobQuery, JobStatus},
    runner::{ActorKind, Failure, StreamStats},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body},
    definitions::{DestinationDefinitionRead, SourceDefinitionRead},
    ids::ConnectionIdRequestBody,
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/connections/sync", sync)
        .post("/connections/reset", reset)
        .post("/jobs/list", list)
        .post("/jobs/get", get)
        .post("/jobs/get_light", get_light)
        .post("/jobs/get_last_replication_job", get_last_replication_job)
        .post("/jobs/get_debug_info", get_debug_info)
        .post("/jobs/cancel", cancel)
}

#[derive(Debug, Deserialize)]
struct JobIdRequest {
    id: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobListRequest {
    /// Absent or empty = all.
    config_types: Option<Vec<ConfigType>>,
    /// The id of a connection; anything else has no jobs.
    config_id: String,
    including_job_id: Option<i64>,
    pagination: Option<Pagination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    page_size: Option<u32>,
    row_offset: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConfigType {
    CheckConnectionSource,
    CheckConnectionDestination,
    DiscoverSchema,
    GetSpec,
    Sync,
    ResetConnection,
}

impl ConfigType {
    fn of(kind: JobKind) -> Self {
        match kind {
            JobKind::Sync => Self::Sync,
            JobKind::ResetConnection => Self::ResetConnection,
        }
    }

    /// Checks, discovers and specifications leave no job behind.
    fn kind(self) -> Option<JobKind> {
        match self {
            Self::Sync => Some(JobKind::Sync),
            Self::ResetConnection => Some(JobKind::ResetConnection),
            _ => None,
        }
    }
}

/// `JobInfoRead`
#[derive(Debug, Serialize)]
struct JobInfoRead {
    job: JobRead,
    attempts: Vec<AttemptInfoRead>,
}

/// `JobRead`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobRead {
    id: i64,
    config_type: ConfigType,
    config_id: String,
    created_at: i64,
    updated_at: i64,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_config: Option<ResetConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregated_stats: Option<JobAggregatedStats>,
}

/// `ResetConfig`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResetConfig {
    streams_to_reset: Vec<protocol::StreamDescriptor>,
}

/// `AttemptInfoRead`
#[derive(Debug, Serialize)]
struct AttemptInfoRead {
    attempt: AttemptRead,
    logs: LogRead,
}

/// `LogRead`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRead {
    log_lines: Vec<String>,
}

/// `AttemptRead`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptRead {
    id: i64,
    status: &'static str,
    created_at: i64,
    updated_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    bytes_synced: i64,
    records_synced: i64,
    total_stats: AttemptStats,
    stream_stats: Vec<AttemptStreamStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_summary: Option<AttemptFailureSummary>,
}

/// `AttemptStats`, with the newer `bytesCommitted`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptStats {
    records_emitted: i64,
    bytes_emitted: i64,
    state_messages_emitted: i64,
    records_committed: i64,
    bytes_committed: i64,
}

/// `AttemptStreamStats`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptStreamStats {
    stream_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_namespace: Option<String>,
    stats: AttemptStats,
}

/// `AttemptFailureSummary`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptFailureSummary {
    failures: Vec<Failure>,
    partial_success: bool,
}

/// `JobReadList`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobReadList {
    jobs: Vec<JobWithAttemptsRead>,
    total_job_count: i64,
}

/// `JobAggregatedStats` of the newer contract: over all attempts.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobAggregatedStats {
    records_emitted: i64,
    bytes_emitted: i64,
    records_committed: i64,
    bytes_committed: i64,
    records_rejected: i64,
}

impl JobAggregatedStats {
    fn of(attempts: &[Attempt]) -> Self {
        let mut sum = Self::default();
        for stream in attempts.iter().flat_map(|attempt| &attempt.streams) {
            sum.records_emitted += stream.emitted;
            sum.bytes_emitted += stream.emitted_bytes;
            sum.records_committed += stream.committed.written;
            sum.bytes_committed += stream.committed.bytes;
            sum.records_rejected += stream.committed.rejected;
        }
        sum
    }
}

/// `JobWithAttemptsRead`
#[derive(Debug, Serialize)]
struct JobWithAttemptsRead {
    job: JobRead,
    attempts: Vec<AttemptRead>,
}

/// `JobInfoLightRead`, `JobOptionalRead`
#[derive(Debug, Serialize)]
struct JobOnlyRead {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobRead>,
}

/// `JobDebugInfoRead`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobDebugInfoRead {
    job: JobDebugRead,
    attempts: Vec<AttemptInfoRead>,
    workflow_state: WorkflowStateRead,
}

/// `JobDebugRead`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobDebugRead {
    id: i64,
    config_type: ConfigType,
    config_id: String,
    status: &'static str,
    airbyte_version: &'static str,
    source_definition: SourceDefinitionRead,
    destination_definition: DestinationDefinitionRead,
}

/// `WorkflowStateRead`
#[derive(Debug, Serialize)]
struct WorkflowStateRead {
    running: bool,
}

fn status_word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Incomplete => "incomplete",
        JobStatus::Succeeded => "succeeded",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
    }
}

impl From<Job> for JobRead {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            config_type: ConfigType::of(job.kind),
            config_id: job.connection_id.to_string(),
            created_at: job.created_ms.div_euclid(1_000),
            updated_at: job.updated_ms.div_euclid(1_000),
            status: status_word(job.status),
            reset_config: job.reset_streams.map(|streams_to_reset| ResetConfig { streams_to_reset }),
            aggregated_stats: None,
        }
    }
}

impl JobRead {
    fn with_stats(job: Job, attempts: &[Attempt]) -> Self {
        Self { aggregated_stats: Some(JobAggregatedStats::of(attempts)), ..job.into() }
    }
}

impl From<&StreamStats> for AttemptStats {
    fn from(stream: &StreamStats) -> Self {
        Self {
            records_emitted: stream.emitted,
            bytes_emitted: stream.emitted_bytes,
            state_messages_emitted: stream.states,
            records_committed: stream.committed.written,
            bytes_committed: stream.committed.bytes,
        }
    }
}

impl From<Attempt> for AttemptRead {
    fn from(attempt: Attempt) -> Self {
        let (records_synced, bytes_synced) = attempt.committed();
        let mut total_stats = AttemptStats::default();
        for stream in attempt.streams.iter().map(AttemptStats::from) {
            total_stats.records_emitted += stream.records_emitted;
            total_stats.bytes_emitted += stream.bytes_emitted;
            total_stats.state_messages_emitted += stream.state_messages_emitted;
            total_stats.records_committed += stream.records_committed;
            total_stats.bytes_committed += stream.bytes_committed;
        }
        let stream_stats = attempt.streams.iter().map(|stream| AttemptStreamStats {
            stream_name: stream.stream.name.clone(),
            stream_namespace: stream.stream.namespace.clone(),
            stats: stream.into(),
        });
        let partial_success = records_synced > 0;
        let failures = attempt.failures;
        Self {
            id: attempt.number,
            status: match attempt.status {
                AttemptStatus::Running => "running",
                AttemptStatus::Failed => "failed",
                AttemptStatus::Succeeded => "succeeded",
            },
            created_at: attempt.created_ms.div_euclid(1_000),
            updated_at: attempt.updated_ms.div_euclid(1_000),
            ended_at: attempt.ended_ms.map(|ms| ms.div_euclid(1_000)),
            bytes_synced,
            records_synced,
            stream_stats: stream_stats.collect(),
            total_stats,
            failure_summary: (!failures.is_empty()).then_some(AttemptFailureSummary { failures, partial_success }),
        }
    }
}

impl From<Attempt> for AttemptInfoRead {
    fn from(mut attempt: Attempt) -> Self {
        let log_lines = std::mem::take(&mut attempt.log);
        Self { attempt: attempt.into(), logs: LogRead { log_lines } }
    }
}

impl From<JobInfo> for JobInfoRead {
    fn from(info: JobInfo) -> Self {
        let job = JobRead::with_stats(info.job, &info.attempts);
        Self { job, attempts: info.attempts.into_iter().map(Into::into).collect() }
    }
}

async fn sync(
    State(state): State<AppState>,
    Body(request): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<JobInfoRead>> {
    Ok(Answer(state.control.sync(request.connection_id).await?.into()))
}

async fn reset(
    State(state): State<AppState>,
    Body(request): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<JobInfoRead>> {
    Ok(Answer(state.control.reset(request.connection_id, None).await?.into()))
}

async fn cancel(State(state): State<AppState>, Body(request): Body<JobIdRequest>) -> ApiResult<Answer<JobInfoRead>> {
    Ok(Answer(state.control.cancel(request.id).await?.into()))
}

async fn get(State(state): State<AppState>, Body(request): Body<JobIdRequest>) -> ApiResult<Answer<JobInfoRead>> {
    Ok(Answer(state.control.job_info(request.id).await?.into()))
}

async fn get_light(State(state): State<AppState>, Body(request): Body<JobIdRequest>) -> ApiResult<Answer<JobOnlyRead>> {
    let job = state.control.job_light(request.id).await?;
    Ok(Answer(JobOnlyRead { job: Some(job.into()) }))
}

async fn get_last_replication_job(
    State(state): State<AppState>,
    Body(request): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<JobOnlyRead>> {
    let job = state.control.last_replication_job(request.connection_id).await?;
    Ok(Answer(JobOnlyRead { job: job.map(Into::into) }))
}

async fn list(State(state): State<AppState>, Body(request): Body<JobListRequest>) -> ApiResult<Answer<JobReadList>> {
    let types = request.config_types.unwrap_or_default();
    let kinds: Vec<JobKind> = types.iter().filter_map(|wanted| wanted.kind()).collect();
    let connection = request.config_id.parse::<Uuid>().ok();
    let nothing = connection.is_none() || (kinds.is_empty() && !types.is_empty());
    let Some(connection) = connection.filter(|_| !nothing) else {
        return Ok(Answer(JobReadList { jobs: Vec::new(), total_job_count: 0 }));
    };
    let page = request.pagination.unwrap_or_default();
    let query = JobQuery {
        connection,
        kinds,
        including: request.including_job_id,
        page_size: page.page_size,
        offset: page.row_offset.unwrap_or_default(),
    };
    let JobList { jobs, total } = state.control.jobs(&query).await?;
    let with_attempts = |info: JobInfo| JobWithAttemptsRead {
        job: JobRead::with_stats(info.job, &info.attempts),
        attempts: info.attempts.into_iter().map(Into::into).collect(),
    };
    Ok(Answer(JobReadList { jobs: jobs.into_iter().map(with_attempts).collect(), total_job_count: total }))
}

async fn get_debug_info(
    State(state): State<AppState>,
    Body(request): Body<JobIdRequest>,
) -> ApiResult<Answer<JobDebugInfoRead>> {
    let control = &state.control;
    let info = control.job_info(request.id).await?;
    let (connection, _) = control.connection(info.job.connection_id).await?;
    let source = control.actor(ActorKind::Source, connection.source_id).await?;
    let destination = control.actor(ActorKind::Destination, connection.destination_id).await?;
    let job = JobDebugRead {
        id: info.job.id,
        config_type: ConfigType::of(info.job.kind),
        config_id: info.job.connection_id.to_string(),
        status: status_word(info.job.status),
        airbyte_version: env!("CARGO_PKG_VERSION"),
        source_definition: control.definition(ActorKind::Source, source.definition_id).await?.into(),
        destination_definition: control.definition(ActorKind::Destination, destination.definition_id).await?.into(),
    };
    let workflow_state = WorkflowStateRead { running: !info.job.status.is_final() };
    Ok(Answer(JobDebugInfoRead { job, attempts: info.attempts.into_iter().map(Into::into).collect(), workflow_state }))
}
