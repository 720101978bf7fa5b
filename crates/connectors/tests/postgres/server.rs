//! A real PostgreSQL server for the tests: one per run, one database per test. Start with [`Database::new`].
//!
//! Started by the first test that needs it, from installed binaries, as another user where we are root, on a free
//! loopback port; with encryption and a pg_hba.conf that knows users for each way of getting in (or not). A small shell
//! process beside it stops it and removes its files when the run has ended, even when the run was killed.

use std::{
    env,
    fs::{self, File},
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Starts the server, waits until the process `$WATCHED` is gone, stops the server, removes the folder.
const KEEPER: &str = r#"
"$@" >"$FOLDER/log" 2>&1 &
server=$!
while kill -0 "$WATCHED" 2>/dev/null && kill -0 "$server" 2>/dev/null; do sleep 0.3; done
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$FOLDER" "$FOLDER.lock"
"#;

/// `owner` is the superuser; roles are made by the tests, with the password `pw`.
const HBA: &str = "
local   all all trust
host    all owner 127.0.0.1/32 trust
host    all shut_out 127.0.0.1/32 reject
hostnossl all only_encrypted 127.0.0.1/32 reject
hostssl all only_plain 127.0.0.1/32 reject
host    all hashed 127.0.0.1/32 md5
host    all in_clear 127.0.0.1/32 password
host    all all 127.0.0.1/32 scram-sha-256
";

/// A new, empty database.
pub struct Database {
    pub port: u16,
    pub name: String,
}

impl Database {
    pub async fn new() -> Self {
        let port = tokio::task::spawn_blocking(server).await.unwrap();
        let name = format!("test_{}", Uuid::new_v4().simple());
        psql(port, "postgres", &format!("CREATE DATABASE {name}"));
        Self { port, name }
    }

    /// Runs statements; what they print, a line per row, fields parted by `|`.
    pub fn sql(&self, sql: &str) -> String {
        psql(self.port, &self.name, sql)
    }

    /// A client with nothing to do yet.
    pub fn client(&self) -> Command {
        client(self.port, &self.name)
    }

    /// Runs statements beside the test, until they end or the child is killed.
    pub fn beside(&self, sql: &str) -> Child {
        let mut child = client(self.port, &self.name).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let sql = sql.to_owned();
        std::thread::spawn(move || {
            let _ = input.write_all(sql.as_bytes());
        });
        child
    }

    /// A role with the password `pw`, unless an earlier test made it.
    pub fn role(&self, name: &str) {
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD 'pw'");
        self.sql(&format!(
            "DO $$ BEGIN {create}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        ));
    }

    /// As the superuser, in plain text.
    pub fn config(&self) -> Value {
        json!({"host": "127.0.0.1", "port": self.port, "database": self.name, "username": "owner",
            "ssl_mode": {"mode": "disable"}})
    }

    pub fn config_with(&self, extra: Value) -> Value {
        let mut config = self.config();
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        config
    }

    /// The PEM texts that the server was set up with: its authority, and its own certificate of that authority.
    pub fn certificates(&self) -> (String, String) {
        let read = |name: &str| fs::read_to_string(folder().join(name)).unwrap();
        (read("ca.crt"), read("server.crt"))
    }
}

fn client(port: u16, database: &str) -> Command {
    let mut command = Command::new(binaries().join("psql"));
    let port = port.to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-U", "owner", "-d", database, "-X", "-q", "-At"]);
    command.args(["-v", "ON_ERROR_STOP=1"]).env_clear();
    command
}

fn psql(port: u16, database: &str, sql: &str) -> String {
    let output = client(port, database).arg("-c").arg(sql).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// What the server has complained about so far.
pub fn log() -> String {
    fs::read_to_string(folder().join("log")).unwrap()
}

/// A run of nextest is one process per test under one parent; the server is the parent's.
fn watched() -> u32 {
    match env::var_os("NEXTEST") {
        Some(_) => std::os::unix::process::parent_id(),
        None => process::id(),
    }
}

fn folder() -> PathBuf {
    env::temp_dir().join(format!("leat-test-source-{}", watched()))
}

/// The port of the running server, which is started if it is not running yet. Blocks.
fn server() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let folder = folder();
        let gate = File::create(folder.with_extension("lock")).unwrap();
        gate.lock().unwrap();
        running(&folder).unwrap_or_else(|| start(&folder))
    })
}

fn running(folder: &Path) -> Option<u16> {
    let port = fs::read_to_string(folder.join("port")).ok()?.parse().ok()?;
    TcpStream::connect(("127.0.0.1", port)).ok()?;
    Some(port)
}

// The keeper outlives us on purpose.
#[allow(clippy::zombie_processes)]
fn start(folder: &Path) -> u16 {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let user = other_user();
    let bin = binaries();
    let data = folder.join("data");
    own(folder, &user);
    run(as_user(&user, &bin.join("initdb"))
        .arg("-D")
        .arg(&data)
        .args(["-U", "owner", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"])
        .current_dir(folder));
    fs::write(data.join("pg_hba.conf"), HBA).unwrap();
    certificates(folder);
    for name in ["server.crt", "server.key"] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        own(&folder.join(name), &user);
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut server = as_user(&user, &bin.join("postgres"));
    server.arg("-D").arg(&data).arg("-k").arg(folder);
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=200",
        "shared_buffers=64MB",
        "autovacuum=off",
        "ssl=on",
        &format!("ssl_cert_file={}/server.crt", folder.display()),
        &format!("ssl_key_file={}/server.key", folder.display()),
    ] {
        server.arg("-c").arg(setting);
    }
    let mut keeper = Command::new("setsid");
    keeper.arg("sh").arg("-c").arg(KEEPER).arg("keeper").arg(server.get_program()).args(server.get_args());
    keeper.env("WATCHED", watched().to_string()).env("FOLDER", folder).current_dir(folder);
    let mut keeper = keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let ready = || fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|text| text.contains("ready"));
    while !ready() {
        let ended = keeper.try_wait().unwrap();
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(ended.is_none() && started.elapsed() < START_TIMEOUT, "PostgreSQL did not start: {}", log());
        std::thread::yield_now();
    }
    fs::write(folder.join("port"), port.to_string()).unwrap();
    port
}

/// An authority and a certificate of it for `db.test`, which is not where the server is.
fn certificates(folder: &Path) {
    let ssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(folder));
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    ssl(&[
        &["req", "-x509", "-subj", "/CN=Test authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt"][..],
        &key,
    ]
    .concat());
    ssl(&[&["req", "-subj", "/CN=db.test", "-keyout", "server.key", "-out", "server.csr"][..], &key].concat());
    fs::write(folder.join("names"), "subjectAltName=DNS:db.test,DNS:localhost\n").unwrap();
    ssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.crt",
    ]);
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn own(path: &Path, user: &Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        chown(path, Some(*uid), Some(*gid)).unwrap();
    }
}

fn binaries() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        candidates.extend(versions.flatten().map(|entry| entry.path().join("bin")));
    }
    candidates.sort();
    candidates.reverse();
    candidates.extend(env::split_paths(&path));
    let found =
        candidates.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect("PostgreSQL is installed (on Debian: apt-get install postgresql)")
}

/// The server refuses to run as root: uid and gid of somebody else, where we are root.
fn other_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return None;
    }
    let id = |option: &str, name: &str| -> Option<u32> {
        let output = Command::new("id").args([option, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let found = ["postgres", "nobody"].into_iter().find_map(|name| Some((id("-u", name)?, id("-g", name)?)));
    Some(found.expect("a user postgres or nobody exists"))
}

fn as_user(user: &Option<(u32, u32)>, program: &Path) -> Command {
    let Some((uid, gid)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups").arg(program);
    command
}
