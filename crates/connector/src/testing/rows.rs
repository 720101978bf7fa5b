//! Rows as JSON objects, to be compared and printed.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, cast::AsArray, types};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value};

pub type Row = Map<String, Value>;

/// Every row of a batch.
pub fn of(rows: &RecordBatch) -> Vec<Row> {
    let schema = rows.schema();
    let fields = schema.fields();
    let one = |row: usize| {
        let cells = fields.iter().zip(rows.columns());
        cells.map(|(field, column)| (field.name().clone(), cell(column, row))).collect()
    };
    (0..rows.num_rows()).map(one).collect()
}

/// Dates and times are their numbers.
fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<types::Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<types::Float64Type>().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Date32 => column.as_primitive::<types::Date32Type>().value(row).into(),
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, _) => {
            column.as_primitive::<types::TimestampMicrosecondType>().value(row).into()
        }
        DataType::Time64(arrow_schema::TimeUnit::Microsecond) => {
            column.as_primitive::<types::Time64MicrosecondType>().value(row).into()
        }
        // Still one text per value.
        _ => format!("{:?}", column.slice(row, 1)).into(),
    }
}

/// A batch from columns of whole numbers and texts.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("the columns of a test have one length")
}

pub fn integers(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Int64Array>())
}

pub fn texts(values: impl IntoIterator<Item = impl Into<Option<String>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<StringArray>())
}
