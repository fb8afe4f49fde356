//! Buffers that are used again.

use crate::memory::Buffer;

/// Buffers nobody uses at the moment.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Buffer>,
}

impl Workspace {
    /// A buffer of `length` numbers of any content: of the free ones the smallest that has room, or else a new one in place of the
    /// largest.
    pub fn take(&mut self, length: usize) -> Buffer {
        let all = self.free.iter().enumerate();
        let fitting = all.clone().filter(|(_, buffer)| buffer.capacity() >= length);
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity());
        let chosen = best.or_else(|| all.max_by_key(|(_, buffer)| buffer.capacity())).map(|(index, _)| index);
        let mut buffer = chosen.map(|index| self.free.swap_remove(index)).unwrap_or_default();
        if buffer.capacity() < length {
            // The old one goes before the new one comes.
            drop(buffer);
            return Buffer::zeros(length);
        }
        buffer.set_length(length);
        buffer
    }

    /// Lets a buffer be used again.
    pub fn give_back(&mut self, buffer: Buffer) {
        self.free.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let mut workspace = Workspace::default();
        for (few, many) in [(10, 1000), (10, 3 << 20)] {
            let (small, large) = (workspace.take(few), workspace.take(many));
            let (small_at, large_at) = (small.as_ptr(), large.as_ptr());
            workspace.give_back(small);
            workspace.give_back(large);
            let mut large = workspace.take(many - 100);
            assert_eq!((large.as_ptr(), large.len()), (large_at, many - 100));
            large.fill(1.0);
            let small = workspace.take(7);
            assert_eq!((small.as_ptr(), small.len()), (small_at, 7));
            workspace.give_back(small);
            assert_eq!(workspace.take(2 * many).len(), 2 * many);
            assert!(workspace.free.is_empty());
        }
    }

    #[test]
    fn buffers_are_zeros_at_first_and_hold_what_is_written() {
        for length in [0, 1, 15, 16, 17, 262_143, 262_144, 262_145, 1_000_003] {
            let mut buffer = Buffer::zeros(length);
            assert!(buffer.len() == length && buffer.iter().all(|&x| x == 0.0) && buffer.capacity() >= length);
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
            buffer.iter_mut().enumerate().for_each(|(index, x)| *x = index as f32);
            assert!(buffer.iter().enumerate().all(|(index, &x)| x == index as f32));
        }
    }
}
