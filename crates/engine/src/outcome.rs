//! What an attempt tells while it runs, and how it ended.

use connector::{Error, ErrorKind};
use protocol::{StreamDescriptor, checkpoint::Counts};
use tokio::sync::mpsc::UnboundedSender;
use tracing::Level;

/// Sending never waits; figures are the newest ones.
#[derive(Clone, Debug)]
pub enum Event {
    /// Running totals of this attempt, one per stream of the catalog; about once a second.
    Progress(Vec<StreamStats>),
    /// A line for the log of the attempt.
    Log { level: Level, message: String },
}

/// Totals of one stream in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStats {
    pub descriptor: StreamDescriptor,
    /// Rows that entered the flow.
    pub emitted: i64,
    /// Their estimated size as JSON, in bytes.
    pub emitted_bytes: i64,
    /// Marks that entered the flow.
    pub states: i64,
    /// What is durable and noted in the ledger.
    pub committed: Counts,
    /// The stream is complete: merged or swapped, with its `end` noted.
    pub complete: bool,
}

#[derive(Debug)]
pub struct Outcome {
    pub result: Ending,
    pub streams: Vec<StreamStats>,
}

#[derive(Debug)]
pub enum Ending {
    Succeeded,
    /// The cause first.
    Failed(Vec<Failure>),
    Cancelled,
    /// Another attempt owns the connection now: nothing may be recorded for this one.
    ClaimLost,
}

/// Whose side a failure is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Source,
    Destination,
    /// The engine: counts that disagree, a catalog that it cannot run.
    Replication,
    /// The ledger.
    Persistence,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub origin: Origin,
    pub kind: ErrorKind,
    /// For the user: what is wrong.
    pub message: String,
    /// For the user: what to do.
    pub hint: Option<String>,
    /// The chain of causes, for whoever looks into it.
    pub internal: Option<String>,
}

/// Why an attempt stops before its end.
#[derive(Debug)]
pub(crate) struct Stop {
    pub origin: Origin,
    pub error: Error,
}

pub(crate) type Step<T = ()> = Result<T, Stop>;

impl Stop {
    pub fn source(error: Error) -> Self {
        Self { origin: Origin::Source, error }
    }

    pub fn destination(error: Error) -> Self {
        Self { origin: Origin::Destination, error }
    }

    pub fn replication(error: Error) -> Self {
        Self { origin: Origin::Replication, error }
    }

    pub fn persistence(error: Error) -> Self {
        Self { origin: Origin::Persistence, error }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(&stop.error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let internal = (!causes.is_empty()).then(|| causes.join(": "));
        Self {
            origin: stop.origin,
            kind: stop.error.kind,
            message: stop.error.message,
            hint: stop.error.hint,
            internal,
        }
    }
}

/// The attempt's log.
#[derive(Clone, Debug)]
pub(crate) struct Log(pub UnboundedSender<Event>);

impl Log {
    pub fn info(&self, message: impl Into<String>) {
        self.line(Level::INFO, message);
    }

    pub fn warn(&self, message: impl Into<String>) {
        self.line(Level::WARN, message);
    }

    pub fn line(&self, level: Level, message: impl Into<String>) {
        // Nobody listens any more: the attempt goes on to its own end.
        let _ = self.0.send(Event::Log { level, message: message.into() });
    }
}
