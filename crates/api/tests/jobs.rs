//! Sync, reset, cancel and the reading of jobs over the wire.

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use control::{
    jobs::JobStatus,
    runner::FailureType,
    schedule,
    testing::{Act, ManualClock},
};
use serde_json::{Value, json};

use crate::ground::{NOBODY, Server, World};

/// Waits until the job has this status.
async fn until(server: &Server, job: i64, status: JobStatus) {
    let look = async |control: &control::Control| {
        let now = control.job_light(job).await.unwrap().status;
        (now == status).then_some(())
    };
    server.control.until(&format!("job {job} {status:?}"), look).await;
}

async fn sync(server: &Server, world: &World) -> Value {
    server.post("connections/sync", json!({"connectionId": world.connection})).await.ok()
}

#[tokio::test]
async fn a_job_as_it_is_read() {
    let clock = ManualClock::new("2024-01-01T00:00:00.750Z".parse().unwrap());
    let server = Server::start_with(clock).await;
    let world = World::create(&server).await;
    let started = sync(&server, &world).await;
    let job = started["job"]["id"].as_i64().unwrap();
    assert_eq!(started["job"]["configType"], "sync");
    assert_eq!(started["job"]["configId"], world.connection);
    until(&server, job, JobStatus::Succeeded).await;
    let read = server.post("jobs/get", json!({"id": job})).await.ok();
    assert_eq!(read["job"]["createdAt"], 1_704_067_200, "seconds");
    assert_eq!(read["job"]["status"], "succeeded");
    let attempt = &read["attempts"][0]["attempt"];
    assert_eq!((attempt["id"].as_i64(), attempt["status"].as_str()), (Some(0), Some("succeeded")));
    assert_eq!((attempt["recordsSynced"].as_i64(), attempt["bytesSynced"].as_i64()), (Some(20), Some(160)));
    assert_eq!(attempt["totalStats"]["recordsCommitted"], 20);
    assert_eq!(attempt["streamStats"].as_array().unwrap().len(), 2);
    assert_eq!(attempt["streamStats"][0]["stats"]["recordsEmitted"], 10);
    assert!(attempt.get("failureSummary").is_none(), "absent members are left out");
    let lines = read["attempts"][0]["logs"]["logLines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line.as_str().unwrap().contains("scripted")));
    assert!(!read.to_string().contains("hunter2"));

    let light = server.post("jobs/get_light", json!({"id": job})).await.ok();
    assert_eq!(light["job"]["id"], job);
    let last = server.post("jobs/get_last_replication_job", json!({"connectionId": world.connection})).await.ok();
    assert_eq!(last["job"]["id"], job);
    assert_eq!(server.post("jobs/get_last_replication_job", json!({"connectionId": NOBODY})).await.ok(), json!({}));
    let debug = server.post("jobs/get_debug_info", json!({"id": job})).await.ok();
    assert_eq!(debug["job"]["sourceDefinition"]["dockerRepository"], "airbyte/source-faker");
    assert_eq!(debug["workflowState"], json!({"running": false}));
}

#[tokio::test]
async fn lists_are_newest_first_with_pages() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let job = sync(&server, &world).await["job"]["id"].as_i64().unwrap();
        until(&server, job, JobStatus::Succeeded).await;
        ids.push(job);
    }
    ids.reverse();
    let list = async |more: Value| {
        let mut body = json!({"configTypes": ["sync", "reset_connection"], "configId": world.connection});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let list = server.post("jobs/list", body).await.ok();
        let ids: Vec<i64> =
            list["jobs"].as_array().unwrap().iter().map(|job| job["job"]["id"].as_i64().unwrap()).collect();
        (ids, list["totalJobCount"].as_i64().unwrap())
    };
    assert_eq!(list(json!({})).await, (ids.clone(), 5));
    assert_eq!(list(json!({"pagination": {"pageSize": 2, "rowOffset": 1}})).await, (ids[1..3].to_vec(), 5));
    assert_eq!(list(json!({"configTypes": []})).await.1, 5, "no type means all");
    assert_eq!(list(json!({"configTypes": ["reset_connection"]})).await, (Vec::new(), 0));
    assert_eq!(list(json!({"configTypes": ["get_spec"]})).await, (Vec::new(), 0));
    assert_eq!(list(json!({"configId": NOBODY})).await, (Vec::new(), 0));
    assert_eq!(list(json!({"configId": "no id"})).await, (Vec::new(), 0));
    // Whole pages, up to and with the one that holds the job.
    let including = json!({"includingJobId": ids[2], "pagination": {"pageSize": 2, "rowOffset": 4}});
    assert_eq!(list(including).await, (ids[..4].to_vec(), 5));
    assert_eq!(list(json!({"includingJobId": 99})).await.0, Vec::<i64>::new());
    let wrong = server.post("jobs/list", json!({"configTypes": ["queued"], "configId": world.connection})).await;
    assert_eq!(wrong.refused(), "configTypes[0]");
    let wrong = json!({"configId": world.connection, "pagination": {"pageSize": -1}});
    assert_eq!(server.post("jobs/list", wrong).await.refused(), "pagination.pageSize");
}

