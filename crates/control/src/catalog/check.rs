//! From what a client sent to what a connection keeps. Start with [`check`].
//!
//! Clients lose parts of a catalog on its way through them: the oldest one drops every schema it reads. So what an entry
//! does not say is taken from what is known of that stream: the catalog the client refers to, the one that is replaced,
//! the source's latest one.

use std::collections::HashMap;

use protocol::{Catalog, Stream, StreamDescriptor};

use super::{
    RequestedCatalog, RequestedConfig, RequestedEntry, StreamSelection, SyncCatalog,
    fields::{require_cursor_and_key, select, violation},
};
use crate::{Error, Result, Violation, runner::Naming};

/// More streams than any source has: a bound on what one request can make us check.
const MAX_STREAMS: usize = 100_000;

/// Keeps the selected streams. `path` is where the catalog lies in the request (`syncCatalog`); `known` is searched in
/// order for what an entry leaves out.
pub fn check(requested: RequestedCatalog, path: &str, known: &[&Catalog], naming: &Naming) -> Result<SyncCatalog> {
    if requested.streams.len() > MAX_STREAMS {
        return Err(Error::invalid(format!("{path}.streams"), format!("A catalog has at most {MAX_STREAMS} streams")));
    }
    let known = Known::new(known);
    let mut wrong = Vec::new();
    let mut catalog = SyncCatalog::default();
    let mut places = Vec::new();
    for (index, entry) in requested.streams.into_iter().enumerate() {
        let place = format!("{path}.streams[{index}]");
        let RequestedEntry { stream, config } = entry;
        if config.selected == Some(false) {
            continue;
        }
        if let Some(entry) = check_entry(stream, config, &place, &known, &mut wrong) {
            catalog.streams.push(entry);
            places.push(place);
        }
    }
    let descriptors: Vec<&StreamDescriptor> = catalog.streams.iter().map(|(stream, _)| &stream.descriptor).collect();
    for collision in collisions(&descriptors, naming) {
        wrong.push(violation(format!("{}.stream.name", places[collision.second]), collision.message));
    }
    if !wrong.is_empty() {
        return Err(Error::violations(wrong).with_code("invalid_catalog"));
    }
    Ok(catalog)
}

/// The same check for a catalog that stays while the names change: `Some` says what would collide.
pub fn collision(descriptors: &[StreamDescriptor], naming: &Naming) -> Option<String> {
    let descriptors: Vec<&StreamDescriptor> = descriptors.iter().collect();
    collisions(&descriptors, naming).into_iter().next().map(|collision| collision.message)
}

struct Collision {
    /// Index of the later of the two streams.
    second: usize,
    message: String,
}

fn collisions(descriptors: &[&StreamDescriptor], naming: &Naming) -> Vec<Collision> {
    let mut tables: HashMap<StreamDescriptor, usize> = HashMap::with_capacity(descriptors.len());
    let mut found = Vec::new();
    for (index, descriptor) in descriptors.iter().copied().enumerate() {
        let table = naming.map(descriptor);
        let Some(first) = tables.get(&table).map(|first| descriptors[*first]) else {
            tables.insert(table, index);
            continue;
        };
        let message = if first == descriptor {
            format!("Stream {descriptor} is listed twice")
        } else {
            format!(
                "Streams {first} and {descriptor} would be written to one table, {table}: choose another namespace rule"
            )
        };
        found.push(Collision { second: index, message });
    }
    found
}

/// What is known of a stream from elsewhere, found by name.
struct Known<'a>(Vec<HashMap<&'a StreamDescriptor, &'a Stream>>);

impl<'a> Known<'a> {
    fn new(catalogs: &[&'a Catalog]) -> Self {
        let index = |catalog: &&'a Catalog| catalog.streams.iter().map(|stream| (&stream.descriptor, stream)).collect();
        Self(catalogs.iter().map(index).collect())
    }

    fn find(&self, descriptor: &StreamDescriptor) -> Option<&'a Stream> {
        self.0.iter().find_map(|catalog| catalog.get(descriptor).copied())
    }
}

fn check_entry(
    requested: Stream,
    config: RequestedConfig,
    place: &str,
    known: &Known<'_>,
    wrong: &mut Vec<Violation>,
) -> Option<(Stream, StreamSelection)> {
    let before = wrong.len();
    let stream = check_stream(requested, &format!("{place}.stream"), known, wrong)?;
    let path = format!("{place}.config");
    let cursor_field = config.cursor_field.clone().unwrap_or_default();
    let primary_key = config.primary_key.clone().unwrap_or_default();
    if primary_key.iter().any(Vec::is_empty) {
        wrong.push(violation(
            format!("{path}.primaryKey"),
            "A part of the key must name a field: an empty path does not",
        ));
    }
    let mut fields = None;
    if config.field_selection_enabled == Some(true) {
        let selected = select(&stream, &config, &path, wrong);
        if wrong.len() > before {
            return None;
        }
        fields = Some(selected);
    }
    let selection = StreamSelection {
        sync_mode: config.sync_mode,
        destination_sync_mode: config.destination_sync_mode,
        cursor_field,
        primary_key,
        fields,
    };
    require_cursor_and_key(&stream, &selection, &path, wrong);
    Some((stream, selection))
}

