//! Dropout. The mask is a function of a random stream: the backward pass computes it again instead of keeping it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use dualad_kernels as kernels;
use rayon::prelude::*;

use crate::ops::support::{StreamBlocks, is_cpu_f32, philox, values};
use crate::random::Stream;

const NAME: &str = "dropout";
/// Elements per task.
const CHUNK: usize = 4096;

/// Sets each element to zero with the given probability and scales the survivors by `1 / (1 - probability)`.
pub(crate) fn dropout(x: &Tensor, probability: f32, stream: Stream) -> Result<Tensor> {
    if probability <= 0.0 {
        return Ok(x.clone());
    }
    if dualad_gpu::supports(&[x]) {
        return dualad_gpu::Dropout { x, probability, stream: philox(stream) }.run();
    }
    if is_cpu_f32(&[x]) {
        return x.contiguous()?.apply_op1(Dropout { probability, stream });
    }
    plain(x, probability, stream)
}

/// The plain form: a product with the mask.
fn plain(x: &Tensor, probability: f32, stream: Stream) -> Result<Tensor> {
    let mask = masked(&vec![1.0; x.elem_count()], probability, stream);
    x.mul(&Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?)
}

struct Dropout {
    probability: f32,
    stream: Stream,
}

/// Returns the values after dropout.
fn masked(x: &[f32], probability: f32, stream: Stream) -> Vec<f32> {
    let mut y = x.to_vec();
    y.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, y)| {
        kernels::dropout(y, probability, StreamBlocks(stream), chunk * CHUNK, None);
    });
    y
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = masked(values(x, layout, NAME)?, self.probability, self.stream);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(dropout(dy, self.probability, self.stream)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::Random;
    use crate::ops::testing::{check_finite_differences, devices, variable, variable_on};
    use crate::random::unit;

    #[test]
    fn drops_the_given_share_and_scales_the_rest() {
        let x = Tensor::ones(100_001, DType::F32, &candle_core::Device::Cpu).unwrap();
        let y: Vec<f32> = dropout(&x, 0.1, Random::new(1).stream()).unwrap().to_vec1().unwrap();
        let dropped = y.iter().filter(|&&y| y == 0.0).count();
        assert!((9_500..10_500).contains(&dropped), "{dropped}");
        assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn the_backward_pass_uses_the_mask_of_the_forward_pass() {
        let x = variable(&[5, 7], 1, 1.0);
        check_finite_differences(&[&x], |t| dropout(t[0], 0.3, Random::new(2).named("mask")));
    }

    /// Element i is dropped if element i of the stream is below the probability.
    fn definition(x: &[f32], probability: f32, stream: Stream) -> Vec<f32> {
        let is_kept = |index: usize| unit(stream.bits(index as u64 / 4)[index % 4]) >= probability;
        let scale = 1.0 / (1.0 - probability);
        x.iter().enumerate().map(|(index, x)| if is_kept(index) { x * scale } else { 0.0 }).collect()
    }

    #[test]
    fn devices_agree_to_the_bit() {
        for device in devices() {
            for count in [1, 7, 4099, 9001] {
                let x = variable_on(&device, &[count], 1, 1.0);
                let stream = Random::new(0x1234_5678_9ABC).named("mask");
                let found: Vec<f32> = dropout(&x, 0.3, stream).unwrap().to_vec1().unwrap();
                let x: Vec<f32> = x.to_vec1().unwrap();
                assert_eq!(found, definition(&x, 0.3, stream), "{device:?}");
            }
        }
    }

    #[test]
    fn the_mask_does_not_depend_on_the_dtype() {
        let x = variable(&[40, 5], 1, 1.0);
        let stream = Random::new(4).stream();
        let zeros = |x: &Tensor| -> Vec<bool> {
            let y = dropout(x, 0.5, stream).unwrap().to_dtype(DType::F32).unwrap();
            y.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|&y| y == 0.0).collect()
        };
        let half = x.to_dtype(DType::BF16).unwrap();
        assert_eq!(zeros(x.as_tensor()), zeros(&half));
    }
}
