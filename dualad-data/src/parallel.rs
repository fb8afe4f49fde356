//! Work on many threads whose results come in order, a bounded number of them ahead of who takes them.
//!
//! rayon's pools have no such bound: their iterators either finish before the first result can be taken, or give results
//! in any order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Results of `work(0), work(1), ..`, in this order.
pub(crate) struct Ordered<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A result is there that may be the next.
    filled: Condvar,
    /// There is room for one more.
    taken: Condvar,
}

struct State<T> {
    /// The next index to work on.
    next: usize,
    /// One slot for each index that was started and not taken, the oldest first.
    slots: VecDeque<Option<T>>,
    stopped: bool,
    running: usize,
}

impl<T> Shared<T> {
    /// No code that can panic runs under the lock, so a poisoned one holds a good state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many threads as were asked for; for 0, as many as the machine has cores.
pub(crate) fn thread_count(wanted: usize) -> usize {
    let threads = if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) };
    // More than any machine has: a larger number is a mistake that would exhaust the system's threads.
    threads.min(1024)
}

impl<T: Send + 'static> Ordered<T> {
    /// Starts `threads` threads. At most `window` results are in work or waiting to be taken at any time.
    pub(crate) fn start<F>(count: usize, threads: usize, window: usize, work: F) -> std::io::Result<Self>
    where
        F: Fn(usize) -> T + Send + Sync + 'static,
    {
        let window = window.clamp(1, count.max(1));
        let state = State { next: 0, slots: VecDeque::with_capacity(window), stopped: false, running: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), filled: Condvar::new(), taken: Condvar::new() });
        let work = Arc::new(work);
        let mut this = Self { shared, threads: Vec::new() };
        for number in 0..threads.clamp(1, window).min(count) {
            let (shared, work) = (Arc::clone(&this.shared), Arc::clone(&work));
            this.shared.lock().running += 1;
            let spawned = std::thread::Builder::new()
                .name(format!("dualad-data-{number}"))
                .spawn(move || shared.run(count, window, &*work));
            match spawned {
                Ok(thread) => this.threads.push(thread),
                Err(error) => {
                    this.shared.lock().running -= 1;
                    // Fewer threads than asked for still do all of the work.
                    if this.threads.is_empty() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(this)
    }
}

impl<T> Shared<T> {
    fn run(&self, count: usize, window: usize, work: &(dyn Fn(usize) -> T + Send + Sync)) {
        let mut state = self.lock();
        loop {
            while state.slots.len() >= window && !state.stopped {
                state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped || state.next >= count {
                break;
            }
            let index = state.next;
            state.next += 1;
            state.slots.push_back(None);
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| work(index)));
            state = self.lock();
            let Ok(result) = result else {
                // The slot stays empty: whoever waits for it must not wait for ever.
                state.stopped = true;
                break;
            };
            let oldest = state.next - state.slots.len();
            if let Some(slot) = index.checked_sub(oldest).and_then(|position| state.slots.get_mut(position)) {
                *slot = Some(result);
            }
            if index == oldest {
                self.filled.notify_all();
            }
        }
        state.running -= 1;
        drop(state);
        self.filled.notify_all();
        self.taken.notify_all();
    }
}

impl<T> Iterator for Ordered<T> {
    type Item = T;

    /// The next result; `None` after the last, and where the work ended early.
    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        loop {
            if let Some(Some(_)) = state.slots.front() {
                let result = state.slots.pop_front().flatten();
                drop(state);
                self.shared.taken.notify_one();
                return result;
            }
            if state.running == 0 {
                return None;
            }
            state = self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Ordered<T> {
    /// Stops: each thread ends the one piece of work that it is at, and no other begins.
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.taken.notify_all();
        for thread in self.threads.drain(..) {
            // The work's panics were caught.
            let _ = thread.join();
        }
    }
}
