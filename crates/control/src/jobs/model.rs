//! What is told of a job and its attempts, and what is stored of them beside the columns. Start with [`JobInfo`].

use protocol::StreamDescriptor;
use serde::{Deserialize, Serialize};
pub use store::{AttemptStatus, JobKind, JobStatus};
use uuid::Uuid;

use crate::runner::{Failure, FailureOrigin, FailureType, StreamStats};

/// A job with its attempts, the oldest first.
#[derive(Clone, Debug)]
pub struct JobInfo {
    pub job: Job,
    pub attempts: Vec<Attempt>,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub id: i64,
    pub connection_id: Uuid,
    pub kind: JobKind,
    pub status: JobStatus,
    /// The streams that a reset empties; none for a sync.
    pub reset_streams: Option<Vec<StreamDescriptor>>,
    /// Epoch milliseconds.
    pub created_ms: i64,
    /// Epoch milliseconds.
    pub updated_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 0.
    pub number: i64,
    pub status: AttemptStatus,
    /// Totals of this attempt; of a running one the newest figures.
    pub streams: Vec<StreamStats>,
    /// The cause first.
    pub failures: Vec<Failure>,
    /// Only where it was asked for.
    pub log: Vec<String>,
    /// Epoch milliseconds.
    pub created_ms: i64,
    /// Epoch milliseconds.
    pub updated_ms: i64,
    /// Epoch milliseconds.
    pub ended_ms: Option<i64>,
}

impl Attempt {
    /// Rows committed, and their estimated JSON bytes, over all streams.
    pub fn committed(&self) -> (i64, i64) {
        self.streams.iter().fold((0, 0), |(rows, bytes), stream| {
            (rows.saturating_add(stream.committed.written), bytes.saturating_add(stream.committed.bytes))
        })
    }
}

/// The stored document of a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct JobDoc {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<ResetDoc>,
    /// Lines for the head of the first attempt's log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// A reset of these streams follows at once when this job has ended, however it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then_reset: Option<Vec<StreamDescriptor>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResetDoc {
    pub streams: Vec<StreamDescriptor>,
    /// Reserved when the job was created, so that every attempt of it writes the same.
    pub origin: i64,
}

/// The stored outcome of an attempt; while it runs, the figures of the last second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OutcomeDoc {
    pub streams: Vec<StreamStats>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

/// A failure that the platform itself reports. `now_ms`: epoch milliseconds.
pub(crate) fn platform_failure(failure_type: FailureType, message: impl Into<String>, now_ms: i64) -> Failure {
    Failure {
        failure_origin: FailureOrigin::AirbytePlatform,
        failure_type,
        external_message: message.into(),
        internal_message: None,
        stacktrace: None,
        retryable: failure_type == FailureType::SystemError,
        timestamp: now_ms,
    }
}
