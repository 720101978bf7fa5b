//! The connection to the file: who may write, for how long one waits, and how a transaction begins and ends.
//!
//! SQLite has one writer per file. Writers of this process stand in a fair queue, one per file (device and inode, so
//! that two paths to one file meet), held for a transaction and never while waiting for a source. A writer of another process
//! is met by trying again, which cancel ends. All calls into SQLite run on threads that may block; cancel interrupts
//! the statement.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use connector::{Error, ErrorKind, Notes, Result};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long SQLite itself waits for a lock before it says so.
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// How long a writer of another process is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const FIRST_NOTE: Duration = Duration::from_secs(2);
const NEXT_NOTE: Duration = Duration::from_secs(30);
/// Pauses between two tries to get a lock.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of a page in a new file: bulk loads write fewer and larger ones than SQLite's own default of 4096 gives.
const NEW_PAGE: i64 = 16 * 1024;
const CACHE_KIB: i64 = 16 * 1024;

/// Device and inode: what a file is, whatever it is called.
type Identity = (u64, u64);

static QUEUES: LazyLock<std::sync::Mutex<HashMap<Identity, Weak<Mutex<()>>>>> = LazyLock::new(Default::default);

fn queue(identity: Identity) -> Arc<Mutex<()>> {
    let mut queues = QUEUES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    queues.retain(|_, queue| queue.strong_count() > 0);
    if let Some(queue) = queues.get(&identity).and_then(Weak::upgrade) {
        return queue;
    }
    let queue = Arc::new(Mutex::new(()));
    queues.insert(identity, Arc::downgrade(&queue));
    queue
}

pub struct Client {
    path: PathBuf,
    identity: Identity,
    queue: Arc<Mutex<()>>,
    /// Away while a thread uses it.
    connection: Option<Connection>,
    interrupt: Arc<InterruptHandle>,
    cancel: CancellationToken,
    notes: Notes,
}

