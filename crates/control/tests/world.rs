//! A server without HTTP: a store in a temporary folder, a clock moved by hand, a runner with a script, one source and one
//! destination.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use control::{
    Control, Settings,
    catalog::{RequestedCatalog, RequestedConfig, RequestedEntry},
    connections::{ConnectionStatus, CronText, Interval, NewConnection, ScheduleKind, ScheduleRequest, TimeUnit},
    executor::Limits,
    jobs::{JobInfo, JobQuery, JobStatus},
    testing::{DESTINATION_DEFINITION, ManualClock, SOURCE_DEFINITION, ScriptedRunner},
};
use protocol::{DestinationSyncMode, Stream, SyncMode};
use serde_json::json;
use store::{ActorKind, Backend, testing::TestStore};
use uuid::Uuid;

pub struct World {
    store: TestStore,
    pub clock: Arc<ManualClock>,
    pub runner: Arc<ScriptedRunner>,
    pub control: Control,
    pub source: Uuid,
    pub destination: Uuid,
    settings: Settings,
}

pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub fn manual() -> ScheduleRequest {
    ScheduleRequest::default()
}

pub fn every(units: i64, unit: TimeUnit) -> ScheduleRequest {
    ScheduleRequest { kind: Some(ScheduleKind::Basic), basic: Some(Interval { units, unit }), ..manual() }
}

pub fn cron(expression: &str, zone: &str) -> ScheduleRequest {
    let cron = CronText { expression: expression.into(), zone: zone.into() };
    ScheduleRequest { kind: Some(ScheduleKind::Cron), cron: Some(cron), ..manual() }
}

fn entry(name: &str) -> RequestedEntry {
    let stream: Stream = serde_json::from_value(json!({
        "name": name,
        "json_schema": {"type": "object", "properties": {"id": {"type": "integer"}, "updated_at": {"type": "string"}}},
        "supported_sync_modes": ["full_refresh", "incremental"]
    }))
    .unwrap();
    let config = RequestedConfig {
        sync_mode: SyncMode::FullRefresh,
        destination_sync_mode: DestinationSyncMode::Overwrite,
        cursor_field: None,
        primary_key: None,
        selected: Some(true),
        field_selection_enabled: None,
        selected_fields: None,
    };
    RequestedEntry { stream, config }
}

impl World {
    pub async fn new() -> Self {
        Self::at("2024-01-01T00:00:00Z", Limits::default()).await
    }

    pub async fn at(now: &str, limits: Limits) -> Self {
        Self::on(Backend::Sqlite, now, limits).await
    }

    pub async fn on_postgres() -> Self {
        Self::on(Backend::Postgres, "2024-01-01T00:00:00Z", Limits::default()).await
    }

    async fn on(backend: Backend, now: &str, limits: Limits) -> Self {
        let store = TestStore::new(backend).await;
        let clock = ManualClock::new(time(now));
        let runner = ScriptedRunner::new();
        let settings = Settings { limits, ..Settings::default() };
        let control =
            Control::open(store.store.clone(), runner.clone(), clock.clone(), settings.clone()).await.unwrap();
        let workspace = control.workspaces().await.unwrap()[0].id;
        let config = json!({"count": 1, "password": "hunter2"});
        let source =
            control.create_actor(ActorKind::Source, workspace, SOURCE_DEFINITION, "shop", config).await.unwrap();
        let config = json!({"destination_path": "/local/x.db"});
        let destination = control
            .create_actor(ActorKind::Destination, workspace, DESTINATION_DEFINITION, "lake", config)
            .await
            .unwrap();
        control.start().await.unwrap();
        Self { store, clock, runner, control, source: source.id, destination: destination.id, settings }
    }

    pub async fn connect(&self, schedule: ScheduleRequest) -> Uuid {
        self.connect_streams(schedule, &["users", "orders"]).await
    }

