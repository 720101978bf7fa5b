//! The contract, proved with the destinations and sources that need nothing.

mod process;

use std::sync::Arc;

use async_trait::async_trait;
use connector::{
    Destination,
    testing::{
        ForgetfulDestination, MemoryDestination, ScriptedSource, States,
        conformance::{self, Subject},
        rows::Row,
    },
};
use protocol::StreamDescriptor;
use serde_json::{Value, json};

struct Memory(MemoryDestination);

#[async_trait]
impl Subject for Memory {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(self.0.clone())
    }

    fn config(&self) -> Value {
        json!({})
    }

    async fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        self.0.rows(table)
    }
}

struct Forgetful(ForgetfulDestination);

#[async_trait]
impl Subject for Forgetful {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(self.0.clone())
    }

    fn config(&self) -> Value {
        json!({})
    }

    async fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>> {
        self.0.rows(table)
    }

    fn remembers(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    conformance::destination(|| Memory(MemoryDestination::default())).await;
}

#[tokio::test]
async fn a_destination_without_memory_keeps_the_rest() {
    conformance::destination(|| Forgetful(ForgetfulDestination::default())).await;
}

#[tokio::test]
async fn scripted_sources_keep_the_contract() {
    for states in [States::None, States::PerRow, States::Every(3), States::Global, States::Legacy] {
        let source = ScriptedSource::new(states, &[("a", 7), ("b", 4), ("empty", 0)]);
        conformance::source(Arc::new(source), json!({}), &[]).await;
    }
}
