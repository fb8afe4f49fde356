//! The operations of the network that candle computes slowly, or without a gradient: one file for each.
//! `matrix.rs` (products), `support.rs` (the choice of a form) and `testing.rs` are helpers.
//!
//! An operation has up to three forms. The plain form uses candle's own operations and handles every device and dtype. The CPU
//! form handles f32, and half precision converted to f32. The GPU form is an operation of `dualad-gpu` and handles f32, f16 and
//! bf16 on CUDA and Metal devices. The tests of each file compare the forms.

#[cfg(feature = "train")]
mod activation;
pub(crate) mod attention;
mod dropout;
mod errors;
mod jitter;
pub(crate) mod layer_norm;
mod linear;
pub(crate) mod matrix;
pub(crate) mod memory_read;
#[cfg(feature = "train")]
mod product;
mod support;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(feature = "train")]
pub(crate) use activation::{activate, activation_gradient, add_activated};
pub(crate) use attention::attention;
pub(crate) use dropout::dropout;
pub(crate) use errors::{combined_errors, squared_errors};
pub(crate) use jitter::jitter;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::linear;
pub(crate) use memory_read::memory_read;
#[cfg(feature = "train")]
pub(crate) use product::product_into;
#[cfg(feature = "train")]
pub(crate) use support::StreamBlocks;
pub(crate) use support::with_values;
