//! A runner that moves no rows but does what its script says, one [`Act`] per attempt.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use protocol::{Catalog, StreamDescriptor, checkpoint::Counts};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::{Uuid, uuid};

use crate::runner::{
    ActorKind, AttemptEvent, AttemptInput, AttemptKind, AttemptOutcome, AttemptResult, CheckOutcome, ConnectorRef,
    EventSink, Failure, FailureOrigin, FailureType, LogLevel, NativeConnector, Runner, StreamStats,
};

pub const SOURCE_DEFINITION: Uuid = uuid!("dfd88b22-b603-4c3d-aad7-3701784586b1");
pub const DESTINATION_DEFINITION: Uuid = uuid!("b76be0a6-27dc-4560-95f6-2623da0bd7b6");

/// What one attempt does.
#[derive(Clone, Debug)]
pub enum Act {
    /// So many rows of every stream are committed.
    Succeed(i64),
    /// So many rows of every stream are committed, then it fails.
    Fail(i64, FailureType),
    /// Goes on until it is cancelled or [`ScriptedRunner::release`] is called; then it succeeds with one row per stream.
    Hang,
    /// Does not listen to a cancel: goes on until [`ScriptedRunner::release`] is called and then claims to have succeeded.
    Deaf,
    /// Panics.
    Die,
}

#[derive(Default)]
struct Script {
    acts: VecDeque<Act>,
    check: Option<Result<CheckOutcome, Failure>>,
    catalog: Option<Result<Catalog, Failure>>,
    ran: Vec<AttemptInput>,
}

/// Start with [`ScriptedRunner::new`]; without a script every attempt succeeds with 10 rows per stream.
pub struct ScriptedRunner {
    script: Mutex<Script>,
    release: Notify,
    started: watch::Sender<usize>,
}

impl ScriptedRunner {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { script: Mutex::default(), release: Notify::new(), started: watch::Sender::new(0) })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an act for the next attempt that has none yet.
    pub fn then(&self, act: Act) -> &Self {
        self.script().acts.push_back(act);
        self
    }

    /// What every check answers from now on; before that, checks succeed.
    pub fn checks(&self, answer: Result<CheckOutcome, Failure>) {
        self.script().check = Some(answer);
    }

    /// What every discover answers from now on; before that, a catalog with the streams `users` and `orders`.
    pub fn discovers(&self, answer: Result<Catalog, Failure>) {
        self.script().catalog = Some(answer);
    }

    /// Lets one hanging attempt go on.
    pub fn release(&self) {
        self.release.notify_one();
    }

    /// The inputs of all attempts so far, in order.
    pub fn ran(&self) -> Vec<AttemptInput> {
        self.script().ran.clone()
    }

    /// Waits until so many attempts have begun.
    pub async fn begun(&self, attempts: usize) {
        let _ = self.started.subscribe().wait_for(|started| *started >= attempts).await;
    }
}

/// A failure of the source with a text that names its type.
pub fn failure(failure_type: FailureType) -> Failure {
    Failure {
        failure_origin: FailureOrigin::Source,
        failure_type,
        external_message: format!("scripted {failure_type:?}"),
        internal_message: None,
        stacktrace: None,
        retryable: failure_type != FailureType::ConfigError,
        timestamp: 0,
    }
}

