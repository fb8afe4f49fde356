//! The threads that detectors compute on.
//!
//! A thread of a rayon pool that waits for a part of its work does other work of the pool meanwhile. If that is the whole inspection
//! of another caller, the first caller waits for it too. So callers take turns, in the order in which they came.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use dualad_kernels::in_pool;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::detector::turns::Turns;
use crate::error::{Error, Result};

/// The maximum number of threads of a detector's own pool.
const MAX_THREADS: usize = 1024;

/// The turns of the callers of rayon's global pool.
static GLOBAL: Turns = Turns::new();

/// The turns of each pool that a caller gave. Several detectors may share a pool.
static SHARED: Mutex<Vec<(Weak<ThreadPool>, Weak<Turns>)>> = Mutex::new(Vec::new());

/// The threads that a detector computes on. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) enum Threads {
    /// The rayon pool of each caller: that which the caller's thread belongs to, or else the global one.
    #[default]
    Callers,
    /// A pool, and the turns of its callers.
    Pool(Arc<ThreadPool>, Arc<Turns>),
}

impl Threads {
    /// Makes a new pool of 1 to 1024 threads.
    pub(crate) fn own(count: usize) -> Result<Self> {
        let wrong = |reason: String| Error::invalid_argument("threads", count, reason);
        if !(1..=MAX_THREADS).contains(&count) {
            return Err(wrong(format!("must be from 1 to {MAX_THREADS}")));
        }
        let name = |index| format!("dualad-{index}");
        let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(name).build();
        let pool = pool.map_err(|error| wrong(error.to_string()))?;
        Ok(Self::Pool(Arc::new(pool), Arc::default()))
    }

    /// Shares a pool.
    pub(crate) fn shared(pool: Arc<ThreadPool>) -> Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|(pool, turns)| pool.strong_count() > 0 && turns.strong_count() > 0);
        let known = shared.iter().find(|(known, _)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(&pool)));
        let turns = known.and_then(|(_, turns)| turns.upgrade()).unwrap_or_else(|| {
            let turns = Arc::default();
            shared.push((Arc::downgrade(&pool), Arc::downgrade(&turns)));
            turns
        });
        Self::Pool(pool, turns)
    }

    /// Makes a new pool with one of `parts` equal shares of these threads, and at least one thread.
    pub(crate) fn share(&self, parts: usize) -> Result<Self> {
        let count = match self {
            Self::Callers => rayon::current_num_threads(),
            Self::Pool(pool, _) => pool.current_num_threads(),
        };
        Self::own((count / parts.max(1)).clamp(1, MAX_THREADS))
    }

    /// Runs `work` on these threads, after the callers that came before.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            // A thread of a pool takes no turn: the one that it waits for may wait for the rest of this thread's work.
            Self::Callers if rayon::current_thread_index().is_some() => work(),
            Self::Pool(pool, _) if rayon::current_thread_index().is_some() => pool.install(work),
            Self::Callers => {
                let _turn = GLOBAL.wait(rayon::current_num_threads());
                in_pool(work)
            }
            Self::Pool(pool, turns) => {
                let _turn = turns.wait(pool.current_num_threads());
                pool.install(work)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rayon::prelude::*;

    use super::*;

    fn pool() -> Arc<ThreadPool> {
        Arc::new(ThreadPoolBuilder::new().num_threads(2).build().unwrap())
    }

    /// Returns the largest number of callers that computed at the same time.
    fn most_at_a_time(threads: [Threads; 3]) -> usize {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Parts that end at different times, so that a thread which waits would take up other work.
        let work = || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            (0..8u64).into_par_iter().for_each(|part| std::thread::sleep(std::time::Duration::from_millis(part % 3)));
            now.fetch_sub(1, Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for threads in &threads {
                scope.spawn(|| (0..20).for_each(|_| threads.run(work)));
            }
        });
        most.into_inner()
    }

    #[test]
    fn callers_of_the_same_threads_take_turns() {
        let (own, pool) = (Threads::own(2).unwrap(), pool());
        assert_eq!(most_at_a_time([own.clone(), own.clone(), own]), 1);
        assert_eq!(most_at_a_time([(); 3].map(|()| Threads::shared(pool.clone()))), 1);
        if rayon::current_num_threads() < 8 {
            assert_eq!(most_at_a_time([(); 3].map(|()| Threads::Callers)), 1);
        }
    }

    /// A thread of a pool that waited for a turn could wait for itself.
    #[test]
    fn threads_of_a_pool_never_wait() {
        let (shared, caller) = (pool(), pool());
        for threads in [Threads::own(2).unwrap(), Threads::shared(shared.clone()), Threads::Callers] {
            for pool in [&shared, &caller] {
                let nested = || (0..40).into_par_iter().map(|_| threads.run(|| threads.run(|| 1))).sum::<usize>();
                assert_eq!(pool.install(nested), 40);
                assert_eq!(threads.run(nested), 40);
            }
        }
    }

    #[test]
    fn pools_are_forgotten() {
        for _ in 0..100 {
            drop(Threads::shared(pool()));
        }
        assert!(SHARED.lock().unwrap().len() < 100);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for count in [0, 1025] {
            assert!(Threads::own(count).unwrap_err().to_string().contains("from 1 to 1024"));
        }
    }
}
