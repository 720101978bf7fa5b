//! One file being written: Parquet, CSV or JSON lines.
//!
//! CSV is RFC 4180 with a header: NULL is nothing, an empty text is `""`. JSON lines carry arrays, objects and
//! `_airbyte_meta` as JSON, numbers with all of their digits.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use arrow_array::{Array, RecordBatch, StringArray, cast::AsArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};
use connector::{Error, Result};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as Codec, GzipLevel, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use protocol::ColumnType;

use super::{
    config::{Compression, DestinationConfig, FileKind},
    fault::unwritable,
};

/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 18;

/// What the file answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub rows: i64,
    pub bytes: u64,
}

pub struct Encoder {
    schema: SchemaRef,
    kinds: Vec<ColumnType>,
    out: Out,
    path: std::path::PathBuf,
}

enum Out {
    Parquet(Box<ArrowWriter<File>>),
    Text { sink: Sink, is_csv: bool, rows: i64, line: Vec<u8> },
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<flate2::write::GzEncoder<BufWriter<File>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, BufWriter<File>>>),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        let buffered = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
        };
        buffered.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Encoder {
    /// Begins a new file; `kinds` has one type for each field of the schema.
    pub fn create(path: &Path, config: &DestinationConfig, schema: SchemaRef, kinds: Vec<ColumnType>) -> Result<Self> {
        let file = File::create_new(path).map_err(|error| unwritable(path, error))?;
        let failed = |error: io::Error| unwritable(path, error);
        let out = match config.format {
            FileKind::Parquet => {
                let codec = match config.compression() {
                    Compression::None => Codec::UNCOMPRESSED,
                    Compression::Snappy => Codec::SNAPPY,
                    Compression::Gzip => Codec::GZIP(GzipLevel::default()),
                    Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
                };
                let properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_created_by("leat".to_owned())
                    .build();
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
                    .map_err(|error| broken(path, error))?;
                Out::Parquet(Box::new(writer))
            }
            kind => {
                let file = BufWriter::with_capacity(256 << 10, file);
                let mut sink = match config.compression() {
                    Compression::Gzip => {
                        Sink::Gzip(Box::new(flate2::write::GzEncoder::new(file, flate2::Compression::default())))
                    }
                    Compression::Zstd => {
                        Sink::Zstd(Box::new(zstd::stream::write::Encoder::new(file, 3).map_err(failed)?))
                    }
                    Compression::None | Compression::Snappy => Sink::Plain(file),
                };
                let is_csv = kind == FileKind::Csv;
                if is_csv {
                    let mut line = Vec::new();
                    for (index, field) in schema.fields().iter().enumerate() {
                        if index > 0 {
                            line.push(b',');
                        }
                        csv_text(&mut line, field.name());
                    }
                    line.push(b'\n');
                    sink.write(&line).map_err(failed)?;
                }
                Out::Text { sink, is_csv, rows: 0, line: Vec::new() }
            }
        };
        Ok(Self { schema, kinds, out, path: path.to_owned() })
    }

    /// Whether rows of this schema can go into the same file.
    pub fn takes(&self, rows: &RecordBatch) -> bool {
        rows.schema() == self.schema
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.out {
            Out::Parquet(writer) => writer.write(rows).map_err(|error| broken(&self.path, error)),
            Out::Text { sink, is_csv, rows: count, line } => {
                let schema = rows.schema();
                let cells: Vec<Cells<'_>> = rows
                    .columns()
                    .iter()
                    .zip(&self.kinds)
                    .map(|(array, kind)| Cells::of(array.as_ref(), *kind))
                    .collect::<Result<_>>()?;
                let keys: Vec<Vec<u8>> = schema.fields().iter().map(|field| json_text(field.name())).collect();
                line.clear();
                for row in 0..rows.num_rows() {
                    if *is_csv {
                        csv_row(line, &cells, row)?;
                    } else {
                        json_row(line, &keys, &cells, row)?;
                    }
                    line.push(b'\n');
                    *count += 1;
                    if line.len() > 64 << 10 {
                        sink.write(line).map_err(|error| unwritable(&self.path, error))?;
                        line.clear();
                    }
                }
                sink.write(line).map_err(|error| unwritable(&self.path, error))
            }
        }
    }

    /// Ends the file; it is on the disk when this returns.
    pub fn finish(self) -> Result<Written> {
        let path = self.path;
        let (file, rows) = match self.out {
            Out::Parquet(mut writer) => {
                // Invariant 2: what the footer says.
                let rows = writer.finish().map_err(|error| broken(&path, error))?.file_metadata().num_rows();
                (writer.inner().try_clone().map_err(|error| unwritable(&path, error))?, rows)
            }
            Out::Text { sink, rows, .. } => (sink.finish().map_err(|error| unwritable(&path, error))?, rows),
        };
        file.sync_all().map_err(|error| unwritable(&path, error))?;
        let bytes = file.metadata().map_err(|error| unwritable(&path, error))?.len();
        Ok(Written { rows, bytes })
    }
}

