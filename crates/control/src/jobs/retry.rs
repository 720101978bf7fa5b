//! Whether a job gets another attempt, and when.
//!
//! The rules of today's server: failures that committed nothing and failures that moved on are counted apart, and each
//! kind ends the other's run. What the platform itself lost costs nothing until it goes on without a new position.
//! Start with [`Tally::after`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

const COMPLETE_IN_A_ROW: u32 = 5;
const COMPLETE_IN_ALL: u32 = 10;
const PARTIAL_IN_A_ROW: u32 = 1_000;
const PARTIAL_IN_ALL: u32 = 20;
/// Crashes in a row without a new position that are free of charge.
const FREE_CRASHES: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30 * 60);

/// What the attempts of a job have used up so far. Kept with the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    pub complete_in_a_row: u32,
    pub complete_in_all: u32,
    pub partial_in_a_row: u32,
    pub partial_in_all: u32,
    pub crashes_in_a_row: u32,
}

/// How an attempt ended that did not succeed and was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The cause is a configuration: trying again gives the same.
    ConfigError,
    /// `moved`: at least one record was committed or rejected.
    Failed { moved: bool },
    /// The process that ran it is gone. `moved`: it left a new position.
    Crashed { moved: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Retry { wait: Duration },
    GiveUp,
}

impl Tally {
    /// Counts an ending and says what follows.
    pub fn after(&mut self, ended: Ended) -> Verdict {
        match ended {
            Ended::ConfigError => Verdict::GiveUp,
            Ended::Failed { moved: false } => {
                self.crashes_in_a_row = 0;
                self.complete()
            }
            Ended::Failed { moved: true } => {
                self.crashes_in_a_row = 0;
                self.partial()
            }
            Ended::Crashed { moved: true } => {
                self.crashes_in_a_row = 0;
                Verdict::Retry { wait: Duration::ZERO }
            }
            Ended::Crashed { moved: false } => {
                self.crashes_in_a_row += 1;
                if self.crashes_in_a_row <= FREE_CRASHES {
                    return Verdict::Retry { wait: Duration::ZERO };
                }
                self.complete()
            }
        }
    }

    fn complete(&mut self) -> Verdict {
        self.partial_in_a_row = 0;
        self.complete_in_a_row += 1;
        self.complete_in_all += 1;
        if self.complete_in_a_row >= COMPLETE_IN_A_ROW || self.complete_in_all >= COMPLETE_IN_ALL {
            return Verdict::GiveUp;
        }
        let wait = FIRST_BACKOFF.saturating_mul(3u32.saturating_pow(self.complete_in_a_row - 1));
        Verdict::Retry { wait: wait.min(LONGEST_BACKOFF) }
    }

    fn partial(&mut self) -> Verdict {
        self.complete_in_a_row = 0;
        self.partial_in_a_row += 1;
        self.partial_in_all += 1;
        if self.partial_in_a_row >= PARTIAL_IN_A_ROW || self.partial_in_all >= PARTIAL_IN_ALL {
            return Verdict::GiveUp;
        }
        Verdict::Retry { wait: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Ended = Ended::Failed { moved: false };
    const SOME: Ended = Ended::Failed { moved: true };
    const CRASH: Ended = Ended::Crashed { moved: false };
    const CRASH_MOVED: Ended = Ended::Crashed { moved: true };

    /// Seconds to wait after each ending; `None` = the job fails there.
    #[track_caller]
    fn check(endings: &[Ended], expected: &[Option<u64>]) {
        let mut tally = Tally::default();
        let seen: Vec<_> = endings
            .iter()
            .map(|ended| match tally.after(*ended) {
                Verdict::Retry { wait } => Some(wait.as_secs()),
                Verdict::GiveUp => None,
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn table() {
        check(&[NOTHING; 5], &[Some(10), Some(30), Some(90), Some(270), None]);
        check(&[Ended::ConfigError], &[None]);
        check(&[NOTHING, NOTHING, SOME, NOTHING], &[Some(10), Some(30), Some(0), Some(10)]);
        check(&[CRASH; 8], &[Some(0), Some(0), Some(0), Some(10), Some(30), Some(90), Some(270), None]);
        check(&[CRASH, CRASH, CRASH, CRASH_MOVED, CRASH], &[Some(0); 5]);
        check(&[CRASH, CRASH, CRASH, NOTHING, CRASH], &[Some(0), Some(0), Some(0), Some(10), Some(0)]);
        check(&[CRASH_MOVED; 40], &[Some(0); 40]);
    }

    #[test]
    fn totals() {
        let mut tally = Tally::default();
        for n in 1..20 {
            assert_eq!(tally.after(SOME), Verdict::Retry { wait: Duration::ZERO }, "partial failure {n}");
        }
        assert_eq!(tally.after(SOME), Verdict::GiveUp);
        let mut tally = Tally::default();
        for n in 1..10 {
            assert!(matches!(tally.after(NOTHING), Verdict::Retry { .. }), "complete failure {n}");
            assert!(matches!(tally.after(SOME), Verdict::Retry { .. }));
        }
        assert_eq!(tally.after(NOTHING), Verdict::GiveUp);
    }
}
