//! The source's side of an attempt: its task, its end of the flow, and how it is stopped.

use std::time::Duration;

use connector::{
    Error, Result,
    output::{Input, Stall, channel},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::attempt::Attempt;

/// How long a source may take to let go after it was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A source that reads. Dropping it ends the task.
pub(crate) struct Reading {
    pub input: Input,
    pub stall: Stall,
    task: AbortOnDropHandle<Result<()>>,
    cancel: CancellationToken,
}

impl Reading {
    pub fn start(attempt: &Attempt, catalog: protocol::ConfiguredCatalog, state: Vec<protocol::StateMessage>) -> Self {
        let (output, input) = channel(attempt.budget);
        let cancel = attempt.cancel.child_token();
        let request =
            connector::ReadRequest { config: attempt.source_config.clone(), catalog, state, cancel: cancel.clone() };
        let source = attempt.source.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move { source.read(request, output).await }));
        Self { stall: input.stall(), input, task, cancel }
    }

    /// The source closed its end of the flow: how it ended.
    pub async fn end(&mut self) -> Result<()> {
        tokio::select! {
            biased;
            ended = &mut self.task => ended.unwrap_or_else(|error| {
                Err(Error::system("The source stopped without an answer").with_source(error))
            }),
            () = self.cancel.cancelled() => Err(Error::cancelled()),
        }
    }

    /// Stops the source and waits until it has let go.
    pub async fn stop(self) {
        self.cancel.cancel();
        drop(self.input);
        // Past the grace the task is aborted where it stands.
        let _ = timeout(GRACE, self.task).await;
    }
}
