//! `web_backend/connections/get`: one connection with everything that a page about it shows.

use axum::extract::State;
use control::connections::{Overview, SchemaChange};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body},
    catalog::{AirbyteCatalog, AirbyteStreamAndConfiguration, discovered_stream},
    connections::wire::{ConnectionRead, configuration},
    destinations::DestinationRead,
    operations::OperationRead,
    sources::SourceRead,
    synchronous::CatalogDiff,
};

pub fn routes() -> Routes {
    Routes::new().post("/web_backend/connections/get", get)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebBackendConnectionRequestBody {
    connection_id: Uuid,
    with_refreshed_catalog: Option<bool>,
}

/// Here `syncCatalog` lists all streams of the source, those that are not synced with `selected` false.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebBackendConnectionRead {
    #[serde(flatten)]
    connection: ConnectionRead<AirbyteCatalog>,
    source: SourceRead,
    destination: DestinationRead,
    operations: Vec<OperationRead>,
    /// Epoch seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_sync_job_created_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_sync_job_status: Option<control::jobs::JobStatus>,
    is_syncing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog_diff: Option<CatalogDiff>,
    schema_change: &'static str,
}

impl From<Overview> for WebBackendConnectionRead {
    fn from(overview: Overview) -> Self {
        let mut streams = Vec::with_capacity(overview.streams.len());
        for (stream, selection) in &overview.streams {
            let mut entry = discovered_stream(stream);
            match selection {
                Some(selection) => {
                    let config = configuration(&stream.descriptor.name, selection.clone());
                    entry = AirbyteStreamAndConfiguration { stream: entry.stream, config };
                }
                None => {
                    entry.config.selected = Some(false);
                    entry.config.suggested = None;
                }
            }
            streams.push(entry);
        }
        Self {
            connection: ConnectionRead::with_catalog(overview.connection, AirbyteCatalog { streams }),
            source: overview.source.into(),
            destination: overview.destination.into(),
            operations: overview.operations.into_iter().map(Into::into).collect(),
            latest_sync_job_created_at: overview.latest_sync.as_ref().map(|job| job.created_ms.div_euclid(1000)),
            latest_sync_job_status: overview.latest_sync.map(|job| job.status),
            is_syncing: overview.is_syncing,
            catalog_id: overview.catalog_id,
            catalog_diff: overview.changes.map(Into::into),
            schema_change: match overview.schema_change {
                SchemaChange::NoChange => "no_change",
                SchemaChange::NonBreaking => "non_breaking",
                SchemaChange::Breaking => "breaking",
            },
        }
    }
}

async fn get(
    State(state): State<AppState>,
    Body(body): Body<WebBackendConnectionRequestBody>,
) -> ApiResult<Answer<WebBackendConnectionRead>> {
    let refresh = body.with_refreshed_catalog.unwrap_or(false);
    let overview = state.control.overview(body.connection_id, refresh).await?;
    Ok(Answer(overview.into()))
}
