//! Where rows come from.

use async_trait::async_trait;
use protocol::{Catalog, ConfiguredCatalog, StateMessage};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Output, Result, Spec};

#[async_trait]
pub trait Source: Send + Sync {
    fn spec(&self) -> Spec;

    /// Tries the configuration; `Err` of kind `Config` is a failed check, any other error means that the check itself failed.
    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()>;

    async fn discover(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog>;

    /// Reads every stream of the catalog into `output` and returns when all are complete.
    ///
    /// Rows of a stream are covered by the next state that follows them. A stream that is complete says so with
    /// [`crate::StreamStatus::Complete`], after its last state, and with the rows that its wire counted.
    /// On `Err` nothing that follows the last state counts.
    async fn read(&self, request: ReadRequest, output: Output) -> Result<()>;
}

/// What one attempt reads. Streams that are complete already are left out of the catalog.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    pub config: Value,
    pub catalog: ConfiguredCatalog,
    /// One message per stream, a single global one, or a single legacy one; empty = from the start.
    pub state: Vec<StateMessage>,
    pub cancel: CancellationToken,
}

impl ReadRequest {
    /// The state of the stream at `index` of the catalog.
    pub fn state_of(&self, index: usize) -> Option<&protocol::Json> {
        let descriptor = &self.catalog.streams[index].stream.descriptor;
        self.state.iter().find_map(|message| message.of(descriptor))
    }
}
