//! Every operation that is served: one request that succeeds and one that fails, both answers as the published contract
//! says.
//!
//! A new operation = one [`Row`] in [`rows`]. A served route without a row, and a row without a route, fail the test.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use control::clock::SystemClock;
use serde_json::{Value, json};
use store::Backend;

use crate::{
    ground::{Answer, NOBODY, Server, World, destination_definition, source_definition},
    schema::Contract,
};

/// The figure that a wrong request is answered with, and the request.
enum Wrong {
    Body(u16, Value),
    /// For operations that take no request: nothing can be wrong but the method.
    Method,
}

struct Row {
    /// Below `/v1`.
    path: &'static str,
    needs: Needs,
    good: fn(&World) -> Value,
    wrong: fn(&World) -> Wrong,
}

/// What has to be there before the good request.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Actors,
    /// A connection too.
    Connection,
    /// A connection and a job of it, which runs or has run.
    Job,
}

fn row(path: &'static str, needs: Needs, good: fn(&World) -> Value, wrong: fn(&World) -> Wrong) -> Row {
    Row { path, needs, good, wrong }
}

fn none(_: &World) -> Value {
    Value::Null
}

fn no_method(_: &World) -> Wrong {
    Wrong::Method
}

fn rows() -> Vec<Row> {
    let mut rows = vec![row("health", Needs::Actors, none, no_method), row("openapi", Needs::Actors, none, no_method)];
    rows.extend(workspace_rows());
    rows.extend(definition_rows());
    rows.extend(source_rows());
    rows.extend(destination_rows());
    rows.extend(job_rows());
    rows.extend(connection_rows());
    rows.extend(operation_rows());
    rows.extend(state_rows());
    rows
}

fn workspace_rows() -> Vec<Row> {
    let needs = Needs::Actors;
    vec![
        row("workspaces/list", needs, none, no_method),
        row(
            "workspaces/create",
            needs,
            |_| {
                json!({
                    "name": "Contract", "email": "a@example.org", "news": true, "defaultGeography": "eu",
                    "notifications": [{"notificationType": "slack", "sendOnSuccess": true, "sendOnFailure": true,
                        "slackConfiguration": {"webhook": "https://example.org"}}],
                    "webhookConfigs": [{"name": "dbt", "authToken": "t0p", "validationUrl": "https://example.org"}]
                })
            },
            |_| Wrong::Body(422, json!({"name": "x", "defaultGeography": "asia"})),
        ),
        row(
            "workspaces/get",
            needs,
            |w| json!({"workspaceId": w.workspace}),
            |_| Wrong::Body(404, json!({"workspaceId": NOBODY})),
        ),
        row(
            "workspaces/get_by_slug",
            needs,
            |_| json!({"slug": "world"}),
            |_| Wrong::Body(404, json!({"slug": "nobody"})),
        ),
        row(
            "workspaces/get_by_connection_id",
            Needs::Connection,
            |w| json!({"connectionId": w.connection}),
            |_| Wrong::Body(404, json!({"connectionId": NOBODY})),
        ),
        row(
            "workspaces/update",
            needs,
            |w| json!({"workspaceId": w.workspace, "news": true, "initialSetupComplete": true}),
            |_| Wrong::Body(404, json!({"workspaceId": NOBODY})),
        ),
        row(
            "workspaces/update_name",
            needs,
            |w| json!({"workspaceId": w.workspace, "name": "Another"}),
            |w| Wrong::Body(422, json!({"workspaceId": w.workspace})),
        ),
        row(
            "workspaces/delete",
            needs,
            |w| json!({"workspaceId": w.workspace}),
            |w| Wrong::Body(404, json!({"workspaceId": w.workspace})),
        ),
    ]
}

