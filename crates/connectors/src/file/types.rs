//! From a source's Arrow types to those of a file: one array for each column of the stream, behind the metadata columns.
//!
//! | column type | Arrow, Parquet | as text (CSV, JSON lines) |
//! |---|---|---|
//! | string | Utf8 | as it is |
//! | boolean | Boolean | `true`, `false` |
//! | integer | Int64 | digits |
//! | number | as the source has it: integers, floats, decimals; digits of no fixed size as Utf8 | digits |
//! | date | Date32 | `2026-11-25` |
//! | timestamp with, without zone | Timestamp(µs, UTC), Timestamp(µs) | `2026-11-25T03:23:19Z`, without `Z` |
//! | time without zone | Time64(µs) | `03:23:19` |
//! | time with zone | Utf8 | `03:23:19+01:00` |
//! | array, object, union | Utf8 with JSON | JSON |
//!
//! Every other pair goes through text and the rules of the JSON decoder. What does not fit is NULL and a change
//! (Invariant 8): infinite dates and numbers, 24:00:00, years beyond 262142. Nanoseconds are cut, which is a change too.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, builder::StringBuilder,
    cast::AsArray, new_null_array, types,
};
use arrow_cast::{can_cast_types, cast};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use connector::{Batch, Error, Result, decode::Texts};
use protocol::ColumnType;

use crate::direct::{
    names::METADATA,
    stamp::{RowIds, meta},
    value::{BAD, CUT, Flaw, TOO_BIG},
};

/// The last microsecond that every reader can show as a date (year 262142).
const MOST_MICROS: i64 = 8_210_000_000_000_000_000;
const MOST_DAYS: i32 = 95_000_000;
const DAY: i64 = 86_400_000_000;

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub field: String,
    pub name: String,
    pub kind: ColumnType,
}

/// What every row of an attempt carries.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub job: i64,
    pub generation: i64,
}

/// The types of the columns in a file, metadata first.
pub fn kinds(columns: &[Column]) -> Vec<ColumnType> {
    let metadata = [ColumnType::String, ColumnType::TimestampTz, ColumnType::Object, ColumnType::Integer];
    metadata.into_iter().chain(columns.iter().map(|column| column.kind)).collect()
}

/// The schema of a file without rows.
pub fn empty_schema(columns: &[Column]) -> SchemaRef {
    let names = METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str()));
    let field = |(name, kind): (&str, ColumnType)| Field::new(name, arrow_type(kind), true);
    Arc::new(Schema::new(names.zip(kinds(columns)).map(field).collect::<Vec<_>>()))
}

fn arrow_type(kind: ColumnType) -> DataType {
    connector::arrow::default_type(kind)
}

/// The rows of a batch as they go into a file.
pub fn rows(columns: &[Column], batch: &Batch, stamp: Stamp) -> Result<RecordBatch> {
    let count = batch.rows.num_rows();
    let schema = batch.rows.schema();
    let mut changes: Vec<(usize, &str, &str, &str)> =
        batch.changes.iter().map(|change| (change.row, &*change.field, change.change, change.reason)).collect();
    let mut arrays = Vec::with_capacity(columns.len());
    for column in columns {
        let array = match schema.index_of(&column.field) {
            Ok(index) => {
                let mut note = |row: usize, flaw: Flaw| changes.push((row, &column.field, flaw.change, flaw.reason));
                convert(&column.field, batch.rows.column(index), column.kind, &mut note)?
            }
            Err(_) => new_null_array(&arrow_type(column.kind), count),
        };
        arrays.push(array);
    }
    changes.sort_by_key(|change| change.0);
    let mut all: Vec<ArrayRef> = metadata(count, batch.emitted_at, stamp, &changes);
    all.extend(arrays);
    let names = METADATA.into_iter().chain(columns.iter().map(|column| column.name.as_str()));
    let fields: Vec<Field> =
        names.zip(&all).map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), all)
        .map_err(|error| Error::system("Rows do not fit the schema of their file").with_source(error))
}

