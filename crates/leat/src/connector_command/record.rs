//! Arrow rows as RECORD lines.
//!
//! Every Arrow type that a source may choose for a column (`connector::arrow`) becomes the JSON that the column's schema
//! promises. A value that JSON has no word for (an infinity, an instant that no calendar reaches) becomes null and a
//! change (Invariant 8).

use std::io::Write;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array, LargeStringArray,
    StringArray, StringViewArray, cast::AsArray, types,
};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use connector::{Batch, Change, Error, Result};
use protocol::{ColumnType, StreamDescriptor};
use serde_json::json;

/// Writes the rows of one stream.
pub struct Encoder {
    /// A line up to its first field.
    head: Vec<u8>,
    columns: Vec<(String, ColumnType)>,
    line: Vec<u8>,
}

/// Writes the value of a row; false if it cannot be told.
type Tell<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> bool + 'a>;

struct Field<'a> {
    name: &'a str,
    /// `"name":`
    key: Vec<u8>,
    array: &'a ArrayRef,
    tell: Tell<'a>,
}

impl Encoder {
    pub fn new(stream: &StreamDescriptor, columns: Vec<(String, ColumnType)>) -> Self {
        let mut head = b"{\"type\":\"RECORD\",\"record\":{\"stream\":".to_vec();
        push(&mut head, &stream.name);
        if let Some(namespace) = &stream.namespace {
            head.extend_from_slice(b",\"namespace\":");
            push(&mut head, namespace);
        }
        head.extend_from_slice(b",\"data\":{");
        Self { head, columns, line: Vec::new() }
    }

    /// A line for each row. Columns that the schema does not declare are left out.
    pub fn write(&mut self, batch: &Batch, out: &mut impl Write) -> anyhow::Result<()> {
        let schema = batch.rows.schema_ref();
        let mut fields = Vec::new();
        for (field, array) in schema.fields().iter().zip(batch.rows.columns()) {
            let Some((name, column)) = self.columns.iter().find(|(name, _)| name == field.name()) else { continue };
            let mut key = Vec::new();
            push(&mut key, name);
            key.push(b':');
            fields.push(Field { name, key, array, tell: teller(array, *column)? });
        }
        let mut changes = batch.changes.as_slice();
        for row in 0..batch.rows.num_rows() {
            let end = changes.iter().position(|change| change.row != row).unwrap_or(changes.len());
            let (own, rest) = changes.split_at(end);
            changes = rest;
            row_line(&mut self.line, &self.head, &fields, row, own, batch.emitted_at);
            out.write_all(&self.line)?;
        }
        Ok(())
    }
}

fn row_line(line: &mut Vec<u8>, head: &[u8], fields: &[Field<'_>], row: usize, own: &[Change], emitted_at: i64) {
    line.clear();
    line.extend_from_slice(head);
    let mut lost = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend_from_slice(&field.key);
        if field.array.is_null(row) {
            line.extend_from_slice(b"null");
        } else if !(field.tell)(row, line) {
            line.extend_from_slice(b"null");
            lost.push(field.name);
        }
    }
    line.extend_from_slice(b"},\"emitted_at\":");
    line.extend_from_slice(emitted_at.to_string().as_bytes());
    if !own.is_empty() || !lost.is_empty() {
        let known =
            own.iter().map(|change| json!({"field": &*change.field, "change": change.change, "reason": change.reason}));
        let new =
            lost.iter().map(|name| json!({"field": name, "change": "NULLED", "reason": "SOURCE_SERIALIZATION_ERROR"}));
        let meta = json!({ "changes": known.chain(new).collect::<Vec<_>>() });
        line.extend_from_slice(b",\"meta\":");
        line.extend_from_slice(meta.to_string().as_bytes());
    }
    line.extend_from_slice(b"}}\n");
}

/// What serde writes; into memory it cannot fail.
fn push<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> bool {
    serde_json::to_writer(out, value).is_ok()
}

