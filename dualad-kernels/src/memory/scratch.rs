//! Scratch memory that a thread keeps between calls.

use std::cell::RefCell;

use crate::memory::buffer::Buffer;

thread_local! {
    /// The buffers that are not lent out, the one released last at the end.
    static FREE: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with a buffer of `length` elements whose content is arbitrary. The thread keeps the buffer between calls, because
/// the system hands out a new one page by page at a cost. A nested call gets another buffer, the same one at each depth.
pub(crate) fn with_scratch<R>(length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = f(buffer.resize(length));
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
