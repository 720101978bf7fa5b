//! `leat sync FILE`: the connections of a file, without a server.
//!
//! The control plane runs in this process over a store of its own in `.leat/` beside the file, so a sync from the command
//! line is claimed, recovered, recorded and retried exactly as one of a server. [`plan`] brings the store in line with the
//! file, [`watch`] listens to the attempts, [`show`] tells how far they are, [`report`] says what came of them.

mod plan;
mod report;
mod show;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use connectors::Folders;
use control::{
    Control, Settings,
    clock::SystemClock,
    connections::ConnectionStatus,
    executor::Limits,
    jobs::model::{JobInfo, JobStatus},
};
use store::{Store, StoreUrl};
use tokio::{runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Exit, explain,
    file::{Connection, File, Refused, nearest},
    registry::Registry,
    runner::EngineRunner,
};
use plan::Plan;
use report::Report;
use show::Show;
use watch::{Told, Watched};

#[derive(Args)]
pub struct Options {
    /// The file with sources, destinations and connections (YAML).
    file: PathBuf,
    /// The connections to sync, by their names in the file. Default: all that are active, one after another.
    connections: Vec<String>,
    /// Write JSON to stdout, one object per line: `progress` while it runs, one `result` per connection.
    #[arg(long)]
    json: bool,
}

/// How long a connector may take to describe its streams: large databases take minutes.
const CONNECTOR_TIMEOUT: Duration = Duration::from_secs(9 * 60);
/// How often the store is asked how a job stands; while its end is being recorded, more often.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_CLOSELY: Duration = Duration::from_millis(2);

pub fn run(options: Options) -> Result<Exit> {
    let runtime = runtime::Builder::new_multi_thread().thread_name("leat").enable_all().build()?;
    let outcome = runtime.block_on(sync(options, runtime.handle().clone()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn sync(options: Options, handle: runtime::Handle) -> Result<Exit> {
    let file = File::read(&options.file)?;
    let chosen = choose(&file, &options.connections)?;
    let stop = crate::cancelled_by_signal();

    let state = file.state_folder();
    make_private(&state).with_context(|| format!("the folder {} cannot be made", state.display()))?;
    let mut registry = Registry::new(&Folders::of_command(&file.folder, Some(&state)));
    let plan = match Plan::resolve(&mut registry, &file, &chosen, &stop).await {
        Ok(plan) => plan,
        Err(_) if stop.is_cancelled() => return Ok(Exit::Interrupted),
        Err(error) => return Err(error),
    };

    let store = Store::open(StoreUrl::Sqlite(state.join("leat.db")), &state).await.map_err(|error| {
        let hint = match error.kind {
            store::ErrorKind::Refused => ". Is another `leat sync` of this file running?",
            _ => "",
        };
        anyhow::anyhow!("the state in {} cannot be opened: {error}{hint}", state.display())
    })?;
    let (told, events) = mpsc::unbounded_channel();
    let runner = Arc::new(Watched::new(EngineRunner::new(Arc::new(registry), store.clone(), handle), told));
    // Who runs here at once is decided by the order of the file, not by a limit.
    let limits = Limits { total: usize::MAX, per_source: usize::MAX, per_destination: usize::MAX };
    let settings = Settings { connector_timeout: CONNECTOR_TIMEOUT, limits, ..Settings::default() };
    let control = Control::open(store.clone(), runner.clone(), Arc::new(SystemClock), settings)
        .await
        .map_err(explain::control)?;
    let mut session = Session { control, runner, plan, file: &file, events, stop, json: options.json };
    let outcome = session.sync_all(&chosen).await;
    session.control.shutdown().await;
    store.close().await;
    let exit = outcome?;
    if exit == Exit::Interrupted {
        eprintln!("leat: interrupted. What is committed stays; run the same command again to go on from there.");
    }
    Ok(exit)
}

/// The state holds configurations; their secrets are encrypted, but the key lies beside them.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    // Nothing in it belongs into a repository.
    std::fs::write(folder.join(".gitignore"), "*\n")
}

fn choose<'a>(file: &'a File, names: &[String]) -> Result<Vec<&'a Connection>> {
    if names.is_empty() {
        let active: Vec<_> =
            file.connections.iter().filter(|connection| connection.status == ConnectionStatus::Active).collect();
        if active.is_empty() {
            return Err(Refused("the file has no active connection".to_owned()).into());
        }
        return Ok(active);
    }
    let mut chosen: Vec<&Connection> = Vec::new();
    for name in names {
        let Some(connection) = file.connections.iter().find(|connection| connection.name == *name) else {
            let known = file.connections.iter().map(|connection| connection.name.as_str());
            let near = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(Refused(format!("the file has no connection `{name}`; {near}")).into());
        };
        if !chosen.iter().any(|other| other.name == *name) {
            chosen.push(connection);
        }
    }
    Ok(chosen)
}

