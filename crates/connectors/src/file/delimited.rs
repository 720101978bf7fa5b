//! CSV files: their columns, and their rows into Arrow.

use std::{collections::HashMap, io::Read, path::Path, str, sync::Arc};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use connector::{Change, Error, Result, decode::Texts};
use protocol::ColumnType;

use super::{
    config::{Csv, Ragged},
    csv::Splitter,
    fault::Place,
    infer::{Guess, SAMPLE_BYTES, SAMPLE_ROWS},
    read::{BATCH_BYTES, BATCH_ROWS, Sink, Summary},
    text,
};

const BAD: (&str, &str) = ("NULLED", "SOURCE_SERIALIZATION_ERROR");
const SURPLUS: (&str, &str) = ("TRUNCATED", "SOURCE_SERIALIZATION_ERROR");

struct Reader {
    splitter: Splitter<Box<dyn Read + Send>>,
    names: Vec<String>,
    /// Without a header the first record is a row, and it is at hand already.
    is_row_at_hand: bool,
}

/// `None`: the file has no bytes.
fn open(path: &Path, csv: &Csv, is_tabbed: bool) -> Result<Option<Reader>> {
    let place = Place::of(path);
    let input = text::open(path, csv.encoding()?)?;
    let mut splitter = Splitter::new(input, place.clone(), csv.dialect(is_tabbed)?);
    if !splitter.advance()? {
        return Ok(None);
    }
    let mut names: Vec<String> = Vec::with_capacity(splitter.len());
    let mut scratch = Vec::new();
    for index in 0..splitter.len() {
        let plain = if csv.header {
            let field = splitter.field(index, &mut scratch).map(|field| field.bytes).unwrap_or_default();
            let name = str::from_utf8(field).map_err(|error| {
                Error::config(format!(
                    "The name of column {} in {} is not UTF-8 text",
                    index + 1,
                    place.line(splitter.line())
                ))
                .with_hint("Set `csv.encoding`, for example to windows-1252 or utf-16")
                .with_source(error)
            })?;
            name.trim().to_owned()
        } else {
            String::new()
        };
        let plain = if plain.is_empty() { format!("column_{}", index + 1) } else { plain };
        let mut name = plain.clone();
        let mut suffix = 1;
        while names.contains(&name) {
            name = format!("{plain}_{suffix}");
            suffix += 1;
        }
        names.push(name);
    }
    Ok(Some(Reader { splitter, names, is_row_at_hand: !csv.header }))
}

impl Reader {
    fn advance(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.is_row_at_hand) {
            return Ok(true);
        }
        self.splitter.advance()
    }
}

/// The columns of a file, with what its sample says. `rows`: how many of them are looked at.
pub fn columns(path: &Path, csv: &Csv, is_tabbed: bool, rows: usize) -> Result<Vec<(String, Guess)>> {
    let Some(mut reader) = open(path, csv, is_tabbed)? else { return Ok(Vec::new()) };
    let mut guesses = vec![Guess::default(); reader.names.len()];
    let mut scratch = Vec::new();
    let mut bytes = 0;
    for _ in 0..rows.min(SAMPLE_ROWS) {
        if bytes >= SAMPLE_BYTES || !reader.advance()? {
            break;
        }
        for (index, guess) in guesses.iter_mut().enumerate() {
            let Some(field) = reader.splitter.field(index, &mut scratch) else { break };
            bytes += field.bytes.len() + 1;
            // Bytes that are no text become NULL later: they say nothing about the type.
            let Ok(text) = str::from_utf8(field.bytes) else { continue };
            let is_null = text.is_empty() || (!field.quoted && csv.null_values.iter().any(|null| null == text));
            if !is_null {
                guess.text(text);
            }
        }
    }
    Ok(reader.names.into_iter().zip(guesses).collect())
}

