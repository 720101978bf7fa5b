//! PostgreSQL as a destination: a drop-in for `airbyte/destination-postgres` with direct load. Typed tables behind the
//! metadata columns, exactly once.
//!
//! Append, overwrite, append_dedup and their combinations with full refresh and incremental. Position and fence lie in the
//! default schema ([`commits`]), written in the transaction of the rows, so nothing is lost or doubled by a crash. Rows go
//! by binary COPY, written straight from Arrow ([`load`], [`encode`]). A role that owns only its schema is enough.
//!
//! Limits: the database is encoded in UTF-8; keys of more than 2,704 bytes are looked up without an index; a table that must be
//! replaced in place ([`swap`]) keeps the types of its columns, and its triggers fire. Start with [`write`].

mod access;
mod append;
mod commits;
mod config;
mod digits;
mod encode;
mod json;
mod lane;
mod load;
mod merge;
mod names;
mod swap;
mod table;
mod types;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use connector::{Destination, Error, OpenRequest, Result, Spec, Writer};
use protocol::DestinationSyncMode;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::client::{Server, Session};
use config::{Config, DeletionMode};
use names::Place;
use write::PostgresWriter;

pub const DOCUMENTATION: &str = "https://docs.airbyte.com/integrations/destinations/postgres";

/// Notices of triggers would fill the connection while rows go the other way. A role for which commits are not waited for
/// would let the ledger run ahead.
const SETTINGS: &str = "SET client_min_messages = 'error'; \
    SELECT pg_catalog.set_config('synchronous_commit', 'on', false) WHERE pg_catalog.current_setting('synchronous_commit') = 'off'";

#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresDestination;

#[async_trait]
impl Destination for PostgresDestination {
    fn spec(&self) -> Spec {
        Spec::of::<Config>(DOCUMENTATION).with_modes(&[
            DestinationSyncMode::Append,
            DestinationSyncMode::Overwrite,
            DestinationSyncMode::AppendDedup,
        ])
    }

    async fn check(&self, config: &Value, cancel: &CancellationToken) -> Result<()> {
        let config = Config::read(config)?;
        let server = Arc::new(config.server()?);
        let mut session = connect(&server, cancel).await.map_err(super::as_answer)?;
        session.execute("BEGIN").await?;
        let tried = try_schema(&mut session, &config.schema).await;
        // Nothing is left behind, whatever happened.
        session.execute("ROLLBACK").await?;
        tried.map_err(|error| access::explain(error, &server, std::iter::empty()))
    }

    async fn open(&self, request: OpenRequest) -> Result<Box<dyn Writer>> {
        let config = Config::read(&request.config)?;
        let session = connect(&Arc::new(config.server()?), &request.cancel).await?;
        let soft_deletes = config.cdc_deletion_mode == DeletionMode::Soft;
        Ok(Box::new(PostgresWriter::new(session, config.schema, soft_deletes, request)?))
    }
}

async fn connect(server: &Arc<Server>, cancel: &CancellationToken) -> Result<Session> {
    let mut session = Session::connect(server, cancel).await?;
    let encoding = session.value("SHOW server_encoding").await?.unwrap_or_default();
    if !matches!(encoding.as_str(), "UTF8" | "SQL_ASCII") {
        return Err(Error::config(format!(
            "Database `{}` is encoded in {encoding}, which has no place for many characters",
            server.database
        ))
        .with_hint("Use a database that was made with ENCODING 'UTF8'"));
    }
    session.query(SETTINGS).await?;
    Ok(session)
}

/// Makes a table, writes and drops it.
async fn try_schema(session: &mut Session, schema: &str) -> Result<()> {
    table::ensure_schema(session, schema).await?;
    let probe = Place::new(schema, format!("_leat_check_{}", uuid::Uuid::new_v4().simple())).sql();
    session
        .execute(&format!("CREATE TABLE {probe} (x bigint); INSERT INTO {probe} VALUES (1); DROP TABLE {probe}"))
        .await?;
    Ok(())
}