fn check_stream(mut stream: Stream, path: &str, known: &Known<'_>, wrong: &mut Vec<Violation>) -> Option<Stream> {
    if stream.descriptor.name.is_empty() {
        wrong.push(violation(format!("{path}.name"), "A stream needs a name"));
        return None;
    }
    if let Some(same) = known.find(&stream.descriptor) {
        complete(&mut stream, same);
    }
    if stream.json_schema.is_null() {
        let message = format!(
            "Stream {} comes without jsonSchema, and neither sourceCatalogId nor the connection nor the latest discovery \
             of its source knows it: send its schema, or discover the source first",
            stream.descriptor
        );
        wrong.push(violation(format!("{path}.jsonSchema"), message));
        return None;
    }
    Some(stream)
}

/// Some facts have no property in the API of 2023 (`is_resumable`), others are dropped where they are empty.
fn complete(stream: &mut Stream, known: &Stream) {
    if stream.json_schema.is_null() {
        stream.json_schema.clone_from(&known.json_schema);
    }
    if stream.supported_sync_modes.is_empty() {
        stream.supported_sync_modes.clone_from(&known.supported_sync_modes);
    }
    if stream.default_cursor_field.is_empty() {
        stream.default_cursor_field.clone_from(&known.default_cursor_field);
    }
    if stream.source_defined_primary_key.is_empty() {
        stream.source_defined_primary_key.clone_from(&known.source_defined_primary_key);
    }
    stream.source_defined_cursor = stream.source_defined_cursor.or(known.source_defined_cursor);
    stream.is_resumable = known.is_resumable;
    stream.is_file_based = known.is_file_based;
    stream.extra.clone_from(&known.extra);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use protocol::{DestinationSyncMode, SyncMode};
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::runner::NamespaceRule;

    fn naming(namespace: NamespaceRule) -> Naming {
        Naming { namespace, prefix: String::new() }
    }

    fn schema() -> Value {
        json!({"type": "object", "properties": {"id": {"type": "integer"}, "at": {"type": "string"}, "note": {"type": "string"}}})
    }

    fn entry(namespace: Option<&str>, name: &str) -> RequestedEntry {
        let stream = Stream {
            descriptor: StreamDescriptor::new(namespace, name),
            json_schema: schema(),
            supported_sync_modes: Vec::new(),
            source_defined_cursor: None,
            default_cursor_field: Vec::new(),
            source_defined_primary_key: Vec::new(),
            is_resumable: None,
            is_file_based: None,
            extra: Map::new(),
        };
        let config = RequestedConfig {
            sync_mode: SyncMode::FullRefresh,
            destination_sync_mode: DestinationSyncMode::Append,
            cursor_field: None,
            primary_key: None,
            selected: None,
            field_selection_enabled: None,
            selected_fields: None,
        };
        RequestedEntry { stream, config }
    }

    fn known(name: &str, schema: Value) -> Catalog {
        let stream =
            json!({"name": name, "json_schema": schema, "is_resumable": true, "supported_sync_modes": ["incremental"]});
        serde_json::from_value(json!({"streams": [stream]})).unwrap()
    }

    fn paths(streams: Vec<RequestedEntry>, naming: &Naming) -> Vec<String> {
        match check(RequestedCatalog { streams }, "syncCatalog", &[], naming) {
            Ok(_) => Vec::new(),
            Err(error) => error.violations.into_iter().map(|violation| violation.property_path).collect(),
        }
    }

    #[test]
    fn what_is_wrong_is_named_field_by_field() {
        let check = |change: &dyn Fn(&mut RequestedEntry), expected: &[&str]| {
            let mut changed = entry(None, "users");
            change(&mut changed);
            assert_eq!(paths(vec![entry(None, "other"), changed], &naming(NamespaceRule::Source)), expected);
        };
        fn config(entry: &mut RequestedEntry) -> &mut RequestedConfig {
            &mut entry.config
        }
        fn select(entry: &mut RequestedEntry, fields: &[&[&str]]) {
            config(entry).field_selection_enabled = Some(true);
            let path = |path: &&[&str]| path.iter().map(|part| (*part).to_owned()).collect();
            config(entry).selected_fields = Some(fields.iter().map(path).collect());
        }
        const ENTRY: &str = "syncCatalog.streams[1]";
        let at = |suffix: &str| format!("{ENTRY}.{suffix}");
        check(&|_| {}, &[]);
        check(&|e| e.stream.descriptor.name.clear(), &[&at("stream.name")]);
        check(&|e| e.stream.json_schema = Value::Null, &[&at("stream.jsonSchema")]);
        check(&|e| config(e).primary_key = Some(vec![vec![]]), &[&at("config.primaryKey")]);
        // Field selection.
        check(&|e| config(e).field_selection_enabled = Some(true), &[&at("config.selectedFields")]);
        check(&|e| select(e, &[]), &[&at("config.selectedFields")]);
        check(&|e| select(e, &[&[]]), &[&at("config.selectedFields[0].fieldPath")]);
        check(&|e| select(e, &[&["id"], &["id", "x"]]), &[&at("config.selectedFields[1].fieldPath")]);
        check(&|e| select(e, &[&["nope"]]), &[&at("config.selectedFields[0].fieldPath")]);
        check(&|e| select(e, &[&["id"]]), &[]);
        check(
            &|e| {
                select(e, &[&["id"]]);
                e.stream.json_schema = json!({"type": "object"});
            },
            &[&at("config.fieldSelectionEnabled")],
        );
        check(
            &|e| {
                select(e, &[&["id"]]);
                config(e).sync_mode = SyncMode::Incremental;
                config(e).cursor_field = Some(vec!["at".to_owned()]);
            },
            &[&at("config.selectedFields")],
        );
        check(
            &|e| {
                select(e, &[&["at"]]);
                config(e).destination_sync_mode = DestinationSyncMode::AppendDedup;
                config(e).primary_key = Some(vec![vec!["id".to_owned()]]);
            },
            &[&at("config.selectedFields")],
        );
        // What is not selected is not looked at any further.
        check(
            &|e| {
                config(e).selected = Some(false);
                e.stream.json_schema = Value::Null;
            },
            &[],
        );
    }

    #[test]
    fn no_two_streams_share_a_table() {
        let twice = || vec![entry(Some("a"), "users"), entry(Some("b"), "users")];
        let second = ["syncCatalog.streams[1].stream.name"];
        assert!(paths(twice(), &naming(NamespaceRule::Source)).is_empty());
        assert_eq!(paths(twice(), &naming(NamespaceRule::Destination)), second);
        assert_eq!(paths(twice(), &naming(NamespaceRule::Custom("x".to_owned()))), second);
        assert!(paths(twice(), &naming(NamespaceRule::Custom("x_${SOURCE_NAMESPACE}".to_owned()))).is_empty());
        // A missing namespace and a blank one are the same.
        assert_eq!(paths(vec![entry(Some(""), "users"), entry(None, "users")], &naming(NamespaceRule::Source)), second);
    }

    #[test]
    fn a_lost_schema_comes_from_the_first_catalog_that_knows_it() {
        let mut entry = entry(None, "users");
        entry.stream.json_schema = Value::Null;
        let (none, first) = (known("other", json!({"x": 1})), known("users", json!({"x": 2})));
        let later = known("users", json!({"x": 3}));
        let requested = RequestedCatalog { streams: vec![entry] };
        let naming = naming(NamespaceRule::Source);
        let catalog = check(requested, "syncCatalog", &[&none, &first, &later], &naming).unwrap();
        let (stream, _) = &catalog.streams[0];
        assert_eq!(stream.json_schema, json!({"x": 2}));
        assert_eq!(stream.is_resumable, Some(true));
        assert_eq!(stream.supported_sync_modes, [SyncMode::Incremental]);
    }

    #[test]
    fn a_selection_keeps_the_whole_schema_and_cuts_it_for_the_run() {
        let mut entry = entry(Some("shop"), "users");
        let config = &mut entry.config;
        config.field_selection_enabled = Some(true);
        config.selected_fields = Some(vec![vec!["note".to_owned()], vec!["id".to_owned()], vec!["id".to_owned()]]);
        let mut with_required = schema();
        with_required["required"] = json!(["id", "at"]);
        entry.stream.json_schema = with_required.clone();
        let requested = RequestedCatalog { streams: vec![entry] };
        let catalog = check(requested, "syncCatalog", &[], &naming(NamespaceRule::Source)).unwrap();
        assert_eq!(catalog.streams[0].1.fields.as_deref(), Some(["id".to_owned(), "note".to_owned()].as_slice()));
        let (text, _) = catalog.stored().unwrap();
        assert_eq!(text.to::<Value>().unwrap()["streams"][0]["json_schema"], with_required);
        let run = catalog.configured();
        let expected = json!({
            "type": "object",
            "properties": {"id": {"type": "integer"}, "note": {"type": "string"}},
            "required": ["id"],
        });
        assert_eq!(run.streams[0].stream.json_schema, expected);
    }
}
