//! The Configuration API over HTTP: routes, wire types, error bodies and the OpenAPI document. A thin layer: every rule
//! lives in `control`.
//!
//! One file per group of operations, each with its wire types beside its handlers and one `routes()`. Every answer that is
//! not a success is a JSON object ([`error`]); every request is parsed by [`body::Body`]. Nothing here redirects or asks
//! for a Content-Type or an Accept header: the oldest clients send neither in a usable form. Start with [`router`].

pub mod body;
pub mod catalog;
mod connections;
mod definitions;
mod destinations;
pub mod error;
mod health;
mod ids;
mod jobs;
mod openapi;
mod operations;
mod origin;
mod routes;
mod sources;
mod state;
mod synchronous;
mod web_backend;
mod workspaces;

use std::any::Any;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use control::{Control, Error, ErrorKind};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::TraceLayer,
};

use crate::{body::BODY_LIMIT, error::ApiError};
pub use crate::{
    error::ApiResult,
    routes::{AppState, Operation, Routes},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything under `/api/v1`. One line per slice.
pub fn routes() -> Routes {
    Routes::new()
        .merge(health::routes())
        .merge(workspaces::routes())
        .merge(definitions::routes())
        .merge(sources::routes())
        .merge(destinations::routes())
        .merge(connections::routes())
        .merge(operations::routes())
        .merge(jobs::routes())
        .merge(state::routes())
        .merge(web_backend::routes())
}

/// The whole API over `control`.
pub fn router(control: Control) -> Router {
    let routes = routes();
    let document = openapi::Document::of(routes.operations());
    let api = routes.into_router().method_not_allowed_fallback(wrong_method).layer(axum::Extension(document));
    layered(Router::new().nest("/api/v1", api), BODY_LIMIT).with_state(AppState { control })
}

/// What surrounds every operation: request id, span, compression, and an object for whatever goes wrong.
fn layered<S: Clone + Send + Sync + 'static>(router: Router<S>, body_limit: usize) -> Router<S> {
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(CompressionLayer::new())
        .layer(axum::middleware::from_fn(origin::guard))
        .layer(CatchPanicLayer::custom(panicked));
    router.fallback(no_route).layer(DefaultBodyLimit::max(body_limit)).layer(layers)
}

/// Method, path and request id; never a body, never a query (Invariant 6).
fn span(request: &Request) -> tracing::Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let error = Error::new(ErrorKind::NotFound, "no_such_route", format!("There is no {method} {path}."))
        .with_hint("GET /api/v1/openapi lists every operation; a path has no slash at its end.");
    error.into()
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    let error = Error::new(ErrorKind::Invalid, "wrong_method", format!("{path} does not answer {method}."))
        .with_hint("Every operation is a POST, except GET health and GET openapi.");
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::from(Error::new(ErrorKind::Internal, "internal", "This is a bug: the request could not be answered."))
        .into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::{body::Body as Bytes, http::header, routing::post};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::body::Body;

    /// Status and body of a POST with these bytes.
    async fn answer(router: &Router, path: &str, body: &'static str) -> (StatusCode, Value) {
        let request = Request::post(path).body(Bytes::from(body)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn panics_and_large_bodies_are_answered_with_objects() {
        async fn panics() {
            panic!("secret details");
        }
        async fn takes(Body(_): Body<Value>) {}
        let router = layered(Router::new().route("/panics", post(panics)).route("/takes", post(takes)), 10);
        let (status, body) = answer(&router, "/panics", "").await;
        assert_eq!((status.as_u16(), &body["code"]), (500, &"internal".into()));
        assert!(!body.to_string().contains("secret details"));
        let (status, body) = answer(&router, "/takes", "{\"a\":\"0123456789\"}").await;
        assert_eq!((status.as_u16(), &body["code"]), (413, &"body_too_large".into()));
        assert!(body["message"].is_string());
    }
}
