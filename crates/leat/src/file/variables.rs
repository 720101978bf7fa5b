//! From YAML to JSON values, with `${NAME}` and `${file:PATH}` filled in.
//!
//! They are filled in after the YAML was read, so that no value can change the shape of the file. `$${` stands for `${`.
//! `namespace_format` is left alone: `${SOURCE_NAMESPACE}` in it is the API's.

use std::path::Path;

use serde_json::{Map, Number, Value};
use serde_yaml_ng::Value as Yaml;

use super::Refused;

const LEFT_ALONE: &str = "namespace_format";

pub fn resolve(mut yaml: Yaml, folder: &Path) -> Result<Value, Refused> {
    yaml.apply_merge().map_err(|error| Refused(format!("a merge key (`<<`) cannot be followed: {error}")))?;
    json(yaml, "", folder)
}

fn json(yaml: Yaml, path: &str, folder: &Path) -> Result<Value, Refused> {
    let refused = |why: &str| Err(Refused(format!("{path}: {why}")));
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => {
            if let Some(value) = number.as_i64() {
                Value::from(value)
            } else if let Some(value) = number.as_u64() {
                Value::from(value)
            } else {
                match number.as_f64().and_then(Number::from_f64) {
                    Some(value) => Value::Number(value),
                    None => return refused("only finite numbers can be used"),
                }
            }
        }
        Yaml::String(text) if path.ends_with(LEFT_ALONE) => Value::String(text),
        Yaml::String(text) => Value::String(fill_in(&text, path, folder)?),
        Yaml::Sequence(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                values.push(json(item, &format!("{path}[{index}]"), folder)?);
            }
            Value::Array(values)
        }
        Yaml::Mapping(members) => {
            let mut map = Map::with_capacity(members.len());
            for (key, value) in members {
                let name = match key {
                    Yaml::String(name) => name,
                    Yaml::Number(number) => number.to_string(),
                    Yaml::Bool(value) => value.to_string(),
                    _ => return refused("a key must be a text"),
                };
                let value = json(value, &super::reader::join(path, &name), folder)?;
                if map.insert(name.clone(), value).is_some() {
                    return refused(&format!("the key `{name}` is there twice"));
                }
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => return refused(&format!("the tag {} is not known", tagged.tag)),
    })
}

/// Says nothing of the values that it fills in: they may be secrets (Invariant 6).
fn fill_in(text: &str, path: &str, folder: &Path) -> Result<String, Refused> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            return Err(Refused(format!("{path}: `${{` is not closed; write `$${{` for the characters themselves")));
        };
        let name = &rest[at + 2..at + end];
        filled.push_str(&value_of(name, path, folder)?);
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value_of(name: &str, path: &str, folder: &Path) -> Result<String, Refused> {
    if let Some(file) = name.strip_prefix("file:") {
        let text = std::fs::read_to_string(folder.join(file))
            .map_err(|error| Refused(format!("{path}: {file} cannot be read: {error}")))?;
        // Editors and `echo` end a file with a line break that is no part of a secret.
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        return Ok(text.to_owned());
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Refused(format!(
            "{path}: `${{{name}}}` names no variable; write `$${{` for the characters themselves"
        )));
    }
    std::env::var(name).map_err(|_| {
        let hint = "set it, or write `$${` for the characters themselves";
        Refused(format!("{path}: the environment variable {name} is not set: {hint}"))
    })
}
