//! The sizes of one attention head.

use crate::attention::mask::NeighborMask;

/// The distances, in elements, between the rows of an attention's matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionStrides {
    /// Between two queries.
    pub query: usize,
    /// Between two keys.
    pub key: usize,
    /// Between two values.
    pub value: usize,
    /// Between two output rows.
    pub output: usize,
}

impl AttentionStrides {
    /// Returns strides that are all `stride`.
    pub fn all(stride: usize) -> Self {
        Self { query: stride, key: stride, value: stride, output: stride }
    }
}

/// The sizes of one attention head.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// The number of queries.
    pub queries: usize,
    /// The number of keys, and of values.
    pub keys: usize,
    /// The channels of the head.
    pub width: usize,
    /// The distances between rows.
    pub strides: AttentionStrides,
    /// The keys that a query must not attend to.
    pub mask: Option<NeighborMask>,
}
