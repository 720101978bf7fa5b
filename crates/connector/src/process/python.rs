//! A connector from a Python package index, in an environment of its own.
//!
//! The environment lies under the cache folder, by package and version, and is made once: a file in it, written last, says
//! that it is whole and which script starts the connector. Whoever finds it unfinished makes it anew; a lock keeps two from
//! making it together. Without a version it is the newest one of the day on which it was first installed.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    child::Child,
    command::{Command, Limits},
    lines::Line,
    mask::Mask,
};
use crate::{Error, Result};

/// Between two looks at the lock of somebody else who installs the same package.
const LOCKED: Duration = Duration::from_millis(200);
/// What pip may be told by the environment: where the index is, how it is trusted.
const PIP: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_CONFIG_FILE",
    "PIP_CACHE_DIR",
    "PIP_DEFAULT_TIMEOUT",
];
/// Prints the version of a package and its console scripts, as the package itself declares them.
const INSPECT: &str = "import importlib.metadata as m, json, sys
d = m.distribution(sys.argv[1])
print(json.dumps({'version': d.version, 'scripts': [e.name for e in d.entry_points if e.group == 'console_scripts']}))";

/// A package, and where its environments lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonPackage {
    name: String,
    version: Option<String>,
    cache: PathBuf,
    /// The interpreter that makes the environment.
    python: PathBuf,
    /// Where packages come from; pip's own choice if `None`.
    index: Option<String>,
}

/// The file that says that an environment is whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Installed {
    version: String,
    script: String,
}

