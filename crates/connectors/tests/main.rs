//! The built-in connectors keep the contract.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "postgres")]
mod postgres;
mod same;
mod sqlite;

use std::sync::Arc;

use connector::testing::conformance;
use connectors::sample::SampleSource;
use serde_json::json;

#[tokio::test]
async fn sample_keeps_the_contract() {
    let bad = [json!({"count": -1}), json!({"records_per_slice": 0}), json!({"parallelism": 0}), json!({"seed": "x"})];
    for slice in [10, 1000] {
        let config = json!({"count": 250, "seed": 1, "records_per_slice": slice, "always_updated": false});
        conformance::source(Arc::new(SampleSource), config, &bad).await;
    }
}

#[test]
fn identities_are_unique() {
    let folder = tempfile::tempdir().unwrap();
    let folders = connectors::Folders::of_server(folder.path());
    let sources = connectors::sources(&folders).into_iter().map(|(native, _)| native);
    let destinations = connectors::destinations(&folders).into_iter().map(|(native, _)| native);
    let ids: Vec<_> = sources.chain(destinations).map(|native| native.definition_id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<std::collections::HashSet<_>>().len());
}
