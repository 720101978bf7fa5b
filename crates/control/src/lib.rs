//! What the product does: workspaces, definitions, actors, connections, schedules, jobs and their life cycle.
//!
//! The control plane decides and remembers; it never sees a row. It asks for work through one port, [`runner::Runner`],
//! and keeps everything in `store`. Time comes from a [`clock::Clock`]. Start with [`Control`].

pub mod actors;
pub mod catalog;
pub mod clock;
pub mod configuration;
pub mod connections;
mod control;
pub mod definitions;
pub mod discovery;
mod dispatch;
pub mod error;
pub mod executor;
pub mod jobs;
pub mod operations;
pub mod runner;
pub mod schedule;
mod scheduler;
pub mod schema_change;
pub mod secrets;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod workspaces;

pub use control::{Control, Settings};
pub use error::{Error, ErrorKind, Result, Violation};