impl PythonPackage {
    /// Reads `PACKAGE` or `PACKAGE==VERSION`.
    pub fn new(requirement: &str, cache: impl Into<PathBuf>) -> Result<Self> {
        let (name, version) = match requirement.split_once("==") {
            Some((name, version)) => (name.trim(), Some(version.trim())),
            None => (requirement.trim(), None),
        };
        let is_plain = |text: &str, extra: &[u8]| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        };
        // Nothing that pip would take for an option, an address or a path.
        if !is_plain(name, b"-_.") || !version.is_none_or(|version| is_plain(version, b".+!-_")) {
            return Err(Error::config(format!("`{requirement}` is not the name of a Python package"))
                .with_hint("Write PACKAGE or PACKAGE==VERSION, for example airbyte-source-faker==6.2.38"));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            cache: cache.into(),
            python: "python3".into(),
            index: None,
        })
    }

    /// Another interpreter than the `python3` of the path.
    pub fn with_python(mut self, python: impl Into<PathBuf>) -> Self {
        self.python = python.into();
        self
    }

    /// Another index than the one that pip is set up for: the address of its `simple` page.
    pub fn with_index(mut self, address: impl Into<String>) -> Self {
        self.index = Some(address.into());
        self
    }

    /// The command that runs the connector; installs it first if that was not done yet. `progress` gets a line at a time.
    pub async fn install(&self, progress: &(dyn Fn(&str) + Sync), cancel: &CancellationToken) -> Result<Command> {
        let folder = self.cache.join(format!("{}-{}", self.name, self.version.as_deref().unwrap_or("latest")));
        if let Some(installed) = read_marker(&folder) {
            return Ok(command(&folder, &installed));
        }
        fs::create_dir_all(&self.cache).map_err(|error| self.not_kept(error))?;
        let _lock = self.lock(&folder, progress, cancel).await?;
        if let Some(installed) = read_marker(&folder) {
            return Ok(command(&folder, &installed));
        }
        if folder.exists() {
            progress("Removing an installation that was not finished");
            fs::remove_dir_all(&folder).map_err(|error| self.not_kept(error))?;
        }
        progress(&format!("Making a Python environment in {}", folder.display()));
        let mut venv = Command::new(&self.python);
        venv.args = vec!["-m".into(), "venv".into(), folder.clone().into()];
        self.run(&venv, progress, cancel).await?.map_err(|output| {
            Error::config("A Python environment could not be made")
                .with_hint("Is the venv module of Python there? On Debian: apt install python3-venv")
                .with_source(output)
        })?;
        let requirement = match &self.version {
            Some(version) => format!("{}=={version}", self.name),
            None => self.name.clone(),
        };
        progress(&format!("Installing {requirement}"));
        let mut pip = Command::new(folder.join("bin/python"));
        let options = [
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
            "--retries",
            "2",
        ];
        pip.args = options.iter().map(Into::into).collect();
        pip.args.extend(self.index.iter().map(|index| format!("--index-url={index}").into()));
        pip.args.push(requirement.clone().into());
        pip.env = PIP.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
        self.run(&pip, progress, cancel).await?.map_err(|output| not_installed(&requirement, output))?;
        let installed = self.inspect(&folder).await?;
        let marker = serde_json::to_vec(&installed).unwrap_or_default();
        // Written beside and moved: a marker is there as a whole or not at all.
        let beside = folder.join("leat.json.new");
        fs::write(&beside, marker)
            .and_then(|()| fs::rename(&beside, marker_of(&folder)))
            .map_err(|error| self.not_kept(error))?;
        progress(&format!("Installed {} {}", self.name, installed.version));
        Ok(command(&folder, &installed))
    }

    /// Waits for whoever installs the same package. The lock is given back with the file, also if we die.
    async fn lock(&self, folder: &Path, progress: &(dyn Fn(&str) + Sync), cancel: &CancellationToken) -> Result<File> {
        let file = File::create(folder.with_added_extension("lock")).map_err(|error| self.not_kept(error))?;
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.not_kept(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !std::mem::replace(&mut is_told, true) {
                progress("Waiting for another installation of the same package");
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(Error::cancelled()),
                () = sleep(LOCKED) => {}
            }
        }
    }

    /// Runs a command to its end. The inner `Err` is what it said when it failed.
    async fn run(
        &self,
        command: &Command,
        progress: &(dyn Fn(&str) + Sync),
        cancel: &CancellationToken,
    ) -> Result<Result<(), String>> {
        let mut child = Child::spawn(command, &[], &Mask::default(), None)?;
        let mut said = Vec::new();
        loop {
            let line = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    child.stop().await;
                    return Err(Error::cancelled());
                }
                line = child.lines.next() => line,
            };
            match line {
                Ok(Some(Line::Whole(line))) => {
                    let line = String::from_utf8_lossy(line);
                    progress(&line);
                    said.push(line.into_owned());
                }
                Ok(Some(Line::TooLong { .. })) => {}
                Ok(None) => break,
                Err(error) => return Err(child.lost(error)),
            }
        }
        let status = child.process.wait().await.map_err(|error| child.lost(error))?;
        if status.success() {
            return Ok(Ok(()));
        }
        let last_words = child.last_words().await;
        let from = said.len().saturating_sub(20);
        Ok(Err(format!("{}\n{last_words}", said[from..].join("\n"))))
    }

    /// Which script starts the connector: the one that is named as the package, with or without `airbyte-` before it, or
    /// the only one.
    async fn inspect(&self, folder: &Path) -> Result<Installed> {
        #[derive(Deserialize)]
        struct Declared {
            version: String,
            scripts: Vec<String>,
        }
        let output = tokio::process::Command::new(folder.join("bin/python"))
            .args(["-c", INSPECT, &self.name])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| self.not_kept(error))?;
        let declared: Declared = serde_json::from_slice(&output.stdout).map_err(|error| {
            Error::system(format!("The package {} could not be examined", self.name))
                .with_source(format!("{error}\n{}", String::from_utf8_lossy(&output.stderr)))
        })?;
        let name = self.name.to_ascii_lowercase().replace(['_', '.'], "-");
        let short = name.strip_prefix("airbyte-").unwrap_or(&name);
        let named = declared.scripts.iter().find(|script| {
            let script = script.to_ascii_lowercase().replace(['_', '.'], "-");
            script == name || script == short
        });
        let only = declared.scripts.first().filter(|_| declared.scripts.len() == 1);
        let script = named.or(only).ok_or_else(|| {
            Error::config(format!("The package {} has no script that starts a connector", self.name))
                .with_hint(format!("It has these scripts: {}", declared.scripts.join(", ")))
        })?;
        Ok(Installed { version: declared.version, script: script.clone() })
    }

    fn not_kept(&self, error: io::Error) -> Error {
        Error::system(format!("The package {} could not be installed in {}", self.name, self.cache.display()))
            .with_hint("Is there room, and may the folder be written to?")
            .with_source(error)
    }
}

fn marker_of(folder: &Path) -> PathBuf {
    folder.join("leat.json")
}

fn read_marker(folder: &Path) -> Option<Installed> {
    serde_json::from_slice(&fs::read(marker_of(folder)).ok()?).ok()
}

fn command(folder: &Path, installed: &Installed) -> Command {
    Command { limits: Limits::default(), ..Command::new(folder.join("bin").join(&installed.script)) }
}

fn not_installed(requirement: &str, output: String) -> Error {
    let unreachable = [
        "Retrying (",
        "NewConnectionError",
        "Name or service not known",
        "Temporary failure in name",
        "ConnectTimeout",
    ];
    if unreachable.iter().any(|sign| output.contains(sign)) {
        return Error::transient(format!("The Python package index could not be reached to install {requirement}"))
            .with_hint("Check the network, or name a mirror with PIP_INDEX_URL")
            .with_source(output);
    }
    if output.contains("No matching distribution") {
        return Error::config(format!("The Python package index has no {requirement} for this version of Python"))
            .with_hint("Check the name and the version")
            .with_source(output);
    }
    Error::system(format!("The Python package {requirement} could not be installed")).with_source(output)
}
