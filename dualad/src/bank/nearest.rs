//! The nearest tokens among some of a bank's.

use rayon::prelude::*;

use crate::ops::matrix::{MatrixShape, multiply_into};

/// The rows of distances that are computed at a time.
const ROWS: usize = 256;

/// Returns, for each of `queries` `[queries, dims]`, the distance to the nearest of `tokens` `[tokens, dims]` that `allowed`
/// admits, and the token's index. `None` if it admits none. `allowed` takes the index of a query and of a token.
pub(super) fn nearest_allowed(
    queries: &[f32],
    tokens: &[f32],
    dims: usize,
    allowed: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Option<(f32, usize)>> {
    let count = tokens.len() / dims.max(1);
    let squares = |rows: &[f32]| -> Vec<f32> {
        rows.chunks_exact(dims.max(1)).map(|row| row.iter().map(|x| x * x).sum()).collect()
    };
    let token_squares = squares(tokens);
    let blocks = queries.par_chunks((ROWS * dims).max(1)).enumerate();
    let block = |(block, queries): (usize, &[f32])| {
        let query_squares = squares(queries);
        let rows = query_squares.len();
        let mut products = vec![0.0; rows * count];
        multiply_into(
            &mut products,
            MatrixShape::dense(rows, count),
            false,
            1.0,
            (queries, MatrixShape::dense(rows, dims)),
            (tokens, MatrixShape::dense(count, dims).transposed()),
        );
        let nearest = |(row, products): (usize, &[f32])| {
            let distances = products.iter().zip(&token_squares).map(|(product, square)| square - 2.0 * product);
            let admitted = distances.enumerate().filter(|&(token, _)| allowed(block * ROWS + row, token));
            let (token, distance) = admitted.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
            Some(((distance + query_squares[row]).max(0.0).sqrt(), token))
        };
        products.chunks_exact(count.max(1)).enumerate().map(nearest).collect::<Vec<_>>()
    };
    blocks.flat_map_iter(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn the_nearest_admitted_token_is_found() {
        let mut random = Random::new(2);
        let (queries, tokens) = (random.stream().normal(300 * 3), random.stream().normal(50 * 3));
        let found = nearest_allowed(&queries, &tokens, 3, |query, token| query % 5 != token % 5);
        assert_eq!(found.len(), 300);
        for (query, found) in found.into_iter().enumerate() {
            let (distance, token) = found.unwrap();
            let of = |token: usize| -> f32 {
                let pairs = queries[query * 3..][..3].iter().zip(&tokens[token * 3..][..3]);
                pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
            };
            let least = (0..50).filter(|token| query % 5 != token % 5).map(of).fold(f32::MAX, f32::min);
            assert!((distance - least).abs() < 1e-3 && (of(token) - least).abs() < 1e-3 && query % 5 != token % 5);
        }
        assert_eq!(nearest_allowed(&queries[..3], &tokens, 3, |_, _| false), [None]);
    }
}
