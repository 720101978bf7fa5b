//! Column types of the sample streams, and Arrow columns made from a function of the id without an allocation per row.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use serde_json::{Value, json};

/// Rows to be made: ids of one stream, with what they depend on.
#[derive(Clone, Debug)]
pub struct Draw {
    pub seed: i64,
    pub ids: Range<i64>,
    /// `updated_at` of the run in epoch microseconds; `None`: derived from the id.
    pub stamp: Option<i64>,
}

/// The step of splitmix64: makes neighbouring numbers unlike each other.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Draw {
    fn rows(&self) -> usize {
        usize::try_from(self.ids.end - self.ids.start).unwrap_or_default()
    }

    /// The random number of a row for one purpose.
    pub fn number(&self, id: i64, purpose: u64) -> u64 {
        mix(mix(self.seed.cast_unsigned() ^ purpose.rotate_left(40)) ^ id.cast_unsigned())
    }

    pub fn pick<'a>(&self, id: i64, purpose: u64, choices: &[&'a str]) -> &'a str {
        choices[below(self.number(id, purpose), choices.len() as u64) as usize]
    }

    pub fn integers(&self, value: impl Fn(i64) -> i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(self.ids.clone().map(value)))
    }

    pub fn floats(&self, value: impl Fn(i64) -> f64) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(self.ids.clone().map(value)))
    }

    /// Instants in epoch microseconds.
    pub fn instants(&self, value: impl Fn(i64) -> i64) -> ArrayRef {
        let instants = TimestampMicrosecondArray::from_iter_values(self.ids.clone().map(value));
        Arc::new(instants.with_timezone("UTC"))
    }

    pub fn optional_instants(&self, value: impl Fn(i64) -> Option<i64>) -> ArrayRef {
        let instants: TimestampMicrosecondArray = self.ids.clone().map(value).collect();
        Arc::new(instants.with_timezone("UTC"))
    }

    /// `width` is about how many bytes a value takes.
    pub fn texts(&self, width: usize, write: impl Fn(i64, &mut Vec<u8>)) -> ArrayRef {
        let mut bytes = Vec::with_capacity(self.rows() * width);
        let mut offsets = Vec::with_capacity(self.rows() + 1);
        offsets.push(0_i32);
        for id in self.ids.clone() {
            write(id, &mut bytes);
            offsets.push(i32::try_from(bytes.len()).expect("a block of some thousand short texts is far below 2 GiB"));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(StringArray::new(offsets, Buffer::from_vec(bytes), None))
    }
}

/// A number below `limit`, from the upper bits of a random one, without a division.
pub fn below(number: u64, limit: u64) -> u64 {
    ((u128::from(number) * u128::from(limit)) >> 64) as u64
}

/// Appends a number in decimal digits, padded with zeros to `width`.
pub fn digits(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    while number > 0 {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let at = at.min(buffer.len() - width.clamp(1, buffer.len()));
    out.extend_from_slice(&buffer[at..]);
}

pub fn string() -> Value {
    json!({"type": "string"})
}

pub fn integer() -> Value {
    json!({"type": "integer"})
}

pub fn number() -> Value {
    json!({"type": "number"})
}

pub fn instant() -> Value {
    json!({"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"})
}

pub fn optional_instant() -> Value {
    json!({"type": ["null", "string"], "format": "date-time", "airbyte_type": "timestamp_with_timezone"})
}

pub fn object(properties: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        properties.iter().map(|name| ((*name).to_owned(), string())).collect();
    json!({"type": "object", "properties": properties})
}