#[tokio::test]
async fn what_fails_says_why() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    server.runner.then(Act::Fail(3, FailureType::ConfigError));
    let job = sync(&server, &world).await["job"]["id"].as_i64().unwrap();
    until(&server, job, JobStatus::Failed).await;
    let read = server.post("jobs/get", json!({"id": job})).await.ok();
    let summary = &read["attempts"][0]["attempt"]["failureSummary"];
    assert_eq!(summary["partialSuccess"], true);
    let failure = &summary["failures"][0];
    assert_eq!(
        (failure["failureOrigin"].as_str(), failure["failureType"].as_str()),
        (Some("source"), Some("config_error"))
    );
    assert_eq!(failure["externalMessage"], "scripted ConfigError");
    assert!(failure["timestamp"].is_i64());
    // Invariant 6: the scripted connector tells its whole configuration.
    let told = failure["internalMessage"].as_str().unwrap();
    assert!(told.contains("count") && !told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn refusals() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    for path in ["jobs/get", "jobs/get_light", "jobs/get_debug_info", "jobs/cancel"] {
        let answer = server.post(path, json!({"id": 99})).await;
        assert_eq!((answer.status, answer.body["id"].as_str()), (StatusCode::NOT_FOUND, Some("99")), "{path}");
        assert_eq!(server.post(path, json!({"id": "x"})).await.refused(), "id");
    }
    for path in ["connections/sync", "connections/reset"] {
        assert_eq!(server.post(path, json!({"connectionId": NOBODY})).await.status, StatusCode::NOT_FOUND);
        assert_eq!(server.post(path, json!({})).await.refused(), "connectionId");
    }
    server.runner.then(Act::Hang);
    sync(&server, &world).await;
    let second = server.post("connections/sync", json!({"connectionId": world.connection})).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    server.post("connections/update", json!({"connectionId": world.connection, "status": "inactive"})).await.ok();
    let inactive = server.post("connections/sync", json!({"connectionId": world.connection})).await;
    assert_eq!(
        (inactive.status, inactive.body["code"].as_str()),
        (StatusCode::CONFLICT, Some("connection_not_active"))
    );
    server.runner.release();
}

#[tokio::test]
async fn a_reset_cancels_the_running_sync() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    server.runner.then(Act::Hang);
    let running = sync(&server, &world).await["job"]["id"].as_i64().unwrap();
    let reset = server.post("connections/reset", json!({"connectionId": world.connection})).await.ok();
    assert_eq!(reset["job"]["configType"], "reset_connection");
    assert_eq!(reset["job"]["resetConfig"]["streamsToReset"], json!([{"name": "users"}, {"name": "orders"}]));
    until(&server, reset["job"]["id"].as_i64().unwrap(), JobStatus::Succeeded).await;
    let cancelled = server.post("jobs/get_light", json!({"id": running})).await.ok();
    assert_eq!(cancelled["job"]["status"], "cancelled");
}

