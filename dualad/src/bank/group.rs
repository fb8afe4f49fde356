//! The tokens of a category at one scale, and their search.

use dualad_kernels::{Isa, NearestNeighbors};

use crate::bank::nearest::nearest_allowed;

/// The tokens of a category at one scale, and their search.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) tokens: Tokens,
    search: NearestNeighbors,
    /// The search among the first tokens, without positions.
    coarse: NearestNeighbors,
}

/// The tokens of a category at one scale.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    /// `[tokens, dims]`.
    pub(super) values: Vec<f32>,
    /// The row and the column of each token in its image, from 0 to 1, `[tokens, 2]`.
    pub(super) positions: Vec<f32>,
    /// The factor of the distance to each token.
    pub(super) weights: Vec<f32>,
    /// The image of each token: from 1 on the held-out images of the model, in their order; after them the training images of the run.
    /// 0 for a training image of an earlier run: a model's file does not have them.
    pub(super) images: Vec<u32>,
    /// The distance of two equal tokens that lie the height or the width of the image apart.
    pub(super) position_scale: f32,
}

/// The number of tokens of a category for its coarse distance from an image. The first tokens that k-center selects cover all of
/// them coarsely. All tokens of all categories would take more time than the search itself where there are many categories.
pub(super) const COARSE_TOKENS: usize = 500;
/// The number of rows, and of columns, of the tokens that stand for an image.
const SAMPLED: usize = 8;

/// The tokens of an image at one scale.
#[derive(Debug)]
pub(super) struct Queries {
    /// `[tokens, dims]`.
    pub(super) tokens: Vec<f32>,
    /// As those of [`Tokens`].
    pub(super) positions: Vec<f32>,
    pub(super) dims: usize,
    /// The rows and columns.
    pub(super) grid: [usize; 2],
}

impl Group {
    pub(super) fn new(tokens: Tokens) -> Self {
        let dims = tokens.values.len() / tokens.count().max(1);
        let first = &tokens.values[..tokens.values.len().min(COARSE_TOKENS * dims)];
        let search = NearestNeighbors::new(Isa::best(), &tokens.located(dims), dims + 2);
        let coarse = NearestNeighbors::new(Isa::best(), first, dims.max(1));
        Self { tokens, search, coarse }
    }

    /// Returns the distance of each query to the nearest token, and that token. Tokens of the image `without` do not count,
    /// unless the category has no others; 0 for all tokens.
    pub(super) fn nearest(&self, queries: &Queries, without: u32) -> (Vec<f32>, Vec<u32>) {
        let (mut distances, mut nearest) = (vec![0.0; queries.count()], vec![0u32; queries.count()]);
        let located = located(&queries.tokens, &queries.positions, queries.dims, self.tokens.position_scale);
        self.search.search(&located, &mut distances, &mut nearest);
        if without != 0 {
            self.skip(without, &located, queries.dims + 2, (&mut distances, &mut nearest));
        }
        (distances, nearest)
    }

    /// Replaces the distances to tokens of an image by those to the nearest of the others. `queries` are `[queries, dims]`.
    fn skip(&self, image: u32, queries: &[f32], dims: usize, (distances, nearest): (&mut [f32], &mut [u32])) {
        let is_own = |token: usize| self.tokens.images.get(token) == Some(&image);
        let own: Vec<usize> = (0..nearest.len()).filter(|&query| is_own(nearest[query] as usize)).collect();
        let of = |query: usize| &queries[query * dims..][..dims];
        let asked: Vec<f32> = own.iter().flat_map(|&query| of(query)).copied().collect();
        let located = self.tokens.located(dims - 2);
        let others = nearest_allowed(&asked, &located, dims, |_, token| !is_own(token));
        let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        for (query, found) in own.into_iter().zip(others) {
            if let Some((_, token)) = found {
                // Differences are more exact than the products by which the token was found.
                distances[query] = square(of(query), &located[token * dims..][..dims]).sqrt();
                nearest[query] = token as u32;
            }
        }
    }

    /// Returns the mean distance of queries to the nearest of the first tokens. Positions do not count.
    pub(super) fn coarse_distance(&self, queries: &Queries) -> f32 {
        let (mut distances, mut nearest) = (vec![0.0; queries.count()], vec![0u32; queries.count()]);
        self.coarse.search(&queries.tokens, &mut distances, &mut nearest);
        mean(&distances)
    }
}

impl Tokens {
    pub(super) fn count(&self) -> usize {
        self.weights.len()
    }

    /// Returns the tokens with their positions; see [`located`].
    pub(super) fn located(&self, dims: usize) -> Vec<f32> {
        located(&self.values, &self.positions, dims, self.position_scale)
    }
}

impl Queries {
    /// Returns the tokens `[rows * columns, dims]` of a grid with their positions.
    pub(super) fn new(tokens: Vec<f32>, grid: [usize; 2], dims: usize) -> Self {
        Self { tokens, positions: positions(grid), dims, grid }
    }

    pub(super) fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Returns the cells of [`Self::sampled`] for a grid.
    pub(super) fn sampled_cells([rows, columns]: [usize; 2]) -> Vec<usize> {
        let spread = |cells: usize| {
            let count = cells.min(SAMPLED);
            // Half a step from each end.
            (0..count).map(move |index| (2 * index + 1) * cells / (2 * count))
        };
        spread(rows).flat_map(|row| spread(columns).map(move |column| row * columns + column)).collect()
    }

