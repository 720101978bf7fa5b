//! A RECORD line as it lies in memory, and the words of its changes.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use protocol::message::RecordMeta;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A RECORD line whose data stays where it is.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub record: Option<Row<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Epoch milliseconds. An integer by the protocol; some write a fraction or nothing.
    #[serde(default)]
    pub emitted_at: Option<f64>,
    #[serde(default)]
    pub meta: Option<RecordMeta>,
}

/// Epoch milliseconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a line must hold to be missed if it cannot be read.
pub(super) fn looks_like_record(text: &str) -> bool {
    text.contains("\"RECORD\"")
}

const CHANGES: &[&str] = &["NULLED", "TRUNCATED"];
const REASONS: &[&str] = &[
    "SOURCE_RETRIEVAL_ERROR",
    "SOURCE_RECORD_SIZE_LIMITATION",
    "SOURCE_FIELD_SIZE_LIMITATION",
    "SOURCE_SERIALIZATION_ERROR",
    "PLATFORM_RECORD_SIZE_LIMITATION",
    "PLATFORM_FIELD_SIZE_LIMITATION",
    "PLATFORM_SERIALIZATION_ERROR",
    "DESTINATION_RECORD_SIZE_LIMITATION",
    "DESTINATION_FIELD_SIZE_LIMITATION",
    "DESTINATION_SERIALIZATION_ERROR",
    "DESTINATION_TYPECAST_ERROR",
];

pub(super) fn known_change(word: &str) -> &'static str {
    known(word, CHANGES)
}

pub(super) fn known_reason(word: &str) -> &'static str {
    known(word, REASONS)
}

/// The word itself if the protocol has it; the first one stands for what nobody knows.
fn known(word: &str, words: &'static [&'static str]) -> &'static str {
    words.iter().find(|known| **known == word).unwrap_or(&words[0])
}

/// Bytes that are not UTF-8, spelled as what no UTF-8 text can hold: half of a surrogate pair. So the line can be read, and
/// the value that holds them becomes NULL and a change instead of another text.
pub(super) fn escape_invalid(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a text does not fail.
            let _ = write!(text, "\\udc{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_leniently() {
        let cases = [
            (r#"{"type":"RECORD","record":{"stream":"a","data":{},"emitted_at":5}}"#, Some(Some(5.0))),
            (
                r#"{"record":{"data":{"\ud800":[1]},"stream":"\u0061","emitted_at":5.5,"x":1},"y":2,"type":"RECORD"}"#,
                Some(Some(5.5)),
            ),
            (r#"{"type":"RECORD","record":{"stream":"a","namespace":null,"data":{},"meta":null}}"#, Some(None)),
            (r#"{"type":"RECORD","record":{"data":{}}}"#, None),
            (r#"{"type":"RECORD","record":{"stream":"a"}}"#, None),
            (r#"{"type":"RECORD","record":{"stream":"\ud800","data":{}}}"#, None),
        ];
        for (line, emitted_at) in cases {
            let row = serde_json::from_str::<Envelope<'_>>(line).ok().and_then(|envelope| envelope.record);
            assert_eq!(
                row.map(|row| (row.stream.into_owned(), row.emitted_at)),
                emitted_at.map(|at| ("a".to_owned(), at)),
                "{line}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_become_half_of_a_pair() {
        assert_eq!(escape_invalid(b"a\xff\xc3(\xe2\x82b"), "a\\udcff\\udcc3(\\udce2\\udc82b");
        assert_eq!(escape_invalid("é".as_bytes()), "é");
    }
}
