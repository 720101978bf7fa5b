//! The API in process: the real router and the real control plane over a SQLite store in a temporary folder; only the
//! runner follows a script. [`contract`] has one row per operation: a new operation goes there first.

#![allow(clippy::unwrap_used)]

mod actors;
mod connections;
mod contract;
mod ground;
mod jobs;
mod refusals;
mod schema;
mod seed_requests;
mod states;
mod wire;
