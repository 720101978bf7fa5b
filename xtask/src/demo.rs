//! The main job, shown: an API call makes a connection, and rows arrive, incrementally, on a schedule, after a kill.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection as Database, OpenFlags};
use serde_json::{Value, json};

use xtask::server::{Server, pause};

const FOLDER: &str = "demo-data";
const BIG: u64 = 1_500_000;

pub fn run(leat: &Path) -> Result<()> {
    let folder = PathBuf::from(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    title("A server on an empty folder");
    let mut server = Server::start(leat, &folder)?;
    println!("$ leat serve --listen {} --data-dir {FOLDER}", server.address);
    println!("  healthy after {} ms, {} MB of memory", server.healthy_after.as_millis(), server.memory()? / 1_000_000);

    title("A source, a destination, a connection");
    let workspaces = call(&server, "workspaces/list", json!({}))?;
    let workspace = text(&workspaces, "/workspaces/0/workspaceId")?;
    let source = source(&server, &workspace, "Shop", 1_000)?;
    let big_source = self::source(&server, &workspace, "Big shop", BIG)?;
    let definitions = server.post("destination_definitions/list", &json!({}))?;
    let definition = find(&definitions["destinationDefinitions"], "dockerRepository", "airbyte/destination-sqlite")?;
    let destination = call(
        &server,
        "destinations/create",
        json!({
            "workspaceId": workspace, "name": "Lake", "destinationDefinitionId": definition["destinationDefinitionId"],
            "connectionConfiguration": { "destination_path": "/local/lake.db" },
        }),
    )?;
    let destination = text(&destination, "/destinationId")?;
    let connection = connection(&server, &source, &destination, "shop_", &["users", "purchases"])?;

    title("The first sync moves everything, the second nothing");
    let first = sync(&server, &connection)?;
    ensure!(committed(&first) > 0, "the first sync moved no rows");
    table(&folder, "select id, name, email, updated_at from shop_users order by id limit 3")?;
    let second = sync(&server, &connection)?;
    ensure!(committed(&second) == 0, "the second sync moved rows although nothing had changed");

    title("The source grows, and a schedule fetches what is new");
    call(
        &server,
        "sources/update",
        json!({ "sourceId": source, "name": "Shop", "connectionConfiguration": configuration(1_500) }),
    )?;
    call(
        &server,
        "connections/update",
        json!({
            "connectionId": connection, "scheduleType": "basic",
            "scheduleData": { "basicSchedule": { "timeUnit": "minutes", "units": 1 } },
        }),
    )?;
    println!("  it fires a minute after the start of the last sync; meanwhile:");

    title("A kill in mid-sync");
    let big = self::connection(&server, &big_source, &destination, "big_", &["users"])?;
    let started = call(&server, "connections/sync", json!({ "connectionId": big }))?;
    let job = started["job"]["id"].as_i64().context("sync answers no job id")?;
    let began = Instant::now();
    while staged(&folder) == 0 && began.elapsed() < Duration::from_secs(30) {
        pause(Duration::from_millis(20));
    }
    server.kill()?;
    println!("  $ kill -9: the server is gone, job {job} was running");
    let restarted = Instant::now();
    server = server.again()?;
    println!("  $ leat serve: healthy again after {} ms; nobody calls anything", server.healthy_after.as_millis());
    let info = server.wait(job)?;
    println!("  the job went on by itself and ended {:.1} s after the restart", restarted.elapsed().as_secs_f64());
    report(&info);
    ensure!(info["job"]["status"] == "succeeded", "the job did not succeed after the restart");
    table(&folder, "select count(*) as rows, count(distinct id) as ids, max(id) as last from big_users")?;

    title("The schedule");
    let scheduled = wait_for_schedule(&server, &connection, second["job"]["id"].as_i64().unwrap_or_default())?;
    report(&scheduled);
    ensure!(committed(&scheduled) > 0, "the scheduled sync moved no rows");
    table(&folder, "select count(*) as users, max(id) as last from shop_users")?;
    call(&server, "connections/update", json!({ "connectionId": connection, "scheduleType": "manual" }))?;

    title("A reset empties the tables and keeps them");
    let reset = call(&server, "connections/reset", json!({ "connectionId": connection }))?;
    let reset = server.wait(reset["job"]["id"].as_i64().context("reset answers no job id")?)?;
    report(&reset);
    table(
        &folder,
        "select (select count(*) from shop_users) as users, (select count(*) from shop_purchases) as purchases",
    )?;

    println!("\nDone. The folder {FOLDER} stays. Go on with: make serve DATA={FOLDER}");
    Ok(())
}

fn title(text: &str) {
    println!("\n== {text}");
}

/// Shows a call as `curl`, makes it, returns the answer.
fn call(server: &Server, operation: &str, body: Value) -> Result<Value> {
    let shown = match body.get("syncCatalog") {
        Some(_) => {
            let mut short = body.clone();
            short["syncCatalog"] = json!({ "streams": ["..."] });
            short
        }
        None => body.clone(),
    };
    println!("$ curl -s http://{}/api/v1/{operation} -d '{shown}'", server.address);
    server.post(operation, &body)
}

fn configuration(count: u64) -> Value {
    json!({ "count": count, "seed": 1, "always_updated": false, "records_per_slice": 10_000 })
}

fn source(server: &Server, workspace: &str, name: &str, count: u64) -> Result<String> {
    let definitions = server.post("source_definitions/list", &json!({}))?;
    let definition = find(&definitions["sourceDefinitions"], "dockerRepository", "airbyte/source-faker")?;
    let source = call(
        server,
        "sources/create",
        json!({
            "workspaceId": workspace, "name": name, "sourceDefinitionId": definition["sourceDefinitionId"],
            "connectionConfiguration": configuration(count),
        }),
    )?;
    text(&source, "/sourceId")
}

/// Discovers, chooses streams, merges by key.
fn connection(server: &Server, source: &str, destination: &str, prefix: &str, streams: &[&str]) -> Result<String> {
    let discovered = call(server, "sources/discover_schema", json!({ "sourceId": source }))?;
    let mut chosen = Vec::new();
    for entry in discovered["catalog"]["streams"].as_array().context("discover answers no catalog")? {
        let name = entry["stream"]["name"].as_str().unwrap_or_default();
        let mut entry = entry.clone();
        entry["config"]["selected"] = json!(streams.contains(&name));
        entry["config"]["syncMode"] = json!("incremental");
        entry["config"]["destinationSyncMode"] = json!("append_dedup");
        chosen.push(entry);
    }
    let connection = call(
        server,
        "connections/create",
        json!({
            "sourceId": source, "destinationId": destination, "status": "active", "prefix": prefix,
            "scheduleType": "manual", "sourceCatalogId": discovered["catalogId"], "syncCatalog": { "streams": chosen },
        }),
    )?;
    text(&connection, "/connectionId")
}

fn sync(server: &Server, connection: &str) -> Result<Value> {
    let started = call(server, "connections/sync", json!({ "connectionId": connection }))?;
    let info = server.wait(started["job"]["id"].as_i64().context("sync answers no job id")?)?;
    report(&info);
    ensure!(info["job"]["status"] == "succeeded", "the job did not succeed: {info}");
    Ok(info)
}

fn wait_for_schedule(server: &Server, connection: &str, after: i64) -> Result<Value> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(90) {
        let jobs = server.post("jobs/list", &json!({ "configTypes": ["sync"], "configId": connection }))?;
        if let Some(job) = jobs["jobs"][0]["job"]["id"].as_i64().filter(|job| *job > after) {
            return server.wait(job);
        }
        pause(Duration::from_millis(200));
    }
    bail!("the schedule did not fire within 90 s")
}

