//! What [dualad](https://docs.rs/dualad) computes on a CPU: loops over slices of f32 that use the vector instructions of the
//! processor at hand. Knows no tensors, no networks, and no files.
//!
//! - [`Packed`] and [`product()`]: products with weights that are laid out once.
//! - [`Convolution`]: 1x1, 3x3 (Winograd), depthwise and others, each with bias, residual and activation, on maps `[batch, rows,
//!   columns, channels]`.
//! - [`attention()`], [`norm()`], [`softmax()`]: what transformers are made of, the first two also backward.
//! - [`max_pool`], [`mean_of_cells`], [`apply_gate`], [`pool_into`], [`from_planes`], [`to_planes`]: what else maps go through.
//!
//! ```
//! use dualad_kernels::{After, Isa, Packed, Rows, product};
//!
//! // Two rows of three numbers, times a matrix of two outputs.
//! let weights = Packed::new(Isa::best(), &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 3, Some(&[0.5, 0.0]));
//! let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let mut y = [0.0; 4];
//! product(&x, Rows::Dense { stride: 3 }, 2, &weights, &mut y, 2, After::NOTHING);
//! assert_eq!(y, [1.5, 5.0, 4.5, 11.0]);
//! ```
//!
//! # Instruction sets
//! AVX2 with FMA, AVX-512, and a portable form, which compilers turn into the vectors of any architecture (on aarch64
//! NEON's). [`Isa::best`] asks the processor when the program runs; nothing needs to be compiled for one.
//!
//! # Threads
//! Everything that shares out work does so on the current rayon pool (`ThreadPool::install`), and results do not depend on how
//! many threads it has. Each thread keeps one buffer from call to call.
//!
//! # Errors
//! None: sizes are the caller's to get right, and a wrong one panics before anything is written out of bounds.

// Rows and lanes index several arrays of registers at once; iterators would hide which belong together.
#![allow(clippy::needless_range_loop)]

mod attention;
mod convolution;
mod depthwise;
mod maps;
mod math;
mod memory;
mod product;
mod simd;
#[cfg(test)]
mod tests;
mod tile;
mod vectorised;
mod winograd;
mod workspace;

pub use attention::{Scratch, attention, attention_backward};
pub use convolution::{Convolution, Shape, Size};
pub use maps::{apply_gate, from_planes, max_pool, mean_of_cells, pool_into, to_planes};
pub use math::Activation;
pub use memory::{Buffer, in_pool};
pub use product::{After, Packed, Residual, Rows, product};
pub use simd::Isa;
pub use vectorised::{
    AttentionShape, Window, add_norm, add_norm_backward, are_finite, mul_add, norm, norm_statistics, softmax,
    squared_distance,
};
pub use workspace::Workspace;