fn teller(array: &ArrayRef, column: ColumnType) -> Result<Tell<'_>> {
    let any = array.as_any();
    if let Some(array) = any.downcast_ref::<StringArray>() {
        return Ok(text(move |row| array.value(row), column));
    }
    if let Some(array) = any.downcast_ref::<LargeStringArray>() {
        return Ok(text(move |row| array.value(row), column));
    }
    if let Some(array) = any.downcast_ref::<StringViewArray>() {
        return Ok(text(move |row| array.value(row), column));
    }
    if let Some(array) = any.downcast_ref::<BooleanArray>() {
        return Ok(Box::new(move |row, out| push(out, &array.value(row))));
    }
    if let Some(array) = any.downcast_ref::<Float64Array>() {
        return Ok(Box::new(move |row, out| array.value(row).is_finite() && push(out, &array.value(row))));
    }
    if let Some(array) = any.downcast_ref::<Float32Array>() {
        return Ok(Box::new(move |row, out| array.value(row).is_finite() && push(out, &array.value(row))));
    }
    if let Some(array) = any.downcast_ref::<Decimal128Array>() {
        return Ok(Box::new(move |row, out| raw(out, &array.value_as_string(row))));
    }
    if let Some(array) = any.downcast_ref::<Decimal256Array>() {
        return Ok(Box::new(move |row, out| raw(out, &array.value_as_string(row))));
    }
    macro_rules! integer {
        ($kind:ty) => {{
            let array = array.as_primitive::<$kind>();
            Ok(Box::new(move |row, out| push(out, &array.value(row))))
        }};
    }
    macro_rules! instant {
        ($kind:ty, $per_second:expr, $zoned:expr) => {{
            let array = array.as_primitive::<$kind>();
            let zoned = $zoned;
            Ok(Box::new(move |row, out| instant(out, array.value(row), $per_second, zoned)))
        }};
    }
    macro_rules! clock {
        ($kind:ty, $per_second:expr) => {{
            let array = array.as_primitive::<$kind>();
            Ok(Box::new(move |row, out| clock(out, i64::from(array.value(row)), $per_second)))
        }};
    }
    match array.data_type() {
        DataType::Null => Ok(Box::new(|_, out| raw(out, "null"))),
        DataType::Int8 => integer!(types::Int8Type),
        DataType::Int16 => integer!(types::Int16Type),
        DataType::Int32 => integer!(types::Int32Type),
        DataType::Int64 => integer!(types::Int64Type),
        DataType::UInt8 => integer!(types::UInt8Type),
        DataType::UInt16 => integer!(types::UInt16Type),
        DataType::UInt32 => integer!(types::UInt32Type),
        DataType::UInt64 => integer!(types::UInt64Type),
        DataType::Date32 => {
            let array = array.as_primitive::<types::Date32Type>();
            Ok(Box::new(move |row, out| {
                let instant = DateTime::from_timestamp(i64::from(array.value(row)) * 86_400, 0);
                instant.is_some_and(|instant| quoted(out, &date(instant.date_naive(), "")))
            }))
        }
        DataType::Timestamp(TimeUnit::Second, zone) => instant!(types::TimestampSecondType, 1, zone.is_some()),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            instant!(types::TimestampMillisecondType, 1_000, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            instant!(types::TimestampMicrosecondType, 1_000_000, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            instant!(types::TimestampNanosecondType, 1_000_000_000, zone.is_some())
        }
        DataType::Time32(TimeUnit::Second) => clock!(types::Time32SecondType, 1),
        DataType::Time32(TimeUnit::Millisecond) => clock!(types::Time32MillisecondType, 1_000),
        DataType::Time64(TimeUnit::Microsecond) => clock!(types::Time64MicrosecondType, 1_000_000),
        DataType::Time64(TimeUnit::Nanosecond) => clock!(types::Time64NanosecondType, 1_000_000_000),
        other => {
            Err(Error::system(format!("A column of the source has the Arrow type {other}, which has no JSON form")))
        }
    }
}

