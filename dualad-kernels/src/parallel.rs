//! Work distribution on the current rayon pool.

use std::ops::Range;

/// A buffer that several tasks write to, each in its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedOut {
    start: *mut f32,
    length: usize,
}

// SAFETY: a `SharedOut` is a pointer and a length; each use argues that tasks write disjoint parts.
unsafe impl Send for SharedOut {}
// SAFETY: as above.
unsafe impl Sync for SharedOut {}

impl SharedOut {
    pub(crate) fn new(buffer: &mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len() }
    }

    /// Returns a pointer to the element at `offset`, with `count` elements from there on inside the buffer.
    ///
    /// # Panics
    /// If the buffer is shorter than that: a bug in this crate.
    pub(crate) fn at(self, offset: usize, count: usize) -> *mut f32 {
        assert!(offset.checked_add(count).is_some_and(|end| end <= self.length), "a part of a shared output");
        // SAFETY: within the buffer, as asserted above.
        unsafe { self.start.add(offset) }
    }
}

/// Runs tasks 0 to `count - 1` on the current thread pool. Every task writes its own part of the output, so the result does not
/// depend on the thread that runs it.
pub(crate) fn run_tasks(count: usize, task: impl Fn(usize) + Send + Sync) {
    use rayon::prelude::*;
    if count <= 1 || rayon::current_num_threads() == 1 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(&task);
    }
}

/// Runs tasks 0 to `count - 1` as [`run_tasks`] does and returns their results in order.
pub(crate) fn map_tasks<R: Send>(count: usize, task: impl Fn(usize) -> R + Send + Sync) -> Vec<R> {
    use rayon::prelude::*;
    if count <= 1 || rayon::current_num_threads() == 1 {
        (0..count).map(task).collect()
    } else {
        (0..count).into_par_iter().with_max_len(1).map(&task).collect()
    }
}

/// Runs `work` on a thread of the current rayon pool and returns its result. Use it around work that starts many small parallel
/// loops: started from outside the pool, each loop would have to wake the pool up.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    // Also for a pool of one thread: data that passes between two threads moves from one core's cache to another's. `join` runs
    // its first closure on the pool's thread that took the call.
    rayon::join(work, || ()).0
}

/// Returns part `index` of `parts` nearly equal parts of `0..length`. Parts begin at multiples of `block`.
pub(crate) fn part(length: usize, block: usize, parts: usize, index: usize) -> Range<usize> {
    let blocks = length.div_ceil(block);
    let at = |index: usize| (blocks * index / parts * block).min(length);
    at(index)..at(index + 1)
}
