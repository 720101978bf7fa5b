//! Sources over HTTP: their life, their check, their streams. The rules are in [`control::actors`] and
//! [`control::discovery`]; `destinations` is its twin.

use axum::{extract::State, http::StatusCode};
use control::{
    actors::Actor,
    connections::search::{ActorSearch, ConfigurationSearch},
    discovery::{DiscoverRequest, Unsaved},
    runner::ActorKind::Source,
};
use protocol::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body, Configuration, Name, spelled_object},
    ids::{SourceIdRequestBody, WorkspaceIdRequestBody},
    synchronous::{CheckConnectionRead, ConfigType, SourceDiscoverSchemaRead},
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/sources/create", create)
        .post("/sources/get", get)
        .post("/sources/list", list)
        .post("/sources/search", search)
        .post("/sources/update", update)
        .post("/sources/delete", delete)
        .post("/sources/check_connection", check)
        .post("/sources/check_connection_for_update", check_for_update)
        .post("/sources/discover_schema", discover)
        .post("/sources/most_recent_source_actor_catalog", most_recent_catalog)
        .post("/scheduler/sources/check_connection", check_unsaved)
        .post("/scheduler/sources/discover_schema", discover_unsaved)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRead {
    source_definition_id: Uuid,
    source_id: Uuid,
    workspace_id: Uuid,
    connection_configuration: Value,
    name: String,
    source_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
}

impl From<Actor> for SourceRead {
    fn from(actor: Actor) -> Self {
        Self {
            source_definition_id: actor.definition_id,
            source_id: actor.id,
            workspace_id: actor.workspace_id,
            connection_configuration: actor.configuration,
            name: actor.name,
            source_name: actor.definition_name,
            icon: actor.icon,
        }
    }
}

#[derive(Serialize)]
struct SourceReadList {
    sources: Vec<SourceRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceCreate {
    source_definition_id: Uuid,
    connection_configuration: Configuration,
    workspace_id: Uuid,
    name: Option<Name>,
}

/// Upstream calls what comes without a name so.
pub(crate) fn name_of(name: Option<&Name>) -> &str {
    name.map_or("default", Name::as_str)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceUpdate {
    source_id: Uuid,
    connection_configuration: Configuration,
    name: Name,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceSearch {
    source_definition_id: Option<Uuid>,
    source_id: Option<Uuid>,
    workspace_id: Option<Uuid>,
    connection_configuration: Option<Value>,
    name: Option<Name>,
    source_name: Option<Name>,
}

impl From<SourceSearch> for ActorSearch {
    fn from(search: SourceSearch) -> Self {
        Self {
            id: search.source_id,
            definition_id: search.source_definition_id,
            workspace_id: search.workspace_id,
            name: search.name.map(Into::into),
            definition_name: search.source_name.map(Into::into),
            configuration: search.connection_configuration.map(searched_configuration),
        }
    }
}

/// What is no object finds nothing; it is not refused.
pub(crate) fn searched_configuration(value: Value) -> ConfigurationSearch {
    spelled_object(value).map_or(ConfigurationSearch::Nothing, ConfigurationSearch::Members)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceCoreConfig {
    source_id: Option<Uuid>,
    source_definition_id: Uuid,
    connection_configuration: Configuration,
    workspace_id: Uuid,
}

impl From<SourceCoreConfig> for Unsaved {
    fn from(body: SourceCoreConfig) -> Self {
        Self {
            kind: Source,
            workspace_id: body.workspace_id,
            definition_id: body.source_definition_id,
            actor_id: body.source_id,
            config: body.connection_configuration.0,
        }
    }
}

/// `disable_cache` is spelled so. `notifySchemaChange` is accepted; there is nobody to notify yet.
#[derive(Deserialize)]
struct SourceDiscoverSchemaRequestBody {
    #[serde(rename = "sourceId")]
    source_id: Uuid,
    #[serde(rename = "connectionId")]
    connection_id: Option<Uuid>,
    disable_cache: Option<bool>,
}

/// The catalog is the source's own, as it came.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActorCatalogWithUpdatedAt {
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Json>,
}

async fn create(State(app): State<AppState>, Body(body): Body<SourceCreate>) -> ApiResult<Answer<SourceRead>> {
    let config = body.connection_configuration.0;
    let name = name_of(body.name.as_ref());
    let created = app.control.create_actor(Source, body.workspace_id, body.source_definition_id, name, config).await?;
    Ok(Answer(created.into()))
}

async fn get(State(app): State<AppState>, Body(body): Body<SourceIdRequestBody>) -> ApiResult<Answer<SourceRead>> {
    Ok(Answer(app.control.actor(Source, body.source_id).await?.into()))
}

async fn list(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceIdRequestBody>,
) -> ApiResult<Answer<SourceReadList>> {
    let sources = app.control.actors(Source, Some(body.workspace_id)).await?;
    Ok(Answer(SourceReadList { sources: sources.into_iter().map(Into::into).collect() }))
}

async fn search(State(app): State<AppState>, Body(body): Body<SourceSearch>) -> ApiResult<Answer<SourceReadList>> {
    let sources = app.control.search_actors(Source, &body.into()).await?;
    Ok(Answer(SourceReadList { sources: sources.into_iter().map(Into::into).collect() }))
}

async fn update(State(app): State<AppState>, Body(body): Body<SourceUpdate>) -> ApiResult<Answer<SourceRead>> {
    let config = body.connection_configuration.0;
    Ok(Answer(app.control.update_actor(Source, body.source_id, body.name.as_str(), config).await?.into()))
}

async fn delete(State(app): State<AppState>, Body(body): Body<SourceIdRequestBody>) -> ApiResult<StatusCode> {
    app.control.delete_actor(Source, body.source_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check(
    State(app): State<AppState>,
    Body(body): Body<SourceIdRequestBody>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_actor(Source, body.source_id).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionSource)))
}

async fn check_for_update(
    State(app): State<AppState>,
    Body(body): Body<SourceUpdate>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_update(Source, body.source_id, body.connection_configuration.0).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionSource)))
}

async fn check_unsaved(
    State(app): State<AppState>,
    Body(body): Body<SourceCoreConfig>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_unsaved(body.into()).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionSource)))
}

async fn discover(
    State(app): State<AppState>,
    Body(body): Body<SourceDiscoverSchemaRequestBody>,
) -> ApiResult<Answer<SourceDiscoverSchemaRead>> {
    let request = DiscoverRequest {
        source_id: body.source_id,
        connection_id: body.connection_id,
        disable_cache: body.disable_cache.unwrap_or(false),
    };
    Ok(Answer(app.control.discover(request).await?.into()))
}

async fn discover_unsaved(
    State(app): State<AppState>,
    Body(body): Body<SourceCoreConfig>,
) -> ApiResult<Answer<SourceDiscoverSchemaRead>> {
    Ok(Answer(app.control.discover_unsaved(body.into()).await?.into()))
}

async fn most_recent_catalog(
    State(app): State<AppState>,
    Body(body): Body<SourceIdRequestBody>,
) -> ApiResult<Answer<ActorCatalogWithUpdatedAt>> {
    let latest = app.control.latest_catalog(body.source_id).await?;
    let (updated_at, catalog) = latest.map(|latest| (latest.fetched_ms / 1000, latest.catalog)).unzip();
    Ok(Answer(ActorCatalogWithUpdatedAt { updated_at, catalog }))
}
