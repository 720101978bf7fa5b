//! Parquet files: their columns, and their pages into the Arrow types that every destination takes.
//!
//! | Parquet, as Arrow | column type | Arrow type sent |
//! |---|---|---|
//! | boolean | boolean | as it is |
//! | integers | integer | as they are |
//! | uint64, floats, decimals | number | as they are; half floats as floats, small decimals as 128 bits |
//! | text | string | as it is |
//! | binary | string | base64 |
//! | date | date | Date32 |
//! | timestamp with, without zone | timestamp with, without zone | the same unit; the zone is UTC. INT96 is UTC where the file says so, else without zone |
//! | time | time without zone | as it is |
//! | list / struct, map | array / object | JSON text |
//! | null, durations, intervals | string | NULL, text |

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, builder::StringBuilder, cast::AsArray, types,
};
use arrow_cast::{
    cast,
    display::{ArrayFormatter, FormatOptions},
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use base64::{Engine, engine::general_purpose::STANDARD};
use connector::{Error, Result};
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
};
use protocol::ColumnType;

use super::{
    fault::{Place, unreadable},
    infer::Guess,
    read::{BATCH_ROWS, Sink, Summary},
};

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let place = Place::of(path);
    let file = File::open(path).map_err(|error| unreadable(&place, error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&place, error))
}

fn damaged(place: &Place, error: ParquetError) -> Error {
    Error::config(format!("{place} cannot be read as Parquet: {error}"))
        .with_hint("The file was cut short, is still being written, or is of another format")
        .with_source(error)
}

pub fn columns(path: &Path) -> Result<Vec<(String, Guess)>> {
    let builder = open(path)?;
    let one = |field: &Arc<Field>| {
        let mut guess = Guess::default();
        if *field.data_type() != DataType::Null {
            guess.column(column_type(field.data_type()));
        }
        (field.name().clone(), guess)
    };
    Ok(builder.schema().fields().iter().map(one).collect())
}

fn column_type(arrow: &DataType) -> ColumnType {
    match arrow {
        DataType::Boolean => ColumnType::Boolean,
        DataType::UInt64 => ColumnType::Number,
        other if other.is_integer() => ColumnType::Integer,
        other if other.is_numeric() => ColumnType::Number,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, Some(_)) => ColumnType::TimestampTz,
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Time,
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => ColumnType::Array,
        DataType::Struct(_) | DataType::Map(..) => ColumnType::Object,
        DataType::Dictionary(_, values) => column_type(values),
        DataType::RunEndEncoded(_, values) => column_type(values.data_type()),
        _ => ColumnType::String,
    }
}

pub fn read(path: &Path, columns: &[(String, ColumnType)], sink: &mut Sink<'_>) -> Result<Summary> {
    let place = Place::of(path);
    let builder = open(path)?;
    // Invariant 2: the file's own count.
    let rows = builder.metadata().file_metadata().num_rows();
    let wanted: Vec<usize> = builder
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| columns.iter().any(|(name, _)| name == field.name()))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader =
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(&place, error))?;
    for batch in reader {
        let failed = |error: ArrowError| damaged(&place, ParquetError::from(error));
        let batch = plain_rows(&batch.map_err(failed)?).map_err(failed)?;
        if batch.num_rows() > 0 {
            sink(batch, Vec::new())?;
        }
    }
    Ok(Summary { rows, notes: Vec::new() })
}

/// The rows in the types of the contract.
fn plain_rows(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let arrays = batch.columns().iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(&arrays)
        .map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Timestamp(unit, Some(zone)) if &**zone != "UTC" => {
            cast(array, &DataType::Timestamp(*unit, Some("UTC".into())))
        }
        DataType::Date64 => cast(array, &DataType::Date32),
        DataType::Float16 => cast(array, &DataType::Float32),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            cast(array, &DataType::Decimal128(*precision, *scale))
        }
        DataType::Null => Ok(Arc::new(StringArray::new_null(array.len()))),
        DataType::Dictionary(_, values) => plain(&cast(array, values)?),
        DataType::RunEndEncoded(_, values) => plain(&cast(array, values.data_type())?),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Union(..) => texts(array, |row, out| {
            write(array.as_ref(), row, out, true)?;
            Ok(())
        }),
        other if other.is_nested() => texts(array, |row, out| write(array.as_ref(), row, out, false)),
        _ => Ok(array.clone()),
    }
}

