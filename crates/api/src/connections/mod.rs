//! Connections: create, get, list, list_all, search, update, delete. Sync and reset are in `jobs`.
//!
//! [`wire`] holds what goes over the wire, [`listing`] writes long lists piece by piece.

mod listing;
pub mod wire;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use control::connections::Search;

use self::wire::{ConnectionCreate, ConnectionRead, ConnectionSearch, ConnectionUpdate};
use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body},
    ids::{ConnectionIdRequestBody, WorkspaceIdRequestBody},
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/connections/create", create)
        .post("/connections/update", update)
        .post("/connections/get", get)
        .post("/connections/list", list)
        .post("/connections/list_all", list_all)
        .post("/connections/search", search)
        .post("/connections/delete", delete)
}

async fn create(
    State(state): State<AppState>,
    Body(body): Body<ConnectionCreate>,
) -> ApiResult<Answer<ConnectionRead>> {
    let connection = state.control.create_connection(body.into()).await?;
    let catalog = state.control.catalog_text(&connection).await?;
    Ok(Answer(ConnectionRead::of(connection, &catalog)?))
}

async fn update(
    State(state): State<AppState>,
    Body(body): Body<ConnectionUpdate>,
) -> ApiResult<Answer<ConnectionRead>> {
    let (id, patch) = body.into_patch();
    let connection = state.control.update_connection(id, patch).await?;
    let catalog = state.control.catalog_text(&connection).await?;
    Ok(Answer(ConnectionRead::of(connection, &catalog)?))
}

async fn get(
    State(state): State<AppState>,
    Body(body): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<ConnectionRead>> {
    let (connection, catalog) = state.control.connection(body.connection_id).await?;
    Ok(Answer(ConnectionRead::of(connection, &catalog)?))
}

async fn list(State(state): State<AppState>, Body(body): Body<WorkspaceIdRequestBody>) -> ApiResult<Response> {
    let connections = state.control.connections(body.workspace_id, false).await?;
    Ok(listing::answer(state.control, connections).await?)
}

async fn list_all(State(state): State<AppState>, Body(body): Body<WorkspaceIdRequestBody>) -> ApiResult<Response> {
    let connections = state.control.connections(body.workspace_id, true).await?;
    Ok(listing::answer(state.control, connections).await?)
}

async fn search(State(state): State<AppState>, Body(body): Body<ConnectionSearch>) -> ApiResult<Response> {
    let connections = state.control.search_connections(&Search::from(body)).await?;
    Ok(listing::answer(state.control, connections).await?)
}

async fn delete(State(state): State<AppState>, Body(body): Body<ConnectionIdRequestBody>) -> ApiResult<Response> {
    state.control.delete_connection(body.connection_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
