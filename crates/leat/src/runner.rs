//! The control plane's port [`Runner`], done with the engine and the connectors of the registry.
//!
//! Connector work is spawned onto a runtime of its own; what the engine says is put into the control plane's words here
//! and nowhere else.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use connector::ErrorKind;
use control::{
    clock::{Clock, SystemClock},
    runner::{
        AttemptEvent, AttemptInput, AttemptKind, AttemptOutcome, AttemptResult, CheckOutcome, ConnectorRef, EventSink,
        Failure, FailureOrigin, FailureType, LogLevel, NativeConnector, Runner, StreamStats,
    },
};
use engine::{Attempt, Ending, Event, Origin};
use protocol::Catalog;
use serde_json::Value;
use store::Store;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{ledger::Ledger, registry::Registry};

/// Bytes of rows that one attempt may hold in flight unless its connection says otherwise.
const DEFAULT_BUDGET: usize = 24 << 20;
const SMALLEST_BUDGET: u64 = 1 << 20;

pub struct EngineRunner {
    registry: Arc<Registry>,
    store: Store,
    connectors: Handle,
}

impl EngineRunner {
    pub fn new(registry: Arc<Registry>, store: Store, connectors: Handle) -> Self {
        Self { registry, store, connectors }
    }

    /// Runs connector work where it cannot hold up an answer; a panic in it is a failure of this work alone.
    async fn apart<T: Send + 'static>(
        &self,
        origin: FailureOrigin,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.connectors.spawn(work).await.map_err(|error| {
            let message = "The connector stopped unexpectedly; this is a bug";
            failure(origin, FailureType::SystemError, message.to_owned(), Some(error.to_string()), true)
        })
    }
}

#[async_trait]
impl Runner for EngineRunner {
    fn native(&self) -> Vec<NativeConnector> {
        self.registry.native()
    }

