//! The CPU kernels of [dualad](https://docs.rs/dualad): functions over slices of f32 that use the vector instructions of the
//! processor at hand. They know no tensors, networks or files.
//!
//! - Matrix products: [`product()`] with weights that [`Packed`] lays out once, followed by an [`Epilogue`].
//! - The same in 8-bit integers: a [`Matrix`] holds its weights in a [`Precision`].
//! - Convolutions: [`Convolution`] on maps `[batch, rows, columns, channels]`, with bias, residual and activation. It chooses among
//!   a matrix product (1x1), Winograd's method (3x3), a depthwise kernel and a general method. In 8-bit integers, [`ByteCells`] are
//!   the maps between two of them.
//! - Attention: [`attention()`] and [`attention_backward()`] for one head, [`MultiHead`] for all heads of a batch.
//! - Norms: [`norm()`], [`add_norm()`] and their backward pass; [`softmax()`] and [`hard_shrink()`].
//! - Elements and rows: [`relu()`], [`dropout()`], [`adamw()`], [`squared_distance()`], [`are_finite()`] and sums.
//! - Maps: [`max_pool()`], [`mean_of_cells()`], [`mean_pool_into()`], [`apply_gate()`], [`from_planes()`], [`to_planes()`].
//! - Neighbors: [`NearestNeighbors`] finds the nearest token of a bank, [`k_center`] selects the tokens of a bank.
//! - Principal components: [`principal_components`].
//! - Memory: [`Buffer`] on large pages, and [`Workspace`], which keeps buffers from call to call.
//!
//! ```
//! use dualad_kernels::{Epilogue, Isa, Packed, Rows, product};
//!
//! // Two rows of three elements, times a matrix with two outputs.
//! let weights = Packed::new(Isa::best(), &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 3, Some(&[0.5, 0.0]));
//! let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let mut y = [0.0; 4];
//! product(&x, Rows::Dense { stride: 3 }, 2, &weights, &mut y, 2, Epilogue::NONE);
//! assert_eq!(y, [1.5, 5.0, 4.5, 11.0]);
//! ```
//!
//! # Instruction sets
//! There are kernels for AVX2 with FMA, for AVX-512, for NEON on aarch64, and a portable form, which the compiler turns into the
//! vectors of any architecture. [`Isa::best`] asks the processor at run time; no compiler flag is needed. A module for WebAssembly
//! has the kernels for SIMD128 if it is compiled with `-C target-feature=+simd128`.
//!
//! # Threads
//! Parallel kernels run on the current rayon pool (`ThreadPool::install`). Results do not depend on the number of threads. Each
//! thread keeps its scratch buffers between calls.
//!
//! # Errors
//! Kernels return no errors. The caller must pass buffers of the right sizes; a wrong size panics before anything is written out of
//! bounds.

// Rows and lanes index several arrays of registers at once; iterators would hide which of them belong together.
#![allow(clippy::needless_range_loop)]

mod activation;
mod attention;
mod conv;
mod elementwise;
mod gemm;
mod int8;
mod maps;
mod matrix;
mod memory;
mod neighbors;
mod norm;
mod parallel;
mod precision;
mod principal;
mod simd;
#[cfg(test)]
mod tests;
mod vectorized;

pub use activation::Activation;
pub use attention::{
    AttentionScratch, AttentionShape, AttentionStrides, MultiHead, NeighborMask, attention, attention_backward,
    copy_head,
};
pub use conv::{Cells, ConvArgs, ConvShape, Convolution, MapSize, Padding};
pub use elementwise::{
    AdamWStep, UniformBlocks, adamw, add_scaled_noise, add_to_columns, are_finite, dropout, relu, relu_backward,
    squared_distance, squared_errors, sum_squares,
};
pub use gemm::{Epilogue, Packed, Residual, Rows, product};
pub use int8::ByteCells;
pub use maps::{Pool, apply_gate, from_planes, max_pool, mean_of_cells, mean_pool_into, to_planes};
pub use matrix::Matrix;
pub use memory::{Buffer, Workspace, WorkspacePool};
pub use neighbors::{NearestNeighbors, k_center, k_center_while, nearest_plain};
pub use norm::{MIN_NORM, add_norm, add_norm_backward, hard_shrink, norm, norm_statistics, softmax};
pub use parallel::in_pool;
pub use precision::Precision;
pub use principal::{principal_components, principal_start};
pub use simd::isa::Isa;
