//! Sample data: a drop-in for `source-faker`, for trials, demonstrations and tests of the whole path.
//!
//! Streams `users`, `products` (100 fixed rows) and `purchases` (one per user id). Full refresh and incremental, both
//! resumable. A row is a pure function of seed and id ([`rows`]), so any range can be produced again; the state's
//! `loop_offset` is how many ids were sent ([`state`]). `updated_at` is the stamp of the run, or, with `always_updated`
//! off, a function of the id too. Rows are built a column at a time, straight into Arrow ([`types`]).

mod config;
mod discover;
mod read;
mod rows;
mod state;
mod types;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use connector::{Output, ReadRequest, Result, Source, Spec};
use protocol::Catalog;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use config::Config;

pub const DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/sources/faker";

#[derive(Clone, Copy, Debug, Default)]
pub struct SampleSource;

#[async_trait]
impl Source for SampleSource {
    fn spec(&self) -> Spec {
        Spec::of::<Config>(DOCUMENTATION)
    }

    async fn check(&self, config: &Value, _cancel: &CancellationToken) -> Result<()> {
        Config::read(config).map(|_| ())
    }

    async fn discover(&self, config: &Value, _cancel: &CancellationToken) -> Result<Catalog> {
        Config::read(config)?;
        Ok(discover::catalog())
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        read::read(request, output).await
    }
}
