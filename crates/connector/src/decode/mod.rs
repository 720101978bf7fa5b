//! From JSON rows to Arrow: the decoder behind every source that speaks in lines.
//!
//! [`Decoder::push`] takes the bytes of one `data` object and appends one row to the columns of the stream's schema,
//! without building a JSON value: a scanner finds where the members lie, each column reads its own span. Arrays, objects
//! and unions are copied as the text they came in; members that the schema does not declare are skipped; of a member
//! that comes twice the last one counts.
//!
//! | column | takes |
//! |---|---|
//! | string | a string; any number, boolean, array or object as its JSON text |
//! | boolean | `true`, `false` |
//! | integer | a number or numeric string that is whole: 12, 12.0, 1.2e1, "12"; within 64 bits |
//! | number | any number or numeric string, as text with all of its digits (Utf8) |
//! | date, timestamp, time | strings, leniently ([`moment`]); a zone is UTC where one is needed and missing, and left out where none is wanted |
//! | array, object | an array, an object |
//! | union | any value as JSON text, strings with their quotes |
//!
//! Invariant 8: a value that does not fit becomes NULL and an entry of the row's changes, the row stays. The reasons:
//! `DESTINATION_SERIALIZATION_ERROR` for a value of another kind (text that is not Unicode too: invalid UTF-8, half of a
//! surrogate pair), `DESTINATION_FIELD_SIZE_LIMITATION` for one beyond what the column holds (integers past 64 bits, years
//! past the range, nesting past 1024); a timestamp finer than microseconds is cut, with `TRUNCATED`. U+0000 in a text
//! is passed on: whether a table can hold it is the destination's to say.

mod column;
mod decimal;
pub mod moment;
mod scan;
mod texts;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use protocol::ColumnType;

use crate::{Change, Error, Result};
use column::Column;
pub use scan::Malformed;
use scan::{Scanner, Value, unescape};
pub use texts::Texts;

/// Why a value is not in its column as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Another kind of value.
    Unfit,
    /// The right kind, beyond what the column holds.
    TooLarge,
    /// Kept, but shortened.
    Cut,
}

impl Flaw {
    /// Change and reason.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Unfit => ("NULLED", "DESTINATION_SERIALIZATION_ERROR"),
            Self::TooLarge => ("NULLED", "DESTINATION_FIELD_SIZE_LIMITATION"),
            Self::Cut => ("TRUNCATED", "DESTINATION_FIELD_SIZE_LIMITATION"),
        }
    }

    fn change(self, row: usize, field: Arc<str>) -> Change {
        let (change, reason) = self.words();
        Change { row, field, change, reason }
    }
}

/// Builds batches of one stream.
pub struct Decoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    names: HashMap<Box<[u8]>, usize>,
    fields: Vec<Arc<str>>,
    /// What the n-th key of the row before was, as it was spelled, and its column. Rows of a source look alike.
    familiar: Vec<(Box<[u8]>, Option<usize>)>,
    /// Where the value of each column lies in the row at hand.
    found: Vec<Option<Value>>,
    open: Vec<u8>,
    scratch: String,
    rows: usize,
    bytes: usize,
    changes: Vec<Change>,
}

impl Decoder {
    /// A decoder for these columns (see [`protocol::schema::columns`]). A name that comes twice is one column.
    pub fn new(columns: &[(String, ColumnType)]) -> Self {
        let mut names: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut fields = Vec::new();
        let mut arrow = Vec::new();
        let mut builders = Vec::new();
        for (name, column) in columns {
            if names.contains_key(name.as_bytes()) {
                continue;
            }
            names.insert(name.as_bytes().into(), builders.len());
            fields.push(Arc::from(name.as_str()));
            arrow.push(Field::new(name, column::arrow_type(*column), true));
            builders.push(Column::new(*column));
        }
        Self {
            schema: Arc::new(Schema::new(arrow)),
            found: vec![None; builders.len()],
            columns: builders,
            names,
            fields,
            familiar: Vec::new(),
            open: Vec::new(),
            scratch: String::new(),
            rows: 0,
            bytes: 0,
            changes: Vec::new(),
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends one row. `Err`: the bytes are not one JSON object, and nothing was appended.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Malformed> {
        self.locate(data)?;
        for ((column, found), field) in self.columns.iter_mut().zip(&self.found).zip(&self.fields) {
            self.bytes += found.map_or(1, |value| value.end - value.start);
            if let Some(flaw) = column.append(data, *found, &mut self.scratch) {
                self.changes.push(flaw.change(self.rows, field.clone()));
            }
        }
        self.bytes += 1;
        self.rows += 1;
        Ok(())
    }

    /// Notes what somebody before us did to a field of the row that was pushed last; fields without a column are left
    /// out.
    pub fn note(&mut self, field: &str, change: &'static str, reason: &'static str) {
        let Some(row) = self.rows.checked_sub(1) else { return };
        if let Some(at) = self.names.get(field.as_bytes()) {
            self.changes.push(Change { row, field: self.fields[*at].clone(), change, reason });
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the rows so far take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows so far with their changes; the decoder is empty again.
    pub fn take(&mut self) -> Result<(RecordBatch, Vec<Change>)> {
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Error::system("Decoded rows do not fit their schema").with_source(error))?;
        Ok((rows, std::mem::take(&mut self.changes)))
    }

    /// Fills `found`.
    fn locate(&mut self, data: &[u8]) -> Result<(), Malformed> {
        self.found.fill(None);
        let mut scanner = Scanner::new(data, &mut self.open);
        let mut nth = 0;
        while let Some((key, value)) = scanner.member()? {
            let spelled = &data[key.start + 1..key.end - 1];
            let column = match self.familiar.get(nth) {
                Some((before, column)) if **before == *spelled => *column,
                _ => {
                    let column = match key.escaped {
                        false => self.names.get(spelled),
                        true => {
                            unescape(spelled, &mut self.scratch).and_then(|()| self.names.get(self.scratch.as_bytes()))
                        }
                    }
                    .copied();
                    // Only so many are remembered: an object used as a map has other keys in each row.
                    if nth < self.familiar.len() {
                        self.familiar[nth] = (spelled.into(), column);
                    } else if nth < 2 * self.columns.len() + 16 {
                        self.familiar.push((spelled.into(), column));
                    }
                    column
                }
            };
            nth += 1;
            if let Some(column) = column {
                self.found[column] = Some(value);
            }
        }
        Ok(())
    }
}
