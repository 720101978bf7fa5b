//! Opening a store: connections and their settings, the lock on the data folder, migration, identity, secret key.
//!
//! Start with [`Store::open`].

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions, Connection, Row,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use uuid::Uuid;

use crate::{
    Backend, Error, ErrorKind, MasterKey, Priority, Result, Tx,
    gate::Gate,
    ledger::Waiting,
    migrations::{self, MIGRATIONS, Migration},
};

/// How long a transaction may wait for the writer or for a free connection.
const WAIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
/// A process that is paused in the middle of a transaction keeps its row locks from its successor no longer than this.
const FORGOTTEN: &str = "set idle_in_transaction_session_timeout = '10s'";
/// Any two programs that migrate the same Postgres database at once take this key.
const MIGRATION_KEY: i64 = 0x006c_6561_7400_0001;

/// Where the metadata lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// Path of the file; its folder must exist. Only one process may have it open.
    Sqlite(PathBuf),
    /// `postgres://user:password@host:port/database`, of the server itself: behind a pooler in transaction mode the locks
    /// that a session holds would be lost.
    Postgres(String),
}

/// The handle of an open store; clones share it.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub url: StoreUrl,
    id: Arc<str>,
    key: Arc<MasterKey>,
    writer: AnyPool,
    reader: AnyPool,
    gate: Gate,
    pub waiting: Waiting,
    /// Held as long as the store is open (SQLite).
    lock: Option<File>,
}

impl Store {
    /// Opens the store, creating and migrating it as needed. `data_dir` holds the file of the secret key, unless
    /// `LEAT_SECRET_KEY` gives the key.
    ///
    /// # Errors
    /// `Refused`: another process holds the file, the schema is newer, or the secret key is another one.
    pub async fn open(url: StoreUrl, data_dir: &Path) -> Result<Self> {
        let key = MasterKey::load(data_dir)?;
        Self::open_with(url, key, MIGRATIONS).await
    }

    /// Like [`Store::open`], with the secret key given.
    pub async fn open_with_key(url: StoreUrl, key: MasterKey) -> Result<Self> {
        Self::open_with(url, key, MIGRATIONS).await
    }

