//! Both forms of each operation, for `benches/ops.rs`. Not part of the public interface.

use candle_core::{Result, Tensor};

use crate::ops::attention::{self, attention};
use crate::ops::layer_norm::{self, layer_norm};
use crate::ops::memory_read::{self, memory_read};
use dualad_kernels::NeighborMask;

/// The form of an operation to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In candle's own operations.
    Plain,
    /// The form for the tensors' device and dtype.
    Fast,
}

/// Attention under the paper's neighbor mask of 7 x 7 tokens.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn attention_of(form: Form, [query, key, value]: [&Tensor; 3], heads: usize, grid: [usize; 2]) -> Result<Tensor> {
    let window = Some(NeighborMask { grid, size: [7, 7] });
    let operation = if form == Form::Fast { attention } else { attention::plain };
    operation(query, key, value, heads, window)
}

/// A memory read with temperature 1.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn memory_read_of(form: Form, x: &Tensor, memory: &Tensor) -> Result<Tensor> {
    let operation = if form == Form::Fast { memory_read } else { memory_read::plain };
    operation(x, memory, 1.0)
}

/// Layer norm.
///
/// # Errors
/// Returns candle's error if the shapes do not fit.
pub fn layer_norm_of(form: Form, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let operation = if form == Form::Fast { layer_norm } else { layer_norm::plain };
    operation(x, weight, bias, 1e-5)
}
