//! The lines of an attempt's log on their way to the store: stamped, rid of secrets, in batches of a bounded size.

use chrono::{DateTime, Utc};

use crate::{runner::LogLevel, secrets::Redactor};

/// Bytes that may wait to be written; what comes beyond is counted and left out, never waited for.
const LIMIT: usize = 1 << 20;
/// Bytes of one message.
const LONGEST_MESSAGE: usize = 32 << 10;

pub(crate) struct LogBuffer {
    redactor: Redactor,
    text: String,
    left_out: usize,
}

impl LogBuffer {
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, text: String::new(), left_out: 0 }
    }

    pub fn push(&mut self, now: DateTime<Utc>, level: LogLevel, message: &str) {
        if self.text.len() >= LIMIT {
            self.left_out += 1;
            return;
        }
        // Invariant 6: cut before the text is shortened, lest a secret stays as a stump.
        let message = self.redactor.redact(message);
        let end = message.floor_char_boundary(LONGEST_MESSAGE);
        let shortened = if end < message.len() { " ..." } else { "" };
        // No store keeps U+0000 in a text.
        let message = message[..end].replace('\0', "\u{fffd}");
        let level = match level {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warn => "WARN",
            LogLevel::Error => "ERROR",
        };
        self.text.push_str(&format!("{} {level:<5} {message}{shortened}\n", now.format("%Y-%m-%d %H:%M:%S%.3f")));
    }

    /// Everything since the last call; each line ends with a line feed.
    pub fn take(&mut self) -> Option<String> {
        if self.left_out > 0 {
            self.text.push_str(&format!("... {} lines came too fast and were left out\n", self.left_out));
            self.left_out = 0;
        }
        if self.text.is_empty() { None } else { Some(std::mem::take(&mut self.text)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_stamped_bounded_and_without_secrets() {
        let now: DateTime<Utc> = "2024-01-01T02:03:04.5Z".parse().unwrap();
        let mut log = LogBuffer::new(Redactor::new([&r#""hunter2""#.to_owned()]));
        assert_eq!(log.take(), None);
        log.push(now, LogLevel::Info, "login with hunter2\0");
        assert_eq!(log.take().unwrap(), "2024-01-01 02:03:04.500 INFO  login with **********\u{fffd}\n");
        for _ in 0..100 {
            log.push(now, LogLevel::Warn, &"ä".repeat(LONGEST_MESSAGE));
        }
        let text = log.take().unwrap();
        assert!(text.len() < LIMIT + 2 * LONGEST_MESSAGE, "{}", text.len());
        assert!(text.contains("left out"), "what is missing is said");
        assert_eq!(log.take(), None);
    }
}
