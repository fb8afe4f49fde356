//! Kernels on elements and rows.

mod adamw;
mod distance;
mod dropout;
mod finite;
mod noise;
mod relu;
mod sums;

pub use adamw::{AdamWStep, adamw};
pub use distance::squared_distance;
pub use dropout::{UniformBlocks, dropout};
pub use finite::are_finite;
pub use noise::add_scaled_noise;
pub use relu::{relu, relu_backward};
pub use sums::{add_to_columns, squared_errors, sum_squares};
