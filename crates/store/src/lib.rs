//! Everything that Leat remembers: workspaces, actors, connections, jobs, attempts, the ledger of states, logs, secrets.
//!
//! Two back ends, one set of SQL texts: SQLite (one file in the data directory, the default) and Postgres (when several
//! processes share it). Start with [`Store`]: it hands out transactions ([`Tx`]), and every repository is a set of
//! methods on a transaction, so that what belongs together is written together:
//!
//! ```no_run
//! # async fn example(store: store::Store, workspace: store::Workspace) -> store::Result<()> {
//! let mut tx = store.write(store::Priority::Api).await?;
//! tx.insert_workspace(&workspace).await?;
//! tx.commit().await?; // dropped without it: rolled back
//! # Ok(()) }
//! ```
//!
//! The ledger (see [`ledger`]) and the claims (see [`claims`]) are what a sync's safety rests on.

mod actors;
mod attempts;
mod catalogs;
pub mod claims;
mod columns;
mod connections;
mod definitions;
mod dump;
mod error;
mod gate;
mod jobs;
pub mod ledger;
mod logs;
mod migrations;
mod open;
mod operations;
mod retention;
mod secrets;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod workers;
mod workspaces;

pub use actors::{Actor, ActorFilter, ActorKind};
pub use attempts::{Attempt, AttemptStatus};
pub use catalogs::CatalogFetch;
pub use claims::{ClaimRequest, ClaimStream, Claimed, Voided};
pub use connections::{Connection, ConnectionFilter, ConnectionStatus};
pub use definitions::Definition;
pub use error::{Error, ErrorKind, Result};
pub use jobs::{Job, JobFilter, JobKind, JobStatus, NewJob};
pub use ledger::{CurrentState, HistoryEntry, NewChain};
pub use open::{Store, StoreUrl};
pub use operations::Operation;
pub use retention::{Keep, Pruned};
pub use secrets::MasterKey;
pub use transaction::{Backend, Priority, Tx};
pub use workers::WorkerLease;
pub use workspaces::Workspace;
