//! What tests of the control plane and of the API stand on: a clock that is moved by hand and a runner with a script.

mod clock;
mod runner;
mod until;

pub use clock::ManualClock;
pub use runner::{Act, DESTINATION_DEFINITION, SOURCE_DEFINITION, ScriptedRunner, failure};
