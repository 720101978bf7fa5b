//! The one error type of the store. Its kind says whose fault it is and whether trying again can help.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A row that has to be there is not (a reference to an id that nothing has).
    NotFound,
    /// It would break a uniqueness rule, or is refused while a job is active.
    Conflict,
    /// The claim is not ours any more: another owner took over, or the attempt has ended. Stop writing.
    Fenced,
    /// The database does not answer, is busy beyond the bound, or broke off; a later try may succeed.
    Unavailable,
    /// The store cannot be opened as configured: held by another process, written by a newer version, or under another key.
    Refused,
    /// A text holds a NUL character, which Postgres cannot keep.
    Invalid,
    /// What is stored cannot be decoded.
    Corrupt,
    /// Our fault.
    Internal,
}

#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    pub(crate) fn corrupt(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Corrupt, format!("the store holds something that cannot be read: {what}"))
    }

    pub(crate) fn fenced(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Fenced, format!("the claim is lost: {what}"))
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

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let (kind, message) = match &error {
            E::Database(database) if database.is_unique_violation() => {
                (ErrorKind::Conflict, "a row with the same key exists already")
            }
            E::Database(database) if database.is_foreign_key_violation() => {
                (ErrorKind::NotFound, "a row that this one refers to does not exist, or is still referred to")
            }
            // SQLITE_BUSY and its variants; Postgres: serialization failure, deadlock, lock timeout, shutdown.
            E::Database(database)
                if matches!(
                    database.code().as_deref(),
                    Some("5" | "261" | "517" | "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "53300")
                ) =>
            {
                (ErrorKind::Unavailable, "the store is busy or shutting down")
            }
            E::Database(database) if database.code().as_deref() == Some("22021") => {
                (ErrorKind::Invalid, "a text holds a character that cannot be stored (NUL)")
            }
            E::Database(_) => (ErrorKind::Internal, "the store refused a statement"),
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::WorkerCrashed => (ErrorKind::Unavailable, "the store broke off"),
            E::PoolTimedOut => (ErrorKind::Unavailable, "no connection to the store became free in time"),
            E::PoolClosed => (ErrorKind::Unavailable, "the store is closed"),
            E::ColumnDecode { .. } | E::Decode(_) => {
                (ErrorKind::Corrupt, "the store holds something that cannot be read")
            }
            _ => (ErrorKind::Internal, "the store failed"),
        };
        Self::new(kind, message).with_source(error)
    }
}