fn broken(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => unwritable(path, *error),
            Err(other) => Error::system(format!("{} cannot be written: {other}", path.display())),
        },
        other => Error::system(format!("{} cannot be written", path.display())).with_source(other),
    }
}

/// A column, made ready to be written as text.
struct Cells<'a> {
    array: &'a dyn Array,
    kind: Shape<'a>,
}

enum Shape<'a> {
    Text(&'a StringArray),
    /// Text that is JSON.
    Json(&'a StringArray),
    /// Digits.
    Digits(&'a StringArray),
    /// Numbers and booleans: the same in JSON.
    Bare(ArrayFormatter<'a>),
    /// Dates and times.
    Quoted(ArrayFormatter<'a>),
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array, kind: ColumnType) -> Result<Self> {
        let shown = || {
            ArrayFormatter::try_new(array, &FormatOptions::default())
                .map_err(|error| Error::system("A column cannot be written as text").with_source(error))
        };
        let shape = match (array.data_type(), kind) {
            (DataType::Utf8, ColumnType::Number) => Shape::Digits(array.as_string()),
            (DataType::Utf8, kind) if kind.is_json() => Shape::Json(array.as_string()),
            (DataType::Utf8, _) => Shape::Text(array.as_string()),
            (other, _) if other.is_numeric() || *other == DataType::Boolean => Shape::Bare(shown()?),
            _ => Shape::Quoted(shown()?),
        };
        Ok(Self { array, kind: shape })
    }
}

fn formatted(line: &mut Vec<u8>, formatter: &ArrayFormatter<'_>, row: usize) -> Result<()> {
    write!(line, "{}", formatter.value(row))
        .map_err(|error| Error::system("A value cannot be written as text").with_source(error))
}

fn csv_row(line: &mut Vec<u8>, cells: &[Cells<'_>], row: usize) -> Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        if cell.array.is_null(row) {
            continue;
        }
        match &cell.kind {
            Shape::Text(texts) | Shape::Json(texts) => csv_text(line, texts.value(row)),
            Shape::Digits(texts) => line.extend(texts.value(row).as_bytes()),
            Shape::Bare(formatter) | Shape::Quoted(formatter) => formatted(line, formatter, row)?,
        }
    }
    Ok(())
}

fn csv_text(line: &mut Vec<u8>, text: &str) {
    let is_plain = !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        line.extend(text.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

fn json_row(line: &mut Vec<u8>, keys: &[Vec<u8>], cells: &[Cells<'_>], row: usize) -> Result<()> {
    line.push(b'{');
    for (index, (key, cell)) in keys.iter().zip(cells).enumerate() {
        if index > 0 {
            line.push(b',');
        }
        line.extend(key);
        line.push(b':');
        if cell.array.is_null(row) {
            line.extend(b"null");
            continue;
        }
        match &cell.kind {
            Shape::Text(texts) => line.extend(json_text(texts.value(row))),
            Shape::Digits(texts) => line.extend(texts.value(row).as_bytes()),
            Shape::Json(texts) => {
                let text = texts.value(row);
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
                match is_json && !text.contains(['\n', '\r']) {
                    true => line.extend(text.as_bytes()),
                    // Line breaks between its parts would end the row; inside its texts they are escaped already.
                    false if is_json => line.extend(text.replace(['\n', '\r'], " ").as_bytes()),
                    false => line.extend(json_text(text)),
                }
            }
            Shape::Bare(formatter) => formatted(line, formatter, row)?,
            Shape::Quoted(formatter) => {
                line.push(b'"');
                formatted(line, formatter, row)?;
                line.push(b'"');
            }
        }
    }
    line.push(b'}');
    Ok(())
}

fn json_text(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

/// A file without rows.
pub fn empty(path: &Path, config: &DestinationConfig, schema: SchemaRef, kinds: Vec<ColumnType>) -> Result<Written> {
    Encoder::create(path, config, Arc::clone(&schema), kinds)?.finish()
}
