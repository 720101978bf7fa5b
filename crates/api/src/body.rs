//! Request bodies in, answers out. [`Body`] parses JSON whatever the Content-Type says, because the oldest clients send
//! none, and names the path of whatever is wrong; [`Answer`] writes it.
//!
//! Rules of every request type: `null` in an optional field (an `Option`) is an absent one, `null` in a required field is
//! refused, unknown properties are ignored. Do not use `serde(flatten)` in one: it loses the path.

use std::fmt;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use control::{Error, ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::error::{ApiError, json_response};

/// Real catalogs are large; upstream's proxy allowed as much.
pub const BODY_LIMIT: usize = 200 * 1024 * 1024;

/// The parsed request. An empty body counts as `{}`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let error = if status == StatusCode::PAYLOAD_TOO_LARGE {
                Error::new(ErrorKind::Invalid, "body_too_large", format!("The body is larger than {BODY_LIMIT} bytes."))
            } else {
                Error::new(ErrorKind::Invalid, "body_unreadable", "The body could not be read to its end.")
            };
            ApiError::with_status(status, error)
        })?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A 200 with JSON.
#[derive(Debug)]
pub struct Answer<T>(pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, &self.0)
    }
}

/// Parses a request body; the error is a 422 that names the path.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let trimmed = bytes.trim_ascii();
    let bytes = if trimmed.is_empty() { b"{}" } else { trimmed };
    // Derived structs read an array as their fields in order: a shape that no client means.
    if bytes.first() != Some(&b'{') {
        return Err(Error::invalid("", "expected a JSON object").with_code("invalid_json"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => refuse_nul(text)?,
        Err(error) => {
            let path = read::<Value>(bytes).err().map(|(path, _)| path).unwrap_or_default();
            let message = format!("the body is not valid UTF-8 (byte {})", error.valid_up_to());
            return Err(Error::invalid(path, message).with_code("invalid_json"));
        }
    }
    read(bytes).map_err(|(path, error)| explain(path, &error))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, (String, serde_json::Error)> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        (path, error.into_inner())
    })?;
    deserializer.end().map_err(|error| (String::new(), error))?;
    Ok(value)
}

/// No store keeps U+0000 in a text, so it is refused here for every field.
fn refuse_nul(body: &str) -> Result<(), Error> {
    if !body.contains("\\u0000") {
        return Ok(());
    }
    let Ok(value) = serde_json::from_str::<Value>(body) else { return Ok(()) };
    match nul_path(&value) {
        Some(path) => Err(Error::invalid(path, "the character U+0000 is not accepted")),
        None => Ok(()),
    }
}

fn nul_path(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| Some(join(&format!("[{index}]"), &nul_path(item)?)))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(name.replace('\0', "\u{fffd}"));
            }
            Some(join(name, &nul_path(member)?))
        }),
        _ => None,
    }
}

fn join(path: &str, rest: &str) -> String {
    let dot = if path.is_empty() || rest.is_empty() || rest.starts_with('[') { "" } else { "." };
    format!("{path}{dot}{rest}")
}

/// Turns a message of serde into one for people. Values are left out: any field may hold a secret (Invariant 6), except
/// that an enum's wrong word is shown.
fn explain(path: String, error: &serde_json::Error) -> Error {
    if error.is_syntax() || error.is_eof() {
        let place = format!("line {}, column {}", error.line(), error.column());
        let text = without_place(error);
        return Error::invalid(path, format!("not valid JSON: {text} ({place})")).with_code("invalid_json");
    }
    let text = without_place(error);
    if let Some(field) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Error::invalid(join(&path, field), "is required");
    }
    if let Some(field) = text.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        return Error::invalid(join(&path, field), "is given twice");
    }
    if let Some((word, allowed)) =
        text.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "))
    {
        let allowed = allowed.strip_prefix("one of ").unwrap_or(allowed).replace("` or `", "`, `").replace('`', "");
        let shown: String = word.chars().take(100).collect();
        return Error::invalid(path, format!("`{shown}` is not one of: {allowed}")).with_value(shown);
    }
    for lead in ["invalid type: ", "invalid value: "] {
        let Some((got, expected)) = text.strip_prefix(lead).and_then(|rest| rest.rsplit_once(", expected ")) else {
            continue;
        };
        if got == "null" {
            return Error::invalid(path, format!("is required: expected {}, got null", wanted(expected)));
        }
        let got = got.split([' ', '`']).next().unwrap_or_default();
        return Error::invalid(path, format!("expected {}, got {}", wanted(expected), article(got)));
    }
    Error::invalid(path, text)
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(place) => text[..place].to_owned(),
        None => text,
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "a sequence" => "an array".into(),
        "a map" => "an object".into(),
        "i64" | "u64" | "i32" | "u32" | "usize" => "a whole number".into(),
        "f64" => "a number".into(),
        text if text.starts_with("struct ") => "an object".into(),
        text if text.starts_with("enum ") => "a word".into(),
        text => text.into(),
    }
}

fn article(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "a number",
        "floating" => "a number that is not whole or out of range",
        "boolean" => "a boolean",
        "sequence" => "an array",
        "map" => "an object",
        _ => "something else",
    }
}

/// Text of at most `MAX` characters; a longer one is a 422 at its path.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

pub type Name = Text<10_000>;
pub type LongText = Text<1_000_000>;

impl<const MAX: usize> Text<MAX> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

/// For what we answer: what is in the store was checked on its way in.
impl<const MAX: usize> From<&str> for Text<MAX> {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length = text.chars().count();
        if length > MAX {
            return Err(serde::de::Error::custom(format_args!(
                "is too long: {length} characters, at most {MAX} are accepted"
            )));
        }
        Ok(Self(text))
    }
}

