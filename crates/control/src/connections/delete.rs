//! Deleting a connection: it becomes `deprecated` and keeps its row, its state and the history of its jobs.

use store::Tx;
use uuid::Uuid;

use super::{model::ConnectionStatus, row};
use crate::{Control, Error, Result};

impl Control {
    /// Deletes the operations that no other connection uses, then the connection; a running job is cancelled, for which
    /// this waits at most 10 s. Deleting a deleted one is fine.
    ///
    /// # Errors
    /// 404: no such connection.
    pub async fn delete_connection(&self, id: Uuid) -> Result<()> {
        let now_ms = self.now_ms();
        let mut tx = self.write().await?;
        // Locks the row on Postgres, so that two deletes of one connection do not meet.
        let operations = row::load(&mut tx, id).await?.operation_ids;
        for operation in operations {
            if tx.operation_connections(operation).await?.as_slice() != [id] {
                continue;
            }
            if let Some(mut own) = tx.operation(operation).await? {
                own.tombstone = true;
                own.updated_ms = now_ms;
                tx.update_operation(&own).await?;
            }
        }
        tx.set_connection_operations(id, &[]).await?;
        deprecate(&mut tx, id, now_ms).await?;
        tx.commit().await?;
        self.end_deleted(id).await
    }

    /// After the commit that took a connection out of use: nothing of it goes on running.
    pub(crate) async fn end_deleted(&self, id: Uuid) -> Result<()> {
        self.schedule_changed(id);
        let active = self.read().await?.active_job(id).await?;
        if let Some(job) = active {
            self.cancel(job.id).await?;
        }
        Ok(())
    }
}

/// Takes a connection out of use and leaves its operations alone, as when its source or destination is deleted. After
/// the commit call [`Control::end_deleted`].
pub(crate) async fn deprecate(tx: &mut Tx, id: Uuid, now_ms: i64) -> Result<()> {
    let Some(mut own) = tx.connection(id).await? else { return Err(Error::not_found(row::TOKEN, id)) };
    if own.status == ConnectionStatus::Deprecated {
        return Ok(());
    }
    own.status = ConnectionStatus::Deprecated;
    own.next_run_at_ms = None;
    own.wait_reason = None;
    own.updated_ms = now_ms;
    tx.update_connection(&own).await?;
    // In the same transaction: an attempt that finds its actors gone has been cancelled, it has not failed.
    if let Some(job) = tx.active_job(id).await? {
        tx.request_cancel(job.id, now_ms).await?;
    }
    Ok(())
}
