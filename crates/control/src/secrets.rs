//! Which parts of a configuration are secret, and what may be seen of them (Invariant 6).
//!
//! A specification marks a property with `airbyte_secret`. The walk follows every branch: properties, array items, all
//! alternatives of `oneOf`, `anyOf` and `allOf`, and local references; where one branch calls a property secret, it is
//! secret. A stored configuration holds `{"_secret": "<id>"}` in its place. [`mask`] is what a response shows, [`restore`]
//! undoes the mask on an update, [`take`] finds the values to put away, [`inflate`] puts them back for a connector.
//! Everything here is pure; `actors` does the storing.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// What every response shows in place of a secret.
pub const MASK: &str = "**********";
/// The only key of the object that stands for a secret in a stored configuration.
const REFERENCE: &str = "_secret";
/// A specification that refers to itself is followed so far.
const DEPTH_LIMIT: usize = 64;

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// `connectionConfiguration.a[0].b`, for violations.
pub fn property_path(steps: &[Step]) -> String {
    let mut path = String::from("connectionConfiguration");
    for step in steps {
        match step {
            Step::Key(key) => {
                path.push('.');
                path.push_str(key);
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// A secret that [`take`] found.
pub struct Taken {
    pub steps: Vec<Step>,
    /// The JSON text of the value: a secret need not be a string.
    pub clear: String,
}

/// The object that stands for the secret `id`.
pub fn reference(id: &str) -> Value {
    let mut members = Map::new();
    members.insert(REFERENCE.to_owned(), id.into());
    Value::Object(members)
}

/// The secret that `value` stands for.
pub fn referred(value: &Value) -> Option<&str> {
    match value.as_object() {
        Some(members) if members.len() == 1 => members.get(REFERENCE)?.as_str(),
        _ => None,
    }
}

/// The ids of all secrets of a stored configuration.
pub fn references(stored: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    collect_references(stored, &mut ids);
    ids
}

fn collect_references(value: &Value, ids: &mut Vec<String>) {
    if let Some(id) = referred(value) {
        ids.push(id.to_owned());
        return;
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| collect_references(member, ids)),
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, ids)),
        _ => {}
    }
}

/// Where a configuration that came from outside uses the reserved key; such a one must be refused, or it could ask for
/// the secret of somebody else.
pub fn reserved_key(value: &Value) -> Option<Vec<Step>> {
    let found = |step: Step, inner: &Value| {
        reserved_key(inner).map(|rest| std::iter::once(step).chain(rest).collect::<Vec<_>>())
    };
    match value {
        Value::Object(members) if members.contains_key(REFERENCE) => Some(vec![Step::Key(REFERENCE.to_owned())]),
        Value::Object(members) => members.iter().find_map(|(key, member)| found(Step::Key(key.clone()), member)),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| found(Step::Index(index), item)),
        _ => None,
    }
}

/// What a response shows of a stored configuration.
pub fn mask(specification: &Value, stored: &Value) -> Value {
    let mut shown = stored.clone();
    visit(specification, &mut shown, &mut |value, _| {
        if !value.is_null() {
            *value = MASK.into();
        }
    });
    mask_references(&mut shown);
    shown
}

/// Whatever the specification says by now: what was stored as a secret stays one.
fn mask_references(value: &mut Value) {
    if referred(value).is_some() {
        *value = MASK.into();
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(mask_references),
        Value::Array(items) => items.iter_mut().for_each(mask_references),
        _ => {}
    }
}

/// Puts the stored reference wherever `incoming` shows the mask in place of a secret; array elements are matched by index.
/// Returns the places of masks that hide nothing.
pub fn restore(specification: &Value, incoming: &mut Value, stored: Option<&Value>) -> Vec<Vec<Step>> {
    let mut unknown = Vec::new();
    visit(specification, incoming, &mut |value, steps| {
        if value.as_str() != Some(MASK) {
            return;
        }
        match stored.and_then(|stored| part(stored, steps)).filter(|part| referred(part).is_some()) {
            Some(reference) => *value = reference.clone(),
            None => unknown.push(steps.to_vec()),
        }
    });
    unknown
}

/// Every secret of `config` that is still in clear.
pub fn take(specification: &Value, config: &Value) -> Vec<Taken> {
    let mut taken = Vec::new();
    visit(specification, &mut config.clone(), &mut |value, steps| {
        if !value.is_null() && referred(value).is_none() {
            taken.push(Taken { steps: steps.to_vec(), clear: value.to_string() });
        }
    });
    taken
}

