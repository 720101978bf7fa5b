//! Binary COPY into Arrow: fields are appended to column buffers, and a batch is cut by bytes. Start with [`Rows`].
//!
//! No allocation per row: a row is decoded in place out of the session's buffer. A value that the Arrow type does not
//! have is NULL and a change (Invariant 8); bytes that are no row at all end the read.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, RecordBatch, RecordBatchOptions, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use connector::{Batch, Change, Error, Result, StreamIndex};

use super::{numeric::Digits, types::Kind};

/// A batch is cut once its rows had this many bytes on the wire.
const BATCH_BYTES: usize = 1_500_000;
/// A batch has at most this many rows.
const BATCH_ROWS: usize = 1 << 16;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// From PostgreSQL's 2000-01-01 back to 1970-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A column of the result.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: Arc<str>,
    pub kind: Kind,
}

/// The columns of a read and their schema.
#[derive(Clone, Debug)]
pub struct Layout {
    pub columns: Vec<Column>,
    pub schema: SchemaRef,
}

impl Layout {
    pub fn new(columns: Vec<Column>) -> Self {
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(column.name.as_ref(), column.kind.arrow(), true)).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)) }
    }
}

/// Rows on their way into a batch.
pub struct Rows {
    layout: Arc<Layout>,
    builders: Vec<Builder>,
    changes: Vec<Change>,
    rows: usize,
    bytes: usize,
}

impl Rows {
    pub fn new(layout: Arc<Layout>) -> Self {
        let builders = layout.columns.iter().map(|column| Builder::new(column.kind)).collect();
        Self { layout, builders, changes: Vec::new(), rows: 0, bytes: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.rows >= BATCH_ROWS
    }

    /// Appends what one message of a COPY holds.
    pub fn append(&mut self, message: &[u8]) -> Result<()> {
        self.bytes += message.len();
        self.decode(message).ok_or_else(|| Error::system("The server sent rows that are not in the binary format of COPY"))
    }

    fn decode(&mut self, message: &[u8]) -> Option<()> {
        let mut rest = message;
        if let Some(after) = rest.strip_prefix(SIGNATURE) {
            // Flags, then an extension of the header that may be skipped.
            let (head, after) = after.split_first_chunk::<8>()?;
            let extension = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            rest = after.get(extension as usize..)?;
        }
        while !rest.is_empty() {
            let (count, fields) = rest.split_first_chunk::<2>()?;
            rest = fields;
            let count = i16::from_be_bytes(*count);
            if count == -1 {
                return rest.is_empty().then_some(());
            }
            if usize::try_from(count).ok()? != self.builders.len() {
                return None;
            }
            for (index, builder) in self.builders.iter_mut().enumerate() {
                let (length, value) = rest.split_first_chunk::<4>()?;
                let length = i32::from_be_bytes(*length);
                if length == -1 {
                    builder.null();
                    rest = value;
                    continue;
                }
                let (value, after) = value.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                if !builder.push(value)? {
                    self.changes.push(change(self.rows, &self.layout.columns[index].name));
                }
            }
            self.rows += 1;
        }
        Some(())
    }

    /// Everything so far as a batch; the next rows begin another one.
    pub fn finish(&mut self, stream: StreamIndex) -> Result<Batch> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut changes = std::mem::take(&mut self.changes);
        let known = changes.len();
        let mut columns = Vec::with_capacity(self.builders.len());
        for (builder, column) in self.builders.iter_mut().zip(&self.layout.columns) {
            let array = builder.finish(column.kind, |row| changes.push(change(row, &column.name)));
            columns.push(array.map_err(unfit)?);
        }
        if changes.len() > known {
            changes.sort_by_key(|change| change.row);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options).map_err(unfit)?;
        let now = chrono::Utc::now().timestamp_millis();
        Ok(Batch::new(stream, batch, now).with_changes(changes))
    }
}

