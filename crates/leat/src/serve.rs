//! `leat serve`: the store, the control plane, the API and the data plane in one process.
//!
//! Two runtimes: one answers HTTP and runs the schedules, the other runs the connectors, so that a connector that computes
//! never delays an answer.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use connectors::Folders;
use control::{Control, clock::SystemClock};
use store::{Store, StoreUrl};
use tokio::{net::TcpListener, runtime, signal::unix};
use tokio_util::sync::CancellationToken;

use crate::{registry::Registry, runner::EngineRunner};

#[derive(Args)]
pub struct Options {
    /// Where to listen. Until there is sign-in, only addresses of this machine are accepted.
    #[arg(long, env = "LEAT_LISTEN", default_value = "127.0.0.1:8000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The folder of everything: the metadata (leat.db), the key of the secrets (secret.key), and under local/ the files
    /// of local destinations. Created if it is not there.
    #[arg(long, env = "LEAT_DATA_DIR", default_value = "data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Keep the metadata in Postgres instead, shared by several servers: postgres://user:password@host/database.
    #[arg(long, env = "LEAT_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

/// How long running attempts may take to stop when the server is asked to end.
const GRACE: Duration = Duration::from_secs(20);

pub fn run(options: Options) -> Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!(
            "{} is not an address of this machine alone, and there is no sign-in yet: anybody who reaches it could read \
             and change everything. Listen on 127.0.0.1 and put a proxy with sign-in in front of it",
            options.listen
        );
    }
    let front = runtime::Builder::new_multi_thread().worker_threads(2).thread_name("api").enable_all().build()?;
    let back = runtime::Builder::new_multi_thread().thread_name("connectors").enable_all().build()?;
    let outcome = front.block_on(serve(options, back.handle().clone()));
    back.shutdown_timeout(Duration::from_secs(1));
    front.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(options: Options, connectors: runtime::Handle) -> Result<()> {
    let data_dir = &options.data_dir;
    std::fs::create_dir_all(data_dir.join("local"))
        .with_context(|| format!("the data folder {} cannot be created", data_dir.display()))?;
    let data_dir = data_dir.canonicalize()?;
    let url = match options.database_url {
        Some(url) => StoreUrl::Postgres(url),
        None => StoreUrl::Sqlite(data_dir.join("leat.db")),
    };
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("cannot listen on {}", options.listen))?;
    let store = Store::open(url, &data_dir).await?;
    let registry = Arc::new(Registry::new(&Folders::of_server(&data_dir)));
    let runner = Arc::new(EngineRunner::new(registry, store.clone(), connectors));
    let control = Control::open(store.clone(), runner, Arc::new(SystemClock), control::Settings::default()).await?;
    // Leases of a dead process are voided here, before health answers.
    control.start().await?;

    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let address = listener.local_addr()?;
    tracing::info!("serving http://{address}/api/v1, state in {}", data_dir.display());
    tracing::warn!("no sign-in: everybody on this machine can use the API");
    let server = axum::serve(listener, api::router(control.clone()));
    let closing = stop.clone();
    tokio::select! {
        outcome = server.with_graceful_shutdown(async move { closing.cancelled().await }) => outcome?,
        // Clients that hold a connection open do not hold up the end.
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => {}
    }
    if tokio::time::timeout(GRACE, control.shutdown()).await.is_err() {
        tracing::warn!("an attempt did not stop within {} s; it goes on after the next start", GRACE.as_secs());
    }
    store.close().await;
    tracing::info!("ended");
    Ok(())
}

async fn stop_on_signal(stop: CancellationToken) {
    let Ok(mut terminate) = unix::signal(unix::SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted: stopping; once more ends it at once"),
    }
    stop.cancel();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    std::process::exit(1);
}
