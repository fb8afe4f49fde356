//! Buffers: aligned ones, ones that each thread keeps, and ones that several threads write to.

use std::cell::Cell;

/// Sixteen numbers on a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeros at first, on cache lines.
#[derive(Clone)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
    length: usize,
}

impl std::fmt::Debug for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.length)
    }
}

impl Aligned {
    pub(crate) fn zeros(length: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); length.div_ceil(16)], length }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is sixteen f32 without gaps, there are enough lines, and they are borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Lends a buffer of at least `length` numbers, of any content, that the thread keeps from call to call: a fresh one would be
/// paid for page by page. A call within `f` gets another one.
pub(crate) fn with_scratch<R>(length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.take();
    if buffer.len() < length {
        buffer.clear();
        buffer.resize(length, 0.0);
    }
    let result = f(&mut buffer[..length]);
    SCRATCH.set(buffer);
    result
}

/// A buffer that tasks write disjoint parts of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    start: *mut f32,
    length: usize,
}

// SAFETY: a `Target` is a pointer and a length; what it is used for is argued where it is used.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(buffer: &mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), length: buffer.len() }
    }

    /// The number at `offset`, with `count` behind it.
    ///
    /// # Panics
    /// If the buffer has no such numbers: a mistake in this crate.
    pub(crate) fn at(self, offset: usize, count: usize) -> *mut f32 {
        assert!(offset.checked_add(count).is_some_and(|end| end <= self.length), "a target's part");
        // SAFETY: within the buffer, as was just asserted.
        unsafe { self.start.add(offset) }
    }
}

/// Runs tasks 0 to `count - 1` on the current thread pool. Which thread runs which does not matter to results: each writes a
/// part of its own.
pub(crate) fn run_tasks(count: usize, task: impl Fn(usize) + Send + Sync) {
    use rayon::prelude::*;
    if count <= 1 || rayon::current_num_threads() == 1 {
        (0..count).for_each(task);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(&task);
    }
}

/// The `index`th of `parts` parts, as even as they can be, of `length` things in whole blocks of `block`.
pub(crate) fn part(length: usize, block: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    let blocks = length.div_ceil(block);
    let at = |index: usize| (blocks * index / parts * block).min(length);
    at(index)..at(index + 1)
}
