//! One attempt, from the first look at the destination to the last entry. Start at [`run`].

use std::sync::Arc;

use async_trait::async_trait;
use connector::{
    Admission, Destination, Error, ErrorKind, OpenRequest, Recovered, Result, Source, StreamPlan, Writer,
    failpoint::{planted, point},
};
use protocol::{
    ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, StreamDescriptor, SyncMode,
    checkpoint::{Claim, Position},
};
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoints::Checkpoints,
    flow::Flow,
    outcome::{Ending, Event, Failure, Log, Origin, Outcome, Step, Stop},
    reading::Reading,
    reset::reset,
    resume::{Beginning, Resumption, plan, standing},
    tally::Tally,
    targets::targets,
};

/// Everything that one attempt needs.
#[derive(Clone)]
pub struct Attempt {
    pub source: Arc<dyn Source>,
    pub destination: Arc<dyn Destination>,
    /// Secrets are in clear: it lives as long as the attempt and is never logged.
    pub source_config: Value,
    pub destination_config: Value,
    pub claim: Claim,
    pub kind: Kind,
    /// Source names; schemas hold the selected fields only; `generation_id` as of the claim.
    pub catalog: ConfiguredCatalog,
    /// The name of each stream of the catalog in the destination.
    pub tables: Vec<StreamDescriptor>,
    /// Bytes of rows that the attempt may hold.
    pub budget: usize,
    pub cancel: CancellationToken,
    pub checkpoints: Arc<dyn Checkpoints>,
    pub events: UnboundedSender<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Sync,
    /// Empties the final tables of these streams, under the origin that was reserved when the job was created.
    Reset {
        streams: Vec<StreamDescriptor>,
        origin: i64,
    },
}

/// Figures are told about this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// Runs an attempt to its end. Returns only after nothing of it is left running; dropping the future stops the source and
/// forgets what is not committed.
pub async fn run(attempt: Attempt) -> Outcome {
    point("attempt-begin");
    let log = Log(attempt.events.clone());
    let streams = attempt.catalog.streams.iter().map(|configured| configured.stream.descriptor.clone());
    let mut tallies: Vec<Tally> = streams.map(Tally::new).collect();
    let ended = with_destination(&attempt, &mut tallies, &log).await;
    let result = match ended {
        Ok(()) => Ending::Succeeded,
        Err(stop) => ending(&attempt, stop, &log).await,
    };
    let streams: Vec<_> = tallies.into_iter().map(|tally| tally.stats).collect();
    let _ = attempt.events.send(Event::Progress(streams.clone()));
    Outcome { result, streams }
}

async fn with_destination(attempt: &Attempt, tallies: &mut [Tally], log: &Log) -> Step {
    let (mut writer, notes) = open(attempt, log).await?;
    let ended = match &attempt.kind {
        Kind::Sync => sync(attempt, writer.as_mut(), tallies, log).await,
        Kind::Reset { streams, origin } => reset(attempt, writer.as_mut(), streams, *origin, log).await,
    };
    if let Err(error) = writer.close().await {
        log.warn(format!("The destination did not close cleanly: {error}"));
    }
    // The notes end with the writer; one that somebody holds on to must not keep the attempt.
    let _ = timeout(PROGRESS, notes).await;
    ended
}

async fn open(attempt: &Attempt, log: &Log) -> Step<(Box<dyn Writer>, JoinHandle<()>)> {
    let (notes, mut lines) = unbounded_channel();
    let request = OpenRequest {
        config: attempt.destination_config.clone(),
        claim: attempt.claim.clone(),
        targets: targets(&attempt.catalog, &attempt.tables).map_err(Stop::replication)?,
        cancel: attempt.cancel.clone(),
        notes,
    };
    let log = log.clone();
    let forward = tokio::spawn(async move {
        while let Some((level, message)) = lines.recv().await {
            log.line(level, message);
        }
    });
    let writer = attempt.destination.open(request).await.map_err(Stop::destination)?;
    Ok((writer, forward))
}

/// What the destination remembers. It is asked before the source is opened or a table is touched.
pub(crate) async fn recover(attempt: &Attempt, writer: &mut dyn Writer) -> Step<Recovered> {
    let admission = Arc::new(Admitted { checkpoints: attempt.checkpoints.clone() });
    let recovered = writer.recover(admission).await.map_err(Stop::destination)?;
    point("recovered");
    if planted("skip-recover") {
        return Ok(Recovered::Unknown);
    }
    Ok(recovered)
}

struct Admitted {
    checkpoints: Arc<dyn Checkpoints>,
}

#[async_trait]
impl Admission for Admitted {
    async fn confirm(&self, positions: &[Position]) -> Result<()> {
        let highest = positions.iter().map(|position| position.point.origin).max().unwrap_or_default();
        self.checkpoints.confirm(highest).await
    }
}

