//! Who may write next. SQLite has one writer; what waits for it stands in two queues: API calls and claims go before
//! ledger entries, but not for ever. A turn ends when its [`Turn`] is dropped.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::Priority;

/// After so many API turns in a row a waiting ledger entry gets one.
const API_IN_A_ROW: u32 = 16;

#[derive(Clone, Default)]
pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    busy: bool,
    api: VecDeque<oneshot::Sender<Turn>>,
    ledger: VecDeque<oneshot::Sender<Turn>>,
    api_in_a_row: u32,
}

/// The right to write, until it is dropped.
pub(crate) struct Turn {
    gate: Gate,
    over: bool,
}

impl Gate {
    /// Waits for the writer. Cancellable: a waiter that is dropped leaves the queue.
    pub async fn enter(&self, priority: Priority) -> Turn {
        let waiter = {
            let mut state = self.lock();
            if !state.busy {
                state.busy = true;
                return Turn { gate: self.clone(), over: false };
            }
            let (sender, receiver) = oneshot::channel();
            match priority {
                Priority::Api => state.api.push_back(sender),
                Priority::Ledger => state.ledger.push_back(sender),
            }
            receiver
        };
        // The sender is only dropped after it was taken from its queue and used.
        waiter.await.expect("a queued waiter is always given its turn")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.next();
                if next.is_none() {
                    state.busy = false;
                }
                next
            };
            let Some(waiter) = next else { return };
            match waiter.send(Turn { gate: self.clone(), over: false }) {
                Ok(()) => return,
                // The waiter gave up. Its turn must not end a second time when the value is dropped here.
                Err(mut turn) => turn.over = true,
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let ledger_is_due = self.api_in_a_row >= API_IN_A_ROW && !self.ledger.is_empty();
        if !ledger_is_due && let Some(waiter) = self.api.pop_front() {
            self.api_in_a_row += 1;
            return Some(waiter);
        }
        self.api_in_a_row = 0;
        self.ledger.pop_front()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            self.gate.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn waiting(gate: &Gate) -> usize {
        let state = gate.lock();
        state.api.len() + state.ledger.len()
    }

    /// Queues waiters in the given order while the gate is held, and returns the order in which they get their turns.
    async fn order(waiters: &[(Priority, usize)]) -> Vec<usize> {
        let gate = Gate::default();
        let held = gate.enter(Priority::Api).await;
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for &(priority, name) in waiters {
            let (own, done) = (gate.clone(), done.clone());
            let before = waiting(&gate);
            tasks.push(tokio::spawn(async move {
                let _turn = own.enter(priority).await;
                done.send(name).unwrap();
            }));
            while waiting(&gate) == before {
                tokio::task::yield_now().await;
            }
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        drop(done);
        let mut names = Vec::new();
        while let Some(name) = finished.recv().await {
            names.push(name);
        }
        names
    }

    #[tokio::test]
    async fn api_goes_before_ledger() {
        use Priority::{Api, Ledger};
        assert_eq!(order(&[(Ledger, 1), (Api, 2), (Ledger, 3), (Api, 4)]).await, [2, 4, 1, 3]);
    }

    #[tokio::test]
    async fn ledger_is_not_starved() {
        let mut waiters = vec![(Priority::Ledger, 0)];
        waiters.extend((1..=40).map(|n| (Priority::Api, n)));
        let names = order(&waiters).await;
        let place = names.iter().position(|name| *name == 0).unwrap();
        assert_eq!(place, API_IN_A_ROW as usize);
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_does_not_block_the_gate() {
        let gate = Gate::default();
        let held = gate.enter(Priority::Api).await;
        let own = gate.clone();
        let waiter = tokio::spawn(async move { drop(own.enter(Priority::Api).await) });
        while waiting(&gate) == 0 {
            tokio::task::yield_now().await;
        }
        waiter.abort();
        let _ = waiter.await;
        drop(held);
        drop(gate.enter(Priority::Ledger).await);
        assert!(!gate.lock().busy);
    }
}
