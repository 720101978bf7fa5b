//! Workspaces over HTTP. The rules are in [`control::workspaces`].

use axum::{extract::State, http::StatusCode};
use control::{
    connections::Geography,
    workspaces::{NewWebhook, Notification, NotificationType, SlackConfiguration, Workspace, WorkspacePatch},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    ApiResult, AppState, Routes,
    body::{Answer, Body, LongText, Name},
    ids::{ConnectionIdRequestBody, WorkspaceIdRequestBody},
};

pub fn routes() -> Routes {
    Routes::new()
        .post("/workspaces/list", list)
        .post("/workspaces/create", create)
        .post("/workspaces/get", get)
        .post("/workspaces/get_by_slug", get_by_slug)
        .post("/workspaces/get_by_connection_id", get_by_connection_id)
        .post("/workspaces/update", update)
        .post("/workspaces/update_name", update_name)
        .post("/workspaces/delete", delete)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceRead {
    workspace_id: Uuid,
    customer_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    name: String,
    slug: String,
    initial_setup_complete: bool,
    display_setup_wizard: bool,
    anonymous_data_collection: bool,
    news: bool,
    security_updates: bool,
    notifications: Vec<Notification>,
    default_geography: Geography,
    webhook_configs: Vec<WebhookConfigRead>,
}

/// The token and the address are written and never shown.
#[derive(Serialize)]
struct WebhookConfigRead {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl From<Workspace> for WorkspaceRead {
    fn from(workspace: Workspace) -> Self {
        let profile = workspace.profile;
        Self {
            workspace_id: workspace.id,
            customer_id: profile.customer_id,
            email: profile.email,
            name: workspace.name,
            slug: workspace.slug,
            initial_setup_complete: profile.initial_setup_complete,
            display_setup_wizard: profile.display_setup_wizard,
            anonymous_data_collection: profile.anonymous_data_collection,
            news: profile.news,
            security_updates: profile.security_updates,
            notifications: profile.notifications,
            default_geography: profile.default_geography,
            webhook_configs: profile
                .webhook_configs
                .into_iter()
                .map(|webhook| WebhookConfigRead { id: webhook.id, name: webhook.name })
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct WorkspaceReadList {
    workspaces: Vec<WorkspaceRead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceCreate {
    name: Name,
    email: Option<Name>,
    anonymous_data_collection: Option<bool>,
    news: Option<bool>,
    security_updates: Option<bool>,
    notifications: Option<Vec<NotificationBody>>,
    display_setup_wizard: Option<bool>,
    default_geography: Option<Geography>,
    webhook_configs: Option<Vec<WebhookConfigWrite>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceUpdate {
    workspace_id: Uuid,
    email: Option<Name>,
    initial_setup_complete: Option<bool>,
    display_setup_wizard: Option<bool>,
    anonymous_data_collection: Option<bool>,
    news: Option<bool>,
    security_updates: Option<bool>,
    notifications: Option<Vec<NotificationBody>>,
    default_geography: Option<Geography>,
    webhook_configs: Option<Vec<WebhookConfigWrite>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotificationBody {
    notification_type: NotificationType,
    /// Upstream's defaults: tell failures only.
    send_on_success: Option<bool>,
    send_on_failure: Option<bool>,
    slack_configuration: Option<SlackConfigurationBody>,
    customerio_configuration: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct SlackConfigurationBody {
    webhook: LongText,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookConfigWrite {
    name: Option<Name>,
    auth_token: Option<LongText>,
    validation_url: Option<LongText>,
}

impl From<NotificationBody> for Notification {
    fn from(body: NotificationBody) -> Self {
        Self {
            notification_type: body.notification_type,
            send_on_success: body.send_on_success.unwrap_or(false),
            send_on_failure: body.send_on_failure.unwrap_or(true),
            slack_configuration: body
                .slack_configuration
                .map(|slack| SlackConfiguration { webhook: slack.webhook.into() }),
            customerio_configuration: body.customerio_configuration,
        }
    }
}

impl From<WebhookConfigWrite> for NewWebhook {
    fn from(body: WebhookConfigWrite) -> Self {
        Self {
            name: body.name.map(Into::into),
            auth_token: body.auth_token.map(Into::into),
            validation_url: body.validation_url.map(Into::into),
        }
    }
}

fn converted<T, U: From<T>>(list: Option<Vec<T>>) -> Option<Vec<U>> {
    list.map(|list| list.into_iter().map(U::from).collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceUpdateName {
    workspace_id: Uuid,
    name: Name,
}

#[derive(Deserialize)]
struct SlugRequestBody {
    slug: Name,
}

async fn list(State(app): State<AppState>) -> ApiResult<Answer<WorkspaceReadList>> {
    let workspaces = app.control.workspaces().await?.into_iter().map(WorkspaceRead::from).collect();
    Ok(Answer(WorkspaceReadList { workspaces }))
}

async fn create(State(app): State<AppState>, Body(body): Body<WorkspaceCreate>) -> ApiResult<Answer<WorkspaceRead>> {
    let patch = WorkspacePatch {
        email: body.email.map(Into::into),
        initial_setup_complete: None,
        display_setup_wizard: body.display_setup_wizard,
        anonymous_data_collection: body.anonymous_data_collection,
        news: body.news,
        security_updates: body.security_updates,
        notifications: converted(body.notifications),
        default_geography: body.default_geography,
        webhook_configs: converted(body.webhook_configs),
    };
    Ok(Answer(app.control.create_workspace(body.name.as_str(), patch).await?.into()))
}

async fn get(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceIdRequestBody>,
) -> ApiResult<Answer<WorkspaceRead>> {
    Ok(Answer(app.control.workspace(body.workspace_id).await?.into()))
}

async fn get_by_slug(
    State(app): State<AppState>,
    Body(body): Body<SlugRequestBody>,
) -> ApiResult<Answer<WorkspaceRead>> {
    Ok(Answer(app.control.workspace_by_slug(body.slug.as_str()).await?.into()))
}

async fn get_by_connection_id(
    State(app): State<AppState>,
    Body(body): Body<ConnectionIdRequestBody>,
) -> ApiResult<Answer<WorkspaceRead>> {
    Ok(Answer(app.control.workspace_by_connection(body.connection_id).await?.into()))
}

async fn update(State(app): State<AppState>, Body(body): Body<WorkspaceUpdate>) -> ApiResult<Answer<WorkspaceRead>> {
    let patch = WorkspacePatch {
        email: body.email.map(Into::into),
        initial_setup_complete: body.initial_setup_complete,
        display_setup_wizard: body.display_setup_wizard,
        anonymous_data_collection: body.anonymous_data_collection,
        news: body.news,
        security_updates: body.security_updates,
        notifications: converted(body.notifications),
        default_geography: body.default_geography,
        webhook_configs: converted(body.webhook_configs),
    };
    Ok(Answer(app.control.update_workspace(body.workspace_id, patch).await?.into()))
}

async fn update_name(
    State(app): State<AppState>,
    Body(body): Body<WorkspaceUpdateName>,
) -> ApiResult<Answer<WorkspaceRead>> {
    Ok(Answer(app.control.rename_workspace(body.workspace_id, body.name.as_str()).await?.into()))
}

async fn delete(State(app): State<AppState>, Body(body): Body<WorkspaceIdRequestBody>) -> ApiResult<StatusCode> {
    app.control.delete_workspace(body.workspace_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
