//! A bank as plain numbers.

use std::ops::Range;

use crate::bank::Bank;
use crate::bank::group::{COARSE_TOKENS, Group, Queries, positions};
use crate::bank::level::{COARSELY_NEAR, Level, MOST_NEAR};
use crate::bank::local::taps;
use crate::parts::{CategoryRule, CategoryTokens, Matrix, StageParts};

/// The tokens and the projection of one scale.
pub(crate) struct LevelParts {
    pub(crate) dims: usize,
    pub(crate) neighborhood: usize,
    pub(crate) stages: Vec<StageParts>,
    pub(crate) offset: Vec<f32>,
    pub(crate) positions: Vec<f32>,
    pub(crate) categories: Vec<CategoryTokens>,
}

impl Bank {
    /// Returns a scale for stage maps of these `grids`, one for each stage of the bank, and tokens on `grid`. `first` is the number of
    /// the model's stages before those of the bank.
    pub(crate) fn level_parts(
        &self,
        level: usize,
        first: usize,
        grids: &[[usize; 2]],
        grid: [usize; 2],
    ) -> Option<LevelParts> {
        let Level { scale, neighborhood, projection, groups } = self.levels.get(level)?;
        let (dims, channels) = (projection.dims(), projection.mean().len());
        let stages: Range<usize> = scale.stages(grids.len());
        let mut start = 0;
        let stages = stages.map(|stage| {
            let width = self.stage_channels.get(stage).copied().unwrap_or(0);
            let columns = start..start + width;
            start += width;
            let rows = projection.components().chunks_exact(channels.max(1));
            let components = rows.flat_map(|row| row.get(columns.clone()).unwrap_or_default()).copied().collect();
            let from = grids.get(stage).copied().unwrap_or(grid);
            let resize = (from != grid).then(|| [resizing(from[0], grid[0]), transposed(resizing(from[1], grid[1]))]);
            StageParts { stage: first + stage, components, resize }
        });
        Some(LevelParts {
            dims,
            neighborhood: *neighborhood,
            stages: stages.collect(),
            offset: projection.offset().to_vec(),
            positions: positions(grid),
            categories: groups.iter().map(category).collect(),
        })
    }

    /// Returns the rule of the category for local tokens on a grid.
    pub(crate) fn category_rule(grid: [usize; 2]) -> CategoryRule {
        CategoryRule {
            cells: Queries::sampled_cells(grid),
            coarse_tokens: COARSE_TOKENS,
            near: COARSELY_NEAR,
            most: MOST_NEAR,
        }
    }
}

fn category(Group { tokens, .. }: &Group) -> CategoryTokens {
    CategoryTokens {
        values: tokens.values.clone(),
        positions: tokens.positions.clone(),
        weights: tokens.weights.clone(),
        position_scale: tokens.position_scale,
    }
}

/// Returns the interpolation of `from` cells to `to` cells, `[to, from]`.
fn resizing(from: usize, to: usize) -> Matrix {
    let mut values = vec![0.0; from * to];
    for (row, (first, second, share)) in taps(from, to).into_iter().enumerate() {
        values[row * from + first] += 1.0 - share;
        values[row * from + second] += share;
    }
    Matrix { rows: to, columns: from, values }
}

fn transposed(Matrix { rows, columns, values }: Matrix) -> Matrix {
    let turned = (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns.max(1)).copied());
    Matrix { rows: columns, columns: rows, values: turned.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizing_interpolates_between_centers() {
        let down = resizing(2, 4);
        assert_eq!(down.values, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        let across = transposed(down);
        assert_eq!((across.rows, across.columns), (2, 4));
        assert_eq!(across.values, [1.0, 0.75, 0.25, 0.0, 0.0, 0.25, 0.75, 1.0]);
    }
}
