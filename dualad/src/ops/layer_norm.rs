//! Layer norm over the last axis, with its gradients: candle-nn's has none.
//!
//! y = w h + b with h = (x - mean) / sqrt(variance + eps), over the channels of a token.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor};
use dualad_kernels as kernels;
use rayon::prelude::*;

use crate::ops::support::{is_cpu_f32, values, widened, with_values};

const NAME: &str = "layer norm";

/// Rows per task. A task sums its rows' contributions to the gradients of the parameters, so the order of the sums does not depend
/// on the number of threads.
const ROWS: usize = 64;

/// Returns the layer norm of `[.., channels]`, with `weight` and `bias` of `[channels]`.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if dualad_gpu::supports(&[x, weight, bias]) {
        return dualad_gpu::LayerNorm { x, weight, bias, eps }.run();
    }
    if is_cpu_f32(&[x, weight, bias]) {
        let op = LayerNorm { eps: eps as f32, channels: x.dim(D::Minus1)? };
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op);
    }
    if let Some([wide_x, wide_weight, wide_bias]) = widened([x, weight, bias])? {
        return layer_norm(&wide_x, &wide_weight, &wide_bias, eps)?.to_dtype(x.dtype());
    }
    plain(x, weight, bias, eps)
}

/// Returns the gradient of the input, of its shape, and partial sums of the gradients of weight and bias, `[parts, 2, channels]`, for
/// the gradient `dy` of the result. All tensors are f32.
#[cfg(feature = "train")]
pub(crate) fn gradients(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64, dy: &Tensor) -> Result<[Tensor; 2]> {
    if dualad_gpu::supports(&[x, weight, bias, dy]) {
        return dualad_gpu::LayerNorm { x, weight, bias, eps }.gradients(dy);
    }
    let channels = x.dim(D::Minus1)?;
    let op = LayerNorm { eps: eps as f32, channels };
    let (dx, mut sums, db) = op.gradients(&x.contiguous()?, &weight.contiguous()?, dy)?;
    sums.extend(db);
    Ok([Tensor::from_vec(dx, x.shape(), x.device())?, Tensor::from_vec(sums, (1, 2, channels), x.device())?])
}

/// The plain form; statistics are f32 for half precision, too.
pub(crate) fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = if matches!(dtype, DType::F16 | DType::BF16) { x.to_dtype(DType::F32)? } else { x.clone() };
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    let normalized = centered.broadcast_div(&(variance + eps)?.sqrt()?)?.to_dtype(dtype)?;
    normalized.broadcast_mul(weight)?.broadcast_add(bias)
}

struct LayerNorm {
    eps: f32,
    channels: usize,
}

impl LayerNorm {
    /// dx = s (w dy - mean(w dy) - h mean(w dy h)), dw = sum of dy h, db = sum of dy, with h and s as above.
    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<(Vec<f32>, Vec<f32>, Vec<f32>)> {
        let (n, dy) = (self.channels.max(1), dy.contiguous()?);
        with_values([x, weight, &dy], NAME, |[x, weight, dy]| {
            // Each row is replaced by its gradient.
            let mut dx = x.to_vec();
            let tasks = dx.par_chunks_mut(n * ROWS).zip(dy.par_chunks(n * ROWS));
            let parts: Vec<(Vec<f32>, Vec<f32>)> = tasks
                .map(|(dx, dy)| {
                    let (mut dw, mut db) = (vec![0.0; n], vec![0.0; n]);
                    let mut stats = [[0.0; 2]; ROWS];
                    kernels::norm_statistics(dx, n, self.eps, &mut stats);
                    kernels::add_norm_backward(dy, n, dx, weight, &stats, &mut dw, &mut db);
                    (dw, db)
                })
                .collect();
            let (mut dw, mut db) = (vec![0.0; n], vec![0.0; n]);
            for (part_w, part_b) in parts {
                for i in 0..n {
                    dw[i] += part_w[i];
                    db[i] += part_b[i];
                }
            }
            Ok((dx, dw, db))
        })
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, x_layout, NAME)?;
        let weight = values(weight, weight_layout, NAME)?;
        let bias = values(bias, bias_layout, NAME)?;
        if weight.len() != self.channels || bias.len() != self.channels {
            candle_core::bail!(
                "{NAME} of {} channels has {} weights, {} biases",
                self.channels,
                weight.len(),
                bias.len()
            );
        }
        let mut y = vec![0.0; x.len()];
        let size = self.channels.max(1) * ROWS;
        let tasks = x.par_chunks(size).zip(y.par_chunks_mut(size));
        tasks.for_each(|(x, y)| kernels::norm(x, y, weight, bias, self.eps));
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, db) = self.gradients(x, weight, dy)?;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dw, weight.shape(), device)?),
            Some(Tensor::from_vec(db, bias.shape(), device)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_devices, check_finite_differences, check_gradients, variable};

    #[test]
    fn equals_the_plain_form_forward_and_backward() {
        // Not 2 channels: they are always normalized to -1 and 1, and their gradient is a rounding error.
        for (rows, channels) in [(1, 1), (3, 3), (5, 7), (200, 24), (130, 65)] {
            let x = variable(&[2, rows, channels], 1, 2.0);
            let weight = variable(&[channels], 2, 1.0);
            let bias = variable(&[channels], 3, 1.0);
            check_gradients(
                &[&x, &weight, &bias],
                |t| layer_norm(t[0], t[1], t[2], 1e-5),
                |t| plain(t[0], t[1], t[2], 1e-5),
            );
        }
    }

    #[test]
    fn devices_agree() {
        for (rows, channels) in [(1, 3), (5, 7), (300, 24), (130, 65)] {
            check_devices(
                &[&[2, rows, channels], &[channels], &[channels]],
                |t| layer_norm(t[0], t[1], t[2], 1e-5),
                |t| plain(t[0], t[1], t[2], 1e-5),
            );
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let (x, weight, bias) = (variable(&[4, 9], 1, 1.0), variable(&[9], 2, 1.0), variable(&[9], 3, 1.0));
        check_finite_differences(&[&x, &weight, &bias], |t| layer_norm(t[0], t[1], t[2], 1e-5));
    }

    /// The standard deviation of a constant row is zero.
    #[test]
    fn the_output_of_a_constant_row_is_the_bias() {
        let x = Tensor::full(3.5f32, (2, 6), &candle_core::Device::Cpu).unwrap();
        let (weight, bias) = (variable(&[6], 1, 1.0), variable(&[6], 2, 1.0));
        let y = layer_norm(&x, weight.as_tensor(), bias.as_tensor(), 1e-5).unwrap();
        let expected: Vec<f32> = bias.to_vec1().unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [expected.clone(), expected]);
    }
}
