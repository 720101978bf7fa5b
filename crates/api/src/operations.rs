//! Operations: create, get, list, update, delete, check.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use control::operations::{Operation, OperatorConfiguration};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body, Name},
    ids::ConnectionIdRequestBody,
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/operations/create", create)
        .post("/operations/update", update)
        .post("/operations/get", get)
        .post("/operations/list", list)
        .post("/operations/delete", delete)
        .post("/operations/check", check)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationCreate {
    workspace_id: Uuid,
    name: Name,
    operator_configuration: OperatorConfiguration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationUpdate {
    operation_id: Uuid,
    name: Name,
    operator_configuration: OperatorConfiguration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationIdRequest {
    operation_id: Uuid,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRead {
    operation_id: Uuid,
    workspace_id: Uuid,
    name: String,
    operator_configuration: OperatorConfiguration,
}

impl From<Operation> for OperationRead {
    fn from(operation: Operation) -> Self {
        Self {
            operation_id: operation.id,
            workspace_id: operation.workspace_id,
            name: operation.name,
            operator_configuration: operation.configuration,
        }
    }
}

#[derive(Debug, Serialize)]
struct OperationReadList {
    operations: Vec<OperationRead>,
}

#[derive(Debug, Serialize)]
struct CheckOperationRead {
    status: CheckStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckStatus {
    Succeeded,
    Failed,
}

async fn create(State(state): State<AppState>, Body(body): Body<OperationCreate>) -> ApiResult<Answer<OperationRead>> {
    let name = String::from(body.name);
    let operation = state.control.create_operation(body.workspace_id, &name, body.operator_configuration).await?;
    Ok(Answer(operation.into()))
}

async fn update(State(state): State<AppState>, Body(body): Body<OperationUpdate>) -> ApiResult<Answer<OperationRead>> {
    let name = String::from(body.name);
    let operation = state.control.update_operation(body.operation_id, &name, body.operator_configuration).await?;
    Ok(Answer(operation.into()))
}

async fn get(State(state): State<AppState>, Body(body): Body<OperationIdRequest>) -> ApiResult<Answer<OperationRead>> {
    Ok(Answer(state.control.operation(body.operation_id).await?.into()))
}

async fn list(
    State(state): State<AppState>,
    Body(body): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<OperationReadList>> {
    let operations = state.control.operations_of(body.connection_id).await?;
    Ok(Answer(OperationReadList { operations: operations.into_iter().map(Into::into).collect() }))
}

async fn delete(State(state): State<AppState>, Body(body): Body<OperationIdRequest>) -> ApiResult<Response> {
    state.control.delete_operation(body.operation_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Says whether create would take it. A missing part is an answer here, not an error.
async fn check(Body(configuration): Body<OperatorConfiguration>) -> ApiResult<Answer<CheckOperationRead>> {
    Ok(Answer(match configuration.checked("") {
        Ok(_) => CheckOperationRead { status: CheckStatus::Succeeded, message: None },
        Err(error) => CheckOperationRead { status: CheckStatus::Failed, message: Some(error.message) },
    }))
}
