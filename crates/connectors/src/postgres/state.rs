//! The states of a stream, in the shapes of `airbyte/source-postgres` (version 2; version 3 is read too). Start with
//! [`parse`] and [`Position::message`].
//!
//! - `ctid`: a first pass over the pages goes on after `ctid`. Of an incremental stream it carries `incremental_state`,
//!   the cursor's bound taken in the snapshot of the first pass; `snapshot_xmin` is ours: transactions older than it
//!   were finished then, so rows that they wrote have been sent if their page has.
//! - `cursor_based`: everything up to `cursor` was sent; `cursor_record_count` rows are equal to it. A mark in the middle
//!   of a sync has no count: it lies where the cursor changes.
//! - `primary_key`: ours, in the shape that MySQL sources have: a full refresh in the order of the key goes on after
//!   `pk_val`; without it, all was sent.

use connector::{Error, Result};
use protocol::{Json, StateMessage, StreamDescriptor};
use serde_json::{Map, Value, json};

/// Where an incremental read goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub field: String,
    /// As text; `None`: no row had one.
    pub value: Option<String>,
    /// Rows that are equal to it; `None` within a sync.
    pub count: Option<i64>,
}

/// Where a pass over the pages goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The place of the last row that was sent, or before the first one of a block: block and row.
    pub after: (u32, u16),
    /// `pg_relation_filenode`: another file has other blocks.
    pub file: i64,
    pub snapshot_xmin: Option<i64>,
    /// Incremental streams only.
    pub then: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    Pages(Pages),
    Cursor(Cursor),
    /// Fields of the key with their values as text.
    Key(Vec<(String, String)>),
    /// A full refresh that has ended.
    Done,
}

impl Position {
    pub fn message(&self, stream: &StreamDescriptor) -> Result<StateMessage> {
        let state = match self {
            Self::Pages(pages) => {
                let mut state = json!({
                    "version": 2,
                    "state_type": "ctid",
                    "ctid": format!("({},{})", pages.after.0, pages.after.1),
                    "relation_filenode": pages.file,
                });
                if let Some(xmin) = pages.snapshot_xmin {
                    state["snapshot_xmin"] = json!(xmin);
                }
                if let Some(cursor) = &pages.then {
                    state["incremental_state"] = cursor.json(stream);
                }
                state
            }
            Self::Cursor(cursor) => cursor.json(stream),
            Self::Key(key) => {
                let names: Vec<&String> = key.iter().map(|(name, _)| name).collect();
                let values: Vec<&String> = key.iter().map(|(_, value)| value).collect();
                json!({"version": 2, "state_type": "primary_key", "pk_name": names, "pk_val": values})
            }
            Self::Done => json!({"version": 2, "state_type": "primary_key"}),
        };
        let json =
            Json::from_value(&state).map_err(|error| Error::system("A state cannot be encoded").with_source(error))?;
        Ok(StateMessage::stream(stream.clone(), Some(json)))
    }
}

impl Cursor {
    fn json(&self, stream: &StreamDescriptor) -> Value {
        let mut state = json!({
            "version": 2,
            "state_type": "cursor_based",
            "stream_name": stream.name,
            "stream_namespace": stream.namespace,
            "cursor_field": [self.field],
        });
        if let Some(value) = &self.value {
            state["cursor"] = json!(value);
        }
        if let Some(count) = self.count {
            state["cursor_record_count"] = json!(count);
        }
        state
    }
}

/// Reads a state of ours or of any version of the connector that we replace; `None` says to start from the beginning.
pub fn parse(stream: &StreamDescriptor, state: Option<&Json>) -> Result<Option<Position>> {
    let Some(json) = state.filter(|json| !json.is_null()) else { return Ok(None) };
    let state: Map<String, Value> = json.to().map_err(|error| bad(stream, "is not an object").with_source(error))?;
    if state.is_empty() {
        return Ok(None);
    }
    let kind = match state.get("state_type") {
        Some(Value::String(kind)) => kind.as_str(),
        // Before there were versions, a state was only a cursor.
        None if state.contains_key("cursor_field") => "cursor_based",
        _ => return Err(bad(stream, "has no `state_type`")),
    };
    match kind {
        "ctid" | "ctid_based" => pages(stream, &state).map(Some),
        "cursor_based" => cursor(stream, &state).map(|cursor| Some(Position::Cursor(cursor))),
        "primary_key" => key(stream, &state).map(Some),
        "xmin" | "xmin_based" => Err(bad(stream, "is of the type `xmin`, which is not implemented")),
        other => Err(bad(stream, &format!("has the unknown `state_type` `{}`", other.escape_debug()))),
    }
}