/// Replaces the part at `steps`.
pub fn put(config: &mut Value, steps: &[Step], new: Value) {
    if let Some(part) = part_mut(config, steps) {
        *part = new;
    }
}

/// Replaces every reference by its value; `clear` holds JSON texts by id. Returns the id that has none.
pub fn inflate(config: &mut Value, clear: &HashMap<String, String>) -> Result<(), String> {
    if let Some(id) = referred(config) {
        let value = clear.get(id).and_then(|text| serde_json::from_str(text).ok());
        *config = value.ok_or_else(|| id.to_owned())?;
        return Ok(());
    }
    match config {
        Value::Object(members) => members.values_mut().try_for_each(|member| inflate(member, clear)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| inflate(item, clear)),
        _ => Ok(()),
    }
}

fn part<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

fn part_mut<'a>(value: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

type Visitor<'a> = dyn FnMut(&mut Value, &[Step]) + 'a;

fn visit(specification: &Value, config: &mut Value, visitor: &mut Visitor<'_>) {
    walk(specification, &[specification], config, &mut Vec::new(), visitor);
}

fn walk(root: &Value, schemas: &[&Value], value: &mut Value, steps: &mut Vec<Step>, visitor: &mut Visitor<'_>) {
    let mut all = Vec::new();
    for schema in schemas {
        expand(root, schema, &mut all, 0);
    }
    if all.iter().any(|schema| schema.get("airbyte_secret") == Some(&Value::Bool(true))) {
        visitor(value, steps);
        return;
    }
    if referred(value).is_some() {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                let inner: Vec<&Value> = all.iter().filter_map(|schema| property(schema, key)).collect();
                steps.push(Step::Key(key.clone()));
                walk(root, &inner, member, steps, visitor);
                steps.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let inner: Vec<&Value> = all.iter().filter_map(|schema| element(schema, index)).collect();
                steps.push(Step::Index(index));
                walk(root, &inner, item, steps, visitor);
                steps.pop();
            }
        }
        _ => {}
    }
}

/// A schema with everything that it is made of.
fn expand<'a>(root: &'a Value, schema: &'a Value, all: &mut Vec<&'a Value>, depth: usize) {
    if depth > DEPTH_LIMIT || !schema.is_object() || all.iter().any(|known| std::ptr::eq(*known, schema)) {
        return;
    }
    all.push(schema);
    for word in ["oneOf", "anyOf", "allOf"] {
        for branch in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            expand(root, branch, all, depth + 1);
        }
    }
    for word in ["if", "then", "else"] {
        if let Some(branch) = schema.get(word) {
            expand(root, branch, all, depth + 1);
        }
    }
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    if let Some(target) = target.and_then(|pointer| root.pointer(pointer)) {
        expand(root, target, all, depth + 1);
    }
}

fn property<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    match schema.get("properties").and_then(|properties| properties.get(key)) {
        Some(property) => Some(property),
        None => schema.get("additionalProperties"),
    }
}

fn element(schema: &Value, index: usize) -> Option<&Value> {
    match schema.get("items")? {
        Value::Array(items) => items.get(index).or_else(|| schema.get("additionalItems")),
        items => Some(items),
    }
}

/// Cuts known secret values out of what connectors say. Values of fewer than three characters stay: they are found in
/// every text.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret that contains another one goes as a whole.
    values: Vec<String>,
}

