//! Source and destination definitions and their specifications over HTTP. The rules are in [`control::definitions`].

use axum::extract::State;
use control::{
    definitions::{Definition, ReleaseStage, SourceType},
    discovery::SynchronousJob,
    runner::ActorKind,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body},
    catalog::DestinationSyncMode,
    ids::WorkspaceIdRequestBody,
    synchronous::{ConfigType, SynchronousJobRead},
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/source_definitions/list", list_sources)
        .post("/source_definitions/list_latest", list_sources)
        .post("/source_definitions/list_for_workspace", list_sources_for_workspace)
        .post("/source_definitions/get", get_source)
        .post("/source_definitions/get_for_workspace", get_source_for_workspace)
        .post("/source_definition_specifications/get", source_specification)
        .post("/destination_definitions/list", list_destinations)
        .post("/destination_definitions/list_latest", list_destinations)
        .post("/destination_definitions/list_for_workspace", list_destinations_for_workspace)
        .post("/destination_definitions/get", get_destination)
        .post("/destination_definitions/get_for_workspace", get_destination_for_workspace)
        .post("/destination_definition_specifications/get", destination_specification)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceDefinitionRead {
    source_definition_id: Uuid,
    name: String,
    docker_repository: String,
    docker_image_tag: String,
    documentation_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    protocol_version: String,
    release_stage: ReleaseStage,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_type: Option<SourceType>,
}

