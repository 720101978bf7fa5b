//! The whole program, as a user runs it: a real process, real files, real kills, clients that others wrote.
#![allow(clippy::unwrap_used)]

mod cases;
mod client;
mod connector_cli;
mod ghost;
mod ground;
mod kill;
mod modes;
mod serve;
mod sync_file;