#[async_trait]
impl Runner for ScriptedRunner {
    fn native(&self) -> Vec<NativeConnector> {
        let source = NativeConnector {
            kind: ActorKind::Source,
            native: "sample",
            definition_id: SOURCE_DEFINITION,
            name: "Sample Data (Faker)",
            docker_repository: "airbyte/source-faker",
            docker_image_tag: "2.0.3",
            documentation_url: "https://docs.airbyte.com/integrations/sources/faker",
            source_type: Some("api"),
            release_date: Some("2022-09-01"),
            icon: None,
            spec: json!({
                "documentationUrl": "https://docs.airbyte.com/integrations/sources/faker",
                "connectionSpecification": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "required": ["count"],
                    "additionalProperties": true,
                    "properties": {
                        "count": {"type": "integer", "minimum": 0},
                        "seed": {"type": "integer"},
                        "password": {"type": "string", "airbyte_secret": true},
                        "keys": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"key": {"type": "string", "airbyte_secret": true}}}
                        },
                        "method": {
                            "type": "object",
                            "oneOf": [
                                {
                                    "required": ["kind", "token"],
                                    "properties": {
                                        "kind": {"type": "string", "const": "token"},
                                        "token": {"type": "string", "airbyte_secret": true}
                                    }
                                },
                                {"required": ["kind"], "properties": {"kind": {"type": "string", "const": "none"}}}
                            ]
                        }
                    }
                }
            }),
        };
        let destination = NativeConnector {
            kind: ActorKind::Destination,
            native: "sqlite",
            definition_id: DESTINATION_DEFINITION,
            name: "Local SQLite",
            docker_repository: "airbyte/destination-sqlite",
            docker_image_tag: "0.1.0",
            documentation_url: "https://docs.airbyte.com/integrations/destinations/sqlite",
            source_type: None,
            release_date: None,
            icon: None,
            spec: json!({
                "documentationUrl": "https://docs.airbyte.com/integrations/destinations/sqlite",
                "connectionSpecification": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "required": ["destination_path"],
                    "properties": {"destination_path": {"type": "string"}}
                },
                "supportsIncremental": true,
                "supported_destination_sync_modes": ["overwrite", "append", "append_dedup"]
            }),
        };
        vec![source, destination]
    }

    async fn check(&self, _: &ConnectorRef, _: Value, _: CancellationToken) -> Result<CheckOutcome, Failure> {
        self.script().check.clone().unwrap_or(Ok(CheckOutcome { succeeded: true, message: None }))
    }

    async fn discover(&self, _: &ConnectorRef, _: Value, _: CancellationToken) -> Result<Catalog, Failure> {
        self.script().catalog.clone().unwrap_or_else(|| Ok(catalog()))
    }

    async fn run(&self, input: AttemptInput, cancel: CancellationToken, events: EventSink) -> AttemptOutcome {
        let act = {
            let mut script = self.script();
            script.ran.push(input.clone());
            script.acts.pop_front().unwrap_or(Act::Succeed(10))
        };
        let stats = |rows| statistics(&input, rows);
        // Nobody listening is no reason to fail.
        let _ = events.send(AttemptEvent::Log { level: LogLevel::Info, message: format!("scripted: {act:?}") });
        // A careless connector, which tells its whole configuration.
        let message = format!("configuration: {}", input.source.config);
        let _ = events.send(AttemptEvent::Log { level: LogLevel::Debug, message });
        let _ = events.send(AttemptEvent::Progress(stats(0)));
        self.started.send_modify(|started| *started += 1);
        let outcome = |result, rows| AttemptOutcome { result, streams: stats(rows) };
        match act {
            Act::Succeed(rows) => outcome(AttemptResult::Succeeded, rows),
            Act::Fail(rows, kind) => {
                let mut failure = failure(kind);
                failure.internal_message = Some(format!("with {}", input.source.config));
                outcome(AttemptResult::Failed(vec![failure]), rows)
            }
            Act::Hang => tokio::select! {
                () = cancel.cancelled() => outcome(AttemptResult::Cancelled, 0),
                () = self.release.notified() => outcome(AttemptResult::Succeeded, 1),
            },
            Act::Deaf => {
                self.release.notified().await;
                outcome(AttemptResult::Succeeded, 1)
            }
            Act::Die => panic!("the script says so"),
        }
    }
}

fn statistics(input: &AttemptInput, rows: i64) -> Vec<StreamStats> {
    let streams: Vec<StreamDescriptor> = match &input.kind {
        AttemptKind::Sync => input.catalog.streams.iter().map(|stream| stream.stream.descriptor.clone()).collect(),
        AttemptKind::Reset { .. } => Vec::new(),
    };
    let counts = Counts { read: rows, written: rows, filtered: 0, rejected: 0, bytes: rows * 8 };
    let one = |stream| StreamStats {
        stream,
        emitted: rows,
        emitted_bytes: rows * 8,
        states: 1,
        committed: counts,
        complete: true,
    };
    streams.into_iter().map(one).collect()
}

fn catalog() -> Catalog {
    let stream = |name: &str| {
        json!({
            "name": name,
            "json_schema": {"type": "object", "properties": {
                "id": {"type": "integer"}, "name": {"type": "string"}, "updated_at": {"type": "string"}
            }},
            "supported_sync_modes": ["full_refresh", "incremental"],
            "source_defined_cursor": true,
            "default_cursor_field": ["updated_at"],
            "source_defined_primary_key": [["id"]]
        })
    };
    serde_json::from_value(json!({"streams": [stream("users"), stream("orders")]})).unwrap_or_default()
}
