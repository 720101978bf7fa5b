//! What came of a job: figures per stream, and whether they agree (Invariant 2).
//!
//! *Read* and *written* are what the attempts answered, *committed* is what the ledger holds. A job is green only if
//! `read = written + filtered + rejected` and `written = committed` for every stream.

use std::{collections::HashMap, io::Write, time::Duration};

use anyhow::Result;
use control::jobs::model::{JobInfo, JobStatus};
use protocol::{StreamDescriptor, checkpoint::Counts};
use serde_json::{Value, json};

use super::show::{Show, grouped};
use crate::{explain, file::Connection, table};

pub struct Report {
    connection: String,
    job: i64,
    status: JobStatus,
    attempts: usize,
    streams: Vec<Line>,
    failures: Vec<String>,
    /// Warnings and errors of the log, without secrets.
    remarks: Vec<String>,
    elapsed: Duration,
}

struct Line {
    stream: StreamDescriptor,
    answered: Counts,
    committed: i64,
    duration: Option<Duration>,
}

impl Line {
    fn agrees(&self) -> bool {
        let Counts { read, written, filtered, rejected, .. } = self.answered;
        read == written + filtered + rejected && written == self.committed
    }

    fn megabytes_per_second(&self) -> Option<f64> {
        let seconds = self.duration?.as_secs_f64();
        // Less than that is no measure.
        (seconds >= 0.01).then(|| self.answered.bytes as f64 / 1e6 / seconds)
    }
}

impl Report {
    pub fn new(
        connection: &Connection,
        ended: &JobInfo,
        ledger: &[(StreamDescriptor, Counts)],
        show: &Show,
        elapsed: Duration,
    ) -> Self {
        let mut streams: Vec<Line> = Vec::new();
        let mut places: HashMap<StreamDescriptor, usize> = HashMap::new();
        for attempt in &ended.attempts {
            for stats in &attempt.streams {
                let place = *places.entry(stats.stream.clone()).or_insert_with(|| {
                    let counted = ledger.iter().find(|(stream, _)| *stream == stats.stream);
                    streams.push(Line {
                        stream: stats.stream.clone(),
                        answered: Counts::default(),
                        committed: counted.map_or(0, |(_, counts)| counts.written),
                        duration: show.duration(&stats.stream),
                    });
                    streams.len() - 1
                });
                streams[place].answered += stats.committed;
            }
        }
        let last = ended.attempts.last();
        let is_remark = |line: &&String| [" WARN ", " ERROR "].iter().any(|level| line.contains(level));
        Self {
            connection: connection.name.clone(),
            job: ended.job.id,
            status: ended.job.status,
            attempts: ended.attempts.len(),
            streams,
            failures: last.into_iter().flat_map(|attempt| &attempt.failures).map(explain::failure).collect(),
            remarks: last.into_iter().flat_map(|attempt| attempt.log.iter().filter(is_remark)).cloned().collect(),
            elapsed,
        }
    }

    pub fn is_green(&self) -> bool {
        self.status == JobStatus::Succeeded && self.streams.iter().all(Line::agrees)
    }

    fn word(&self) -> &'static str {
        match self.status {
            JobStatus::Succeeded if !self.is_green() => "does not reconcile",
            JobStatus::Succeeded => "succeeded",
            JobStatus::Cancelled => "cancelled",
            _ => "failed",
        }
    }

    /// Figures on stdout, reasons on stderr.
    pub fn print_table(&self) -> Result<()> {
        let mut rows = Vec::with_capacity(self.streams.len());
        for line in &self.streams {
            let Counts { read, written, rejected, .. } = line.answered;
            rows.push(vec![
                line.stream.to_string(),
                grouped(read),
                grouped(written),
                grouped(line.committed),
                grouped(rejected),
                line.duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.1} s", duration.as_secs_f64())),
                line.megabytes_per_second().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
                if line.agrees() { String::new() } else { "the counts do not agree".to_owned() },
            ]);
        }
        let head = ["stream", "read", "written", "committed", "rejected", "duration", "MB/s", ""];
        let mut text = table::text(&head, &[1, 2, 3, 4, 5, 6], &rows);
        let attempts = if self.attempts == 1 { String::new() } else { format!(", {} attempts", self.attempts) };
        text.push_str(&format!(
            "{}: {} in {:.1} s (job {}{attempts})\n",
            self.connection,
            self.word(),
            self.elapsed.as_secs_f64(),
            self.job
        ));
        std::io::stdout().write_all(text.as_bytes())?;
        self.print_reasons();
        Ok(())
    }

    pub fn print_json(&self) -> Result<()> {
        let streams: Vec<Value> = self
            .streams
            .iter()
            .map(|line| {
                json!({
                    "namespace": line.stream.namespace, "stream": line.stream.name,
                    "read": line.answered.read, "written": line.answered.written, "committed": line.committed,
                    "filtered": line.answered.filtered, "rejected": line.answered.rejected, "bytes": line.answered.bytes,
                    "seconds": line.duration.map(|duration| duration.as_secs_f64()),
                    "megabytes_per_second": line.megabytes_per_second(), "agrees": line.agrees(),
                })
            })
            .collect();
        let result = json!({
            "event": "result", "connection": self.connection, "job": self.job, "succeeded": self.is_green(),
            "status": self.word(), "attempts": self.attempts, "seconds": self.elapsed.as_secs_f64(), "streams": streams,
            "failures": self.failures,
        });
        writeln!(std::io::stdout(), "{result}")?;
        self.print_reasons();
        Ok(())
    }

    fn print_reasons(&self) {
        for remark in &self.remarks {
            eprintln!("{remark}");
        }
        for failure in &self.failures {
            eprintln!("leat: {}: {failure}", self.connection);
        }
        if self.status == JobStatus::Incomplete {
            eprintln!("leat: what is committed stays; run the same command again to go on from there");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_agree() {
        let check = |read, written, filtered, rejected, committed, expected| {
            let answered = Counts { read, written, filtered, rejected, bytes: 0 };
            let line = Line { stream: StreamDescriptor::new(None, "s"), answered, committed, duration: None };
            assert_eq!(line.agrees(), expected, "{answered:?} {committed}");
        };
        check(0, 0, 0, 0, 0, true);
        check(10, 7, 2, 1, 7, true);
        check(10, 9, 0, 0, 9, false);
        check(10, 10, 0, 0, 9, false);
        check(9, 10, 0, 0, 10, false);
    }
}
