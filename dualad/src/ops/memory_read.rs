//! The memory module's read (docs/method.md, section 4.2): a convex combination of slots, weighted by cosine similarity.
//!
//! w = softmax over slots of cos(x, slot) / temperature; w_j = 0 where w_j <= 1 / slots; w = w / sum(w); result = w times the
//! slots. The paper's temperature is 1. Forward and backward passes work on a few tokens at a time: no `[batch, tokens, slots]`
//! tensor is allocated.

use candle_core::{CpuStorage, CustomOp2, D, DType, Layout, Result, Shape, Tensor};
use dualad_kernels::{MIN_NORM, hard_shrink, softmax};
use rayon::prelude::*;

use crate::ops::matrix::{MatrixShape, multiply_into};
use crate::ops::support::{is_cpu_f32, values, widened, with_values};

const NAME: &str = "memory read";
/// Tokens per task. The order of sums depends on it and not on the number of threads.
const TOKENS: usize = 56;

/// Returns the read of `memory`, `[slots, channels]`, for the queries `x`, `[.., channels]`. The result has the shape of `x`.
pub(crate) fn memory_read(x: &Tensor, memory: &Tensor, temperature: f64) -> Result<Tensor> {
    if is_cpu_f32(&[x, memory]) {
        let (slots, channels) = memory.dims2()?;
        if x.dim(D::Minus1)? != channels || slots == 0 || channels == 0 {
            candle_core::bail!("{NAME}: tokens {:?} over memory {:?}", x.dims(), memory.dims());
        }
        return x.contiguous()?.apply_op2(
            &memory.contiguous()?,
            MemoryRead { slots, channels, inverse_temperature: (1.0 / temperature) as f32 },
        );
    }
    if let Some([wide_x, wide_memory]) = widened([x, memory])? {
        return memory_read(&wide_x, &wide_memory, temperature)?.to_dtype(x.dtype());
    }
    if dualad_gpu::supports(&[x, memory]) {
        return dualad_gpu::MemoryRead { x, slots: memory, temperature }.run();
    }
    plain(x, memory, temperature)
}

/// Returns the gradients of `x` and `memory`, of their shapes, for the gradient `dy` of the result. All tensors are f32.
#[cfg(feature = "train")]
pub(crate) fn gradients(x: &Tensor, memory: &Tensor, temperature: f64, dy: &Tensor) -> Result<[Tensor; 2]> {
    if dualad_gpu::supports(&[x, memory, dy]) {
        return dualad_gpu::MemoryRead { x, slots: memory, temperature }.gradients(dy);
    }
    let (slots, channels) = memory.dims2()?;
    let op = MemoryRead { slots, channels, inverse_temperature: (1.0 / temperature) as f32 };
    op.tensor_gradients(&x.contiguous()?, &memory.contiguous()?, dy)
}

/// The plain form; weights are computed in f32 for half precision, too.
pub(crate) fn plain(x: &Tensor, memory: &Tensor, temperature: f64) -> Result<Tensor> {
    let (slots, _) = memory.dims2()?;
    let normalize = |x: &Tensor| {
        let norm = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        // The gradient of sqrt is infinite at zero; `maximum` cuts it off.
        let norm = norm.maximum(f64::from(MIN_NORM))?;
        x.broadcast_div(&norm)
    };
    let (wide_x, wide_memory) = (x.to_dtype(DType::F32)?, memory.to_dtype(DType::F32)?);
    let cosine = normalize(&wide_x)?.broadcast_matmul(&normalize(&wide_memory)?.t()?)?;
    let cosine = (cosine * (1.0 / temperature))?;
    let shifted = cosine.broadcast_sub(&cosine.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?;
    let kept = weights.gt(1.0 / slots as f64)?.to_dtype(DType::F32)?;
    let weights = (weights * kept)?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?.maximum(f64::from(MIN_NORM))?)?;
    weights.broadcast_matmul(&wide_memory)?.to_dtype(x.dtype())
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryRead {
    pub(crate) slots: usize,
    pub(crate) channels: usize,
    pub(crate) inverse_temperature: f32,
}

/// The buffers of a task.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    unit: Vec<f32>,
    /// The weights after the softmax.
    soft: Vec<f32>,
    /// The weights after hard shrinkage and division by the sum.
    weights: Vec<f32>,
    sums: Vec<f32>,
    d_weights: Vec<f32>,
    d_unit: Vec<f32>,
}

