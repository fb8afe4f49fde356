//! The definition of the nearest token.

use crate::elementwise::squared_distance;

/// Computes the Euclidean distance of each query to the nearest token, and that token's index: the definition of
/// [`NearestNeighbors::search`](crate::NearestNeighbors::search), which returns the same bits. `tokens` is `[tokens, dims]`,
/// `queries` `[queries, dims]`.
///
/// Tokens are compared by the sum of squared differences in f32. Of equal ones, the token with the lowest index is taken. A token
/// whose sum is NaN or overflows is infinitely far away; if all are, the distance is infinite and the index 0. So the distance is
/// never NaN, and that of a query with NaN is infinite.
///
/// ```
/// use dualad_kernels::nearest_plain;
///
/// let (mut distances, mut indices) = ([0.0; 2], [0; 2]);
/// nearest_plain(&[0.0, 0.0, 3.0, 4.0], 2, &[0.0, 0.0, 3.0, 5.0], &mut distances, &mut indices);
/// assert_eq!((distances, indices), ([0.0, 1.0], [0, 1]));
/// ```
///
/// # Panics
/// If `dims` is 0 or does not divide the length of `tokens` or `queries`, or if the results do not have one element per query.
pub fn nearest_plain(tokens: &[f32], dims: usize, queries: &[f32], distances: &mut [f32], indices: &mut [u32]) {
    check_queries(dims, queries, distances, indices);
    assert!(tokens.len().is_multiple_of(dims), "the tokens of a search");
    for ((query, distance), index) in queries.chunks_exact(dims).zip(distances).zip(indices) {
        let best = nearest_of(tokens, query);
        (*distance, *index) = (best.squared.sqrt(), best.index);
    }
}

/// Checks the sizes of a search.
pub(crate) fn check_queries(dims: usize, queries: &[f32], distances: &[f32], indices: &[u32]) {
    assert!(dims > 0 && queries.len().is_multiple_of(dims), "the queries of a search");
    let count = queries.len() / dims;
    assert!(distances.len() == count && indices.len() == count, "the results of a search");
}

/// The nearest token so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Best {
    pub(crate) squared: f32,
    pub(crate) index: u32,
}

impl Best {
    /// No token, or only infinitely distant ones.
    pub(crate) const NONE: Self = Self { squared: f32::INFINITY, index: 0 };

    /// Takes a token if it is nearer, or as near with a lower index. Infinite and NaN distances are not taken.
    pub(crate) fn offer(&mut self, squared: f32, index: u32) {
        if squared < self.squared || (squared == self.squared && index < self.index) {
            *self = Self { squared, index };
        }
    }
}

/// Returns the nearest token of one query.
pub(crate) fn nearest_of(tokens: &[f32], query: &[f32]) -> Best {
    let mut best = Best::NONE;
    for (index, token) in (0..).zip(tokens.chunks_exact(query.len())) {
        best.offer(squared_distance(query, token, None), index);
    }
    best
}
