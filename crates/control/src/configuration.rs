//! Checks a configuration against its connector's specification: one violation per problem, each with its path, and never
//! the value itself, which may be a secret (Invariant 6).

use jsonschema::{Draft, error::ValidationErrorKind, paths::LocationSegment};
use serde_json::Value;

use crate::{
    Error, ErrorKind, Result, Violation,
    secrets::{Step, property_path},
};

/// More would only hide the first ones.
const VIOLATION_LIMIT: usize = 50;

/// `config` with its secrets in clear. `specification` is a JSON schema (`connectionSpecification`).
pub fn validate(specification: &Value, config: &Value) -> Result<()> {
    let mut options = jsonschema::options();
    if specification.get("$schema").is_none() {
        // What connectors write, whether they say so or not.
        options = options.with_draft(Draft::Draft7);
    }
    let validator = options.build(specification).map_err(|error| {
        Error::new(ErrorKind::Internal, "unreadable_specification", "The connector's specification is not a valid JSON schema.")
            .with_source(error.to_string())
    })?;
    let violations: Vec<Violation> = validator.iter_errors(config).take(VIOLATION_LIMIT).map(|error| violation(&error)).collect();
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::violations(violations)
        .with_code("invalid_configuration")
        .with_hint("The connector's specification says what it accepts: *_definition_specifications/get."))
}

fn violation(error: &jsonschema::ValidationError<'_>) -> Violation {
    let mut steps: Vec<Step> = error
        .instance_path()
        .iter()
        .map(|segment| match segment {
            LocationSegment::Property(name) => Step::Key(name.to_string()),
            LocationSegment::Index(index) => Step::Index(index),
        })
        .collect();
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            if let Some(name) = property.as_str() {
                steps.push(Step::Key(name.to_owned()));
            }
            "is required".to_owned()
        }
        _ => error.masked_with("the value").to_string(),
    };
    Violation { property_path: property_path(&steps), invalid_value: None, message }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_problem_has_its_path_and_no_value() {
        let specification = json!({
            "type": "object", "required": ["host", "port"], "additionalProperties": false,
            "properties": {
                "host": {"type": "string"}, "port": {"type": "integer", "maximum": 65535},
                "mode": {"enum": ["a", "b"]}, "password": {"type": "string", "pattern": "^[a-z]+$", "airbyte_secret": true},
                "list": {"type": "array", "items": {"type": "string"}}
            }
        });
        validate(&specification, &json!({"host": "h", "port": 1})).unwrap();
        let config = json!({"port": 70000, "mode": "c", "password": "HUNTER2", "list": ["x", 5], "extra": 1});
        let error = validate(&specification, &config).unwrap_err();
        let mut paths: Vec<&str> = error.violations.iter().map(|v| v.property_path.as_str()).collect();
        paths.sort();
        assert_eq!(
            paths,
            [
                "connectionConfiguration",
                "connectionConfiguration.host",
                "connectionConfiguration.list[1]",
                "connectionConfiguration.mode",
                "connectionConfiguration.password",
                "connectionConfiguration.port"
            ]
        );
        let text = format!("{error:?}");
        assert!(!text.contains("HUNTER2") && !text.contains("70000"), "{text}");
        assert!(validate(&json!({"type": 5}), &json!({})).is_err_and(|error| error.kind == ErrorKind::Internal));
    }
}