impl Client {
    /// Opens the file, and creates it if it does not exist.
    pub async fn open(path: PathBuf, cancel: CancellationToken, notes: Notes) -> Result<Self> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let connection = loop {
            let at = path.clone();
            let opened = tokio::task::spawn_blocking(move || connect(&at)).await;
            match opened.map_err(|error| Error::system("SQLite could not be opened").with_source(error))? {
                Ok(connection) => break connection,
                // Somebody is just making the same new file, or commits in a mode that keeps readers out.
                Err(error) if is_busy(&error) && began.elapsed() < LONGEST_WAIT => {}
                Err(error) => return Err(failed(&path, error)),
            }
            pause = pause_before_retry(pause, &cancel).await?;
        };
        let identity = identity(&path)?;
        let interrupt = Arc::new(connection.get_interrupt_handle());
        Ok(Self { queue: queue(identity), path, identity, connection: Some(connection), interrupt, cancel, notes })
    }

    pub fn note(&self, level: tracing::Level, text: impl Into<String>) {
        // Nobody listens any more: the line is not needed.
        let _ = self.notes.send((level, text.into()));
    }

    /// Runs `work` in one write transaction; an error rolls everything back.
    pub async fn transaction<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.transaction_confirmed(work, async |_| Ok(())).await
    }

    /// The same, with a question to somebody else before the commit.
    pub async fn transaction_confirmed<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        confirm: impl AsyncFnOnce(&T) -> Result<()>,
    ) -> Result<T> {
        let turn = self.turn().await?;
        self.begin().await?;
        let path = self.path.clone();
        let result = self.blocking(true, move |connection| work(connection).map_err(|error| at(&path, error))).await?;
        let confirmed = match result {
            Ok(value) => confirm(&value).await.map(|()| value),
            Err(error) => Err(error),
        };
        let result = match confirmed {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.rollback().await?;
        }
        drop(turn);
        result
    }

    /// A place in front of the file, in the order of arrival.
    async fn turn(&mut self) -> Result<OwnedMutexGuard<()>> {
        let waiting = self.queue.clone().lock_owned();
        tokio::pin!(waiting);
        let mut patience = FIRST_NOTE;
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::cancelled()),
                turn = &mut waiting => return Ok(turn),
                () = tokio::time::sleep(patience) => {
                    patience = NEXT_NOTE;
                    self.note(tracing::Level::INFO, format!("Waiting for another sync that writes to {}", self.path.display()));
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut next_note = FIRST_NOTE;
        let mut pause = FIRST_PAUSE;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            // A file that was put in the place of ours (a restore) must not be taken for it.
            if identity(&self.path).ok() != Some(self.identity) {
                return Err(Error::new(
                    ErrorKind::Moved,
                    format!("The file {} was replaced or removed while it was written to", self.path.display()),
                ));
            }
            let path = self.path.clone();
            let begin = move |connection: &Connection| {
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK").map_err(|error| failed(&path, error))?;
                }
                match connection.execute_batch("BEGIN IMMEDIATE") {
                    Ok(()) => Ok(true),
                    Err(error) if is_busy(&error) => Ok(false),
                    Err(error) => Err(failed(&path, error)),
                }
            };
            if self.blocking(true, begin).await?? {
                return Ok(());
            }
            let waited = began.elapsed();
            if waited > LONGEST_WAIT {
                return Err(Error::transient(format!(
                    "Another program has kept {} locked for ten minutes",
                    self.path.display()
                ))
                .with_hint("End the transaction that the other program holds open"));
            }
            if waited >= next_note {
                next_note = waited + NEXT_NOTE;
                self.note(
                    tracing::Level::WARN,
                    format!(
                        "Waiting for another program that holds {} locked, for {} s now",
                        self.path.display(),
                        waited.as_secs()
                    ),
                );
            }
            pause = pause_before_retry(pause, &self.cancel).await?;
        }
    }

    /// Without WAL, readers hold a commit up.
    async fn commit(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let done = self.blocking(true, |connection| connection.execute_batch("COMMIT")).await?;
            match done {
                Ok(()) => return Ok(()),
                Err(error) if is_busy(&error) && began.elapsed() < LONGEST_WAIT => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(failed(&self.path, error)),
            }
        }
    }

    async fn rollback(&mut self) -> Result<()> {
        self.blocking(false, |connection| {
            if !connection.is_autocommit() {
                // What cannot be rolled back now is so when the connection closes.
                let _ = connection.execute_batch("ROLLBACK");
            }
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        interruptible: bool,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T> {
        let Some(connection) = self.connection.take() else {
            return Err(Error::system("The SQLite connection is in use by a call that was given up"));
        };
        let mut task = tokio::task::spawn_blocking(move || {
            let value = work(&connection);
            (connection, value)
        });
        let finished = loop {
            tokio::select! {
                biased;
                finished = &mut task => break finished,
                () = self.cancel.cancelled(), if interruptible => {
                    // An interrupt between two statements has no effect: until the thread is back it is repeated.
                    self.interrupt.interrupt();
                    if let Ok(finished) = tokio::time::timeout(Duration::from_millis(20), &mut task).await {
                        break finished;
                    }
                }
            }
        };
        let (connection, value) =
            finished.map_err(|error| Error::system("Writing to SQLite ended in a panic").with_source(error))?;
        self.connection = Some(connection);
        Ok(value)
    }

    pub async fn close(mut self) -> Result<()> {
        let Some(connection) = self.connection.take() else { return Ok(()) };
        let path = self.path.clone();
        let closed = tokio::task::spawn_blocking(move || connection.close().map_err(|(_, error)| failed(&path, error)));
        closed.await.map_err(|error| Error::system("Closing SQLite ended in a panic").with_source(error))?
    }
}

fn identity(path: &Path) -> Result<Identity> {
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino())),
        Err(error) => Err(Error::transient(format!("The file {} cannot be read", path.display())).with_source(error)),
    }
}

/// Returns the next, longer pause.
async fn pause_before_retry(pause: Duration, cancel: &CancellationToken) -> Result<Duration> {
    tokio::select! {
        () = cancel.cancelled() => Err(Error::cancelled()),
        () = tokio::time::sleep(pause) => Ok((pause * 2).min(LONGEST_PAUSE)),
    }
}

/// Opens for reading and writing. A new file gets WAL, so that readers and the writer do not wait for each other; a file
/// that exists keeps its mode.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        connection.pragma_update(None, "page_size", NEW_PAGE)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A swap drops and renames tables under views and foreign keys that users made.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "legacy_alter_table", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// SQLite has no error code of its own for this.
pub fn is_missing(error: &rusqlite::Error) -> bool {
    error.to_string().contains("no such table")
}

/// For `?` within a transaction: the file is added where the transaction ends.
pub fn sql(error: rusqlite::Error) -> Error {
    failed(Path::new(""), error)
}

