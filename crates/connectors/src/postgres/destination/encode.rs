//! The matrix: Arrow value × column → the field of a binary row, and what is noted as a change. Start with [`Column::field`].
//!
//! The ways that most rows take (whole numbers, texts, decimals, instants) go from the Arrow array to the wire without a
//! detour; [`general`] is every other combination.

use std::{fmt::Write as _, sync::Arc};

use arrow_array::{Array, ArrayRef, Float64Array, cast::AsArray, types::Float32Type};
use arrow_schema::DataType;
use chrono::{DateTime, Datelike, Timelike};
use connector::{
    Result,
    decode::{self, moment},
};
use protocol::ColumnType;

use super::{
    digits::{Decimal, Limit, write_infinity, write_nan, write_scaled},
    json,
    types::Wire,
};
use crate::direct::value::{BAD, CUT, Flaw, Reader, STRIPPED, TOO_BIG, Value};

/// The server takes 2^30 bytes a row.
const MOST_TEXT: usize = 500_000_000;
/// Days and microseconds between 1970 and 2000, where PostgreSQL begins to count.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;
/// From 4714 BC to the ends of PostgreSQL's calendars, counted from 2000.
const DATES: std::ops::Range<i64> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// Seconds that a zone is from UTC at most.
const MOST_ZONE: i64 = 15 * 3600 + 59 * 60 + 59;

/// What the encoder writes into while it works.
#[derive(Debug, Default)]
pub struct Scratch {
    text: String,
    out: String,
    decimal: Decimal,
}

/// An Arrow column on its way to a column of a table.
pub struct Column {
    reader: Option<Reader>,
    kind: ColumnType,
    wire: Wire,
}

impl Column {
    /// A column that the batch lacks is NULL.
    pub fn new(field: &str, array: Option<&ArrayRef>, kind: ColumnType, wire: Wire) -> Result<Self> {
        let reader = match array {
            None => None,
            Some(array) if *array.data_type() == DataType::Float32 => Some(Reader::of(field, &as_shown(array))?),
            Some(array) => Some(Reader::of(field, array.as_ref())?),
        };
        Ok(Self { reader, kind, wire })
    }

    /// Appends the field of a row, with its length.
    #[inline]
    pub fn field(&self, row: usize, out: &mut Vec<u8>, scratch: &mut Scratch) -> Option<Flaw> {
        let Some(reader) = &self.reader else {
            null(out);
            return None;
        };
        match (reader, self.wire) {
            (Reader::Integer(array), Wire::Int8) if array.is_valid(row) => {
                put(out, &array.value(row).to_be_bytes());
                return None;
            }
            (Reader::Text(array), Wire::Text(None)) if array.is_valid(row) => {
                return text(array.value(row), None, out);
            }
            (Reader::Decimal128(array), Wire::Numeric(limit)) if array.is_valid(row) => {
                let (value, scale) = (array.value(row), array.scale());
                if limit.is_none() && scale >= 0 && write_scaled(value < 0, value.unsigned_abs(), scale as u16, out) {
                    return None;
                }
            }
            _ => {}
        }
        let value = reader.value(row, &mut scratch.text);
        if value == Value::Null {
            null(out);
            return None;
        }
        let start = out.len();
        match general(value, self.kind, self.wire, out, &mut scratch.out, &mut scratch.decimal) {
            Ok(flaw) => flaw,
            Err(flaw) => {
                out.truncate(start);
                null(out);
                Some(flaw)
            }
        }
    }
}

/// 0.1 of 32 bits is 0.1, as PostgreSQL shows and casts it, not the 0.10000000149 that a double makes of it.
fn as_shown(array: &ArrayRef) -> ArrayRef {
    let widen = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
    let doubles: Float64Array = array.as_primitive::<Float32Type>().iter().map(|value| value.map(widen)).collect();
    Arc::new(doubles)
}

#[inline]
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

/// A field of up to 2^31 bytes.
#[inline]
pub fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub fn put_jsonb(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i32 + 1).to_be_bytes());
    out.push(1);
    out.extend_from_slice(text.as_bytes());
}

/// An instant in milliseconds since 1970 as a timestamp, or the end of the calendar that it is beyond.
pub fn put_millis(out: &mut Vec<u8>, millis: i64) {
    let micros = millis.saturating_mul(1000).saturating_sub(EPOCH_MICROS);
    put(out, &micros.clamp(TIMESTAMPS.start, TIMESTAMPS.end - 1).to_be_bytes());
}

