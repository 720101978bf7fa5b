//! The program: command line, telemetry, and the place where the control plane and the data plane meet.
//!
//! [`serve`] starts everything; [`runner`] does the control plane's work with the engine and the connectors;
//! [`ledger`] lets an attempt write its checkpoints into the store.

mod ledger;
mod registry;
mod runner;
mod serve;
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Moves data from sources to destinations.
///
/// Leat serves the connection API that Airbyte clients already speak, schedules the syncs, and moves the rows itself.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    /// What to write to stderr: error, warn, info, debug, or a filter such as `info,engine=debug`.
    #[arg(long, global = true, env = "LEAT_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
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
}

const EXAMPLES: &str = "\
Examples:
  leat serve                                  everything in ./data, API at http://127.0.0.1:8000/api/v1
  leat serve --data-dir /var/lib/leat         another folder
  curl -s -X POST http://127.0.0.1:8000/api/v1/workspaces/list

Exit codes: 0 ended as asked, 1 failed (the reason is on stderr), 2 wrong arguments.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = telemetry::start(&arguments.log, arguments.log_format) {
        eprintln!("leat: {error:#}");
        return ExitCode::from(2);
    }
    let outcome = match arguments.command {
        Command::Serve(options) => serve::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leat: {error:#}");
            ExitCode::FAILURE
        }
    }
}