    async fn open_with(url: StoreUrl, key: MasterKey, steps: &'static [Migration]) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let lock = match &url {
            StoreUrl::Sqlite(path) => Some(lock_folder(path)?),
            StoreUrl::Postgres(_) => None,
        };
        let (writer, reader) = match &url {
            StoreUrl::Sqlite(path) => (sqlite_pool(path, false).await?, sqlite_pool(path, true).await?),
            StoreUrl::Postgres(text) => {
                let pool = postgres_pool(text).await?;
                (pool.clone(), pool)
            }
        };
        migrate(&url, &writer, steps).await?;
        let id = identify(&url, &writer, &key).await?;
        let inner = Inner {
            url,
            id: id.into(),
            key: Arc::new(key),
            writer,
            reader,
            gate: Gate::default(),
            waiting: Waiting::default(),
            lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Identity of the installation, made when the store was created. Destinations keep it beside their positions.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    pub fn backend(&self) -> Backend {
        self.inner.url.backend()
    }

    /// A read-only transaction that sees one snapshot. On SQLite it never waits for the writer.
    pub async fn read(&self) -> Result<Tx> {
        let inner = &self.inner;
        let begin = match self.backend() {
            Backend::Sqlite => "begin",
            Backend::Postgres => "begin isolation level repeatable read read only",
        };
        let tx = inner.reader.begin_with(begin).await?;
        Ok(Tx::new(tx, self.backend(), false, inner.id.clone(), inner.key.clone(), None))
    }

    /// A transaction that may write. On SQLite it waits for its turn first, at most 30 s.
    pub async fn write(&self, priority: Priority) -> Result<Tx> {
        let inner = &self.inner;
        let (turn, begin) = match self.backend() {
            // A deferred transaction that turns into a write fails at once when another one wrote meanwhile.
            Backend::Sqlite => {
                let turn = tokio::time::timeout(WAIT, inner.gate.enter(priority)).await.map_err(|error| {
                    Error::new(ErrorKind::Unavailable, "the store stayed busy for 30 s").with_source(error)
                })?;
                (Some(turn), "begin immediate")
            }
            Backend::Postgres => (None, "begin"),
        };
        let tx = inner.writer.begin_with(begin).await?;
        Ok(Tx::new(tx, self.backend(), true, inner.id.clone(), inner.key.clone(), turn))
    }

    /// Closes all connections and gives the data folder free. Other clones of the handle answer `Unavailable` then.
    pub async fn close(&self) {
        self.inner.reader.close().await;
        self.inner.writer.close().await;
        if let Some(lock) = &self.inner.lock {
            // Dropping the handle would free it too; a failure here means that it is free already.
            let _ = lock.unlock();
        }
    }
}

impl StoreUrl {
    pub fn backend(&self) -> Backend {
        match self {
            Self::Sqlite(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
        }
    }
}

/// A second process on the same file would void the leases of the first; so it is refused.
fn lock_folder(path: &Path) -> Result<File> {
    let lock_path = beside(path, ".lock");
    let refused = |message: String| Error::new(ErrorKind::Refused, message);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(|error| {
        refused(format!("cannot open {}", lock_path.display()))
            .with_hint("the folder must exist and be writable for this user")
            .with_source(error)
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused(format!("{} is in use by another process", path.display()))
            .with_hint("stop the other one, or give this one a data directory of its own")),
        Err(TryLockError::Error(error)) => {
            Err(refused(format!("cannot lock {}", lock_path.display())).with_source(error))
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn sqlite_pool(path: &Path, read_only: bool) -> Result<AnyPool> {
    // synchronous=FULL: an answered write survives a power cut.
    let pragmas = match read_only {
        false => "pragma journal_mode=wal; pragma synchronous=full; pragma foreign_keys=on; pragma busy_timeout=10000",
        true => "pragma query_only=on; pragma busy_timeout=10000",
    };
    let options = sqlite_options(path)?;
    if !read_only {
        // The pool tries again and again; what cannot be opened at all is told at once. This creates the file.
        let failed = |error| cannot_open(&path.display().to_string(), error);
        let mut conn = AnyConnection::connect_with(&options).await.map_err(failed)?;
        sqlx::raw_sql(pragmas).execute(&mut conn).await.map_err(failed)?;
        conn.close().await?;
    }
    let pool = AnyPoolOptions::new()
        .max_connections(if read_only { SQLITE_READERS } else { 1 })
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |conn, _| {
            Box::pin(async move {
                sqlx::raw_sql(pragmas).execute(conn).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

fn sqlite_options(path: &Path) -> Result<AnyConnectOptions> {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(*byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url.push_str("?mode=rwc");
    let options: AnyConnectOptions = url.parse().map_err(|error| cannot_open(&path.display().to_string(), error))?;
    Ok(options.disable_statement_logging())
}

async fn postgres_pool(text: &str) -> Result<AnyPool> {
    let options: AnyConnectOptions = text.parse().map_err(|error| cannot_open("the Postgres URL", error))?;
    let options = options.disable_statement_logging();
    let failed = |error| cannot_open("the Postgres database", error);
    // The pool tries again and again; what cannot be reached at all is told at once.
    match tokio::time::timeout(CONNECT_TIMEOUT, AnyConnection::connect_with(&options)).await {
        Ok(conn) => conn.map_err(failed)?.close().await?,
        Err(error) => {
            return Err(Error::new(ErrorKind::Unavailable, "the Postgres database does not answer").with_source(error));
        }
    }
    let pool = AnyPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(WAIT);
    let pool = pool.after_connect(|conn, _| {
        Box::pin(async move {
            sqlx::raw_sql(FORGOTTEN).execute(conn).await?;
            Ok(())
        })
    });
    Ok(pool.connect_lazy_with(options))
}

fn cannot_open(what: &str, error: sqlx::Error) -> Error {
    // The URL holds a password: it is never repeated.
    Error::new(ErrorKind::Unavailable, format!("cannot open the store at {what}")).with_source(error)
}

async fn migrate(url: &StoreUrl, writer: &AnyPool, steps: &'static [Migration]) -> Result<()> {
    if let StoreUrl::Sqlite(path) = url {
        let mut conn = writer.acquire().await?;
        let version = migrations::version(&mut conn, steps).await?;
        if version == steps.len() {
            return Ok(());
        }
        if version > 0 {
            backup(&mut conn, path, version).await?;
        }
    }
    let begin = match url.backend() {
        Backend::Sqlite => "begin immediate",
        Backend::Postgres => "begin",
    };
    let mut tx = writer.begin_with(begin).await?;
    if url.backend() == Backend::Postgres {
        sqlx::query("select pg_advisory_xact_lock($1)").bind(MIGRATION_KEY).execute(&mut *tx).await?;
    }
    migrations::run(&mut tx, steps).await?;
    Ok(tx.commit().await?)
}

/// A consistent copy beside the file, named by the version that it holds.
async fn backup(conn: &mut AnyConnection, path: &Path, version: usize) -> Result<()> {
    let mut target = beside(path, &format!(".v{version}.backup"));
    let mut copy = 2;
    while target.exists() {
        target = beside(path, &format!(".v{version}.backup-{copy}"));
        copy += 1;
    }
    let text = target.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Refused, "the path of the store is not UTF-8: its backup cannot be named")
    })?;
    sqlx::query("vacuum into $1").bind(text).execute(conn).await?;
    tracing::info!(backup = %target.display(), version, "the store was backed up before its migration");
    Ok(())
}

/// The store's id, made once; and whether the secret key is the one that its secrets were sealed with.
async fn identify(url: &StoreUrl, writer: &AnyPool, key: &MasterKey) -> Result<String> {
    let begin = match url.backend() {
        Backend::Sqlite => "begin immediate",
        Backend::Postgres => "begin",
    };
    let mut tx: sqlx::Transaction<'static, Any> = writer.begin_with(begin).await?;
    let candidates = [("store_id", Uuid::new_v4().to_string()), ("secret_key", key.fingerprint())];
    for (name, value) in candidates {
        sqlx::query("insert into meta (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(name)
            .bind(value)
            .execute(&mut *tx)
            .await?;
    }
    let mut id = String::new();
    for row in sqlx::query("select name, value from meta").fetch_all(&mut *tx).await? {
        let value: String = row.try_get("value")?;
        match row.try_get::<String, _>("name")?.as_str() {
            "store_id" => id = value,
            "secret_key" if value != key.fingerprint() => {
                return Err(Error::new(ErrorKind::Refused, "the secret key is not the one of this store").with_hint(
                    "give the key that was in use when the store was made: LEAT_SECRET_KEY or the file secret.key",
                ));
            }
            _ => {}
        }
    }
    tx.commit().await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FIRST: Migration = Migration { name: "first", sql: MIGRATIONS[0].sql };
    const OLD: &[Migration] = &[FIRST];
    const NEW: &[Migration] = &[
        FIRST,
        Migration { name: "colours", sql: "create table colours (name text primary key); drop table grants;" },
    ];
    const OTHER: &[Migration] =
        &[Migration { name: "first", sql: concat!(include_str!("../migrations/0001_first.sql"), "-- edited") }];
    const BROKEN: &[Migration] =
        &[FIRST, Migration { name: "broken", sql: "create table colours (name text); create nonsense;" }];

    async fn open(path: &Path, steps: &'static [Migration]) -> Result<Store> {
        Store::open_with(StoreUrl::Sqlite(path.to_owned()), MasterKey::new([1; 32]), steps).await
    }

    async fn tables(store: &Store) -> Vec<String> {
        let mut tx = store.read().await.unwrap();
        let rows = sqlx::query("select name from sqlite_schema where type = 'table' order by name")
            .fetch_all(tx.conn())
            .await
            .unwrap();
        rows.iter().map(|row| row.try_get("name").unwrap()).collect()
    }

    #[tokio::test]
    async fn an_older_file_is_backed_up_and_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leat.db");
        let backup = folder.path().join("leat.db.v1.backup");
        let store = open(&path, OLD).await.unwrap();
        let id = store.id().to_owned();
        store.close().await;
        open(&path, OLD).await.unwrap().close().await;
        assert!(!backup.exists(), "nothing to migrate, nothing to back up");

        let store = open(&path, NEW).await.unwrap();
        assert_eq!(store.id(), id);
        let names = tables(&store).await;
        assert!(names.contains(&"colours".into()) && !names.contains(&"grants".into()));
        store.close().await;
        let old = open(&backup, OLD).await.unwrap();
        assert_eq!(old.id(), id, "the backup is the store as it was");
        assert!(tables(&old).await.contains(&"grants".into()));
    }

    #[tokio::test]
    async fn a_newer_or_different_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leat.db");
        open(&path, NEW).await.unwrap().close().await;
        for (steps, reason) in [(OLD, "knows versions up to 1"), (OTHER, "knows versions up to 1")] {
            let refused = open(&path, steps).await.err().unwrap();
            assert_eq!(refused.kind, ErrorKind::Refused);
            assert!(refused.message.contains(reason), "{refused}");
        }
        let path = folder.path().join("other.db");
        open(&path, OTHER).await.unwrap().close().await;
        let refused = open(&path, OLD).await.err().unwrap();
        assert!(refused.message.contains("another build"), "{refused}");
        open(&path, OTHER).await.unwrap();
    }

    #[tokio::test]
    async fn a_failed_migration_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leat.db");
        open(&path, OLD).await.unwrap().close().await;
        assert!(open(&path, BROKEN).await.is_err());
        let store = open(&path, OLD).await.unwrap();
        assert!(!tables(&store).await.contains(&"colours".into()));
        store.close().await;
        assert!(open(&path, BROKEN).await.is_err());
        assert!(folder.path().join("leat.db.v1.backup-2").exists(), "a backup is never overwritten");
    }

    /// An answered write survives a power cut.
    #[tokio::test]
    async fn the_writer_is_durable() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("leat.db"), MIGRATIONS).await.unwrap();
        let mut tx = store.write(Priority::Api).await.unwrap();
        for (pragma, expected) in
            [("pragma synchronous", 2), ("pragma foreign_keys", 1), ("pragma busy_timeout", 10000)]
        {
            let row = sqlx::query(pragma).fetch_one(tx.conn()).await.unwrap();
            assert_eq!(row.try_get::<i64, _>(0).unwrap(), expected, "{pragma}");
        }
        let row = sqlx::query("pragma journal_mode").fetch_one(tx.conn()).await.unwrap();
        assert_eq!(row.try_get::<String, _>(0).unwrap(), "wal");
    }

    /// The dump would not show a change in a table that it leaves out.
    #[tokio::test]
    async fn the_dump_has_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("leat.db"), MIGRATIONS).await.unwrap();
        let dump = store.dump().await.unwrap();
        let mut dumped: Vec<String> = dump.as_object().unwrap().keys().cloned().collect();
        dumped.push("schema_migrations".into());
        dumped.sort_unstable();
        assert_eq!(dumped, tables(&store).await);
    }
}