fn metadata(count: usize, emitted_at: i64, stamp: Stamp, changes: &[(usize, &str, &str, &str)]) -> Vec<ArrayRef> {
    let mut ids = RowIds::new();
    let mut texts = StringBuilder::with_capacity(count, count * 36);
    (0..count).for_each(|_| texts.append_value(ids.next()));
    let at = emitted_at.clamp(0, 253_402_300_799_999) * 1000;
    let at = TimestampMicrosecondArray::from_value(at, count).with_timezone("UTC");
    let plain = meta(stamp.job, &[]);
    let mut metas = StringBuilder::with_capacity(count, count * plain.len());
    let mut rest = changes;
    for row in 0..count {
        let own = rest.iter().take_while(|change| change.0 <= row).count();
        if own == 0 {
            metas.append_value(&plain);
            continue;
        }
        let named: Vec<(&str, &str, &str)> = rest[..own].iter().map(|change| (change.1, change.2, change.3)).collect();
        metas.append_value(meta(stamp.job, &named));
        rest = &rest[own..];
    }
    vec![
        Arc::new(texts.finish()),
        Arc::new(at),
        Arc::new(metas.finish()),
        Arc::new(Int64Array::from_value(stamp.generation, count)),
    ]
}

type Note<'a> = dyn FnMut(usize, Flaw) + 'a;

fn convert(field: &str, array: &ArrayRef, kind: ColumnType, note: &mut Note<'_>) -> Result<ArrayRef> {
    use ColumnType as C;
    use DataType as D;
    let to = |wanted: &D| {
        cast(array, wanted)
            .map_err(|error| Error::system(format!("Field `{field}` cannot be written as {wanted}")).with_source(error))
    };
    match (kind, array.data_type()) {
        (_, D::Null) => Ok(new_null_array(&arrow_type(kind), array.len())),
        (C::String | C::Array | C::Object | C::Union, D::Utf8) | (C::Boolean, D::Boolean) => Ok(array.clone()),
        (C::String | C::Array | C::Object | C::Union, D::LargeUtf8 | D::Utf8View) => to(&D::Utf8),
        (C::Integer, D::Int64) => Ok(array.clone()),
        (C::Integer, D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32) => to(&D::Int64),
        (C::Number, other) if other.is_integer() || other.is_decimal() => Ok(array.clone()),
        (C::Number, D::Float64) => {
            let floats = array.as_primitive::<types::Float64Type>();
            if floats.iter().flatten().all(f64::is_finite) {
                return Ok(array.clone());
            }
            let finite = floats.iter().enumerate().map(|(row, value)| match value {
                Some(value) if !value.is_finite() => {
                    note(row, BAD);
                    None
                }
                other => other,
            });
            Ok(Arc::new(finite.collect::<arrow_array::Float64Array>()))
        }
        (C::Date, D::Date32) => {
            let days = array.as_primitive::<types::Date32Type>();
            let fits = days.iter().enumerate().map(|(row, day)| match day {
                Some(i32::MIN | i32::MAX) => flaw(note, row, BAD),
                Some(day) if !(-MOST_DAYS..=MOST_DAYS).contains(&day) => flaw(note, row, TOO_BIG),
                other => other,
            });
            Ok(Arc::new(fits.collect::<arrow_array::Date32Array>()))
        }
        (C::TimestampTz | C::Timestamp, D::Timestamp(unit, _)) => {
            let zone = (kind == C::TimestampTz).then(|| Arc::from("UTC"));
            let plain = match unit {
                TimeUnit::Second => array.as_primitive::<types::TimestampSecondType>().reinterpret_cast(),
                TimeUnit::Millisecond => array.as_primitive::<types::TimestampMillisecondType>().reinterpret_cast(),
                TimeUnit::Microsecond => array.as_primitive::<types::TimestampMicrosecondType>().reinterpret_cast(),
                TimeUnit::Nanosecond => array.as_primitive::<types::TimestampNanosecondType>().reinterpret_cast(),
            };
            let is_micros = *unit == TimeUnit::Microsecond;
            let instants = micros(&plain, *unit, note, |value| match value {
                i64::MIN | i64::MAX if is_micros => Err(BAD),
                value if (-MOST_MICROS..=MOST_MICROS).contains(&value) => Ok(value),
                _ => Err(TOO_BIG),
            });
            Ok(Arc::new(instants.reinterpret_cast::<types::TimestampMicrosecondType>().with_timezone_opt(zone)))
        }
        (C::Time, D::Time32(unit) | D::Time64(unit)) => {
            let plain = to(&D::Time64(if *unit == TimeUnit::Nanosecond { *unit } else { TimeUnit::Microsecond }))?;
            let unit = if *unit == TimeUnit::Nanosecond { *unit } else { TimeUnit::Microsecond };
            let plain: Int64Array = match unit {
                TimeUnit::Nanosecond => plain.as_primitive::<types::Time64NanosecondType>().reinterpret_cast(),
                _ => plain.as_primitive::<types::Time64MicrosecondType>().reinterpret_cast(),
            };
            let times =
                micros(&plain, unit, note, |value| if (0..DAY).contains(&value) { Ok(value) } else { Err(BAD) });
            Ok(Arc::new(times.reinterpret_cast::<types::Time64MicrosecondType>()))
        }
        (_, other) if other.is_nested() || !can_cast_types(other, &D::Utf8) => {
            Err(Error::system(format!("Field `{field}` came as Arrow type {other}, which no column takes")))
        }
        _ => {
            let texts = to(&D::Utf8)?;
            if kind == C::String { Ok(texts) } else { Ok(parsed(texts.as_string::<i32>(), kind, note)) }
        }
    }
}

