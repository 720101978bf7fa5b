//! The engine over scripted connectors: behaviour of single attempts, and the model test of the checkpoint protocol.

mod attempts;
mod model;
mod world;