impl From<Definition> for SourceDefinitionRead {
    fn from(definition: Definition) -> Self {
        let profile = definition.profile;
        Self {
            source_definition_id: definition.id,
            name: definition.name,
            docker_repository: profile.docker_repository,
            docker_image_tag: profile.docker_image_tag,
            documentation_url: profile.documentation_url,
            icon: profile.icon,
            protocol_version: profile.protocol_version,
            release_stage: profile.release_stage,
            release_date: profile.release_date,
            source_type: profile.source_type,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationDefinitionRead {
    destination_definition_id: Uuid,
    name: String,
    docker_repository: String,
    docker_image_tag: String,
    documentation_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
    protocol_version: String,
    release_stage: ReleaseStage,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_date: Option<String>,
    supports_dbt: bool,
    normalization_config: NormalizationConfig,
}

/// Columns are typed by the destination itself; there is nothing to normalize.
#[derive(Serialize)]
struct NormalizationConfig {
    supported: bool,
}

impl From<Definition> for DestinationDefinitionRead {
    fn from(definition: Definition) -> Self {
        let profile = definition.profile;
        Self {
            destination_definition_id: definition.id,
            name: definition.name,
            docker_repository: profile.docker_repository,
            docker_image_tag: profile.docker_image_tag,
            documentation_url: profile.documentation_url,
            icon: profile.icon,
            protocol_version: profile.protocol_version,
            release_stage: profile.release_stage,
            release_date: profile.release_date,
            supports_dbt: false,
            normalization_config: NormalizationConfig { supported: false },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceDefinitionReadList {
    source_definitions: Vec<SourceDefinitionRead>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationDefinitionReadList {
    destination_definitions: Vec<DestinationDefinitionRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceDefinitionIdRequestBody {
    source_definition_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceDefinitionIdWithWorkspaceId {
    source_definition_id: Uuid,
    workspace_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationDefinitionIdRequestBody {
    destination_definition_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationDefinitionIdWithWorkspaceId {
    destination_definition_id: Uuid,
    workspace_id: Uuid,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceDefinitionSpecificationRead {
    source_definition_id: Uuid,
    documentation_url: String,
    connection_specification: Value,
    job_info: SynchronousJobRead,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DestinationDefinitionSpecificationRead {
    destination_definition_id: Uuid,
    documentation_url: String,
    connection_specification: Value,
    job_info: SynchronousJobRead,
    supported_destination_sync_modes: Vec<DestinationSyncMode>,
}

/// The stored specification, under the record of a job that never ran: clients want one.
fn not_run(definition: &Definition) -> SynchronousJobRead {
    SynchronousJobRead::of(SynchronousJob::not_run(definition.id), ConfigType::GetSpec)
}

fn documentation_url(definition: &Definition) -> String {
    let own = definition.profile.specification["documentationUrl"].as_str();
    own.unwrap_or(&definition.profile.documentation_url).to_owned()
}

/// Modes that the contract does not know are left out.
fn supported_modes(definition: &Definition) -> Vec<DestinationSyncMode> {
    let modes = definition.profile.specification["supported_destination_sync_modes"].as_array();
    modes.into_iter().flatten().filter_map(|mode| serde_json::from_value(mode.clone()).ok()).collect()
}

async fn list_sources(State(app): State<AppState>) -> ApiResult<Answer<SourceDefinitionReadList>> {
    let definitions = app.control.definitions(ActorKind::Source).await?;
    Ok(Answer(SourceDefinitionReadList { source_definitions: definitions.into_iter().map(Into::into).collect() }))
}

async fn list_sources_for_workspace(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceIdRequestBody>,
) -> ApiResult<Answer<SourceDefinitionReadList>> {
    let definitions = app.control.definitions_for_workspace(ActorKind::Source, body.workspace_id).await?;
    Ok(Answer(SourceDefinitionReadList { source_definitions: definitions.into_iter().map(Into::into).collect() }))
}

async fn get_source(
    State(app): State<AppState>,
    Body(body): Body<SourceDefinitionIdRequestBody>,
) -> ApiResult<Answer<SourceDefinitionRead>> {
    Ok(Answer(app.control.definition(ActorKind::Source, body.source_definition_id).await?.into()))
}

async fn get_source_for_workspace(
    State(app): State<AppState>,
    Body(body): Body<SourceDefinitionIdWithWorkspaceId>,
) -> ApiResult<Answer<SourceDefinitionRead>> {
    let found = app.control.definition_for_workspace(ActorKind::Source, body.source_definition_id, body.workspace_id);
    Ok(Answer(found.await?.into()))
}

async fn source_specification(
    State(app): State<AppState>,
    Body(body): Body<SourceDefinitionIdWithWorkspaceId>,
) -> ApiResult<Answer<SourceDefinitionSpecificationRead>> {
    let found = app.control.definition_for_workspace(ActorKind::Source, body.source_definition_id, body.workspace_id);
    let definition = found.await?;
    Ok(Answer(SourceDefinitionSpecificationRead {
        source_definition_id: definition.id,
        documentation_url: documentation_url(&definition),
        connection_specification: definition.connection_specification().clone(),
        job_info: not_run(&definition),
    }))
}

async fn list_destinations(State(app): State<AppState>) -> ApiResult<Answer<DestinationDefinitionReadList>> {
    let definitions = app.control.definitions(ActorKind::Destination).await?;
    let destination_definitions = definitions.into_iter().map(Into::into).collect();
    Ok(Answer(DestinationDefinitionReadList { destination_definitions }))
}

async fn list_destinations_for_workspace(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceIdRequestBody>,
) -> ApiResult<Answer<DestinationDefinitionReadList>> {
    let definitions = app.control.definitions_for_workspace(ActorKind::Destination, body.workspace_id).await?;
    let destination_definitions = definitions.into_iter().map(Into::into).collect();
    Ok(Answer(DestinationDefinitionReadList { destination_definitions }))
}

async fn get_destination(
    State(app): State<AppState>,
    Body(body): Body<DestinationDefinitionIdRequestBody>,
) -> ApiResult<Answer<DestinationDefinitionRead>> {
    Ok(Answer(app.control.definition(ActorKind::Destination, body.destination_definition_id).await?.into()))
}

async fn get_destination_for_workspace(
    State(app): State<AppState>,
    Body(body): Body<DestinationDefinitionIdWithWorkspaceId>,
) -> ApiResult<Answer<DestinationDefinitionRead>> {
    let (id, workspace) = (body.destination_definition_id, body.workspace_id);
    Ok(Answer(app.control.definition_for_workspace(ActorKind::Destination, id, workspace).await?.into()))
}

async fn destination_specification(
    State(app): State<AppState>,
    Body(body): Body<DestinationDefinitionIdWithWorkspaceId>,
) -> ApiResult<Answer<DestinationDefinitionSpecificationRead>> {
    let (id, workspace) = (body.destination_definition_id, body.workspace_id);
    let definition = app.control.definition_for_workspace(ActorKind::Destination, id, workspace).await?;
    Ok(Answer(DestinationDefinitionSpecificationRead {
        destination_definition_id: definition.id,
        documentation_url: documentation_url(&definition),
        connection_specification: definition.connection_specification().clone(),
        job_info: not_run(&definition),
        supported_destination_sync_modes: supported_modes(&definition),
    }))
}
