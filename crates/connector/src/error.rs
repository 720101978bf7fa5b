//! What goes wrong in a connector. The kind says whose side it is on and whether trying again can help.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's configuration or rights: trying again does not help.
    Config,
    /// A network, a lock, a quota: trying again helps.
    Transient,
    /// A bug, or something nobody foresaw.
    System,
    /// The attempt was told to stop.
    Cancelled,
    /// Another writer owns the connection now; this one must not write any more (Invariant 3).
    Fenced,
    /// The destination is not as this attempt left it (a fail-over or a restore under it): recover first.
    Moved,
}

#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    /// For the user: starts with a capital, names the object, holds no secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, message)
    }

    pub fn system(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, message)
    }

    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "The attempt was cancelled")
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
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
