//! Commands that have one answer: spec, check and discover.

use std::time::Duration;

use protocol::{Message, message::TraceKind};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{child::Child, command::Command, failure::Failures, files::Files, lines::Line, mask::Mask};
use crate::{Error, Result};

/// How long a connector may go on after it has answered.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Runs the command and returns the first message that `pick` takes.
///
/// An answer counts whatever the exit code; without one the first TRACE ERROR is the failure, then the exit code.
pub(super) async fn ask<T>(
    command: &Command,
    files: &Files,
    mask: &Mask,
    cancel: &CancellationToken,
    pick: impl Fn(Message) -> Option<T>,
) -> Result<T> {
    let name = command.name();
    let what = files.args().first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let mut child = Child::spawn(command, files.args(), mask, None)?;
    let mut answer = None;
    let mut unreadable = None;
    let mut failures = Failures::default();
    let mut deadline = Instant::now() + command.limits.answer;
    loop {
        let line = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                child.stop().await;
                return Err(Error::cancelled());
            }
            line = child.lines.next() => match line {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => return Err(child.lost(error)),
            },
            () = sleep_until(deadline) => break,
        };
        let text = match line {
            Line::Whole(line) => String::from_utf8_lossy(line),
            Line::TooLong { bytes, .. } => {
                return Err(Error::system(format!(
                    "The connector `{name}` answered `{what}` with a line of {bytes} bytes; at most {} are read",
                    command.limits.line
                )));
            }
        };
        match Message::parse(&text) {
            Ok(Message::Trace(trace)) => {
                if let TraceKind::Error { error } = &trace.kind {
                    failures.add(error, mask);
                }
            }
            Ok(message) if answer.is_none() => {
                answer = pick(message);
                if answer.is_some() {
                    deadline = deadline.min(Instant::now() + AFTERWARDS);
                }
            }
            Ok(_) => {}
            Err(error) => {
                if text.trim_start().starts_with('{') {
                    unreadable.get_or_insert_with(|| error.to_string());
                }
                tracing::debug!(target: "connector", "{}", mask.text(&text));
            }
        }
    }
    let status = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        ended = child.process.wait() => Some(ended.map_err(|error| child.lost(error))?),
        () = sleep_until(deadline) => None,
    };
    if status.is_none() {
        child.stop().await;
    }
    if let Some(answer) = answer {
        return Ok(answer);
    }
    if cancel.is_cancelled() {
        return Err(Error::cancelled());
    }
    let Some(status) = status else {
        return Err(Error::transient(format!(
            "The connector `{name}` did not answer `{what}` within {} seconds",
            command.limits.answer.as_secs()
        )));
    };
    child.end_group();
    let last_words = child.last_words().await;
    // Here a failure that was announced counts even if the exit code is 0: there is no answer.
    if !status.success() {
        if let Some(error) = failures.judge(status, &last_words, &name) {
            return Err(error);
        }
    } else if let Some(error) = failures.into_first() {
        return Err(error);
    }
    let hint = match unreadable {
        Some(error) => format!("It sent a message that could not be read: {}", mask.text(&error)),
        None => "Does it speak the Airbyte protocol?".to_owned(),
    };
    let error = Error::system(format!("The connector `{name}` ended without an answer to `{what}`")).with_hint(hint);
    Err(if last_words.is_empty() { error } else { error.with_source(last_words) })
}
