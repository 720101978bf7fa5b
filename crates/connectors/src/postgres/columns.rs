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
        self.decode(message)
            .ok_or_else(|| Error::system("The server sent rows that are not in the binary format of COPY"))
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
    Decimal { values: Vec<i128>, scale: i8 },
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
            Kind::Decimal { scale, .. } => Values::Decimal { values: Vec::new(), scale },
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
        Self { nulls: NullBufferBuilder::new(BATCH_ROWS), values }
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
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(text) => {
                text.end();
            }
        }
    }

    /// Appends a value. `None` where the bytes are not of the type; `Some(false)` where the value became NULL.
    #[inline]
    fn push(&mut self, value: &[u8]) -> Option<bool> {
        let kept = match &mut self.values {
            Values::Bits(values) => {
                let [byte] = value else { return None };
                values.append(*byte != 0);
                true
            }
            Values::I16(values) => {
                values.push(i16::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::I32(values) => {
                values.push(i32::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::I64(values) => {
                values.push(i64::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::U32(values) => {
                values.push(u32::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::F32(values) => {
                values.push(f32::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::F64(values) => {
                values.push(f64::from_be_bytes(value.try_into().ok()?));
                true
            }
            Values::Decimal { values, scale } => {
                let scaled = Digits::parse(value)?.scaled(*scale);
                values.push(scaled.unwrap_or_default());
                scaled.is_some()
            }
            Values::Text(text) => text.push(value)?,
            Values::Date(values) => {
                let days = match i32::from_be_bytes(value.try_into().ok()?) {
                    infinite @ (i32::MIN | i32::MAX) => Some(infinite),
                    days => days.checked_add(EPOCH_DAYS),
                };
                values.push(days.unwrap_or_default());
                days.is_some()
            }
            Values::Stamp(values) => {
                let micros = match i64::from_be_bytes(value.try_into().ok()?) {
                    infinite @ (i64::MIN | i64::MAX) => Some(infinite),
                    micros => micros.checked_add(EPOCH_MICROS),
                };
                values.push(micros.unwrap_or_default());
                micros.is_some()
            }
            Values::Time(values) => {
                values.push(i64::from_be_bytes(value.try_into().ok()?));
                true
            }
        };
        self.nulls.append(kept);
        Some(kept)
    }

    /// The column so far. `spoilt` hears of rows whose text is not UTF-8 (a database without an encoding).
    fn finish(&mut self, kind: Kind, spoilt: impl FnMut(usize)) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Bits(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::I16(values) => Arc::new(Int16Array::try_new(taken(values), nulls)?),
            Values::I32(values) => Arc::new(Int32Array::try_new(taken(values), nulls)?),
            Values::I64(values) => Arc::new(Int64Array::try_new(taken(values), nulls)?),
            Values::U32(values) => Arc::new(UInt32Array::try_new(taken(values), nulls)?),
            Values::F32(values) => Arc::new(Float32Array::try_new(taken(values), nulls)?),
            Values::F64(values) => Arc::new(Float64Array::try_new(taken(values), nulls)?),
            Values::Decimal { values, .. } => {
                Arc::new(Decimal128Array::try_new(taken(values), nulls)?.with_data_type(kind.arrow()))
            }
            Values::Date(values) => Arc::new(Date32Array::try_new(taken(values), nulls)?),
            Values::Stamp(values) => {
                Arc::new(TimestampMicrosecondArray::try_new(taken(values), nulls)?.with_data_type(kind.arrow()))
            }
            Values::Time(values) => Arc::new(Time64MicrosecondArray::try_new(taken(values), nulls)?),
            Values::Text(text) => Arc::new(text.finish(nulls, spoilt)?),
        })
    }
}

/// The values, leaving room for as many again.
fn taken<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room).into()
}

impl Text {
    fn finish(&mut self, nulls: Option<NullBuffer>, mut spoilt: impl FnMut(usize)) -> Result<StringArray, ArrowError> {
        let room = Vec::with_capacity(self.offsets.len());
        let offsets = std::mem::replace(&mut self.offsets, room);
        self.offsets.push(0);
        let room = Vec::with_capacity(self.bytes.len());
        let bytes = Buffer::from_vec(std::mem::replace(&mut self.bytes, room));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        if let Ok(array) = StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone()) {
            return Ok(array);
        }
        let mut texts = Vec::with_capacity(offsets.len());
        for (row, pair) in offsets.windows(2).enumerate() {
            let value = &bytes[pair[0] as usize..pair[1] as usize];
            let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            let text = std::str::from_utf8(value).ok().filter(|_| valid);
            if valid && text.is_none() {
                spoilt(row);
            }
            texts.push(text);
        }
        Ok(StringArray::from(texts))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 + value.len() * 2);
    out.extend_from_slice(b"\\x");
    for byte in value {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

fn uuid(value: [u8; 16], out: &mut Vec<u8>) {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in value.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

/// Microseconds since midnight, then the zone in seconds *west* of Greenwich.
fn time_with_zone(value: [u8; 12], out: &mut Vec<u8>) -> Option<()> {
    let (micros, zone) = value.split_at(8);
    let micros = i64::from_be_bytes(micros.try_into().ok()?);
    let east = i32::from_be_bytes(zone.try_into().ok()?).checked_neg()?;
    if !(0..=86_400_000_000).contains(&micros) {
        return None;
    }
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (sign, zone) = (if east < 0 { '-' } else { '+' }, east.unsigned_abs());
    let mut text = format!(
        "{hour:02}:{minute:02}:{second:02}.{:06}{sign}{:02}:{:02}",
        micros % 1_000_000,
        zone / 3600,
        zone / 60 % 60
    );
    if !zone.is_multiple_of(60) {
        text.push_str(&format!(":{:02}", zone % 60));
    }
    out.extend_from_slice(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow_array::{Array, cast::AsArray};

    use super::*;

    fn layout(kinds: &[Kind]) -> Arc<Layout> {
        let column = |(index, kind): (usize, &Kind)| Column { name: format!("c{index}").into(), kind: *kind };
        Arc::new(Layout::new(kinds.iter().enumerate().map(column).collect()))
    }

    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = (fields.len() as i16).to_be_bytes().to_vec();
        for field in fields {
            bytes.extend_from_slice(&field.map_or(-1, |field| field.len() as i32).to_be_bytes());
            bytes.extend_from_slice(field.unwrap_or_default());
        }
        bytes
    }

    const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

    #[test]
    fn rows_headers_and_trailers() {
        let mut rows = Rows::new(layout(&[Kind::Int4, Kind::Text]));
        let first = row(&[Some(&7_i32.to_be_bytes()), Some("é".as_bytes())]);
        let second = row(&[None, None]);
        rows.append(&[HEAD, &first].concat()).unwrap();
        rows.append(&[&second[..], &first].concat()).unwrap();
        rows.append(&[0xff, 0xff]).unwrap();
        let batch = rows.finish(StreamIndex(3)).unwrap();
        assert_eq!((batch.rows.num_rows(), batch.stream), (3, StreamIndex(3)));
        assert_eq!(
            batch.rows.column(0).as_primitive::<arrow_array::types::Int32Type>().iter().collect::<Vec<_>>(),
            [Some(7), None, Some(7)]
        );
        assert_eq!(batch.rows.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("é"), None, Some("é")]);
        assert!(rows.is_empty() && batch.changes.is_empty());
        // Cut anywhere, a message is refused, and never panics (Invariant 7).
        let whole = [HEAD, &first].concat();
        for cut in 12..whole.len() {
            let result = Rows::new(layout(&[Kind::Int4, Kind::Text])).append(&whole[..cut]);
            assert_eq!(result.is_ok(), cut == HEAD.len(), "{cut}");
        }
        Rows::new(layout(&[Kind::Int8, Kind::Text])).append(&first).unwrap_err();
        Rows::new(layout(&[Kind::Int4])).append(&first).unwrap_err();
    }

    #[test]
    fn what_arrow_does_not_have_is_null_and_a_change() {
        let decimal = Kind::Decimal { precision: 10, scale: 2 };
        let mut rows = Rows::new(layout(&[Kind::TimestampTz, decimal, Kind::Text, Kind::Date]));
        let nan: &[u8] = &[0, 0, 0, 0, 0xC0, 0, 0, 0];
        let late = (i64::MAX - 1).to_be_bytes();
        rows.append(&row(&[Some(&late), Some(nan), Some(b"ok"), Some(&i32::MAX.to_be_bytes())])).unwrap();
        rows.append(&row(&[Some(&i64::MIN.to_be_bytes()), None, Some(b"\xff\xfe"), None])).unwrap();
        let batch = rows.finish(StreamIndex(0)).unwrap();
        let changes: Vec<(usize, &str)> = batch.changes.iter().map(|change| (change.row, &*change.field)).collect();
        assert_eq!(changes, [(0, "c0"), (0, "c1"), (1, "c2")]);
        let nulls: Vec<usize> = batch.rows.columns().iter().map(|column| column.null_count()).collect();
        assert_eq!(nulls, [1, 2, 1, 1]);
    }

    #[test]
    fn texts_that_are_made_here() {
        let mut rows = Rows::new(layout(&[Kind::Bytes, Kind::Uuid, Kind::TimeTz, Kind::Jsonb]));
        let id: [u8; 16] = std::array::from_fn(|index| index as u8 * 16 + 1);
        let zone = [&86_400_000_000_i64.to_be_bytes()[..], &(-5_445_i32).to_be_bytes()].concat();
        rows.append(&row(&[Some(&[0, 255]), Some(&id), Some(&zone), Some(b"\x01{}")])).unwrap();
        let batch = rows.finish(StreamIndex(0)).unwrap();
        let texts: Vec<&str> = batch.rows.columns().iter().map(|column| column.as_string::<i32>().value(0)).collect();
        assert_eq!(texts, ["\\x00ff", "01112131-4151-6171-8191-a1b1c1d1e1f1", "24:00:00.000000+01:30:45", "{}"]);
    }
}