async fn sync(attempt: &Attempt, writer: &mut dyn Writer, tallies: &mut [Tally], log: &Log) -> Step {
    let recovered = recover(attempt, writer).await?;
    let resumption = resumption(attempt, &recovered, log).await?;
    for ((beginning, tally), configured) in resumption.streams.iter().zip(&mut *tallies).zip(&attempt.catalog.streams) {
        log.info(describe(configured, beginning));
        tally.total_before = beginning.counted;
        tally.stats.complete = beginning.plan == StreamPlan::Done;
    }
    let plans: Vec<StreamPlan> = resumption.streams.iter().map(|beginning| beginning.plan.clone()).collect();
    writer.start(&plans).await.map_err(Stop::destination)?;
    if plans.iter().all(|plan| *plan == StreamPlan::Done) {
        return Ok(());
    }

    let mut reading = Reading::start(attempt, source_catalog(&attempt.catalog, &plans), resumption.states());
    let mut flow = Flow::new(attempt, writer, tallies, log, resumption)?;
    if let Err(stop) = pump(attempt, &mut reading, &mut flow).await {
        reading.stop().await;
        return Err(stop);
    }
    match reading.end().await {
        Ok(()) => flow.finish().await,
        Err(error) => {
            // What its marks cover is good; no stream is completed, nothing is merged or swapped.
            if let Err(stop) = flow.flush().await {
                log.warn(format!("Rows up to the last state could not be committed: {}", stop.error));
            }
            Err(Stop::source(error))
        }
    }
}

/// Moves messages until the source has ended.
async fn pump(attempt: &Attempt, reading: &mut Reading, flow: &mut Flow<'_>) -> Step {
    let stall = reading.stall();
    let mut tell_at = Instant::now() + PROGRESS;
    loop {
        let wake = flow.due_at().map_or(tell_at, |due| due.min(tell_at));
        tokio::select! {
            biased;
            () = attempt.cancel.cancelled() => return Err(Stop::replication(Error::cancelled())),
            message = reading.next() => match message {
                Some(message) => flow.take(message).await?,
                None => return Ok(()),
            },
            // The source waits for room and nothing of it is on the way: what is held here is in its way.
            () = stall.met() => flow.let_go().await?,
            () = sleep_until(wake) => {}
        }
        let now = Instant::now();
        if flow.is_full() || flow.due_at().is_some_and(|due| due <= now) {
            flow.flush().await?;
        }
        if flow.is_full() {
            flow.spill().await?;
        }
        if tell_at <= now {
            flow.tell();
            tell_at = now + PROGRESS;
        }
    }
}

async fn resumption(attempt: &Attempt, recovered: &Recovered, log: &Log) -> Step<Resumption> {
    let checkpoints = attempt.checkpoints.as_ref();
    let streams: Vec<_> = attempt.catalog.streams.iter().map(|stream| stream.stream.descriptor.clone()).collect();
    let standing = standing(&attempt.claim, &streams, recovered, checkpoints, log).await.map_err(Stop::persistence)?;
    plan(&attempt.claim, &attempt.catalog, standing, recovered, checkpoints).await.map_err(Stop::persistence)
}

/// Streams that are done are not read again; the others carry their generation.
fn source_catalog(catalog: &ConfiguredCatalog, plans: &[StreamPlan]) -> ConfiguredCatalog {
    let mut catalog = catalog.clone();
    let mut streams = Vec::with_capacity(catalog.streams.len());
    for (mut stream, plan) in catalog.streams.into_iter().zip(plans) {
        let Some(generation) = plan.generation() else { continue };
        stream.generation_id = Some(generation);
        if stream.minimum_generation_id.is_some_and(|minimum| minimum > 0) {
            stream.minimum_generation_id = Some(generation);
        }
        streams.push(stream);
    }
    catalog.streams = streams;
    catalog
}

/// The first lines of every attempt's log.
fn describe(configured: &ConfiguredStream, beginning: &Beginning) -> String {
    let read = match configured.sync_mode {
        SyncMode::FullRefresh => "full_refresh",
        SyncMode::Incremental => "incremental",
    };
    let write = match configured.destination_sync_mode {
        DestinationSyncMode::Append => "append",
        DestinationSyncMode::Overwrite => "overwrite",
        DestinationSyncMode::AppendDedup => "append_dedup",
        DestinationSyncMode::OverwriteDedup => "overwrite_dedup",
        DestinationSyncMode::Update => "update",
        DestinationSyncMode::SoftDelete => "soft_delete",
    };
    let generation = beginning.plan.generation();
    let place = match (&beginning.plan, &beginning.state) {
        (StreamPlan::Done, _) => "is left out".to_owned(),
        (_, Some(_)) => format!("resumes at mark {}.{}", beginning.head.origin, beginning.head.seq),
        (_, None) => "starts from the beginning".to_owned(),
    };
    let generation = generation.map_or_else(String::new, |generation| format!(", generation {generation}"));
    format!("Stream `{}` ({read}, {write}{generation}) {place}: {}", configured.stream.descriptor, beginning.reason)
}

/// What a stop means. Who owns the connection is decided by the store alone: a destination that refuses this writer while
/// the claim holds is a failure that somebody has to see. Whatever else ends an attempt after it was cancelled, it was
/// cancelled.
async fn ending(attempt: &Attempt, stop: Stop, log: &Log) -> Ending {
    if stop.error.kind == ErrorKind::Fenced {
        let lost = match stop.origin {
            Origin::Persistence => true,
            _ => matches!(attempt.checkpoints.confirm(0).await, Err(error) if error.kind == ErrorKind::Fenced),
        };
        if lost {
            return Ending::ClaimLost;
        }
    } else if attempt.cancel.is_cancelled() {
        if stop.error.kind != ErrorKind::Cancelled {
            log.warn(format!("While the attempt was being cancelled: {}", stop.error));
        }
        return Ending::Cancelled;
    }
    Ending::Failed(vec![Failure::from(stop)])
}