fn pages(stream: &StreamDescriptor, state: &Map<String, Value>) -> Result<Position> {
    let then = match state.get("incremental_state").and_then(Value::as_object).filter(|inner| !inner.is_empty()) {
        Some(inner) => Some(cursor(stream, inner)?),
        None if state.get("cursors").and_then(Value::as_object).is_some_and(|cursors| !cursors.is_empty()) => {
            Some(cursor(stream, state)?)
        }
        None => None,
    };
    let after = match state.get("ctid") {
        Some(Value::String(text)) => place(text).ok_or_else(|| bad(stream, "has a `ctid` that is none"))?,
        None | Some(Value::Null) => {
            return Ok(match then {
                Some(cursor) => Position::Cursor(cursor),
                None => Position::Done,
            });
        }
        Some(_) => return Err(bad(stream, "has a `ctid` that is no text")),
    };
    let whole = |field: &str| match state.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_i64().map(Some).ok_or_else(|| bad(stream, &format!("has a `{field}` that is no number")))
        }
    };
    let file = whole("relation_filenode")?.unwrap_or_default();
    Ok(Position::Pages(Pages { after, file, snapshot_xmin: whole("snapshot_xmin")?, then }))
}

fn place(ctid: &str) -> Option<(u32, u16)> {
    let (block, row) = ctid.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some((block.parse().ok()?, row.parse().ok()?))
}

fn cursor(stream: &StreamDescriptor, state: &Map<String, Value>) -> Result<Cursor> {
    if let Some(cursors) = state.get("cursors").and_then(Value::as_object) {
        let mut cursors = cursors.iter();
        let (Some((field, value)), None) = (cursors.next(), cursors.next()) else {
            return Err(bad(stream, "has not exactly one cursor"));
        };
        // Version 3 sends rows equal to the cursor again; with a count that no table has, so do we.
        return Ok(Cursor { field: field.clone(), value: text(stream, Some(value))?, count: Some(i64::MAX) });
    }
    let field = match state.get("cursor_field") {
        Some(Value::Array(fields)) if fields.len() == 1 => fields[0].as_str(),
        Some(Value::String(field)) => Some(field.as_str()),
        _ => None,
    };
    let field = field.ok_or_else(|| bad(stream, "has no `cursor_field` of one name"))?;
    let count = match state.get("cursor_record_count") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_i64()
                .filter(|count| *count >= 0)
                .ok_or_else(|| bad(stream, "has a wrong `cursor_record_count`"))?,
        ),
    };
    Ok(Cursor { field: field.to_owned(), value: text(stream, state.get("cursor"))?, count })
}

/// Cursor values are text in version 2 and typed in version 3.
fn text(stream: &StreamDescriptor, value: Option<&Value>) -> Result<Option<String>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(_) => Err(bad(stream, "has a `cursor` that is no value")),
    }
}

fn key(stream: &StreamDescriptor, state: &Map<String, Value>) -> Result<Position> {
    let texts = |field: &str| -> Option<Vec<String>> {
        match state.get(field)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
            _ => None,
        }
    };
    if state.get("pk_val").is_none_or(Value::is_null) {
        return Ok(Position::Done);
    }
    match (texts("pk_name"), texts("pk_val")) {
        (Some(names), Some(values)) if names.len() == values.len() && !names.is_empty() => {
            Ok(Position::Key(names.into_iter().zip(values).collect()))
        }
        _ => Err(bad(stream, "has `pk_name` and `pk_val` that do not belong together")),
    }
}

