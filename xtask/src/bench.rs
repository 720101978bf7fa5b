//! The figures of `docs/figures.md`: small things first, then one large sync with questions asked meanwhile.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use xtask::server::{Server, pause};

pub fn run(leat: &Path, rows: u64) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("leat-bench-{}", std::process::id()));
    let outcome = measure(leat, rows, &folder);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn measure(leat: &Path, rows: u64, folder: &Path) -> Result<()> {
    let mut first_start = Vec::new();
    for round in 0..5 {
        first_start.push(Server::start(leat, &folder.join(round.to_string()))?.healthy_after);
    }
    first_start.sort();
    figure("serve on an empty folder to healthy, median of 5", format!("{} ms", first_start[2].as_millis()));

    let server = Server::start(leat, &folder.join("main"))?;
    pause(Duration::from_secs(2));
    figure("idle memory", format!("{:.0} MB", megabytes(server.memory()?)));

    let workspaces = server.post("workspaces/list", &json!({}))?;
    let workspace = workspaces["workspaces"][0]["workspaceId"].clone();
    let small = connection(&server, &workspace, 10, "small")?;
    let large = connection(&server, &workspace, rows, "large")?;

    let mut small_syncs = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        finish(&server, &start(&server, &small)?)?;
        small_syncs.push(began.elapsed());
    }
    small_syncs.sort();
    figure("sync of 10 rows, median of 5, polled every 20 ms", format!("{} ms", small_syncs[2].as_millis()));

    let began = Instant::now();
    let job = start(&server, &large)?;
    let mut reads = Vec::new();
    let mut other_sync = Duration::ZERO;
    let mut asked = false;
    loop {
        let asking = Instant::now();
        server.post("connections/get", &json!({ "connectionId": large }))?;
        reads.push(asking.elapsed());
        if !asked && began.elapsed() > Duration::from_secs(1) {
            asked = true;
            let asking = Instant::now();
            let other = start(&server, &small)?;
            other_sync = asking.elapsed();
            finish(&server, &other)?;
        }
        let light = server.post("jobs/get_light", &json!({ "id": job }))?;
        let status = light["job"]["status"].as_str().unwrap_or_default().to_owned();
        if status != "running" && status != "pending" {
            ensure!(status == "succeeded", "the large sync is {status}");
            break;
        }
        pause(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let info = server.post("jobs/get", &json!({ "id": job }))?;
    let moved = info["attempts"][0]["attempt"]["recordsSynced"].as_i64().unwrap_or_default();
    reads.sort();
    figure("rows of users, sample to SQLite", format!("{moved}"));
    figure("rows per second", format!("{:.0}", moved as f64 / took.as_secs_f64()));
    let p99 = reads[(reads.len() * 99 / 100).min(reads.len() - 1)];
    figure("connections/get meanwhile, p99", format!("{:.1} ms of {} calls", p99.as_secs_f64() * 1000.0, reads.len()));
    figure("sync of another connection meanwhile, answered in", format!("{} ms", other_sync.as_millis()));
    figure("peak memory", format!("{:.0} MB", megabytes(server.peak_memory()?)));
    Ok(())
}

fn figure(name: &str, value: String) {
    println!("{name:<55} {value}");
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn start(server: &Server, connection: &str) -> Result<i64> {
    let started = server.post("connections/sync", &json!({ "connectionId": connection }))?;
    started["job"]["id"].as_i64().context("sync answers no job id")
}

fn finish(server: &Server, job: &i64) -> Result<()> {
    let info = server.wait(*job)?;
    ensure!(info["job"]["status"] == "succeeded", "job {job} did not succeed: {info}");
    Ok(())
}

/// Users only, full refresh and overwrite, each connection into a file of its own.
fn connection(server: &Server, workspace: &Value, count: u64, name: &str) -> Result<String> {
    let source = server.post(
        "sources/create",
        &json!({
            "workspaceId": workspace, "name": name, "sourceDefinitionId": "dfd88b22-b603-4c3d-aad7-3701784586b1",
            "connectionConfiguration": { "count": count, "seed": 1, "records_per_slice": 10_000 },
        }),
    )?;
    let destination = server.post(
        "destinations/create",
        &json!({
            "workspaceId": workspace, "name": name, "destinationDefinitionId": "b76be0a6-27dc-4560-95f6-2623da0bd7b6",
            "connectionConfiguration": { "destination_path": format!("/local/{name}.db") },
        }),
    )?;
    let discovered = server.post("sources/discover_schema", &json!({ "sourceId": source["sourceId"] }))?;
    let mut streams = discovered["catalog"]["streams"].as_array().context("discover answers no catalog")?.clone();
    streams.retain(|entry| entry["stream"]["name"] == "users");
    for entry in &mut streams {
        entry["config"]["selected"] = json!(true);
        entry["config"]["syncMode"] = json!("full_refresh");
        entry["config"]["destinationSyncMode"] = json!("overwrite");
    }
    let connection = server.post(
        "connections/create",
        &json!({
            "sourceId": source["sourceId"], "destinationId": destination["destinationId"], "status": "active",
            "scheduleType": "manual", "syncCatalog": { "streams": streams },
        }),
    )?;
    Ok(connection["connectionId"].as_str().context("create answers no connection")?.to_owned())
}
