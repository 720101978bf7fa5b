//! How a connector failed: by its own word (TRACE ERROR), by its exit code, by a signal.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use protocol::message::TraceError;

use super::mask::Mask;
use crate::{Error, ErrorKind};

/// What a connector said of its failures. The first word counts; it is the one nearest to the cause.
#[derive(Debug, Default)]
pub(super) struct Failures {
    first: Option<Error>,
}

impl Failures {
    pub fn add(&mut self, trace: &TraceError, mask: &Mask) {
        if self.first.is_none() {
            self.first = Some(said(trace, mask));
        }
    }

    /// What it said, if it said anything; otherwise what its end says. `None`: it ended well. A failure that was only
    /// announced, by a connector that then ended well, does not count.
    pub fn judge(self, status: ExitStatus, last_words: &str, name: &str) -> Option<Error> {
        if status.success() {
            return None;
        }
        Some(self.first.unwrap_or_else(|| ended(status, last_words, name)))
    }

    pub fn into_first(self) -> Option<Error> {
        self.first
    }
}

fn said(trace: &TraceError, mask: &Mask) -> Error {
    let kind = match trace.failure_type.as_deref() {
        Some("config_error") => ErrorKind::Config,
        Some("transient_error") => ErrorKind::Transient,
        _ => ErrorKind::System,
    };
    let inner: Vec<_> =
        [&trace.internal_message, &trace.stack_trace].into_iter().flatten().map(String::as_str).collect();
    let error = Error::new(kind, mask.text(&trace.message));
    if inner.is_empty() { error } else { error.with_source(mask.text(&inner.join("\n")).into_owned()) }
}

/// An exit code other than 0 is a failure even when nothing was said about it. Also 143: a source that somebody else
/// ended has not read everything.
fn ended(status: ExitStatus, last_words: &str, name: &str) -> Error {
    let how = match (status.code(), status.signal()) {
        (_, Some(9)) | (Some(137), _) => "was killed (signal 9), perhaps because memory ran out".to_owned(),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        (Some(127), _) => "ended with exit code 127: a command that it needs was not found".to_owned(),
        (Some(code), None) => format!("ended with exit code {code}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    let error = Error::system(format!("The connector `{name}` {how}"));
    if last_words.is_empty() {
        return error.with_hint("It did not say why; its log may tell");
    }
    let last = last_words.lines().last().unwrap_or_default();
    error.with_hint(format!("Its last words: {last}")).with_source(last_words.to_owned())
}
