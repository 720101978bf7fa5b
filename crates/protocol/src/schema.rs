//! From a stream's JSON schema to column types, as destinations of today read it.
//!
//! Facts: the type table of the Airbyte protocol, with the legacy spellings that older catalogs still carry.

use serde_json::{Map, Value};

/// The type of one top-level property. Arrays, objects and unions end up as JSON text in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    String,
    Boolean,
    Integer,
    Number,
    Date,
    /// An instant.
    TimestampTz,
    /// A reading of a clock on a wall.
    Timestamp,
    TimeTz,
    Time,
    Array,
    Object,
    /// Several types, or one that is not known: any JSON.
    Union,
}

/// The columns of a stream in the order of its schema's `properties`.
pub fn columns(json_schema: &Value) -> Vec<(String, ColumnType)> {
    let Some(properties) = json_schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    properties.iter().map(|(name, schema)| (unescape(name).to_owned(), ColumnType::of(schema))).collect()
}

/// `$id`, `$schema` and `$comment` stand for fields that would be keywords of a JSON schema.
fn unescape(name: &str) -> &str {
    match name {
        "$id" => "id",
        "$schema" => "schema",
        "$comment" => "comment",
        other => other,
    }
}

impl ColumnType {
    pub fn of(schema: &Value) -> Self {
        let Some(schema) = schema.as_object() else { return Self::Union };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return well_known(reference);
        }
        match schema.get("type") {
            Some(Value::String(name)) => named(name, schema),
            Some(Value::Array(names)) => {
                let mut rest = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
                match (rest.next(), rest.next()) {
                    (Some(only), None) => named(only, schema),
                    _ => Self::Union,
                }
            }
            _ if ["oneOf", "anyOf", "allOf"].iter().any(|key| schema.contains_key(*key)) => Self::Union,
            _ => Self::Object,
        }
    }

    /// True where a table keeps JSON text.
    pub fn is_json(self) -> bool {
        matches!(self, Self::Array | Self::Object | Self::Union)
    }
}

fn named(name: &str, schema: &Map<String, Value>) -> ColumnType {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    match (name, text("format"), text("airbyte_type")) {
        ("string", "date", _) => ColumnType::Date,
        ("string", "date-time", "timestamp_without_timezone") => ColumnType::Timestamp,
        ("string", "date-time", _) => ColumnType::TimestampTz,
        ("string", "time", "time_without_timezone") => ColumnType::Time,
        ("string", "time", _) => ColumnType::TimeTz,
        ("string", ..) => ColumnType::String,
        ("boolean", ..) => ColumnType::Boolean,
        ("integer" | "int", ..) | ("number", _, "integer") => ColumnType::Integer,
        ("number", ..) => ColumnType::Number,
        ("array", ..) => ColumnType::Array,
        ("object", ..) => ColumnType::Object,
        _ => ColumnType::Union,
    }
}

fn well_known(reference: &str) -> ColumnType {
    match reference.rsplit('/').next().unwrap_or_default() {
        "String" | "BinaryData" => ColumnType::String,
        "Date" => ColumnType::Date,
        "TimestampWithTimezone" => ColumnType::TimestampTz,
        "TimestampWithoutTimezone" => ColumnType::Timestamp,
        "TimeWithTimezone" => ColumnType::TimeTz,
        "TimeWithoutTimezone" => ColumnType::Time,
        "Number" => ColumnType::Number,
        "Integer" => ColumnType::Integer,
        "Boolean" => ColumnType::Boolean,
        _ => ColumnType::Union,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_follow_the_protocol() {
        let cases = [
            (json!({"type": "string"}), ColumnType::String),
            (json!({"type": "string", "format": "email"}), ColumnType::String),
            (json!({"type": ["null", "string"], "format": "date"}), ColumnType::Date),
            (json!({"type": "string", "format": "date-time"}), ColumnType::TimestampTz),
            (
                json!({"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"}),
                ColumnType::Timestamp,
            ),
            (json!({"type": "string", "format": "time"}), ColumnType::TimeTz),
            (json!({"type": "string", "format": "time", "airbyte_type": "time_without_timezone"}), ColumnType::Time),
            (json!({"type": "number", "airbyte_type": "integer"}), ColumnType::Integer),
            (json!({"type": "int"}), ColumnType::Integer),
            (json!({"type": ["number", "null"]}), ColumnType::Number),
            (json!({"type": ["number", "string"]}), ColumnType::Union),
            (json!({"oneOf": []}), ColumnType::Union),
            (json!({}), ColumnType::Object),
            (json!({"type": "sausage"}), ColumnType::Union),
            (json!(true), ColumnType::Union),
            (json!({"$ref": "WellKnownTypes.json#/definitions/Integer"}), ColumnType::Integer),
        ];
        for (schema, expected) in cases {
            assert_eq!(ColumnType::of(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn keyword_names_are_unescaped() {
        let schema = json!({"properties": {"$id": {"type": "integer"}, "b": {"type": "string"}}});
        let expected = vec![("id".to_owned(), ColumnType::Integer), ("b".to_owned(), ColumnType::String)];
        assert_eq!(columns(&schema), expected);
    }
}