impl Redactor {
    /// `clear` are the JSON texts of secrets.
    pub fn new<'a>(clear: impl IntoIterator<Item = &'a String>) -> Self {
        let mut values = Vec::new();
        for text in clear {
            if let Ok(value) = serde_json::from_str(text) {
                collect_texts(&value, &mut values);
            }
        }
        values.sort_by_key(|value: &String| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { values }
    }

    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), MASK);
            }
        }
        text
    }

    /// Both redactors as one.
    pub fn with(mut self, other: Self) -> Self {
        self.values.extend(other.values);
        self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self.values.dedup();
        self
    }
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    const SHORTEST: usize = 3;
    /// Lines of a key are cut out one by one as well; shorter ones say nothing.
    const SHORTEST_LINE: usize = 16;
    match value {
        Value::String(text) => {
            let quoted = value.to_string();
            let escaped = &quoted[1..quoted.len() - 1];
            for form in [text.as_str(), escaped] {
                if form.chars().count() >= SHORTEST {
                    texts.push(form.to_owned());
                }
            }
            if text.contains('\n') {
                texts.extend(text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE).map(str::to_owned));
            }
        }
        Value::Number(number) => {
            let text = number.to_string();
            if text.len() >= SHORTEST {
                texts.push(text);
            }
        }
        Value::Object(members) => members.values().for_each(|member| collect_texts(member, texts)),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn specification() -> Value {
        json!({
            "type": "object",
            "properties": {
                "host": {"type": "string"},
                "password": {"type": "string", "airbyte_secret": true},
                "keys": {"type": "array", "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "value": {"type": "string", "airbyte_secret": true}}}},
                "method": {"type": "object", "oneOf": [
                    {"properties": {"kind": {"const": "none"}}},
                    {"properties": {"kind": {"const": "key"}, "key": {"$ref": "#/definitions/key"}}}]},
                "headers": {"type": "object", "additionalProperties": {"airbyte_secret": true}},
                "pin": {"type": "integer", "airbyte_secret": true}
            },
            "definitions": {"key": {"type": "string", "airbyte_secret": true}}
        })
    }

    fn clear() -> Value {
        json!({
            "host": "db", "password": "hunter2", "keys": [{"name": "a", "value": "first"}, {"name": "b", "value": "second"}],
            "method": {"kind": "key", "key": "pem"}, "headers": {"X-Token": "t0ken"}, "pin": 1234
        })
    }

    /// As `actors` does it, with ids in order.
    fn stored() -> (Value, HashMap<String, String>) {
        let mut config = clear();
        let mut kept = HashMap::new();
        for (index, taken) in take(&specification(), &config).into_iter().enumerate() {
            let id = format!("s{index}");
            put(&mut config, &taken.steps, reference(&id));
            kept.insert(id, taken.clear);
        }
        (config, kept)
    }

    #[test]
    fn secrets_leave_are_masked_and_come_back() {
        let (config, kept) = stored();
        let text = config.to_string();
        for secret in ["hunter2", "first", "second", "pem", "t0ken", "1234"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let shown = mask(&specification(), &config);
        assert_eq!(
            shown,
            json!({
                "host": "db", "password": MASK, "keys": [{"name": "a", "value": MASK}, {"name": "b", "value": MASK}],
                "method": {"kind": "key", "key": MASK}, "headers": {"X-Token": MASK}, "pin": MASK
            })
        );
        let mut incoming = shown;
        assert!(restore(&specification(), &mut incoming, Some(&config)).is_empty());
        assert_eq!(incoming, config, "masked secrets take their stored references, also in arrays and alternatives");
        inflate(&mut incoming, &kept).unwrap();
        assert_eq!(incoming, clear());
    }

    #[test]
    fn a_mask_that_hides_nothing_is_reported() {
        let (config, _) = stored();
        let mut incoming = json!({"password": "new", "keys": [{}, {}, {"value": MASK}], "host": MASK});
        let unknown = restore(&specification(), &mut incoming, Some(&config));
        assert_eq!(
            unknown.iter().map(|steps| property_path(steps)).collect::<Vec<_>>(),
            ["connectionConfiguration.keys[2].value"]
        );
        assert_eq!(incoming["password"], "new");
        let mut incoming = json!({"password": MASK});
        assert_eq!(restore(&specification(), &mut incoming, None).len(), 1);
    }

    #[test]
    fn references_from_outside_are_found() {
        assert!(reserved_key(&clear()).is_none());
        let path = reserved_key(&json!({"keys": [{"value": {"_secret": "s0"}}]})).unwrap();
        assert_eq!(property_path(&path), "connectionConfiguration.keys[0].value._secret");
    }

    #[test]
    fn known_values_are_cut_out_of_texts() {
        let (_, kept) = stored();
        let redactor = Redactor::new(kept.values());
        assert_eq!(
            redactor.redact("login hunter2@db with t0ken failed, pin 1234"),
            format!("login {MASK}@db with {MASK} failed, pin {MASK}")
        );
        let key = serde_json::to_string("-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END KEY-----").unwrap();
        let redactor = Redactor::new([&key]);
        assert!(!redactor.redact("bad line: MIIEvQIBADANBgkqhkiG9w0").contains("MIIE"));
    }

    #[test]
    fn a_specification_that_refers_to_itself_ends() {
        let specification =
            json!({"properties": {"a": {"$ref": "#"}, "s": {"airbyte_secret": true}}, "allOf": [{"$ref": "#"}]});
        let mut value = json!({"a": {"a": {"s": "x"}}});
        visit(&specification, &mut value, &mut |value, _| *value = MASK.into());
        assert_eq!(value, json!({"a": {"a": {"s": MASK}}}));
    }
}
