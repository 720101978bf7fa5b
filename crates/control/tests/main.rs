//! The life of jobs in virtual time, over a real store and a scripted runner. Start with [`world::World`].
#![allow(clippy::unwrap_used)]

mod jobs;
mod restarts;
mod schedules;
mod several;
mod world;