    async fn check(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<CheckOutcome, Failure> {
        let source = self.registry.source(connector);
        let destination = self.registry.destination(connector);
        let ConnectorRef::Native { kind, .. } = connector;
        let (origin, outcome) = match (kind, source, destination) {
            (control::runner::ActorKind::Source, Some(source), _) => {
                let work = async move { source.check(&config, &cancel).await };
                (FailureOrigin::Source, self.apart(FailureOrigin::Source, work).await?)
            }
            (control::runner::ActorKind::Destination, _, Some(destination)) => {
                let work = async move { destination.check(&config, &cancel).await };
                (FailureOrigin::Destination, self.apart(FailureOrigin::Destination, work).await?)
            }
            _ => return Err(unknown(connector)),
        };
        match outcome {
            Ok(()) => Ok(CheckOutcome { succeeded: true, message: None }),
            // A check that ran and found fault is an answer, not a failure.
            Err(error) if error.kind == ErrorKind::Cancelled => Err(of_connector(origin, error)),
            Err(error) => Ok(CheckOutcome { succeeded: false, message: Some(with_hint(&error.message, &error.hint)) }),
        }
    }

    async fn discover(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<Catalog, Failure> {
        let source = self.registry.source(connector).ok_or_else(|| unknown(connector))?;
        let work = async move { source.discover(&config, &cancel).await };
        let outcome = self.apart(FailureOrigin::Source, work).await?;
        outcome.map_err(|error| of_connector(FailureOrigin::Source, error))
    }

    async fn run(&self, input: AttemptInput, cancel: CancellationToken, events: EventSink) -> AttemptOutcome {
        for notice in &input.notices {
            let _ = events.send(AttemptEvent::Log { level: LogLevel::Info, message: notice.clone() });
        }
        let attempt = match self.attempt(input, cancel, events) {
            Ok(attempt) => attempt,
            Err(failure) => return failed(failure),
        };
        let outcome = match self.apart(FailureOrigin::Replication, engine::run(attempt)).await {
            Ok(outcome) => in_words_of_control(outcome),
            Err(failure) => failed(failure),
        };
        // The attempt has ended, and nobody has noted that yet.
        connector::failpoint::point("outcome");
        outcome
    }
}

impl EngineRunner {
    fn attempt(&self, input: AttemptInput, cancel: CancellationToken, events: EventSink) -> Result<Attempt, Failure> {
        let source = self.registry.source(&input.source.connector).ok_or_else(|| unknown(&input.source.connector))?;
        let destination = self
            .registry
            .destination(&input.destination.connector)
            .ok_or_else(|| unknown(&input.destination.connector))?;
        let ledger = Ledger::new(self.store.clone(), input.claim.clone())
            .map_err(|error| of_connector(FailureOrigin::AirbytePlatform, error))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.connectors.spawn(relay(receiver, events));
        let budget = match input.memory_limit {
            Some(bytes) => usize::try_from(bytes.max(SMALLEST_BUDGET)).unwrap_or(usize::MAX),
            None => DEFAULT_BUDGET,
        };
        let tables = input.catalog.streams.iter().map(|stream| input.naming.map(&stream.stream.descriptor)).collect();
        Ok(Attempt {
            source,
            destination,
            source_config: input.source.config,
            destination_config: input.destination.config,
            claim: input.claim,
            kind: match input.kind {
                AttemptKind::Sync => engine::Kind::Sync,
                AttemptKind::Reset { streams, origin } => engine::Kind::Reset { streams, origin },
            },
            catalog: input.catalog,
            tables,
            budget,
            cancel,
            checkpoints: Arc::new(ledger),
            events: sender,
        })
    }
}

/// Hands on what the attempt says until its end of the channel is gone.
async fn relay(mut receiver: mpsc::UnboundedReceiver<Event>, events: EventSink) {
    while let Some(event) = receiver.recv().await {
        let event = match event {
            Event::Progress(streams) => AttemptEvent::Progress(streams.into_iter().map(stats).collect()),
            Event::Log { level, message } => AttemptEvent::Log { level: log_level(level), message },
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn log_level(level: tracing::Level) -> LogLevel {
    match level {
        tracing::Level::ERROR => LogLevel::Error,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

fn stats(stats: engine::StreamStats) -> StreamStats {
    StreamStats {
        stream: stats.descriptor,
        emitted: stats.emitted,
        emitted_bytes: stats.emitted_bytes,
        states: stats.states,
        committed: stats.committed,
        complete: stats.complete,
    }
}

fn in_words_of_control(outcome: engine::Outcome) -> AttemptOutcome {
    let result = match outcome.result {
        Ending::Succeeded => AttemptResult::Succeeded,
        Ending::Cancelled => AttemptResult::Cancelled,
        Ending::ClaimLost => AttemptResult::ClaimLost,
        Ending::Failed(failures) => AttemptResult::Failed(
            failures
                .into_iter()
                .map(|found| {
                    let (failure_type, retryable) = kind(found.kind);
                    let message = with_hint(&found.message, &found.hint);
                    failure(origin(found.origin), failure_type, message, found.internal, retryable)
                })
                .collect(),
        ),
    };
    AttemptOutcome { result, streams: outcome.streams.into_iter().map(stats).collect() }
}

fn failed(failure: Failure) -> AttemptOutcome {
    AttemptOutcome { result: AttemptResult::Failed(vec![failure]), streams: Vec::new() }
}

fn origin(origin: Origin) -> FailureOrigin {
    match origin {
        Origin::Source => FailureOrigin::Source,
        Origin::Destination => FailureOrigin::Destination,
        Origin::Replication => FailureOrigin::Replication,
        Origin::Persistence => FailureOrigin::Persistence,
    }
}

/// Only failure types that the oldest contract knows.
fn kind(kind: ErrorKind) -> (FailureType, bool) {
    match kind {
        ErrorKind::Config => (FailureType::ConfigError, false),
        ErrorKind::Cancelled => (FailureType::ManualCancellation, false),
        ErrorKind::Transient | ErrorKind::System | ErrorKind::Fenced | ErrorKind::Moved => {
            (FailureType::SystemError, true)
        }
    }
}

fn with_hint(message: &str, hint: &Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}. {hint}"),
        None => message.to_owned(),
    }
}

fn of_connector(origin: FailureOrigin, error: connector::Error) -> Failure {
    let (failure_type, retryable) = kind(error.kind);
    let internal = std::error::Error::source(&error).map(ToString::to_string);
    failure(origin, failure_type, with_hint(&error.message, &error.hint), internal, retryable)
}

fn unknown(connector: &ConnectorRef) -> Failure {
    let ConnectorRef::Native { name, .. } = connector;
    let message = format!("This server has no connector named {name}. Run a build that includes it");
    failure(FailureOrigin::AirbytePlatform, FailureType::ConfigError, message, None, false)
}

fn failure(
    origin: FailureOrigin,
    failure_type: FailureType,
    message: String,
    internal: Option<String>,
    retryable: bool,
) -> Failure {
    Failure {
        failure_origin: origin,
        failure_type,
        external_message: message,
        internal_message: internal,
        stacktrace: None,
        retryable,
        timestamp: now_ms(),
    }
}

fn now_ms() -> i64 {
    SystemClock.now().timestamp_millis()
}
