//! Stores for tests, of this crate and of those above: a SQLite file in a temporary folder, or a database of its own on a
//! real PostgreSQL server. Start with [`TestStore::new`].
//!
//! The server is started by the first test that needs it, from installed binaries (`PATH` or `/usr/lib/postgresql/*/bin`),
//! as another user where we are root, on a free loopback port. One server serves a whole run of `cargo nextest` (or one
//! process of `cargo test`); a small shell process beside it stops it and removes its files when the run has ended, even
//! when the run was killed.

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Backend, MasterKey, Store, StoreUrl};

const KEY: [u8; 32] = [7; 32];
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Starts the server, waits until the process `$WATCHED` is gone, stops the server, removes the folder.
const KEEPER: &str = r#"
"$@" >"$FOLDER/log" 2>&1 &
server=$!
while kill -0 "$WATCHED" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 0.3; done
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$FOLDER" "$FOLDER.lock"
"#;

/// An open store that nobody else uses. Its files go when it is dropped.
pub struct TestStore {
    pub store: Store,
    url: StoreUrl,
    folder: TempDir,
}

impl TestStore {
    /// A new, empty store.
    pub async fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = match backend {
            Backend::Sqlite => StoreUrl::Sqlite(folder.path().join("leat.db")),
            Backend::Postgres => StoreUrl::Postgres(postgres_url().await),
        };
        let store = Self::open(&url).await;
        Self { store, url, folder }
    }

    pub fn url(&self) -> &StoreUrl {
        &self.url
    }

    /// A temporary folder that lives as long as the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another handle of its own on the same store, as another process would have (Postgres only).
    pub async fn second(&self) -> Store {
        Self::open(&self.url).await
    }

    /// Closes the store and opens it again, as the next process would.
    pub async fn reopen(&mut self) {
        self.store.close().await;
        self.store = Self::open(&self.url).await;
    }

    async fn open(url: &StoreUrl) -> Store {
        Store::open_with_key(url.clone(), MasterKey::new(KEY)).await.expect("the store opens")
    }
}

/// The URL of a new, empty database on the shared server.
///
/// # Panics
/// If PostgreSQL is not installed or does not start; the message says what to do.
pub async fn postgres_url() -> String {
    let port = tokio::task::spawn_blocking(server).await.expect("the server starts");
    let name = format!("test_{}", Uuid::new_v4().simple());
    let admin = format!("postgres://leat@127.0.0.1:{port}/postgres");
    let mut conn = PgConnection::connect(&admin).await.expect("the test server answers");
    let sql = AssertSqlSafe(format!("create database {name}"));
    sqlx::query(sql).execute(&mut conn).await.expect("a database is created");
    conn.close().await.expect("the connection closes");
    format!("postgres://leat@127.0.0.1:{port}/{name}")
}

/// The port of the running server, which is started if it is not running yet. Blocks.
fn server() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        // A run of nextest is one process per test under one parent; the server is the parent's.
        let watched = match env::var_os("NEXTEST") {
            Some(_) => std::os::unix::process::parent_id(),
            None => process::id(),
        };
        let folder = env::temp_dir().join(format!("leat-test-postgres-{watched}"));
        let gate =
            File::create(env::temp_dir().join(format!("leat-test-postgres-{watched}.lock"))).expect("a lock file");
        gate.lock().expect("the lock file can be locked");
        match running(&folder) {
            Some(port) => port,
            None => start(&folder, watched),
        }
    })
}

/// The port in the folder, if a server answers there.
fn running(folder: &Path) -> Option<u16> {
    let port = fs::read_to_string(folder.join("port")).ok()?.parse().ok()?;
    std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    Some(port)
}

#[expect(
    clippy::zombie_processes,
    reason = "the keeper outlives this process; it ends by itself when the run has ended"
)]
#[expect(clippy::disallowed_methods, reason = "the server is started once, on a thread for blocking work")]
fn start(folder: &Path, watched: u32) -> u16 {
    // Left over by an earlier process of the same number.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("a folder for the server");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the folder can be made readable");
    let user = other_user();
    if let Some((_, uid, gid)) = &user {
        chown(folder, Some(*uid), Some(*gid)).expect("the folder can be given away");
    }
    let bin = binaries();
    let data = folder.join("data");
    let made = as_user(&user, &bin.join("initdb"))
        .arg("-D")
        .arg(&data)
        .args(["-U", "leat", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"])
        .current_dir(folder)
        .output()
        .expect("initdb runs");
    assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

    let port = free_port();
    let mut server = as_user(&user, &bin.join("postgres"));
    server.arg("-D").arg(&data).arg("-k").arg(folder);
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=300",
        "shared_buffers=32MB",
        "autovacuum=off",
    ] {
        server.arg("-c").arg(setting);
    }
    let mut keeper = Command::new("setsid");
    keeper.arg("sh").arg("-c").arg(KEEPER).arg("keeper").arg(server.get_program()).args(server.get_args());
    keeper.env("WATCHED", watched.to_string()).env("FOLDER", folder).current_dir(folder);
    keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut keeper = keeper.spawn().expect("setsid and sh are installed");

    let started = Instant::now();
    while !data.join("postmaster.pid").exists() || !is_ready(&data) {
        let ended = keeper.try_wait().expect("the keeper can be asked");
        assert!(
            ended.is_none() && started.elapsed() < START_TIMEOUT,
            "PostgreSQL did not start; see {}/log",
            folder.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::write(folder.join("port"), port.to_string()).expect("the port can be noted");
    port
}

/// The last line of the server's pid file tells its status.
fn is_ready(data: &Path) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
    listener.local_addr().expect("the port of a bound listener").port()
}

fn binaries() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        candidates.extend(versions.into_iter().rev());
    }
    let found =
        candidates.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect("PostgreSQL is installed (on Debian: apt-get install postgresql)")
}

/// The server refuses to run as root: name, uid and gid of somebody else, where we are root.
fn other_user() -> Option<(&'static str, u32, u32)> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return None;
    }
    let id = |option: &str, name: &str| -> Option<u32> {
        let output = Command::new("id").args([option, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let found = ["postgres", "nobody"].into_iter().find_map(|name| Some((name, id("-u", name)?, id("-g", name)?)));
    Some(found.expect("a user postgres or nobody exists"))
}

fn as_user(user: &Option<(&'static str, u32, u32)>, program: &Path) -> Command {
    let Some((_, uid, gid)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups").arg(program);
    command
}
