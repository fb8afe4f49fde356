//! A buffer of f32 that is aligned to cache lines and, where it is large, lies on large pages.

/// Sixteen values that fill one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

const LINE: usize = 16;
/// The smallest buffer, in bytes, that asks for large pages. A small fraction of a large page brings no gain.
const MIN_LARGE_PAGE_BYTES: usize = 1 << 20;
/// The bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// A buffer of f32, aligned to cache lines and filled with zeros at first.
///
/// A large buffer lies on large pages where the system has them: each page of 4 KiB costs a page-table lookup, and in a virtual
/// machine several.
pub struct Buffer {
    memory: Memory,
    length: usize,
}

enum Memory {
    Lines(Vec<Line>),
    /// A memory map, and the offset of its first whole large page.
    Pages(memmap2::MmapMut, usize),
}

impl Default for Buffer {
    fn default() -> Self {
        Self { memory: Memory::Lines(Vec::new()), length: 0 }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.length)
    }
}

impl Buffer {
    /// Returns a buffer of `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let memory = pages(length).unwrap_or_else(|| Memory::Lines(vec![Line([0.0; LINE]); length.div_ceil(LINE)]));
        Self { memory, length }
    }

    /// Returns the longest length, in elements, that the buffer can have without new memory.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Lines(lines) => lines.len() * LINE,
            Memory::Pages(map, offset) => (map.len() - offset) / size_of::<f32>(),
        }
    }

    /// Sets the length and returns the elements, whose content is arbitrary. Allocates only if the capacity is too small.
    pub(crate) fn resize(&mut self, length: usize) -> &mut [f32] {
        if self.capacity() < length {
            *self = Self::zeros(length);
        }
        self.length = length;
        self
    }
}

/// Returns a map on large pages, or `None` for a small buffer and on systems without memory maps.
fn pages(length: usize) -> Option<Memory> {
    let bytes = length.checked_mul(size_of::<f32>())?;
    if !cfg!(target_os = "linux") || bytes < MIN_LARGE_PAGE_BYTES {
        return None;
    }
    let map = memmap2::MmapMut::map_anon(bytes.checked_next_multiple_of(LARGE_PAGE)?.checked_add(LARGE_PAGE)?).ok()?;
    #[cfg(target_os = "linux")]
    // A system without large pages uses small ones.
    let _ = map.advise(memmap2::Advice::HugePage);
    let offset = map.as_ptr().align_offset(LARGE_PAGE);
    (offset <= LARGE_PAGE).then_some(Memory::Pages(map, offset))
}

impl std::ops::Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.memory {
            // SAFETY: a line is sixteen f32 without gaps, there are enough lines (`zeros`, `resize`), and the slice borrows them.
            Memory::Lines(lines) => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), self.length) },
            // SAFETY: the map has enough bytes behind the offset (as above), aligned to more than an f32; they are zeros or values
            // that were written; the slice borrows the map.
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