fn definition_rows() -> Vec<Row> {
    let needs = Needs::Actors;
    let of_source: fn(&World) -> Value =
        |w| json!({"sourceDefinitionId": source_definition(), "workspaceId": w.workspace});
    let of_destination: fn(&World) -> Value =
        |w| json!({"destinationDefinitionId": destination_definition(), "workspaceId": w.workspace});
    let no_source: fn(&World) -> Wrong =
        |w| Wrong::Body(404, json!({"sourceDefinitionId": NOBODY, "workspaceId": w.workspace}));
    let no_destination: fn(&World) -> Wrong =
        |w| Wrong::Body(404, json!({"destinationDefinitionId": NOBODY, "workspaceId": w.workspace}));
    let of_workspace: fn(&World) -> Value = |w| json!({"workspaceId": w.workspace});
    let no_id: fn(&World) -> Wrong = |_| Wrong::Body(422, json!({"workspaceId": "x"}));
    vec![
        row("source_definitions/list", needs, none, no_method),
        row("source_definitions/list_latest", needs, none, no_method),
        row("source_definitions/list_for_workspace", needs, of_workspace, no_id),
        row("source_definitions/get", needs, of_source, no_source),
        row("source_definitions/get_for_workspace", needs, of_source, no_source),
        row("source_definition_specifications/get", needs, of_source, no_source),
        row("destination_definitions/list", needs, none, no_method),
        row("destination_definitions/list_latest", needs, none, no_method),
        row("destination_definitions/list_for_workspace", needs, of_workspace, no_id),
        row("destination_definitions/get", needs, of_destination, no_destination),
        row("destination_definitions/get_for_workspace", needs, of_destination, no_destination),
        row("destination_definition_specifications/get", needs, of_destination, no_destination),
    ]
}

fn source_rows() -> Vec<Row> {
    let needs = Needs::Actors;
    let own: fn(&World) -> Value = |w| json!({"sourceId": w.source});
    let nobody: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"sourceId": NOBODY}));
    vec![
        row(
            "sources/create",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "name": "s", "sourceDefinitionId": source_definition(),
                    "connectionConfiguration": {"count": 1}})
            },
            |w| {
                Wrong::Body(
                    422,
                    json!({"workspaceId": w.workspace, "name": "s", "sourceDefinitionId": source_definition(),
                    "connectionConfiguration": {"count": "many"}}),
                )
            },
        ),
        row("sources/get", needs, own, nobody),
        row("sources/list", needs, |w| json!({"workspaceId": w.workspace}), |_| Wrong::Body(422, json!({}))),
        row(
            "sources/search",
            needs,
            |w| json!({"workspaceId": w.workspace, "connectionConfiguration": {"count": 10}}),
            |_| Wrong::Body(422, json!({"sourceId": 5})),
        ),
        row(
            "sources/update",
            needs,
            |w| json!({"sourceId": w.source, "name": "t", "connectionConfiguration": {"count": 2}}),
            |w| Wrong::Body(422, json!({"sourceId": w.source, "name": "t", "connectionConfiguration": {}})),
        ),
        row("sources/check_connection", needs, own, nobody),
        row(
            "sources/check_connection_for_update",
            needs,
            |w| json!({"sourceId": w.source, "name": "t", "connectionConfiguration": {"count": 2}}),
            |w| Wrong::Body(422, json!({"sourceId": w.source, "name": "t", "connectionConfiguration": {"count": -1}})),
        ),
        row("sources/discover_schema", needs, |w| json!({"sourceId": w.source, "disable_cache": true}), nobody),
        row("sources/most_recent_source_actor_catalog", needs, own, nobody),
        row(
            "scheduler/sources/check_connection",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "sourceDefinitionId": source_definition(),
                    "connectionConfiguration": {"count": 1}})
            },
            |w| Wrong::Body(422, json!({"workspaceId": w.workspace, "sourceDefinitionId": source_definition()})),
        ),
        row(
            "scheduler/sources/discover_schema",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "sourceDefinitionId": source_definition(),
                    "connectionConfiguration": {"count": 1}})
            },
            |w| {
                Wrong::Body(
                    422,
                    json!({"workspaceId": w.workspace, "sourceDefinitionId": source_definition(),
                    "connectionConfiguration": "word"}),
                )
            },
        ),
        row("sources/delete", needs, own, nobody),
    ]
}

