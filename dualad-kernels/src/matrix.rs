//! Matrices of weights in either precision.

use crate::gemm::{Epilogue, Packed, Rows};
use crate::int8::{self, PackedBytes};
use crate::precision::Precision;
use crate::simd::isa::Isa;

/// A weight matrix `[outputs, inputs]` with an optional bias, laid out for an instruction set in a precision.
///
/// ```
/// use dualad_kernels::{Epilogue, Isa, Matrix, Precision, Rows};
///
/// let weights: Vec<f32> = (0..64).map(|index| index as f32 / 64.0).collect();
/// let matrix = Matrix::new(Isa::best(), Precision::Int8, &weights, 64, Some(&[0.5]));
/// let mut y = [0.0];
/// matrix.product(&[1.0; 64], Rows::Dense { stride: 64 }, 1, &mut y, 1, Epilogue::NONE);
/// assert!((y[0] - 32.0).abs() < 0.2);
/// ```
#[derive(Debug, Clone)]
pub struct Matrix(Form);

#[derive(Debug, Clone)]
enum Form {
    F32(Packed),
    Int8(PackedBytes),
}

impl Matrix {
    /// Lays out `weight`, `[outputs, inputs]` in row-major order. Rows of fewer than 32 or more than 65,536 inputs stay in f32.
    ///
    /// # Panics
    /// As [`Packed::new`].
    pub fn new(isa: Isa, precision: Precision, weight: &[f32], inputs: usize, bias: Option<&[f32]>) -> Self {
        if precision == Precision::F32 || !PackedBytes::suits([1, inputs]) {
            return Self(Form::F32(Packed::new(isa, weight, inputs, bias)));
        }
        assert!(weight.len().is_multiple_of(inputs), "the sides of a packed matrix");
        let at = |output: usize, input: usize| weight[output * inputs + input];
        Self(Form::Int8(PackedBytes::from_fn(isa, weight.len() / inputs, [1, inputs], bias, at)))
    }

    /// Returns the matrix in f32, for [`Packed::gather`].
    pub fn packed(&mut self) -> Option<&mut Packed> {
        match &mut self.0 {
            Form::F32(packed) => Some(packed),
            Form::Int8(_) => None,
        }
    }

    /// Returns the matrix as bytes.
    pub(crate) fn bytes(&self) -> Option<&PackedBytes> {
        match &self.0 {
            Form::F32(_) => None,
            Form::Int8(packed) => Some(packed),
        }
    }

    /// The length of an input row.
    pub fn inputs(&self) -> usize {
        match &self.0 {
            Form::F32(packed) => packed.inputs(),
            Form::Int8(packed) => packed.inputs(),
        }
    }

    /// The length of an output row.
    pub fn outputs(&self) -> usize {
        match &self.0 {
            Form::F32(packed) => packed.outputs(),
            Form::Int8(packed) => packed.outputs(),
        }
    }

    /// Multiplies rows by the weights, as [`crate::product()`] does.
    ///
    /// # Panics
    /// If a buffer is too small for its rows.
    pub fn product(&self, x: &[f32], rows: Rows, count: usize, y: &mut [f32], stride: usize, epilogue: Epilogue<'_>) {
        match &self.0 {
            Form::F32(packed) => crate::gemm::product(x, rows, count, packed, y, stride, epilogue),
            Form::Int8(packed) => int8::product(x, rows, count, packed, y, stride, epilogue),
        }
    }
}
