//! The runner of a server, listened to: the figures of an attempt as they come, for whoever looks on.
//!
//! Only figures are passed on. Log lines and failures may hold secrets until the control plane has cut them out, so they
//! are read from the store (Invariant 6).
//!
//! The store may hold jobs that an earlier run has left, also of connections that this run has nothing to do with. Their
//! attempts wait here until their connection's turn comes, or until the run ends, which costs them nothing.

use std::collections::HashSet;

use async_trait::async_trait;
use control::runner::{
    AttemptEvent, AttemptInput, AttemptOutcome, AttemptResult, CheckOutcome, ConnectorRef, EventSink, Failure,
    NativeConnector, Runner, StreamStats,
};
use protocol::Catalog;
use serde_json::Value;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    watch,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::runner::EngineRunner;

#[derive(Clone, Debug)]
pub enum Told {
    Begun {
        job: i64,
        attempt: i64,
    },
    Progress {
        job: i64,
        streams: Vec<StreamStats>,
    },
    /// `moved`: something was committed, so the next attempt begins at once.
    Ended {
        job: i64,
        attempt: i64,
        failed: bool,
        moved: bool,
        streams: Vec<StreamStats>,
    },
}

impl Told {
    pub fn job(&self) -> i64 {
        match self {
            Self::Begun { job, .. } | Self::Progress { job, .. } | Self::Ended { job, .. } => *job,
        }
    }
}

pub struct Watched {
    inner: EngineRunner,
    told: UnboundedSender<Told>,
    /// The connections whose turn has come.
    turns: watch::Sender<HashSet<String>>,
}

impl Watched {
    pub fn new(inner: EngineRunner, told: UnboundedSender<Told>) -> Self {
        Self { inner, told, turns: watch::Sender::default() }
    }

    pub fn let_run(&self, connection: Uuid) {
        self.turns.send_modify(|turns| {
            turns.insert(connection.to_string());
        });
    }

    /// Nobody looks on any more: nothing is lost by that.
    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}

#[async_trait]
impl Runner for Watched {
    fn native(&self) -> Vec<NativeConnector> {
        self.inner.native()
    }

    async fn check(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<CheckOutcome, Failure> {
        self.inner.check(connector, config, cancel).await
    }

    async fn discover(
        &self,
        connector: &ConnectorRef,
        config: Value,
        cancel: CancellationToken,
    ) -> Result<Catalog, Failure> {
        self.inner.discover(connector, config, cancel).await
    }

    async fn run(&self, input: AttemptInput, cancel: CancellationToken, events: EventSink) -> AttemptOutcome {
        let (job, attempt) = (input.claim.job, input.claim.attempt);
        let mut turns = self.turns.subscribe();
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return AttemptOutcome { result: AttemptResult::Cancelled, streams: Vec::new() };
            }
            _ = turns.wait_for(|turns| turns.contains(&input.claim.connection)) => {}
        }
        self.tell(Told::Begun { job, attempt });
        let (sender, mut receiver) = unbounded_channel();
        let relay = async {
            while let Some(event) = receiver.recv().await {
                if let AttemptEvent::Progress(streams) = &event {
                    self.tell(Told::Progress { job, streams: streams.clone() });
                }
                // The other end lives as long as this attempt.
                let _ = events.send(event);
            }
        };
        let (outcome, ()) = tokio::join!(self.inner.run(input, cancel, sender), relay);
        let moved = outcome.streams.iter().any(|stream| stream.committed.written > 0 || stream.committed.rejected > 0);
        let failed = matches!(outcome.result, AttemptResult::Failed(_));
        self.tell(Told::Ended { job, attempt, failed, moved, streams: outcome.streams.clone() });
        outcome
    }
}
