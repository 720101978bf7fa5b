//! The ledger: an append-only record, per connection, of where each stream may resume and what was moved.
//!
//! An [`Entry`](protocol::checkpoint::Entry) has a state and, per stream, a line with counts since the previous line and
//! the place of the rows. Entries are ordered by their point (origin, seq), not by when they were written. Current state,
//! progress, statistics and rewinds are read from here. `append` writes, `read` answers, `chains` tells the start of an
//! attempt what there is.

mod append;
mod chains;
mod group;
mod read;

pub use append::NewChain;
pub(crate) use group::Waiting;
pub use read::{CurrentState, HistoryEntry};
