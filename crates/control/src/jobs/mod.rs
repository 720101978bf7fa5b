//! The life of a job: created by a call or a schedule, run in attempts, retried, cancelled, finished.

pub mod retry;