struct Session<'a> {
    control: Control,
    runner: Arc<Watched>,
    plan: Plan,
    file: &'a File,
    events: mpsc::UnboundedReceiver<Told>,
    stop: CancellationToken,
    json: bool,
}

impl Session<'_> {
    async fn sync_all(&mut self, chosen: &[&Connection]) -> Result<Exit> {
        let mut exit = Exit::Ok;
        let mut ready = Vec::new();
        // All before anything runs: a job that an earlier run has left must find the store as the file is now.
        for connection in chosen {
            let prepared = tokio::select! {
                prepared = self.plan.apply(&self.control, self.file, connection) => prepared,
                () = self.stop.cancelled() => return Ok(Exit::Interrupted),
            };
            match prepared {
                Ok(prepared) => {
                    for remark in &prepared.remarks {
                        eprintln!("leat: {remark}");
                    }
                    ready.push((*connection, prepared.connection));
                }
                // The others do not suffer from it.
                Err(error) if chosen.len() > 1 => {
                    eprintln!("leat: {}: {error:#}", connection.name);
                    exit = Exit::Failed;
                }
                Err(error) => return Err(error),
            }
        }
        self.control.start().await.map_err(explain::control)?;
        for (connection, id) in ready {
            match self.sync_one(connection, id).await? {
                Exit::Ok => {}
                Exit::Interrupted => return Ok(Exit::Interrupted),
                other => exit = other,
            }
        }
        Ok(exit)
    }

    async fn sync_one(&mut self, connection: &Connection, id: Uuid) -> Result<Exit> {
        let begun = Instant::now();
        let mut show = Show::new(&connection.name, self.json);
        self.runner.let_run(id);
        let job = self.begin(id).await?;
        let ended = self.follow(job, &mut show).await?;
        show.end();
        let Some(ended) = ended else { return Ok(Exit::Interrupted) };
        let counted = match self.control.store().read().await {
            Ok(mut tx) => tx.job_counts(job).await.context("the ledger cannot be read")?,
            Err(error) => bail!("the ledger cannot be read: {error}"),
        };
        let report = Report::new(connection, &ended, &counted, &show, begun.elapsed());
        if self.json {
            report.print_json()?
        } else {
            report.print_table()?
        }
        Ok(if report.is_green() { Exit::Ok } else { Exit::Failed })
    }

    /// Starts the sync, or finds the job that an earlier run has left.
    async fn begin(&self, connection: Uuid) -> Result<i64> {
        match self.control.sync(connection).await {
            Ok(info) => Ok(info.job.id),
            Err(error) if error.code == "job_running" => {
                let job = self.control.last_replication_job(connection).await.map_err(explain::control)?;
                job.map(|job| job.id).ok_or_else(|| explain::control(error))
            }
            Err(error) => Err(explain::control(error)),
        }
    }

    /// Until the job has ended, or an attempt has failed that moved nothing: then the next run of this command is the next
    /// attempt. `None`: interrupted.
    async fn follow(&mut self, job: i64, show: &mut Show) -> Result<Option<JobInfo>> {
        let mut look = LOOK;
        let mut gives_up = false;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    show.end();
                    eprintln!("leat: stopping; once more ends it at once");
                    self.control.shutdown().await;
                    return Ok(None);
                }
                Some(told) = self.events.recv() => {
                    if told.job() != job {
                        continue;
                    }
                    if let Told::Ended { failed, moved, .. } = told {
                        look = LOOK_CLOSELY;
                        gives_up = failed && !moved;
                    } else {
                        look = LOOK;
                        gives_up = false;
                    }
                    show.take(told);
                    continue;
                }
                () = tokio::time::sleep(look) => {}
            }
            let status = self.control.job_light(job).await.map_err(explain::control)?.status;
            if status.is_final() || (gives_up && status == JobStatus::Incomplete) {
                return self.control.job_info(job).await.map(Some).map_err(explain::control);
            }
        }
    }
}
