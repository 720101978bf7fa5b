//! What every test starts from: a server on an empty folder, a sample source, a SQLite destination.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection as Database, types::ValueRef};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use xtask::server::{Launch, Server};

pub const SAMPLE: &str = "dfd88b22-b603-4c3d-aad7-3701784586b1";
pub const SQLITE: &str = "b76be0a6-27dc-4560-95f6-2623da0bd7b6";

pub fn leat() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_leat"))
}

/// Where the metadata lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite,
    Postgres,
}

pub struct Ground {
    server: Option<Server>,
    pub workspace: String,
    pub source: String,
    pub destination: String,
    /// Removed when the ground is.
    folder: TempDir,
    /// Of the store, where that is Postgres.
    pub database_url: Option<String>,
}

/// A database of its own on the PostgreSQL server of this test run.
fn postgres() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store::testing::postgres_url())
}

/// What a job did.
#[derive(Debug)]
pub struct Job {
    pub status: String,
    pub attempts: usize,
    /// Committed rows over all attempts.
    pub committed: i64,
    pub log: String,
    pub info: Value,
}

impl Ground {
    pub fn new(count: u64) -> Self {
        Self::on(StoreKind::Sqlite, count)
    }

    pub fn on(store: StoreKind, count: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut launch = Launch::new(leat(), folder.path()).unwrap();
        let database_url = (store == StoreKind::Postgres).then(postgres);
        if let Some(url) = &database_url {
            launch = launch.argument("--database-url").argument(url);
        }
        let server = launch.start().unwrap();
        let workspaces = server.post("workspaces/list", &json!({})).unwrap();
        let workspace = workspaces["workspaces"][0]["workspaceId"].as_str().unwrap().to_owned();
        let source = server
            .post(
                "sources/create",
                &json!({
                    "workspaceId": workspace, "name": "sample", "sourceDefinitionId": SAMPLE,
                    "connectionConfiguration": sample(count),
                }),
            )
            .unwrap();
        let destination = server
            .post(
                "destinations/create",
                &json!({
                    "workspaceId": workspace, "name": "lake", "destinationDefinitionId": SQLITE,
                    "connectionConfiguration": { "destination_path": "/local/lake.db" },
                }),
            )
            .unwrap();
        Self {
            server: Some(server),
            workspace,
            source: source["sourceId"].as_str().unwrap().to_owned(),
            destination: destination["destinationId"].as_str().unwrap().to_owned(),
            folder,
            database_url,
        }
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn server_mut(&mut self) -> &mut Server {
        self.server.as_mut().unwrap()
    }

    pub fn post(&self, operation: &str, body: Value) -> Value {
        self.server().post(operation, &body).unwrap()
    }

    /// Starts the server again on the same folder, with these variables.
    pub fn restart(&mut self, variables: &[(&str, &str)]) {
        let server = self.server.take().unwrap();
        self.server = Some(server.again_with(variables).unwrap());
    }

    /// The source grows, or changes otherwise.
    pub fn configure(&self, configuration: Value) {
        let body = json!({ "sourceId": self.source, "name": "sample", "connectionConfiguration": configuration });
        self.post("sources/update", body);
    }

    pub fn catalog(&self) -> Value {
        self.post("sources/discover_schema", json!({ "sourceId": self.source }))["catalog"].clone()
    }

    /// A manual connection of these streams, each `(name, sync mode, destination sync mode)`, with the smallest budget, so
    /// that few rows make many commits.
    pub fn connection(&self, streams: &[(&str, &str, &str)]) -> String {
        let catalog = json!({ "streams": self.streams(streams) });
        let created = self.post(
            "connections/create",
            json!({
                "sourceId": self.source, "destinationId": self.destination, "status": "active",
                "scheduleType": "manual", "syncCatalog": catalog, "resourceRequirements": { "memory_limit": "1Mi" },
            }),
        );
        created["connectionId"].as_str().unwrap().to_owned()
    }

    pub fn streams(&self, streams: &[(&str, &str, &str)]) -> Vec<Value> {
        let mut chosen = Vec::new();
        for entry in self.catalog()["streams"].as_array().unwrap() {
            let wanted = streams.iter().find(|(name, ..)| entry["stream"]["name"] == *name);
            if let Some((_, sync_mode, destination_mode)) = wanted {
                let mut entry = entry.clone();
                entry["config"]["selected"] = json!(true);
                entry["config"]["syncMode"] = json!(sync_mode);
                entry["config"]["destinationSyncMode"] = json!(destination_mode);
                chosen.push(entry);
            }
        }
        chosen
    }

    pub fn start_sync(&self, connection: &str) -> i64 {
        self.post("connections/sync", json!({ "connectionId": connection }))["job"]["id"].as_i64().unwrap()
    }

    pub fn sync(&self, connection: &str) -> Job {
        self.wait(self.start_sync(connection))
    }

    pub fn wait(&self, job: i64) -> Job {
        Job::of(self.server().wait(job).unwrap())
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("local/lake.db")
    }

    pub fn database(&self) -> Database {
        let database = Database::open(self.file()).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database
    }

    pub fn number(&self, query: &str) -> i64 {
        self.database().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// A hash over all columns but the metadata, in the order of the key; and the number of rows.
    pub fn fingerprint(&self, table: &str) -> (String, i64) {
        let database = self.database();
        let mut names = Vec::new();
        let mut columns = database.prepare(&format!("select name from pragma_table_info('{table}')")).unwrap();
        for name in columns.query_map([], |row| row.get::<_, String>(0)).unwrap() {
            let name = name.unwrap();
            if !name.starts_with("_airbyte_") {
                names.push(format!("\"{name}\""));
            }
        }
        assert!(!names.is_empty(), "no table {table}");
        let list = names.join(", ");
        let mut statement = database.prepare(&format!("select {list} from \"{table}\" order by {list}")).unwrap();
        let mut rows = statement.query([]).unwrap();
        let (mut hash, mut count) = (Sha256::new(), 0);
        while let Some(row) = rows.next().unwrap() {
            count += 1;
            for index in 0..names.len() {
                match row.get_ref(index).unwrap() {
                    ValueRef::Null => hash.update([0]),
                    ValueRef::Integer(number) => hash.update(number.to_le_bytes()),
                    ValueRef::Real(number) => hash.update(number.to_le_bytes()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => hash.update(bytes),
                }
                hash.update([1]);
            }
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (digest, count)
    }

    /// Tables that no attempt should leave behind: staging and tails.
    pub fn leftovers(&self) -> Vec<String> {
        let database = self.database();
        let query = "select name from sqlite_schema where type = 'table' and name like '\\_leat\\_%' escape '\\' \
                     and name not in ('_leat_commits', '_leat_fence')";
        let mut statement = database.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

impl Job {
    pub fn of(info: Value) -> Self {
        let attempts = info["attempts"].as_array().unwrap();
        let mut log = String::new();
        for attempt in attempts {
            for line in attempt["logs"]["logLines"].as_array().into_iter().flatten() {
                log.push_str(line.as_str().unwrap());
                log.push('\n');
            }
        }
        Self {
            status: info["job"]["status"].as_str().unwrap().to_owned(),
            attempts: attempts.len(),
            committed: attempts.iter().filter_map(|attempt| attempt["attempt"]["recordsSynced"].as_i64()).sum(),
            log,
            info,
        }
    }
}

/// A source whose rows never change, with a mark every 500 rows.
pub fn sample(count: u64) -> Value {
    json!({ "count": count, "seed": 7, "always_updated": false, "records_per_slice": 500 })
}
