//! One column being built: a JSON value in, an Arrow value out, or NULL and the reason.

use std::{str, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{
        ArrayBuilder, BooleanBuilder, Date32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
        TimestampMicrosecondBuilder,
    },
};
use arrow_schema::DataType;
use protocol::ColumnType;

use super::{
    Flaw,
    decimal::Decimal,
    moment,
    scan::{Kind, Value, unescape},
};

/// The Arrow type of a column that is decoded from JSON: the default one, except that numbers keep their digits.
pub(super) fn arrow_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::Number => DataType::Utf8,
        other => crate::arrow::default_type(other),
    }
}

/// Offsets of an Arrow text column are 32 bits.
const MOST_TEXT: usize = i32::MAX as usize;

pub(super) enum Column {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(StringBuilder),
    Date(Date32Builder),
    /// The flag: with a zone.
    Timestamp(TimestampMicrosecondBuilder, bool),
    Time(Time64MicrosecondBuilder),
    TimeTz(StringBuilder),
    String(StringBuilder),
    /// JSON text of this type of value; `None` takes any.
    Json(StringBuilder, Option<Kind>),
}

type Appended = Result<Option<Flaw>, Flaw>;

impl Column {
    pub fn new(column: ColumnType) -> Self {
        match column {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Number => Self::Number(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::TimestampTz => {
                let builder = TimestampMicrosecondBuilder::new().with_data_type(arrow_type(column));
                Self::Timestamp(builder, true)
            }
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new(), false),
            ColumnType::Time => Self::Time(Time64MicrosecondBuilder::new()),
            ColumnType::TimeTz => Self::TimeTz(StringBuilder::new()),
            ColumnType::String => Self::String(StringBuilder::new()),
            ColumnType::Array => Self::Json(StringBuilder::new(), Some(Kind::Array)),
            ColumnType::Object => Self::Json(StringBuilder::new(), Some(Kind::Object)),
            ColumnType::Union => Self::Json(StringBuilder::new(), None),
        }
    }

    /// Appends exactly one value. JSON null and a missing member are NULL without a flaw.
    pub fn append(&mut self, bytes: &[u8], value: Option<Value>, scratch: &mut String) -> Option<Flaw> {
        let Some(value) = value.filter(|value| value.kind != Kind::Null) else {
            self.null();
            return None;
        };
        match self.convert(bytes, value, scratch) {
            Ok(flaw) => flaw,
            Err(flaw) => {
                self.null();
                Some(flaw)
            }
        }
    }

    /// Appends one value, or nothing and `Err`.
    fn convert(&mut self, bytes: &[u8], value: Value, scratch: &mut String) -> Appended {
        let span = &bytes[value.start..value.end];
        match self {
            Self::Boolean(builder) => {
                let is_true = match value.kind {
                    Kind::True => true,
                    Kind::False => false,
                    _ => return Err(Flaw::Unfit),
                };
                builder.append_value(is_true);
                Ok(None)
            }
            Self::Integer(builder) => {
                let text = numeric(span, value, scratch)?;
                let whole = match text.parse::<i64>() {
                    Ok(whole) => whole,
                    Err(_) => Decimal::parse(text).ok_or(Flaw::Unfit)?.to_i64()?,
                };
                builder.append_value(whole);
                Ok(None)
            }
            Self::Number(builder) => {
                let text = numeric(span, value, scratch)?;
                let is_literal = value.kind == Kind::Number;
                // Only an exponent can make a literal absurd.
                if is_literal && !span.iter().any(|byte| matches!(byte, b'e' | b'E')) {
                    return text_value(builder, text);
                }
                let decimal = Decimal::parse(text).ok_or(Flaw::Unfit)?;
                if !decimal.is_sane() {
                    return Err(Flaw::TooLarge);
                }
                if is_literal {
                    return text_value(builder, text);
                }
                let mut written = String::with_capacity(text.len() + 2);
                decimal.write(&mut written);
                text_value(builder, &written)
            }
            Self::Date(builder) => {
                builder.append_value(moment::date(string(span, value, scratch)?)?);
                Ok(None)
            }
            Self::Timestamp(builder, with_zone) => {
                let text = string(span, value, scratch)?;
                let read = if *with_zone { moment::timestamp_tz(text) } else { moment::timestamp(text) };
                let (micros, flaw) = read?;
                builder.append_value(micros);
                Ok(flaw)
            }
            Self::Time(builder) => {
                let (micros, flaw) = moment::time(string(span, value, scratch)?)?;
                builder.append_value(micros);
                Ok(flaw)
            }
            Self::TimeTz(builder) => {
                let mut written = String::new();
                let flaw = moment::time_tz(string(span, value, scratch)?, &mut written)?;
                text_value(builder, &written)?;
                Ok(flaw)
            }
            Self::String(builder) if value.kind == Kind::String => text_value(builder, string(span, value, scratch)?),
            Self::String(builder) => text_value(builder, json(span, value)?),
            Self::Json(builder, kind) => {
                if kind.is_some_and(|kind| kind != value.kind) {
                    return Err(Flaw::Unfit);
                }
                text_value(builder, json(span, value)?)
            }
        }
    }