fn flaw<T>(note: &mut Note<'_>, row: usize, flaw: Flaw) -> Option<T> {
    note(row, flaw);
    None
}

/// Values of any unit as microseconds, each let through by `fits`.
fn micros(
    plain: &Int64Array,
    unit: TimeUnit,
    note: &mut Note<'_>,
    fits: impl Fn(i64) -> Result<i64, Flaw>,
) -> Int64Array {
    let one = |(row, value): (usize, Option<i64>)| {
        let value = value?;
        let micros = match unit {
            TimeUnit::Second => value.checked_mul(1_000_000),
            TimeUnit::Millisecond => value.checked_mul(1000),
            TimeUnit::Microsecond => Some(value),
            TimeUnit::Nanosecond => {
                if value.rem_euclid(1000) != 0 {
                    note(row, CUT);
                }
                Some(value.div_euclid(1000))
            }
        };
        match micros.ok_or(TOO_BIG).and_then(&fits) {
            Ok(value) => Some(value),
            Err(bad) => flaw(note, row, bad),
        }
    };
    plain.iter().enumerate().map(one).collect()
}

fn parsed(texts: &StringArray, kind: ColumnType, note: &mut Note<'_>) -> ArrayRef {
    let mut column = Texts::new(kind);
    for (row, text) in texts.iter().enumerate() {
        if let Some((change, reason)) = column.push(text) {
            note(row, Flaw { change, reason });
        }
    }
    column.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, LargeStringArray,
        Time64MicrosecondArray, Time64NanosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };

    use super::*;

    /// The first value as text, with what was noted.
    fn shown(array: &ArrayRef, kind: ColumnType) -> String {
        let mut noted = String::new();
        let mut note = |_: usize, flaw: Flaw| {
            noted = match flaw {
                BAD => " !bad",
                TOO_BIG => " !big",
                CUT => " !cut",
                other => panic!("{other:?}"),
            }
            .to_owned();
        };
        let array = convert("f", array, kind, &mut note).unwrap();
        let text = cast(&array, &DataType::Utf8).unwrap();
        let text = text.as_string::<i32>();
        format!("{}{noted}", if text.is_null(0) { "NULL" } else { text.value(0) })
    }

    #[test]
    fn values() {
        let check = |array: ArrayRef, cases: &[(ColumnType, &str)]| {
            for (kind, expected) in cases {
                assert_eq!(shown(&array, *kind), *expected, "{array:?} as {kind:?}");
            }
        };
        use ColumnType::*;
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        check(text("a\u{0}"), &[(String, "a\u{0}"), (Integer, "NULL !bad"), (Date, "NULL !bad")]);
        check(text("12.50"), &[(Number, "12.50"), (Integer, "NULL !bad"), (String, "12.50")]);
        check(text("NaN"), &[(Number, "NULL !bad")]);
        check(text("2025-01-05"), &[(Date, "2025-01-05"), (Timestamp, "2025-01-05T00:00:00")]);
        check(text("03:04:05+01:00"), &[(TimeTz, "03:04:05+01:00"), (Time, "03:04:05")]);
        check(text("[1]"), &[(ColumnType::Array, "[1]"), (Union, "[1]")]);
        check(Arc::new(LargeStringArray::from(vec!["x"])), &[(String, "x"), (Object, "x")]);
        check(
            Arc::new(Int32Array::from(vec![7])),
            &[(Integer, "7"), (Number, "7"), (String, "7"), (Union, "7"), (Date, "NULL !bad")],
        );
        check(Arc::new(UInt64Array::from(vec![u64::MAX])), &[(Number, "18446744073709551615"), (Integer, "NULL !big")]);
        check(Arc::new(BooleanArray::from(vec![true])), &[(Boolean, "true"), (String, "true"), (Integer, "NULL !bad")]);
        check(Arc::new(Float64Array::from(vec![1.5])), &[(Number, "1.5"), (Integer, "NULL !bad")]);
        check(Arc::new(Float64Array::from(vec![f64::NAN])), &[(Number, "NULL !bad")]);
        check(Arc::new(Float32Array::from(vec![0.1])), &[(Number, "0.1")]);
        check(Arc::new(Float32Array::from(vec![f32::INFINITY])), &[(Number, "NULL !bad")]);
        let decimal = Decimal128Array::from(vec![1200]).with_precision_and_scale(10, 2).unwrap();
        check(Arc::new(decimal), &[(Number, "12.00"), (Integer, "12"), (String, "12.00")]);
        check(Arc::new(Date32Array::from(vec![1])), &[(Date, "1970-01-02"), (TimestampTz, "1970-01-02T00:00:00Z")]);
        check(Arc::new(Date32Array::from(vec![i32::MAX])), &[(Date, "NULL !bad")]);
        check(Arc::new(Date32Array::from(vec![i32::MAX - 1])), &[(Date, "NULL !big")]);
        let micros = |at: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC")) };
        check(micros(1), &[(TimestampTz, "1970-01-01T00:00:00.000001Z"), (Timestamp, "1970-01-01T00:00:00.000001")]);
        check(micros(i64::MAX), &[(TimestampTz, "NULL !bad")]);
        check(micros(i64::MAX - 1), &[(TimestampTz, "NULL !big")]);
        check(Arc::new(TimestampNanosecondArray::from(vec![-1])), &[(Timestamp, "1969-12-31T23:59:59.999999 !cut")]);
        check(Arc::new(TimestampSecondArray::from(vec![i64::MAX])), &[(Timestamp, "NULL !big")]);
        check(Arc::new(Time64MicrosecondArray::from(vec![DAY])), &[(Time, "NULL !bad")]);
        check(Arc::new(Time64NanosecondArray::from(vec![1_000_000_001])), &[(Time, "00:00:01 !cut")]);
        check(Arc::new(arrow_array::NullArray::new(1)), &[(Time, "NULL"), (Number, "NULL"), (Object, "NULL")]);
    }
}