fn destination_rows() -> Vec<Row> {
    let needs = Needs::Actors;
    let own: fn(&World) -> Value = |w| json!({"destinationId": w.destination});
    let nobody: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"destinationId": NOBODY}));
    vec![
        row(
            "destinations/create",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "name": "d", "destinationDefinitionId": destination_definition(),
                    "connectionConfiguration": {"destination_path": "b.db"}})
            },
            |w| {
                Wrong::Body(
                    404,
                    json!({"workspaceId": w.workspace, "name": "d", "destinationDefinitionId": NOBODY,
                    "connectionConfiguration": {"destination_path": "b.db"}}),
                )
            },
        ),
        row("destinations/get", needs, own, nobody),
        row("destinations/list", needs, |w| json!({"workspaceId": w.workspace}), |_| Wrong::Body(422, json!({}))),
        row("destinations/search", needs, |_| json!({"name": "file"}), |_| Wrong::Body(422, json!({"name": ["file"]}))),
        row(
            "destinations/update",
            needs,
            |w| json!({"destinationId": w.destination, "name": "t", "connectionConfiguration": {"destination_path": "c.db"}}),
            |w| Wrong::Body(422, json!({"destinationId": w.destination, "name": "t", "connectionConfiguration": {}})),
        ),
        row("destinations/check_connection", needs, own, nobody),
        row(
            "destinations/check_connection_for_update",
            needs,
            |w| json!({"destinationId": w.destination, "name": "t", "connectionConfiguration": {"destination_path": "c.db"}}),
            |_| Wrong::Body(404, json!({"destinationId": NOBODY, "name": "t", "connectionConfiguration": {}})),
        ),
        row(
            "scheduler/destinations/check_connection",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "destinationDefinitionId": destination_definition(),
                    "connectionConfiguration": {"destination_path": "c.db"}})
            },
            |w| Wrong::Body(422, json!({"workspaceId": w.workspace, "destinationDefinitionId": "x"})),
        ),
        row("destinations/delete", needs, own, nobody),
    ]
}

fn connection_rows() -> Vec<Row> {
    let needs = Needs::Connection;
    let own: fn(&World) -> Value = |w| json!({"connectionId": w.connection});
    let nobody: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"connectionId": NOBODY}));
    let of_workspace: fn(&World) -> Value = |w| json!({"workspaceId": w.workspace});
    let no_id: fn(&World) -> Wrong = |_| Wrong::Body(422, json!({"workspaceId": ["x"]}));
    vec![
        row(
            "connections/create",
            Needs::Actors,
            |w| {
                json!({
                    "sourceId": w.source, "destinationId": w.destination, "status": "active", "name": "all of it",
                    "namespaceDefinition": "customformat", "namespaceFormat": "raw_${SOURCE_NAMESPACE}", "prefix": "p_",
                    "operationIds": [w.operation], "syncCatalog": w.catalog, "sourceCatalogId": w.catalog_id,
                    "scheduleType": "cron",
                    "scheduleData": {"cron": {"cronExpression": "0 0 6 * * ?", "cronTimeZone": "Asia/Kathmandu"}},
                    "resourceRequirements": {"cpu_request": "0.5", "cpu_limit": "1", "memory_request": "64Mi", "memory_limit": "1Gi"},
                    "geography": "eu", "notifySchemaChanges": true, "nonBreakingChangesPreference": "disable"
                })
            },
            |w| Wrong::Body(422, json!({"sourceId": w.source, "destinationId": w.destination})),
        ),
        row(
            "connections/update",
            needs,
            |w| {
                json!({
                    "connectionId": w.connection, "name": "other", "status": "inactive", "prefix": "q_", "scheduleType": "basic",
                    "scheduleData": {"basicSchedule": {"units": 2, "timeUnit": "hours"}}, "operationIds": [w.operation],
                    "syncCatalog": w.catalog, "breakingChange": false
                })
            },
            |w| Wrong::Body(422, json!({"connectionId": w.connection, "schedule": {"units": 1, "timeUnit": "hours"}})),
        ),
        row("connections/get", needs, own, nobody),
        row("connections/list", needs, of_workspace, no_id),
        row("connections/list_all", needs, of_workspace, no_id),
        row(
            "connections/search",
            needs,
            |w| json!({"sourceId": w.source, "source": {"connectionConfiguration": {"count": 10}}, "scheduleType": "manual"}),
            |_| Wrong::Body(422, json!({"status": "locked"})),
        ),
        row("connections/delete", needs, own, nobody),
        row(
            "web_backend/connections/get",
            Needs::Job,
            |w| json!({"connectionId": w.connection, "withRefreshedCatalog": true}),
            nobody,
        ),
    ]
}