/// Characters beyond `most` are cut, U+0000 is left out.
#[inline]
fn text(value: &str, most: Option<usize>, out: &mut Vec<u8>) -> Option<Flaw> {
    if value.len() > MOST_TEXT {
        null(out);
        return Some(TOO_BIG);
    }
    if most.is_none() && !value.as_bytes().contains(&0) {
        put(out, value.as_bytes());
        return None;
    }
    let kept: String = value.chars().filter(|c| *c != '\0').take(most.unwrap_or(usize::MAX)).collect();
    put(out, kept.as_bytes());
    match kept.len() {
        length if length == value.len() => None,
        _ if most.is_some_and(|most| value.chars().filter(|c| *c != '\0').count() > most) => Some(CUT),
        _ => Some(STRIPPED),
    }
}

/// What the decoder of rows finds wrong, in the words of a destination.
fn of_moment(flaw: decode::Flaw) -> Flaw {
    match flaw {
        decode::Flaw::Unfit => BAD,
        decode::Flaw::TooLarge => TOO_BIG,
        decode::Flaw::Cut => CUT,
    }
}

type Written = Result<Option<Flaw>, Flaw>;

/// Every combination. On `Err` the value is NULL, whatever was written.
fn general(
    value: Value<'_>,
    kind: ColumnType,
    wire: Wire,
    out: &mut Vec<u8>,
    shown: &mut String,
    decimal: &mut Decimal,
) -> Written {
    match wire {
        Wire::Text(most) => {
            if kind.is_json() {
                let (json, flaw) = as_json(value, kind, shown)?;
                put(out, json.as_bytes());
                return Ok(flaw);
            }
            Ok(match value {
                Value::Text(value) | Value::Decimal(value) => text(value, most, out),
                other => {
                    show(other, shown)?;
                    text(shown, most, out)
                }
            })
        }
        Wire::Bool => match value {
            Value::Boolean(yes) => {
                put(out, &[u8::from(yes)]);
                Ok(None)
            }
            _ => Err(BAD),
        },
        Wire::Int2 | Wire::Int4 | Wire::Int8 => {
            let number = whole(value, decimal)?;
            match wire {
                Wire::Int2 => put(out, &i16::try_from(number).map_err(|_| TOO_BIG)?.to_be_bytes()),
                Wire::Int4 => put(out, &i32::try_from(number).map_err(|_| TOO_BIG)?.to_be_bytes()),
                _ => put(out, &number.to_be_bytes()),
            }
            Ok(None)
        }
        Wire::Float4 | Wire::Float8 => {
            let (double, mut flaw) = double(value)?;
            if wire == Wire::Float8 {
                put(out, &double.to_be_bytes());
                return Ok(flaw);
            }
            let single = double as f32;
            if single.is_infinite() && double.is_finite() {
                return Err(TOO_BIG);
            }
            if single.to_string().parse() != Ok(double) && !double.is_nan() {
                flaw = Some(CUT);
            }
            put(out, &single.to_be_bytes());
            Ok(flaw)
        }
        Wire::Numeric(limit) => {
            if kind == ColumnType::Integer {
                // A column of whole numbers keeps whole numbers only, however it is declared.
                let number = whole(value, decimal)?;
                return numeric(Value::Integer(number), limit, out, shown, decimal);
            }
            numeric(value, limit, out, shown, decimal)
        }
        Wire::Json | Wire::Jsonb => {
            let (json, flaw) = as_json(value, kind, shown)?;
            match wire {
                Wire::Json => put(out, json.as_bytes()),
                _ => put_jsonb(out, json),
            }
            Ok(flaw)
        }
        Wire::Date => date(value, out),
        Wire::Timestamp | Wire::TimestampTz => timestamp(value, wire == Wire::TimestampTz, out),
        Wire::Time | Wire::TimeTz => time(value, wire == Wire::TimeTz, out),
    }
}

fn whole(value: Value<'_>, decimal: &mut Decimal) -> Result<i64, Flaw> {
    match value {
        Value::Integer(number) => Ok(number),
        Value::Unsigned(_) => Err(TOO_BIG),
        Value::Float(number) if !number.is_finite() || number.fract() != 0.0 => Err(BAD),
        // 2^63 itself is a double, `i64::MAX` is not.
        Value::Float(number) if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) => {
            Err(TOO_BIG)
        }
        Value::Float(number) => Ok(number as i64),
        Value::Text(text) | Value::Decimal(text) => {
            let text = text.trim();
            if let Ok(number) = text.parse() {
                return Ok(number);
            }
            decimal.parse(text)?;
            decimal.to_i64()
        }
        _ => Err(BAD),
    }
}

