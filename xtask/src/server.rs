//! A `leat serve` of a chore or a test: a folder, a free port, and the end of it when the chore ends.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Launch {
    leat: PathBuf,
    pub data: PathBuf,
    address: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// On a free port of this machine.
    pub fn new(leat: &Path, data: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            leat: leat.to_owned(),
            data: data.to_owned(),
            address: format!("127.0.0.1:{port}"),
            arguments: Vec::new(),
            variables: Vec::new(),
        })
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns when the server is healthy.
    pub fn start(self) -> Result<Server> {
        fs::create_dir_all(&self.data)?;
        let log = File::options().create(true).append(true).open(self.data.join("server.log"))?;
        let began = Instant::now();
        let child = Command::new(&self.leat)
            .args(["serve", "--listen", &self.address, "--data-dir"])
            .arg(&self.data)
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", self.leat.display()))?;
        let mut server = Server { child, address: self.address.clone(), launch: self, healthy_after: Duration::ZERO };
        while began.elapsed() < Duration::from_secs(20) {
            if http::request(&server.address, "GET", "/api/v1/health", None).is_ok_and(|(status, _)| status == 200) {
                server.healthy_after = began.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}:\n{}", server.log());
            }
            pause(Duration::from_millis(2));
        }
        bail!("the server was not healthy within 20 s:\n{}", server.log())
    }
}

/// A running server; it dies with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    launch: Launch,
    pub address: String,
    /// From the start of the process to the first healthy answer.
    pub healthy_after: Duration,
}

impl Server {
    pub fn start(leat: &Path, data: &Path) -> Result<Self> {
        Launch::new(leat, data)?.start()
    }

    /// Starts again on the same folder and port.
    pub fn again(self) -> Result<Self> {
        self.again_with(&[])
    }

    /// Starts again on the same folder and port, with these variables in the place of those of before. A server that
    /// still runs is killed first.
    pub fn again_with(self, variables: &[(&str, &str)]) -> Result<Self> {
        let mut launch = Launch { variables: Vec::new(), ..self.launch.clone() };
        for (name, value) in variables {
            launch = launch.variable(name, value);
        }
        drop(self);
        launch.start()
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.launch.data.join("server.log")).unwrap_or_default()
    }

    pub fn data(&self) -> &Path {
        &self.launch.data
    }

    /// Waits until the process has ended by itself.
    pub fn ended(&mut self, within: Duration) -> Result<()> {
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > within {
                bail!("the server still runs after {} s:\n{}", within.as_secs(), self.log());
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn post(&self, operation: &str, body: &Value) -> Result<Value> {
        http::post(&self.address, operation, body)
    }

    /// A request whose answer may be an error.
    pub fn request(&self, operation: &str, body: &Value) -> Result<(u16, Value)> {
        http::request(&self.address, "POST", &format!("/api/v1/{operation}"), Some(body))
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> Result<u64> {
        self.status_line("VmRSS:")
    }

    /// The greatest resident memory so far, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        self.status_line("VmHWM:")
    }

    fn status_line(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(name)).context("no such line in /proc")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("no figure in /proc")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// Polls a job until it is final and returns `jobs/get`.
    pub fn wait(&self, job: i64) -> Result<Value> {
        let began = Instant::now();
        loop {
            let info = self.post("jobs/get", &json!({ "id": job }))?;
            let status = info["job"]["status"].as_str().unwrap_or_default();
            if matches!(status, "succeeded" | "failed" | "cancelled") {
                return Ok(info);
            }
            if began.elapsed() > Duration::from_secs(300) {
                bail!("job {job} is still {status} after 300 s");
            }
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chore may sleep: nothing waits for it.
#[allow(clippy::disallowed_methods)]
pub fn pause(time: Duration) {
    thread::sleep(time);
}
