//! The nine examples of the oldest client, as the bytes that it sends: replayed as they are, with ids that exist, and with
//! sensible values.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::ground::{Answer, Server, World};

struct Seed {
    operation: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn seeds() -> Vec<Seed> {
    let file: Value = serde_json::from_str(include_str!("data/seed-requests.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let seed = |request: &Value| Seed {
        operation: text(&request["operation"]),
        path: text(&request["path"]),
        // The length is that of the body as captured.
        headers: request["headers"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "Content-Length")
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        body: text(&request["body"]),
    };
    file["requests"].as_array().unwrap().iter().map(seed).collect()
}

async fn send(server: &Server, seed: &Seed, body: String) -> Answer {
    let mut request = Request::post(&seed.path);
    for (name, value) in &seed.headers {
        request = request.header(name, value);
    }
    let answer = server.send(request.body(Body::from(body)).unwrap()).await;
    assert!(answer.status.as_u16() == 204 || answer.body.is_object(), "{}: {}", seed.operation, answer.text);
    answer
}

/// The body with these members put into it, at any depth where the member is there already.
fn with_ids(body: &str, world: &World) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let ids = [
        ("connectionId", &world.connection),
        ("sourceId", &world.source),
        ("destinationId", &world.destination),
        ("workspaceId", &world.workspace),
        ("sourceCatalogId", &world.catalog_id),
    ];
    for (name, id) in ids {
        if let Some(member) = body.get_mut(name) {
            *member = json!(id);
        }
    }
    if let Some(operations) = body.get_mut("operationIds") {
        *operations = json!([world.operation]);
    }
    body
}

#[tokio::test]
async fn on_an_empty_server() {
    let server = Server::start().await;
    for seed in seeds() {
        let answer = send(&server, &seed, seed.body.clone()).await;
        let expected: &[u16] = match seed.operation.as_str() {
            "createConnection" | "updateConnection" => &[404, 422],
            "listAllConnectionsForWorkspace" | "listConnectionsForWorkspace" | "searchConnections" => &[200],
            _ => &[404],
        };
        assert!(expected.contains(&answer.status.as_u16()), "{}: {}", seed.operation, answer.text);
        if answer.status == 200 {
            assert_eq!(answer.body, json!({"connections": []}), "{}", seed.operation);
        }
    }
}

#[tokio::test]
async fn with_ids_that_exist() {
    for seed in seeds() {
        let server = Server::start().await;
        let world = World::create(&server).await;
        let answer = send(&server, &seed, with_ids(&seed.body, &world).to_string()).await;
        let expected = match seed.operation.as_str() {
            "createConnection" | "updateConnection" => 422,
            "deleteConnection" => 204,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{}: {}", seed.operation, answer.text);
        if expected == 422 {
            let path = answer.refused();
            assert!(path.starts_with("syncCatalog.streams[0]") || path == "schedule", "{path}");
        }
    }
}

/// The nonsense taken away piece by piece: each time the next piece is named, until nothing is left to refuse.
#[tokio::test]
async fn with_sensible_values() {
    let server = Server::start().await;
    for seed in seeds() {
        if !matches!(seed.operation.as_str(), "createConnection" | "updateConnection" | "searchConnections") {
            continue;
        }
        let world = World::create(&server).await;
        let mut body = with_ids(&seed.body, &world);
        if seed.operation == "searchConnections" {
            for (name, id) in
                [("source", ("sourceId", &world.source)), ("destination", ("destinationId", &world.destination))]
            {
                body[name] = json!({id.0: id.1});
            }
            for (name, value) in
                [("name", json!("numbers <> file")), ("prefix", json!("")), ("namespaceFormat", json!(""))]
            {
                body[name] = value;
            }
            for name in ["schedule", "scheduleType", "scheduleData"] {
                body.as_object_mut().unwrap().shift_remove(name);
            }
            body["status"] = json!("active");
            let found = send(&server, &seed, body.to_string()).await.ok();
            assert_eq!(found["connections"][0]["connectionId"], world.connection);
            continue;
        }
        let hours = json!({"basicSchedule": {"units": 6, "timeUnit": "hours"}});
        let steps = [
            ("syncCatalog", world.catalog.clone(), "syncCatalog"),
            ("schedule", Value::Null, "schedule"),
            ("scheduleType", json!("basic"), "scheduleData"),
            ("scheduleData", hours, "scheduleData"),
            ("resourceRequirements", json!({"cpu_limit": "1", "memory_limit": "1Gi"}), "resourceRequirements"),
        ];
        for (name, value, refused) in steps {
            let answer = send(&server, &seed, body.to_string()).await;
            assert!(answer.refused().starts_with(refused), "{name}: {}", answer.text);
            body[name] = value;
        }
        let saved = send(&server, &seed, body.to_string()).await.ok();
        assert_eq!(saved["schedule"], json!({"units": 6, "timeUnit": "hours"}));
        assert_eq!(saved["status"], "deprecated");
    }
}
