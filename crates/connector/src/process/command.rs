//! Which executable is run, with what around it, and how long it may take.

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

/// An executable that speaks the protocol.
#[derive(Clone, Debug)]
pub struct Command {
    /// A path; a bare name is looked for in `PATH`.
    pub program: PathBuf,
    /// Stand before the arguments of the protocol.
    pub args: Vec<OsString>,
    /// Added to the few variables that every connector gets ([`PASSED`]).
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; the folder of this process if `None`.
    pub folder: Option<PathBuf>,
    pub limits: Limits,
}

impl Command {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), env: Vec::new(), folder: None, limits: Limits::default() }
    }

    /// The name to show: the file, without its folder.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    /// The whole environment of the child. Nothing else is inherited: the variables of a server hold secrets that are
    /// none of a connector's business.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        let passed = PASSED.iter().filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
        let fixed = FIXED.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        passed.chain(fixed).chain(self.env.iter().cloned()).collect()
    }
}

/// What a program needs to find its files, speak the user's language and reach the network.
pub const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// What the platform of the protocol tells every connector, and UTF-8 for those written in Python.
const FIXED: &[(&str, &str)] = &[
    ("DEPLOYMENT_MODE", "OSS"),
    ("USE_STREAM_CAPABLE_STATE", "true"),
    ("LOG_LEVEL", "INFO"),
    ("PYTHONIOENCODING", "utf-8"),
    ("PYTHONUNBUFFERED", "1"),
];

/// How much and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one line. A longer one is left out and counted; it never lies in memory as a whole.
    pub line: usize,
    /// Rows of a stream are sent when they take this many bytes,
    pub batch: usize,
    /// or when the oldest of them has waited this long.
    pub linger: Duration,
    /// For spec, check and discover.
    pub answer: Duration,
    /// While reading, without a record or a state; the time in which rows wait for the destination does not count.
    pub silence: Duration,
    /// Between the request to end and the end by force.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 128 << 20,
            batch: 1 << 20,
            linger: Duration::from_secs(1),
            answer: Duration::from_secs(9 * 60),
            silence: Duration::from_secs(3 * 60 * 60),
            // Less than what an attempt waits for a source that it stopped.
            grace: Duration::from_secs(5),
        }
    }
}
