//! The description of a kernel launch, the same for CUDA and Metal.

// Without either feature, nothing reads it.
#![cfg_attr(not(any(feature = "cuda", feature = "metal")), allow(dead_code))]

use candle_core::{DType, Layout, Result};

use crate::params::{Params, WORDS};
use crate::source::Source;

/// Threads of a warp (on Metal, of a simdgroup).
const WARP: usize = 32;

/// A kernel with its parameters and its threads.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) source: Source,
    /// The kernel's name in the source.
    pub(crate) kernel: String,
    pub(crate) words: [u32; WORDS],
    pub(crate) groups: [usize; 3],
    /// Threads per group, a multiple of 32.
    pub(crate) threads: usize,
    /// Bytes of memory that the threads of a group share.
    pub(crate) shared_bytes: usize,
    /// Number of inputs, counted from the last, that the kernel changes in place.
    pub(crate) changed_inputs: usize,
}

impl Launch {
    /// A launch of `kernel` in one group of 256 threads.
    pub(crate) fn new(source: Source, kernel: impl Into<String>, params: &impl Params) -> Self {
        Self {
            source,
            kernel: kernel.into(),
            words: params.words(),
            groups: [1; 3],
            threads: 8 * WARP,
            shared_bytes: 0,
            changed_inputs: 0,
        }
    }

    /// Sets the groups of the grid, the threads of each group, and the floats that the threads of a group share.
    pub(crate) fn groups(self, groups: [usize; 3], threads: usize, shared_floats: usize) -> Self {
        Self { groups, threads, shared_bytes: shared_floats * size_of::<f32>(), ..self }
    }

    /// Sets one warp per row, four rows per group.
    pub(crate) fn warp_per_row(self, rows: usize) -> Self {
        self.groups([rows.div_ceil(4), 1, 1], 4 * WARP, 0)
    }

    /// Sets at least `count` threads.
    pub(crate) fn at_least(self, count: usize) -> Self {
        let threads = 8 * WARP;
        self.groups([count.div_ceil(threads), 1, 1], threads, 0)
    }

    /// Declares that the kernel changes the last `count` inputs in place.
    pub(crate) fn changes(self, count: usize) -> Self {
        Self { changed_inputs: count, ..self }
    }

    /// Checks that a device takes a grid of this size.
    pub(crate) fn check(&self) -> Result<()> {
        let [x, y, z] = self.groups;
        if y > u16::MAX.into() || z > u16::MAX.into() || x > i32::MAX as usize {
            candle_core::bail!(
                "{}: a grid of {:?} groups is larger than a GPU takes: use smaller batches",
                self.kernel,
                self.groups
            );
        }
        Ok(())
    }
}

/// The length and the dtype of a tensor that a launch creates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) count: usize,
    pub(crate) dtype: DType,
}

/// The index of a contiguous tensor's first element in its storage.
pub(crate) fn first_element(layout: &Layout, kernel: &str) -> Result<usize> {
    match layout.contiguous_offsets() {
        Some((first, _)) => Ok(first),
        None => candle_core::bail!("{kernel} needs contiguous tensors"),
    }
}
