//! The catalog of a connection: which streams it syncs, and how.
//!
//! A client sends a [`RequestedCatalog`]; [`check::check`] turns it into a [`SyncCatalog`] or says what is wrong, field by
//! field. What is stored is the selected streams with their *whole* schemas, and the selection beside them: a field that
//! is left out today can be taken in tomorrow. [`configured`] cuts the schemas for a run.

pub mod check;
pub mod fields;
pub mod merge;

use protocol::{
    Catalog, ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, Json, Stream, StreamDescriptor, SyncMode,
};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use store::Tx;

use crate::{Error, ErrorKind, Result, connections::Connection};

/// A catalog as a client sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestedCatalog {
    pub streams: Vec<RequestedEntry>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RequestedEntry {
    /// A schema of `null` is one that got lost on the way and is looked up elsewhere.
    pub stream: Stream,
    pub config: RequestedConfig,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RequestedConfig {
    pub sync_mode: SyncMode,
    pub destination_sync_mode: DestinationSyncMode,
    pub cursor_field: Option<Vec<String>>,
    pub primary_key: Option<Vec<Vec<String>>>,
    /// Absent counts as selected.
    pub selected: Option<bool>,
    pub field_selection_enabled: Option<bool>,
    /// The `fieldPath` of each selected field.
    pub selected_fields: Option<Vec<Vec<String>>>,
}

/// How one stream of a connection is synced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSelection {
    pub sync_mode: SyncMode,
    pub destination_sync_mode: DestinationSyncMode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cursor_field: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<Vec<String>>,
    /// The selected top-level fields in the order of the schema; `None` = all, also those that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
}

/// The selected streams of a connection with their whole schemas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncCatalog {
    pub streams: Vec<(Stream, StreamSelection)>,
}

impl SyncCatalog {
    /// The catalog of a connection.
    pub async fn load(tx: &mut Tx, connection: &Connection) -> Result<Self> {
        let text = text(tx, connection).await?;
        let catalog: Catalog = text.to().map_err(|error| corrupt(connection).with_source(error))?;
        let selection: Vec<StreamSelection> =
            connection.selection.to().map_err(|error| corrupt(connection).with_source(error))?;
        if catalog.streams.len() != selection.len() {
            return Err(corrupt(connection));
        }
        Ok(Self { streams: catalog.streams.into_iter().zip(selection).collect() })
    }

    /// What is stored: the catalog of the selected streams, and the selection beside it.
    pub fn stored(&self) -> Result<(Json, Json)> {
        let streams: Vec<&Stream> = self.streams.iter().map(|(stream, _)| stream).collect();
        let selection: Vec<&StreamSelection> = self.streams.iter().map(|(_, selection)| selection).collect();
        let written = |error: serde_json::Error| {
            Error::new(ErrorKind::Internal, "unwritable_catalog", "The catalog cannot be written as JSON")
                .with_source(error)
        };
        let catalog = Json::from_value(&serde_json::json!({ "streams": streams })).map_err(written)?;
        Ok((catalog, Json::from_value(&selection).map_err(written)?))
    }

    /// The catalog of a run: each schema holds only its selected fields. Generations are the claim's business.
    pub fn configured(self) -> ConfiguredCatalog {
        let mut streams = Vec::with_capacity(self.streams.len());
        for (mut stream, selection) in self.streams {
            if let Some(selected) = &selection.fields {
                fields::cut(&mut stream.json_schema, selected);
            }
            streams.push(ConfiguredStream {
                stream,
                sync_mode: selection.sync_mode,
                destination_sync_mode: selection.destination_sync_mode,
                cursor_field: selection.cursor_field,
                primary_key: selection.primary_key,
                generation_id: None,
                minimum_generation_id: None,
                sync_id: None,
                extra: Map::new(),
            });
        }
        ConfiguredCatalog { streams, extra: Map::new() }
    }
}

/// The catalog of a run of `connection`, under source names.
pub async fn configured(tx: &mut Tx, connection: &Connection) -> Result<ConfiguredCatalog> {
    Ok(SyncCatalog::load(tx, connection).await?.configured())
}

/// The streams of `connection` in the order of its catalog, without reading their schemas.
pub async fn descriptors(tx: &mut Tx, connection: &Connection) -> Result<Vec<StreamDescriptor>> {
    #[derive(Deserialize)]
    struct Names {
        streams: Vec<StreamDescriptor>,
    }
    let text = text(tx, connection).await?;
    let names: Names = text.to().map_err(|error| corrupt(connection).with_source(error))?;
    Ok(names.streams)
}

/// The selected streams of `connection` with their whole schemas: a `protocol::Catalog` as text.
pub async fn text(tx: &mut Tx, connection: &Connection) -> Result<Json> {
    tx.catalog(connection.catalog_id).await?.ok_or_else(|| corrupt(connection))
}

pub(crate) fn corrupt(connection: &Connection) -> Error {
    let message = format!("The stored catalog of connection {} cannot be read", connection.id);
    Error::new(ErrorKind::Internal, "corrupt_catalog", message)
}
