//! The merging of tiles' maps into the map of a picture.

use crate::bilinear;
use crate::error::{Error, Result};
use crate::model::Tile;

/// The map of a picture, accumulated tile by tile. Where tiles overlap it is their weighted mean; a pixel's weight grows with
/// its distance from the tile's edge.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    sums: Vec<f32>,
    weights: Vec<f32>,
    picture: [u32; 2],
}

impl Merge {
    /// Makes an empty map for a picture of this width and height whose first tile has maps of `[rows, columns]`.
    pub(crate) fn new(width: u32, height: u32, tile: Tile, [rows, columns]: [usize; 2]) -> Result<Self> {
        let scaled = |length: u32, tile: u32, cells: usize| {
            (f64::from(length) / f64::from(tile) * cells as f64).round().max(1.0) as usize
        };
        let (rows, columns) = (scaled(height, tile.height, rows), scaled(width, tile.width, columns));
        let mut buffers = [Vec::new(), Vec::new()];
        for buffer in &mut buffers {
            let no_memory = |_| {
                let reason = format!(
                    "there is no memory for a map of {columns} x {rows} values; give a smaller image, or choose larger tiles"
                );
                Error::invalid_argument("tiling.tile", tile.width, reason)
            };
            let length = rows.saturating_mul(columns);
            buffer.try_reserve_exact(length).map_err(no_memory)?;
            buffer.resize(length, 0.0);
        }
        let [sums, weights] = buffers;
        Ok(Self { rows, columns, sums, weights, picture: [width, height] })
    }

    /// Adds the map of a tile, `[rows, columns]`.
    pub(crate) fn add(&mut self, tile: Tile, map: &[f32], [rows, columns]: [usize; 2]) {
        let across = spans(tile.x, tile.width, self.picture[0], self.columns, columns);
        let down = spans(tile.y, tile.height, self.picture[1], self.rows, rows);
        for &(row, y, in_row) in &down {
            for &(column, x, in_column) in &across {
                let at = row * self.columns + column;
                let weight = in_row * in_column;
                self.sums[at] += weight * sample(map, rows, columns, y, x);
                self.weights[at] += weight;
            }
        }
    }

    /// Returns the merged map.
    pub(crate) fn finish(mut self) -> Vec<f32> {
        for (sum, weight) in self.sums.iter_mut().zip(&self.weights) {
            // The center of every pixel lies in a tile.
            *sum = if *weight > 0.0 { *sum / weight } else { 0.0 };
        }
        self.sums
    }
}

/// Returns the cells of the map whose centers lie in a tile, each with its position in the tile's map and its weight.
fn spans(start: u32, length: u32, picture: u32, cells: usize, tile_cells: usize) -> Vec<(usize, f64, f32)> {
    let pixels_per_cell = f64::from(picture) / cells as f64;
    let (start, length) = (f64::from(start), f64::from(length));
    let first = ((start / pixels_per_cell).floor().max(0.0) as usize).saturating_sub(1);
    let last = (((start + length) / pixels_per_cell).ceil() as usize).saturating_add(1).min(cells);
    let cell = |cell: usize| {
        let inside = (cell as f64 + 0.5) * pixels_per_cell - start;
        if inside < 0.0 || inside > length {
            return None;
        }
        let place = inside / length * tile_cells as f64 - 0.5;
        // Above zero, because at the picture's edge there is no other tile.
        let weight = (inside.min(length - inside) / length).max(1e-3);
        Some((cell, place, weight as f32))
    };
    (first..last).filter_map(cell).collect()
}

/// Returns the map's value at a position, bilinear.
fn sample(map: &[f32], rows: usize, columns: usize, y: f64, x: f64) -> f32 {
    let ((top, bottom, below), (left, right, beside)) = (bilinear::tap(y, rows), bilinear::tap(x, columns));
    let (below, beside) = (below as f32, beside as f32);
    let row = |row: usize| map[row * columns + left] * (1.0 - beside) + map[row * columns + right] * beside;
    row(top) * (1.0 - below) + row(bottom) * below
}

