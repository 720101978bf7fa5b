//! What every test stands on: a server without a socket, and the objects that most calls need.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use control::{
    Control, Settings,
    clock::{SharedClock, SystemClock},
    testing::{DESTINATION_DEFINITION, SOURCE_DEFINITION, ScriptedRunner},
};
use serde_json::{Value, json};
use store::{Backend, Store, testing::TestStore};
use tower::ServiceExt;

pub struct Server {
    pub control: Control,
    pub runner: Arc<ScriptedRunner>,
    pub store: Store,
    router: Router,
    _own: TestStore,
}

/// An answer. A body that is no JSON is a JSON string here.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.body
    }

    /// The path of the first violation of a 422.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", self.text);
        self.body["validationErrors"][0]["propertyPath"].as_str().unwrap()
    }
}

impl Server {
    /// On the clock of the machine, with the scheduler running.
    pub async fn start() -> Self {
        Self::start_with(Arc::new(SystemClock)).await
    }

    pub async fn start_with(clock: SharedClock) -> Self {
        Self::start_on(Backend::Sqlite, clock).await
    }

    pub async fn start_on(backend: Backend, clock: SharedClock) -> Self {
        let own = TestStore::new(backend).await;
        let store = own.store.clone();
        let runner = ScriptedRunner::new();
        let control = Control::open(store.clone(), runner.clone(), clock, Settings::default()).await.unwrap();
        control.start().await.unwrap();
        let router = api::router(control.clone());
        Self { control, runner, store, router, _own: own }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Answer { status, headers, body, text }
    }

    /// POST below `/api/v1` with these bytes and no header at all, as the oldest client sends it.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(format!("/api/v1/{path}")).body(body.into()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_bytes(path, body.to_string()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(format!("/api/v1/{path}")).header(header::ACCEPT, "application/json;q=0");
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

/// One workspace with one of everything in it; all ids as text.
#[derive(Clone, Debug)]
pub struct World {
    pub workspace: String,
    pub source: String,
    pub destination: String,
    /// Manual, with the streams `users` and `orders`.
    pub connection: String,
    /// In no connection yet.
    pub operation: String,
    /// 0 without one.
    pub job: i64,
    /// As discovered from the source.
    pub catalog: Value,
    pub catalog_id: String,
}

pub fn source_definition() -> String {
    SOURCE_DEFINITION.to_string()
}

pub fn destination_definition() -> String {
    DESTINATION_DEFINITION.to_string()
}

/// An id that nothing has.
pub const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

impl World {
    pub async fn without_connection(server: &Server) -> Self {
        let id = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
        let workspace = server.post("workspaces/create", json!({"name": "world"})).await.ok();
        let workspace = id(&workspace, "workspaceId");
        let source = json!({
            "workspaceId": workspace, "name": "numbers", "sourceDefinitionId": SOURCE_DEFINITION,
            "connectionConfiguration": {"count": 10, "password": "hunter2"}
        });
        let source = id(&server.post("sources/create", source).await.ok(), "sourceId");
        let destination = json!({
            "workspaceId": workspace, "name": "file", "destinationDefinitionId": DESTINATION_DEFINITION,
            "connectionConfiguration": {"destination_path": "a.db"}
        });
        let destination = id(&server.post("destinations/create", destination).await.ok(), "destinationId");
        let operation = json!({
            "workspaceId": workspace, "name": "normalize",
            "operatorConfiguration": {"operatorType": "normalization", "normalization": {"option": "basic"}}
        });
        let operation = id(&server.post("operations/create", operation).await.ok(), "operationId");
        let discovered = server.post("sources/discover_schema", json!({"sourceId": source})).await.ok();
        Self {
            workspace,
            source,
            destination,
            connection: NOBODY.to_owned(),
            operation,
            job: 0,
            catalog: discovered["catalog"].clone(),
            catalog_id: id(&discovered, "catalogId"),
        }
    }

    pub async fn create(server: &Server) -> Self {
        let mut world = Self::without_connection(server).await;
        let connection = json!({
            "sourceId": world.source, "destinationId": world.destination, "status": "active",
            "sourceCatalogId": world.catalog_id, "syncCatalog": world.catalog
        });
        let created = server.post("connections/create", connection).await.ok();
        world.connection = created["connectionId"].as_str().unwrap().to_owned();
        world
    }

    /// With a sync that was started and needs not have ended.
    pub async fn with_job(server: &Server) -> Self {
        let mut world = Self::create(server).await;
        world.job = server.control.sync(world.connection.parse().unwrap()).await.unwrap().job.id;
        world
    }
}
