//! Counts of an attempt per stream, each from its own witness, and whether they agree (Invariant 2).
//!
//! *Emitted* is what arrived in batches, *read* what the source's wire counted, *written* what the destination answered
//! commit by commit, *committed* what the ledger noted; the destination's running totals are a second witness of it.

use connector::{Error, Result};
use protocol::{StreamDescriptor, checkpoint::Counts};

use crate::outcome::StreamStats;

#[derive(Debug)]
pub(crate) struct Tally {
    pub stats: StreamStats,
    /// The stream was read to its end: rows as the source counted them.
    pub read: Option<i64>,
    /// What the destination answered.
    pub written: i64,
    /// The destination's running total of the job, before this attempt and now.
    pub total_before: i64,
    pub total: Option<i64>,
}

impl Tally {
    pub fn new(descriptor: StreamDescriptor) -> Self {
        let stats = StreamStats {
            descriptor,
            emitted: 0,
            emitted_bytes: 0,
            states: 0,
            committed: Counts::default(),
            complete: false,
        };
        Self { stats, read: None, written: 0, total_before: 0, total: None }
    }

    /// Rows that the source counted and that no batch brought, or the other way round: checked before the rows are merged
    /// or swapped in.
    pub fn check_read(&self) -> Result<()> {
        let Some(read) = self.read.filter(|read| *read != self.stats.emitted) else { return Ok(()) };
        let StreamStats { descriptor, emitted, .. } = &self.stats;
        Err(disagree(format!("Stream `{descriptor}`: the source counted {read} rows read, but {emitted} rows arrived")))
    }

    /// At the end of an attempt without a failure.
    pub fn check(&self) -> Result<()> {
        let StreamStats { descriptor, committed, .. } = &self.stats;
        let read = self.read.unwrap_or_default();
        let accounted = self.written + committed.filtered + committed.rejected;
        if read != accounted {
            return Err(disagree(format!(
                "Stream `{descriptor}`: {read} rows were read, but {} written, {} filtered and {} rejected",
                self.written, committed.filtered, committed.rejected
            )));
        }
        if self.written != committed.written {
            return Err(disagree(format!(
                "Stream `{descriptor}`: {} rows were written, but {} committed",
                self.written, committed.written
            )));
        }
        // A destination that drops the rows of an earlier attempt may begin its total again.
        if let Some(total) =
            self.total.filter(|total| *total != self.written && *total != self.total_before + self.written)
        {
            return Err(disagree(format!(
                "Stream `{descriptor}`: {} rows were written after {} by earlier attempts, but the destination counts {total}",
                self.written, self.total_before
            )));
        }
        Ok(())
    }
}

fn disagree(message: String) -> Error {
    Error::system(message).with_hint("The counts of a sync must agree; run it again, and report it if this comes back")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(emitted: i64, read: i64, written: i64, committed: i64) -> Tally {
        let mut tally = Tally::new(StreamDescriptor::new(None, "orders"));
        tally.stats.emitted = emitted;
        tally.read = Some(read);
        tally.written = written;
        tally.stats.committed.written = committed;
        tally
    }

    #[test]
    fn counts_must_agree() {
        assert!(tally(5, 5, 5, 5).check().is_ok());
        let cases = [
            (tally(4, 5, 4, 4), "5 rows read, but 4 rows arrived"),
            (tally(5, 5, 4, 4), "5 rows were read, but 4 written"),
            (tally(5, 5, 5, 4), "5 rows were written, but 4 committed"),
            (Tally { total: Some(9), total_before: 3, ..tally(5, 5, 5, 5) }, "the destination counts 9"),
        ];
        for (tally, expected) in cases {
            let error = tally.check_read().and_then(|()| tally.check()).err().map(|error| error.message);
            assert!(error.as_deref().is_some_and(|text| text.contains(expected)), "{expected}: {error:?}");
        }
        let resumed = Tally { total: Some(8), total_before: 3, ..tally(5, 5, 5, 5) };
        assert!(resumed.check().is_ok());
    }
}
