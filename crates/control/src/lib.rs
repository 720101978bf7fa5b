//! What the product does: workspaces, definitions, actors, connections, schedules, jobs and their life cycle.
//!
//! The control plane decides and remembers; it never sees a row. It asks for work through one port, [`runner::Runner`],
//! and keeps everything in `store`. Time comes from a [`clock::Clock`]. Start with [`Control`].

pub mod catalog;
pub mod clock;
pub mod connections;
pub mod error;
pub mod jobs;
pub mod runner;
pub mod schedule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, ErrorKind, Result, Violation};
