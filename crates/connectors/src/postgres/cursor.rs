//! An incremental read in the order of its cursor. Start with [`Delta::send`].
//!
//! A mark lies only where the cursor's value *changes*, so whoever resumes from it reads on with `>`; only the last mark
//! has a count of the rows that are equal to the cursor, by which the next sync sees whether ties were added. Where
//! different bytes may be equal values (citext, intervals, padded text, …) there is no mark but the last.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
        TimestampMicrosecondType, UInt32Type,
    },
};
use arrow_schema::DataType;
use connector::{Batch, Output, Result};

use super::{
    chunks::Selection,
    client::{Copied, Session},
    columns::Rows,
    state::{Cursor, Position},
};

pub struct Delta<'a> {
    pub selection: &'a Selection,
    pub field: &'a str,
    /// The column of the layout that marks are taken from; `None`: no marks within the read.
    pub marks: Option<usize>,
    /// The first columns of the layout are sent; what follows was only read for its marks.
    pub sent: usize,
}

impl Delta<'_> {
    /// Sends the rows of a COPY that is ordered by the cursor; the rows as the server counted them.
    pub async fn send(&self, session: &mut Session, sql: &str, output: &Output) -> Result<i64> {
        session.copy_out(sql).await?;
        let mut rows = Rows::new(self.selection.layout.clone());
        let mut decoded = 0_i64;
        let mut last: Option<String> = None;
        loop {
            let (full, counted) = match session.copied().await? {
                Copied::Rows(message) => {
                    rows.append(message)?;
                    (rows.is_full(), None)
                }
                Copied::End { rows: counted } => (!rows.is_empty(), Some(counted)),
            };
            if full {
                let batch = rows.finish(self.selection.stream)?;
                decoded += batch.rows.num_rows() as i64;
                self.send_marked(batch, &mut last, output).await?;
            }
            match counted {
                Some(counted) if counted == decoded => return Ok(counted),
                Some(counted) => {
                    return Err(session.nonsense(&format!("{decoded} rows and said that there were {counted}")));
                }
                None => {}
            }
        }
    }

    /// `last`: the cursor of the row before the batch.
    async fn send_marked(&self, batch: Batch, last: &mut Option<String>, output: &Output) -> Result<()> {
        let Some(column) = self.marks else { return output.batch(self.project(batch)?).await };
        let cursors = batch.rows.column(column).clone();
        let count = batch.rows.num_rows();
        let newest = text(&cursors, count - 1);
        // Where the values equal to the newest one begin: they may go on in the next batch.
        let mut group = count - 1;
        while group > 0 && same(&cursors, group - 1, count - 1) {
            group -= 1;
        }
        let before = if group > 0 { text(&cursors, group - 1) } else { last.take() };
        *last = newest;
        let batch = self.project(batch)?;
        match before.filter(|before| Some(before) != last.as_ref()) {
            Some(before) => {
                if group > 0 {
                    output.batch(batch.slice(0, group)).await?;
                }
                let cursor = Cursor { field: self.field.to_owned(), value: Some(before), count: None };
                output.state(Position::Cursor(cursor).message(&self.selection.name)?).await?;
                output.batch(batch.slice(group, count - group)).await
            }
            None => output.batch(batch).await,
        }
    }

    fn project(&self, batch: Batch) -> Result<Batch> {
        if self.sent == batch.rows.num_columns() {
            return Ok(batch);
        }
        let columns: Vec<usize> = (0..self.sent).collect();
        let rows: RecordBatch = batch
            .rows
            .project(&columns)
            .map_err(|error| connector::Error::system("A batch does not fit its schema").with_source(error))?;
        Ok(batch.with_rows(rows))
    }
}

/// Whether two rows have the same cursor.
fn same(cursors: &ArrayRef, a: usize, b: usize) -> bool {
    text(cursors, a) == text(cursors, b)
}

