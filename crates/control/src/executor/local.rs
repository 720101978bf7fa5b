//! Attempts as tasks of this process, the default.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Executor, Stop, Ticket};
use crate::{Control, jobs::attempt};

/// How long the attempts may take to end in good order; what is left then goes on after the next start all the same.
const STOP_LIMIT: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct LocalExecutor {
    running: Arc<Mutex<HashMap<i64, Running>>>,
    tasks: TaskTracker,
}

struct Running {
    ticket: Ticket,
    order: Order,
    task: Option<AbortHandle>,
}

/// The order to end, as an attempt sees it: its token, and who gave it.
#[derive(Clone, Default)]
pub(crate) struct Order {
    pub cancel: CancellationToken,
    stop: Arc<AtomicU8>,
}

const ORDERLY: u8 = 1;
const CLAIMS_LOST: u8 = 2;

impl Order {
    /// Set where the order came from [`Executor::stop`].
    pub fn stop(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            ORDERLY => Some(Stop::Orderly),
            CLAIMS_LOST => Some(Stop::ClaimsLost),
            _ => None,
        }
    }

    fn give(&self, stop: Stop) {
        let code = match stop {
            Stop::Orderly => ORDERLY,
            Stop::ClaimsLost => CLAIMS_LOST,
        };
        self.stop.store(code, Ordering::Release);
        self.cancel.cancel();
    }
}

impl LocalExecutor {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all attempts where they stand, as the end of the process would.
    pub fn abort(&self) {
        for running in self.lock().values() {
            if let Some(task) = &running.task {
                task.abort();
            }
        }
    }

    /// Completes when no task is left.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    fn start(&self, control: &Control, ticket: Ticket) {
        let order = Order::default();
        {
            let mut running = self.lock();
            if self.tasks.is_closed() || running.contains_key(&ticket.job) {
                return;
            }
            running.insert(ticket.job, Running { ticket, order: order.clone(), task: None });
        }
        let control = control.clone();
        let all = self.running.clone();
        let job = ticket.job;
        let task = self.tasks.spawn(async move {
            let entry = Entry { all, job };
            attempt::run(&control, job, &order).await;
            drop(entry);
            control.signal_due();
        });
        if let Some(running) = self.lock().get_mut(&job) {
            running.task = Some(task.abort_handle());
        }
    }

    fn cancel(&self, job: i64) {
        if let Some(running) = self.lock().get(&job) {
            running.order.cancel.cancel();
        }
    }

    fn running(&self) -> Vec<Ticket> {
        self.lock().values().map(|running| running.ticket).collect()
    }

    async fn stop(&self, stop: Stop) {
        if stop == Stop::Orderly {
            self.tasks.close();
        }
        for running in self.lock().values() {
            running.order.give(stop);
        }
        if stop == Stop::Orderly && tokio::time::timeout(STOP_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("attempts did not end within {STOP_LIMIT:?}; they are left and go on after the next start");
            self.abort();
        }
    }
}

/// Removes a job from the running ones, also when its task is aborted.
struct Entry {
    all: Arc<Mutex<HashMap<i64, Running>>>,
    job: i64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}
