//! What scheduler, executor and waiting calls share: who runs jobs, who is to be woken, the figures of running attempts.
//! Start with [`Control::start`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use store::{Priority, WorkerLease};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Control, Error, ErrorKind, Result,
    executor::{SharedExecutor, Stop, local::LocalExecutor},
    jobs::settle,
    runner::StreamStats,
    scheduler,
};

/// How long a call waits for what it promises, counted from its arrival.
const PATIENCE: TimeDelta = TimeDelta::seconds(10);
/// Another process on the same store cannot wake us.
const POLL: TimeDelta = TimeDelta::seconds(1);

#[derive(Default)]
pub(crate) struct Dispatch {
    /// Something may be due.
    pub due: Notify,
    /// Counts the changes of jobs that this process made.
    changed: watch::Sender<u64>,
    live: Mutex<Live>,
    /// Running totals by job.
    progress: Mutex<HashMap<i64, Vec<StreamStats>>>,
}

#[derive(Default)]
struct Live {
    executor: Option<SharedExecutor>,
    local: Option<Arc<LocalExecutor>>,
    lease: Option<Arc<WorkerLease>>,
    stop: CancellationToken,
    scheduler: Option<JoinHandle<()>>,
}

impl Dispatch {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn executor(&self) -> Option<SharedExecutor> {
        self.live().executor.clone()
    }

    /// The registration of this process, once it has started.
    pub fn lease(&self) -> Option<Arc<WorkerLease>> {
        self.live().lease.clone()
    }

    pub fn set_lease(&self, lease: Arc<WorkerLease>) {
        self.live().lease = Some(lease);
    }

    pub fn set_progress(&self, job: i64, streams: Vec<StreamStats>) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).insert(job, streams);
    }

    pub fn forget_progress(&self, job: i64) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
    }

    pub fn progress(&self, job: i64) -> Option<Vec<StreamStats>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }
}

/// When a call gives up waiting and answers the truth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(DateTime<Utc>);

impl Control {
    /// Begins to run what is due: first the attempts of processes that are gone are voided, so that their jobs go on at
    /// once. Health may be answered when this returns.
    pub async fn start(&self) -> Result<()> {
        let (lease, voided) = self.inner.store.register_worker("serve", self.now_ms()).await?;
        settle::voided(self, &voided).await?;
        settle::left_cancels(self).await?;
        let executor = LocalExecutor::new();
        let mut live = self.inner.dispatch.live();
        live.local = Some(executor.clone());
        live.executor = Some(executor);
        live.lease = Some(Arc::new(lease));
        let (schedule, house) =
            (scheduler::run(self.clone(), live.stop.clone()), scheduler::keep_house(self.clone(), live.stop.clone()));
        live.scheduler = Some(tokio::spawn(async move {
            tokio::join!(schedule, house);
        }));
        Ok(())
    }

    /// Ends in good order, within a bound: attempts are interrupted at no cost and go on after the next start.
    pub async fn shutdown(&self) {
        let (executor, lease, scheduler) = self.take_live();
        if let Some(scheduler) = scheduler {
            // It fails only by a panic, which was reported where it happened.
            let _ = scheduler.await;
        }
        if let Some(executor) = executor {
            executor.stop(Stop::Orderly).await;
        }
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            lease.release().await;
        }
    }

    /// Ends everything where it stands and records nothing, as the end of the process would.
    #[cfg(any(test, feature = "testing"))]
    pub async fn crash(&self) {
        let local = self.inner.dispatch.live().local.take();
        let (_, lease, scheduler) = self.take_live();
        if let Some(scheduler) = scheduler {
            scheduler.abort();
            let _ = scheduler.await;
        }
        if let Some(local) = local {
            local.abort();
            local.ended().await;
        }
        drop(lease);
        self.inner.store.close().await;
    }

    #[allow(clippy::type_complexity)]
    fn take_live(&self) -> (Option<SharedExecutor>, Option<Arc<WorkerLease>>, Option<JoinHandle<()>>) {
        let mut live = self.inner.dispatch.live();
        live.stop.cancel();
        live.local = None;
        // The executor's tasks hold a `Control`: kept here it would never be dropped.
        (live.executor.take(), live.lease.take(), live.scheduler.take())
    }

    /// To be called after the schedule or the status of a connection has changed and that is committed.
    pub fn schedule_changed(&self, _connection: Uuid) {
        self.signal_due();
    }

    /// Something may be due: the scheduler looks.
    pub(crate) fn signal_due(&self) {
        self.inner.dispatch.due.notify_one();
    }

    /// A job has changed, and that is committed: waiting calls look.
    pub(crate) fn signal_changed(&self) {
        self.inner.dispatch.changed.send_modify(|changes| *changes += 1);
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.dispatch.changed.subscribe()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        let now = self.inner.clock.now();
        Deadline(now.checked_add_signed(PATIENCE).unwrap_or(now))
    }

    /// A transaction for what a call writes; the wait for it counts too.
    pub(crate) async fn write_before(&self, deadline: Deadline) -> Result<store::Tx> {
        tokio::select! {
            tx = self.inner.store.write(Priority::Api) => Ok(tx?),
            () = self.inner.clock.sleep_until(deadline.0) => {
                let message = "The store is busy; nothing was changed.";
                Err(Error::new(ErrorKind::Unavailable, "store_busy", message).with_hint("Send the request again."))
            }
        }
    }

    /// Waits until `is_done` says so, at most until the deadline. Holds no transaction while it waits.
    pub(crate) async fn wait_for<F, Fut>(&self, deadline: Deadline, is_done: F) -> Result<()>
    where
        F: Fn(Control) -> Fut,
        Fut: Future<Output = Result<bool>>,
    {
        let mut changed = self.inner.dispatch.changed.subscribe();
        let clock = &self.inner.clock;
        loop {
            changed.borrow_and_update();
            if is_done(self.clone()).await? {
                return Ok(());
            }
            let now = clock.now();
            if now >= deadline.0 {
                return Ok(());
            }
            let again = now.checked_add_signed(POLL).map_or(deadline.0, |poll| poll.min(deadline.0));
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changed.changed() => {}
                () = clock.sleep_until(again) => {}
            }
        }
    }
}
