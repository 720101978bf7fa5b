//! A small world around one connection: a source with a log of rows, a destination that can be backed up and restored, a
//! ledger, and a gate at which an attempt can be stopped at any step. Deterministic and in memory.

pub mod destination;
pub mod gate;
pub mod ledger;
pub mod source;

use std::sync::{Arc, Mutex, MutexGuard};

use protocol::{ConfiguredCatalog, StreamDescriptor};
use serde_json::json;

/// Mutexes here are never held across an await, and a test that panicked under one has failed already.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

pub type Shared<T> = Arc<Mutex<T>>;

pub fn shared<T>(value: T) -> Shared<T> {
    Arc::new(Mutex::new(value))
}

pub fn name(index: usize) -> StreamDescriptor {
    StreamDescriptor::new(None, format!("stream{index}"))
}

/// One stream per (sync mode, destination mode, resumable).
pub fn catalog(streams: &[(&str, &str, bool)]) -> ConfiguredCatalog {
    let streams: Vec<_> = streams
        .iter()
        .enumerate()
        .map(|(index, (read, write, resumable))| {
            json!({
                "stream": {
                    "name": name(index).name,
                    "json_schema": {"properties": {"id": {"type": "integer"}, "version": {"type": "integer"}}},
                    "is_resumable": resumable,
                },
                "sync_mode": read, "destination_sync_mode": write,
                "primary_key": [["id"]], "cursor_field": ["version"], "generation_id": 0,
            })
        })
        .collect();
    serde_json::from_value(json!({ "streams": streams })).unwrap()
}
