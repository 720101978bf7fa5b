//! Field selection: which top-level fields of a stream are synced.

use protocol::{DestinationSyncMode, Stream, SyncMode};
use serde_json::Value;

use super::{RequestedConfig, StreamSelection};
use crate::Violation;

/// Leaves only `selected` in the schema's `properties` and `required`.
pub fn cut(schema: &mut Value, selected: &[String]) {
    let is_selected = |name: &str| selected.iter().any(|field| field == name);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| is_selected(name));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_some_and(is_selected));
    }
}

/// The fields of a stream with field selection, in the order of its schema. `path` is that of the entry's config.
pub fn select(stream: &Stream, config: &RequestedConfig, path: &str, wrong: &mut Vec<Violation>) -> Vec<String> {
    let at = |suffix: &str| format!("{path}.{suffix}");
    let selected_fields = config.selected_fields.as_deref().unwrap_or_default();
    if selected_fields.is_empty() {
        let message = "fieldSelectionEnabled is true, so at least one field must be listed here";
        wrong.push(violation(at("selectedFields"), message));
        return Vec::new();
    }
    let Some(properties) = stream.json_schema.get("properties").and_then(Value::as_object) else {
        let message = format!("The schema of stream {} has no properties to select from", stream.descriptor);
        wrong.push(violation(at("fieldSelectionEnabled"), message));
        return Vec::new();
    };
    let mut named: Vec<&str> = Vec::with_capacity(selected_fields.len());
    for (index, field) in selected_fields.iter().enumerate() {
        let path = at(&format!("selectedFields[{index}].fieldPath"));
        match field.as_slice() {
            [] => wrong.push(violation(path, "A field path must not be empty")),
            [name] if properties.contains_key(name) => named.push(name),
            [name] => {
                let message = format!("Stream {} has no field {name:?}", stream.descriptor);
                wrong.push(violation(path, message).with_value(name));
            }
            _ => {
                let message = "Only top-level fields can be selected: the path must have exactly one element";
                wrong.push(violation(path, message).with_value(&field.join(".")));
            }
        }
    }
    named.sort_unstable();
    properties.keys().filter(|name| named.binary_search(&name.as_str()).is_ok()).cloned().collect()
}

/// What a sync needs cannot be left out: the cursor in incremental, the key in append_dedup.
pub fn require_cursor_and_key(stream: &Stream, selection: &StreamSelection, path: &str, wrong: &mut Vec<Violation>) {
    let Some(fields) = &selection.fields else { return };
    let mut require = |role: &str, field: Option<&String>| {
        let Some(name) = field.filter(|name| !fields.contains(name)) else { return };
        let message =
            format!("{role} field {name:?} of stream {} must be among the selected fields", stream.descriptor);
        wrong.push(violation(format!("{path}.selectedFields"), message));
    };
    if selection.sync_mode == SyncMode::Incremental {
        let cursor =
            if selection.cursor_field.is_empty() { &stream.default_cursor_field } else { &selection.cursor_field };
        require("Cursor", cursor.first());
    }
    if selection.destination_sync_mode == DestinationSyncMode::AppendDedup {
        let key =
            if selection.primary_key.is_empty() { &stream.source_defined_primary_key } else { &selection.primary_key };
        for part in key {
            require("Primary key", part.first());
        }
    }
}

pub(super) fn violation(path: String, message: impl Into<String>) -> Violation {
    Violation { property_path: path, invalid_value: None, message: message.into() }
}

impl Violation {
    pub(super) fn with_value(mut self, value: &str) -> Self {
        self.invalid_value = Some(value.to_owned());
        self
    }
}
