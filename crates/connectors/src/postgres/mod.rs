//! PostgreSQL as a source, and in [`destination`] as a destination.
//!
//! The source is a drop-in for `airbyte/source-postgres` with the replication method Standard.
//!
//! Full refresh and incremental by a cursor column, of tables, partition roots, views, materialized views and foreign
//! tables. Rows come by binary COPY, straight into Arrow. Nothing is written and no transaction id is taken, so a hot
//! standby and a read-only role will do. PostgreSQL 10 or newer; ranges of pages are read in parallel from 14 on.
//!
//! Start with [`read`], which says how each stream is read. [`client`], [`tls`], [`fault`] and [`types`] know nothing of
//! sources. Not implemented, and refused by name: CDC, Xmin, SSH tunnels, encrypted client keys.

mod chunks;
mod client;
mod columns;
mod config;
mod cursor;
mod destination;
mod discover;
mod fault;
mod inbox;
mod incremental;
mod numeric;
mod pages;
mod read;
mod refresh;
mod state;
mod tls;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use connector::{Error, ErrorKind, Output, ReadRequest, Result, Source, Spec};
use protocol::Catalog;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use client::Session;
use config::Config;
pub use destination::{DOCUMENTATION as DESTINATION_DOCUMENTATION, PostgresDestination};

pub const SOURCE_DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/sources/postgres";

#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresSource;

#[async_trait]
impl Source for PostgresSource {
    fn spec(&self) -> Spec {
        Spec::of::<Config>(SOURCE_DOCUMENTATION)
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        let config = Config::read(config)?;
        let mut session = Session::connect(&Arc::new(config.server()?), cancel).await.map_err(as_answer)?;
        discover::check(&mut session, &config.schemas).await
    }

    async fn discover(&self, config: &Value, cancel: &CancellationToken) -> Result<Catalog> {
        let config = Config::read(config)?;
        let mut session = Session::connect(&Arc::new(config.server()?), cancel).await?;
        discover::catalog(&mut session, &config.schemas).await
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<()> {
        read::read(request, output).await
    }
}

/// Whoever asks whether a configuration works wants to hear that nobody answers there.
fn as_answer(mut error: Error) -> Error {
    if error.kind == ErrorKind::Transient {
        error.kind = ErrorKind::Config;
    }
    error
}
