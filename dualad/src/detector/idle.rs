//! The replicas that are idle. Callers wait for one in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The replicas that no caller uses, by number.
#[derive(Debug)]
pub(crate) struct Idle {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The numbers of the idle replicas, the one that has been idle for the longest time first.
    idle: VecDeque<usize>,
    /// The number of callers that have come.
    came: u64,
    /// The number of callers that have been given a replica.
    served: u64,
}

/// A replica that a caller uses. It is idle again when this is dropped.
pub(crate) struct InUse<'a> {
    of: &'a Idle,
    /// The replica's number.
    pub(crate) number: usize,
}

impl Idle {
    /// Returns replicas with the numbers from 0 that are all idle.
    pub(crate) fn new(count: usize) -> Self {
        let state = State { idle: (0..count).collect(), came: 0, served: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for an idle replica, after the callers that came before.
    pub(crate) fn wait(&self) -> InUse<'_> {
        let mut state = self.lock();
        let caller = state.came;
        state.came += 1;
        loop {
            if caller == state.served
                && let Some(number) = state.idle.pop_front()
            {
                state.served += 1;
                // The next caller may find another idle replica.
                self.changed.notify_all();
                return InUse { of: self, number };
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through an update.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.of.lock().idle.push_back(self.number);
        self.of.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_replica_has_one_caller_at_a_time_and_all_are_used() {
        let idle = Idle::new(3);
        let callers: [AtomicUsize; 3] = Default::default();
        let uses: [AtomicUsize; 3] = Default::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let in_use = idle.wait();
                        assert_eq!(callers[in_use.number].fetch_add(1, Ordering::SeqCst), 0);
                        uses[in_use.number].fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        callers[in_use.number].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let uses = uses.map(AtomicUsize::into_inner);
        assert!(uses.iter().sum::<usize>() == 400 && uses.iter().all(|&uses| uses > 0), "{uses:?}");
        assert_eq!(idle.lock().idle.len(), 3);
    }

    #[test]
    fn callers_go_on_in_the_order_in_which_they_came() {
        let idle = Idle::new(1);
        let order = Mutex::new(Vec::new());
        let first = idle.wait();
        std::thread::scope(|scope| {
            for caller in 0..6 {
                let came = idle.lock().came;
                let (idle, order) = (&idle, &order);
                scope.spawn(move || {
                    let _in_use = idle.wait();
                    order.lock().unwrap().push(caller);
                });
                while idle.lock().came == came {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), (0..6).collect::<Vec<_>>());
    }

    #[test]
    fn a_replica_is_idle_again_after_a_panic() {
        let idle = Idle::new(1);
        let panics = std::panic::AssertUnwindSafe(|| {
            let _in_use = idle.wait();
            panic!("in use");
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        drop(idle.wait());
    }
}