/// The value as PostgreSQL reads it back, in one form only: texts are equal exactly where values are.
pub fn text(cursors: &ArrayRef, row: usize) -> Option<String> {
    if cursors.is_null(row) {
        return None;
    }
    Some(match cursors.data_type() {
        DataType::Int16 => cursors.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => cursors.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => cursors.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => cursors.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::Float32 => float(f64::from(cursors.as_primitive::<Float32Type>().value(row)), || {
            cursors.as_primitive::<Float32Type>().value(row).to_string()
        }),
        DataType::Float64 => {
            let value = cursors.as_primitive::<Float64Type>().value(row);
            float(value, || value.to_string())
        }
        DataType::Decimal128(..) => cursors.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date32 => match cursors.as_primitive::<Date32Type>().value(row) {
            i32::MAX => "infinity".to_owned(),
            i32::MIN => "-infinity".to_owned(),
            days => {
                let (date, era) = date(i64::from(days));
                date + era
            }
        },
        DataType::Timestamp(_, zone) => match cursors.as_primitive::<TimestampMicrosecondType>().value(row) {
            i64::MAX => "infinity".to_owned(),
            i64::MIN => "-infinity".to_owned(),
            micros => {
                let (date, era) = date(micros.div_euclid(86_400_000_000));
                let zone = if zone.is_some() { "Z" } else { "" };
                format!("{date}T{}{zone}{era}", time(micros.rem_euclid(86_400_000_000)))
            }
        },
        DataType::Time64(_) => time(cursors.as_primitive::<Time64MicrosecondType>().value(row)),
        _ => cursors.as_string_opt::<i32>()?.value(row).to_owned(),
    })
}

/// Zero has two signs and NaN many bits, but each is one value.
fn float(value: f64, print: impl Fn() -> String) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    print()
}

/// A date of the proleptic Gregorian calendar from days since 1970, and ` BC` for years before 1.
fn date(days: i64) -> (String, &'static str) {
    // Years that begin in March, in cycles of 400.
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    (format!("{year:04}-{month:02}-{of_month:02}"), era)
}

fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match micros % 1_000_000 {
        0 => text,
        fraction => format!("{text}.{fraction:06}"),
    }
}

/// The server's own text of a bound in the form that states have: `2024-01-01T00:00:00Z`.
pub fn state_text(type_name: &str, server: String) -> String {
    if !matches!(type_name, "timestamp" | "timestamptz") || server.ends_with("infinity") {
        return server;
    }
    let (stamp, era) = server.strip_suffix(" BC").map_or((server.as_str(), ""), |stamp| (stamp, " BC"));
    let (stamp, zone) = stamp.strip_suffix("+00").map_or((stamp, ""), |stamp| (stamp, "Z"));
    format!("{}{zone}{era}", stamp.replacen(' ', "T", 1))
}

/// The column of the layout with this name, if it was selected just as it is.
pub fn column_of(selection: &[(Arc<str>, String)], plain: &str, name: &str) -> Option<usize> {
    selection.iter().position(|(column, expression)| &**column == name && expression == plain)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, Float64Array, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn dates_far_and_near() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (3_672_458, "12024-11-06"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-735_160, "0044-03-15 BC"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            let array: ArrayRef = Arc::new(Date32Array::from(vec![days]));
            assert_eq!(text(&array, 0).as_deref(), Some(expected), "{days}");
        }
    }

    #[test]
    fn one_text_per_value() {
        let stamps: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1, 0, 1_500_000]).with_timezone("UTC"));
        let texts: Vec<_> = (0..3).filter_map(|row| text(&stamps, row)).collect();
        assert_eq!(texts, ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:01.500000Z"]);
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1e300]));
        assert!(same(&floats, 0, 1) && same(&floats, 2, 3) && !same(&floats, 3, 4));
    }

    #[test]
    fn bounds_in_the_form_of_states() {
        let check = |of: &str, server: &str, expected: &str| assert_eq!(state_text(of, server.to_owned()), expected);
        check("timestamptz", "2024-01-01 00:00:00.5+00", "2024-01-01T00:00:00.5Z");
        check("timestamptz", "0044-03-15 00:00:00+00 BC", "0044-03-15T00:00:00Z BC");
        check("timestamp", "2024-01-01 00:00:00", "2024-01-01T00:00:00");
        check("timestamptz", "infinity", "infinity");
        check("text", "a b", "a b");
    }
}
