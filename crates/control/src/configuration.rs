//! Checks a configuration against its connector's specification: one violation per problem, each with its path, and never
//! the value itself, which may be a secret (Invariant 6).

use jsonschema::{Draft, ValidationError, error::ValidationErrorKind, paths::LocationSegment};
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
        Error::new(
            ErrorKind::Internal,
            "unreadable_specification",
            "The connector's specification is not a valid JSON schema.",
        )
        .with_source(error.to_string())
    })?;
    let mut violations = Vec::new();
    for error in validator.iter_errors(config).take(VIOLATION_LIMIT) {
        explain(&error, &mut violations);
    }
    if violations.is_empty() {
        return Ok(());
    }
    violations.truncate(VIOLATION_LIMIT);
    Err(Error::violations(violations)
        .with_code("invalid_configuration")
        .with_hint("The connector's specification says what it accepts: *_definition_specifications/get."))
}

fn explain(error: &ValidationError<'_>, violations: &mut Vec<Violation>) {
    let mut steps = steps(error);
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            if let Some(name) = property.as_str() {
                steps.push(Step::Key(name.to_owned()));
            }
            "is required".to_owned()
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            if explain_alternatives(context, violations) {
                return;
            }
            "fits none of the alternatives".to_owned()
        }
        _ => error.masked_with("the value").to_string(),
    };
    violations.push(Violation { property_path: property_path(&steps), invalid_value: None, message });
}

/// Connectors tell alternatives apart by a constant. Where it picks one, that one's problems are the problems; where it
/// picks none, the constants are what is expected. False if the alternatives are told apart in some other way.
fn explain_alternatives(alternatives: &[Vec<ValidationError<'static>>], violations: &mut Vec<Violation>) -> bool {
    let is_constant = |error: &&ValidationError<'_>| matches!(error.kind(), ValidationErrorKind::Constant { .. });
    let mut picked = alternatives.iter().filter(|errors| !errors.iter().any(|error| is_constant(&error)));
    if let Some(errors) = picked.next() {
        if picked.next().is_some() {
            return false;
        }
        errors.iter().for_each(|error| explain(error, violations));
        return true;
    }
    let constants: Vec<&ValidationError<'_>> =
        alternatives.iter().filter_map(|errors| errors.iter().find(is_constant)).collect();
    let Some(first) = constants.first() else { return false };
    if constants.iter().any(|error| error.instance_path() != first.instance_path()) {
        return false;
    }
    let mut words = Vec::new();
    for error in &constants {
        if let ValidationErrorKind::Constant { expected_value } = error.kind() {
            words.push(expected_value.as_str().map_or_else(|| expected_value.to_string(), str::to_owned));
        }
    }
    let message = format!("is not one of: {}", words.join(", "));
    violations.push(Violation { property_path: property_path(&steps(first)), invalid_value: None, message });
    true
}

fn steps(error: &ValidationError<'_>) -> Vec<Step> {
    let step = |segment| match segment {
        LocationSegment::Property(name) => Step::Key(name.to_string()),
        LocationSegment::Index(index) => Step::Index(index),
    };
    error.instance_path().iter().map(step).collect()
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

    #[test]
    fn alternatives_are_told_apart_by_their_constant() {
        let specification = json!({"properties": {"method": {"oneOf": [
            {"required": ["kind", "token"], "properties": {"kind": {"const": "token"}, "token": {"type": "string"}}},
            {"required": ["kind"], "properties": {"kind": {"const": "none"}}}
        ]}}});
        let cases = [
            (json!({"kind": "token"}), "method.token", "is required"),
            (json!({"kind": "token", "token": 5}), "method.token", "the value is not of type \"string\""),
            (json!({"kind": "other"}), "method.kind", "is not one of: token, none"),
            (json!({}), "method", "fits none of the alternatives"),
        ];
        for (method, path, message) in cases {
            let error = validate(&specification, &json!({ "method": method })).unwrap_err();
            let violation = &error.violations[0];
            assert_eq!(error.violations.len(), 1, "{error}");
            assert_eq!(violation.property_path, format!("connectionConfiguration.{path}"));
            assert_eq!(violation.message, message);
        }
    }
}
