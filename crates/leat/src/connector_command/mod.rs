//! `leat connector NAME ...`: a native connector as an Airbyte executable, messages on stdin and stdout.
//!
//! stdout carries protocol messages and nothing else; whatever goes wrong is a TRACE there and exit code 1. [`read`] turns
//! batches into RECORD lines ([`record`]), [`write`] turns lines into batches and runs them through the engine.

mod read;
mod record;
mod write;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use connector::{Destination, Error, ErrorKind, Source, Spec};
use connectors::Folders;
use control::{
    clock::{Clock, SystemClock},
    configuration, secrets,
};
use protocol::{
    ConfiguredCatalog, Json, Message, StateMessage, StreamDescriptor,
    message::{CheckStatus, ConnectionStatus, Log, LogLevel, StreamStatusTrace, Trace, TraceError, TraceKind},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::runtime;

use crate::{
    Exit, explain,
    file::{Refused, nearest},
    registry::Registry,
};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// As in `source-sample` or `destination-sqlite`; `sample` alone where it can only mean one. `leat connectors` lists
    /// them.
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the specification of the configuration.
    Spec,
    /// Try a configuration.
    Check {
        /// The configuration, a JSON file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Write the catalog of a source.
    Discover {
        /// The configuration, a JSON file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read streams of a source: records and states to stdout.
    Read {
        /// The configuration, a JSON file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The configured catalog, a JSON file.
        #[arg(long, value_name = "FILE")]
        catalog: PathBuf,
        /// Where to resume, a JSON file: a list of states, one state, or an object of old.
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
    },
    /// Write records from stdin to a destination; states come out when the rows before them are durable.
    Write {
        /// The configuration, a JSON file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The configured catalog, a JSON file.
        #[arg(long, value_name = "FILE")]
        catalog: PathBuf,
    },
}

const EXAMPLES: &str = "\
Relative paths in a configuration, and `/local/`, mean the current folder.

Exit codes: 0 ended well (a failed check too: its message says so), 1 failed (a TRACE says why), 2 wrong arguments or files.";

enum Connector {
    Source(Arc<dyn Source>),
    Destination(Arc<dyn Destination>),
}

pub fn run(options: Options) -> Result<Exit> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(execute(options));
    // A read of stdin that has begun cannot be ended.
    runtime.shutdown_background();
    exit
}

async fn execute(options: Options) -> Result<Exit> {
    let registry = Registry::new(&Folders::of_command(&std::env::current_dir()?, None));
    let connector = find(&registry, &options)?;
    let spec = match &connector {
        Connector::Source(source) => source.spec(),
        Connector::Destination(destination) => destination.spec(),
    };
    let cancel = crate::cancelled_by_signal();
    let outcome = match (options.command, connector) {
        (Command::Spec, _) => {
            say(&Message::Spec(Json::from_value(&spec)?))?;
            return Ok(Exit::Ok);
        }
        (Command::Check { config }, connector) => {
            let config = load(&config)?;
            let outcome = match (configuration::validate(&spec.connection_specification, &config), connector) {
                (Err(error), _) => Err(Error::config(error.message)),
                (Ok(()), Connector::Source(source)) => source.check(&config, &cancel).await,
                (Ok(()), Connector::Destination(destination)) => destination.check(&config, &cancel).await,
            };
            let outcome = outcome.map_err(|error| redacted(error, &spec, &config));
            answer_check(outcome)?
        }
        (Command::Discover { config }, Connector::Source(source)) => {
            let config = accepted(&spec, &config)?;
            match source.discover(&config, &cancel).await {
                Ok(catalog) => {
                    say(&Message::Catalog(catalog))?;
                    return Ok(Exit::Ok);
                }
                Err(error) => Some(redacted(error, &spec, &config)),
            }
        }
        (Command::Read { config, catalog, state }, Connector::Source(source)) => {
            let config = accepted(&spec, &config)?;
            let request = connector::ReadRequest {
                catalog: load(&catalog)?,
                state: state.map(|state| states(&state)).transpose()?.unwrap_or_default(),
                config: config.clone(),
                cancel: cancel.clone(),
            };
            read::read(source, request).await?.map(|error| redacted(error, &spec, &config))
        }
        (Command::Write { config, catalog }, Connector::Destination(destination)) => {
            let config = accepted(&spec, &config)?;
            let catalog: ConfiguredCatalog = load(&catalog)?;
            let failure = write::write(destination, config.clone(), catalog, cancel.clone()).await?;
            failure.map(|error| redacted(error, &spec, &config))
        }
        (Command::Write { .. }, Connector::Source(_)) => {
            return Err(Refused(format!("`{}` is a source: it cannot write", options.name)).into());
        }
        (Command::Discover { .. } | Command::Read { .. }, Connector::Destination(_)) => {
            return Err(Refused(format!("`{}` is a destination: it cannot read", options.name)).into());
        }
    };
    match outcome {
        None => Ok(Exit::Ok),
        Some(_) if cancel.is_cancelled() => Ok(Exit::Interrupted),
        Some(error) => {
            say(&trace(&error, None))?;
            Ok(Exit::Failed)
        }
    }
}

/// What is wrong with the configuration is an answer; that it could not be tried is a failure.
fn answer_check(outcome: connector::Result<()>) -> Result<Option<Error>> {
    let (status, message) = match outcome {
        Ok(()) => (CheckStatus::Succeeded, None),
        Err(error) if error.kind == ErrorKind::Config => (CheckStatus::Failed, Some(hinted(&error))),
        Err(error) => return Ok(Some(error)),
    };
    say(&Message::ConnectionStatus(ConnectionStatus { status, message, extra: Map::new() }))?;
    Ok(None)
}

fn find(registry: &Registry, options: &Options) -> Result<Connector> {
    let name = options.name.as_str();
    let is_for_sources = matches!(options.command, Command::Discover { .. } | Command::Read { .. });
    let is_for_destinations = matches!(options.command, Command::Write { .. });
    let source = registry.sources().iter().find(|(native, _)| {
        name.strip_prefix("source-") == Some(native.name) || (name == native.name && !is_for_destinations)
    });
    let destination = registry.destinations().iter().find(|(native, _)| {
        name.strip_prefix("destination-") == Some(native.name) || (name == native.name && !is_for_sources)
    });
    match (source, destination) {
        (Some((_, source)), None) => Ok(Connector::Source(source.clone())),
        (None, Some((_, destination))) => Ok(Connector::Destination(destination.clone())),
        (Some(_), Some(_)) => {
            Err(Refused(format!("`{name}` is a source and a destination: say source-{name} or destination-{name}"))
                .into())
        }
        (None, None) => {
            let sources = registry.sources().iter().map(|(native, _)| format!("source-{}", native.name));
            let destinations = registry.destinations().iter().map(|(native, _)| format!("destination-{}", native.name));
            let all: Vec<String> = sources.chain(destinations).collect();
            let near = match nearest(name, all.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", all.join(", ")),
            };
            Err(Refused(format!("no connector `{name}` is built in that can do this; {near}")).into())
        }
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let refused = |why: String| Refused(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    serde_json::from_str(&text).map_err(|error| refused(format!("is not what is expected here: {error}")).into())
}

/// The configuration, if the specification accepts it.
fn accepted(spec: &Spec, path: &Path) -> Result<Value> {
    let config = load(path)?;
    configuration::validate(&spec.connection_specification, &config)
        .map_err(|error| explain::configuration(&error, &path.display().to_string()))?;
    Ok(config)
}

/// Reads the three forms that a state file has had: a list of states, a single one, and the blob of a source of old.
fn states(path: &Path) -> Result<Vec<StateMessage>> {
    let value: Json = load(path)?;
    let place = || path.display().to_string();
    let text = value.text().trim_start();
    if text.starts_with('[') {
        return value.to().map_err(|error| Refused(format!("{}: {error}", place())).into());
    }
    if value.is_null() || text == "{}" {
        return Ok(Vec::new());
    }
    let members: Map<String, Value> = value.to().with_context(place)?;
    let is_message = members.get("type").is_some_and(Value::is_string)
        && ["stream", "global", "data"].iter().any(|member| members.contains_key(*member));
    if is_message {
        return Ok(vec![value.to().map_err(|error| Refused(format!("{}: {error}", place())))?]);
    }
    Ok(vec![protocol::State::Legacy(value).into()])
}

/// Writes one message to stdout, at once.
fn say(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn log(level: tracing::Level, message: String) -> Message {
    let level = match level {
        tracing::Level::ERROR => LogLevel::Error,
        tracing::Level::WARN => LogLevel::Warn,
        tracing::Level::INFO => LogLevel::Info,
        tracing::Level::DEBUG => LogLevel::Debug,
        tracing::Level::TRACE => LogLevel::Trace,
    };
    Message::Log(Log { level, message, stack_trace: None, extra: Map::new() })
}

fn status(stream: &StreamDescriptor, status: &str) -> Message {
    let stream_status =
        StreamStatusTrace { stream_descriptor: stream.clone(), status: status.to_owned(), extra: Map::new() };
    Message::Trace(Trace {
        emitted_at: now_ms() as f64,
        kind: TraceKind::StreamStatus { stream_status },
        extra: Map::new(),
    })
}

fn trace(error: &Error, stream: Option<StreamDescriptor>) -> Message {
    let failure_type = match error.kind {
        ErrorKind::Config => "config_error",
        ErrorKind::Transient => "transient_error",
        _ => "system_error",
    };
    let error = TraceError {
        message: hinted(error),
        internal_message: std::error::Error::source(error).map(ToString::to_string),
        stack_trace: None,
        failure_type: Some(failure_type.to_owned()),
        stream_descriptor: stream,
        extra: Map::new(),
    };
    Message::Trace(Trace { emitted_at: now_ms() as f64, kind: TraceKind::Error { error }, extra: Map::new() })
}

fn hinted(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{}. {hint}", error.message),
        None => error.message.clone(),
    }
}

fn now_ms() -> i64 {
    SystemClock.now().timestamp_millis()
}

/// The error without the secrets of the configuration (Invariant 6).
fn redacted(error: Error, spec: &Spec, config: &Value) -> Error {
    let clear: Vec<String> =
        secrets::take(&spec.connection_specification, config).into_iter().map(|taken| taken.clear).collect();
    let redactor = secrets::Redactor::new(&clear);
    let mut clean = Error::new(error.kind, redactor.redact(&error.message));
    clean.hint = error.hint.as_deref().map(|hint| redactor.redact(hint));
    match std::error::Error::source(&error) {
        Some(source) => clean.with_source(redactor.redact(&source.to_string())),
        None => clean,
    }
}
