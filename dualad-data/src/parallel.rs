//! Ordered parallel map with bounded look-ahead.
//!
//! rayon has no such bound: its iterators either finish before the first result can be read, or return results in any
//! order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The results of `work(0), work(1), ..`, in this order, computed on several threads.
pub(crate) struct Ordered<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Signals that the next result may be available.
    filled: Condvar,
    /// Signals that another index may be started.
    taken: Condvar,
}

struct State<T> {
    /// The next index to start.
    next: usize,
    /// One slot for each index that was started and whose result was not read yet, in order.
    slots: VecDeque<Option<T>>,
    stopped: bool,
    running: usize,
}

impl<T> Shared<T> {
    /// Locks the state. No code that can panic runs under the lock, so the state of a poisoned lock is valid.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number of threads to start: `wanted`, or one for each core if that is 0.
pub(crate) fn thread_count(wanted: usize) -> usize {
    let threads = if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) };
    // A larger number is a mistake. It would exhaust the threads of the system.
    threads.min(1024)
}

impl<T: Send + 'static> Ordered<T> {
    /// Starts `threads` threads. At most `window` results are being computed or waiting to be read at any time.
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
                    // Fewer threads than requested still do all of the work.
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
    /// The work of one thread.
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
                // The slot stays empty. The reader must not wait for it.
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

    /// Returns the next result, and `None` after the last and after a panic of the work.
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
    /// Stops the threads, each after its current index.
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.taken.notify_all();
        for thread in self.threads.drain(..) {
            // Panics of the work were caught.
            let _ = thread.join();
        }
    }
}
