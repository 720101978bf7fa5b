//! Texts that stand for numbers and booleans: what comes from `${PORT}` is always a text, what the specification wants may
//! be a number.

use serde_json::Value;

/// Turns texts into the number or boolean that the schema asks for at their place, where they are one.
pub fn fit(config: &mut Value, schema: &Value) {
    let Some(members) = config.as_object_mut() else { return };
    for (name, value) in members {
        let property = &schema["properties"][name];
        match value {
            Value::Object(_) => fit(value, property),
            Value::String(text) => {
                let kind = property["type"].as_str().unwrap_or_default();
                let parsed = match kind {
                    "integer" | "number" | "boolean" => serde_json::from_str::<Value>(text).ok(),
                    _ => None,
                };
                let is_fit = |parsed: &Value| if kind == "boolean" { parsed.is_boolean() } else { parsed.is_number() };
                if let Some(parsed) = parsed.filter(is_fit) {
                    *value = parsed;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_what_is_asked_for() {
        let schema = json!({"properties": {
            "port": {"type": "integer"}, "ssl": {"type": "boolean"}, "password": {"type": "string"},
            "inner": {"properties": {"rate": {"type": "number"}}},
        }});
        let mut config =
            json!({"port": "5432", "ssl": "true", "password": "1234", "inner": {"rate": "0.5"}, "more": "1"});
        fit(&mut config, &schema);
        assert_eq!(config, json!({"port": 5432, "ssl": true, "password": "1234", "inner": {"rate": 0.5}, "more": "1"}));
        let mut config = json!({"port": "true", "ssl": "1", "inner": "x"});
        fit(&mut config, &schema);
        assert_eq!(config, json!({"port": "true", "ssl": "1", "inner": "x"}));
    }
}