fn texts(
    array: &ArrayRef,
    mut one: impl FnMut(usize, &mut String) -> Result<(), ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringBuilder::new();
    let mut out = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        out.clear();
        one(row, &mut out)?;
        builder.append_value(&out);
    }
    Ok(Arc::new(builder.finish()))
}

/// Writes one value as JSON; `is_bare`: text without quotes.
fn write(array: &dyn Array, row: usize, out: &mut String, is_bare: bool) -> Result<(), ArrowError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    let quoted = |out: &mut String, text: &str| match is_bare {
        true => out.push_str(text),
        false => out.push_str(&serde_json::Value::from(text).to_string()),
    };
    let list = |out: &mut String, items: ArrayRef| {
        out.push('[');
        for item in 0..items.len() {
            if item > 0 {
                out.push(',');
            }
            write(items.as_ref(), item, out, false)?;
        }
        out.push(']');
        Ok(())
    };
    match array.data_type() {
        DataType::List(_) => list(out, array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(out, array.as_list::<i64>().value(row)),
        DataType::ListView(_) => list(out, array.as_list_view::<i32>().value(row)),
        DataType::LargeListView(_) => list(out, array.as_list_view::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(out, array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (index, (field, column)) in fields.iter().zip(columns).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quoted_key(out, field.name());
                write(column.as_ref(), row, out, false)?;
            }
            out.push('}');
            Ok(())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            out.push('{');
            for entry in 0..entries.len() {
                if entry > 0 {
                    out.push(',');
                }
                let mut key = String::new();
                write(keys.as_ref(), entry, &mut key, true)?;
                quoted_key(out, &key);
                write(values.as_ref(), entry, out, false)?;
            }
            out.push('}');
            Ok(())
        }
        DataType::Dictionary(_, values) => write(cast(&array.slice(row, 1), values)?.as_ref(), 0, out, is_bare),
        DataType::Binary => {
            quoted(out, &STANDARD.encode(array.as_binary::<i32>().value(row)));
            Ok(())
        }
        DataType::LargeBinary => {
            quoted(out, &STANDARD.encode(array.as_binary::<i64>().value(row)));
            Ok(())
        }
        DataType::BinaryView => {
            quoted(out, &STANDARD.encode(array.as_binary_view().value(row)));
            Ok(())
        }
        DataType::FixedSizeBinary(_) => {
            quoted(out, &STANDARD.encode(array.as_fixed_size_binary().value(row)));
            Ok(())
        }
        DataType::Timestamp(unit, Some(_)) => {
            let bare = cast(&array.slice(row, 1), &DataType::Timestamp(*unit, Some("UTC".into())))?;
            quoted(out, &shown(bare.as_ref(), 0)?);
            Ok(())
        }
        DataType::Float32 if !array.as_primitive::<types::Float32Type>().value(row).is_finite() => {
            quoted(out, &shown(array, row)?);
            Ok(())
        }
        DataType::Float64 if !array.as_primitive::<types::Float64Type>().value(row).is_finite() => {
            quoted(out, &shown(array, row)?);
            Ok(())
        }
        other => {
            let text = shown(array, row)?;
            if other.is_numeric() || *other == DataType::Boolean {
                out.push_str(&text);
            } else {
                quoted(out, &text);
            }
            Ok(())
        }
    }
}

fn quoted_key(out: &mut String, key: &str) {
    out.push_str(&serde_json::Value::from(key).to_string());
    out.push(':');
}

fn shown(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default())?;
    formatter.value(row).try_to_string()
}
