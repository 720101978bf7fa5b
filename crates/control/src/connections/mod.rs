//! Connections: from a source to a destination, with a catalog, a schedule and rules.
//!
//! [`model`] says what a connection is; [`create`], [`update`], [`delete`], [`list`] and [`search`] are the calls, methods
//! of [`crate::Control`]. Every call checks everything before it writes anything, and writes in one transaction: a
//! refused request leaves no trace.

mod create;
mod delete;
mod list;
pub mod model;
mod overview;
pub mod resources;
pub(crate) mod row;
mod rules;
pub mod search;
pub mod timing;
mod update;

pub use create::NewConnection;
pub(crate) use delete::deprecate;
pub use list::Connections;
pub use model::{
    Connection, ConnectionStatus, Geography, NamespaceDefinition, NonBreakingChanges, ResourceRequirements, Schedule,
    TimeUnit,
};
pub use overview::{LatestSync, Overview, SchemaChange};
pub(crate) use row::{load, take_notices};
pub use search::{ActorSearch, ConfigurationSearch, Search};
pub use timing::{CronText, Interval, ScheduleKind, ScheduleRequest};
pub use update::ConnectionPatch;
