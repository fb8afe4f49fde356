//! Buffers that are used again.

/// Buffers nobody uses at the moment.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Vec<f32>>,
}

impl Workspace {
    /// A buffer of `length` numbers of any content: of the free ones the smallest that has room, or else the largest, which grows.
    pub fn take(&mut self, length: usize) -> Vec<f32> {
        let fits = |buffer: &Vec<f32>| buffer.capacity() >= length;
        let all = self.free.iter().enumerate();
        let best = all.clone().filter(|(_, buffer)| fits(buffer)).min_by_key(|(_, buffer)| buffer.capacity());
        let chosen = best.or_else(|| all.max_by_key(|(_, buffer)| buffer.capacity())).map(|(index, _)| index);
        let mut buffer = chosen.map(|index| self.free.swap_remove(index)).unwrap_or_default();
        if buffer.capacity() < length {
            // What is in it need not be copied.
            buffer.clear();
        }
        buffer.resize(length, 0.0);
        buffer
    }

    /// Lets a buffer be used again.
    pub fn give_back(&mut self, buffer: Vec<f32>) {
        self.free.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let mut workspace = Workspace::default();
        let (small, large) = (workspace.take(10), workspace.take(1000));
        let (small_at, large_at) = (small.as_ptr(), large.as_ptr());
        workspace.give_back(small);
        workspace.give_back(large);
        let large = workspace.take(900);
        assert_eq!((large.as_ptr(), large.len()), (large_at, 900));
        let small = workspace.take(7);
        assert_eq!((small.as_ptr(), small.len()), (small_at, 7));
        workspace.give_back(small);
        assert_eq!(workspace.take(5000).len(), 5000);
        assert!(workspace.free.is_empty());
    }
}
