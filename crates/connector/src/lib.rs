//! The contract between the engine and a connector, and what every connector is built from.
//!
//! A [`Source`] yields [`SourceMessage`]s into an [`Output`]; a [`Destination`] opens a [`Writer`] that makes rows and
//! marks durable together. Rows travel as Arrow; a connector never sees the platform. [`config`] turns a typed
//! configuration into a specification, [`arrow`] maps JSON-schema types to Arrow, and `testing` (a feature) is the suite
//! that every connector passes.

pub mod arrow;
pub mod config;
pub mod decode;
pub mod destination;
pub mod error;
pub mod failpoint;
pub mod output;
pub mod process;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use config::Spec;
pub use destination::{
    Admission, Clear, Commit, Complete, Destination, Durable, Notes, OpenRequest, Recovered, Remaining, StreamCommit,
    StreamPlan, Target, Writer,
};
pub use error::{Error, ErrorKind, Result};
pub use output::{Batch, Change, Input, Output, SourceMessage, StreamIndex, StreamStatus};
pub use source::{ReadRequest, Source};