fn operation_rows() -> Vec<Row> {
    let needs = Needs::Actors;
    let own: fn(&World) -> Value = |w| json!({"operationId": w.operation});
    let nobody: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"operationId": NOBODY}));
    vec![
        row(
            "operations/create",
            needs,
            |w| {
                json!({"workspaceId": w.workspace, "name": "hook", "operatorConfiguration": {"operatorType": "webhook",
                    "webhook": {"webhookConfigId": NOBODY, "webhookType": "dbtCloud", "dbtCloud": {"accountId": 1, "jobId": 2}}}})
            },
            |w| {
                Wrong::Body(
                    422,
                    json!({"workspaceId": w.workspace, "name": "x", "operatorConfiguration": {"operatorType": "dbt"}}),
                )
            },
        ),
        row(
            "operations/update",
            needs,
            |w| {
                json!({"operationId": w.operation, "name": "models", "operatorConfiguration": {"operatorType": "dbt",
                    "dbt": {"gitRepoUrl": "https://example.org/x.git", "gitRepoBranch": "main", "dockerImage": "dbt", "dbtArguments": "run"}}})
            },
            |_| {
                Wrong::Body(
                    404,
                    json!({"operationId": NOBODY, "name": "x", "operatorConfiguration":
                    {"operatorType": "normalization", "normalization": {"option": "basic"}}}),
                )
            },
        ),
        row("operations/get", needs, own, nobody),
        row(
            "operations/list",
            Needs::Connection,
            |w| json!({"connectionId": w.connection}),
            |_| Wrong::Body(404, json!({"connectionId": NOBODY})),
        ),
        row("operations/delete", needs, own, |_| Wrong::Body(422, json!({"operationId": "x"}))),
        row(
            "operations/check",
            needs,
            |_| json!({"operatorType": "normalization", "normalization": {"option": "basic"}}),
            |_| Wrong::Body(422, json!({"operatorType": "sql"})),
        ),
    ]
}

fn state_rows() -> Vec<Row> {
    let needs = Needs::Connection;
    vec![
        row(
            "state/get",
            needs,
            |w| json!({"connectionId": w.connection}),
            |_| Wrong::Body(422, json!({"connectionId": 1})),
        ),
        row(
            "state/create_or_update",
            needs,
            |w| {
                json!({"connectionId": w.connection, "connectionState": {"connectionId": w.connection, "stateType": "global",
                    "globalState": {"shared_state": {"lsn": 1}, "streamStates": [
                        {"streamDescriptor": {"name": "users", "namespace": "shop"}, "streamState": {"id": 5}}]}}})
            },
            |_| {
                Wrong::Body(
                    404,
                    json!({"connectionId": NOBODY, "connectionState": {"connectionId": NOBODY, "stateType": "stream", "streamState": []}}),
                )
            },
        ),
    ]
}

fn job_rows() -> Vec<Row> {
    let connection: fn(&World) -> Value = |w| json!({"connectionId": w.connection});
    let no_connection: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"connectionId": NOBODY}));
    let job: fn(&World) -> Value = |w| json!({"id": w.job});
    let no_job: fn(&World) -> Wrong = |_| Wrong::Body(404, json!({"id": 1_000_000}));
    vec![
        row("connections/sync", Needs::Connection, connection, no_connection),
        row("connections/reset", Needs::Job, connection, no_connection),
        row(
            "jobs/list",
            Needs::Job,
            |w| json!({"configTypes": ["sync", "reset_connection"], "configId": w.connection}),
            |w| Wrong::Body(422, json!({"configTypes": ["refresh"], "configId": w.connection})),
        ),
        row("jobs/get", Needs::Job, job, no_job),
        row("jobs/get_light", Needs::Job, job, no_job),
        row("jobs/get_last_replication_job", Needs::Job, connection, |_| Wrong::Body(422, json!({"connectionId": 5}))),
        row("jobs/get_debug_info", Needs::Job, job, no_job),
        row("jobs/cancel", Needs::Job, job, no_job),
    ]
}

