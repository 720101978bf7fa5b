//! How a job comes to be. While it is active its connection has no next run; that is worked out when the job ends.

use chrono::{DateTime, Utc};
use protocol::{Json, StreamDescriptor};
use serde::Serialize;
use store::{ConnectionStatus, Job, JobKind, NewJob, Tx};
use uuid::Uuid;

use super::{
    model::{JobDoc, ResetDoc},
    retry::Tally,
};
use crate::{
    Error, ErrorKind, Result,
    connections::{self, Connection},
};

/// The job that a connection needs now: a reset where streams still wait for one, otherwise a sync. The connection has no
/// active job.
pub(crate) async fn next(tx: &mut Tx, connection: &mut Connection, now: DateTime<Utc>) -> Result<Job> {
    let waiting = tx.pending_resets(connection.id).await?;
    if !waiting.is_empty() {
        return reset(tx, connection, waiting, now).await;
    }
    let notices = connections::take_notices(tx, connection).await?;
    insert(tx, connection.id, JobKind::Sync, JobDoc { notices, ..JobDoc::default() }, now).await
}

/// A reset of these streams, under an origin that is reserved now: every attempt of it writes the same. Until it has
/// succeeded the streams wait for a reset, so that no sync comes first.
pub(crate) async fn reset(
    tx: &mut Tx,
    connection: &mut Connection,
    streams: Vec<StreamDescriptor>,
    now: DateTime<Utc>,
) -> Result<Job> {
    tx.add_pending_resets(connection.id, &streams).await?;
    let origin = tx.reserve_origin(connection.id).await?;
    let notices = connections::take_notices(tx, connection).await?;
    let doc = JobDoc { reset: Some(ResetDoc { streams, origin }), notices, then_reset: None };
    insert(tx, connection.id, JobKind::ResetConnection, doc, now).await
}

/// What the scheduler does when the time of a connection has come.
pub(crate) async fn scheduled(tx: &mut Tx, connection: Uuid, now: DateTime<Utc>) -> Result<()> {
    let Some(row) = tx.connection(connection).await? else { return Ok(()) };
    if row.next_run_at_ms.is_none_or(|due| due > now.timestamp_millis()) {
        // It was edited since it was found.
        return Ok(());
    }
    if row.status != ConnectionStatus::Active || tx.active_job(connection).await?.is_some() {
        tx.set_next_run(connection, None).await?;
        return Ok(());
    }
    let mut connection = connections::load(tx, connection).await?;
    next(tx, &mut connection, now).await?;
    Ok(())
}

async fn insert(tx: &mut Tx, connection: Uuid, kind: JobKind, doc: JobDoc, now: DateTime<Utc>) -> Result<Job> {
    tx.set_next_run(connection, None).await?;
    let new = NewJob {
        connection_id: connection,
        kind,
        doc: json(&doc)?,
        retry: json(&Tally::default())?,
        now_ms: now.timestamp_millis(),
    };
    Ok(tx.insert_job(&new).await?)
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Json> {
    Json::from_value(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "unwritable_job", "A job cannot be written as JSON.").with_source(error)
    })
}

pub(crate) fn doc(job: &Job) -> Result<JobDoc> {
    job.doc.to().map_err(|error| corrupt(job.id, error))
}

pub(crate) fn corrupt(job: i64, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "corrupt_job", format!("The stored job {job} cannot be read.")).with_source(error)
}
