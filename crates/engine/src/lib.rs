//! One attempt: read, map, write, commit at marks, recover after a crash.
//!
//! The engine knows connectors and a [`checkpoints::Checkpoints`]; it knows neither the store nor the API, so it runs from
//! the command line and under simulation as it runs in a server.
//!
//! ```text
//!            recover                decide                    plan
//! fence ───► positions ──► ledger × positions ──► entries ──► one plan per stream ──► start
//!                          (decide.rs, pure)     appended     (resume.rs)
//!
//!             ┌────────────────────────────── until the source ends (attempt.rs: pump) ─────────────────────────────┐
//!             │                                                                                                     │
//! source ──► flow, bounded ──► project ──► buckets ──► commit up to the newest marks ──► ledger ──► acknowledged    │
//! (task)     in bytes          columns     (marks.rs)  (destination, one transaction)    append                     │
//!             │                               │                                                                     │
//!             │                               └──► spill: rows that no mark covers and memory should not hold       │
//!             │                               └──► complete: last rows, merge or swap, `end`, one transaction       │
//!             └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - A mark is a state at its place in the flow. Rows are committed up to marks only, so what a later attempt builds on is
//!   always covered by a state; the ledger is written after the destination's commit, and a crash between the two is
//!   settled by the next attempt's `recover` and [`decide::decide`].
//! - A commit is due when half of the byte budget is held, or about a second after the oldest mark that waits. Half of the
//!   budget is written while the source fills the other half.
//! - A source that fails keeps what its marks cover; nothing is completed. A destination that fails stops the source.
//! - Who owns the connection is decided by the store: an attempt whose claim is gone ends as
//!   [`Ending::ClaimLost`](outcome::Ending::ClaimLost) and records nothing.
//!
//! Start with [`attempt::run`].

pub mod attempt;
pub mod checkpoints;
pub mod decide;
mod flow;
mod marks;
pub mod outcome;
mod reading;
mod reset;
mod resume;
mod tally;
mod targets;

pub use attempt::{Attempt, Kind, run};
pub use checkpoints::Checkpoints;
pub use outcome::{Ending, Event, Failure, Origin, Outcome, StreamStats};