/// A connector's configuration: an object, or the JSON text of one (the oldest clients send it so), or an empty array for
/// an empty object (PHP cannot tell them apart). Debug shows nothing of it (Invariant 6).
#[derive(Clone)]
pub struct Configuration(pub Value);

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Configuration(..)")
    }
}

/// The object that `value` is or spells; `None` if it is neither.
pub fn spelled_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        Value::Array(items) if items.is_empty() => Some(Map::new()),
        Value::String(text) => match serde_json::from_str(&text).ok()? {
            Value::Object(members) => Some(members),
            Value::Array(items) if items.is_empty() => Some(Map::new()),
            _ => None,
        },
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_null() {
            return Err(serde::de::Error::custom("is required: expected an object, got null"));
        }
        match spelled_object(value) {
            Some(members) => Ok(Self(Value::Object(members))),
            None => Err(serde::de::Error::custom("expected an object, or the JSON text of one")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Sample {
        id: Uuid,
        name: Option<Text<5>>,
        kind: Option<Kind>,
        count: Option<i32>,
        parts: Option<Vec<Part>>,
        connection_configuration: Option<Configuration>,
        free: Option<Value>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Part {
        path: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        FullRefresh,
        Incremental,
    }

    const ID: &str = "1c5e9a3a-6f0e-4f7c-9c55-0c5a2f1f6a11";

    #[test]
    fn wrong_bodies_are_refused_with_the_path() {
        let deep = format!(r#"{{"id":"{ID}","free":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let cases: &[(&str, &str, &str)] = &[
            ("", "id", "is required"),
            ("{}", "id", "is required"),
            ("[]", "", "expected a JSON object"),
            ("null", "", "expected a JSON object"),
            (r#"{"id":null}"#, "id", "is required: expected a formatted UUID string, got null"),
            (r#"{"id":5}"#, "id", "expected a formatted UUID string, got a number"),
            (r#"{"id":"ID","name":"123456"}"#, "name", "is too long: 6 characters, at most 5 are accepted"),
            (r#"{"id":"ID","name":7}"#, "name", "expected a string, got a number"),
            (r#"{"id":"ID","kind":"FULL"}"#, "kind", "`FULL` is not one of: full_refresh, incremental"),
            (
                r#"{"id":"ID","count":1.5}"#,
                "count",
                "expected a whole number, got a number that is not whole or out of range",
            ),
            (r#"{"id":"ID","count":99999999999}"#, "count", "expected a whole number, got a number"),
            (r#"{"id":"ID","parts":[{"path":["a"]},{}]}"#, "parts[1].path", "is required"),
            (r#"{"id":"ID","parts":[{"path":["a",3]}]}"#, "parts[0].path[1]", "expected a string, got a number"),
            (r#"{"id":"ID","id":"ID"}"#, "id", "is given twice"),
            (r#"{"id":"ID","name":"a\u0000"}"#, "name", "the character U+0000 is not accepted"),
            (
                r#"{"id":"ID","connectionConfiguration":"hunter2"}"#,
                "connectionConfiguration",
                "expected an object, or the JSON text of one",
            ),
            (
                r#"{"id":"ID","connectionConfiguration":"5"}"#,
                "connectionConfiguration",
                "expected an object, or the JSON text of one",
            ),
        ];
        for (body, path, message) in cases {
            let error = parse::<Sample>(body.replace("ID", ID).as_bytes()).unwrap_err();
            let violation = &error.violations[0];
            assert_eq!((violation.property_path.as_str(), violation.message.as_str()), (*path, *message), "{body}");
        }
        for (body, path) in
            [(deep.as_str(), "free"), (r#"{"id":"#, ""), (r#"{"id":"x""#, "id"), (r#"{"id":"ID"} x"#, "")]
        {
            let error = parse::<Sample>(body.replace("ID", ID).as_bytes()).unwrap_err();
            assert!(error.violations[0].property_path.starts_with(path), "{path}: {error}");
        }
        let mut bytes = format!(r#"{{"id":"{ID}","free":{{"a":"X"}}}}"#).into_bytes();
        let place = bytes.iter().position(|byte| *byte == b'X').unwrap();
        bytes[place] = 0xff;
        let error = parse::<Sample>(&bytes).unwrap_err();
        assert_eq!(error.violations[0].property_path, "free.a");
    }

    #[test]
    fn sloppy_bodies_are_understood() {
        let upper = ID.to_uppercase();
        let sample: Sample =
            parse(format!("\u{feff} {{\"id\":\"{upper}\",\"name\":null,\"unknown\":[1]}}\n").as_bytes()).unwrap();
        assert_eq!(sample.id.to_string(), ID);
        assert!(sample.name.is_none());
        for (text, expected) in [
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            ("[]", "{}"),
            (r#""[]""#, "{}"),
            (r#""{}""#, "{}"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            let sample: Sample =
                parse(format!(r#"{{"id":"{ID}","connectionConfiguration":{text}}}"#).as_bytes()).unwrap();
            assert_eq!(sample.connection_configuration.unwrap().0.to_string(), expected);
        }
    }

    proptest::proptest! {
        /// Invariant 7: whatever comes, the parser answers.
        #[test]
        fn no_body_makes_it_panic(bytes: Vec<u8>, text in r#"[\[\]{}":,a-z0-9\\un ]{0,60}"#) {
            let _ = parse::<Sample>(&bytes);
            let _ = parse::<Sample>(text.as_bytes());
            let _ = parse::<Sample>(format!(r#"{{"id":"{ID}","free":{text}}}"#).as_bytes());
            let _ = parse::<Sample>(format!(r#"{{"id":"{ID}","connectionConfiguration":"{text}"}}"#).as_bytes());
        }
    }
}
