//! The suites that every connector passes: [`destination`] drives writers without an engine, [`source`] reads without one.
//!
//! A law that is broken panics with the name of the law, as a test does.

mod laws;
mod session;
mod sources;

use std::sync::Arc;

use async_trait::async_trait;
use protocol::StreamDescriptor;
use serde_json::Value;

use super::rows::Row;
use crate::Destination;

pub use sources::source;

/// A destination under test, with empty tables, and a way to look at what readers of it see.
#[async_trait]
pub trait Subject: Send + Sync {
    fn destination(&self) -> Arc<dyn Destination>;

    fn config(&self) -> Value;

    /// The columns of the stream in every row of a table, in the order of writing; `None` where there is no such table.
    /// Numbers as numbers, texts as texts; a column that a row lacks may be left out.
    async fn rows(&self, table: &StreamDescriptor) -> Option<Vec<Row>>;

    /// Whether it deduplicates. One that does not is tried without these modes.
    fn merges(&self) -> bool {
        true
    }

    /// Whether `recover` answers with positions.
    fn remembers(&self) -> bool {
        true
    }
}

/// Runs every law, each on a subject of its own.
pub async fn destination<S: Subject>(make: impl Fn() -> S) {
    laws::append(&make()).await;
    laws::overwrite(&make()).await;
    laws::full_refresh_append(&make()).await;
    if make().merges() {
        laws::dedup(&make()).await;
        laws::deletes(&make()).await;
        laws::overwrite_dedup(&make()).await;
    }
    laws::spill(&make()).await;
    laws::two_streams(&make()).await;
    laws::one_state_for_all(&make()).await;
    laws::clear(&make()).await;
    laws::columns_come_and_go(&make()).await;
    laws::bad_values(&make()).await;
    laws::cancel(&make()).await;
    laws::empty_stream(&make()).await;
    laws::fence(&make()).await;
    laws::refused_admission(&make()).await;
    if make().remembers() {
        laws::resume_staging(&make()).await;
        laws::stale_staging(&make()).await;
        laws::positions(&make()).await;
        laws::position_moved(&make()).await;
        laws::done_is_left_alone(&make()).await;
        laws::clear_in_a_shared_chain(&make()).await;
    }
}
