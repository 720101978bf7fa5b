//! The one conversion matrix: Arrow type × column type → what SQLite stores.
//!
//! SQLite has five storage classes and no type for time, decimals or JSON, so a column is declared as one of four types:
//!
//! | column type | declared | stored as |
//! |---|---|---|
//! | string | TEXT | as it came, U+0000 too (SQLite keeps it; its C-string functions stop there) |
//! | boolean | BOOLEAN | 0, 1 |
//! | integer | INTEGER | 64 bits |
//! | number | NUMERIC | an integer where it is one, else the nearest double; digits that a double cannot hold are a change |
//! | date | TEXT | `2026-11-25` |
//! | timestamp with zone | TEXT | `2026-11-25T03:23:19.000000Z`, always UTC and of one width, so that text order is time order |
//! | timestamp without | TEXT | the same without `Z` |
//! | time with zone, without | TEXT | `03:23:19.000000+01:00`, `03:23:19.000000` |
//! | array, object, union | TEXT | JSON |
//!
//! A value that does not fit becomes NULL and a change (Invariant 8). [`Reader::of`] reads Arrow, [`convert`] is the matrix.

use std::fmt::Write as _;

use protocol::ColumnType;

pub use crate::direct::value::{BAD, CUT, Flaw, Reader, TOO_BIG, Value};

use super::clock::{
    from_days, parse_date, parse_time, parse_timestamp, parse_zone, write_date, write_instant, write_time,
};

/// SQLite refuses values of 10^9 bytes, and rows too; one value may take half of that.
const MOST_TEXT: usize = 500_000_000;

/// The type that a new column is declared with.
pub fn declared(column: ColumnType) -> &'static str {
    match column {
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Integer => "INTEGER",
        ColumnType::Number => "NUMERIC",
        ColumnType::String
        | ColumnType::Date
        | ColumnType::TimestampTz
        | ColumnType::Timestamp
        | ColumnType::TimeTz
        | ColumnType::Time
        | ColumnType::Array
        | ColumnType::Object
        | ColumnType::Union => "TEXT",
    }
}

/// Whether an existing column, declared by us or by a user, takes values of this type without changing them.
pub fn fits(existing: &str, column: ColumnType) -> bool {
    let existing = existing.to_ascii_uppercase();
    let has = |part: &str| existing.contains(part);
    // SQLite's own rules of affinity, in their order.
    if existing.is_empty() || has("BLOB") {
        return true;
    }
    let wanted = declared(column);
    if has("INT") {
        // Integer affinity keeps a fraction as it is, so a number loses nothing in it.
        return matches!(wanted, "INTEGER" | "NUMERIC");
    }
    if has("CHAR") || has("CLOB") || has("TEXT") {
        return wanted == "TEXT";
    }
    if has("REAL") || has("FLOA") || has("DOUB") {
        return wanted == "NUMERIC";
    }
    if has("BOOL") {
        return wanted == "BOOLEAN";
    }
    if has("DATE") || has("TIME") {
        return matches!(
            column,
            ColumnType::Date | ColumnType::TimestampTz | ColumnType::Timestamp | ColumnType::TimeTz | ColumnType::Time
        );
    }
    wanted == "NUMERIC"
}

/// What SQLite is given for one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
}

type Encoded<'a> = (Cell<'a>, Option<Flaw>);

/// The matrix. `out` is emptied and may carry the text of the result.
pub fn convert<'a>(value: Value<'a>, column: ColumnType, out: &'a mut String) -> Encoded<'a> {
    if value == Value::Null {
        return (Cell::Null, None);
    }
    match column {
        ColumnType::String => text(value, out),
        ColumnType::Boolean => match value {
            Value::Boolean(yes) => (Cell::Integer(i64::from(yes)), None),
            _ => (Cell::Null, Some(BAD)),
        },
        ColumnType::Integer => integer(value),
        ColumnType::Number => number(value),
        ColumnType::Date => match value {
            Value::Date(days) => written(out, |out| write_date(out, from_days(days)?)),
            Value::Text(text) => written(out, |out| {
                let (date, rest) = parse_date(text.trim(), true)?;
                if rest.is_empty() { write_date(out, date) } else { Err(BAD) }
            }),
            _ => (Cell::Null, Some(BAD)),
        },
        ColumnType::TimestampTz | ColumnType::Timestamp => {
            let zoned = column == ColumnType::TimestampTz;
            match value {
                Value::Instant(nanos) => written(out, |out| write_instant(out, nanos, zoned)),
                Value::Date(days) => {
                    written(out, |out| write_instant(out, i128::from(days) * 86_400 * 1_000_000_000, zoned))
                }
                Value::Text(text) => written(out, |out| {
                    let (nanos, offset) = parse_timestamp(text.trim())?;
                    // With zone: the instant. Without: the clock's reading.
                    let shift = if zoned { i128::from(offset) * 1_000_000_000 } else { 0 };
                    write_instant(out, nanos - shift, zoned)
                }),
                _ => (Cell::Null, Some(BAD)),
            }
        }
        ColumnType::TimeTz | ColumnType::Time => {
            let zoned = column == ColumnType::TimeTz;
            match value {
                Value::Time(nanos) => written(out, |out| write_time(out, nanos, zoned.then_some(0))),
                Value::Text(text) => written(out, |out| {
                    let (nanos, rest) = parse_time(text.trim())?;
                    let offset = parse_zone(rest)?;
                    write_time(out, nanos, zoned.then_some(offset.unwrap_or(0)))
                }),
                _ => (Cell::Null, Some(BAD)),
            }
        }
        ColumnType::Array | ColumnType::Object => match value {
            Value::Text(json) => fitting(json),
            _ => (Cell::Null, Some(BAD)),
        },
        ColumnType::Union => match value {
            Value::Float(float) if !float.is_finite() => (Cell::Null, Some(BAD)),
            Value::Date(_) | Value::Instant(_) | Value::Time(_) => {
                let flaw = {
                    let mut plain = String::new();
                    let (cell, flaw) = text(value, &mut plain);
                    out.clear();
                    if let Cell::Text(plain) = cell {
                        let _ = write!(out, "\"{plain}\"");
                    }
                    flaw
                };
                if out.is_empty() { (Cell::Null, flaw) } else { (Cell::Text(out), flaw) }
            }
            _ => text(value, out),
        },
    }
}

