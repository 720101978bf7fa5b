//! The life of a job: pending → running → succeeded | failed | cancelled, incomplete between attempts.
//!
//! [`calls`] is what somebody asks for, [`create`] and [`settle`] are how a job begins and ends (each in one
//! transaction), [`attempt`] runs one attempt, [`read`] answers what there is. The rules are pure: [`retry`], [`disable`].

pub(crate) mod attempt;
mod calls;
pub(crate) mod create;
pub mod disable;
mod log;
pub mod model;
mod read;
pub mod retry;
pub(crate) mod settle;

pub use model::{Attempt, AttemptStatus, Job, JobInfo, JobKind, JobStatus};
pub use read::{JobList, JobQuery};
