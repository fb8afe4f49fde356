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

impl Residual<'_> {
    /// Returns the pointer to row 0 from a column on, for the rows `first` to `first + rows - 1` of the product.
    ///
    /// # Panics
    /// If the period is 0, or the matrix lacks one of these rows or columns.
    pub(crate) fn pointer(&self, [first, rows]: [usize; 2], [column, columns]: [usize; 2]) -> *const f32 {
        assert!(self.period > 0, "the residual of a product");
        let reached = if first + rows > self.period { self.period } else { first + rows };
        let from = &self.values[column..];
        assert!((reached - 1) * self.stride + columns <= from.len(), "the residual of a product");
        from.as_ptr()
    }
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
