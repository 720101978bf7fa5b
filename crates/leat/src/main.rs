//! The program: command line, telemetry, and the place where the control plane and the data plane meet.
//!
//! [`serve`] starts the server; [`runner`] does the control plane's work with the engine and the connectors; [`ledger`]
//! lets an attempt write its checkpoints into the store. Without a server: [`sync`], [`check`] and [`discover`] work on a
//! [`file`] of connections, [`connector_command`] is each native connector as an executable.

mod check;
mod connector_command;
mod connectors_list;
mod discover;
mod explain;
mod file;
mod ledger;
mod outside;
mod registry;
mod runner;
mod serve;
mod sync;
mod table;
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

/// Moves data from sources to destinations.
///
/// Leat serves the connection API that Airbyte clients already speak, schedules the syncs, and moves the rows itself.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    /// What to write to stderr: error, warn, info, debug, or a filter such as `info,engine=debug`. Default: info for
    /// `serve`, otherwise warn.
    #[arg(long, global = true, env = "LEAT_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How to write it: text for people, json for machines.
    #[arg(long, global = true, env = "LEAT_LOG_FORMAT", value_enum, default_value_t = telemetry::Format::Text)]
    log_format: telemetry::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, run the schedules and the syncs.
    Serve(serve::Options),
    /// Sync the connections of a file, without a server.
    ///
    /// State is kept in `.leat/` beside the file, so the next run goes on where this one ended, however it ended.
    Sync(sync::Options),
    /// Check whether the sources and destinations of a file can be reached.
    Check(check::Options),
    /// Show the streams of a source.
    Discover(discover::Options),
    /// List the connectors that are built in.
    Connectors(connectors_list::Options),
    /// Run a native connector as an Airbyte executable.
    Connector(connector_command::Options),
}

const EXAMPLES: &str = "\
Examples:
  leat serve                                  everything in ./data, API at http://127.0.0.1:8000/api/v1
  leat serve --data-dir /var/lib/leat         another folder
  curl -s -X POST http://127.0.0.1:8000/api/v1/workspaces/list
  leat sync shop.yaml                         the connections of a file, without a server
  leat discover shop.yaml shop                the streams of its source `shop`
  leat connector source-sample spec           a native connector as an Airbyte executable

Exit codes: 0 ended as asked, 1 failed (the reason is on stderr), 2 wrong arguments or file, 130 interrupted.";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Refused = 2,
    Interrupted = 130,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let default = if matches!(arguments.command, Command::Serve(_)) { "info" } else { "warn" };
    if let Err(error) = telemetry::start(arguments.log.as_deref().unwrap_or(default), arguments.log_format) {
        eprintln!("leat: {error:#}");
        return ExitCode::from(Exit::Refused as u8);
    }
    let outcome = match arguments.command {
        Command::Serve(options) => serve::run(options).map(|()| Exit::Ok),
        Command::Sync(options) => sync::run(options),
        Command::Check(options) => check::run(options),
        Command::Discover(options) => discover::run(options),
        Command::Connectors(options) => connectors_list::run(options),
        Command::Connector(options) => connector_command::run(options),
    };
    let exit = outcome.unwrap_or_else(|error| {
        eprintln!("leat: {error:#}");
        if error.chain().any(|cause| cause.is::<file::Refused>()) { Exit::Refused } else { Exit::Failed }
    });
    ExitCode::from(exit as u8)
}

/// Cancelled by the first SIGINT or SIGTERM; the second ends the process.
fn cancelled_by_signal() -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        let kind = tokio::signal::unix::SignalKind::terminate();
        let Ok(mut terminate) = tokio::signal::unix::signal(kind) else { return };
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            if token.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            token.cancel();
        }
    });
    cancel
}
