//! Layer norm over the last axis, with its gradients.

use candle_core::{CustomOp3, D, DType, Layout, Result, Shape, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::{forward_passes, on_tensors_to};
use crate::source::Source;
use crate::support::dtype_name;

params! {
    struct NormParams {
        rows: u32,
        channels: u32,
        eps: f32,
        rows_per_part: u32,
    }
}

const FORWARD: &str = "norm_forward";
const INPUT_GRADIENT: &str = "norm_input_gradient";
const PARAMETER_GRADIENTS: &str = "norm_parameter_gradients";

/// Rows that one group sums for the gradients of weight and bias.
const ROWS_PER_PART: usize = 256;

/// Layer norm `weight * (x - mean) / sqrt(variance + eps) + bias`, differentiable in `x`, `weight` and `bias`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// The input, `[.., channels]`.
    pub x: &'a Tensor,
    /// The scale, `[channels]`.
    pub weight: &'a Tensor,
    /// The shift, `[channels]`.
    pub bias: &'a Tensor,
    /// The term added to the variance.
    pub eps: f64,
}

impl LayerNorm<'_> {
    /// Returns the normalized input, of the same shape.
    ///
    /// # Errors
    /// Returns candle's error if the shapes do not fit, the dtype has no kernel, or the device fails.
    pub fn run(&self) -> Result<Tensor> {
        let channels = self.x.dim(D::Minus1)?;
        if [self.weight, self.bias].iter().any(|tensor| tensor.elem_count() != channels) {
            let (weight, bias) = (self.weight.dims(), self.bias.dims());
            candle_core::bail!("layer norm of {channels} channels has weights {weight:?} and biases {bias:?}");
        }
        let operation = Operation { eps: self.eps as f32, channels };
        self.x.contiguous()?.apply_op3(&self.weight.contiguous()?, &self.bias.contiguous()?, operation)
    }

    /// Returns the gradient of the input, of its shape, and partial sums of the gradients of weight and bias, `[parts, 2, channels]`
    /// in f32, for the gradient `dy` of the result.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn gradients(&self, dy: &Tensor) -> Result<[Tensor; 2]> {
        let operation = Operation { eps: self.eps as f32, channels: self.x.dim(D::Minus1)? };
        operation.gradients(&self.x.contiguous()?, &self.weight.contiguous()?, dy)
    }
}

struct Operation {
    eps: f32,
    channels: usize,
}

impl Operation {
    fn kernel(&self, name: &str, rows: usize, dtype: DType) -> Result<Launch> {
        let params = NormParams {
            rows: size(rows)?,
            channels: size(self.channels)?,
            eps: self.eps,
            rows_per_part: size(ROWS_PER_PART)?,
        };
        Ok(Launch::new(Source::LayerNorm, format!("{name}_{}", dtype_name(dtype)?), &params))
    }

    fn rows(&self, elements: usize) -> usize {
        elements / self.channels.max(1)
    }

    /// See [`LayerNorm::gradients`].
    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
        let (dy, dtype, rows) = (dy.contiguous()?, x.dtype(), self.rows(x.elem_count()));
        let launch = self.kernel(INPUT_GRADIENT, rows, dtype)?.warp_per_row(rows);
        let outputs = [Output { count: x.elem_count(), dtype }, Output { count: 2 * rows, dtype: DType::F32 }];
        let [dx, statistics] = on_tensors_to(&launch, &[x, weight, &dy], outputs)?;

        let parts = rows.div_ceil(ROWS_PER_PART);
        let groups = [self.channels.div_ceil(32), parts, 1];
        let launch = self.kernel(PARAMETER_GRADIENTS, rows, dtype)?.groups(groups, 256, 2 * 256);
        let sums = Output { count: parts * 2 * self.channels, dtype: DType::F32 };
        let [sums] = on_tensors_to(&launch, &[x, &dy, &statistics], [sums])?;
        Ok([dx.reshape(x.shape())?, sums.reshape((parts, 2, self.channels))?])
    }

    fn forward(&self, [x, ..]: [&Layout; 3], dtype: DType) -> Result<(Launch, Shape)> {
        let rows = self.rows(x.shape().elem_count());
        Ok((self.kernel(FORWARD, rows, dtype)?.warp_per_row(rows), x.shape().clone()))
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    forward_passes!(x x_layout, weight weight_layout, bias bias_layout);

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, sums] = self.gradients(x, weight, dy)?;
        let sums = sums.sum(0)?.to_dtype(x.dtype())?;
        Ok((Some(dx), Some(sums.get(0)?.reshape(weight.shape())?), Some(sums.get(1)?.reshape(bias.shape())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        NormParams::assert_matches(Source::LayerNorm);
    }

    #[test]
    fn kernels_exist() {
        let operation = Operation { eps: 1e-5, channels: 3 };
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for kernel in [FORWARD, INPUT_GRADIENT, PARAMETER_GRADIENTS] {
                assert_declares(Source::LayerNorm, &operation.kernel(kernel, 2, dtype).unwrap().kernel);
            }
        }
    }
}
