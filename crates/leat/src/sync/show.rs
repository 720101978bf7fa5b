//! How far a sync is: a line per stream that moves on a terminal, plain lines in a pipe, JSON lines on request.
//!
//! Talk goes to stderr; JSON is data and goes to stdout.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use control::runner::StreamStats;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use protocol::StreamDescriptor;
use serde_json::json;

use super::watch::Told;

/// Between two plain lines of a stream.
const PLAIN: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(120);

pub struct Show {
    connection: String,
    form: Form,
    streams: HashMap<StreamDescriptor, Seen>,
    /// When figures came last: what is seen first now has begun after that.
    last: Instant,
}

enum Form {
    Bars(MultiProgress),
    Lines,
    Json,
}

/// What was seen of a stream.
struct Seen {
    since: Instant,
    until: Option<Instant>,
    told_at: Instant,
    told_read: i64,
    bar: Option<ProgressBar>,
}

impl Show {
    pub fn new(connection: &str, json: bool) -> Self {
        let form = match json {
            true => Form::Json,
            false if std::io::stderr().is_terminal() => Form::Bars(MultiProgress::new()),
            false => Form::Lines,
        };
        Self { connection: connection.to_owned(), form, streams: HashMap::new(), last: Instant::now() }
    }

    pub fn take(&mut self, told: Told) {
        match told {
            Told::Begun { attempt, .. } if attempt > 0 => {
                self.last = Instant::now();
                self.say(&format!("{}: attempt {} goes on from the last state", self.connection, attempt + 1));
            }
            Told::Begun { .. } => self.last = Instant::now(),
            Told::Progress { job, streams } => self.progress(job, &streams),
            Told::Ended { job, attempt, failed, moved, streams } => {
                self.progress(job, &streams);
                if failed && moved {
                    self.say(&format!("{}: attempt {} failed; what it committed stays", self.connection, attempt + 1));
                }
            }
        }
    }

    /// How long a stream took, as far as was seen: figures come about once a second, so it is at most so much too long.
    pub fn duration(&self, stream: &StreamDescriptor) -> Option<Duration> {
        let seen = self.streams.get(stream)?;
        Some(seen.until.unwrap_or_else(Instant::now).duration_since(seen.since))
    }

    /// Takes the moving lines away.
    pub fn end(&mut self) {
        for seen in self.streams.values_mut() {
            if let Some(bar) = seen.bar.take() {
                bar.finish_and_clear();
            }
        }
    }

    fn say(&self, line: &str) {
        match &self.form {
            // Fails only where stderr is gone.
            Form::Bars(bars) => drop(bars.println(line)),
            Form::Lines | Form::Json => eprintln!("{line}"),
        }
    }

    fn progress(&mut self, job: i64, streams: &[StreamStats]) {
        let now = Instant::now();
        let mut lines = Vec::new();
        for stats in streams {
            if stats.emitted == 0 && !stats.complete && !self.streams.contains_key(&stats.stream) {
                continue;
            }
            let seen = self.streams.entry(stats.stream.clone()).or_insert_with(|| Seen {
                since: self.last,
                until: None,
                told_at: now,
                told_read: -1,
                bar: None,
            });
            let ends = stats.complete && seen.until.is_none();
            if ends {
                seen.until = Some(now);
            }
            let state = if stats.complete { "complete" } else { "running" };
            let text = format!(
                "{}: {} rows read, {} committed",
                stats.stream,
                grouped(stats.emitted),
                grouped(stats.committed.written)
            );
            match &self.form {
                Form::Bars(bars) => {
                    if seen.bar.is_none() && (ends || seen.until.is_none()) {
                        let bar = bars.add(ProgressBar::new_spinner());
                        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
                            bar.set_style(style);
                        }
                        bar.enable_steady_tick(TICK);
                        seen.bar = Some(bar);
                    }
                    if let Some(bar) = &seen.bar {
                        bar.set_message(text);
                        if ends {
                            bar.finish();
                        }
                    }
                }
                Form::Lines => {
                    let is_due = ends || (stats.emitted != seen.told_read && now.duration_since(seen.told_at) >= PLAIN);
                    if is_due {
                        lines.push(format!("{text}{}", if stats.complete { ", complete" } else { "" }));
                        seen.told_at = now;
                    }
                }
                Form::Json => {
                    if ends || stats.emitted != seen.told_read {
                        let line = json!({
                            "event": "progress", "connection": self.connection, "job": job,
                            "namespace": stats.stream.namespace, "stream": stats.stream.name, "state": state,
                            "read": stats.emitted, "bytes": stats.emitted_bytes, "committed": stats.committed.written,
                        });
                        lines.push(line.to_string());
                    }
                }
            }
            seen.told_read = stats.emitted;
        }
        self.last = now;
        let is_json = matches!(self.form, Form::Json);
        for line in lines {
            if is_json {
                // A reader that has gone away does not stop the sync.
                let _ = writeln!(std::io::stdout(), "{line}");
            } else {
                eprintln!("{line}");
            }
        }
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-1_234_567, "-1,234,567"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}
