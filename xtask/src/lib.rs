//! What chores and tests share: a real server on this machine and the HTTP to talk to it.

pub mod http;
pub mod server;
