//! Rows into a table: one prepared statement, bound straight from the Arrow columns.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat};
use connector::{Batch, Change, Error, Result};
use rusqlite::{
    Connection, Statement, ToSql,
    types::{Null, ToSqlOutput, ValueRef},
};
use tokio_util::sync::CancellationToken;

use crate::direct::stamp::{RowIds, meta};

use super::{
    client::sql,
    names::quoted,
    table::{self, Column},
    types::{Cell, Flaw, Reader, convert},
};

/// Rows between two looks at the cancel token.
const LOOK: usize = 1024;

/// What every row of an attempt carries.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub job: i64,
    pub generation: i64,
}

/// Inserts the rows of a batch and returns how many SQLite says were inserted.
pub fn insert(
    connection: &Connection,
    table: &str,
    columns: &[Column],
    batch: &Batch,
    stamp: &Stamp,
    cancel: &CancellationToken,
) -> Result<i64> {
    let marks = vec!["?"; columns.len() + 4].join(", ");
    let text = format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table), table::all(columns));
    let mut statement = connection.prepare_cached(&text).map_err(sql)?;
    let readers = readers(columns, batch)?;
    let mut ids = RowIds::new();
    let plain = meta(stamp.job, &[]);
    bind(&mut statement, 2, extracted_at(batch.emitted_at).as_str())?;
    bind(&mut statement, 3, plain.as_str())?;
    bind(&mut statement, 4, stamp.generation)?;
    let mut changes = batch.changes.iter().peekable();
    let mut found: Vec<(&str, &str, &str)> = Vec::new();
    let (mut scratch, mut out) = (String::new(), String::new());
    let mut inserted = 0;
    for row in 0..batch.rows.num_rows() {
        if row % LOOK == 0 && cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        found.clear();
        while let Some(Change { field, change, reason, .. }) = changes.next_if(|change| change.row <= row) {
            found.push((field, change, reason));
        }
        bind(&mut statement, 1, ids.next())?;
        for (index, (column, reader)) in columns.iter().zip(&readers).enumerate() {
            let (cell, flaw) = match reader {
                Some(reader) => convert(reader.value(row, &mut scratch), column.kind, &mut out),
                None => (Cell::Null, None),
            };
            if let Some(Flaw { change, reason }) = flaw {
                found.push((&column.field, change, reason));
            }
            bind(&mut statement, index + 5, cell)?;
        }
        if found.is_empty() {
            inserted += statement.raw_execute().map_err(sql)?;
        } else {
            bind(&mut statement, 3, meta(stamp.job, &found).as_str())?;
            inserted += statement.raw_execute().map_err(sql)?;
            bind(&mut statement, 3, plain.as_str())?;
        }
    }
    Ok(inserted as i64)
}

/// One reader per column; a column that the batch lacks is NULL.
fn readers(columns: &[Column], batch: &Batch) -> Result<Vec<Option<Reader>>> {
    let schema = batch.rows.schema();
    let places: HashMap<&str, usize> =
        schema.fields().iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect();
    let of = |column: &Column| match places.get(column.field.as_str()) {
        Some(place) => Reader::of(&column.field, batch.rows.column(*place).as_ref()).map(Some),
        None => Ok(None),
    };
    columns.iter().map(of).collect()
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => Null.into(),
            Cell::Integer(number) => (*number).into(),
            Cell::Real(number) => (*number).into(),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

fn bind(statement: &mut Statement<'_>, place: usize, value: impl ToSql) -> Result<()> {
    statement.raw_bind_parameter(place, value).map_err(sql)
}

/// ISO 8601 in UTC with milliseconds: one width, so that text order is time order.
fn extracted_at(emitted_at: i64) -> String {
    // The last millisecond of year 9999; before 1970 nothing was extracted.
    let millis = emitted_at.clamp(0, 253_402_300_799_999);
    DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_json_of_one_width() {
        assert_eq!(meta(7, &[]), r#"{"sync_id":7,"changes":[]}"#);
        let text = meta(7, &[("a\"b", "NULLED", "X"), ("c", "TRUNCATED", "Y")]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["changes"][0]["field"], "a\"b");
        assert_eq!(extracted_at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(extracted_at(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
