//! What connectors are tested with, and what the contract is proved with.
//!
//! [`conformance`] holds the suites that every connector passes. [`MemoryDestination`] is the whole contract in memory,
//! [`ForgetfulDestination`] the same without a memory of its own, [`ScriptedSource`] a source whose rows and states a test
//! chooses. [`rows`] turns Arrow into JSON, to compare by.

pub mod conformance;
mod forgetful;
mod memory;
pub mod rows;
mod scripted;

pub use forgetful::ForgetfulDestination;
pub use memory::{MemoryDestination, World};
pub use scripted::{ScriptedSource, States, configured};