/// Case 06: after the answer of a cancel only `cancelled` is ever seen, and it is never offered as a good run.
#[tokio::test]
async fn cancelled_stays_cancelled() {
    let server = Server::start().await;
    let world = World::create(&server).await;
    server.runner.then(Act::Hang);
    let job = sync(&server, &world).await["job"]["id"].as_i64().unwrap();
    for _ in 0..2 {
        let answer = server.post("jobs/cancel", json!({"id": job})).await.ok();
        assert_eq!(answer["job"]["status"], "cancelled");
    }
    let list = json!({"configTypes": ["sync"], "configId": world.connection});
    let list = server.post("jobs/list", list).await.ok();
    let own = &list["jobs"][0];
    assert_eq!(own["job"]["status"], "cancelled");
    assert_eq!(own["attempts"][0]["status"], "failed");
    assert_eq!(own["attempts"][0]["failureSummary"]["failures"][0]["failureType"], "manual_cancellation");
    let last = server.post("jobs/get_last_replication_job", json!({"connectionId": world.connection})).await.ok();
    assert_eq!(last, json!({}));
    let next = sync(&server, &world).await["job"]["id"].as_i64().unwrap();
    until(&server, next, JobStatus::Succeeded).await;
}

/// Case 02: a zone has its own field; linked names are valid; what is refused leaves nothing behind.
#[tokio::test]
async fn a_cron_zone_in_its_own_field() {
    let clock: Arc<ManualClock> = ManualClock::new("2024-01-01T00:00:00Z".parse().unwrap());
    let server = Server::start_with(clock).await;
    let world = World::without_connection(&server).await;
    let create = async |expression: &str, zone: &str| {
        let body = json!({
            "sourceId": world.source, "destinationId": world.destination, "status": "active", "name": "cron",
            "scheduleType": "cron",
            "scheduleData": {"cron": {"cronExpression": expression, "cronTimeZone": zone}}
        });
        server.post("connections/create", body).await
    };
    for zone in ["US/Pacific", "Asia/Kathmandu", "Etc/UTC"] {
        let created = create("0 0 6 * * ?", zone).await.ok();
        assert_eq!(created["scheduleData"]["cron"]["cronTimeZone"], zone);
    }
    let pasted = create("0 27 * * * ? * US/Pacific", "UTC").await;
    pasted.refused();
    let message = pasted.body["message"].as_str().unwrap();
    for part in ["0 27 * * * ? * US/Pacific", "cronTimeZone", "6 or 7 fields"] {
        assert!(message.contains(part), "{message}");
    }
    let nowhere = create("0 0 6 * * ?", "Mars/Olympus").await;
    assert_eq!(nowhere.refused(), "scheduleData.cron.cronTimeZone");
    assert!(nowhere.body["message"].as_str().unwrap().contains("Mars/Olympus"));
    let list = server.post("connections/list", json!({"workspaceId": world.workspace})).await.ok();
    assert_eq!(list["connections"].as_array().unwrap().len(), 3);

    let fires = |zone: &str, after: &str, n| -> Vec<String> {
        let schedule = control::connections::Schedule::Cron { expression: "0 0 6 * * ?".into(), zone: zone.into() };
        let after: DateTime<Utc> = after.parse().unwrap();
        let times = schedule::fire_times(&schedule, after, n);
        times.iter().map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string()).collect()
    };
    assert_eq!(fires("US/Pacific", "2027-03-12T20:00:00Z", 2), ["2027-03-13T14:00:00Z", "2027-03-14T13:00:00Z"]);
    assert_eq!(fires("US/Pacific", "2027-11-05T20:00:00Z", 2), ["2027-11-06T13:00:00Z", "2027-11-07T14:00:00Z"]);
    assert_eq!(fires("Asia/Kathmandu", "2027-03-13T12:00:00Z", 1), ["2027-03-14T00:15:00Z"]);
}
