//! The words that every part of Leat speaks: messages, catalogs, states, column types and checkpoints.
//!
//! Pure data: no I/O, no clock, no async. Wire names are those of the Airbyte protocol. Where a message is relayed
//! (states above all) unknown properties are kept byte for byte. Start with [`message`] for the line protocol and
//! with [`checkpoint`] for what the ledger and the destinations remember.

pub mod catalog;
pub mod checkpoint;
pub mod json;
pub mod message;
pub mod schema;
pub mod state;

pub use catalog::{
    Catalog, ConfiguredCatalog, ConfiguredStream, DestinationSyncMode, Stream, StreamDescriptor, SyncMode,
};
pub use json::Json;
pub use message::Message;
pub use schema::ColumnType;
pub use state::{State, StateMessage, StreamState};
