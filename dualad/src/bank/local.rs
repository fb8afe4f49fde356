//! Means of map cells over their neighborhood, and the interpolation to another grid (docs/method.md, section 9).

use std::ops::Range;

use crate::bilinear;

/// Rows of a grid of cells, `[rows * columns, width]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) values: &'a [f32],
    pub(super) grid: [usize; 2],
    pub(super) width: usize,
}

/// Returns the mean of each cell's square of `side` x `side` cells around it. Cells beyond the border do not count.
pub(super) fn averaged(cells: Cells<'_>, side: usize) -> Vec<f32> {
    let Cells { values, grid: [rows, columns], width } = cells;
    if side <= 1 {
        return values.to_vec();
    }
    let reach = side / 2;
    // The mean of a rectangle is the mean of its rows' means: the two directions are separate.
    let along_rows = means(values, columns, reach, |row, column| (row * columns + column) * width, rows, width);
    means(&along_rows, rows, reach, |column, row| (row * columns + column) * width, columns, width)
}

/// Returns the mean over the `reach` neighbors before and after, along lines of `length` cells. `start(line, position)` is the
/// index of a cell's first value.
fn means(
    values: &[f32],
    length: usize,
    reach: usize,
    start: impl Fn(usize, usize) -> usize,
    lines: usize,
    width: usize,
) -> Vec<f32> {
    let mut result = vec![0.0; values.len()];
    for line in 0..lines {
        for position in 0..length {
            let neighbors = neighborhood(position, length, reach);
            let share = 1.0 / neighbors.len() as f32;
            let at = start(line, position);
            let target = &mut result[at..at + width];
            for neighbor in neighbors {
                let from = start(line, neighbor);
                target.iter_mut().zip(&values[from..from + width]).for_each(|(sum, x)| *sum += x * share);
            }
        }
    }
    result
}

/// Adds the cells, interpolated to another grid, to rows of `stride` elements, from element `offset` of each. Bilinear with
/// half-pixel centers.
pub(super) fn add_resized(
    cells: Cells<'_>,
    [rows, columns]: [usize; 2],
    target: &mut [f32],
    stride: usize,
    offset: usize,
) {
    let Cells { values, grid, width } = cells;
    let (down, across) = (taps(grid[0], rows), taps(grid[1], columns));
    let cell = |row: usize, column: usize| &values[(row * grid[1] + column) * width..][..width];
    for (row, &(top, bottom, below)) in down.iter().enumerate() {
        for (column, &(left, right, beside)) in across.iter().enumerate() {
            let start = (row * columns + column) * stride + offset;
            let target = &mut target[start..start + width];
            let corners = [
                (top, left, (1.0 - below) * (1.0 - beside)),
                (top, right, (1.0 - below) * beside),
                (bottom, left, below * (1.0 - beside)),
                (bottom, right, below * beside),
            ];
            for (row, column, share) in corners.into_iter().filter(|(_, _, share)| *share > 0.0) {
                target.iter_mut().zip(cell(row, column)).for_each(|(sum, x)| *sum += x * share);
            }
        }
    }
}

/// Returns [`averaged`] and [`add_resized`] along one axis as a matrix, `[to, from]`.
pub(super) fn averaged_and_resized(from: usize, to: usize, side: usize) -> Vec<f32> {
    let mut values = vec![0.0; to * from];
    for (row, (first, second, share)) in values.chunks_exact_mut(from.max(1)).zip(taps(from, to)) {
        for (cell, share) in [(first, 1.0 - share), (second, share)] {
            let neighbors = neighborhood(cell, from, side / 2);
            let share = share / neighbors.len() as f32;
            row[neighbors].iter_mut().for_each(|sum| *sum += share);
        }
    }
    values
}

/// Returns the cells of a line of `length` that are at most `reach` from a cell.
fn neighborhood(cell: usize, length: usize, reach: usize) -> Range<usize> {
    cell.saturating_sub(reach)..(cell + reach + 1).min(length)
}

/// Returns, for each of `to` cells, the two of `from` cells that it lies between, and the weight of the second.
pub(super) fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let tap = |cell: usize| {
        let (first, second, share) = bilinear::tap((cell as f64 + 0.5) * from as f64 / to as f64 - 0.5, from);
        (first, second, share as f32)
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// The definition, cell by cell.
    fn plain_average(cells: Cells<'_>, side: usize) -> Vec<f32> {
        let Cells { values, grid: [rows, columns], width } = cells;
        let near = |a: usize, b: usize| a.abs_diff(b) <= side / 2;
        let mut result = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                for channel in 0..width {
                    let (mut sum, mut count) = (0.0f64, 0.0);
                    for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                        if near(r, row) && near(c, column) {
                            sum += f64::from(values[(r * columns + c) * width + channel]);
                            count += 1.0;
                        }
                    }
                    result.push((sum / count) as f32);
                }
            }
        }
        result
    }

    #[test]
    fn means_equal_the_definition() {
        for (rows, columns, width, side) in [(1, 1, 1, 3), (1, 7, 2, 3), (5, 4, 3, 1), (6, 5, 3, 3), (9, 8, 2, 5)] {
            let values = Random::new(side as u64).stream().normal(rows * columns * width);
            let cells = Cells { values: &values, grid: [rows, columns], width };
            let (found, expected) = (averaged(cells, side), plain_average(cells, side));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{rows} {columns} {side}");
        }
    }

    #[test]
    fn cells_are_interpolated_between_their_centers() {
        let cells = Cells { values: &[0.0, 8.0], grid: [1, 2], width: 1 };
        let mut target = vec![1.0; 2 * 4 * 2];
        add_resized(cells, [2, 4], &mut target, 2, 1);
        // Half-pixel centers: a quarter of the way, then three quarters. The other element of each row stays.
        assert_eq!(target, [1.0, 1.0, 1.0, 3.0, 1.0, 7.0, 1.0, 9.0, 1.0, 1.0, 1.0, 3.0, 1.0, 7.0, 1.0, 9.0]);
        let mut same = vec![0.0; 2];
        add_resized(cells, [1, 2], &mut same, 1, 0);
        assert_eq!(same, [0.0, 8.0]);
    }

    #[test]
    fn the_matrix_of_an_axis_averages_and_resizes() {
        for (from, to, side) in [(1, 1, 3), (1, 4, 3), (7, 7, 1), (5, 5, 3), (4, 9, 3), (6, 3, 5), (3, 8, 15)] {
            let values = Random::new(from as u64).stream().normal(from);
            let cells = Cells { values: &values, grid: [1, from], width: 1 };
            let mut expected = vec![0.0; to];
            add_resized(Cells { values: &averaged(cells, side), ..cells }, [1, to], &mut expected, 1, 0);
            let matrix = averaged_and_resized(from, to, side);
            for (row, expected) in matrix.chunks(from).zip(expected) {
                let found: f32 = row.iter().zip(&values).map(|(a, b)| a * b).sum();
                assert!((found - expected).abs() < 1e-6, "{from} {to} {side}: {found} {expected}");
            }
        }
    }
}