/// Writes the rows of `x` divided by their norms to `unit` and returns the norms.
pub(crate) fn unit_rows(x: &[f32], channels: usize, unit: &mut Vec<f32>) -> Vec<f32> {
    unit.clear();
    unit.extend_from_slice(x);
    let rows = unit.chunks_mut(channels);
    rows.map(|row| {
        let norm = dot(row, row).sqrt().max(MIN_NORM);
        row.iter_mut().for_each(|x| *x /= norm);
        norm
    })
    .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// Backpropagates through unit = row / norm: from d_unit (`gradient`) to d_row, whose elements are passed to `emit`.
fn through_norm(gradient: &[f32], unit: &[f32], norm: f32, mut emit: impl FnMut(usize, f32)) {
    // A norm at its lower bound is a constant: the row is zero or nearly so.
    let along = if norm > MIN_NORM { dot(gradient, unit) } else { 0.0 };
    for (index, (gradient, unit)) in gradient.iter().zip(unit).enumerate() {
        emit(index, (gradient - unit * along) / norm);
    }
}

impl MemoryRead {
    fn memory_shape(&self) -> MatrixShape {
        MatrixShape::dense(self.slots, self.channels)
    }

    /// Computes the weights of the tokens: fills `unit`, `soft`, `weights` and `sums` and returns the norms of the tokens.
    fn address(&self, x: &[f32], unit_memory: &[f32], scratch: &mut Scratch) -> Vec<f32> {
        let tokens = x.len() / self.channels;
        let norms = unit_rows(x, self.channels, &mut scratch.unit);
        scratch.soft.clear();
        scratch.soft.resize(tokens * self.slots, 0.0);
        let operands = (
            (scratch.unit.as_slice(), MatrixShape::dense(tokens, self.channels)),
            (unit_memory, self.memory_shape().transposed()),
        );
        let shape = MatrixShape::dense(tokens, self.slots);
        multiply_into(&mut scratch.soft, shape, false, self.inverse_temperature, operands.0, operands.1);
        scratch.soft.chunks_mut(self.slots).for_each(softmax);
        scratch.weights.clear();
        scratch.weights.extend_from_slice(&scratch.soft);
        scratch.sums.clear();
        scratch.sums.extend(scratch.weights.chunks_mut(self.slots).map(hard_shrink));
        norms
    }

    /// Computes the gradients of one task: writes `d_x`, and returns its tokens' part of d_slots (through the weighted sum) and of
    /// d_unit_slots (through the cosines).
    fn gradients(
        &self,
        (x, memory, unit_memory, gradient): (&[f32], &[f32], &[f32], &[f32]),
        d_x: &mut [f32],
        scratch: &mut Scratch,
    ) -> [Vec<f32>; 2] {
        let tokens = x.len() / self.channels;
        let norms = self.address(x, unit_memory, scratch);
        let (address_shape, token_shape) =
            (MatrixShape::dense(tokens, self.slots), MatrixShape::dense(tokens, self.channels));
        let gradient = (gradient, token_shape);

        // The combination: result = weights * memory.
        let mut d_memory = vec![0.0; self.slots * self.channels];
        let weights = (scratch.weights.as_slice(), address_shape.transposed());
        multiply_into(&mut d_memory, self.memory_shape(), false, 1.0, weights, gradient);
        let d_weights = &mut scratch.d_weights;
        d_weights.clear();
        d_weights.resize(tokens * self.slots, 0.0);
        multiply_into(d_weights, address_shape, false, 1.0, gradient, (memory, self.memory_shape().transposed()));

        // Division by the sum, hard shrinkage and softmax, row by row.
        let rows = d_weights.chunks_mut(self.slots).zip(scratch.weights.chunks(self.slots));
        for (((d, weights), soft), &sum) in rows.zip(scratch.soft.chunks(self.slots)).zip(&scratch.sums) {
            // A sum at its lower bound is a constant.
            let mean = if sum > MIN_NORM { dot(d, weights) } else { 0.0 };
            for (d, weight) in d.iter_mut().zip(weights) {
                *d = if *weight > 0.0 { (*d - mean) / sum } else { 0.0 };
            }
            let mean = dot(d, soft);
            d.iter_mut().zip(soft).for_each(|(d, soft)| *d = soft * (*d - mean) * self.inverse_temperature);
        }

        // Cosines.
        scratch.d_unit.clear();
        scratch.d_unit.resize(x.len(), 0.0);
        let d_cosine = (scratch.d_weights.as_slice(), address_shape);
        multiply_into(&mut scratch.d_unit, token_shape, false, 1.0, d_cosine, (unit_memory, self.memory_shape()));
        let mut d_unit_memory = vec![0.0; self.slots * self.channels];
        let d_cosine = (scratch.d_weights.as_slice(), address_shape.transposed());
        let unit = (scratch.unit.as_slice(), token_shape);
        multiply_into(&mut d_unit_memory, self.memory_shape(), false, 1.0, d_cosine, unit);
        let rows = d_x.chunks_mut(self.channels).zip(scratch.d_unit.chunks(self.channels));
        for (((d_x, d_unit), unit), &norm) in rows.zip(scratch.unit.chunks(self.channels)).zip(&norms) {
            through_norm(d_unit, unit, norm, |index, value| d_x[index] = value);
        }
        [d_memory, d_unit_memory]
    }
}

/// Adds the gradient of the slots through the cosines to `d_slots`. `d_units` is the gradient of the slots divided by their norms,
/// `units` these slots, and `norms` their norms.
pub(crate) fn slot_gradient(d_slots: &mut [f32], d_units: &[f32], units: &[f32], norms: &[f32], channels: usize) {
    let rows = d_slots.chunks_mut(channels).zip(d_units.chunks(channels));
    for (((d_slots, d_unit), unit), &norm) in rows.zip(units.chunks(channels)).zip(norms) {
        through_norm(d_unit, unit, norm, |index, value| d_slots[index] += value);
    }
}

impl MemoryRead {
    /// Reads the memory for tokens `[tokens, channels]`.
    #[cfg(feature = "train")]
    pub(crate) fn read(&self, x: &[f32], slots: &[f32], units: &[f32], output: &mut [f32], scratch: &mut Scratch) {
        let size = TOKENS * self.channels;
        for (x, output) in x.chunks(size).zip(output.chunks_mut(size)) {
            self.address(x, units, scratch);
            self.combine(x.len() / self.channels, slots, output, scratch);
        }
    }

    /// Computes the gradient of the tokens, `d_x`. The slots have two gradients: through the weighted sum, and through the cosines.
    /// Returns both, `[d_slots, d_unit_slots]`.
    #[cfg(feature = "train")]
    pub(crate) fn read_backward(
        &self,
        x: &[f32],
        slots: &[f32],
        units: &[f32],
        gradient: &[f32],
        d_x: &mut [f32],
        scratch: &mut Scratch,
    ) -> [Vec<f32>; 2] {
        let size = TOKENS * self.channels;
        let mut sums = [vec![0.0; slots.len()], vec![0.0; slots.len()]];
        for ((x, gradient), d_x) in x.chunks(size).zip(gradient.chunks(size)).zip(d_x.chunks_mut(size)) {
            let part = self.gradients((x, slots, units, gradient), d_x, scratch);
            for (sum, part) in sums.iter_mut().zip(part) {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
        sums
    }

    /// Returns the gradients of `x` and `memory` for that of the result.
    fn tensor_gradients(&self, x: &Tensor, memory: &Tensor, gradient: &Tensor) -> Result<[Tensor; 2]> {
        let gradient = gradient.contiguous()?;
        let (d_x, d_memory) = with_values([x, memory, &gradient], NAME, |[x, memory, gradient]| {
            let mut unit_memory = Vec::new();
            let norms = unit_rows(memory, self.channels, &mut unit_memory);
            let mut d_x = vec![0.0; x.len()];
            let size = TOKENS * self.channels;
            let tasks = d_x.par_chunks_mut(size).zip(x.par_chunks(size)).zip(gradient.par_chunks(size));
            let parts: Vec<[Vec<f32>; 2]> = tasks
                .map_init(Scratch::default, |scratch, ((d_x, x), gradient)| {
                    self.gradients((x, memory, &unit_memory, gradient), d_x, scratch)
                })
                .collect();
            let mut sums = [vec![0.0; memory.len()], vec![0.0; memory.len()]];
            for part in parts {
                for (sum, part) in sums.iter_mut().zip(part) {
                    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
            }
            let [mut d_memory, d_unit] = sums;
            slot_gradient(&mut d_memory, &d_unit, &unit_memory, &norms, self.channels);
            Ok((d_x, d_memory))
        })?;
        let device = x.device();
        Ok([Tensor::from_vec(d_x, x.shape(), device)?, Tensor::from_vec(d_memory, memory.shape(), device)?])
    }

    /// Combines the slots with the weights in `scratch`.
    fn combine(&self, tokens: usize, slots: &[f32], output: &mut [f32], scratch: &Scratch) {
        let weights = (scratch.weights.as_slice(), MatrixShape::dense(tokens, self.slots));
        let shape = MatrixShape::dense(tokens, self.channels);
        multiply_into(output, shape, false, 1.0, weights, (slots, self.memory_shape()));
    }
}

impl CustomOp2 for MemoryRead {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        memory: &CpuStorage,
        memory_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, memory) = (values(x, x_layout, NAME)?, values(memory, memory_layout, NAME)?);
        let mut unit_memory = Vec::new();
        unit_rows(memory, self.channels, &mut unit_memory);
        let mut output = vec![0.0; x.len()];
        let tasks = output.par_chunks_mut(TOKENS * self.channels).zip(x.par_chunks(TOKENS * self.channels));
        tasks.for_each_init(Scratch::default, |scratch, (output, x)| {
            self.address(x, &unit_memory, scratch);
            self.combine(x.len() / self.channels, memory, output, scratch);
        });
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        memory: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [d_x, d_memory] = self.tensor_gradients(x, memory, gradient)?;
        Ok((Some(d_x), Some(d_memory)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_devices, check_finite_differences, check_gradients, variable};
    use proptest::prelude::*;

    #[test]
    fn equals_the_plain_form_forward_and_backward() {
        for (tokens, slots, channels) in [(1, 2, 2), (5, 3, 7), (60, 10, 16), (113, 7, 24), (200, 196, 32)] {
            let (x, memory) = (variable(&[2, tokens, channels], 1, 1.0), variable(&[slots, channels], 2, 1.0));
            for temperature in [1.0, 0.1] {
                let fast = |t: &[&Tensor]| memory_read(t[0], t[1], temperature);
                check_gradients(&[&x, &memory], fast, |t| plain(t[0], t[1], temperature));
            }
        }
    }

    #[test]
    fn devices_agree() {
        for (tokens, slots, channels) in [(5, 3, 7), (60, 10, 16), (113, 7, 24)] {
            for temperature in [1.0, 0.1] {
                check_devices(
                    &[&[2, tokens, channels], &[slots, channels]],
                    |t| memory_read(t[0], t[1], temperature),
                    |t| plain(t[0], t[1], temperature),
                );
            }
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let (x, memory) = (variable(&[1, 3, 4], 1, 1.0), variable(&[5, 4], 2, 1.0));
        check_finite_differences(&[&x, &memory], |t| memory_read(t[0], t[1], 1.0));
        // A lower temperature curves the function more, and finite differences lose accuracy: 0.7, not 0.1.
        check_finite_differences(&[&x, &memory], |t| memory_read(t[0], t[1], 0.7));
    }

    #[test]
    fn a_token_of_zeros_gives_no_nan() {
        let x = candle_core::Var::zeros((1, 2, 4), DType::F32, &candle_core::Device::Cpu).unwrap();
        let memory = variable(&[5, 4], 2, 1.0);
        let y = memory_read(&x, &memory, 0.5).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for tensor in [&y, gradients.get(&x).unwrap(), gradients.get(&memory).unwrap()] {
            assert!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|v| v.is_finite()));
        }
    }

    proptest! {
        /// Weights are not negative and sum to one.
        #[test]
        fn a_read_is_a_convex_combination_of_slots(
            seed in any::<u64>(), tokens in 1usize..20, slots in 2usize..12, channels in 1usize..9,
        ) {
            let (x, memory) = (variable(&[1, tokens, channels], seed, 1.0), variable(&[slots, channels], seed ^ 1, 1.0));
            let op = MemoryRead { slots, channels, inverse_temperature: 1.0 };
            let (x, memory): (Vec<f32>, Vec<f32>) =
                (x.flatten_all().unwrap().to_vec1().unwrap(), memory.flatten_all().unwrap().to_vec1().unwrap());
            let mut unit = Vec::new();
            unit_rows(&memory, channels, &mut unit);
            let mut scratch = Scratch::default();
            op.address(&x, &unit, &mut scratch);
            for (row, soft) in scratch.weights.chunks(slots).zip(scratch.soft.chunks(slots)) {
                prop_assert!(row.iter().all(|&w| (0.0..=1.000_001).contains(&w)));
                // The exception: hard shrinkage removes all slots if all are equally near.
                let spread = soft.iter().any(|&w| w > 1.000_001 / slots as f32);
                prop_assert!(!spread || (row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
