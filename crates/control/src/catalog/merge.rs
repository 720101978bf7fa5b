//! What a connection syncs, laid over what its source offers: the view from which a catalog is edited.

use std::collections::HashSet;

use indexmap::IndexMap;
use protocol::{Catalog, Stream, StreamDescriptor};
use serde_json::Value;

use super::{StreamSelection, SyncCatalog};

/// A stream of the source, and how it is synced; `None` = it is not.
pub type Offered = (Stream, Option<StreamSelection>);

/// All streams of `discovered`, the catalog that the connection was set up from, and those that are synced although it
/// does not have them. A synced stream shows as it is stored.
pub fn with_offered(configured: SyncCatalog, discovered: Catalog) -> Vec<Offered> {
    let mut synced = by_name(configured);
    let mut offered = Vec::with_capacity(discovered.streams.len());
    for stream in discovered.streams {
        match synced.shift_remove(&stream.descriptor) {
            Some((own, selection)) => offered.push((own, Some(selection))),
            None => offered.push((stream, None)),
        }
    }
    offered.extend(synced.into_values().map(|(own, selection)| (own, Some(selection))));
    offered
}

/// All streams of `fresh`, what the source offers now, each synced as before. A stream with a selection of fields gets its
/// new fields selected and loses those that are gone.
pub fn with_fresh(configured: SyncCatalog, fresh: Catalog) -> Vec<Offered> {
    let mut synced = by_name(configured);
    let mut offered = Vec::with_capacity(fresh.streams.len());
    for stream in fresh.streams {
        let selection = synced.shift_remove(&stream.descriptor).map(|(own, mut selection)| {
            selection.fields = selection.fields.map(|selected| reselected(&own, &stream, &selected));
            selection
        });
        offered.push((stream, selection));
    }
    offered
}

fn by_name(configured: SyncCatalog) -> IndexMap<StreamDescriptor, (Stream, StreamSelection)> {
    configured.streams.into_iter().map(|(stream, selection)| (stream.descriptor.clone(), (stream, selection))).collect()
}

fn reselected(own: &Stream, fresh: &Stream, selected: &[String]) -> Vec<String> {
    let known: HashSet<&str> = fields(own).collect();
    let was_selected: HashSet<&str> = selected.iter().map(String::as_str).collect();
    fields(fresh).filter(|name| was_selected.contains(name) || !known.contains(name)).map(str::to_owned).collect()
}

fn fields(stream: &Stream) -> impl Iterator<Item = &str> {
    let properties = stream.json_schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(streams: &[(&str, Value)]) -> Catalog {
        let streams: Vec<Value> =
            streams.iter().map(|(name, fields)| json!({"name": name, "json_schema": {"properties": fields}})).collect();
        serde_json::from_value(json!({ "streams": streams })).unwrap()
    }

    fn synced(catalog: Catalog, fields: Option<&[&str]>) -> SyncCatalog {
        let mut selection: StreamSelection =
            serde_json::from_value(json!({"sync_mode": "full_refresh", "destination_sync_mode": "append"})).unwrap();
        selection.fields = fields.map(|fields| fields.iter().map(|name| (*name).to_owned()).collect());
        SyncCatalog { streams: catalog.streams.into_iter().map(|stream| (stream, selection.clone())).collect() }
    }

    fn short(offered: &[Offered]) -> Vec<(&str, bool)> {
        offered.iter().map(|(stream, selection)| (stream.descriptor.name.as_str(), selection.is_some())).collect()
    }

    #[test]
    fn all_offered_streams_are_shown() {
        let own = synced(catalog(&[("users", json!({"id": {}})), ("gone", json!({}))]), None);
        let discovered = catalog(&[("orders", json!({})), ("users", json!({"id": {}, "new": {}}))]);
        let offered = with_offered(own.clone(), discovered.clone());
        assert_eq!(short(&offered), [("orders", false), ("users", true), ("gone", true)]);
        assert_eq!(offered[1].0.json_schema, json!({"properties": {"id": {}}}));
        let offered = with_fresh(own, discovered);
        assert_eq!(short(&offered), [("orders", false), ("users", true)]);
        assert_eq!(offered[1].0.json_schema, json!({"properties": {"id": {}, "new": {}}}));
    }

    #[test]
    fn new_fields_are_selected_and_lost_ones_are_not() {
        let own =
            synced(catalog(&[("users", json!({"id": {}, "a": {}, "b": {}, "lost": {}}))]), Some(&["id", "a", "lost"]));
        let fresh = catalog(&[("users", json!({"new": {}, "id": {}, "a": {}, "b": {}}))]);
        let offered = with_fresh(own, fresh);
        assert_eq!(offered[0].1.as_ref().unwrap().fields.as_deref().unwrap(), ["new", "id", "a"]);
    }
}
