//! What changed between two catalogs of a source, and whether it breaks a connection. Pure; `discovery` applies it.
//!
//! Streams are matched by (namespace, name); fields by their whole path, in which `items` stands for the elements of an
//! array. Alternatives (`oneOf` and the like) are compared as a whole. Fields are compared only for streams that the
//! connection syncs. A change breaks a connection only if it takes away the cursor of an incremental stream or a key of a
//! deduplicated one.

use std::collections::HashMap;

use indexmap::IndexMap;
use protocol::{Catalog, DestinationSyncMode, Stream, StreamDescriptor, SyncMode};
use serde_json::Value;

use crate::catalog::{StreamSelection, SyncCatalog};

#[derive(Clone, Debug, PartialEq)]
pub enum StreamChange {
    Added(StreamDescriptor),
    Removed(StreamDescriptor),
    Updated(StreamDescriptor, Vec<FieldChange>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    pub path: Vec<String>,
    pub breaking: bool,
    pub kind: FieldChangeKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FieldChangeKind {
    Added { schema: Value },
    Removed { schema: Value },
    Changed { old: Value, new: Value },
}

/// Whether any of the changes breaks the connection.
pub fn is_breaking(changes: &[StreamChange]) -> bool {
    changes.iter().any(|change| match change {
        StreamChange::Updated(_, fields) => fields.iter().any(|field| field.breaking),
        StreamChange::Added(_) | StreamChange::Removed(_) => false,
    })
}

/// The changes from `old` to `new`: removed streams, added ones, updated ones, each in the order of its catalog.
pub fn diff(old: &Catalog, new: &Catalog, configured: &SyncCatalog) -> Vec<StreamChange> {
    let old_streams = by_descriptor(old);
    let new_streams = by_descriptor(new);
    let mut changes = Vec::new();
    for stream in &old.streams {
        if !new_streams.contains_key(&stream.descriptor) {
            changes.push(StreamChange::Removed(stream.descriptor.clone()));
        }
    }
    for stream in &new.streams {
        if !old_streams.contains_key(&stream.descriptor) {
            changes.push(StreamChange::Added(stream.descriptor.clone()));
        }
    }
    for (stream, selection) in &configured.streams {
        let (Some(before), Some(after)) = (old_streams.get(&stream.descriptor), new_streams.get(&stream.descriptor))
        else {
            continue;
        };
        let fields = field_changes(before, after, &vital_fields(stream, selection));
        if !fields.is_empty() {
            changes.push(StreamChange::Updated(stream.descriptor.clone(), fields));
        }
    }
    changes
}

fn by_descriptor(catalog: &Catalog) -> HashMap<&StreamDescriptor, &Stream> {
    catalog.streams.iter().map(|stream| (&stream.descriptor, stream)).collect()
}

/// The paths without which the stream cannot be synced as it is configured.
fn vital_fields(stream: &Stream, selection: &StreamSelection) -> Vec<Vec<String>> {
    let mut vital = Vec::new();
    if selection.sync_mode == SyncMode::Incremental {
        let source_defined = stream.source_defined_cursor == Some(true) && !stream.default_cursor_field.is_empty();
        let cursor = if source_defined || selection.cursor_field.is_empty() {
            &stream.default_cursor_field
        } else {
            &selection.cursor_field
        };
        vital.push(cursor.clone());
    }
    if matches!(selection.destination_sync_mode, DestinationSyncMode::AppendDedup | DestinationSyncMode::OverwriteDedup)
    {
        let keys =
            if selection.primary_key.is_empty() { &stream.source_defined_primary_key } else { &selection.primary_key };
        vital.extend(keys.iter().cloned());
    }
    vital
}

fn field_changes(before: &Stream, after: &Stream, vital: &[Vec<String>]) -> Vec<FieldChange> {
    let (old, new) = (fields(&before.json_schema), fields(&after.json_schema));
    let mut changes = Vec::new();
    for (path, schema) in &old {
        if !new.contains_key(path) {
            let breaking = vital.contains(path);
            changes.push(FieldChange {
                path: path.clone(),
                breaking,
                kind: FieldChangeKind::Removed { schema: (*schema).clone() },
            });
        }
    }
    for (path, schema) in &new {
        let kind = match old.get(path) {
            None => FieldChangeKind::Added { schema: (*schema).clone() },
            Some(before) if own_part(before) != own_part(schema) => {
                FieldChangeKind::Changed { old: (*before).clone(), new: (*schema).clone() }
            }
            Some(_) => continue,
        };
        changes.push(FieldChange { path: path.clone(), breaking: false, kind });
    }
    changes
}

/// A schema without the parts that are fields of their own.
fn own_part(schema: &Value) -> Vec<(&String, &Value)> {
    let members = schema.as_object();
    let mut own: Vec<_> =
        members.into_iter().flatten().filter(|(name, _)| *name != "properties" && *name != "items").collect();
    own.sort_by_key(|(name, _)| *name);
    own
}

fn fields(schema: &Value) -> IndexMap<Vec<String>, &Value> {
    let mut found = IndexMap::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(schema: &'a Value, path: &mut Vec<String>, found: &mut IndexMap<Vec<String>, &'a Value>) {
    let mut add = |name: &str, inner: &'a Value| {
        path.push(name.to_owned());
        found.insert(path.clone(), inner);
        collect(inner, path, found);
        path.pop();
    };
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        add(name, property);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        add("items", items);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(streams: Value) -> Catalog {
        serde_json::from_value(json!({ "streams": streams })).unwrap()
    }

    fn users(properties: Value) -> Value {
        json!({"name": "users", "json_schema": {"type": "object", "properties": properties}, "supported_sync_modes": ["full_refresh"]})
    }

    fn synced(old: &Catalog, mode: &str, destination: &str) -> SyncCatalog {
        let selection: StreamSelection = serde_json::from_value(json!({
            "sync_mode": mode, "destination_sync_mode": destination, "cursor_field": ["updated"], "primary_key": [["id"]]
        }))
        .unwrap();
        SyncCatalog { streams: old.streams.iter().map(|stream| (stream.clone(), selection.clone())).collect() }
    }

    /// What each change is, in short.
    fn short(changes: &[StreamChange]) -> Vec<String> {
        let mut lines = Vec::new();
        for change in changes {
            match change {
                StreamChange::Added(stream) => lines.push(format!("+{stream}")),
                StreamChange::Removed(stream) => lines.push(format!("-{stream}")),
                StreamChange::Updated(stream, fields) => {
                    for field in fields {
                        let sign = match field.kind {
                            FieldChangeKind::Added { .. } => '+',
                            FieldChangeKind::Removed { .. } => '-',
                            FieldChangeKind::Changed { .. } => '~',
                        };
                        let breaking = if field.breaking { "!" } else { "" };
                        lines.push(format!("{stream}{sign}{}{breaking}", field.path.join(".")));
                    }
                }
            }
        }
        lines
    }

    #[test]
    fn changes_are_found_and_weighed() {
        let full = json!({
            "id": {"type": "integer"}, "updated": {"type": "string"},
            "address": {"type": "object", "properties": {"city": {"type": "string"}}},
            "tags": {"type": "array", "items": {"type": "string"}}
        });
        let old = catalog(json!([users(full.clone())]));
        let cases = [
            (full.clone(), "incremental", "append_dedup", vec![]),
            (
                json!({"id": {"type": "integer"}, "updated": {"type": "string"}}),
                "incremental",
                "append_dedup",
                vec!["users-address", "users-address.city", "users-tags", "users-tags.items"],
            ),
            (
                json!({"id": {"type": "string"}, "updated": {"type": "string"}, "address": {"type": "object", "properties": {"zip": {}}},
                    "tags": {"type": "array", "items": {"type": "integer"}}}),
                "full_refresh",
                "overwrite",
                vec!["users-address.city", "users~id", "users+address.zip", "users~tags.items"],
            ),
        ];
        for (properties, mode, destination, expected) in cases {
            let new = catalog(json!([users(properties)]));
            let changes = diff(&old, &new, &synced(&old, mode, destination));
            assert_eq!(short(&changes), expected);
            assert!(!is_breaking(&changes));
        }
    }

    #[test]
    fn only_a_lost_cursor_or_key_breaks() {
        let old = catalog(json!([users(json!({"id": {}, "updated": {}, "name": {}}))]));
        let new = catalog(json!([users(json!({"name": {}}))]));
        let check = |mode: &str, destination: &str, expected: &[&str]| {
            assert_eq!(short(&diff(&old, &new, &synced(&old, mode, destination))), expected, "{mode} {destination}");
        };
        check("full_refresh", "append", &["users-id", "users-updated"]);
        check("incremental", "append", &["users-id", "users-updated!"]);
        check("full_refresh", "append_dedup", &["users-id!", "users-updated"]);
        check("incremental", "append_dedup", &["users-id!", "users-updated!"]);
    }

    #[test]
    fn streams_come_and_go_without_breaking() {
        let old = catalog(json!([users(json!({"id": {}}))]));
        let new = catalog(json!([{"name": "users", "namespace": "b", "json_schema": {}, "supported_sync_modes": []}]));
        let changes = diff(&old, &new, &synced(&old, "incremental", "append_dedup"));
        assert_eq!(short(&changes), ["-users", "+b.users"]);
        assert!(!is_breaking(&changes));
        // A stream that the connection does not sync: its fields are nobody's business.
        let other = catalog(json!([users(json!({}))]));
        assert!(diff(&old, &other, &SyncCatalog::default()).is_empty());
    }
}
