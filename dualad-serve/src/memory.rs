//! The memory for decoding, over all uploads.
//!
//! It has two parts. Uploads that need little never wait for those that need much, which are decoded a few at a time. In each part,
//! uploads wait in the order in which they came.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of memory, in bytes.
const UNIT: u64 = 64 << 10;
/// The part of the memory that is for small needs.
const PART: u64 = 4;
/// The part of the memory from which on a need is not small.
const SMALL: u64 = 32;

#[derive(Debug)]
pub(crate) struct DecodingMemory {
    small: Part,
    large: Part,
    /// The largest small need, in bytes.
    boundary: u64,
}

#[derive(Debug)]
struct Part {
    units: u32,
    free: Arc<Semaphore>,
    /// One permit for each image that is decoded at a time.
    decoders: Arc<Semaphore>,
}

/// Memory for an image, and at first the permission to decode it.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Option<OwnedSemaphorePermit>,
    decoder: Option<OwnedSemaphorePermit>,
}

/// Returns the largest need that a memory of so many bytes allows.
pub(crate) fn largest_need(bytes: u64) -> u64 {
    bytes - bytes / PART
}

/// Returns the least memory in bytes that allows a need.
pub(crate) fn memory_for(need: u64) -> u64 {
    need.div_ceil(PART - 1).saturating_mul(PART)
}

impl DecodingMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let decoders = available_parallelism().map_or(1, usize::from);
        let part = |bytes: u64| {
            let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
            let [free, decoders] = [units as usize, decoders].map(|permits| Arc::new(Semaphore::new(permits)));
            Part { units, free, decoders }
        };
        Self { small: part(bytes / PART), large: part(largest_need(bytes)), boundary: bytes / SMALL }
    }

    /// Waits for memory of so many bytes. A larger need than all of it takes all of it.
    pub(crate) async fn take(&self, need: u64) -> Share {
        let part = if need <= self.boundary { &self.small } else { &self.large };
        let units = u32::try_from(need.div_ceil(UNIT)).unwrap_or(u32::MAX).min(part.units);
        // The semaphores are never closed: there are always permits.
        let memory = part.free.clone().acquire_many_owned(units).await.ok();
        let decoder = part.decoders.clone().acquire_owned().await.ok();
        Share { memory, decoder }
    }
}

impl Share {
    /// Keeps so many bytes for what was decoded, and lets the next image be decoded.
    pub(crate) fn decoded(&mut self, bytes: u64) {
        self.decoder = None;
        if let Some(memory) = &mut self.memory {
            let kept = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
            drop(memory.split(memory.num_permits().saturating_sub(kept)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: u64 = 1 << 20;

    async fn soon<T>(take: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(50), take).await.ok()
    }

    #[test]
    fn the_memory_for_a_need_allows_it_and_little_more() {
        for need in [1, 2, 3, 4, 5, 1000, 48 * MIB, 48 * MIB + 1] {
            let memory = memory_for(need);
            assert!((need..need + PART).contains(&largest_need(memory)), "{need} {memory}");
        }
        assert_eq!(memory_for(u64::MAX), u64::MAX);
    }

    #[tokio::test]
    async fn large_needs_wait_and_small_ones_do_not() {
        let memory = DecodingMemory::new(64 * MIB);
        let mut first = memory.take(40 * MIB).await;
        assert!(soon(memory.take(20 * MIB)).await.is_none());
        let small: Vec<Share> = vec![memory.take(2 * MIB).await, memory.take(1).await];
        // After decoding, less is kept.
        first.decoded(10 * MIB);
        let second = soon(memory.take(38 * MIB)).await.unwrap();
        assert!(soon(memory.take(3 * MIB)).await.is_none());
        drop((first, second, small));
        // More than there is takes all of it.
        let all = soon(memory.take(u64::MAX)).await.unwrap();
        assert!(soon(memory.take(3 * MIB)).await.is_none());
        drop(all);
        assert!(soon(memory.take(48 * MIB)).await.is_some());
    }

    #[tokio::test]
    async fn a_large_need_is_not_overtaken_for_ever() {
        let memory = Arc::new(DecodingMemory::new(64 * MIB));
        let first = memory.take(40 * MIB).await;
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.take(48 * MIB).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        // It came later, and would fit.
        assert!(soon(memory.take(4 * MIB)).await.is_none());
        drop(first);
        assert!(waiting.await.is_ok());
    }
}
