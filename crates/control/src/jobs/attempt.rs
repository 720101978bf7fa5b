//! One attempt on this machine: claim it, gather what it needs, run it, follow what it tells, settle its end.
//! Start with [`run`].

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use futures::FutureExt;
use protocol::{ConfiguredCatalog, DestinationSyncMode, StreamDescriptor, SyncMode, checkpoint::Claim};
use store::{ClaimRequest, ClaimStream, Claimed, Priority};
use tokio::sync::mpsc;

use super::{
    create,
    log::LogBuffer,
    model::{JobDoc, OutcomeDoc, platform_failure},
    settle::{self, Ending},
};
use crate::{
    Control, Error, ErrorKind, Result, catalog,
    connections::{self, Connection, resources},
    executor::{Stop, local::Order},
    runner::{
        ActorKind, AttemptEvent, AttemptInput, AttemptKind, AttemptOutcome, AttemptResult, EventSink, Failure,
        FailureType, LogLevel, StreamStats,
    },
    secrets::Redactor,
};

/// How often log lines and figures go to the store, and how often it is asked whether somebody cancelled elsewhere.
const FLUSH: TimeDelta = TimeDelta::seconds(1);
const AGAIN: TimeDelta = TimeDelta::seconds(1);

/// Runs the next attempt of a job to its end and settles it. Everything that goes wrong is recorded or logged here.
pub(crate) async fn run(control: &Control, job: i64, order: &Order) {
    let (claimed, plan) = match claim(control, job).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(job, code = error.code, "the job could not be claimed: {error}");
            // The scheduler must not come back at once.
            let again = control.clock().now() + AGAIN;
            tokio::select! {
                () = control.clock().sleep_until(again) => {}
                () = order.cancel.cancelled() => {}
            }
            return;
        }
    };
    control.signal_changed();
    let claim = claimed.claim.clone();
    tracing::info!(job, attempt = claim.attempt, connection = %claimed.job.connection_id, "attempt started");
    let (ending, streams) = match prepare(control, claimed, plan).await {
        Ok(None) => (Ending::Succeeded, Vec::new()),
        Ok(Some(prepared)) => {
            let outcome = carry_out(control, prepared, order).await;
            let ending = match outcome.result {
                AttemptResult::Succeeded => Ending::Succeeded,
                AttemptResult::Failed(failures) => Ending::Failed(failures),
                AttemptResult::Cancelled if order.stop() == Some(Stop::Orderly) => Ending::Interrupted,
                AttemptResult::Cancelled => Ending::Cancelled,
                AttemptResult::ClaimLost => {
                    control.inner.dispatch.forget_progress(job);
                    tracing::warn!(
                        job,
                        attempt = claim.attempt,
                        "the claim was lost; nothing is recorded by this process"
                    );
                    return;
                }
            };
            (ending, outcome.streams)
        }
        Err(error) => {
            let failure_type = match error.kind {
                ErrorKind::Unavailable | ErrorKind::Internal => FailureType::SystemError,
                _ => FailureType::ConfigError,
            };
            (Ending::Failed(vec![platform_failure(failure_type, error.message, control.now_ms())]), Vec::new())
        }
    };
    record(control, &claim, ending, &streams, order).await;
}

/// What is read before the claim, because the claim needs the streams.
struct Plan {
    doc: JobDoc,
    connection: Connection,
    catalog: Result<ConfiguredCatalog>,
}

async fn claim(control: &Control, job: i64) -> Result<Option<(Claimed, Plan)>> {
    let Some(lease) = control.inner.dispatch.lease() else { return Ok(None) };
    let mut tx = control.read().await?;
    let Some(job) = tx.job(job).await? else { return Ok(None) };
    let doc = create::doc(&job)?;
    let connection = connections::load(&mut tx, job.connection_id).await?;
    let catalog = catalog::configured(&mut tx, &connection).await;
    drop(tx);
    let streams: Vec<ClaimStream> = match (&doc.reset, &catalog) {
        (Some(reset), _) => reset.streams.iter().map(|stream| claim_stream(stream, true)).collect(),
        (None, Ok(catalog)) => {
            let of = |stream: &protocol::ConfiguredStream| {
                claim_stream(&stream.stream.descriptor, stream.sync_mode == SyncMode::FullRefresh)
            };
            catalog.streams.iter().map(of).collect()
        }
        (None, Err(_)) => Vec::new(),
    };
    let request = ClaimRequest { job: job.id, worker: lease.id(), streams: &streams, now_ms: control.now_ms() };
    let mut tx = control.write().await?;
    // In the order of `settle::lock_job`.
    tx.connection(job.connection_id).await?;
    let Some(claimed) = tx.claim_attempt(&request).await? else { return Ok(None) };
    tx.set_wait_reason(job.connection_id, None).await?;
    tx.commit().await?;
    Ok(Some((claimed, Plan { doc, connection, catalog })))
}

