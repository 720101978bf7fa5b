//! Streams as the destination sees them, and the projection that keeps undeclared fields out of it.

use std::{collections::HashSet, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use connector::{Error, Result, Target};
use protocol::{ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, StreamDescriptor, schema};

/// One target per stream, in the order of the catalog; `tables` are the names in the destination.
pub(crate) fn targets(catalog: &ConfiguredCatalog, tables: &[StreamDescriptor]) -> Result<Vec<Target>> {
    if catalog.streams.len() != tables.len() {
        return Err(Error::system("The attempt names another number of tables than of streams"));
    }
    catalog.streams.iter().zip(tables).map(|(configured, table)| target(configured, table)).collect()
}

fn target(configured: &ConfiguredStream, table: &StreamDescriptor) -> Result<Target> {
    let stream = configured.stream.descriptor.clone();
    let merges = matches!(
        configured.destination_sync_mode,
        DestinationSyncMode::AppendDedup | DestinationSyncMode::OverwriteDedup
    );
    let mut primary_key = Vec::new();
    if merges {
        for path in configured.key() {
            match path.as_slice() {
                [field] => primary_key.push(field.clone()),
                _ => {
                    return Err(Error::config(format!(
                        "Stream `{stream}`: the key field `{}` is nested",
                        path.join(".")
                    ))
                    .with_hint("Choose top-level fields as the primary key"));
                }
            }
        }
        if primary_key.is_empty() {
            return Err(Error::config(format!("Stream `{stream}` is deduplicated, but has no primary key"))
                .with_hint("Set a primary key for the stream, or choose append"));
        }
    }
    let cursor = match configured.cursor() {
        [field] => Some(field.clone()),
        _ => None,
    };
    Ok(Target {
        stream,
        table: table.clone(),
        columns: schema::columns(&configured.stream.json_schema),
        sync_mode: configured.sync_mode,
        mode: configured.destination_sync_mode,
        primary_key,
        cursor,
        generation: configured.generation_id.unwrap_or_default(),
    })
}

/// Cuts rows to the columns of the stream's schema.
pub(crate) struct Projection {
    columns: HashSet<String>,
    /// The schema of the last batch, and the columns to keep of it (`None` = all).
    last: Option<(SchemaRef, Option<Vec<usize>>)>,
}

impl Projection {
    pub fn new(target: &Target) -> Self {
        Self { columns: target.columns.iter().map(|(name, _)| name.clone()).collect(), last: None }
    }

    /// The rows without undeclared columns, or `None` if they are all declared.
    pub fn apply(&mut self, rows: &RecordBatch) -> Result<Option<RecordBatch>> {
        let schema = rows.schema_ref();
        if self.last.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, schema)) {
            self.last = Some((schema.clone(), self.kept(schema)));
        }
        let Some((_, Some(kept))) = &self.last else { return Ok(None) };
        let cut = rows.project(kept);
        cut.map(Some).map_err(|error| Error::system("Rows could not be cut to the selected fields").with_source(error))
    }

    fn kept(&self, schema: &Schema) -> Option<Vec<usize>> {
        let fields = schema.fields();
        let kept: Vec<usize> = (0..fields.len()).filter(|index| self.columns.contains(fields[*index].name())).collect();
        (kept.len() < fields.len()).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use connector::ErrorKind;
    use serde_json::json;

    use super::*;

    fn configured(mode: &str, key: serde_json::Value) -> ConfiguredStream {
        let stream = json!({
            "stream": {"name": "orders", "json_schema": {"properties": {"id": {"type": "integer"}}}},
            "sync_mode": "incremental", "destination_sync_mode": mode, "primary_key": key,
        });
        serde_json::from_value(stream).unwrap()
    }

    #[test]
    fn a_deduplicated_stream_needs_a_top_level_key() {
        let table = StreamDescriptor::new(None, "orders");
        let cases = [
            (configured("append_dedup", json!([])), Some("no primary key")),
            (configured("append_dedup", json!([["a", "b"]])), Some("`a.b` is nested")),
            (configured("append_dedup", json!([["id"]])), None),
            (configured("append", json!([])), None),
        ];
        for (stream, expected) in cases {
            match (target(&stream, &table), expected) {
                (Err(error), Some(text)) => {
                    assert_eq!(error.kind, ErrorKind::Config);
                    assert!(error.message.contains(text), "{error}");
                }
                (Ok(_), None) => {}
                (other, _) => panic!("{other:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn undeclared_columns_are_cut() {
        let target = target(&configured("append", json!([])), &StreamDescriptor::new(None, "orders")).unwrap();
        let mut projection = Projection::new(&target);
        let id = Arc::new(Int64Array::from(vec![1, 2])) as _;
        let secret = Arc::new(StringArray::from(vec!["a", "b"])) as _;
        let both = RecordBatch::try_from_iter([("secret", secret), ("id", Arc::clone(&id))]).unwrap();
        for _ in 0..2 {
            let cut = projection.apply(&both).unwrap().unwrap();
            assert_eq!(cut, RecordBatch::try_from_iter([("id", Arc::clone(&id))]).unwrap());
        }
        assert!(projection.apply(&RecordBatch::try_from_iter([("id", id)]).unwrap()).unwrap().is_none());
    }
}
