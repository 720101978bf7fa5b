//! The port through which the control plane asks for work: spec, check, discover, and one attempt of a job.
//!
//! The binary implements it with the engine and the connector registry; tests implement it with a script.

use async_trait::async_trait;
use protocol::{
    Catalog, ConfiguredCatalog, StreamDescriptor,
    checkpoint::{Claim, Counts},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use store::ActorKind;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Every connector that runs in this process, with its specification.
    fn native(&self) -> Vec<NativeConnector>;

    async fn check(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<CheckOutcome, Failure>;

    async fn discover(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<Catalog, Failure>;

    /// Runs one attempt to its end. Returns only after nothing of it is left running. Ledger entries are written by the
    /// implementor, under the claim.
    async fn run(&self, input: AttemptInput, cancel: CancellationToken, events: EventSink) -> AttemptOutcome;
}

/// A connector built into the binary, under the well-known identity of what it replaces.
#[derive(Clone, Debug)]
pub struct NativeConnector {
    pub kind: ActorKind,
    /// Registry name, as in `sample`.
    pub native: &'static str,
    pub definition_id: Uuid,
    pub name: &'static str,
    pub docker_repository: &'static str,
    pub docker_image_tag: &'static str,
    pub documentation_url: &'static str,
    /// `api`, `file`, `database`: sources only.
    pub source_type: Option<&'static str>,
    /// `YYYY-MM-DD`.
    pub release_date: Option<&'static str>,
    pub icon: Option<&'static str>,
    /// The whole specification message (`connectionSpecification`, `supported_destination_sync_modes`, ...).
    pub spec: Value,
}

/// Which connector, and how it runs.
#[derive(Clone, Debug)]
pub enum ConnectorRef {
    Native { kind: ActorKind, name: String },
}

#[derive(Clone, Debug)]
pub struct CheckOutcome {
    pub succeeded: bool,
    pub message: Option<String>,
}

/// Secrets in `config` are in clear: it lives only as long as the attempt and is never logged.
#[derive(Clone)]
pub struct ActorInput {
    pub connector: ConnectorRef,
    pub config: Value,
}

#[derive(Clone)]
pub struct AttemptInput {
    pub claim: Claim,
    pub kind: AttemptKind,
    pub source: ActorInput,
    pub destination: ActorInput,
    /// With source names; the schema of each stream holds only its selected fields. `generation_id` and
    /// `minimum_generation_id` are those at the claim.
    pub catalog: ConfiguredCatalog,
    pub naming: Naming,
    /// Bytes that the attempt may hold in flight; `None` = the engine's default share.
    pub memory_limit: Option<u64>,
    /// Lines for the head of the attempt's log (a changed prefix, a new generation, ...).
    pub notices: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum AttemptKind {
    Sync,
    /// Empties the final tables of these streams under the reserved origin.
    Reset {
        streams: Vec<StreamDescriptor>,
        origin: i64,
    },
}

/// From source names to names in the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    pub namespace: NamespaceRule,
    pub prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceRule {
    Source,
    Destination,
    /// Every literal `${SOURCE_NAMESPACE}` is replaced by the stream's namespace, or by nothing; a blank result is none.
    Custom(String),
}

impl Naming {
    pub fn map(&self, stream: &StreamDescriptor) -> StreamDescriptor {
        let source = stream.namespace.as_deref();
        let custom;
        let namespace = match &self.namespace {
            NamespaceRule::Source => source,
            NamespaceRule::Destination => None,
            NamespaceRule::Custom(format) => {
                custom = format.replace("${SOURCE_NAMESPACE}", source.unwrap_or_default());
                Some(custom.as_str()).filter(|text| !text.trim().is_empty())
            }
        };
        let prefix = if self.prefix.trim().is_empty() { "" } else { &self.prefix };
        StreamDescriptor::new(namespace, format!("{prefix}{}", stream.name))
    }
}

/// What a running attempt tells: figures, and lines for its log. Sending never waits; figures are the newest ones.
pub type EventSink = tokio::sync::mpsc::UnboundedSender<AttemptEvent>;

#[derive(Clone, Debug)]
pub enum AttemptEvent {
    /// Running totals of this attempt, all streams; at most about one a second.
    Progress(Vec<StreamStats>),
    Log {
        level: LogLevel,
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Totals of one stream in one attempt. `counts.written` = committed rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStats {
    pub stream: StreamDescriptor,
    /// Rows that entered the flow, and their estimated JSON bytes.
    pub emitted: i64,
    pub emitted_bytes: i64,
    pub states: i64,
    /// What was committed: covered by a stored state or a merge/swap.
    pub committed: Counts,
    pub complete: bool,
}

#[derive(Clone, Debug)]
pub struct AttemptOutcome {
    pub result: AttemptResult,
    /// Totals of this attempt.
    pub streams: Vec<StreamStats>,
}

#[derive(Clone, Debug)]
pub enum AttemptResult {
    Succeeded,
    /// The cause first.
    Failed(Vec<Failure>),
    Cancelled,
    /// The claim is no longer ours (another process took over): nothing may be recorded by us.
    ClaimLost,
}

/// A failure reason in the API's words (`FailureReason`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub failure_origin: FailureOrigin,
    pub failure_type: FailureType,
    /// For the user: what is wrong and what to do.
    pub external_message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacktrace: Option<String>,
    pub retryable: bool,
    /// Epoch milliseconds.
    pub timestamp: i64,
}

impl Failure {
    /// With `redact` applied to every text: what a connector says may hold a secret (Invariant 6).
    pub fn redacted(mut self, redact: impl Fn(&str) -> String) -> Self {
        self.external_message = redact(&self.external_message);
        self.internal_message = self.internal_message.as_deref().map(&redact);
        self.stacktrace = self.stacktrace.as_deref().map(&redact);
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureOrigin {
    Source,
    Destination,
    Replication,
    Persistence,
    AirbytePlatform,
    Unknown,
}

/// Only values that the seed contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureType {
    ConfigError,
    SystemError,
    ManualCancellation,
    RefreshSchema,
}
