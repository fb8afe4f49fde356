//! Buffers that are used again.

use std::sync::{Mutex, PoisonError};

use crate::memory::buffer::Buffer;

/// The free buffers of one computation.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Buffer>,
}

impl Workspace {
    /// Returns a buffer of `length` elements whose content is arbitrary: the smallest free one that is large enough. If there is
    /// none, a new buffer replaces the largest free one.
    pub fn take(&mut self, length: usize) -> Buffer {
        let all = self.free.iter().enumerate();
        let fitting = all.clone().filter(|(_, buffer)| buffer.capacity() >= length);
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity());
        let chosen = best.or_else(|| all.max_by_key(|(_, buffer)| buffer.capacity())).map(|(index, _)| index);
        let mut buffer = chosen.map(|index| self.free.swap_remove(index)).unwrap_or_default();
        if buffer.capacity() < length {
            // Frees the old memory before the new one is allocated.
            drop(buffer);
            return Buffer::zeros(length);
        }
        buffer.resize(length);
        buffer
    }

    /// Makes a buffer available again.
    pub fn release(&mut self, buffer: Buffer) {
        self.free.push(buffer);
    }
}

/// Workspaces for calls from several threads: each call has one for itself, and they are kept from call to call.
#[derive(Debug, Default)]
pub struct WorkspacePool {
    free: Mutex<Vec<Workspace>>,
}

impl WorkspacePool {
    /// Calls `f` with a workspace that no other call uses meanwhile.
    pub fn with<R>(&self, f: impl FnOnce(&mut Workspace) -> R) -> R {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = free().pop().unwrap_or_default();
        let result = f(&mut workspace);
        free().push(workspace);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_buffers_are_used_again() {
        let mut workspace = Workspace::default();
        for (few, many) in [(10, 1000), (10, 3 << 20)] {
            let (small, large) = (workspace.take(few), workspace.take(many));
            let (small_at, large_at) = (small.as_ptr(), large.as_ptr());
            workspace.release(small);
            workspace.release(large);
            let mut large = workspace.take(many - 100);
            assert_eq!((large.as_ptr(), large.len()), (large_at, many - 100));
            large.fill(1.0);
            let small = workspace.take(7);
            assert_eq!((small.as_ptr(), small.len()), (small_at, 7));
            workspace.release(small);
            assert_eq!(workspace.take(2 * many).len(), 2 * many);
            assert!(workspace.free.is_empty());
        }
    }

    #[test]
    fn nested_calls_get_different_workspaces_and_later_calls_the_same() {
        let pool = WorkspacePool::default();
        let at = |workspace: &mut Workspace| {
            let buffer = workspace.take(64);
            let at = buffer.as_ptr() as usize;
            workspace.release(buffer);
            at
        };
        let (outer, inner) = pool.with(|outer| (at(outer), pool.with(at)));
        assert_ne!(outer, inner);
        assert_eq!(pool.with(|first| [at(first), pool.with(at)]), [outer, inner]);
    }

    #[test]
    fn buffers_are_zeros_at_first_and_keep_written_values() {
        for length in [0, 1, 15, 16, 17, 262_143, 262_144, 262_145, 1_000_003] {
            let mut buffer = Buffer::zeros(length);
            assert!(buffer.len() == length && buffer.iter().all(|&x| x == 0.0) && buffer.capacity() >= length);
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
            buffer.iter_mut().enumerate().for_each(|(index, x)| *x = index as f32);
            assert!(buffer.iter().enumerate().all(|(index, &x)| x == index as f32));
        }
    }
}