fn claim_stream(stream: &StreamDescriptor, raise_generation: bool) -> ClaimStream {
    ClaimStream { stream: stream.clone(), raise_generation }
}

struct Prepared {
    input: AttemptInput,
    redactor: Redactor,
}

/// `None` where there is nothing to do: a reset of no streams.
async fn prepare(control: &Control, claimed: Claimed, plan: Plan) -> Result<Option<Prepared>> {
    let Plan { doc, connection, catalog } = plan;
    let kind = match doc.reset {
        Some(reset) if reset.streams.is_empty() => return Ok(None),
        Some(reset) => AttemptKind::Reset { streams: reset.streams, origin: reset.origin },
        None => AttemptKind::Sync,
    };
    let mut catalog = catalog?;
    set_generations(&mut catalog, &kind, &claimed);
    let source = control.resolve(ActorKind::Source, connection.source_id).await?;
    let destination = control.resolve(ActorKind::Destination, connection.destination_id).await?;
    let redactor = source.redactor.clone().with(destination.redactor.clone());
    let input = AttemptInput {
        claim: claimed.claim,
        kind,
        source: source.input(),
        destination: destination.input(),
        catalog,
        naming: connection.naming(),
        memory_limit: resources::memory_limit(connection.resource_requirements.as_ref()),
        notices: if claimed.first { doc.notices } else { Vec::new() },
    };
    Ok(Some(Prepared { input, redactor }))
}

/// Generations as of the claim. Rows of older ones are to go where the stream is rewritten.
fn set_generations(catalog: &mut ConfiguredCatalog, kind: &AttemptKind, claimed: &Claimed) {
    for stream in &mut catalog.streams {
        let found = claimed.generations.iter().find(|(descriptor, _)| *descriptor == stream.stream.descriptor);
        let generation = found.map_or(0, |(_, generation)| *generation);
        let rewritten = match kind {
            AttemptKind::Sync => {
                let overwrites = matches!(
                    stream.destination_sync_mode,
                    DestinationSyncMode::Overwrite | DestinationSyncMode::OverwriteDedup
                );
                stream.sync_mode == SyncMode::FullRefresh && overwrites
            }
            AttemptKind::Reset { streams, .. } => streams.contains(&stream.stream.descriptor),
        };
        stream.generation_id = Some(generation);
        stream.minimum_generation_id = Some(if rewritten { generation } else { 0 });
        stream.sync_id = Some(claimed.claim.job);
    }
}

/// Runs the attempt while its events are followed. A panic of the data path is a failure like others.
async fn carry_out(control: &Control, prepared: Prepared, order: &Order) -> AttemptOutcome {
    let Prepared { input, redactor } = prepared;
    let claim = input.claim.clone();
    let (events, told): (EventSink, _) = mpsc::unbounded_channel();
    let (batches, waiting) = mpsc::channel(1);
    let lost = AtomicBool::new(false);
    let run = async {
        // The sink goes with the run, so that `follow` ends after it.
        let run = AssertUnwindSafe(control.runner().run(input, order.cancel.clone(), events));
        run.catch_unwind().await
    };
    let follow = follow(control, &claim, told, LogBuffer::new(redactor.clone()), batches);
    let keep = keep(control, &claim, waiting, order, &lost);
    let (ran, streams, ()) = tokio::join!(run, follow, keep);
    let mut outcome = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let mut failure =
            platform_failure(FailureType::SystemError, "This is a bug: the attempt panicked.", control.now_ms());
        failure.internal_message = text.map(str::to_owned);
        AttemptOutcome { result: AttemptResult::Failed(vec![failure]), streams }
    });
    if let AttemptResult::Failed(failures) = &mut outcome.result {
        failures.iter_mut().for_each(|failure| redact(failure, &redactor));
    }
    if lost.load(Ordering::Acquire) || order.stop() == Some(Stop::ClaimsLost) {
        outcome.result = AttemptResult::ClaimLost;
    }
    outcome
}

