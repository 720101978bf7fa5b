//! `leat discover FILE SOURCE`: the streams of a source, with their fields.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::Args;
use connectors::Folders;
use control::runner::ActorKind;
use protocol::{ColumnType, Stream, SyncMode, schema};
use tokio::runtime;

use crate::{
    Exit, check,
    file::{File, Refused, nearest},
    outside,
    registry::Registry,
    table,
};

#[derive(Args)]
pub struct Options {
    /// The file with sources, destinations and connections (YAML).
    file: PathBuf,
    /// The source, by its name in the file. May be left out where there is only one.
    source: Option<String>,
    /// Write the catalog as JSON, schemas and all.
    #[arg(long)]
    json: bool,
}

pub fn run(options: Options) -> Result<Exit> {
    runtime::Builder::new_multi_thread().enable_all().build()?.block_on(discover(options))
}

async fn discover(options: Options) -> Result<Exit> {
    let file = File::read(&options.file)?;
    let actor = match (&options.source, file.sources.as_slice()) {
        (None, [only]) => only,
        (None, _) => return Err(Refused("the file has several sources: name one".to_owned()).into()),
        (Some(name), sources) => match sources.iter().find(|actor| actor.name == *name) {
            Some(actor) => actor,
            None => {
                let near = nearest(name, sources.iter().map(|actor| actor.name.as_str()));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(Refused(format!("the file has no source `{name}`{near}")).into());
            }
        },
    };
    let mut registry = Registry::new(&Folders::of_command(&file.folder, Some(&file.state_folder())));
    let cancel = crate::cancelled_by_signal();
    let connector = match outside::connect(&mut registry, &file, ActorKind::Source, actor, &cancel).await {
        Ok((connector, _)) => connector,
        Err(_) if cancel.is_cancelled() => return Ok(Exit::Interrupted),
        Err(error) => return Err(error),
    };
    let source = registry.source(&connector).ok_or_else(|| anyhow::anyhow!("the connector is gone"))?;
    let specification = source.spec().connection_specification;
    let config = check::checked(actor, &format!("sources.{}", actor.name), &specification)?;
    let catalog = match source.discover(&config, &cancel).await {
        Ok(catalog) => catalog,
        Err(_) if cancel.is_cancelled() => return Ok(Exit::Interrupted),
        Err(error) => return Err(check::told(error, &specification, &config)),
    };
    let text = if options.json {
        let mut text = serde_json::to_string_pretty(&catalog)?;
        text.push('\n');
        text
    } else {
        let rows: Vec<_> = catalog.streams.iter().map(row).collect();
        table::text(&["namespace", "stream", "modes", "cursor", "key", "fields"], &[], &rows)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn row(stream: &Stream) -> Vec<String> {
    let modes: Vec<_> = stream
        .supported_sync_modes
        .iter()
        .map(|mode| match mode {
            SyncMode::FullRefresh => "full_refresh",
            SyncMode::Incremental => "incremental",
        })
        .collect();
    let key: Vec<_> = stream.source_defined_primary_key.iter().map(|path| path.join(".")).collect();
    let fields = schema::columns(&stream.json_schema);
    let fields: Vec<_> = fields.iter().map(|(name, column)| format!("{name}:{}", type_name(*column))).collect();
    vec![
        stream.descriptor.namespace.clone().unwrap_or_default(),
        stream.descriptor.name.clone(),
        modes.join(","),
        stream.default_cursor_field.join("."),
        key.join(","),
        fields.join(" "),
    ]
}

fn type_name(column: ColumnType) -> &'static str {
    match column {
        ColumnType::String => "string",
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "integer",
        ColumnType::Number => "number",
        ColumnType::Date => "date",
        ColumnType::TimestampTz => "timestamptz",
        ColumnType::Timestamp => "timestamp",
        ColumnType::TimeTz => "timetz",
        ColumnType::Time => "time",
        ColumnType::Array => "array",
        ColumnType::Object => "object",
        ColumnType::Union => "any",
    }
}
