//! What follows from the end of an attempt: another one, or the end of the job; and what follows from that.
//!
//! Everything is written in one transaction with the end of the attempt, where owner = token: an attempt that was
//! cancelled or voided meanwhile changes nothing any more.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::{
    StreamDescriptor,
    checkpoint::{Claim, Counts},
};
use store::{AttemptStatus, ConnectionStatus, Job, JobFilter, JobKind, JobStatus, Tx, Voided};
use uuid::Uuid;

use super::{
    create,
    disable::{FAILURES, is_hopeless},
    model::{OutcomeDoc, platform_failure},
    read::not_found,
    retry::{Ended, Tally, Verdict},
};
use crate::{
    Control, Error, ErrorKind, Result, connections,
    runner::{Failure, FailureType, StreamStats},
    schedule,
};

/// How an attempt ended, as its executor saw it.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Succeeded,
    /// The cause first.
    Failed(Vec<Failure>),
    /// It was asked to stop, and did.
    Cancelled,
    /// The process stops in good order.
    Interrupted,
}

/// Records the end of an attempt and what follows.
pub(crate) async fn ended(control: &Control, claim: &Claim, ending: &Ending, streams: &[StreamStats]) -> Result<()> {
    let now = control.clock().now();
    let now_ms = now.timestamp_millis();
    let mut tx = control.write().await?;
    let connection =
        claim.connection.parse().map_err(|_| Error::not_found(connections::row::TOKEN, &claim.connection))?;
    let job = lock_job(&mut tx, connection, claim.job).await?.ok_or_else(|| not_found(claim.job))?;
    let mut outcome = OutcomeDoc { streams: streams.to_vec(), failures: Vec::new() };
    let ending = match ending {
        // A reset that has committed cannot be cancelled any more. All else that somebody has cancelled stays cancelled,
        // whatever the data path says in the end.
        Ending::Succeeded if job.cancel_requested && job.kind == JobKind::ResetConnection => &Ending::Succeeded,
        _ if job.cancel_requested => &Ending::Cancelled,
        Ending::Cancelled => {
            let message = "The attempt stopped though nobody had asked for it.";
            &Ending::Failed(vec![platform_failure(FailureType::SystemError, message, now_ms)])
        }
        ending => ending,
    };
    match ending {
        Ending::Succeeded => {}
        Ending::Failed(failures) => outcome.failures.clone_from(failures),
        Ending::Cancelled => {
            let message = "The job was cancelled.";
            outcome.failures = vec![platform_failure(FailureType::ManualCancellation, message, now_ms)];
        }
        Ending::Interrupted => {
            let message = "The server was stopped while this attempt ran; the job goes on after the next start.";
            outcome.failures = vec![platform_failure(FailureType::SystemError, message, now_ms)];
        }
    }
    let succeeded = matches!(ending, Ending::Succeeded);
    let status = if succeeded { AttemptStatus::Succeeded } else { AttemptStatus::Failed };
    // Invariant 3: `Fenced` unless the attempt is still ours.
    tx.end_attempt(claim, status, &create::json(&outcome)?, now_ms).await?;
    recount_earlier(&mut tx, claim).await?;
    match ending {
        Ending::Succeeded => end_job(&mut tx, &job, JobStatus::Succeeded, now).await?,
        Ending::Cancelled => end_job(&mut tx, &job, JobStatus::Cancelled, now).await?,
        Ending::Interrupted => {
            tx.set_job_status(job.id, JobStatus::Incomplete, now_ms).await?;
            tx.set_job_retry(job.id, &job.retry, Some(now_ms)).await?;
        }
        Ending::Failed(failures) => {
            let is_config = failures.first().is_some_and(|cause| cause.failure_type == FailureType::ConfigError);
            let moved = streams.iter().any(|stream| stream.committed.written > 0 || stream.committed.rejected > 0);
            let ended = if is_config { Ended::ConfigError } else { Ended::Failed { moved } };
            go_on(&mut tx, &job, ended, now).await?;
        }
    }
    tx.commit().await?;
    control.inner.dispatch.forget_progress(job.id);
    control.signal_changed();
    control.signal_due();
    Ok(())
}