fn attempts(info: &Value) -> &[Value] {
    info["attempts"].as_array().map_or(&[], Vec::as_slice)
}

/// Rows that all attempts of a job committed.
fn committed(info: &Value) -> i64 {
    attempts(info).iter().filter_map(|attempt| attempt["attempt"]["recordsSynced"].as_i64()).sum()
}

fn report(info: &Value) {
    let job = &info["job"];
    println!(
        "  job {} ({}): {}, {} rows committed in {} attempt(s)",
        job["id"],
        job["configType"].as_str().unwrap_or_default(),
        job["status"].as_str().unwrap_or_default(),
        committed(info),
        attempts(info).len()
    );
}

/// Whether the big sync has made rows durable.
fn staged(folder: &Path) -> i64 {
    let Ok(database) = open(folder) else { return 0 };
    let query = "select count(*) from _leat_commits where state like '%\"users\"%' and state like '%1500000%'";
    database.query_row(query, [], |row| row.get(0)).unwrap_or(0)
}

fn open(folder: &Path) -> Result<Database> {
    let path = folder.join("local/lake.db");
    Database::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("{} does not open", path.display()))
}

/// Prints a query as `sqlite3` would.
fn table(folder: &Path, query: &str) -> Result<()> {
    println!("  $ sqlite3 {FOLDER}/local/lake.db \"{query}\"");
    let database = open(folder)?;
    let mut statement = database.prepare(query)?;
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    println!("    {}", names.join(" | "));
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut cells = Vec::new();
        for index in 0..names.len() {
            cells.push(match row.get_ref(index)? {
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                rusqlite::types::ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
            });
        }
        println!("    {}", cells.join(" | "));
    }
    Ok(())
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}

fn find<'a>(list: &'a Value, key: &str, value: &str) -> Result<&'a Value> {
    let found = list.as_array().into_iter().flatten().find(|entry| entry[key] == value);
    found.with_context(|| format!("no definition whose {key} is {value}"))
}
