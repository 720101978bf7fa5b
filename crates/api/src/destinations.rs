//! Destinations over HTTP: their life and their check. The rules are in [`control::actors`]; `sources` is its twin.

use axum::{extract::State, http::StatusCode};
use control::{actors::Actor, connections::search::ActorSearch, discovery::Unsaved, runner::ActorKind::Destination};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body, Configuration, Name},
    ids::{DestinationIdRequestBody, WorkspaceIdRequestBody},
    sources::{name_of, searched_configuration},
    synchronous::{CheckConnectionRead, ConfigType},
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/destinations/create", create)
        .post("/destinations/get", get)
        .post("/destinations/list", list)
        .post("/destinations/search", search)
        .post("/destinations/update", update)
        .post("/destinations/delete", delete)
        .post("/destinations/check_connection", check)
        .post("/destinations/check_connection_for_update", check_for_update)
        .post("/scheduler/destinations/check_connection", check_unsaved)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRead {
    destination_definition_id: Uuid,
    destination_id: Uuid,
    workspace_id: Uuid,
    connection_configuration: Value,
    name: String,
    destination_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
}

impl From<Actor> for DestinationRead {
    fn from(actor: Actor) -> Self {
        Self {
            destination_definition_id: actor.definition_id,
            destination_id: actor.id,
            workspace_id: actor.workspace_id,
            connection_configuration: actor.configuration,
            name: actor.name,
            destination_name: actor.definition_name,
            icon: actor.icon,
        }
    }
}

#[derive(Serialize)]
struct DestinationReadList {
    destinations: Vec<DestinationRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationCreate {
    destination_definition_id: Uuid,
    connection_configuration: Configuration,
    workspace_id: Uuid,
    name: Option<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationUpdate {
    destination_id: Uuid,
    connection_configuration: Configuration,
    name: Name,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationSearch {
    destination_definition_id: Option<Uuid>,
    destination_id: Option<Uuid>,
    workspace_id: Option<Uuid>,
    connection_configuration: Option<Value>,
    name: Option<Name>,
    destination_name: Option<Name>,
}

impl From<DestinationSearch> for ActorSearch {
    fn from(search: DestinationSearch) -> Self {
        Self {
            id: search.destination_id,
            definition_id: search.destination_definition_id,
            workspace_id: search.workspace_id,
            name: search.name.map(Into::into),
            definition_name: search.destination_name.map(Into::into),
            configuration: search.connection_configuration.map(searched_configuration),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationCoreConfig {
    destination_id: Option<Uuid>,
    destination_definition_id: Uuid,
    connection_configuration: Configuration,
    workspace_id: Uuid,
}

impl From<DestinationCoreConfig> for Unsaved {
    fn from(body: DestinationCoreConfig) -> Self {
        Self {
            kind: Destination,
            workspace_id: body.workspace_id,
            definition_id: body.destination_definition_id,
            actor_id: body.destination_id,
            config: body.connection_configuration.0,
        }
    }
}

async fn create(
    State(app): State<AppState>,
    Body(body): Body<DestinationCreate>,
) -> ApiResult<Answer<DestinationRead>> {
    let config = body.connection_configuration.0;
    let name = name_of(body.name.as_ref());
    let created =
        app.control.create_actor(Destination, body.workspace_id, body.destination_definition_id, name, config).await?;
    Ok(Answer(created.into()))
}

async fn get(
    State(app): State<AppState>,
    Body(body): Body<DestinationIdRequestBody>,
) -> ApiResult<Answer<DestinationRead>> {
    Ok(Answer(app.control.actor(Destination, body.destination_id).await?.into()))
}

async fn list(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceIdRequestBody>,
) -> ApiResult<Answer<DestinationReadList>> {
    let destinations = app.control.actors(Destination, Some(body.workspace_id)).await?;
    Ok(Answer(DestinationReadList { destinations: destinations.into_iter().map(Into::into).collect() }))
}

async fn search(
    State(app): State<AppState>,
    Body(body): Body<DestinationSearch>,
) -> ApiResult<Answer<DestinationReadList>> {
    let destinations = app.control.search_actors(Destination, &body.into()).await?;
    Ok(Answer(DestinationReadList { destinations: destinations.into_iter().map(Into::into).collect() }))
}

async fn update(
    State(app): State<AppState>,
    Body(body): Body<DestinationUpdate>,
) -> ApiResult<Answer<DestinationRead>> {
    let config = body.connection_configuration.0;
    Ok(Answer(app.control.update_actor(Destination, body.destination_id, body.name.as_str(), config).await?.into()))
}

async fn delete(State(app): State<AppState>, Body(body): Body<DestinationIdRequestBody>) -> ApiResult<StatusCode> {
    app.control.delete_actor(Destination, body.destination_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check(
    State(app): State<AppState>,
    Body(body): Body<DestinationIdRequestBody>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_actor(Destination, body.destination_id).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionDestination)))
}

async fn check_for_update(
    State(app): State<AppState>,
    Body(body): Body<DestinationUpdate>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_update(Destination, body.destination_id, body.connection_configuration.0).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionDestination)))
}

async fn check_unsaved(
    State(app): State<AppState>,
    Body(body): Body<DestinationCoreConfig>,
) -> ApiResult<Answer<CheckConnectionRead>> {
    let check = app.control.check_unsaved(body.into()).await?;
    Ok(Answer(CheckConnectionRead::of(check, ConfigType::CheckConnectionDestination)))
}