fn double(value: Value<'_>) -> Result<(f64, Option<Flaw>), Flaw> {
    Ok(match value {
        Value::Float(number) => (number, None),
        Value::Integer(number) => (number as f64, (number as f64 as i128 != i128::from(number)).then_some(CUT)),
        Value::Unsigned(number) => (number as f64, (number as f64 as u128 != u128::from(number)).then_some(CUT)),
        Value::Text(text) | Value::Decimal(text) => {
            if let Some(special) = special(text) {
                return Ok((special, None));
            }
            let (mut given, mut kept) = (Decimal::default(), Decimal::default());
            given.parse(text.trim())?;
            let double: f64 = text.trim().parse().map_err(|_| BAD)?;
            if double.is_infinite() {
                return Err(TOO_BIG);
            }
            // The shortest text of the double has the digits that came: nothing was lost.
            kept.parse(&double.to_string())?;
            (double, (!given.equals(&kept)).then_some(CUT))
        }
        _ => return Err(BAD),
    })
}

/// The words that PostgreSQL's source sends for what is no number.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn numeric(value: Value<'_>, limit: Limit, out: &mut Vec<u8>, shown: &mut String, decimal: &mut Decimal) -> Written {
    let special = match value {
        Value::Float(number) if !number.is_finite() => Some(number),
        Value::Text(text) => special(text),
        _ => None,
    };
    if let Some(special) = special {
        match (special.is_nan(), limit) {
            (true, _) => write_nan(out),
            // A limit has no room for it.
            (false, Some(_)) => return Err(BAD),
            (false, None) => write_infinity(special < 0.0, out),
        }
        return Ok(None);
    }
    match value {
        Value::Integer(number) if limit.is_none() => {
            write_scaled(number < 0, u128::from(number.unsigned_abs()), 0, out);
            return Ok(None);
        }
        Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) => {
            show(value, shown)?;
            decimal.parse(shown)?;
        }
        Value::Text(text) | Value::Decimal(text) => decimal.parse(text.trim())?,
        _ => return Err(BAD),
    }
    decimal.write(limit, out)
}

fn as_json<'a>(value: Value<'a>, kind: ColumnType, shown: &'a mut String) -> Result<(&'a str, Option<Flaw>), Flaw> {
    match value {
        Value::Text(text) => json::check(text, shown),
        // Arrays and objects come as text.
        _ if kind != ColumnType::Union => Err(BAD),
        Value::Float(number) if !number.is_finite() => Err(BAD),
        Value::Date(_) | Value::Instant(_) | Value::Time(_) => {
            show(value, shown)?;
            shown.insert(0, '"');
            shown.push('"');
            Ok((shown, None))
        }
        other => {
            show(other, shown)?;
            Ok((shown, None))
        }
    }
}

fn date(value: Value<'_>, out: &mut Vec<u8>) -> Written {
    let days = match value {
        Value::Date(days) => days,
        Value::Text(text) => match endless(text) {
            Some(is_positive) => {
                if is_positive {
                    i32::MAX
                } else {
                    i32::MIN
                }
            }
            None => moment::date(text).map_err(of_moment)?,
        },
        _ => return Err(BAD),
    };
    let days = match days {
        // Infinity, on both sides.
        i32::MIN | i32::MAX => days,
        days => {
            let days = i64::from(days) - EPOCH_DAYS;
            i32::try_from(days).ok().filter(|_| DATES.contains(&days)).ok_or(TOO_BIG)?
        }
    };
    put(out, &days.to_be_bytes());
    Ok(None)
}

fn endless(text: &str) -> Option<bool> {
    match text.trim() {
        "infinity" | "Infinity" => Some(true),
        "-infinity" | "-Infinity" => Some(false),
        _ => None,
    }
}

