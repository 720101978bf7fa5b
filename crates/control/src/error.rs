//! The one error type of the control plane. Its kind decides the HTTP status; message and hint are for the user.

use std::fmt;

use serde::Serialize;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 404: an id that nothing has.
    NotFound,
    /// 422: the request is understood and not acceptable; `violations` name the fields.
    Invalid,
    /// 409: it would be fine at another time.
    Conflict,
    /// 503: the store did not answer in time.
    Unavailable,
    /// 500: our fault.
    Internal,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Dotted path with indices, as in `syncCatalog.streams[2].config.syncMode`.
    pub property_path: String,
    /// What was sent there, as text; never a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_value: Option<String>,
    pub message: String,
}

#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    /// Stable word for programs, as in `connection_not_found`.
    pub code: &'static str,
    pub message: String,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// The id that was not found.
    pub id: Option<Box<str>>,
    pub violations: Vec<Violation>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), hint: None, id: None, violations: Vec::new(), source: None }
    }

    /// `token` is the upstream word for the kind of object, as in `STANDARD_SYNC`.
    pub fn not_found(token: &'static str, id: impl fmt::Display) -> Self {
        let id = id.to_string();
        let mut error = Self::new(ErrorKind::NotFound, "not_found", format!("Could not find {token} with id {id}"));
        error.id = Some(id.into());
        error
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    /// One wrong field. The message of the whole names the path, so that a client that shows only `message` shows enough.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::violations(vec![Violation { property_path: path.into(), invalid_value: None, message: message.into() }])
    }

    pub fn violations(violations: Vec<Violation>) -> Self {
        let named = |v: &Violation| match v.property_path.as_str() {
            "" => v.message.clone(),
            path => format!("{path}: {}", v.message),
        };
        let list: Vec<String> = violations.iter().map(named).collect();
        let mut error = Self::new(ErrorKind::Invalid, "invalid_input", list.join("; "));
        error.violations = violations;
        error
    }

    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        if let Some(last) = self.violations.last_mut() {
            last.invalid_value = Some(value.to_string());
        }
        self
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<store::Error> for Error {
    /// What the store refuses is our fault, unless something changed between our look and our write.
    fn from(error: store::Error) -> Self {
        let error_of = |kind, code, message: &str| Self::new(kind, code, message);
        let mapped = match error.kind {
            store::ErrorKind::Unavailable => {
                error_of(ErrorKind::Unavailable, "store_unavailable", "The store did not answer in time.")
                    .with_hint("Try again.")
            }
            store::ErrorKind::Conflict | store::ErrorKind::NotFound | store::ErrorKind::Fenced => error_of(
                ErrorKind::Conflict,
                "changed_meanwhile",
                "Something changed while the request was being answered.",
            )
            .with_hint("Try again."),
            store::ErrorKind::Invalid => {
                error_of(ErrorKind::Invalid, "invalid_input", "A text holds the character U+0000.")
            }
            store::ErrorKind::Refused | store::ErrorKind::Corrupt | store::ErrorKind::Internal => {
                error_of(ErrorKind::Internal, "internal", "The store could not do what was asked.")
            }
        };
        mapped.with_source(error)
    }
}
