//! The source's side of an attempt: its task, its end of the flow, and how it is stopped.

use std::time::Duration;

use connector::{
    Error, ReadRequest, Result, SourceMessage,
    output::{Input, Stall, channel},
};
use protocol::{ConfiguredCatalog, StateMessage};
use tokio::{task::JoinError, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::attempt::Attempt;

/// How long a source may take to let go after it was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A source that reads. Dropping it ends the task.
pub(crate) struct Reading {
    input: Input,
    task: AbortOnDropHandle<Result<()>>,
    /// How the task ended.
    ended: Option<Result<()>>,
    cancel: CancellationToken,
}

impl Reading {
    pub fn start(attempt: &Attempt, catalog: ConfiguredCatalog, state: Vec<StateMessage>) -> Self {
        let (output, input) = channel(attempt.budget);
        let cancel = attempt.cancel.child_token();
        let request = ReadRequest { config: attempt.source_config.clone(), catalog, state, cancel: cancel.clone() };
        let source = attempt.source.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move { source.read(request, output).await }));
        Self { input, task, ended: None, cancel }
    }

    pub fn stall(&self) -> Stall {
        self.input.stall()
    }

    /// The next message; `None` when the source has returned and everything that it sent was read, or when it has closed
    /// its end of the flow.
    pub async fn next(&mut self) -> Option<SourceMessage> {
        loop {
            tokio::select! {
                biased;
                message = self.input.next() => return message,
                ended = &mut self.task, if self.ended.is_none() => {
                    self.ended = Some(answer(ended));
                    // Whoever still holds an end of the flow has nothing to say any more.
                    self.input.close();
                }
            }
        }
    }

    /// How the source ended.
    pub async fn end(&mut self) -> Result<()> {
        if let Some(ended) = self.ended.take() {
            return ended;
        }
        tokio::select! {
            biased;
            ended = &mut self.task => answer(ended),
            () = self.cancel.cancelled() => Err(Error::cancelled()),
        }
    }

    /// Stops the source and waits until it has let go.
    pub async fn stop(self) {
        self.cancel.cancel();
        drop(self.input);
        if self.ended.is_none() {
            // Past the grace the task is aborted where it stands.
            let _ = timeout(GRACE, self.task).await;
        }
    }
}

fn answer(ended: Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|error| Err(Error::system("The source stopped without an answer").with_source(error)))
}
