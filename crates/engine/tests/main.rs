//! The engine over scripted connectors (behaviour of single attempts), over pairs of real ones, and the model test of the
//! checkpoint protocol.

#![allow(clippy::unwrap_used)]

mod attempts;
mod model;
mod pairs;
mod world;
