//! The activation functions that an epilogue can apply.

/// The activation function of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x, unchanged.
    Identity,
    /// max(x, 0).
    Relu,
    /// x * sigmoid(x), also called swish.
    Silu,
    /// x * Phi(x): the exact form, with the error function.
    Gelu,
}
