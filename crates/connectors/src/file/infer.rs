//! What type a column has, guessed from a stated sample; never from the name.
//!
//! A type is taken only if every value of the sample is written in it without loss: `007` and ` 7` are texts, `7` is an
//! integer, `7.0` a number, `2025-01-05` a date. A later value that does not fit becomes NULL and a change.

use protocol::ColumnType;
use serde_json::{Value, json};

/// Records of each file that are looked at, and bytes.
pub const SAMPLE_ROWS: usize = 10_000;
pub const SAMPLE_BYTES: usize = 1 << 20;
/// Files of a stream that are sampled; of the others only the names of the columns are read.
pub const SAMPLE_FILES: usize = 16;

const BOOLEAN: u16 = 1;
const INTEGER: u16 = 2;
const NUMBER: u16 = 4;
const DATE: u16 = 8;
const TIMESTAMP: u16 = 16;
const TIMESTAMP_TZ: u16 = 32;
const TIME: u16 = 64;
const ARRAY: u16 = 128;
const OBJECT: u16 = 256;
const TEMPORAL: u16 = DATE | TIMESTAMP | TIMESTAMP_TZ | TIME;

/// What the values so far have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guess {
    common: Option<u16>,
    is_nested: bool,
}

impl Guess {
    pub fn text(&mut self, text: &str) {
        self.meet(kinds(text));
    }

    pub fn json(&mut self, value: &Value) {
        let kinds = match value {
            Value::Null => return,
            Value::Bool(_) => BOOLEAN,
            Value::Number(number) if number.is_i64() => INTEGER | NUMBER,
            Value::Number(_) => NUMBER,
            Value::String(text) => kinds(text) & TEMPORAL,
            Value::Array(_) => ARRAY,
            Value::Object(_) => OBJECT,
        };
        self.is_nested |= kinds & (ARRAY | OBJECT) != 0;
        self.meet(kinds);
    }

    pub fn column(&mut self, column: ColumnType) {
        let kinds = match column {
            ColumnType::Boolean => BOOLEAN,
            ColumnType::Integer => INTEGER | NUMBER,
            ColumnType::Number => NUMBER,
            ColumnType::Date => DATE,
            ColumnType::Timestamp => TIMESTAMP,
            ColumnType::TimestampTz => TIMESTAMP_TZ,
            ColumnType::Time => TIME,
            ColumnType::Array => ARRAY,
            ColumnType::Object => OBJECT,
            ColumnType::String | ColumnType::TimeTz | ColumnType::Union => 0,
        };
        self.is_nested |= kinds & (ARRAY | OBJECT) != 0;
        self.meet(kinds);
    }

    /// What all of them have in common; those without a value say nothing.
    pub fn of_all(guesses: &[Self]) -> Self {
        let mut all = Self::default();
        for guess in guesses {
            all.is_nested |= guess.is_nested;
            if let Some(common) = guess.common {
                all.meet(common);
            }
        }
        all
    }

    fn meet(&mut self, kinds: u16) {
        self.common = Some(self.common.map_or(kinds, |common| common & kinds));
    }

    /// Without any value it is a string.
    pub fn settle(&self) -> ColumnType {
        let common = self.common.unwrap_or_default();
        let order = [
            (BOOLEAN, ColumnType::Boolean),
            (INTEGER, ColumnType::Integer),
            (NUMBER, ColumnType::Number),
            (DATE, ColumnType::Date),
            (TIMESTAMP, ColumnType::Timestamp),
            (TIMESTAMP_TZ, ColumnType::TimestampTz),
            (TIME, ColumnType::Time),
            (ARRAY, ColumnType::Array),
            (OBJECT, ColumnType::Object),
        ];
        let found = order.iter().find(|(kind, _)| common & kind != 0).map(|(_, column)| *column);
        found.unwrap_or(if self.is_nested { ColumnType::Union } else { ColumnType::String })
    }
}

fn kinds(text: &str) -> u16 {
    match text.as_bytes() {
        [b't' | b'T', ..] | [b'f' | b'F', ..] => {
            let is_boolean = text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
            if is_boolean { BOOLEAN } else { 0 }
        }
        [b'-' | b'0'..=b'9', ..] => match number(text) {
            0 => moment(text),
            found => found,
        },
        _ => 0,
    }
}

fn number(text: &str) -> u16 {
    let bytes = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    // A leading zero is part of a code, not of a number.
    if whole == 0 || (whole > 1 && bytes[0] == b'0') {
        return 0;
    }
    if whole == bytes.len() {
        return if text != "-0" && text.parse::<i64>().is_ok() { INTEGER | NUMBER } else { NUMBER };
    }
    let mut at = whole;
    if bytes[at] == b'.' {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return 0;
        }
        at += 1 + fraction;
    }
    if bytes.get(at).is_some_and(|byte| matches!(byte, b'e' | b'E')) {
        at += 1;
        at += usize::from(bytes.get(at).is_some_and(|byte| matches!(byte, b'+' | b'-')));
        let exponent = if at <= bytes.len() { digits(at) } else { 0 };
        if !(1..=4).contains(&exponent) {
            return 0;
        }
        at += exponent;
    }
    if at == bytes.len() { NUMBER } else { 0 }
}

