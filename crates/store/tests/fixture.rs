//! A connection with everything that it refers to, and short ways to make jobs, claims and entries.

use protocol::{
    Json, StateMessage, StreamDescriptor,
    checkpoint::{Claim, Counts, Entry, EntryKind, Line, Place, Point, Why},
};
use sqlx::Connection as _;
use store::{
    Actor, ActorKind, ClaimRequest, ClaimStream, Claimed, Connection, ConnectionStatus, Definition, Job, JobKind,
    NewJob, Priority, Store, StoreUrl, Tx, WorkerLease, Workspace, testing::TestStore,
};
use uuid::Uuid;

pub const NOW: i64 = 1_700_000_000_000;

pub fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).unwrap()
}

pub fn stream(name: &str) -> StreamDescriptor {
    StreamDescriptor::new(Some("public"), name)
}

pub fn workspace(slug: &str) -> Workspace {
    Workspace {
        id: Uuid::new_v4(),
        slug: slug.into(),
        name: "Shop".into(),
        doc: json(r#"{"email":"a@example.org"}"#),
        tombstone: false,
        created_ms: NOW,
        updated_ms: NOW,
    }
}

pub fn definition(kind: ActorKind) -> Definition {
    Definition {
        id: Uuid::new_v4(),
        kind,
        name: "Sample".into(),
        doc: json(r#"{"dockerRepository":"airbyte/source-faker"}"#),
        custom: false,
        public: true,
        tombstone: false,
        created_ms: NOW,
        updated_ms: NOW,
    }
}

pub fn actor(kind: ActorKind, workspace_id: Uuid, definition_id: Uuid) -> Actor {
    Actor {
        id: Uuid::new_v4(),
        kind,
        workspace_id,
        definition_id,
        name: "An actor".into(),
        config: json(r#"{"password":{"_secret":"00000000-0000-0000-0000-000000000001"},"count":10}"#),
        doc: json("{}"),
        tombstone: false,
        created_ms: NOW,
        updated_ms: NOW,
    }
}

/// Inserts workspace, definitions, actors and a catalog; answers a connection that is not inserted yet.
pub async fn prepare(tx: &mut Tx) -> Connection {
    let workspace = workspace(&Uuid::new_v4().to_string());
    tx.insert_workspace(&workspace).await.unwrap();
    let mut actors = Vec::new();
    for kind in [ActorKind::Source, ActorKind::Destination] {
        let definition = definition(kind);
        tx.upsert_definition(&definition).await.unwrap();
        let actor = actor(kind, workspace.id, definition.id);
        tx.insert_actor(&actor).await.unwrap();
        actors.push(actor.id);
    }
    let catalog_id = tx.put_catalog(&json(r#"{"streams":[{"name":"users"}]}"#), NOW).await.unwrap();
    Connection {
        id: Uuid::new_v4(),
        workspace_id: workspace.id,
        source_id: actors[0],
        destination_id: actors[1],
        name: "shop to lake".into(),
        status: ConnectionStatus::Active,
        schedule_type: "manual".into(),
        schedule: None,
        namespace_definition: "source".into(),
        namespace_format: None,
        prefix: None,
        source_catalog_id: None,
        catalog_id,
        selection: json("[]"),
        breaking_change: false,
        geography: Some("auto".into()),
        resource_requirements: None,
        notify_schema_changes: true,
        notify_schema_changes_by_email: false,
        non_breaking_changes_preference: Some("ignore".into()),
        next_run_at_ms: None,
        wait_reason: None,
        doc: json("{}"),
        created_ms: NOW,
        updated_ms: NOW,
    }
}

/// A connection in the store.
pub async fn connection(store: &Store) -> Uuid {
    let mut tx = store.write(Priority::Api).await.unwrap();
    let row = prepare(&mut tx).await;
    tx.insert_connection(&row).await.unwrap();
    tx.commit().await.unwrap();
    row.id
}

pub fn new_job(connection_id: Uuid) -> NewJob {
    NewJob { connection_id, kind: JobKind::Sync, doc: json("{}"), retry: json("{}"), now_ms: NOW }
}

pub async fn job(store: &Store, connection: Uuid) -> Job {
    let mut tx = store.write(Priority::Api).await.unwrap();
    let job = tx.insert_job(&new_job(connection)).await.unwrap();
    tx.commit().await.unwrap();
    job
}

pub async fn worker(store: &Store) -> WorkerLease {
    store.register_worker("test", NOW).await.unwrap().0
}

/// Claims the next attempt of a job for streams, given with whether their generation rises.
pub async fn claim(store: &Store, worker: &WorkerLease, job: i64, streams: &[(&str, bool)]) -> Claimed {
    claim_at(store, worker, job, streams, NOW).await
}

pub async fn claim_at(store: &Store, worker: &WorkerLease, job: i64, streams: &[(&str, bool)], now_ms: i64) -> Claimed {
    let streams: Vec<ClaimStream> =
        streams.iter().map(|(name, raise)| ClaimStream { stream: stream(name), raise_generation: *raise }).collect();
    let mut tx = store.write(Priority::Api).await.unwrap();
    let request = ClaimRequest { job, worker: worker.id(), streams: &streams, now_ms };
    let claimed = tx.claim_attempt(&request).await.unwrap().expect("the job can be claimed");
    tx.commit().await.unwrap();
    claimed
}

/// A state of one stream, `rows` of which were read and written since the previous line.
pub fn entry(claim: &Claim, name: &str, point: (i64, i64), place: Place, rows: i64) -> Entry {
    Entry {
        point: Point { origin: point.0, seq: point.1 },
        kind: EntryKind::Stream,
        why: Why::Sync,
        job: Some(claim.job),
        attempt: Some(claim.attempt),
        state: Some(StateMessage::stream(stream(name), Some(json(&format!(r#"{{"at":{}}}"#, point.1))))),
        lines: vec![Line { stream: stream(name), generation: 0, place, counts: counts(rows) }],
    }
}

pub fn counts(rows: i64) -> Counts {
    Counts { read: rows, written: rows, filtered: 0, rejected: 0, bytes: rows * 10 }
}

/// Changes rows behind the store's back.
pub async fn raw(test: &TestStore, sql: &'static str) {
    match test.url() {
        StoreUrl::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut conn = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
        StoreUrl::Postgres(url) => {
            let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
    }
}