    pub async fn connect_streams(&self, schedule: ScheduleRequest, streams: &[&str]) -> Uuid {
        let catalog = RequestedCatalog { streams: streams.iter().map(|name| entry(name)).collect() };
        let new = NewConnection {
            source_id: self.source,
            destination_id: self.destination,
            status: ConnectionStatus::Active,
            name: None,
            namespace_definition: None,
            namespace_format: None,
            prefix: None,
            operation_ids: Vec::new(),
            catalog: Some(catalog),
            schedule,
            resource_requirements: None,
            source_catalog_id: None,
            geography: None,
            notify_schema_changes: None,
            non_breaking_changes: None,
        };
        self.control.create_connection(new).await.unwrap().id
    }

    /// The process dies and the next one starts.
    pub async fn crash(&mut self) {
        self.control.crash().await;
        self.open_again().await;
    }

    /// Another process on the same store (Postgres), not started yet, with a runner of its own.
    pub async fn second(&self) -> (Control, Arc<ScriptedRunner>) {
        let runner = ScriptedRunner::new();
        let store = self.store.second().await;
        let control = Control::open(store, runner.clone(), self.clock.clone(), self.settings.clone()).await.unwrap();
        (control, runner)
    }

    /// The process stops in good order and the next one starts.
    pub async fn restart(&mut self) {
        self.control.shutdown().await;
        self.open_again().await;
    }

    /// Neither is started yet, as long as time goes by.
    pub async fn stop(&mut self) {
        self.control.shutdown().await;
    }

    pub async fn open_again(&mut self) {
        self.store.reopen().await;
        let store = self.store.store.clone();
        self.control =
            Control::open(store, self.runner.clone(), self.clock.clone(), self.settings.clone()).await.unwrap();
        self.control.start().await.unwrap();
    }

    /// Of a connection, oldest first.
    pub async fn jobs(&self, connection: Uuid) -> Vec<JobInfo> {
        jobs(&self.control, connection).await
    }

    /// Waits until the connection has that many jobs and the last one has this status.
    pub async fn until(&self, connection: Uuid, count: usize, status: JobStatus) -> JobInfo {
        let what = format!("{count} jobs, the last one {status:?}");
        let look = async |control: &Control| {
            let jobs = jobs(control, connection).await;
            assert!(jobs.len() <= count, "{} jobs instead of {count}", jobs.len());
            let last = jobs.into_iter().nth(count.checked_sub(1)?)?;
            (last.job.status == status).then_some(last)
        };
        let last = self.control.until(&what, look).await;
        self.control.job_info(last.job.id).await.unwrap()
    }

    /// Waits until a job has that many attempts and this status.
    pub async fn until_attempts(&self, job: i64, attempts: usize, status: JobStatus) -> JobInfo {
        let what = format!("{attempts} attempts and {status:?}");
        let look = async |control: &Control| {
            let info = control.job_info(job).await.unwrap();
            (info.attempts.len() == attempts && info.job.status == status).then_some(info)
        };
        self.control.until(&what, look).await
    }

    /// When the store says that the connection runs next.
    pub async fn next_run(&self, connection: Uuid) -> Option<DateTime<Utc>> {
        self.row(connection).await.next_run_at_ms.and_then(DateTime::from_timestamp_millis)
    }

    pub async fn row(&self, connection: Uuid) -> store::Connection {
        self.store.store.read().await.unwrap().connection(connection).await.unwrap().unwrap()
    }

    pub async fn pending_resets(&self, connection: Uuid) -> usize {
        self.store.store.read().await.unwrap().pending_resets(connection).await.unwrap().len()
    }

    pub async fn cancel_requested(&self, job: i64) -> bool {
        self.store.store.read().await.unwrap().job(job).await.unwrap().unwrap().cancel_requested
    }

    /// Marks the source as deleted without the rest that a delete does.
    pub async fn bury_source(&self) {
        let mut tx = self.store.store.write(store::Priority::Api).await.unwrap();
        let mut row = tx.actor(ActorKind::Source, self.source).await.unwrap().unwrap();
        row.tombstone = true;
        tx.update_actor(&row).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }
}

async fn jobs(control: &Control, connection: Uuid) -> Vec<JobInfo> {
    let query = JobQuery { connection, kinds: Vec::new(), including: None, page_size: Some(1_000), offset: 0 };
    let mut jobs = control.jobs(&query).await.unwrap().jobs;
    jobs.reverse();
    jobs
}
