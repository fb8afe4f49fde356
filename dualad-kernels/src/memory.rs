//! Buffers: on large pages, kept by each thread, written to by several.

use std::cell::RefCell;

/// Sixteen numbers on a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

const LINE: usize = 16;
/// Bytes from which on a buffer asks for large pages: a fraction of one is no use.
const LARGE: usize = 1 << 20;
/// Bytes of a large page.
const PAGE: usize = 2 << 20;

/// Numbers on cache lines, zeros at first; many of them on large pages, where the system has such: every page of 4 KiB costs a
/// look at the page tables, and in a virtual machine several.
pub struct Buffer {
    memory: Memory,
    length: usize,
}

enum Memory {
    Lines(Vec<Line>),
    /// With the offset of its first whole large page.
    Pages(memmap2::MmapMut, usize),
}

impl Default for Buffer {
    fn default() -> Self {
        Self { memory: Memory::Lines(Vec::new()), length: 0 }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} numbers", self.length)
    }
}

impl Buffer {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let memory = pages(length).unwrap_or_else(|| Memory::Lines(vec![Line([0.0; LINE]); length.div_ceil(LINE)]));
        Self { memory, length }
    }

    /// How long it can be made without new memory.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Lines(lines) => lines.len() * LINE,
            Memory::Pages(map, offset) => (map.len() - offset) / size_of::<f32>(),
        }
    }

    /// Makes it as long as this, which must be within its capacity; what is new has any content.
    pub(crate) fn set_length(&mut self, length: usize) {
        assert!(length <= self.capacity(), "a buffer's length");
        self.length = length;
    }
}

/// Large pages, if it is worth it and the system has them.
fn pages(length: usize) -> Option<Memory> {
    let bytes = length.checked_mul(size_of::<f32>())?;
    if !cfg!(target_os = "linux") || bytes < LARGE {
        return None;
    }
    let map = memmap2::MmapMut::map_anon(bytes.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?).ok()?;
    #[cfg(target_os = "linux")]
    // A system without large pages gives small ones.
    let _ = map.advise(memmap2::Advice::HugePage);
    let offset = map.as_ptr().align_offset(PAGE);
    (offset <= PAGE).then_some(Memory::Pages(map, offset))
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.memory {
            // SAFETY: a line is sixteen f32 without gaps, there are enough lines (`zeros`, `set_length`), and they are borrowed
            // as long as the slice.
            Memory::Lines(lines) => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), self.length) },
            // SAFETY: the map has so many bytes behind the offset (as above), aligned to more than a f32, zeros or numbers that
            // were written, and is borrowed as long as the slice.
            Memory::Pages(map, offset) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().add(*offset).cast(), self.length)
            },
        }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.memory {
            // SAFETY: as above, and borrowed exclusively.
            Memory::Lines(lines) => unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), self.length) },
            // SAFETY: as above, and borrowed exclusively.
            Memory::Pages(map, offset) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().add(*offset).cast(), self.length)
            },
        }
    }
}

thread_local! {
    /// What is not lent at the moment, the one that was given back last at the end.
    static SCRATCH: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of at least `length` numbers, of any content, that the thread keeps from call to call: a fresh one would be
/// paid for page by page. A call within `f` gets another one, the same at every depth.
pub(crate) fn with_scratch<R>(length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.capacity() < length {
        buffer = Buffer::zeros(length);
    }
    buffer.set_length(length);
    let result = f(&mut buffer);
    SCRATCH.with_borrow_mut(|kept| kept.push(buffer));
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

/// Runs work that shares out many small things in a thread of the current pool: from outside, each of them would have to wake the
/// pool up.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    // Also where the pool is one thread: what goes back and forth between two finds its data in the other's cache. A join runs both in the pool, and the first on the thread that it came to.
    rayon::join(work, || ()).0
}

/// The `index`th of `parts` parts, as even as they can be, of `length` things in whole blocks of `block`.
pub(crate) fn part(length: usize, block: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    let blocks = length.div_ceil(block);
    let at = |index: usize| (blocks * index / parts * block).min(length);
    at(index)..at(index + 1)
}