fn at(path: &Path, mut error: Error) -> Error {
    if error.message.ends_with(PLACE) {
        error.message.truncate(error.message.len() - PLACE.len());
        error.message.push_str(&format!(" {}", path.display()));
    }
    error
}

/// Stands for the path where it is not known.
const PLACE: &str = " the database file";

fn failed(path: &Path, error: rusqlite::Error) -> Error {
    let file = if path.as_os_str().is_empty() { PLACE.trim_start().to_owned() } else { path.display().to_string() };
    let (kind, text, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            ErrorKind::Transient,
            "The disk is full under",
            "Free space on the disk; the sync goes on from its last state",
        ),
        Some(ErrorCode::ReadOnly) => (
            ErrorKind::Config,
            "There is no right to write to",
            "Give the user that runs Leat write access to the file and its folder",
        ),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::Config,
            "SQLite cannot open",
            "Check that the folder exists and that the user that runs Leat may write to it",
        ),
        Some(ErrorCode::NotADatabase) => (
            ErrorKind::Config,
            "There is no SQLite database in",
            "Choose another path: the file belongs to something else or is encrypted",
        ),
        Some(ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::Config, "SQLite finds damage in", "Restore the file from a backup, or choose another path")
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Transient,
            "Another program keeps a lock on",
            "End the transaction that the other program holds open",
        ),
        Some(ErrorCode::OperationInterrupted) => return Error::cancelled().with_source(error),
        _ if is_missing(&error) => (
            ErrorKind::Moved,
            "A table that the sync writes to is gone from",
            "Do not drop tables while a sync runs; it goes on with the next attempt",
        ),
        Some(ErrorCode::TooBig) => (
            ErrorKind::Config,
            "A row is larger than a SQLite row can be, in",
            "Leave the large fields out of the connection",
        ),
        Some(ErrorCode::SystemIoFailure) => (
            ErrorKind::Transient,
            "The disk failed under",
            "Look at the system's log for errors of the disk or the network folder",
        ),
        Some(ErrorCode::ConstraintViolation) => (
            ErrorKind::Config,
            "A constraint or trigger that was added to a table refuses the rows in",
            "Remove the constraint or the trigger, or make it accept what the source sends",
        ),
        _ => (
            ErrorKind::System,
            "SQLite refused a statement on",
            "This is a bug of the connector: please report it with the log",
        ),
    };
    Error::new(kind, format!("{text} {file}")).with_hint(hint).with_source(error)
}

/// Opens an existing file and takes its write lock for a moment; a lock that somebody else holds is a good sign too.
pub fn try_write(path: &Path) -> Result<()> {
    let tried = connect(path).and_then(|connection| {
        connection.execute_batch("BEGIN IMMEDIATE; SELECT count(*) FROM sqlite_schema; ROLLBACK")
    });
    match tried {
        Err(error) if !is_busy(&error) => Err(failed(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn failures_have_a_kind_and_a_hint() {
        let check = |code: i32, kind: ErrorKind, part: &str| {
            let error = failed(Path::new("/x/out.db"), rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(part), "{error}");
            assert!(kind == ErrorKind::Cancelled || (error.message.ends_with("/x/out.db") && error.hint.is_some()));
            // Within a transaction the file is added later.
            let inner = sql(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(at(Path::new("/x/out.db"), inner).message, error.message);
        };
        check(ffi::SQLITE_FULL, ErrorKind::Transient, "disk is full");
        check(ffi::SQLITE_READONLY, ErrorKind::Config, "no right to write");
        check(ffi::SQLITE_CANTOPEN, ErrorKind::Config, "cannot open");
        check(ffi::SQLITE_NOTADB, ErrorKind::Config, "no SQLite database");
        check(ffi::SQLITE_CORRUPT, ErrorKind::Config, "damage");
        check(ffi::SQLITE_BUSY, ErrorKind::Transient, "lock");
        check(ffi::SQLITE_IOERR, ErrorKind::Transient, "disk failed");
        check(ffi::SQLITE_TOOBIG, ErrorKind::Config, "larger");
        check(ffi::SQLITE_CONSTRAINT, ErrorKind::Config, "constraint");
        check(ffi::SQLITE_INTERRUPT, ErrorKind::Cancelled, "cancelled");
        check(ffi::SQLITE_MISUSE, ErrorKind::System, "refused");
    }
}