    /// Appends exactly one value that is given as plain text: a boolean as `true` or `false`, JSON as its text.
    pub fn append_text(&mut self, text: &str) -> Option<Flaw> {
        match self.convert_text(text) {
            Ok(flaw) => flaw,
            Err(flaw) => {
                self.null();
                Some(flaw)
            }
        }
    }

    /// Appends one value, or nothing and `Err`.
    fn convert_text(&mut self, text: &str) -> Appended {
        let trimmed = text.trim();
        match self {
            Self::String(builder) => return text_value(builder, text),
            Self::Boolean(builder) => {
                let is_true = trimmed.eq_ignore_ascii_case("true");
                if !is_true && !trimmed.eq_ignore_ascii_case("false") {
                    return Err(Flaw::Unfit);
                }
                builder.append_value(is_true);
            }
            Self::Integer(builder) => builder.append_value(match trimmed.parse::<i64>() {
                Ok(whole) => whole,
                Err(_) => Decimal::parse(trimmed).ok_or(Flaw::Unfit)?.to_i64()?,
            }),
            Self::Number(builder) => {
                let decimal = Decimal::parse(trimmed).ok_or(Flaw::Unfit)?;
                if !decimal.is_sane() {
                    return Err(Flaw::TooLarge);
                }
                let mut written = String::with_capacity(trimmed.len() + 2);
                decimal.write(&mut written);
                return text_value(builder, &written);
            }
            Self::Date(builder) => builder.append_value(moment::date(trimmed)?),
            Self::Timestamp(builder, with_zone) => {
                let read = if *with_zone { moment::timestamp_tz(trimmed) } else { moment::timestamp(trimmed) };
                let (micros, flaw) = read?;
                builder.append_value(micros);
                return Ok(flaw);
            }
            Self::Time(builder) => {
                let (micros, flaw) = moment::time(trimmed)?;
                builder.append_value(micros);
                return Ok(flaw);
            }
            Self::TimeTz(builder) => {
                let mut written = String::new();
                let flaw = moment::time_tz(trimmed, &mut written)?;
                text_value(builder, &written)?;
                return Ok(flaw);
            }
            Self::Json(builder, kind) => {
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(trimmed).is_ok();
                let fits = match kind {
                    Some(Kind::Array) => is_json && trimmed.starts_with('['),
                    Some(_) => is_json && trimmed.starts_with('{'),
                    None => true,
                };
                return match (fits, is_json) {
                    (true, true) => text_value(builder, trimmed),
                    (true, false) => text_value(builder, &serde_json::Value::from(text).to_string()),
                    (false, _) => Err(Flaw::Unfit),
                };
            }
        }
        Ok(None)
    }

    pub fn null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Integer(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder, _) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Number(builder) | Self::TimeTz(builder) | Self::String(builder) | Self::Json(builder, _) => {
                builder.append_null();
            }
        }
    }

    /// The values so far; the column is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder, _) => ArrayBuilder::finish(builder),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Number(builder) | Self::TimeTz(builder) | Self::String(builder) | Self::Json(builder, _) => {
                Arc::new(builder.finish())
            }
        }
    }
}

fn text_value(builder: &mut StringBuilder, text: &str) -> Appended {
    if builder.values_slice().len() + text.len() > MOST_TEXT {
        return Err(Flaw::TooLarge);
    }
    builder.append_value(text);
    Ok(None)
}

/// The literal of a number, or the text of a string that may be one.
fn numeric<'a>(span: &'a [u8], value: Value, scratch: &'a mut String) -> Result<&'a str, Flaw> {
    match value.kind {
        Kind::Number => str::from_utf8(span).map_err(|_| Flaw::Unfit),
        _ => string(span, value, scratch),
    }
}

/// The text of a JSON string.
fn string<'a>(span: &'a [u8], value: Value, scratch: &'a mut String) -> Result<&'a str, Flaw> {
    if value.kind != Kind::String || value.lone_surrogate {
        return Err(Flaw::Unfit);
    }
    let inside = &span[1..span.len() - 1];
    if !value.escaped {
        return str::from_utf8(inside).map_err(|_| Flaw::Unfit);
    }
    unescape(inside, scratch).ok_or(Flaw::Unfit)?;
    Ok(scratch)
}

/// The JSON text of a value as it came.
fn json(span: &[u8], value: Value) -> Result<&str, Flaw> {
    if value.too_deep {
        return Err(Flaw::TooLarge);
    }
    // Half of a surrogate pair can be spelled in JSON, but no database reads it back.
    if value.lone_surrogate {
        return Err(Flaw::Unfit);
    }
    str::from_utf8(span).map_err(|_| Flaw::Unfit)
}
