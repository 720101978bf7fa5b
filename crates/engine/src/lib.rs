//! One attempt: read, map, write, commit at marks, recover after a crash.
//!
//! The engine knows connectors and a [`checkpoints::Checkpoints`]; it knows neither the store nor the API.

pub mod checkpoints;