fn moment(text: &str) -> u16 {
    if text.len() < 8 || text.len() > 40 || !text.is_ascii() {
        return 0;
    }
    if text.as_bytes()[2] == b':' {
        return if clock(text) == Some("") { TIME } else { 0 };
    }
    if text.len() < 10 || chrono::NaiveDate::parse_from_str(&text[..10], "%Y-%m-%d").is_err() {
        return 0;
    }
    if text.as_bytes()[4] != b'-' || text.as_bytes()[7] != b'-' {
        return 0;
    }
    let rest = &text[10..];
    if rest.is_empty() {
        return DATE;
    }
    let Some(rest) = rest.strip_prefix(['T', ' ']).and_then(clock) else { return 0 };
    let zone = rest.strip_prefix(' ').unwrap_or(rest);
    let is_offset = |zone: &str| {
        let digits = zone[1..].bytes().filter(u8::is_ascii_digit).count();
        let others = zone[1..].bytes().filter(|byte| *byte == b':').count();
        digits + others + 1 == zone.len() && (digits == 2 || digits == 4) && others <= 1
    };
    match zone.as_bytes() {
        [] => TIMESTAMP,
        [b'Z'] => TIMESTAMP_TZ,
        [b'+' | b'-', ..] if is_offset(zone) => TIMESTAMP_TZ,
        _ if zone == "UTC" => TIMESTAMP_TZ,
        _ => 0,
    }
}

/// What follows `hh:mm[:ss[.digits]]`.
fn clock(text: &str) -> Option<&str> {
    let two = |at: usize, most: u32| {
        let number = text.get(at..at + 2)?.parse::<u32>().ok()?;
        (number <= most).then_some(())
    };
    two(0, 23)?;
    (text.as_bytes().get(2) == Some(&b':')).then_some(())?;
    two(3, 59)?;
    let rest = &text[5..];
    let Some(seconds) = rest.strip_prefix(':') else { return Some(rest) };
    two(6, 59)?;
    let rest = &seconds[2..];
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (length > 0).then(|| &fraction[length..])
}

/// The property of a JSON schema.
pub fn property(column: ColumnType) -> Value {
    let text = |format: &str| json!({"type": ["null", "string"], "format": format});
    match column {
        ColumnType::String => json!({"type": ["null", "string"]}),
        ColumnType::Boolean => json!({"type": ["null", "boolean"]}),
        ColumnType::Integer => json!({"type": ["null", "integer"]}),
        ColumnType::Number => json!({"type": ["null", "number"]}),
        ColumnType::Date => text("date"),
        ColumnType::TimestampTz => {
            json!({"type": ["null", "string"], "format": "date-time", "airbyte_type": "timestamp_with_timezone"})
        }
        ColumnType::Timestamp => {
            json!({"type": ["null", "string"], "format": "date-time", "airbyte_type": "timestamp_without_timezone"})
        }
        ColumnType::Time => {
            json!({"type": ["null", "string"], "format": "time", "airbyte_type": "time_without_timezone"})
        }
        ColumnType::TimeTz => {
            json!({"type": ["null", "string"], "format": "time", "airbyte_type": "time_with_timezone"})
        }
        ColumnType::Array => json!({"type": ["null", "array"]}),
        ColumnType::Object => json!({"type": ["null", "object"]}),
        ColumnType::Union => json!({"oneOf": [
            {"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "array"}, {"type": "object"},
        ]}),
    }
}

#[cfg(test)]
mod tests {
    use protocol::ColumnType::*;

    use super::*;

    #[test]
    fn texts() {
        let check = |texts: &[&str], expected: ColumnType| {
            let mut guess = Guess::default();
            texts.iter().for_each(|text| guess.text(text));
            assert_eq!(guess.settle(), expected, "{texts:?}");
        };
        check(&[], String);
        check(&["1", "-20"], Integer);
        check(&["1", "2.5", "1e-3"], Number);
        check(&["9223372036854775808"], Number);
        check(&["007"], String);
        check(&["0", "0.5"], Number);
        check(&[" 1"], String);
        check(&["-", "1."], String);
        check(&["1e"], String);
        check(&["1e+"], String);
        check(&["1e99999999"], String);
        check(&["true", "FALSE"], Boolean);
        check(&["true", "1"], String);
        check(&["2025-01-05"], Date);
        check(&["2025-02-30"], String);
        check(&["2025-01-05", "2025-01-05T00:00:00"], String);
        check(&["2025-01-05 10:11", "2025-01-05T10:11:12.5"], Timestamp);
        check(&["2025-01-05T10:11:12Z", "2025-01-05 10:11:12+02", "2025-01-05T10:11:12 +02:00"], TimestampTz);
        check(&["2025-01-05T10:11:12 +2:00:00:00"], String);
        check(&["10:11:12", "23:59:59.999"], Time);
        check(&["24:00:00"], String);
        check(&["12.34.56.78", "1-2-3", "2025-01-0é"], String);
    }

    #[test]
    fn json_values() {
        let check = |values: Value, expected: ColumnType| {
            let mut guess = Guess::default();
            values.as_array().into_iter().flatten().for_each(|value| guess.json(value));
            assert_eq!(guess.settle(), expected, "{values}");
        };
        check(json!([null, 1, 2]), Integer);
        check(json!([1, 2.5]), Number);
        check(json!(["1", "2"]), String);
        check(json!(["2025-01-05"]), Date);
        check(json!([1, "a"]), String);
        check(json!([{"a": 1}, null]), Object);
        check(json!([[1], [2]]), Array);
        check(json!([[1], {"a": 1}]), Union);
        check(json!([[1], "a"]), Union);
        check(json!([true, false]), Boolean);
        check(json!([true, 1]), String);
    }

    #[test]
    fn properties_come_back() {
        for column in
            [String, Boolean, Integer, Number, Date, TimestampTz, Timestamp, Time, TimeTz, Array, Object, Union]
        {
            assert_eq!(ColumnType::of(&property(column)), column);
        }
    }
}
