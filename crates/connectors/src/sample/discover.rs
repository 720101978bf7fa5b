//! The catalog of the sample source.

use protocol::{Catalog, Stream, StreamDescriptor, SyncMode};
use serde_json::{Map, Value, json};

use super::rows::{TABLES, Table};

pub fn catalog() -> Catalog {
    Catalog { streams: TABLES.iter().map(stream).collect(), extra: Map::new() }
}

fn stream(table: &Table) -> Stream {
    let properties: Map<String, Value> =
        table.columns.iter().map(|column| (column.name.to_owned(), (column.schema)())).collect();
    Stream {
        descriptor: StreamDescriptor::new(None, table.name),
        json_schema: json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "properties": properties,
        }),
        supported_sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
        source_defined_cursor: Some(true),
        default_cursor_field: vec!["updated_at".to_owned()],
        source_defined_primary_key: vec![vec!["id".to_owned()]],
        is_resumable: Some(true),
        is_file_based: None,
        extra: Map::new(),
    }
}
