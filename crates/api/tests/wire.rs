//! What holds for every call: how requests may come, and how answers and errors look.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{
    contract::error_problems,
    ground::{NOBODY, Server, World, source_definition},
    schema::Contract,
};

#[tokio::test]
async fn a_body_is_json_whatever_the_headers_say() {
    let server = Server::start().await;
    let world = World::without_connection(&server).await;
    let body = json!({"sourceId": world.source.to_uppercase()}).to_string();
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/json; charset=utf-8"),
    ] {
        let mut request =
            Request::post("/api/v1/sources/get").header(header::ACCEPT, "application/json;q=1, application/json;q=0");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = server.send(request.body(Body::from(body.clone())).unwrap()).await;
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(answer.ok()["sourceId"], world.source.as_str(), "{content_type:?}: ids are answered in lower case");
    }
}

#[tokio::test]
async fn every_error_is_an_object_that_says_what_to_do() {
    let server = Server::start().await;
    let contract = Contract::read();
    let deep = format!("{{\"name\":\"x\",\"email\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
    let requests: Vec<(&str, &str, Vec<u8>, u16)> = vec![
        ("POST", "/api/v1/sources/get", json!({"sourceId": NOBODY}).to_string().into(), 404),
        ("POST", "/api/v1/sources/get", b"{".to_vec(), 422),
        ("POST", "/api/v1/sources/get", b"[1]".to_vec(), 422),
        ("POST", "/api/v1/sources/get", b"".to_vec(), 422),
        ("POST", "/api/v1/sources/get", b"{\"sourceId\":\"\xff\xfe\"}".to_vec(), 422),
        ("POST", "/api/v1/workspaces/create", deep.into_bytes(), 422),
        ("GET", "/api/v1/sources/get", Vec::new(), 405),
        ("POST", "/api/v1/health", Vec::new(), 405),
        ("POST", "/api/v1/nothing/here", Vec::new(), 404),
        ("POST", "/api/v1/sources/get/", Vec::new(), 404),
        ("GET", "/", Vec::new(), 404),
        ("DELETE", "/api/v2/x", Vec::new(), 404),
    ];
    for (method, path, body, status) in requests {
        let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.text);
        assert_eq!(error_problems(&contract, &answer), Vec::<String>::new(), "{method} {path}");
        assert!(!answer.text.contains("\":null"), "{}", answer.text);
    }
    let unknown = server.post("sources/get", json!({"sourceId": NOBODY})).await;
    assert_eq!(unknown.body["id"], NOBODY);
    assert_eq!(unknown.body["message"], format!("Could not find SOURCE_CONNECTION with id {NOBODY}"));
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let server = Server::start().await;
    let workspace = World::without_connection(&server).await.workspace;
    let create = |changes: Value| {
        let mut body = json!({
            "workspaceId": workspace, "name": "s", "sourceDefinitionId": source_definition(),
            "connectionConfiguration": {"count": 1}
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let cases = [
        (json!({"name": 5}), "name"),
        (json!({"name": "x".repeat(10_001)}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"workspaceId": null}), "workspaceId"),
        (json!({"workspaceId": "5"}), "workspaceId"),
        (json!({"sourceDefinitionId": ["x"]}), "sourceDefinitionId"),
        (json!({"connectionConfiguration": null}), "connectionConfiguration"),
        (json!({"connectionConfiguration": "word"}), "connectionConfiguration"),
        (json!({"connectionConfiguration": "5"}), "connectionConfiguration"),
        (json!({"connectionConfiguration": {}}), "connectionConfiguration.count"),
        (json!({"connectionConfiguration": []}), "connectionConfiguration.count"),
        (json!({"connectionConfiguration": "[]"}), "connectionConfiguration.count"),
        (json!({"connectionConfiguration": {"count": 1, "keys": [{"key": 5}]}}), "connectionConfiguration.keys[0].key"),
        (
            json!({"connectionConfiguration": {"count": 1, "password": "**********"}}),
            "connectionConfiguration.password",
        ),
        (json!({"connectionConfiguration": {"count": 1, "x": {"_secret": "y"}}}), "connectionConfiguration.x._secret"),
    ];
    let before = server.store.dump().await.unwrap();
    for (changes, path) in cases {
        let answer = server.post("sources/create", create(changes.clone())).await;
        assert_eq!(answer.refused(), path, "{changes}");
        assert!(answer.body["message"].as_str().unwrap().contains(path), "{}", answer.text);
    }
    assert_eq!(server.store.dump().await.unwrap(), before, "a refused request leaves no trace");
}

#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let server = Server::start().await;
    let request = Request::get("/api/v1/openapi").header(header::ACCEPT_ENCODING, "gzip").body(Body::empty()).unwrap();
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
    let plain = server.get("openapi").await;
    assert!(plain.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    assert!(plain.body["paths"]["/v1/sources/create"]["post"]["operationId"].is_string());
    assert!(answer.text.len() < plain.text.len() / 2);
    assert!(plain.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn a_page_from_elsewhere_may_not_call() {
    let server = Server::start().await;
    for (origin, status) in [("https://example.org", 403), ("null", 403), ("http://localhost:3000", 200)] {
        let request =
            Request::post("/api/v1/workspaces/list").header(header::ORIGIN, origin).body(Body::empty()).unwrap();
        let answer = server.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{origin}");
        assert!(answer.body.is_object());
    }
}