/// Invariant 6: what a connector says of its failure goes into the store and into answers.
fn redact(failure: &mut Failure, redactor: &Redactor) {
    failure.external_message = redactor.redact(&failure.external_message);
    for text in [&mut failure.internal_message, &mut failure.stacktrace].into_iter().flatten() {
        *text = redactor.redact(text);
    }
}

struct Batch {
    log: Option<String>,
    progress: Option<Vec<StreamStats>>,
}

/// Takes the events of an attempt as they come and passes them on once a second; never waits for the store, so that what
/// piles up is bounded. Returns the last figures.
async fn follow(
    control: &Control,
    claim: &Claim,
    mut told: mpsc::UnboundedReceiver<AttemptEvent>,
    mut log: LogBuffer,
    batches: mpsc::Sender<Batch>,
) -> Vec<StreamStats> {
    let clock = control.clock();
    log.push(clock.now(), LogLevel::Info, &format!("attempt {} of job {}", claim.attempt, claim.job));
    let mut newest = Vec::new();
    let mut is_new = false;
    let mut flush_at = clock.now() + FLUSH;
    loop {
        tokio::select! {
            event = told.recv() => match event {
                Some(AttemptEvent::Log { level, message }) => log.push(clock.now(), level, &message),
                Some(AttemptEvent::Progress(streams)) => {
                    control.inner.dispatch.set_progress(claim.job, streams.clone());
                    newest = streams;
                    is_new = true;
                }
                None => break,
            },
            () = clock.sleep_until(flush_at) => {
                flush_at = clock.now() + FLUSH;
                // A full channel means that the store is slow: the next second tries again.
                if let Ok(slot) = batches.try_reserve() {
                    let progress = is_new.then(|| newest.clone());
                    is_new = false;
                    slot.send(Batch { log: log.take(), progress });
                }
            }
        }
    }
    let last = Batch { log: log.take(), progress: None };
    // Fails only when the keeper has given up, having said why.
    let _ = batches.send(last).await;
    newest
}

/// Writes what [`follow`] passes on, and looks for a cancel that came by way of another process.
async fn keep(control: &Control, claim: &Claim, mut batches: mpsc::Receiver<Batch>, order: &Order, lost: &AtomicBool) {
    while let Some(batch) = batches.recv().await {
        match write(control, claim, batch).await {
            Ok(false) => {}
            Ok(true) => order.cancel.cancel(),
            Err(error) if error.kind == store::ErrorKind::Fenced => {
                lost.store(true, Ordering::Release);
                order.cancel.cancel();
                return;
            }
            Err(error) => tracing::warn!(job = claim.job, "log lines or figures could not be kept: {error}"),
        }
    }
}

/// Answers whether the job is being cancelled.
async fn write(control: &Control, claim: &Claim, batch: Batch) -> store::Result<bool> {
    let mut tx = control.store().write(Priority::Ledger).await?;
    tx.confirm_claim(claim, control.now_ms()).await?;
    if let Some(text) = batch.log {
        tx.append_log(claim.job, claim.attempt, &text).await?;
    }
    if let Some(streams) = batch.progress {
        let doc = OutcomeDoc { streams, failures: Vec::new() };
        match create::json(&doc) {
            Ok(doc) => tx.save_progress(claim, &doc, control.now_ms()).await?,
            Err(error) => tracing::warn!(job = claim.job, "figures could not be written: {error}"),
        }
    }
    let is_cancelled = tx.job(claim.job).await?.is_some_and(|job| job.cancel_requested);
    tx.commit().await?;
    Ok(is_cancelled)
}

/// Settles the end, however long the store takes: an end that is not recorded would keep the connection busy for ever.
async fn record(control: &Control, claim: &Claim, ending: Ending, streams: &[StreamStats], order: &Order) {
    loop {
        let error = match settle::ended(control, claim, &ending, streams).await {
            Ok(()) => {
                tracing::info!(job = claim.job, attempt = claim.attempt, "attempt ended");
                return;
            }
            Err(error) => error,
        };
        if is_fenced(&error) {
            control.inner.dispatch.forget_progress(claim.job);
            tracing::warn!(
                job = claim.job,
                attempt = claim.attempt,
                "the attempt is not ours any more; its end is not recorded"
            );
            return;
        }
        tracing::error!(
            job = claim.job,
            attempt = claim.attempt,
            "the end of an attempt could not be recorded: {error}"
        );
        if order.stop().is_some() {
            return;
        }
        control.clock().sleep_until(control.clock().now() + AGAIN).await;
    }
}

fn is_fenced(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<store::Error>());
    source.is_some_and(|source| source.kind == store::ErrorKind::Fenced)
}
