//! Files of JSON lines: one object a line, blank lines passed over.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use connector::{Error, Result, decode::Decoder};
use protocol::ColumnType;
use serde_json::{Map, Value};

use super::{
    config::Csv,
    fault::{Place, unreadable},
    infer::{Guess, SAMPLE_BYTES, SAMPLE_ROWS},
    read::{BATCH_BYTES, BATCH_ROWS, Sink, Summary},
    text,
};

/// A line may not be larger.
const MOST_LINE: u64 = 512 << 20;

struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    place: Place,
    line: u64,
    bytes: Vec<u8>,
}

impl Lines {
    fn open(path: &Path, csv: &Csv) -> Result<Self> {
        let input = BufReader::with_capacity(256 << 10, text::open(path, csv.encoding()?)?);
        Ok(Self { input, place: Place::of(path), line: 0, bytes: Vec::new() })
    }

    /// The next line that is not blank.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            self.bytes.clear();
            let mut limited = self.input.by_ref().take(MOST_LINE);
            let read = limited.read_until(b'\n', &mut self.bytes).map_err(|error| unreadable(&self.place, error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if read as u64 == MOST_LINE {
                return Err(Error::config(format!("{} is larger than 512 MiB", self.place.line(self.line)))
                    .with_hint("JSON lines have one object in each line"));
            }
            if !self.bytes.iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        Ok(Some(self.bytes.trim_ascii()))
    }

    fn malformed(&self) -> Error {
        Error::config(format!("{} is not one JSON object", self.place.line(self.line)))
            .with_hint("JSON lines have one object in each line; correct the line or deliver the file again")
    }
}

/// The members of the objects, in the order in which they are met.
pub fn columns(path: &Path, csv: &Csv, rows: usize) -> Result<Vec<(String, Guess)>> {
    let mut lines = Lines::open(path, csv)?;
    let mut found: Vec<(String, Guess)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut bytes = 0;
    for _ in 0..rows.min(SAMPLE_ROWS) {
        if bytes >= SAMPLE_BYTES {
            break;
        }
        let Some(line) = lines.next()? else { break };
        bytes += line.len();
        let text = String::from_utf8_lossy(line);
        let object: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| lines.malformed().with_source(error))?;
        for (name, value) in object {
            let at = *places.entry(name.clone()).or_insert_with(|| {
                found.push((name, Guess::default()));
                found.len() - 1
            });
            found[at].1.json(&value);
        }
    }
    Ok(found)
}

pub fn read(path: &Path, csv: &Csv, columns: &[(String, ColumnType)], sink: &mut Sink<'_>) -> Result<Summary> {
    let mut lines = Lines::open(path, csv)?;
    let mut decoder = Decoder::new(columns);
    let mut read = 0;
    loop {
        let Some(line) = lines.next()? else { break };
        if let Err(error) = decoder.push(line) {
            return Err(lines.malformed().with_source(error));
        }
        read += 1;
        if decoder.rows() == BATCH_ROWS || decoder.bytes() >= BATCH_BYTES {
            let (rows, changes) = decoder.take()?;
            sink(rows, changes)?;
        }
    }
    if decoder.rows() > 0 {
        let (rows, changes) = decoder.take()?;
        sink(rows, changes)?;
    }
    let mut notes = Vec::new();
    if lines.line == 0 {
        notes.push(format!("{} has no bytes and gives no rows", lines.place));
    }
    Ok(Summary { rows: read, notes })
}
