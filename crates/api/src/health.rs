//! `health` and `openapi`: the two operations that are a GET, and always open.

use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{AppState, Routes, body::Answer, openapi::Document};

pub fn routes() -> Routes {
    Routes::new().get("/health", health).get("/openapi", openapi)
}

#[derive(Serialize)]
struct HealthCheckRead {
    available: bool,
}

/// Available = the store answers.
async fn health(State(app): State<AppState>) -> Answer<HealthCheckRead> {
    Answer(HealthCheckRead { available: app.control.is_available().await })
}

/// Text, as upstream sends it: its clients show it and do not decode it.
async fn openapi(Extension(document): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], document.text()).into_response()
}
