//! Where jobs run. The store decides who runs what (a claim); an [`Executor`] only dispatches.
//!
//! [`local`] runs attempts as tasks of this process; others may hand them to more machines.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::Control;

/// A job that is due, with what the limits look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub job: i64,
    pub connection: Uuid,
    pub source: Uuid,
    pub destination: Uuid,
}

/// How many jobs may run at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub total: usize,
    pub per_source: usize,
    pub per_destination: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 8, per_source: 4, per_destination: 4 }
    }
}

impl Limits {
    /// Why `ticket` has to wait while `running` run; `None` = it may start.
    pub fn wait_reason(&self, running: &[Ticket], ticket: &Ticket) -> Option<String> {
        if running.len() >= self.total {
            return Some(format!(
                "waits for a free slot: {} jobs are running, the limit is {}",
                running.len(),
                self.total
            ));
        }
        let of_source = running.iter().filter(|other| other.source == ticket.source).count();
        if of_source >= self.per_source {
            return Some(format!(
                "waits for its source: {of_source} jobs read from it, the limit is {}",
                self.per_source
            ));
        }
        let of_destination = running.iter().filter(|other| other.destination == ticket.destination).count();
        if of_destination >= self.per_destination {
            let limit = self.per_destination;
            return Some(format!("waits for its destination: {of_destination} jobs write to it, the limit is {limit}"));
        }
        None
    }
}

/// How the orders of [`Executor::stop`] differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The process ends in good order: attempts are ended as interrupted, at no cost, and go on after the next start.
    Orderly,
    /// The claims of this process are lost: nothing may be recorded any more.
    ClaimsLost,
}

#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Runs the next attempt of a job. Does nothing for a job that it runs already.
    fn start(&self, control: &Control, ticket: Ticket);

    /// Asks the running attempt of a job to end. The store has been told before.
    fn cancel(&self, job: i64);

    fn running(&self) -> Vec<Ticket>;

    /// Ends all attempts; returns when none is left, at the latest after a bound.
    async fn stop(&self, stop: Stop);
}

pub type SharedExecutor = Arc<dyn Executor>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_say_why_a_job_waits() {
        let limits = Limits { total: 3, per_source: 1, per_destination: 2 };
        let ticket = |job: i64, source: u128, destination: u128| Ticket {
            job,
            connection: Uuid::from_u128(job.unsigned_abs().into()),
            source: Uuid::from_u128(source),
            destination: Uuid::from_u128(destination),
        };
        let check = |running: &[Ticket], next: Ticket, expected: Option<&str>| {
            let reason = limits.wait_reason(running, &next);
            assert_eq!(reason.is_some(), expected.is_some(), "{reason:?}");
            assert!(reason.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check(&[], ticket(1, 1, 1), None);
        check(&[ticket(1, 1, 1)], ticket(2, 1, 2), Some("its source"));
        check(&[ticket(1, 1, 1)], ticket(2, 2, 1), None);
        check(&[ticket(1, 1, 1), ticket(2, 2, 1)], ticket(3, 3, 1), Some("its destination"));
        check(&[ticket(1, 1, 1), ticket(2, 2, 2), ticket(3, 3, 3)], ticket(4, 4, 4), Some("limit is 3"));
    }
}
