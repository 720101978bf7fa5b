//! Connections: from a source to a destination, with a catalog, a schedule and rules.
//!
//! [`model`] says what a connection is. Every call checks
//! everything before it writes anything, and writes in one transaction: a refused request leaves no trace.

pub mod model;
pub mod resources;
pub mod search;
pub mod timing;

pub use model::{
    Connection, ConnectionStatus, Geography, NamespaceDefinition, NonBreakingChanges, ResourceRequirements, Schedule,
    TimeUnit,
};