/// Both requests of a row; answers what is wrong with the answers.
async fn problems_of(server: &Server, contract: &Contract, row: &Row) -> Vec<String> {
    let world = match row.needs {
        Needs::Actors => World::without_connection(server).await,
        Needs::Connection => World::create(server).await,
        Needs::Job => World::with_job(server).await,
    };
    let Some(operation) = contract.operation(row.path) else { return vec!["is not in the contract".to_owned()] };
    let is_get = operation["method"] == "GET";
    let good = match ((row.good)(&world), is_get) {
        (_, true) => server.get(row.path).await,
        (Value::Null, false) => server.post_bytes(row.path, Body::empty()).await,
        (body, false) => server.post(row.path, body).await,
    };
    let mut problems = success_problems(contract, operation, &good);
    let (expected, answer) = match (row.wrong)(&world) {
        Wrong::Body(status, body) => (status, server.post(row.path, body).await),
        Wrong::Method => {
            let method = if is_get { Method::POST } else { Method::GET };
            let request = Request::builder().method(method).uri(format!("/api/v1/{}", row.path));
            (405, server.send(request.body(Body::empty()).unwrap()).await)
        }
    };
    if answer.status.as_u16() != expected {
        problems.push(format!("the wrong request: {} instead of {expected}: {}", answer.status, answer.text));
    }
    problems.extend(error_problems(contract, &answer));
    problems
}

fn success_problems(contract: &Contract, operation: &Value, answer: &Answer) -> Vec<String> {
    let documented = operation["responses"].as_object().unwrap().iter().find(|(status, _)| status.starts_with('2'));
    let (status, response) = documented.unwrap();
    if answer.status.as_str() != status {
        return vec![format!("{} instead of {status}: {}", answer.status, answer.text)];
    }
    match response["schema"].as_str() {
        Some(schema) if answer.headers["content-type"] == "application/json" => contract.problems(schema, &answer.body),
        Some(_) => vec!["the media type is not application/json".to_owned()],
        None if status == "204" && !answer.text.is_empty() => vec![format!("a 204 with a body: {}", answer.text)],
        None => Vec::new(),
    }
}

/// Every error is an object of the documented shape.
pub fn error_problems(contract: &Contract, answer: &Answer) -> Vec<String> {
    let schema = match answer.status {
        StatusCode::NOT_FOUND => "NotFoundKnownExceptionInfo",
        StatusCode::UNPROCESSABLE_ENTITY => "InvalidInputExceptionInfo",
        _ => "KnownExceptionInfo",
    };
    let mut problems = contract.problems(schema, &answer.body);
    if answer.headers["content-type"] != "application/json" {
        problems.push("the media type of the error is not application/json".to_owned());
    }
    for name in ["code", "errorId", "exceptionClassName", "exceptionStack"] {
        if answer.body.get(name).is_none() {
            problems.push(format!("the error has no {name}"));
        }
    }
    problems
}

#[tokio::test]
async fn every_operation_keeps_the_contract() {
    keeps_the_contract(Backend::Sqlite).await;
}

#[tokio::test]
async fn every_operation_keeps_the_contract_on_postgres() {
    keeps_the_contract(Backend::Postgres).await;
}

async fn keeps_the_contract(backend: Backend) {
    let server = Server::start_on(backend, Arc::new(SystemClock)).await;
    let contract = Contract::read();
    let rows = rows();
    let mut failures = Vec::new();
    let mut passed = 0;
    for row in &rows {
        let problems = problems_of(&server, &contract, row).await;
        if problems.is_empty() {
            passed += 1;
        }
        failures.extend(problems.into_iter().map(|problem| format!("{}: {problem}", row.path)));
    }
    for operation in api::routes().operations() {
        let path = operation.path.trim_start_matches('/');
        if !rows.iter().any(|row| row.path == path) {
            failures.push(format!("{path}: has no row"));
        }
    }
    println!("{passed} operations passed / {} in contract", contract.operations().len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
