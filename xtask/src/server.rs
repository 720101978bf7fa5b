//! A `leat serve` of a chore: an empty folder, a free port, and the end of it when the chore ends.

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

pub struct Server {
    child: Child,
    leat: PathBuf,
    pub address: String,
    pub data: PathBuf,
    /// From the start of the process to the first healthy answer.
    pub healthy_after: Duration,
}

impl Server {
    pub fn start(leat: &Path, data: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Self::start_at(leat, data, format!("127.0.0.1:{port}"))
    }

    /// Starts again after [`Server::kill`], on the same folder and port.
    pub fn again(self) -> Result<Self> {
        let (leat, data, address) = (self.leat.clone(), self.data.clone(), self.address.clone());
        drop(self);
        Self::start_at(&leat, &data, address)
    }

    fn start_at(leat: &Path, data: &Path, address: String) -> Result<Self> {
        fs::create_dir_all(data)?;
        let log = File::options().create(true).append(true).open(data.join("server.log"))?;
        let began = Instant::now();
        let child = Command::new(leat)
            .args(["serve", "--listen", &address, "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", leat.display()))?;
        let mut server = Self {
            child,
            leat: leat.to_owned(),
            address,
            data: data.to_owned(),
            healthy_after: Duration::ZERO,
        };
        while began.elapsed() < Duration::from_secs(20) {
            if http::request(&server.address, "GET", "/api/v1/health", None).is_ok_and(|(status, _)| status == 200) {
                server.healthy_after = began.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}; its log is {}", server.data.join("server.log").display());
            }
            pause(Duration::from_millis(2));
        }
        bail!("the server was not healthy within 20 s")
    }

    pub fn post(&self, operation: &str, body: &Value) -> Result<Value> {
        http::post(&self.address, operation, body)
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
