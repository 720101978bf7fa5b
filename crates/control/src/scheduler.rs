//! The loop that makes jobs of what is due and hands them to the executor.
//!
//! It sleeps until the earliest of all schedules and backoffs, which is one indexed query, and is woken when something
//! changes: connections that wait cost nothing. Why a due job does not run yet is written to its connection.

use chrono::{DateTime, TimeDelta, Utc};
use store::Backend;
use tokio_util::sync::CancellationToken;

use crate::{
    Control, ErrorKind, Result,
    executor::{Stop, Ticket},
    jobs::{create, settle},
};

/// Connections that are looked at in one go.
const BATCH: i64 = 100;
/// The first page of due jobs; it grows as long as all of a page have to wait.
const PAGE: i64 = 200;
/// How often dead processes are looked for where several share the store.
const SWEEP: TimeDelta = TimeDelta::seconds(2);
/// The longest sleep: the clock on the wall may be set, or the machine may have slept, which no timer notices.
const LOOK: TimeDelta = TimeDelta::minutes(1);
/// When to look again after the store has failed, or while due jobs wait for a slot.
const AGAIN: TimeDelta = TimeDelta::seconds(1);

/// How often what is old is forgotten.
const HOUSEKEEPING: TimeDelta = TimeDelta::hours(1);

/// Forgets old jobs, logs and states, until `stop`.
pub(crate) async fn keep_house(control: Control, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = control.clock().sleep_until(control.clock().now() + HOUSEKEEPING) => {}
        }
        let pruned = tokio::select! {
            () = stop.cancelled() => return,
            pruned = control.store().prune(control.now_ms(), control.settings().keep) => pruned,
        };
        match pruned {
            Ok(pruned) => tracing::debug!(?pruned, "old jobs, logs and states were forgotten"),
            Err(error) => tracing::warn!("what is old could not be forgotten: {error}"),
        }
    }
}

/// Runs until `stop`.
pub(crate) async fn run(control: Control, stop: CancellationToken) {
    loop {
        let wake = match pass(&control).await {
            Ok(wake) => wake,
            Err(error) => {
                tracing::error!(code = error.code, "the scheduler could not look at the store: {error}");
                control.clock().now() + AGAIN
            }
        };
        let Some(lease) = control.inner.dispatch.lease() else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = control.inner.dispatch.due.notified() => {}
            () = control.clock().sleep_until(wake) => {}
            () = lease.lost() => take_lease_anew(&control, &stop).await,
        }
    }
}

/// Starts all that may start; returns when to look again.
async fn pass(control: &Control) -> Result<DateTime<Utc>> {
    let now = control.clock().now();
    let several = control.store().backend() == Backend::Postgres;
    if several && let Some(lease) = control.inner.dispatch.lease() {
        let voided = control.store().sweep_dead_workers(&lease, now.timestamp_millis()).await?;
        settle::voided(control, &voided).await?;
    }
    // After a downtime there may be very many: what can run starts before all are looked at.
    while create_due(control, now).await? {
        start_due(control, now).await?;
    }
    start_due(control, now).await?;
    let next = control.read().await?.next_due_ms().await?.and_then(DateTime::from_timestamp_millis);
    // What is due and did not start waits for a slot, whose end wakes us; and for the rest of the world.
    let next = next.map(|next| if next <= now { now + AGAIN } else { next });
    let look = now + if several { SWEEP } else { LOOK };
    Ok(next.map_or(look, |next| next.min(look)))
}

/// Jobs for the connections that have been due for the longest time. False if there were none.
async fn create_due(control: &Control, now: DateTime<Utc>) -> Result<bool> {
    let due = control.read().await?.due_connections(now.timestamp_millis(), BATCH).await?;
    let some = !due.is_empty();
    for row in due {
        let mut tx = control.write().await?;
        match create::scheduled(&mut tx, row.id, now).await {
            Ok(()) => tx.commit().await?,
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                tracing::error!(connection = %row.id, code = error.code, "a scheduled job could not be made: {error}");
                tx.rollback().await?;
                // It must not hold up the others for ever.
                let mut tx = control.write().await?;
                tx.set_next_run(row.id, None).await?;
                tx.set_wait_reason(row.id, Some(&format!("its schedule could not be followed: {error}"))).await?;
                tx.commit().await?;
            }
        }
    }
    if some {
        control.signal_changed();
    }
    Ok(some)
}

/// Hands due jobs to the executor, as far as the limits allow.
async fn start_due(control: &Control, now: DateTime<Utc>) -> Result<()> {
    let Some(executor) = control.inner.dispatch.executor() else { return Ok(()) };
    let limits = control.settings().limits;
    let mut page = PAGE;
    loop {
        let mut running = executor.running();
        let mut reasons = Vec::new();
        let mut tx = control.read().await?;
        let due = tx.due_jobs(now.timestamp_millis(), page).await?;
        let is_last = (due.len() as i64) < page;
        for job in due {
            let Some(connection) = tx.connection(job.connection_id).await? else { continue };
            let ticket = Ticket {
                job: job.id,
                connection: connection.id,
                source: connection.source_id,
                destination: connection.destination_id,
            };
            if running.iter().any(|other| other.job == job.id) {
                continue;
            }
            let reason = limits.wait_reason(&running, &ticket);
            if reason.is_none() {
                running.push(ticket);
                executor.start(control, ticket);
            }
            if connection.wait_reason != reason {
                reasons.push((connection.id, reason));
            }
        }
        drop(tx);
        if !reasons.is_empty() {
            // In one order, lest two processes wait for each other's rows.
            reasons.sort();
            let mut tx = control.write().await?;
            for (connection, reason) in reasons {
                tx.set_wait_reason(connection, reason.as_deref()).await?;
            }
            tx.commit().await?;
            control.signal_changed();
        }
        if is_last || running.len() >= limits.total {
            return Ok(());
        }
        page *= 4;
    }
}

/// Invariant 3: without the lease every claim of this process may be voided at any time, so all attempts end first.
async fn take_lease_anew(control: &Control, stop: &CancellationToken) {
    if let Some(executor) = control.inner.dispatch.executor() {
        executor.stop(Stop::ClaimsLost).await;
    }
    while !stop.is_cancelled() {
        let now_ms = control.now_ms();
        match control.store().register_worker("serve", now_ms).await {
            Ok((lease, voided)) => {
                control.inner.dispatch.set_lease(std::sync::Arc::new(lease));
                if let Err(error) = settle::voided(control, &voided).await {
                    tracing::error!(code = error.code, "voided attempts could not be settled: {error}");
                }
                return;
            }
            Err(error) => tracing::error!("this process could not register as a worker again: {error}"),
        }
        let again = control.clock().now() + AGAIN;
        tokio::select! {
            () = stop.cancelled() => return,
            () = control.clock().sleep_until(again) => {}
        }
    }
}