fn timestamp(value: Value<'_>, zoned: bool, out: &mut Vec<u8>) -> Written {
    let (micros, flaw) = match value {
        Value::Instant(nanos) => {
            let micros = i64::try_from(nanos.div_euclid(1000)).map_err(|_| TOO_BIG)?;
            (micros, (nanos.rem_euclid(1000) != 0).then_some(CUT))
        }
        Value::Date(i32::MAX) => (i64::MAX, None),
        Value::Date(i32::MIN) => (i64::MIN, None),
        Value::Date(days) => (i64::from(days).checked_mul(DAY).ok_or(TOO_BIG)?, None),
        Value::Text(text) => match endless(text) {
            Some(is_positive) => (if is_positive { i64::MAX } else { i64::MIN }, None),
            None => {
                let read = if zoned { moment::timestamp_tz(text) } else { moment::timestamp(text) };
                let (micros, flaw) = read.map_err(of_moment)?;
                (micros, flaw.map(of_moment))
            }
        },
        _ => return Err(BAD),
    };
    let micros = match micros {
        i64::MIN | i64::MAX => micros,
        micros => micros.checked_sub(EPOCH_MICROS).filter(|micros| TIMESTAMPS.contains(micros)).ok_or(TOO_BIG)?,
    };
    put(out, &micros.to_be_bytes());
    Ok(flaw)
}

fn time(value: Value<'_>, zoned: bool, out: &mut Vec<u8>) -> Written {
    let (micros, zone, flaw) = match value {
        Value::Time(nanos) => (nanos.div_euclid(1000), 0, (nanos.rem_euclid(1000) != 0).then_some(CUT)),
        Value::Text(text) => {
            let ((micros, zone), flaw) = moment::time_and_zone(text).map_err(of_moment)?;
            (micros, zone.unwrap_or(0), flaw.map(of_moment))
        }
        _ => return Err(BAD),
    };
    if !(0..=DAY).contains(&micros) {
        return Err(BAD);
    }
    if !zoned {
        put(out, &micros.to_be_bytes());
        return Ok(flaw);
    }
    if zone.abs() > MOST_ZONE {
        return Err(TOO_BIG);
    }
    out.extend_from_slice(&12_i32.to_be_bytes());
    out.extend_from_slice(&micros.to_be_bytes());
    // PostgreSQL counts zones to the west.
    out.extend_from_slice(&(-zone as i32).to_be_bytes());
    Ok(flaw)
}

/// The value as text, in the spelling of PostgreSQL.
fn show(value: Value<'_>, out: &mut String) -> Result<(), Flaw> {
    out.clear();
    let written = match value {
        Value::Null => Ok(()),
        Value::Text(text) | Value::Decimal(text) => out.write_str(text),
        Value::Boolean(yes) => write!(out, "{yes}"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Unsigned(number) => write!(out, "{number}"),
        Value::Float(number) if number.is_infinite() => {
            out.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Value::Float(number) => write!(out, "{number}"),
        Value::Date(i32::MAX) => out.write_str("infinity"),
        Value::Date(i32::MIN) => out.write_str("-infinity"),
        Value::Date(days) => show_instant(i128::from(days) * i128::from(DAY), false, out)?,
        Value::Instant(nanos) => show_instant(nanos.div_euclid(1000), true, out)?,
        Value::Time(nanos) => {
            let micros = nanos.div_euclid(1000);
            let (seconds, part) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            write!(out, "{:02}:{:02}:{:02}.{part:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
    };
    written.map_err(|_| BAD)
}

fn show_instant(micros: i128, with_clock: bool, out: &mut String) -> Result<std::fmt::Result, Flaw> {
    if micros == i128::from(i64::MAX) || micros == i128::from(i64::MIN) {
        return Ok(out.write_str(if micros > 0 { "infinity" } else { "-infinity" }));
    }
    let micros = i64::try_from(micros).map_err(|_| TOO_BIG)?;
    let instant = DateTime::from_timestamp_micros(micros).ok_or(TOO_BIG)?;
    let (year, is_bc) = if instant.year() > 0 { (instant.year(), false) } else { (1 - instant.year(), true) };
    let mut written = write!(out, "{year:04}-{:02}-{:02}", instant.month(), instant.day());
    if with_clock {
        let part = instant.nanosecond() / 1000;
        let clock = (instant.hour(), instant.minute(), instant.second());
        written = written.and(write!(out, "T{:02}:{:02}:{:02}.{part:06}Z", clock.0, clock.1, clock.2));
    }
    if is_bc {
        written = written.and(out.write_str(" BC"));
    }
    Ok(written)
}
