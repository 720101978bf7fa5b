//! Errors of the other crates as a user of the command line reads them: message, hint, cause.

use anyhow::Error;
use control::runner::Failure;

use crate::file::Refused;

pub fn connector(error: connector::Error) -> Error {
    let text = with_hint(&error.message, error.hint.as_deref());
    match std::error::Error::source(&error) {
        Some(cause) => anyhow::anyhow!("{text} ({cause})"),
        None => anyhow::anyhow!(text),
    }
}

pub fn control(error: control::Error) -> Error {
    let text = with_hint(&error.message, error.hint.as_deref());
    match std::error::Error::source(&error) {
        Some(cause) => anyhow::anyhow!("{text} ({cause})"),
        None => anyhow::anyhow!(text),
    }
}

/// What is wrong with a configuration, in the words of the file: `place` is that of the actor, as in `sources.shop`.
pub fn configuration(error: &control::Error, place: &str) -> Refused {
    let mut wrong = Vec::new();
    for violation in &error.violations {
        let path = violation.property_path.strip_prefix("connectionConfiguration").unwrap_or(&violation.property_path);
        wrong.push(format!("{place}.config{path}: {}", violation.message));
    }
    Refused(if wrong.is_empty() { format!("{place}: {error}") } else { wrong.join("; ") })
}

pub fn failure(failure: &Failure) -> String {
    match &failure.internal_message {
        Some(internal) if *internal != failure.external_message => format!("{} ({internal})", failure.external_message),
        _ => failure.external_message.clone(),
    }
}

fn with_hint(message: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{}. {hint}", message.trim_end_matches('.')),
        None => message.to_owned(),
    }
}