pub fn bad(stream: &StreamDescriptor, why: &str) -> Error {
    Error::config(format!("The state of stream `{stream}` {why}"))
        .with_hint("Reset the stream, or set a state of the type `cursor_based`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use connector::ErrorKind;

    use super::*;

    fn stream() -> StreamDescriptor {
        StreamDescriptor::new(Some("public"), "orders")
    }

    fn cursor_of(value: Option<&str>, count: Option<i64>) -> Cursor {
        Cursor { field: "c".into(), value: value.map(str::to_owned), count }
    }

    #[test]
    fn positions_survive_their_text() {
        for position in [
            Position::Cursor(cursor_of(Some("2024-01-01T00:00:00"), Some(3))),
            Position::Cursor(cursor_of(Some("it's \\ \"quoted\""), None)),
            Position::Cursor(cursor_of(None, Some(0))),
            Position::Pages(Pages {
                after: (4_294_967_294, 7),
                file: 16399,
                snapshot_xmin: Some(7),
                then: Some(cursor_of(Some("9"), Some(1))),
            }),
            Position::Pages(Pages { after: (0, 0), file: 1, snapshot_xmin: None, then: None }),
            Position::Key(vec![("a".into(), "1".into()), ("b".into(), "x".into())]),
            Position::Done,
        ] {
            let message = position.message(&stream()).unwrap();
            assert_eq!(parse(&stream(), message.of(&stream())).unwrap(), Some(position));
        }
    }

    #[test]
    fn states_of_others() {
        let check = |state: Value, expected: Option<Position>| {
            let json = Json::from_value(&state).unwrap();
            assert_eq!(parse(&stream(), Some(&json)).unwrap(), expected, "{state}");
        };
        check(json!({}), None);
        check(Value::Null, None);
        check(
            json!({"stream_name": "orders", "cursor_field": ["c"], "cursor": "5", "cursor_record_count": 2}),
            Some(Position::Cursor(cursor_of(Some("5"), Some(2)))),
        );
        check(
            json!({"version": 2, "state_type": "ctid", "ctid": "(23,5)", "relation_filenode": 7, "incremental_state": {
                "state_type": "cursor_based", "version": 2, "cursor_field": ["c"], "cursor": "5", "extra": 1}}),
            Some(Position::Pages(Pages {
                after: (23, 5),
                file: 7,
                snapshot_xmin: None,
                then: Some(cursor_of(Some("5"), None)),
            })),
        );
        check(
            json!({"version": 3, "state_type": "cursor_based", "cursors": {"c": 17}}),
            Some(Position::Cursor(cursor_of(Some("17"), Some(i64::MAX)))),
        );
        check(
            json!({"version": 3, "state_type": "ctid_based", "ctid": null, "cursors": {"c": "x"}}),
            Some(Position::Cursor(cursor_of(Some("x"), Some(i64::MAX)))),
        );
        check(json!({"version": 3, "state_type": "ctid_based", "ctid": null}), Some(Position::Done));
    }

    #[test]
    fn garbage_is_refused_by_name() {
        for state in [
            json!([]),
            json!("x"),
            json!({"loop_offset": 5}),
            json!({"state_type": 5}),
            json!({"state_type": "xmin", "xmin_xid_value": 5}),
            json!({"state_type": "binlog"}),
            json!({"state_type": "cursor_based"}),
            json!({"state_type": "cursor_based", "cursor_field": ["a", "b"]}),
            json!({"state_type": "cursor_based", "cursor_field": ["a"], "cursor": {}}),
            json!({"state_type": "cursor_based", "cursor_field": ["a"], "cursor_record_count": -1}),
            json!({"state_type": "cursor_based", "cursors": {"a": 1, "b": 2}}),
            json!({"state_type": "ctid", "ctid": "5"}),
            json!({"state_type": "ctid", "ctid": "(-1,0)"}),
            json!({"state_type": "ctid", "ctid": "(1,0)", "relation_filenode": "x"}),
            json!({"state_type": "primary_key", "pk_name": ["a"], "pk_val": ["1", "2"]}),
        ] {
            let json = Json::from_value(&state).unwrap();
            let error = parse(&stream(), Some(&json)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config, "{state}");
            assert!(error.message.contains("`public.orders`"), "{error}");
        }
    }
}
