//! Arrow types for column types, and sizes.
//!
//! A source may choose any Arrow type of the row that its column type allows; a destination accepts them all:
//!
//! | column type | Arrow types |
//! |---|---|
//! | string | Utf8, LargeUtf8, Utf8View |
//! | boolean | Boolean |
//! | integer | Int8 to Int64, UInt8 to UInt64, Decimal128/256 of scale 0, Utf8 with digits |
//! | number | the same, Float32, Float64, Decimal128/256, Utf8 with a decimal number |
//! | date | Date32, Utf8 |
//! | timestamp with zone | Timestamp(unit, Some("UTC")), Utf8 |
//! | timestamp without | Timestamp(unit, None), Utf8 |
//! | time, with or without zone | Time32, Time64 (without only), Utf8 |
//! | array, object, union | Utf8 with JSON text |
//!
//! Values that some databases have and others do not: the greatest and the least Date32 and Timestamp(µs) are `infinity`
//! and `-infinity`, floats may be NaN and infinite, Utf8 numbers may be `NaN`, `Infinity`, `-Infinity`, and a Time64 may be
//! 24:00:00. A destination without them makes them NULL and a change (Invariant 8).
//!
//! Rows that are decoded from JSON ([`crate::decode`]) carry a number as Utf8, so that no digit is lost on the way.

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use protocol::ColumnType;

/// The Arrow type that a source uses where nothing speaks for another one.
pub fn default_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Date => DataType::Date32,
        ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::String | ColumnType::TimeTz | ColumnType::Array | ColumnType::Object | ColumnType::Union => {
            DataType::Utf8
        }
    }
}

/// A schema of nullable default types.
pub fn default_schema(columns: &[(String, ColumnType)]) -> Schema {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, default_type(*column), true)).collect();
    Schema::new(fields)
}

/// About how many bytes the rows would take as JSON objects: names, quotes, commas and values, without looking at each
/// number. This is what the API reports as bytes synced.
pub fn estimated_json_bytes(rows: &RecordBatch) -> u64 {
    let schema = rows.schema();
    let count = rows.num_rows() as u64;
    let mut total = 2 * count;
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let values = count - column.null_count() as u64;
        total += count * (field.name().len() as u64 + 4);
        total += column.null_count() as u64 * 4;
        total += match column.data_type() {
            DataType::Boolean => values * 5,
            DataType::Date32 | DataType::Date64 => values * 12,
            DataType::Timestamp(..) => values * 29,
            DataType::Time32(_) | DataType::Time64(_) => values * 17,
            DataType::Utf8 => text_bytes(column.as_ref()) + values * 2,
            _ => values * 6,
        };
    }
    total
}

fn text_bytes(column: &dyn Array) -> u64 {
    let Some(strings) = column.as_any().downcast_ref::<arrow_array::StringArray>() else { return 0 };
    let offsets = strings.value_offsets();
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => u64::try_from(last - first).unwrap_or_default(),
        _ => 0,
    }
}