/// Returns the largest mean of a window of `pool` pixels, `[height, width]`: the image score of a map.
pub(crate) fn pooled_maximum(map: &[f32], rows: usize, columns: usize, pool: [usize; 2]) -> f32 {
    let (high, wide) = (pool[0].min(rows), pool[1].min(columns));
    // Running sums over rows, then over columns, in f64 so that subtraction leaves no rounding error that matters.
    let mut sums = vec![0.0f64; columns];
    let mut largest = f64::NEG_INFINITY;
    for row in 0..rows {
        for column in 0..columns {
            sums[column] += f64::from(map[row * columns + column]);
            if row >= high {
                sums[column] -= f64::from(map[(row - high) * columns + column]);
            }
        }
        if row + 1 < high {
            continue;
        }
        let mut square: f64 = sums[..wide].iter().sum();
        largest = largest.max(square);
        for column in wide..columns {
            square += sums[column] - sums[column - wide];
            largest = largest.max(square);
        }
    }
    (largest / (high * wide) as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::model::Tiling;

    /// Where all tiles agree, the merged map is what they agree on: no seams.
    #[test]
    fn tiles_that_agree_merge_without_seams() {
        for (width, height) in [(64, 64), (200, 130), (64, 500), (97, 65)] {
            let tiling = Tiling::new(64).unwrap();
            let tiles = tiling.tiles(width, height).unwrap();
            let mut merge = Merge::new(width, height, tiles[0], [32, 32]).unwrap();
            // What grows evenly over the picture.
            let value = |x: f64, y: f64| (3.0 + x + 2.0 * y) as f32;
            for &tile in &tiles {
                let at = |index: usize, start: u32, length: u32| {
                    f64::from(start) + (index as f64 + 0.5) * f64::from(length) / 32.0
                };
                let map: Vec<f32> = (0..32 * 32)
                    .map(|index| value(at(index % 32, tile.x, tile.width), at(index / 32, tile.y, tile.height)))
                    .collect();
                merge.add(tile, &map, [32, 32]);
            }
            let (rows, columns) = (merge.rows, merge.columns);
            let map = merge.finish();
            let step = (f64::from(width) / columns as f64, f64::from(height) / rows as f64);
            for row in 1..rows - 1 {
                for column in 1..columns - 1 {
                    let expected = value((column as f64 + 0.5) * step.0, (row as f64 + 0.5) * step.1);
                    let error = (map[row * columns + column] - expected).abs() / expected;
                    // Half a cell at a tile's edge, where its map ends.
                    assert!(error < 0.02, "{width}x{height} {row} {column}: {error}");
                }
            }
        }
    }

    #[test]
    fn one_tile_merges_to_its_own_map() {
        let map = Random::new(0).stream().normal(48 * 32);
        let tile = Tile { x: 0, y: 0, width: 500, height: 300 };
        let mut merge = Merge::new(500, 300, tile, [48, 32]).unwrap();
        merge.add(tile, &map, [48, 32]);
        assert_eq!((merge.rows, merge.columns), (48, 32));
        let merged = merge.finish();
        assert!(merged.iter().zip(&map).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn the_pooled_maximum_is_the_definitions() {
        let sizes = [(1, 1), (16, 16), (5, 40), (33, 17), (40, 50)];
        for ((rows, columns), pool) in sizes.into_iter().flat_map(|size| [(size, [16, 16]), (size, [24, 3])]) {
            let map = Random::new(1).stream().normal(rows * columns);
            let (high, wide) = (pool[0].min(rows), pool[1].min(columns));
            let mut expected = f32::NEG_INFINITY;
            for top in 0..=rows - high {
                for left in 0..=columns - wide {
                    let square = (top..top + high).flat_map(|row| &map[row * columns + left..][..wide]);
                    expected = expected.max(square.sum::<f32>() / (high * wide) as f32);
                }
            }
            assert!((pooled_maximum(&map, rows, columns, pool) - expected).abs() < 1e-5, "{rows}x{columns}");
        }
    }
}
