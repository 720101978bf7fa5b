//! `leat check FILE [NAME...]`: whether sources and destinations of a file can be reached with what it says.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;
use connector::ErrorKind;
use connectors::Folders;
use control::{configuration, runner::ActorKind, secrets};
use serde_json::{Value, json};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    Exit, explain,
    file::{Actor, File, Refused, nearest, typed},
    outside,
    registry::Registry,
    table,
};

#[derive(Args)]
pub struct Options {
    /// The file with sources, destinations and connections (YAML).
    file: PathBuf,
    /// The sources and destinations to check, by their names in the file. Default: all.
    names: Vec<String>,
    /// Write JSON: one object per source or destination.
    #[arg(long)]
    json: bool,
}

pub fn run(options: Options) -> Result<Exit> {
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(check(options))
}

async fn check(options: Options) -> Result<Exit> {
    let file = File::read(&options.file)?;
    let sources = file.sources.iter().map(|actor| (ActorKind::Source, actor));
    let destinations = file.destinations.iter().map(|actor| (ActorKind::Destination, actor));
    let mut actors: Vec<(ActorKind, &Actor)> = sources.chain(destinations).collect();
    for name in &options.names {
        if !actors.iter().any(|(_, actor)| actor.name == *name) {
            let near = nearest(name, actors.iter().map(|(_, actor)| actor.name.as_str()));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Refused(format!("the file has no source or destination `{name}`{near}")).into());
        }
    }
    if !options.names.is_empty() {
        actors.retain(|(_, actor)| options.names.contains(&actor.name));
    }
    let mut registry = Registry::new(&Folders::of_command(&file.folder, Some(&file.state_folder())));
    let cancel = crate::cancelled_by_signal();
    let mut exit = Exit::Ok;
    let mut rows = Vec::new();
    for (kind, actor) in actors {
        let word = if kind == ActorKind::Source { "source" } else { "destination" };
        let outcome = check_one(&mut registry, &file, kind, actor, &cancel).await;
        if cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        let message = outcome.err().map(|error| format!("{error:#}"));
        if message.is_some() {
            exit = Exit::Failed;
        }
        if options.json {
            let line = json!({"kind": word, "name": actor.name, "succeeded": message.is_none(), "message": message});
            writeln!(std::io::stdout(), "{line}")?;
            continue;
        }
        let verdict = if message.is_none() { "ok" } else { "failed" };
        rows.push(vec![word.to_owned(), actor.name.clone(), verdict.to_owned(), message.unwrap_or_default()]);
    }
    if !options.json {
        let text = table::text(&["kind", "name", "check", ""], &[], &rows);
        std::io::stdout().write_all(text.as_bytes())?;
    }
    Ok(exit)
}

async fn check_one(
    registry: &mut Registry,
    file: &File,
    kind: ActorKind,
    actor: &Actor,
    cancel: &CancellationToken,
) -> Result<()> {
    let (connector, _) = outside::connect(registry, file, kind, actor, cancel).await?;
    let (specification, outcome, config);
    match kind {
        ActorKind::Source => {
            let source = registry.source(&connector).ok_or_else(|| anyhow::anyhow!("the connector is gone"))?;
            specification = source.spec().connection_specification;
            config = checked(actor, &format!("sources.{}", actor.name), &specification)?;
            outcome = source.check(&config, cancel).await;
        }
        ActorKind::Destination => {
            let destination =
                registry.destination(&connector).ok_or_else(|| anyhow::anyhow!("the connector is gone"))?;
            specification = destination.spec().connection_specification;
            config = checked(actor, &format!("destinations.{}", actor.name), &specification)?;
            outcome = destination.check(&config, cancel).await;
        }
    }
    outcome.map_err(|error| told(error, &specification, &config))
}

/// The configuration as the connector gets it, if its specification accepts it.
pub fn checked(actor: &Actor, place: &str, specification: &Value) -> Result<Value> {
    let mut config = actor.config.clone();
    typed::fit(&mut config, specification);
    configuration::validate(specification, &config).map_err(|error| explain::configuration(&error, place))?;
    Ok(config)
}

/// What a connector says, without the secrets of its configuration (Invariant 6).
pub fn told(error: connector::Error, specification: &Value, config: &Value) -> anyhow::Error {
    let clear: Vec<String> = secrets::take(specification, config).into_iter().map(|taken| taken.clear).collect();
    let redactor = secrets::Redactor::new(&clear);
    if error.kind == ErrorKind::Cancelled {
        return anyhow::anyhow!("interrupted");
    }
    anyhow::anyhow!(redactor.redact(&format!("{:#}", explain::connector(error))))
}
