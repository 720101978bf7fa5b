//! A destination that cannot say what it has: every attempt starts from the ledger alone, at-least-once.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::StreamDescriptor;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{MemoryDestination, rows::Row};
use crate::{
    Admission, Batch, Clear, Commit, Complete, Destination, Durable, OpenRequest, Recovered, Result, Spec, StreamPlan,
    Writer,
};

/// Clones share their tables.
#[derive(Clone, Debug, Default)]
pub struct ForgetfulDestination {
    memory: MemoryDestination,
}

impl ForgetfulDestination {
    pub fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        self.memory.rows(table)
    }
}

struct ForgetfulWriter {
    inner: Box<dyn Writer>,
    memory: MemoryDestination,
    connection: String,
}

#[async_trait]
impl Destination for ForgetfulDestination {
    fn spec(&self) -> Spec {
        self.memory.spec()
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        self.memory.check(config, cancel).await
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        let connection = request.claim.connection.clone();
        let inner = self.memory.open(request).await?;
        Ok(Box::new(ForgetfulWriter { inner, memory: self.memory.clone(), connection }))
    }
}

#[async_trait]
impl Writer for ForgetfulWriter {
    async fn recover(&mut self, admission: Arc<dyn Admission>) -> Result<Recovered> {
        self.memory.change(|world| world.forget(&self.connection));
        self.inner.recover(admission).await?;
        Ok(Recovered::Unknown)
    }

    async fn start(&mut self, plans: &[StreamPlan]) -> Result<()> {
        self.inner.start(plans).await
    }

    async fn spill(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.inner.spill(batches).await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Vec<Durable>> {
        self.inner.commit(commit).await
    }

    async fn complete(&mut self, complete: Complete) -> Result<Vec<Durable>> {
        self.inner.complete(complete).await
    }

    async fn clear(&mut self, clear: Clear) -> Result<Vec<Durable>> {
        self.inner.clear(clear).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
