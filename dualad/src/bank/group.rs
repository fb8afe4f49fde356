//! The tokens of a category at one scale, and their search.

use dualad_kernels::{Isa, NearestNeighbors};

/// The tokens of a category at one scale.
#[derive(Debug)]
pub(super) struct Group {
    /// `[tokens, dims]`.
    pub(super) tokens: Vec<f32>,
    /// The row and the column of each token in its image, from 0 to 1, `[tokens, 2]`.
    pub(super) positions: Vec<f32>,
    /// The factor of the distance to each token.
    pub(super) weights: Vec<f32>,
    /// The distance of two equal tokens that lie the height or the width of the image apart.
    pub(super) position_scale: f32,
    search: NearestNeighbors,
    /// The search among the first tokens, for votes.
    votes: NearestNeighbors,
}

/// The number of tokens of a category that images vote by. The first tokens that k-center selects cover all of them coarsely, which
/// tells categories apart; all tokens would take more time than the search itself where there are many categories.
const VOTE_TOKENS: usize = 500;
/// The number of rows, and of columns, whose tokens vote. More of them would only take time.
const VOTERS: usize = 8;

/// The tokens of an image at one scale.
#[derive(Debug)]
pub(super) struct Queries {
    /// `[tokens, dims]`.
    pub(super) tokens: Vec<f32>,
    /// As those of [`Group`].
    pub(super) positions: Vec<f32>,
    pub(super) dims: usize,
    /// The rows and columns.
    pub(super) grid: [usize; 2],
}

impl Group {
    pub(super) fn new(tokens: Vec<f32>, positions: Vec<f32>, weights: Vec<f32>, position_scale: f32) -> Self {
        let dims = tokens.len() / weights.len().max(1);
        let located = located(&tokens, &positions, dims, position_scale);
        let first = &tokens[..tokens.len().min(VOTE_TOKENS * dims)];
        let search = NearestNeighbors::new(Isa::best(), &located, dims + 2);
        let votes = NearestNeighbors::new(Isa::best(), first, dims.max(1));
        Self { tokens, positions, weights, position_scale, search, votes }
    }

    /// Returns the distance of each query to the nearest token, and that token.
    pub(super) fn nearest(&self, queries: &Queries) -> (Vec<f32>, Vec<u32>) {
        let (mut distances, mut nearest) = (vec![0.0; queries.count()], vec![0u32; queries.count()]);
        let located = located(&queries.tokens, &queries.positions, queries.dims, self.position_scale);
        self.search.search(&located, &mut distances, &mut nearest);
        (distances, nearest)
    }

    /// Returns the distance of each voter `[voters, dims]` to the nearest of the tokens that images vote by. Positions do not count:
    /// they would weigh differently in each category.
    pub(super) fn vote_distances(&self, voters: &[f32], dims: usize) -> Vec<f32> {
        let count = voters.len() / dims.max(1);
        let (mut distances, mut nearest) = (vec![0.0; count], vec![0u32; count]);
        self.votes.search(voters, &mut distances, &mut nearest);
        distances
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

    /// Returns the tokens `[voters, dims]` of up to [`VOTERS`] x [`VOTERS`] cells that are spread over the rows and the columns.
    pub(super) fn voters(&self) -> Vec<f32> {
        let spread = |cells: usize| {
            let count = cells.min(VOTERS);
            // Half a step from each end.
            (0..count).map(move |index| (2 * index + 1) * cells / (2 * count))
        };
        let [rows, columns] = self.grid;
        let cells = spread(rows).flat_map(|row| spread(columns).map(move |column| row * columns + column));
        cells.flat_map(|cell| &self.tokens[cell * self.dims..][..self.dims]).copied().collect()
    }
}

/// Returns the positions of the cells of a grid: row and column of each center, from 0 to 1, `[rows * columns, 2]`.
fn positions([rows, columns]: [usize; 2]) -> Vec<f32> {
    let center = |cell: usize, cells: usize| (cell as f32 + 0.5) / cells as f32;
    let row = |row: usize| (0..columns).flat_map(move |column| [center(row, rows), center(column, columns)]);
    (0..rows).flat_map(row).collect()
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

    #[test]
    fn positions_are_those_of_the_centers() {
        assert_eq!(positions([1, 2]), [0.5, 0.25, 0.5, 0.75]);
        assert_eq!(located(&[1.0, 2.0], &[0.5, 0.25, 0.5, 0.75], 1, 4.0), [1.0, 2.0, 1.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn voters_are_spread_over_rows_and_columns() {
        let voters = |[rows, columns]: [usize; 2]| {
            let tokens = (0..rows * columns).map(|x| x as f32).collect();
            Queries::new(tokens, [rows, columns], 1).voters()
        };
        assert_eq!(voters([1, 3]), [0.0, 1.0, 2.0]);
        assert!(voters([0, 0]).is_empty());
        for side in [28, 40, 64] {
            let found = voters([side, side]);
            let kinds = |of: fn(usize, usize) -> usize| {
                found.iter().map(|&x| of(x as usize, side)).collect::<std::collections::BTreeSet<usize>>().len()
            };
            assert_eq!((found.len(), kinds(|x, side| x / side), kinds(|x, side| x % side)), (64, 8, 8));
        }
    }
}
