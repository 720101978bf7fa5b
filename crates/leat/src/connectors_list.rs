//! `leat connectors`: what is built in.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use connectors::{Folders, Native};
use serde_json::{Value, json};

use crate::{Exit, registry::Registry, table};

#[derive(Args)]
pub struct Options {
    /// Write JSON: a list of objects with their specifications.
    #[arg(long)]
    json: bool,
}

pub fn run(options: Options) -> Result<Exit> {
    let registry = Registry::new(&Folders::of_command(&std::env::current_dir()?, None));
    let sources = registry.sources().iter().map(|(native, source)| ("source", *native, source.spec()));
    let destinations =
        registry.destinations().iter().map(|(native, destination)| ("destination", *native, destination.spec()));
    let all: Vec<(&str, Native, connector::Spec)> = sources.chain(destinations).collect();
    let text = if options.json {
        let all: Vec<Value> = all
            .iter()
            .map(|(kind, native, spec)| {
                json!({
                    "kind": kind, "name": native.name, "title": native.title, "definition_id": native.definition_id,
                    "replaces": native.docker_repository, "specification": spec,
                })
            })
            .collect();
        format!("{}\n", serde_json::to_string_pretty(&all)?)
    } else {
        let rows: Vec<_> = all
            .iter()
            .map(|(kind, native, _)| {
                let replaces = format!("{}:{}", native.docker_repository, native.docker_image_tag);
                vec![(*kind).to_owned(), native.name.to_owned(), native.title.to_owned(), replaces]
            })
            .collect();
        let mut text = table::text(&["kind", "name", "title", "replaces"], &[], &rows);
        text.push_str(
            "Any executable that speaks the protocol is a source too: exec:PATH, python:PACKAGE[==VERSION]\n",
        );
        text
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}
