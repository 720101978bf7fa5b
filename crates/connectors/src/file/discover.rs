//! The streams of a configuration and their columns: those of all files, typed by the sample.

use std::collections::HashMap;

use connector::{Error, Result};
use protocol::{Catalog, Stream, StreamDescriptor, SyncMode};
use serde_json::{Map, Value, json};

use super::{
    columnar,
    config::SourceConfig,
    delimited,
    files::{self, Dataset, Found, Kind},
    infer::{self, Guess, SAMPLE_FILES, SAMPLE_ROWS},
    lines,
    places::Places,
};

pub fn catalog(config: &SourceConfig, places: &Places) -> Result<Catalog> {
    let datasets = files::datasets(config, places)?;
    if datasets.is_empty() {
        return Err(Error::config(format!("There are no files of a known format in `{}`", config.url)).with_hint(
            "Files end in .csv, .tsv, .jsonl, .parquet, each perhaps with .gz or .zst; otherwise set `format`",
        ));
    }
    let mut streams = Vec::new();
    let mut first_problem = None;
    for dataset in &datasets {
        match stream(dataset, places)? {
            Some(stream) => streams.push(stream),
            None => {
                first_problem.get_or_insert_with(|| {
                    Error::config(format!("The files of stream `{}` hold nothing, so it has no columns", dataset.name))
                        .with_hint("Deliver a file with a header, or with a row")
                });
            }
        }
    }
    match first_problem {
        Some(problem) if streams.is_empty() => Err(problem),
        _ => Ok(Catalog { streams, extra: Map::new() }),
    }
}

/// `None`: none of its files has a column.
fn stream(dataset: &Dataset, places: &Places) -> Result<Option<Stream>> {
    let files = dataset.files(places)?;
    if files.is_empty() {
        return Err(dataset.nothing());
    }
    let mut columns: Vec<(String, Vec<Guess>)> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    for (index, file) in files.iter().enumerate() {
        for (name, guess) in columns_of(dataset, file, index < SAMPLE_FILES)? {
            let place = *at.entry(name.clone()).or_insert_with(|| {
                columns.push((name, Vec::new()));
                columns.len() - 1
            });
            columns[place].1.push(guess);
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let properties: Map<String, Value> =
        columns.into_iter().map(|(name, guesses)| (name, infer::property(Guess::of_all(&guesses).settle()))).collect();
    Ok(Some(Stream {
        descriptor: StreamDescriptor::new(None, &*dataset.name),
        json_schema: json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": properties,
        }),
        supported_sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
        // The cursor is the time of a file, which is not a column.
        source_defined_cursor: Some(true),
        default_cursor_field: Vec::new(),
        source_defined_primary_key: Vec::new(),
        is_resumable: Some(true),
        is_file_based: None,
        extra: Map::new(),
    }))
}

fn columns_of(dataset: &Dataset, file: &Found, is_sampled: bool) -> Result<Vec<(String, Guess)>> {
    match file.kind {
        Kind::Csv { is_tabbed } => {
            delimited::columns(&file.path, &dataset.csv, is_tabbed, if is_sampled { SAMPLE_ROWS } else { 0 })
        }
        // Only their first lines say which members they have.
        Kind::Jsonl => lines::columns(&file.path, &dataset.csv, if is_sampled { SAMPLE_ROWS } else { 1 }),
        Kind::Parquet => columnar::columns(&file.path),
    }
}
