//! One value of an Arrow column, whatever its type: what a destination's matrix of types begins with. Start with
//! [`Reader::of`].

use arrow_array::{
    Array, BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int64Array, LargeStringArray, StringArray,
    StringViewArray, UInt64Array,
    cast::AsArray,
    types::{
        Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
        Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_schema::{DataType, TimeUnit};
use connector::{Error, Result};

/// Why a value is not in the table as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub change: &'static str,
    pub reason: &'static str,
}

pub const BAD: Flaw = Flaw { change: "NULLED", reason: "DESTINATION_SERIALIZATION_ERROR" };
pub const TOO_BIG: Flaw = Flaw { change: "NULLED", reason: "DESTINATION_FIELD_SIZE_LIMITATION" };
/// Characters that a database cannot hold were left out.
#[cfg(feature = "postgres")]
pub const STRIPPED: Flaw = Flaw { change: "TRUNCATED", reason: "DESTINATION_SERIALIZATION_ERROR" };
pub const CUT: Flaw = Flaw { change: "TRUNCATED", reason: "DESTINATION_FIELD_SIZE_LIMITATION" };

/// One Arrow value, before it meets its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Above `i64::MAX`.
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    /// Digits of a decimal, in the scratch text of the reader.
    Decimal(&'a str),
    /// Days since 1970.
    Date(i32),
    /// Nanoseconds since 1970.
    Instant(i128),
    /// Nanoseconds since midnight.
    Time(i64),
}

/// An Arrow column, made ready to be read row by row.
pub enum Reader {
    Null,
    Boolean(BooleanArray),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Decimal128(Decimal128Array),
    Decimal256(Decimal256Array),
    Date(Int64Array),
    /// Values and how many nanoseconds one of them is.
    Instant(Int64Array, i64),
    Time(Int64Array, i64),
}

macro_rules! widened {
    ($array:expr, $kind:ty) => {
        $array.as_primitive::<$kind>().iter().map(|value| value.map(i64::from)).collect::<Int64Array>()
    };
}

fn per(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

impl Reader {
    pub fn of(field: &str, array: &dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Self::Integer(widened!(array, Int8Type)),
            DataType::Int16 => Self::Integer(widened!(array, Int16Type)),
            DataType::Int32 => Self::Integer(widened!(array, Int32Type)),
            DataType::Int64 => Self::Integer(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt8 => Self::Integer(widened!(array, UInt8Type)),
            DataType::UInt16 => Self::Integer(widened!(array, UInt16Type)),
            DataType::UInt32 => Self::Integer(widened!(array, UInt32Type)),
            DataType::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float32 => {
                Self::Float(array.as_primitive::<Float32Type>().iter().map(|value| value.map(f64::from)).collect())
            }
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Self::LargeText(array.as_string::<i64>().clone()),
            DataType::Utf8View => Self::TextView(array.as_string_view().clone()),
            DataType::Decimal128(..) => Self::Decimal128(array.as_primitive().clone()),
            DataType::Decimal256(..) => Self::Decimal256(array.as_primitive().clone()),
            DataType::Date32 => Self::Date(widened!(array, Date32Type)),
            DataType::Timestamp(unit, _) => Self::Instant(
                match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().reinterpret_cast(),
                    TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
                },
                per(*unit),
            ),
            DataType::Time32(unit @ TimeUnit::Second) => Self::Time(widened!(array, Time32SecondType), per(*unit)),
            DataType::Time32(unit) => Self::Time(widened!(array, Time32MillisecondType), per(*unit)),
            DataType::Time64(unit @ TimeUnit::Nanosecond) => {
                Self::Time(array.as_primitive::<Time64NanosecondType>().reinterpret_cast(), per(*unit))
            }
            DataType::Time64(unit) => {
                Self::Time(array.as_primitive::<Time64MicrosecondType>().reinterpret_cast(), per(*unit))
            }
            other => {
                return Err(Error::system(format!(
                    "Field `{field}` came as Arrow type {other}, which no column takes"
                )));
            }
        })
    }

    /// `scratch` holds the digits of a decimal while the value is in use.
    pub fn value<'a>(&'a self, row: usize, scratch: &'a mut String) -> Value<'a> {
        if self.is_null(row) {
            return Value::Null;
        }
        match self {
            Self::Null => Value::Null,
            Self::Boolean(array) => Value::Boolean(array.value(row)),
            Self::Integer(array) => Value::Integer(array.value(row)),
            Self::Unsigned(array) => match i64::try_from(array.value(row)) {
                Ok(small) => Value::Integer(small),
                Err(_) => Value::Unsigned(array.value(row)),
            },
            Self::Float(array) => Value::Float(array.value(row)),
            Self::Text(array) => Value::Text(array.value(row)),
            Self::LargeText(array) => Value::Text(array.value(row)),
            Self::TextView(array) => Value::Text(array.value(row)),
            Self::Decimal128(array) => {
                *scratch = array.value_as_string(row);
                Value::Decimal(scratch)
            }
            Self::Decimal256(array) => {
                *scratch = array.value_as_string(row);
                Value::Decimal(scratch)
            }
            Self::Date(array) => Value::Date(array.value(row) as i32),
            Self::Instant(array, unit) => Value::Instant(i128::from(array.value(row)) * i128::from(*unit)),
            Self::Time(array, unit) => Value::Time(array.value(row).saturating_mul(*unit)),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Integer(array) | Self::Date(array) | Self::Instant(array, _) | Self::Time(array, _) => {
                array.is_null(row)
            }
            Self::Unsigned(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::LargeText(array) => array.is_null(row),
            Self::TextView(array) => array.is_null(row),
            Self::Decimal128(array) => array.is_null(row),
            Self::Decimal256(array) => array.is_null(row),
        }
    }
}
