//! Cuts the secrets of a configuration out of whatever its connector says (Invariant 6).

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

/// What stands in the place of a secret.
const STARS: &str = "**********";
/// Shorter ones would tear every line apart, and protect nothing.
const SHORTEST: usize = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Arc<[String]>);

impl Mask {
    /// The values of all fields that the specification marks with `airbyte_secret`.
    pub fn of(specification: &Value, config: &Value) -> Self {
        let mut secrets = Vec::new();
        find(specification, config, &mut secrets);
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // The longest first: one secret may be a part of another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets.into())
    }

    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), STARS));
            }
        }
        text
    }
}

/// Schemas come from a connector, but they were parsed, and parsing bounds their depth.
fn find(schema: &Value, value: &Value, secrets: &mut Vec<String>) {
    if schema.get("airbyte_secret") == Some(&Value::Bool(true)) {
        collect(value, secrets);
        return;
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        for choice in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            find(choice, value, secrets);
        }
    }
    if let (Some(properties), Some(fields)) = (schema.get("properties").and_then(Value::as_object), value.as_object()) {
        for (name, property) in properties {
            if let Some(field) = fields.get(name) {
                find(property, field, secrets);
            }
        }
    }
    if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
        for element in elements {
            find(items, element, secrets);
        }
    }
}

fn collect(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            secrets.push(text.clone());
            // A key in PEM or JSON is printed a line at a time.
            secrets.extend(text.lines().map(str::trim).filter(|line| line.len() > 16).map(str::to_owned));
        }
        Value::Number(number) => secrets.push(number.to_string()),
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, secrets)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, secrets)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_wherever_they_lie() {
        let secret = json!({"type": "string", "airbyte_secret": true});
        let specification = json!({"properties": {
            "user": {"type": "string"},
            "password": secret,
            "short": secret,
            "auth": {"oneOf": [{"properties": {"token": secret}}, {"properties": {"key": secret}}]},
            "list": {"items": {"properties": {"pin": {"airbyte_secret": true}}}},
        }});
        let config = json!({
            "user": "alice",
            "password": "swordfish",
            "short": "abc",
            "auth": {"key": "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG9w0\n"},
            "list": [{"pin": 12_345}],
        });
        let mask = Mask::of(&specification, &config);
        let cases = [
            ("alice says swordfish!", "alice says **********!"),
            ("pin=12345", "pin=**********"),
            ("MIIEvQIBADANBgkqhkiG9w0", "**********"),
            ("abc stays", "abc stays"),
        ];
        for (text, expected) in cases {
            assert_eq!(mask.text(text), expected);
        }
    }
}