/// Settles the attempts that were lost with their process.
pub(crate) async fn voided(control: &Control, lost: &[Voided]) -> Result<()> {
    for lost in lost {
        let now = control.clock().now();
        let mut tx = control.write().await?;
        let Some(job) = lock_job(&mut tx, lost.connection, lost.job).await? else { continue };
        let attempt = tx.attempt(lost.job, lost.attempt).await?;
        let counts = tx.attempt_counts(lost.job, lost.attempt).await?;
        let moved = counts.iter().any(|(_, counts)| *counts != Counts::default());
        let mut outcome: OutcomeDoc =
            attempt.and_then(|attempt| attempt.outcome).and_then(|json| json.to().ok()).unwrap_or_default();
        // Its figures are of the last second before the loss; what was committed is in the ledger.
        for (stream, committed) in counts {
            set_committed(&mut outcome.streams, stream, committed);
        }
        let failure = if lost.cancel_requested {
            platform_failure(FailureType::ManualCancellation, "The job was cancelled.", now.timestamp_millis())
        } else {
            let message = "The server ended while this attempt ran. The job goes on from the last stored state.";
            platform_failure(FailureType::SystemError, message, now.timestamp_millis())
        };
        outcome.failures = vec![failure];
        tx.set_attempt_outcome(lost.job, lost.attempt, &create::json(&outcome)?).await?;
        if lost.cancel_requested {
            end_job(&mut tx, &job, JobStatus::Cancelled, now).await?;
        } else {
            go_on(&mut tx, &job, Ended::Crashed { moved }, now).await?;
        }
        tx.commit().await?;
        tracing::info!(job = lost.job, attempt = lost.attempt, "an attempt was lost with its process");
    }
    control.signal_changed();
    control.signal_due();
    Ok(())
}

/// What an earlier attempt committed is known for certain only after a later one has recovered: a commit may have been
/// found in the destination, a staging table may have been dropped (Invariant 2).
async fn recount_earlier(tx: &mut Tx, claim: &Claim) -> Result<()> {
    for number in 0..claim.attempt {
        let Some(attempt) = tx.attempt(claim.job, number).await? else { continue };
        let mut outcome: OutcomeDoc = attempt.outcome.and_then(|json| json.to().ok()).unwrap_or_default();
        let before = outcome.streams.clone();
        let counts = tx.attempt_counts(claim.job, number).await?;
        for stream in &mut outcome.streams {
            if !counts.iter().any(|(name, _)| *name == stream.stream) {
                stream.committed = Counts::default();
            }
        }
        for (stream, committed) in counts {
            set_committed(&mut outcome.streams, stream, committed);
        }
        if outcome.streams != before {
            tx.set_attempt_outcome(claim.job, number, &create::json(&outcome)?).await?;
        }
    }
    Ok(())
}

fn set_committed(streams: &mut Vec<StreamStats>, stream: StreamDescriptor, committed: Counts) {
    match streams.iter_mut().find(|known| known.stream == stream) {
        Some(known) => known.committed = committed,
        None => {
            let (emitted, emitted_bytes) = (committed.read, committed.bytes);
            streams.push(StreamStats { stream, emitted, emitted_bytes, states: 0, committed, complete: false });
        }
    }
}