/// Text is itself in a text column, digits in a number, JSON in what is JSON.
fn text<'a>(value: impl Fn(usize) -> &'a str + 'a, column: ColumnType) -> Tell<'a> {
    match column {
        ColumnType::Integer | ColumnType::Number => Box::new(move |row, out| {
            let text = value(row).trim();
            is_number(text) && raw(out, text)
        }),
        ColumnType::Boolean => Box::new(move |row, out| matches!(value(row), "true" | "false") && raw(out, value(row))),
        column if column.is_json() => Box::new(move |row, out| {
            let text = value(row);
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
            // One record is one line, whatever white space the JSON text has.
            is_json && if text.contains(['\n', '\r']) { compact(out, text) } else { raw(out, text) }
        }),
        _ => Box::new(move |row, out| push(out, value(row))),
    }
}

/// Line breaks become spaces: inside of its texts JSON has none.
fn compact(out: &mut Vec<u8>, text: &str) -> bool {
    let bytes = text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
    out.extend(bytes);
    true
}

fn raw(out: &mut Vec<u8>, text: &str) -> bool {
    out.extend_from_slice(text.as_bytes());
    true
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fn quoted(out: &mut Vec<u8>, text: &str) -> bool {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    true
}

/// A date with what follows it; years before 1 are counted back from it.
fn date(date: NaiveDate, after: &str) -> String {
    let year = date.year();
    if year > 0 {
        format!("{year:04}-{:02}-{:02}{after}", date.month(), date.day())
    } else {
        format!("{:04}-{:02}-{:02}{after} BC", 1 - i64::from(year), date.month(), date.day())
    }
}

fn instant(out: &mut Vec<u8>, value: i64, per_second: i64, zoned: bool) -> bool {
    let nanos = u32::try_from(value.rem_euclid(per_second) * (1_000_000_000 / per_second)).unwrap_or_default();
    let Some(instant) = DateTime::from_timestamp(value.div_euclid(per_second), nanos) else { return false };
    let zone = if zoned { "Z" } else { "" };
    quoted(out, &date(instant.date_naive(), &format!("T{}{zone}", instant.time().format("%H:%M:%S%.f"))))
}

fn clock(out: &mut Vec<u8>, value: i64, per_second: i64) -> bool {
    let nanos = u32::try_from(value.rem_euclid(per_second) * (1_000_000_000 / per_second)).unwrap_or_default();
    let Ok(seconds) = u32::try_from(value.div_euclid(per_second)) else { return false };
    if seconds == 86_400 && nanos == 0 {
        return quoted(out, "24:00:00");
    }
    let Some(time) = NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos) else { return false };
    quoted(out, &time.format("%H:%M:%S%.f").to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Date32Array, Int64Array, RecordBatch, Time64MicrosecondArray, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    };
    use connector::StreamIndex;
    use serde_json::Value;

    use super::*;

    fn lines(columns: Vec<(&str, ColumnType, ArrayRef)>, changes: Vec<Change>) -> Vec<Value> {
        let declared = columns.iter().map(|(name, column, _)| ((*name).to_owned(), *column)).collect();
        let rows = RecordBatch::try_from_iter(columns.into_iter().map(|(name, _, array)| (name, array))).unwrap();
        let mut out = Vec::new();
        let batch = Batch::new(StreamIndex(0), rows, 7).with_changes(changes);
        let mut encoder = Encoder::new(&StreamDescriptor::new(Some("pub\"lic"), "orders"), declared);
        encoder.write(&batch, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_its_envelope_and_changes() {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let change = Change { row: 1, field: "id".into(), change: "NULLED", reason: "SOURCE_RETRIEVAL_ERROR" };
        let lines = lines(vec![("id", ColumnType::Integer, id)], vec![change]);
        let record =
            |id: Value| json!({"stream": "orders", "namespace": "pub\"lic", "data": {"id": id}, "emitted_at": 7});
        assert_eq!(lines[0], json!({"type": "RECORD", "record": record(json!(1))}));
        let mut second = record(Value::Null);
        second["meta"] = json!({"changes": [{"field": "id", "change": "NULLED", "reason": "SOURCE_RETRIEVAL_ERROR"}]});
        assert_eq!(lines[1], json!({"type": "RECORD", "record": second}));
    }

    #[test]
    fn every_type_has_its_json() {
        let check = |array: ArrayRef, column: ColumnType, expected: &str| {
            let line = lines(vec![("v", column, array)], Vec::new()).remove(0);
            let text = line["record"]["data"]["v"].to_string();
            let is_changed = !line["record"]["meta"].is_null();
            assert_eq!(text, expected);
            assert_eq!(is_changed, expected == "null", "{expected}");
        };
        let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        check(texts("a\"\n\u{0}ü"), ColumnType::String, "\"a\\\"\\n\\u0000ü\"");
        check(Arc::new(LargeStringArray::from(vec!["x"])), ColumnType::String, "\"x\"");
        check(Arc::new(StringViewArray::from(vec!["x"])), ColumnType::String, "\"x\"");
        check(texts("{\"a\":\n[1, 2]}"), ColumnType::Object, "{\"a\":[1,2]}");
        check(texts("{\"a\":"), ColumnType::Object, "null");
        check(texts("NaN"), ColumnType::Number, "null");
        check(texts("true"), ColumnType::Number, "null");
        check(Arc::new(Int64Array::from(vec![i64::MIN])), ColumnType::Integer, "-9223372036854775808");
        check(Arc::new(Float64Array::from(vec![0.1])), ColumnType::Number, "0.1");
        check(Arc::new(Float64Array::from(vec![f64::INFINITY])), ColumnType::Number, "null");
        check(Arc::new(BooleanArray::from(vec![true])), ColumnType::Boolean, "true");
        let decimal = Decimal128Array::from(vec![-1234]).with_precision_and_scale(10, 2).unwrap();
        check(Arc::new(decimal), ColumnType::Number, "-12.34");
        check(Arc::new(Date32Array::from(vec![19_000])), ColumnType::Date, "\"2022-01-08\"");
        check(Arc::new(Date32Array::from(vec![-719_163])), ColumnType::Date, "\"0001-12-31 BC\"");
        check(Arc::new(Date32Array::from(vec![i32::MAX])), ColumnType::Date, "null");
        let micros = |value| TimestampMicrosecondArray::from(vec![value]);
        check(
            Arc::new(micros(1_500_000).with_timezone("UTC")),
            ColumnType::TimestampTz,
            "\"1970-01-01T00:00:01.500Z\"",
        );
        check(Arc::new(micros(-1)), ColumnType::Timestamp, "\"1969-12-31T23:59:59.999999\"");
        check(Arc::new(micros(i64::MAX)), ColumnType::Timestamp, "null");
        check(
            Arc::new(TimestampNanosecondArray::from(vec![1])),
            ColumnType::Timestamp,
            "\"1970-01-01T00:00:00.000000001\"",
        );
        check(Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000])), ColumnType::Time, "\"24:00:00\"");
        check(Arc::new(Time64MicrosecondArray::from(vec![-1])), ColumnType::Time, "null");
    }

    #[test]
    fn no_digit_is_lost() {
        let digits = "12345678901234567890.12345678901234567890";
        let rows = RecordBatch::try_from_iter([("v", Arc::new(StringArray::from(vec![digits])) as ArrayRef)]).unwrap();
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&StreamDescriptor::new(None, "s"), vec![("v".to_owned(), ColumnType::Number)]);
        encoder.write(&Batch::new(StreamIndex(0), rows, 0), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains(&format!("\"v\":{digits}}}")));
    }

    #[test]
    fn what_is_not_declared_stays_out() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let rows = RecordBatch::try_from_iter([("secret", array.clone()), ("id", array)]).unwrap();
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&StreamDescriptor::new(None, "s"), vec![("id".to_owned(), ColumnType::Integer)]);
        encoder.write(&Batch::new(StreamIndex(0), rows, 0), &mut out).unwrap();
        assert!(!String::from_utf8(out).unwrap().contains("secret"));
    }
}
