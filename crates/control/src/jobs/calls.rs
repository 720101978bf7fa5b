//! What somebody asks for: sync, reset, cancel. Each call waits for what it promises at most 10 s and then answers the
//! truth; it holds no transaction while it waits.

use protocol::StreamDescriptor;
use store::{ConnectionStatus, Job, JobStatus, Tx};
use uuid::Uuid;

use super::{create, model::JobInfo, read::not_found, settle};
use crate::{
    Control, Error, Result, catalog,
    connections::{self, Connection},
    dispatch::Deadline,
};

impl Control {
    /// Starts a sync and waits until it runs. During the wait between two attempts it starts the next one now and answers
    /// the same job. Where a reset has failed, it is a reset again.
    ///
    /// # Errors
    /// 404; 409 if the connection is not active or a job of it runs.
    pub async fn sync(&self, connection: Uuid) -> Result<JobInfo> {
        let deadline = self.deadline();
        let mut tx = self.write_before(deadline).await?;
        let mut connection = connections::load(&mut tx, connection).await?;
        require_active(&connection)?;
        let (job, attempts) = match tx.active_job(connection.id).await? {
            None => (create::next(&mut tx, &mut connection, self.clock().now()).await?, 0),
            Some(job) if job.status == JobStatus::Incomplete && !job.cancel_requested => {
                tx.set_job_retry(job.id, &job.retry, Some(self.now_ms())).await?;
                let attempts = tx.attempts(job.id).await?.len();
                (job, attempts)
            }
            Some(job) => {
                let message = format!("A job of this connection is running already: job {}.", job.id);
                return Err(
                    Error::conflict("job_running", message).with_hint("Wait for it, or cancel it with jobs/cancel.")
                );
            }
        };
        tx.commit().await?;
        self.signal_changed();
        self.signal_due();
        self.wait_for_attempt(&job, attempts, deadline).await?;
        self.job_info(job.id).await
    }

    /// Empties the tables of the given streams (`None` = all of the configured catalog) and forgets their states. A running
    /// job is cancelled first. Waits until the reset runs.
    ///
    /// # Errors
    /// 404; 409 for a deprecated connection.
    pub async fn reset(&self, connection: Uuid, streams: Option<Vec<StreamDescriptor>>) -> Result<JobInfo> {
        let deadline = self.deadline();
        let mut tx = self.write_before(deadline).await?;
        let mut connection = connections::load(&mut tx, connection).await?;
        if connection.status == ConnectionStatus::Deprecated {
            return Err(not_active(&connection));
        }
        let streams = match streams {
            Some(streams) => streams,
            None => catalog::descriptors(&mut tx, &connection).await?,
        };
        let now = self.clock().now();
        let Some(before) = tx.active_job(connection.id).await? else {
            let job = create::reset(&mut tx, &mut connection, streams, now).await?;
            tx.commit().await?;
            self.signal_changed();
            self.signal_due();
            self.wait_for_attempt(&job, 0, deadline).await?;
            return self.job_info(job.id).await;
        };
        // Whoever ends that job makes the reset, in the same transaction: this call may have given up by then.
        let mut doc = create::doc(&before)?;
        tx.add_pending_resets(connection.id, &streams).await?;
        doc.then_reset = Some(streams);
        tx.set_job_doc(before.id, &create::json(&doc)?).await?;
        self.cancel_in(tx, &before).await?;
        let (id, before_id) = (connection.id, before.id);
        self.wait_for(deadline, move |control| async move { Ok(follower(&control, id, before_id).await?.is_some()) })
            .await?;
        match follower(self, id, before_id).await? {
            Some(job) => {
                self.wait_for_attempt(&job, 0, deadline).await?;
                self.job_info(job.id).await
            }
            None => self.job_info(before.id).await,
        }
    }

    /// Cancels a job and waits until it has stopped. A job that has ended stays as it is; a reset that has emptied its
    /// tables by then succeeds.
    ///
    /// # Errors
    /// 404.
    pub async fn cancel(&self, job: i64) -> Result<JobInfo> {
        let deadline = self.deadline();
        let connection = self.job_light(job).await?.connection_id;
        let mut tx = self.write_before(deadline).await?;
        let found = settle::lock_job(&mut tx, connection, job).await?.ok_or_else(|| not_found(job))?;
        if found.status.is_final() {
            drop(tx);
            return self.job_info(job).await;
        }
        self.cancel_in(tx, &found).await?;
        self.wait_for_end(job, deadline).await?;
        self.job_info(job).await
    }

    /// Asks for the end of an active job; one that has no running attempt ends here and now.
    async fn cancel_in(&self, mut tx: Tx, job: &Job) -> Result<()> {
        tx.request_cancel(job.id, self.now_ms()).await?;
        if job.status != JobStatus::Running {
            settle::end_job(&mut tx, job, JobStatus::Cancelled, self.clock().now()).await?;
        }
        tx.commit().await?;
        if let Some(executor) = self.inner.dispatch.executor() {
            executor.cancel(job.id);
        }
        self.signal_changed();
        self.signal_due();
        Ok(())
    }

    /// Waits for an attempt beyond the first `attempts`, or the end of the job.
    async fn wait_for_attempt(&self, job: &Job, attempts: usize, deadline: Deadline) -> Result<()> {
        let id = job.id;
        self.wait_for(deadline, move |control| async move {
            let mut tx = control.read().await?;
            let Some(now) = tx.job(id).await? else { return Ok(true) };
            Ok(now.status.is_final() || tx.attempts(id).await?.len() > attempts)
        })
        .await
    }

    async fn wait_for_end(&self, job: i64, deadline: Deadline) -> Result<()> {
        self.wait_for(deadline, move |control| async move {
            let found = control.read().await?.job(job).await?;
            Ok(found.is_none_or(|found| found.status.is_final()))
        })
        .await
    }
}

/// The job that came after `before`; it may have ended again already.
async fn follower(control: &Control, connection: Uuid, before: i64) -> Result<Option<Job>> {
    let mut tx = control.read().await?;
    if let Some(job) = tx.active_job(connection).await?.filter(|job| job.id > before) {
        return Ok(Some(job));
    }
    let filter = store::JobFilter { connection_id: Some(connection), limit: Some(1), ..Default::default() };
    Ok(tx.jobs(&filter).await?.into_iter().next().filter(|job| job.id > before))
}

fn require_active(connection: &Connection) -> Result<()> {
    if connection.status == ConnectionStatus::Active { Ok(()) } else { Err(not_active(connection)) }
}

fn not_active(connection: &Connection) -> Error {
    let status = match connection.status {
        ConnectionStatus::Active => "active",
        ConnectionStatus::Inactive => "inactive",
        ConnectionStatus::Deprecated => "deprecated",
    };
    Error::conflict("connection_not_active", format!("Connection {} is {status}, so it does not run.", connection.id))
        .with_hint("Set its status to active with connections/update.")
}