fn fitting(text: &str) -> Encoded<'_> {
    if text.len() > MOST_TEXT { (Cell::Null, Some(TOO_BIG)) } else { (Cell::Text(text), None) }
}

fn text<'a>(value: Value<'a>, out: &'a mut String) -> Encoded<'a> {
    match value {
        Value::Null => (Cell::Null, None),
        Value::Text(text) | Value::Decimal(text) => fitting(text),
        Value::Boolean(yes) => (Cell::Text(if yes { "true" } else { "false" }), None),
        Value::Integer(number) => written(out, |out| shown(out, number)),
        Value::Unsigned(number) => written(out, |out| shown(out, number)),
        Value::Float(number) => written(out, |out| shown(out, number)),
        Value::Date(days) => written(out, |out| write_date(out, from_days(days)?)),
        Value::Instant(nanos) => written(out, |out| write_instant(out, nanos, true)),
        Value::Time(nanos) => written(out, |out| write_time(out, nanos, None)),
    }
}

fn integer(value: Value<'_>) -> Encoded<'_> {
    let result = match value {
        Value::Integer(number) => Ok(number),
        Value::Unsigned(_) => Err(TOO_BIG),
        Value::Float(number) => whole(number),
        Value::Text(text) | Value::Decimal(text) => whole_text(text.trim()),
        _ => Err(BAD),
    };
    match result {
        Ok(number) => (Cell::Integer(number), None),
        Err(flaw) => (Cell::Null, Some(flaw)),
    }
}

fn whole(number: f64) -> Result<i64, Flaw> {
    if !number.is_finite() || number.fract() != 0.0 {
        return Err(BAD);
    }
    // 2^63 itself is a double, `i64::MAX` is not.
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        return Err(TOO_BIG);
    }
    Ok(number as i64)
}

fn whole_text(text: &str) -> Result<i64, Flaw> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number);
    }
    if !is_number(text) {
        return Err(BAD);
    }
    let Some(parts) = Digits::of(text) else { return Err(TOO_BIG) };
    if parts.exponent < 0 {
        return Err(BAD);
    }
    if parts.digits.len() as i64 + parts.exponent > 19 {
        return Err(TOO_BIG);
    }
    let zeros = "0".repeat(parts.exponent as usize);
    let sign = if parts.negative { "-" } else { "" };
    format!("{sign}{}{zeros}", parts.digits).parse().map_err(|_| TOO_BIG)
}

fn number(value: Value<'_>) -> Encoded<'_> {
    match value {
        Value::Integer(number) => (Cell::Integer(number), None),
        Value::Unsigned(number) => {
            let float = number as f64;
            (Cell::Real(float), (float as u128 != u128::from(number)).then_some(CUT))
        }
        Value::Float(number) if number.is_finite() => (Cell::Real(number), None),
        Value::Text(text) | Value::Decimal(text) => number_text(text.trim()),
        _ => (Cell::Null, Some(BAD)),
    }
}

fn number_text(text: &str) -> Encoded<'static> {
    if let Ok(number) = text.parse::<i64>() {
        return (Cell::Integer(number), None);
    }
    if !is_number(text) {
        return (Cell::Null, Some(BAD));
    }
    let Ok(float) = text.parse::<f64>() else { return (Cell::Null, Some(BAD)) };
    if !float.is_finite() {
        return (Cell::Null, Some(TOO_BIG));
    }
    // The shortest text of the double has the digits that came: nothing was lost.
    let same = Digits::of(text).is_some_and(|given| Digits::of(&format!("{float:e}")) == Some(given));
    (Cell::Real(float), (!same).then_some(CUT))
}

/// A JSON number, with a leading plus or missing digits before the point tolerated. Not `inf`, not `0x10`.
fn is_number(text: &str) -> bool {
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    digit && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && text.parse::<f64>().is_ok()
}

/// Significant digits without zeros at either end, and the power of ten that follows them.
#[derive(Debug, PartialEq, Eq)]
struct Digits {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Digits {
    fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['+', '-']);
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = format!("{before}{after}");
        let mut exponent = i64::from(exponent) - after.len() as i64;
        let kept = digits.trim_end_matches('0').len();
        exponent += (digits.len() - kept) as i64;
        digits.truncate(kept);
        let digits = digits.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits: "0".to_owned(), exponent: 0 });
        }
        Some(Self { negative, digits, exponent })
    }
}

/// Runs a writer that may cut (a flaw beside a value) or fail (a flaw and NULL).
fn written(out: &mut String, write: impl FnOnce(&mut String) -> Result<Option<Flaw>, Flaw>) -> Encoded<'_> {
    out.clear();
    match write(out) {
        Ok(flaw) => (Cell::Text(out), flaw),
        Err(flaw) => (Cell::Null, Some(flaw)),
    }
}

/// A text was written, perhaps cut; or it was not.
pub type Written = Result<Option<Flaw>, Flaw>;

fn shown(out: &mut String, value: impl std::fmt::Display) -> Written {
    write!(out, "{value}").map_err(|_| BAD)?;
    Ok(None)
}
