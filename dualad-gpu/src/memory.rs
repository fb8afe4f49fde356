//! The memory module's read, with its gradients: kernels for the steps that work row by row, and the device's matrix products
//! between them.

use candle_core::{CustomOp1, D, DType, Layout, Result, Shape, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::{forward_passes, on_tensors_to};
use crate::source::Source;
use crate::support::check_dtype;

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
        let Read { weights, .. } = self.read()?;
        weights.matmul(&self.slots.to_dtype(DType::F32)?)?.reshape(self.x.shape())?.to_dtype(self.x.dtype())
    }

    /// Returns the gradients of `x` and `slots`, of their shapes, for the gradient `dy` of the result. All are f32.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn gradients(&self, dy: &Tensor) -> Result<[Tensor; 2]> {
        for tensor in [self.x, self.slots, dy] {
            check_dtype("the gradient of a memory read", tensor, DType::F32)?;
        }
        let Read { x, unit, slots, unit_slots, cosines, weights } = self.read()?;
        let dy = dy.reshape(x.shape())?;
        let d_weights = dy.matmul(&slots.t()?)?;
        let d_cosines = self.address().gradient(&cosines, &d_weights)?;
        let dx = RowOperation::UnitNorm.gradient(&x, &d_cosines.matmul(&unit_slots)?)?;
        // The slots are read twice: by the mixture and by the cosines.
        let d_unit_slots = d_cosines.t()?.matmul(&unit)?;
        let d_slots = (weights.t()?.matmul(&dy)? + RowOperation::UnitNorm.gradient(&slots, &d_unit_slots)?)?;
        Ok([dx.reshape(self.x.shape())?, d_slots])
    }

    fn address(&self) -> RowOperation {
        RowOperation::Address { inverse_temperature: 1.0 / self.temperature }
    }

    /// Computes the weights of the slots.
    fn read(&self) -> Result<Read> {
        let Self { x, slots, .. } = *self;
        let (count, channels) = slots.dims2()?;
        if x.dim(D::Minus1)? != channels || count == 0 || channels == 0 {
            candle_core::bail!("memory read: tokens {:?} over memory {:?}", x.dims(), slots.dims());
        }
        let x = x.to_dtype(DType::F32)?.reshape(((), channels))?.contiguous()?;
        let slots = slots.to_dtype(DType::F32)?.contiguous()?;
        let (unit, unit_slots) = (x.apply_op1(RowOperation::UnitNorm)?, slots.apply_op1(RowOperation::UnitNorm)?);
        let cosines = unit.matmul(&unit_slots.t()?)?;
        let weights = cosines.apply_op1(self.address())?;
        Ok(Read { x, unit, slots, unit_slots, cosines, weights })
    }
}

/// The steps of a memory read, in f32: the queries `[rows, channels]` and the slots, both also divided by their norms, and the cosines
/// and the weights, `[rows, slots]`.
struct Read {
    x: Tensor,
    unit: Tensor,
    slots: Tensor,
    unit_slots: Tensor,
    cosines: Tensor,
    weights: Tensor,
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

    /// Returns the gradient of `x` for that of the result.
    fn gradient(self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let launch = self.kernel(Direction::Backward, x.dims())?;
        let output = Output { count: x.elem_count(), dtype: DType::F32 };
        let [dx] = on_tensors_to(&launch, &[x, &dy.contiguous()?], [output])?;
        dx.reshape(x.shape())
    }
}

impl CustomOp1 for RowOperation {
    fn name(&self) -> &'static str {
        "memory read"
    }

    forward_passes!(x x_layout);

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        self.gradient(x, dy).map(Some)
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
