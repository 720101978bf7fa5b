//! The handle through which everything is asked for. Its methods live beside their rules: workspaces, definitions, actors,
//! discovery, connections, jobs.

use std::{sync::Arc, time::Duration};

use store::{Keep, Priority, Store, Tx};
use uuid::Uuid;

use crate::{Result, clock::SharedClock, dispatch::Dispatch, executor::Limits, runner::Runner};

/// What can be set about the control plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A check or a discover that takes longer has failed; clients give up after 60 s.
    pub connector_timeout: Duration,
    /// How many jobs may run at once.
    pub limits: Limits,
    /// How long what has ended is kept.
    pub keep: Keep,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connector_timeout: Duration::from_secs(50), limits: Limits::default(), keep: Keep::default() }
    }
}

/// Clones share everything.
#[derive(Clone)]
pub struct Control {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) clock: SharedClock,
    pub(crate) settings: Settings,
    pub(crate) dispatch: Dispatch,
}

impl Control {
    /// Makes the first workspace if there is none, and brings the definitions of native connectors up to date.
    pub async fn open(store: Store, runner: Arc<dyn Runner>, clock: SharedClock, settings: Settings) -> Result<Self> {
        let control = Self { inner: Arc::new(Inner { store, runner, clock, settings, dispatch: Dispatch::default() }) };
        control.seed_workspace().await?;
        control.register_native_definitions().await?;
        Ok(control)
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub fn runner(&self) -> &Arc<dyn Runner> {
        &self.inner.runner
    }

    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Epoch milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now().timestamp_millis()
    }

    /// A snapshot to read from.
    pub(crate) async fn read(&self) -> Result<Tx> {
        Ok(self.inner.store.read().await?)
    }

    /// A transaction for what a call writes.
    pub(crate) async fn write(&self) -> Result<Tx> {
        Ok(self.inner.store.write(Priority::Api).await?)
    }

    /// Whether the store answers.
    pub async fn is_available(&self) -> bool {
        let Ok(mut tx) = self.inner.store.read().await else { return false };
        tx.workspace(Uuid::nil()).await.is_ok()
    }
}
