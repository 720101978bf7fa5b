//! A published client that this project did not write (the crate `airbyte_client`) does the whole round.

use std::time::Duration;

use airbyte_client::{
    apis::{Error, configuration::Configuration, connection_api, destination_api, jobs_api, source_api, workspace_api},
    models::{
        ConnectionCreate, ConnectionIdRequestBody, ConnectionSearch, ConnectionStatus, ConnectionUpdate,
        DestinationCreate, DestinationSyncMode, JobConfigType, JobIdRequestBody, JobInfoRead, JobStatus, SourceCreate,
        SourceDiscoverSchemaRequestBody, SourceUpdate, SyncMode, WorkspaceIdRequestBody,
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::ground::{Ground, SAMPLE, SQLITE, sample};

async fn finished(client: &Configuration, job: i64) -> JobInfoRead {
    loop {
        let info = jobs_api::get_job_info(client, JobIdRequestBody::new(job)).await.unwrap();
        if matches!(info.job.status, JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled) {
            return info;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn records(info: &JobInfoRead) -> i64 {
    info.attempts.iter().filter_map(|attempt| attempt.attempt.records_synced).sum()
}

#[tokio::test]
async fn a_published_client_creates_syncs_updates_resets_searches_and_deletes() {
    let ground = Ground::new(1);
    let client = Configuration { base_path: format!("http://{}/api", ground.server().address), ..Configuration::new() };

    let workspace = workspace_api::list_workspaces(&client).await.unwrap().workspaces[0].workspace_id;
    let definition = Uuid::parse_str(SAMPLE).unwrap();
    let create = SourceCreate::new(definition, Some(sample(300)), workspace, "shop".to_owned());
    let source = source_api::create_source(&client, create).await.unwrap();
    let path = json!({ "destination_path": "/local/client.db" });
    let create = DestinationCreate::new(workspace, "lake".to_owned(), Uuid::parse_str(SQLITE).unwrap(), Some(path));
    let destination = destination_api::create_destination(&client, create).await.unwrap();

    let discover = SourceDiscoverSchemaRequestBody::new(source.source_id);
    let discovered = source_api::discover_schema_for_source(&client, discover).await.unwrap();
    let mut catalog = discovered.catalog.unwrap();
    for entry in &mut catalog.streams {
        let users = entry.stream.as_ref().unwrap().name == "users";
        let config = entry.config.as_mut().unwrap();
        config.selected = Some(users);
        config.sync_mode = SyncMode::Incremental;
        config.destination_sync_mode = DestinationSyncMode::AppendDedup;
    }
    let mut create = ConnectionCreate::new(source.source_id, destination.destination_id, ConnectionStatus::Active);
    create.sync_catalog = Some(catalog);
    create.source_catalog_id = discovered.catalog_id;
    let connection = connection_api::create_connection(&client, create).await.unwrap();
    assert_eq!(connection.name, "shop <> lake");
    let id = connection.connection_id;
    let this = || ConnectionIdRequestBody::new(id);

    let started = connection_api::sync_connection(&client, this()).await.unwrap();
    assert_eq!(started.job.config_type, JobConfigType::Sync);
    let done = finished(&client, started.job.id).await;
    assert_eq!((done.job.status, records(&done)), (JobStatus::Succeeded, 300));

    let mut update = ConnectionUpdate::new(id);
    update.name = Some("nightly".to_owned());
    let updated = connection_api::update_connection(&client, update).await.unwrap();
    assert_eq!(updated.name, "nightly");
    let changed = SourceUpdate::new(source.source_id, Some(sample(350)), "shop".to_owned());
    source_api::update_source(&client, changed).await.unwrap();
    let started = connection_api::sync_connection(&client, this()).await.unwrap();
    assert_eq!(records(&finished(&client, started.job.id).await), 50);

    let reset = connection_api::reset_connection(&client, this()).await.unwrap();
    assert_eq!(reset.job.config_type, JobConfigType::ResetConnection);
    assert_eq!(finished(&client, reset.job.id).await.job.status, JobStatus::Succeeded);

    let mut search = ConnectionSearch::new();
    search.name = Some("nightly".to_owned());
    let found = connection_api::search_connections(&client, search.clone()).await.unwrap();
    assert_eq!(found.connections.len(), 1);
    assert_eq!(found.connections[0].connection_id, id);

    connection_api::delete_connection(&client, this()).await.unwrap();
    assert!(connection_api::search_connections(&client, search).await.unwrap().connections.is_empty());
    let all = WorkspaceIdRequestBody::new(workspace);
    assert!(connection_api::list_connections_for_workspace(&client, all.clone()).await.unwrap().connections.is_empty());
    assert_eq!(connection_api::list_all_connections_for_workspace(&client, all).await.unwrap().connections.len(), 1);
    let refused = connection_api::sync_connection(&client, this()).await.unwrap_err();
    assert!(matches!(refused, Error::ResponseError(response) if response.status.as_u16() == 409));
}