/// Ends the jobs that somebody cancelled just before the process ended.
pub(crate) async fn left_cancels(control: &Control) -> Result<()> {
    let jobs = control.read().await?.active_jobs().await?;
    for job in jobs.into_iter().filter(|job| job.cancel_requested && job.status != JobStatus::Running) {
        let mut tx = control.write().await?;
        let Some(job) = lock_job(&mut tx, job.connection_id, job.id).await? else { continue };
        end_job(&mut tx, &job, JobStatus::Cancelled, control.clock().now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Gets a job in a transaction that writes. Rows are always locked in this order, lest two transactions wait for each other
/// on Postgres: connection, job, attempt.
pub(crate) async fn lock_job(tx: &mut Tx, connection: Uuid, job: i64) -> Result<Option<Job>> {
    tx.connection(connection).await?;
    Ok(tx.job(job).await?)
}

/// Another attempt, or the job has failed.
async fn go_on(tx: &mut Tx, job: &Job, ended: Ended, now: DateTime<Utc>) -> Result<()> {
    let mut tally: Tally = job.retry.to().map_err(|error| create::corrupt(job.id, error))?;
    let verdict = tally.after(ended);
    let next = match verdict {
        Verdict::Retry { wait } => {
            now.checked_add_signed(TimeDelta::from_std(wait).unwrap_or_default()).map(|at| at.timestamp_millis())
        }
        Verdict::GiveUp => None,
    };
    tx.set_job_retry(job.id, &create::json(&tally)?, next).await?;
    if verdict == Verdict::GiveUp {
        return end_job(tx, job, JobStatus::Failed, now).await;
    }
    if let Verdict::Retry { wait } = verdict
        && !wait.is_zero()
    {
        let reason = format!("waits {} s before its next attempt, because the last one failed", wait.as_secs());
        tx.set_wait_reason(job.connection_id, Some(&reason)).await?;
    }
    tx.set_job_status(job.id, JobStatus::Incomplete, now.timestamp_millis()).await?;
    Ok(())
}

/// Gives a job its final status, and its connection a next run or the reset that waited for this end. A job that is
/// final already stays as it is.
pub(crate) async fn end_job(tx: &mut Tx, job: &Job, status: JobStatus, now: DateTime<Utc>) -> Result<()> {
    if !tx.set_job_status(job.id, status, now.timestamp_millis()).await? {
        return Ok(());
    }
    tx.set_wait_reason(job.connection_id, None).await?;
    // Read again: a reset may have been asked for since.
    let Some(job) = tx.job(job.id).await? else { return Ok(()) };
    let doc = create::doc(&job)?;
    if let Some(reset) = &doc.reset
        && status != JobStatus::Failed
    {
        tx.remove_pending_resets(job.connection_id, &reset.streams).await?;
    }
    let mut connection = match connections::load(tx, job.connection_id).await {
        Ok(connection) => connection,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(streams) = doc.then_reset
        && connection.status != ConnectionStatus::Deprecated
    {
        create::reset(tx, &mut connection, streams, now).await?;
        return Ok(());
    }
    if status == JobStatus::Failed && disabled(tx, &job, now).await? {
        return Ok(());
    }
    let last = last_run_start(tx, job.connection_id).await?;
    let next = schedule::next_run(&connection.schedule, connection.status, last, now);
    tx.set_next_run(job.connection_id, next.map(|next| next.timestamp_millis())).await?;
    Ok(())
}

/// When the newest job that was not cancelled was created.
pub(crate) async fn last_run_start(tx: &mut Tx, connection: Uuid) -> Result<Option<DateTime<Utc>>> {
    let filter = JobFilter {
        connection_id: Some(connection),
        statuses: vec![
            JobStatus::Pending,
            JobStatus::Running,
            JobStatus::Incomplete,
            JobStatus::Succeeded,
            JobStatus::Failed,
        ],
        limit: Some(1),
        ..JobFilter::default()
    };
    let newest = tx.jobs(&filter).await?;
    Ok(newest.first().and_then(|job| DateTime::from_timestamp_millis(job.created_ms)))
}

/// Switches a connection off that has failed for too long.
async fn disabled(tx: &mut Tx, job: &Job, now: DateTime<Utc>) -> Result<bool> {
    let mut filter = JobFilter {
        connection_id: Some(job.connection_id),
        statuses: vec![JobStatus::Succeeded, JobStatus::Failed],
        limit: Some(FAILURES),
        ..JobFilter::default()
    };
    let newest = tx.jobs(&filter).await?;
    let failed = newest.iter().take_while(|job| job.status == JobStatus::Failed).count() as i64;
    if failed < FAILURES {
        return Ok(false);
    }
    filter.statuses = vec![JobStatus::Succeeded];
    filter.limit = Some(1);
    let since = match tx.jobs(&filter).await?.first() {
        Some(success) => success.updated_ms,
        None => {
            filter.statuses = vec![JobStatus::Failed];
            filter.offset = tx.count_jobs(&filter).await?.saturating_sub(1);
            tx.jobs(&filter).await?.first().map_or(job.created_ms, |first| first.created_ms)
        }
    };
    if !is_hopeless(failed, since, now.timestamp_millis()) {
        return Ok(false);
    }
    let Some(mut row) = tx.connection(job.connection_id).await? else { return Ok(false) };
    row.status = ConnectionStatus::Inactive;
    row.next_run_at_ms = None;
    row.updated_ms = now.timestamp_millis();
    let reason = format!("switched off: its last {failed} jobs failed and none succeeded for 7 days");
    tracing::warn!(connection = %row.id, "{reason}");
    row.wait_reason = Some(reason);
    tx.update_connection(&row).await?;
    Ok(true)
}