    /// Returns the tokens of up to [`SAMPLED`] x [`SAMPLED`] cells that are spread over the rows and the columns.
    pub(super) fn sampled(&self) -> Self {
        let cells = Self::sampled_cells(self.grid);
        let of = |values: &[f32], width: usize| -> Vec<f32> {
            cells.iter().flat_map(|cell| &values[cell * width..][..width]).copied().collect()
        };
        let grid = self.grid.map(|cells| cells.min(SAMPLED));
        Self { tokens: of(&self.tokens, self.dims), positions: of(&self.positions, 2), dims: self.dims, grid }
    }
}

/// Returns the mean of some values, 0 of none.
pub(super) fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

/// Returns the positions of the cells of a grid: row and column of each center, from 0 to 1, `[rows * columns, 2]`.
pub(super) fn positions([rows, columns]: [usize; 2]) -> Vec<f32> {
    let center = |cell: usize, cells: usize| (cell as f32 + 0.5) / cells as f32;
    let mut positions = Vec::with_capacity(2 * rows * columns);
    // Loops: of nested iterators, a memory checker reports branches on values that decide nothing.
    for row in 0..rows {
        for column in 0..columns {
            positions.extend([center(row, rows), center(column, columns)]);
        }
    }
    positions
}

/// Returns tokens with their positions times a scale as two more elements, `[tokens, dims + 2]`.
pub(super) fn located(tokens: &[f32], positions: &[f32], dims: usize, scale: f32) -> Vec<f32> {
    let mut located = Vec::with_capacity(tokens.len() + positions.len());
    for (token, position) in tokens.chunks_exact(dims.max(1)).zip(positions.chunks_exact(2)) {
        located.extend_from_slice(token);
        located.extend(position.iter().map(|x| x * scale));
    }
    located
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn positions_are_those_of_the_centers() {
        assert_eq!(positions([1, 2]), [0.5, 0.25, 0.5, 0.75]);
        assert_eq!(located(&[1.0, 2.0], &[0.5, 0.25, 0.5, 0.75], 1, 4.0), [1.0, 2.0, 1.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn sampled_tokens_are_spread_over_rows_and_columns() {
        let sampled = |[rows, columns]: [usize; 2]| {
            let tokens = (0..rows * columns).map(|x| x as f32).collect();
            Queries::new(tokens, [rows, columns], 1).sampled()
        };
        assert_eq!(sampled([1, 3]).tokens, [0.0, 1.0, 2.0]);
        assert!(sampled([0, 0]).tokens.is_empty());
        for side in [28, 40, 64] {
            let found = sampled([side, side]);
            let kinds = |of: fn(usize, usize) -> usize| {
                found.tokens.iter().map(|&x| of(x as usize, side)).collect::<std::collections::BTreeSet<usize>>().len()
            };
            assert_eq!((found.grid, kinds(|x, side| x / side), kinds(|x, side| x % side)), ([8, 8], 8, 8));
            let place = |cell: f32| [(cell / side as f32).floor(), cell % side as f32].map(|x| (x + 0.5) / side as f32);
            for (cell, position) in found.tokens.iter().zip(found.positions.chunks_exact(2)) {
                assert!(place(*cell).iter().zip(position).all(|(a, b)| (a - b).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn the_tokens_of_an_image_can_be_skipped() {
        let mut random = Random::new(3);
        let (dims, count) = (3, 30);
        let images: Vec<u32> = (0..count as u32).map(|token| token % 4).collect();
        let all = Tokens {
            values: random.stream().normal(count * dims),
            positions: random.stream().normal(count * 2).iter().map(|x| x.abs().min(1.0)).collect(),
            weights: vec![1.0; count],
            images: images.clone(),
            position_scale: 0.5,
        };
        let kept: Vec<usize> = (0..count).filter(|&token| images[token] != 2).collect();
        let rows = |values: &[f32], width: usize| -> Vec<f32> {
            kept.iter().flat_map(|&token| &values[token * width..][..width]).copied().collect()
        };
        let others = Group::new(Tokens {
            values: rows(&all.values, dims),
            positions: rows(&all.positions, 2),
            weights: rows(&all.weights, 1),
            images: Vec::new(),
            position_scale: 0.5,
        });
        let queries = Queries::new(random.stream().normal(20 * dims), [4, 5], dims);
        let group = Group::new(all);
        let (found, nearest) = group.nearest(&queries, 2);
        let (expected, expected_nearest) = others.nearest(&queries, 0);
        assert_ne!(found, group.nearest(&queries, 0).0);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        assert!(nearest.iter().zip(expected_nearest).all(|(&a, b)| a as usize == kept[b as usize]));
        // A category of one image is compared to that image.
        let alone = Group::new(Tokens {
            values: vec![0.0; dims],
            positions: vec![0.5; 2],
            weights: vec![1.0],
            images: vec![2],
            position_scale: 0.0,
        });
        assert_eq!(alone.nearest(&queries, 2), alone.nearest(&queries, 0));
    }
}
