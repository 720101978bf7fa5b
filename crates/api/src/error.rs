//! From an error of the control plane to the body that clients know: the superset of every shape upstream sent.
//!
//! Whatever goes wrong, the answer is one JSON object with `message`; published clients throw on anything else. A 422
//! carries `validationErrors` (maybe empty), a 404 the `id`. `code` and `hint` are ours.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{Error, ErrorKind, Violation};
use serde::Serialize;
use uuid::Uuid;

pub type ApiResult<T> = Result<T, ApiError>;

/// An error on its way out. Handlers get it from a [`control::Error`] by `?`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: Error,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error }
    }
}

impl ApiError {
    /// For what only HTTP knows: a wrong route, a wrong method, a body that is too large.
    pub(crate) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exception_class_name: &'static str,
    exception_stack: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_errors: Option<Vec<ValidationError<'a>>>,
    error_id: Uuid,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidationError<'a> {
    property_path: &'a str,
    /// A string on the wire, even where the value sent was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_value: Option<&'a str>,
    message: &'a str,
}

impl<'a> From<&'a Violation> for ValidationError<'a> {
    fn from(violation: &'a Violation) -> Self {
        Self {
            property_path: &violation.property_path,
            invalid_value: violation.invalid_value.as_deref(),
            message: &violation.message,
        }
    }
}

/// Stored scripts match on these names, so they stay those of the server that they were written for.
fn class_name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "io.airbyte.commons.server.errors.IdNotFoundKnownException",
        StatusCode::UNPROCESSABLE_ENTITY => "io.airbyte.validation.json.JsonValidationException",
        StatusCode::CONFLICT => "io.airbyte.commons.server.errors.ValueConflictKnownException",
        status if status.is_server_error() => "io.airbyte.commons.server.errors.UncaughtException",
        _ => "io.airbyte.commons.server.errors.BadObjectSchemaKnownException",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error_id = Uuid::new_v4();
        let error = &self.error;
        if self.status.is_server_error() {
            // The cause stays here: it may name files, queries and addresses.
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error_id, code = error.code, cause, "{error}");
        } else {
            tracing::debug!(%error_id, status = self.status.as_u16(), code = error.code, "request refused");
        }
        let class = class_name(self.status);
        let validation_errors = (self.status == StatusCode::UNPROCESSABLE_ENTITY)
            .then(|| error.violations.iter().map(ValidationError::from).collect());
        let body = ErrorBody {
            message: &error.message,
            id: error.id.as_deref(),
            code: error.code,
            hint: error.hint.as_deref(),
            exception_class_name: class,
            exception_stack: [format!("{class}: {}", error.message)],
            validation_errors,
            error_id,
        };
        json_response(self.status, &body)
    }
}

/// A JSON response. A value that cannot be written is our fault and still answered by an object.
pub(crate) fn json_response<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            let text = r#"{"message":"The answer could not be written.","code":"internal"}"#;
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
    }
}