fn change(row: usize, field: &Arc<str>) -> Change {
    Change { row, field: field.clone(), change: "NULLED", reason: "SOURCE_SERIALIZATION_ERROR" }
}

fn unfit(error: ArrowError) -> Error {
    Error::system("A batch does not fit its schema").with_source(error)
}

struct Builder {
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    Bits(BooleanBufferBuilder),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U32(Vec<u32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    Text(Text),
    Date(Vec<i32>),
    Stamp(Vec<i64>),
    Time(Vec<i64>),
}

struct Text {
    bytes: Vec<u8>,
    /// Ends of the values.
    offsets: Vec<i32>,
    form: Form,
}

/// What becomes text, and how.
#[derive(Clone, Copy)]
enum Form {
    AsIs,
    Jsonb,
    Hex,
    Uuid,
    Numeric,
    TimeTz,
}

impl Text {
    fn new(form: Form) -> Self {
        Self { bytes: Vec::new(), offsets: vec![0], form }
    }

    /// `None` where the value is not of its type; `Some(false)` where it cannot be kept.
    #[inline]
    fn push(&mut self, value: &[u8]) -> Option<bool> {
        match self.form {
            Form::AsIs => self.bytes.extend_from_slice(value),
            Form::Jsonb => self.bytes.extend_from_slice(value.strip_prefix(&[1])?),
            Form::Hex => hex(value, &mut self.bytes),
            Form::Uuid => uuid(value.try_into().ok()?, &mut self.bytes),
            Form::Numeric => Digits::parse(value)?.write(&mut self.bytes),
            Form::TimeTz => time_with_zone(value.try_into().ok()?, &mut self.bytes)?,
        }
        Some(self.end())
    }

    /// Closes a value. A batch is cut long before 2 GiB; only a single value may go beyond.
    #[inline]
    fn end(&mut self) -> bool {
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.offsets.push(end);
                true
            }
            Err(_) => {
                let start = self.offsets.last().copied().unwrap_or_default();
                self.bytes.truncate(start as usize);
                self.offsets.push(start);
                false
            }
        }
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Bool => Values::Bits(BooleanBufferBuilder::new(0)),
            Kind::Int2 => Values::I16(Vec::new()),
            Kind::Int4 => Values::I32(Vec::new()),
            Kind::Int8 => Values::I64(Vec::new()),
            Kind::Oid => Values::U32(Vec::new()),
            Kind::Float4 => Values::F32(Vec::new()),
            Kind::Float8 => Values::F64(Vec::new()),
            Kind::Decimal { .. } => Values::I128(Vec::new()),
            Kind::Date => Values::Date(Vec::new()),
            Kind::Timestamp | Kind::TimestampTz => Values::Stamp(Vec::new()),
            Kind::Time => Values::Time(Vec::new()),
            Kind::Text => Values::Text(Text::new(Form::AsIs)),
            Kind::Jsonb => Values::Text(Text::new(Form::Jsonb)),
            Kind::Bytes => Values::Text(Text::new(Form::Hex)),
            Kind::Uuid => Values::Text(Text::new(Form::Uuid)),
            Kind::Numeric => Values::Text(Text::new(Form::Numeric)),
            Kind::TimeTz => Values::Text(Text::new(Form::TimeTz)),
        };
        let mut builder = Self { nulls: NullBufferBuilder::new(BATCH_ROWS), values };
        builder.values.scale(kind);
        builder
    }

    #[inline]
    fn null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Bits(values) => values.append(false),
            Values::I16(values) => values.push(0),
            Values::I32(values) | Values::Date(values) => values.push(0),
            Values::I64(values) | Values::Stamp(values) | Values::Time(values) => values.push(0),
            Values::U32(values) => values.push(0),
            Values::F32(values) => values.push(0.0),
            Values::F64(values) => values.push(0.0),
            Values::I128(values) => values.push(0),
            Values::Text(text) => {
                text.end();
            }
        }
    }
}
