//! A running connector: its own process group, which never outlives this value.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{ChildStderr, ChildStdout},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Level;

use super::{
    command::Command,
    lines::{Line, Lines},
    mask::Mask,
};
use crate::{Error, Output, Result};

/// Bytes of a line of stderr, and of plain text on stdout, that are shown.
pub(super) const MOST_TEXT: usize = 10_000;
/// Last lines of stderr that explain a failure.
const TAIL: usize = 20;
/// How long stderr may stay open after the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Child {
    pub process: tokio::process::Child,
    pub lines: Lines<ChildStdout>,
    stderr: Option<Stderr>,
    name: String,
    grace: Duration,
    // Dropped last.
    group: Group,
}

struct Stderr {
    task: AbortOnDropHandle<()>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

/// Ends whatever is left of the group (Invariant 12), the connector's own children too. One that made a session of its
/// own escapes.
struct Group(Option<Pid>);

impl Group {
    /// A group that is gone already is no error. Its number is not given to another one while a member lives, and
    /// process numbers go round too slowly for it to be taken in the moment between the last wait and this.
    fn send(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

impl Child {
    /// Starts it. What it writes to stderr goes to `log`, a line an entry, if there is one.
    pub fn spawn(command: &Command, args: &[OsString], mask: &Mask, log: Option<Output>) -> Result<Self> {
        let mut builder = tokio::process::Command::new(&command.program);
        builder
            .args(&command.args)
            .args(args)
            .env_clear()
            .envs(command.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(folder) = &command.folder {
            builder.current_dir(folder);
        }
        let mut child = builder.spawn().map_err(|error| not_started(command, error))?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::system("A child process has no pipes"));
        };
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let task = AbortOnDropHandle::new(tokio::spawn(listen(stderr, tail.clone(), mask.clone(), log)));
        Ok(Self {
            process: child,
            lines: Lines::new(stdout, command.limits.line),
            stderr: Some(Stderr { task, tail }),
            name: command.name(),
            grace: command.limits.grace,
            group,
        })
    }

    /// Asks the group to end, and ends it by force after the grace.
    pub async fn stop(&mut self) {
        self.group.send(Signal::TERM);
        let _ = timeout(self.grace, self.process.wait()).await;
        self.end_group();
        let _ = self.process.wait().await;
    }

    /// Ends what the connector left running. Afterwards the number of the group belongs to nobody and is forgotten.
    pub fn end_group(&mut self) {
        self.group.send(Signal::KILL);
        self.group.0 = None;
    }

    /// The last lines of stderr, once the process has ended.
    pub async fn last_words(&mut self) -> String {
        let Some(stderr) = self.stderr.take() else { return String::new() };
        let _ = timeout(LAST_WORDS, stderr.task).await;
        let tail = stderr.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    pub fn lost(&self, error: io::Error) -> Error {
        Error::system(format!("The connector `{}` could not be followed any more", self.name)).with_source(error)
    }
}

/// Relays stderr. The protocol says nothing of levels there; the platform that made it logs such lines as errors.
async fn listen(stderr: ChildStderr, tail: Arc<Mutex<VecDeque<String>>>, mask: Mask, log: Option<Output>) {
    let mut lines = Lines::new(stderr, MOST_TEXT);
    // Whoever stops listening stops the connector too: an unread pipe blocks it.
    while let Ok(Some(line)) = lines.next().await {
        let text = match line {
            Line::Whole([]) => continue,
            Line::Whole(text) => mask.text(&String::from_utf8_lossy(text)).into_owned(),
            Line::TooLong { start, bytes } => {
                format!("{} … ({bytes} bytes)", mask.text(&String::from_utf8_lossy(start)))
            }
        };
        {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text.clone());
        }
        match &log {
            // Nobody reads the log any more: the attempt is over.
            Some(log) => drop(log.log(Level::ERROR, text).await),
            None => tracing::debug!(target: "connector", "{text}"),
        }
    }
}

fn not_started(command: &Command, error: io::Error) -> Error {
    let path = command.program.display();
    let failure = match error.kind() {
        io::ErrorKind::NotFound => {
            Error::config(format!("The connector `{path}` does not exist, or what runs it does not"))
                .with_hint("Check the path, and the interpreter that the first line of a script names")
        }
        io::ErrorKind::PermissionDenied => {
            Error::config(format!("The connector `{path}` may not be executed")).with_hint(format!("chmod +x {path}"))
        }
        io::ErrorKind::ExecutableFileBusy => Error::transient(format!("The connector `{path}` is being written")),
        // ENOEXEC
        _ if error.raw_os_error() == Some(8) => {
            Error::config(format!("`{path}` is not an executable for this machine"))
                .with_hint("A script begins with a line such as `#!/usr/bin/env python3`")
        }
        _ => Error::system(format!("The connector `{path}` could not be started")),
    };
    failure.with_source(error)
}
