//! Steps of an attempt. An attempt may take as many as it is allowed and then stands still, as a paused process does.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use super::lock;

#[derive(Clone, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    taken: AtomicU64,
    allowed: AtomicU64,
    /// Whoever waits for an allowance.
    wakers: Mutex<Vec<Waker>>,
}

impl Gate {
    pub fn open() -> Self {
        let gate = Self::default();
        gate.allow(u64::MAX / 2);
        gate
    }

    pub fn allow(&self, steps: u64) {
        self.0.allowed.fetch_add(steps, Ordering::SeqCst);
        for waker in lock(&self.0.wakers).drain(..) {
            waker.wake();
        }
    }

    /// Takes one step, once it is allowed.
    pub async fn step(&self) {
        poll_fn(|context| {
            if self.0.taken.load(Ordering::SeqCst) < self.0.allowed.load(Ordering::SeqCst) {
                self.0.taken.fetch_add(1, Ordering::SeqCst);
                return Poll::Ready(());
            }
            lock(&self.0.wakers).push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Returns when somebody stands at the gate.
    pub async fn closed(&self) {
        poll_fn(|_| if lock(&self.0.wakers).is_empty() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}