/// Reads every row of a file.
pub fn read(
    path: &Path,
    csv: &Csv,
    is_tabbed: bool,
    columns: &[(String, ColumnType)],
    sink: &mut Sink<'_>,
) -> Result<Summary> {
    let place = Place::of(path);
    let Some(mut reader) = open(path, csv, is_tabbed)? else {
        return Ok(Summary { rows: 0, notes: vec![format!("{place} has no bytes and gives no rows")] });
    };
    let places: HashMap<&str, usize> =
        columns.iter().enumerate().map(|(index, (name, _))| (name.as_str(), index)).collect();
    let targets: Vec<Option<usize>> = reader.names.iter().map(|name| places.get(name.as_str()).copied()).collect();
    let absent: Vec<usize> = (0..columns.len()).filter(|index| !targets.contains(&Some(*index))).collect();
    let fields: Vec<Arc<str>> = columns.iter().map(|(name, _)| Arc::from(name.as_str())).collect();
    let arrow: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, Texts::arrow_type(*column), true)).collect();
    let schema = Arc::new(Schema::new(arrow));
    let mut texts: Vec<Texts> = columns.iter().map(|(_, column)| Texts::new(*column)).collect();
    let has_null = csv.null_values.iter().any(|null| !null.is_empty());
    let empty_is_null = csv.null_values.iter().any(String::is_empty);
    let mut changes = Vec::new();
    let mut scratch = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    let (mut ragged, mut first_ragged) = (0, 0);
    let mut taken = |texts: &mut Vec<Texts>, rows: usize, changes: &mut Vec<Change>| {
        let arrays = texts.iter_mut().map(Texts::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
            .map_err(|error| Error::system("Rows of a file do not fit their schema").with_source(error))?;
        sink(batch, std::mem::take(changes))
    };
    while reader.advance()? {
        let splitter = &reader.splitter;
        let mut is_ragged = false;
        for (index, target) in targets.iter().enumerate() {
            let field = splitter.field(index, &mut scratch);
            is_ragged |= field.is_none();
            let Some(target) = *target else { continue };
            let mut note = |(change, reason): (&'static str, &'static str)| {
                changes.push(Change { row: rows, field: fields[target].clone(), change, reason });
            };
            let Some(field) = field else {
                note(BAD);
                texts[target].push(None);
                continue;
            };
            bytes += field.bytes.len() + 1;
            let is_text = columns[target].1 == ColumnType::String;
            let is_null = match field.bytes {
                // Nothing is no number; a text may be empty.
                [] => !is_text || (!field.quoted && empty_is_null),
                text => has_null && !field.quoted && csv.null_values.iter().any(|null| null.as_bytes() == text),
            };
            if is_null {
                texts[target].push(None);
                continue;
            }
            match str::from_utf8(field.bytes) {
                Ok(text) => {
                    if let Some(change) = texts[target].push(Some(text)) {
                        note(change);
                    }
                }
                Err(_) => {
                    note(BAD);
                    texts[target].push(None);
                }
            }
        }
        for index in &absent {
            texts[*index].push(None);
        }
        for surplus in targets.len()..splitter.len() {
            // An empty one, as a delimiter at the end of the line makes it, holds nothing to lose.
            if splitter.field(surplus, &mut scratch).is_some_and(|field| !field.bytes.is_empty()) {
                is_ragged = true;
                let field = Arc::from(format!("column {}", surplus + 1));
                changes.push(Change { row: rows, field, change: SURPLUS.0, reason: SURPLUS.1 });
            }
        }
        if is_ragged {
            ragged += 1;
            first_ragged = if ragged == 1 { splitter.line() } else { first_ragged };
            if csv.ragged_rows == Ragged::Fail {
                return Err(Error::config(format!(
                    "{} has {} fields, the first record has {}",
                    place.line(splitter.line()),
                    splitter.len(),
                    targets.len()
                ))
                .with_hint("Correct the line, set another delimiter or quote, or set `csv.ragged_rows` to keep"));
            }
        }
        rows += 1;
        if rows == BATCH_ROWS || bytes >= BATCH_BYTES {
            taken(&mut texts, rows, &mut changes)?;
            (rows, bytes) = (0, 0);
        }
    }
    if rows > 0 {
        taken(&mut texts, rows, &mut changes)?;
    }
    // Invariant 2: counted by the splitter, not by the batches.
    let read = reader.splitter.records() as i64 - i64::from(csv.header);
    let mut notes = Vec::new();
    if ragged > 0 {
        notes.push(format!(
            "{place}: {ragged} records have too few or too many fields, the first in line {first_ragged}; missing ones are NULL, surplus ones left out"
        ));
    }
    Ok(Summary { rows: read, notes })
}
