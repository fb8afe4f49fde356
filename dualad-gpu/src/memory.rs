//! The memory module's read, with its gradients: kernels for the steps that work row by row, and the device's matrix products
//! between them.

use candle_core::{CustomOp1, D, DType, Layout, Result, Shape, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::{forward_passes, on_tensors_to};
use crate::source::Source;

params! {
    struct MemoryParams {
        rows: u32,
        length: u32,
        inverse_temperature: f32,
        threshold: f32,
    }
}

/// A memory read: the softmax over slots of cosine(x, slot) / temperature, weights up to 1 / slots set to 0, the rest divided by
/// their sum, times the slots. Differentiable in `x` and `slots`; computed in f32.
#[derive(Debug, Clone, Copy)]
pub struct MemoryRead<'a> {
    /// The queries, `[.., channels]`.
    pub x: &'a Tensor,
    /// The memory, `[slots, channels]`.
    pub slots: &'a Tensor,
    /// The softmax temperature.
    pub temperature: f64,
}

impl MemoryRead<'_> {
    /// Returns the mixtures of slots, of the shape and dtype of `x`.
    ///
    /// # Errors
    /// Returns candle's error if the shapes do not fit or the device fails.
    pub fn run(&self) -> Result<Tensor> {
        let Self { x, slots, temperature } = *self;
        let (count, channels) = slots.dims2()?;
        if x.dim(D::Minus1)? != channels || count == 0 || channels == 0 {
            candle_core::bail!("memory read: tokens {:?} over memory {:?}", x.dims(), slots.dims());
        }
        let (wide_x, wide_slots) = (x.to_dtype(DType::F32)?, slots.to_dtype(DType::F32)?);
        let unit = wide_x.reshape(((), channels))?.contiguous()?.apply_op1(RowOperation::UnitNorm)?;
        let unit_slots = wide_slots.contiguous()?.apply_op1(RowOperation::UnitNorm)?;
        let cosines = unit.matmul(&unit_slots.t()?)?;
        let weights = cosines.apply_op1(RowOperation::Address { inverse_temperature: 1.0 / temperature })?;
        weights.matmul(&wide_slots)?.reshape(x.shape())?.to_dtype(x.dtype())
    }
}

/// An operation on each row of a matrix.
#[derive(Clone, Copy)]
enum RowOperation {
    /// Divides a row by its norm.
    UnitNorm,
    /// Turns a row of cosines into the weights of the slots.
    Address { inverse_temperature: f64 },
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
}

impl RowOperation {
    fn kernel(self, direction: Direction, dims: &[usize]) -> Result<Launch> {
        let kernel = match (self, direction) {
            (Self::UnitNorm, Direction::Forward) => "unit_forward_float",
            (Self::UnitNorm, Direction::Backward) => "unit_backward_float",
            (Self::Address { .. }, Direction::Forward) => "address_forward_float",
            (Self::Address { .. }, Direction::Backward) => "address_backward_float",
        };
        let inverse_temperature = match self {
            Self::UnitNorm => 1.0,
            Self::Address { inverse_temperature } => inverse_temperature,
        };
        let params = MemoryParams {
            rows: size(dims[0])?,
            length: size(dims[1])?,
            inverse_temperature: inverse_temperature as f32,
            threshold: (1.0 / dims[1] as f64) as f32,
        };
        Ok(Launch::new(Source::Memory, kernel, &params).warp_per_row(dims[0]))
    }

    fn forward(self, [x]: [&Layout; 1], _: DType) -> Result<(Launch, Shape)> {
        Ok((self.kernel(Direction::Forward, x.dims())?, x.shape().clone()))
    }
}

impl CustomOp1 for RowOperation {
    fn name(&self) -> &'static str {
        "memory read"
    }

    forward_passes!(x x_layout);

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let launch = self.kernel(Direction::Backward, x.dims())?;
        let output = Output { count: x.elem_count(), dtype: DType::F32 };
        let [dx] = on_tensors_to(&launch, &[x, &dy.contiguous()?], [output])?;
        Ok(Some(dx.reshape(x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        MemoryParams::assert_matches(Source::Memory);
    }

    #[test]
    fn kernels_exist() {
        for operation in [RowOperation::UnitNorm, RowOperation::Address { inverse_temperature: 1.0 }] {
            for direction in [Direction::Forward, Direction::Backward] {
                assert_declares(Source::Memory, &operation.kernel(direction, &[2, 3]).unwrap().kernel);
            }
        }
    }
}
