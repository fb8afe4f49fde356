//! The operations that follow a matrix product.

use crate::activation::Activation;

/// A matrix that is added to a product.
#[derive(Debug, Clone, Copy)]
pub struct Residual<'a> {
    /// The rows, which begin `stride` elements apart.
    pub values: &'a [f32],
    /// The distance between two rows, in elements.
    pub stride: usize,
    /// The number of rows. Row r of the product gets row r modulo `period`.
    pub period: usize,
    /// True to add it after the activation, false to add it before.
    pub last: bool,
}

/// The operations on a product before it is stored: `activation(product + residual)`.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// The matrix that is added.
    pub residual: Option<Residual<'a>>,
    /// The activation function.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// No residual and no activation.
    pub const NONE: Self = Self { residual: None, activation: Activation::Identity };

    /// ReLU without a residual.
    pub const RELU: Self = Self { residual: None, activation: Activation::Relu };
}
