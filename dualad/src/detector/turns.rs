//! Turns: the order in which callers compute on the same threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The number of threads for which one caller computes at a time.
const THREADS: usize = 4;

/// Lets callers go on in the order in which they came, one at a time for each few threads.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of callers that have come.
    came: u64,
    /// The number of callers that have ended.
    ended: u64,
}

/// A caller's turn. It ends when it is dropped.
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(State { came: 0, ended: 0 }), ended: Condvar::new() }
    }

    /// Waits for the caller's turn on a pool of this many threads.
    pub(crate) fn wait(&self, threads: usize) -> Turn<'_> {
        let at_a_time = (threads / THREADS).max(1) as u64;
        let mut state = self.lock();
        let number = state.came;
        state.came += 1;
        while number >= state.ended + at_a_time {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic halfway through an update.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().ended += 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Runs callers that come one after the other, and returns the largest number at a time and the order in which they went on. The
    /// first wait for each other until `at_a_time` have gone on, or for 10 s.
    fn run(threads: usize, callers: usize, at_a_time: usize) -> (usize, Vec<usize>) {
        let (turns, now, most) = (Turns::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for caller in 0..callers {
                let came = turns.lock().came;
                let (turns, now, most, order) = (&turns, &now, &most, &order);
                scope.spawn(move || {
                    let _turn = turns.wait(threads);
                    order.lock().unwrap().push(caller);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let begun = Instant::now();
                    while most.load(Ordering::SeqCst) < at_a_time && begun.elapsed() < Duration::from_secs(10) {
                        std::thread::yield_now();
                    }
                    // One more would go on meanwhile.
                    std::thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
                while turns.lock().came == came {
                    std::thread::yield_now();
                }
            }
        });
        (most.into_inner(), order.into_inner().unwrap())
    }

    #[test]
    fn callers_go_on_in_the_order_in_which_they_came() {
        for (threads, at_a_time) in [(1, 1), (2, 1), (7, 1), (8, 2), (17, 4)] {
            let (most, order) = run(threads, 9, at_a_time);
            assert_eq!(most, at_a_time, "{threads} threads");
            if at_a_time == 1 {
                assert_eq!(order, (0..9).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }

    #[test]
    fn a_turn_ends_with_a_panic() {
        let turns = Turns::new();
        let panics = std::panic::AssertUnwindSafe(|| {
            let _turn = turns.wait(1);
            panic!("in a turn");
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        drop(turns.wait(1));
    }
}
