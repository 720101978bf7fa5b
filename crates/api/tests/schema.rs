//! Answers against the published contract: required fields, types, no unknown enum value, never a null.
//!
//! Two slips of the contract are named exceptions: `json_schema` is required where the property is `jsonSchema`, and
//! `additionalProperties: false` stands where newer fields may be added.

use serde_json::Value;
use uuid::Uuid;

pub struct Contract {
    contract: Value,
}

impl Contract {
    pub fn read() -> Self {
        let text = include_str!("../contract/config-api-seed-sdk.json");
        Self { contract: serde_json::from_str(text).unwrap() }
    }

    pub fn operations(&self) -> &[Value] {
        self.contract["operations"].as_array().unwrap()
    }

    /// By path below `/v1`.
    pub fn operation(&self, path: &str) -> Option<&Value> {
        self.operations().iter().find(|operation| operation["path"] == format!("/v1/{path}").as_str())
    }

    /// Everything in which `value` is not what the schema `name` says.
    pub fn problems(&self, name: &str, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.check(&self.contract["schemas"][name], value, name, &mut problems);
        problems
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
        if let Some(name) = schema["ref"].as_str() {
            let target = &self.contract["schemas"][name];
            assert!(target.is_object(), "the contract refers to {name}, which is not there");
            return self.check(target, value, path, problems);
        }
        if value.is_null() {
            problems.push(format!("{path} is null"));
            return;
        }
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        if !fits {
            problems.push(format!("{path} is no {}: {value}", schema["type"]));
            return;
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            problems.push(format!("{path} is {value}, which the contract does not know"));
        }
        let text = value.as_str().unwrap_or_default();
        let well_formed = match schema["format"].as_str() {
            Some("uuid") => Uuid::parse_str(text).is_ok_and(|id| id.to_string() == text),
            Some("date") => text.len() == 10 && text.split('-').map(str::len).eq([4, 2, 2]),
            _ => true,
        };
        if !well_formed {
            problems.push(format!("{path} is no {}: {value}", schema["format"]));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() && name != "json_schema" {
                problems.push(format!("{path}.{name} is missing"));
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(member) = value.get(name) {
                self.check(property, member, &format!("{path}.{name}"), problems);
            }
        }
        if schema["items"].is_object() {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                self.check(&schema["items"], item, &format!("{path}[{index}]"), problems);
            }
        }
    }
}

#[test]
fn the_contract_finds_what_is_wrong() {
    let contract = Contract::read();
    let good = serde_json::json!({"workspaces": [{
        "workspaceId": "1c5e9a3a-6f0e-4f7c-9c55-0c5a2f1f6a11", "customerId": "1c5e9a3a-6f0e-4f7c-9c55-0c5a2f1f6a11",
        "name": "n", "slug": "s", "initialSetupComplete": true, "defaultGeography": "eu", "newer": 1
    }]});
    assert_eq!(contract.problems("WorkspaceReadList", &good), Vec::<String>::new());
    for (name, value) in [
        ("workspaceId", serde_json::json!("1C5E9A3A-6F0E-4F7C-9C55-0C5A2F1F6A11")),
        ("slug", Value::Null),
        ("initialSetupComplete", serde_json::json!("true")),
        ("defaultGeography", serde_json::json!("asia")),
        ("notifications", serde_json::json!([{}])),
    ] {
        let mut bad = good.clone();
        bad["workspaces"][0][name] = value;
        assert!(!contract.problems("WorkspaceReadList", &bad).is_empty(), "{name}");
    }
}
