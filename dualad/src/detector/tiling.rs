//! Large pictures with small defects: cut into tiles that overlap, scored tile by tile, and put together again.

use dualad_data::image::Picture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::score::POOL;

/// How pictures are cut. A model is trained and used with the same tiling: it is a part of its configuration.
///
/// ```
/// use dualad::Detector;
/// use dualad::detector::Tiling;
///
/// let tiling = Tiling::new(512)?.overlap(0.5)?;
/// assert_eq!((tiling.tile, tiling.overlap), (512, 0.5));
/// let fit = Detector::fit("pictures").tiling(Some(tiling));
/// assert!(Tiling::new(8).unwrap_err().to_string().contains("at least 16 pixels"));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tiling {
    /// A tile's side in pixels of the picture; a picture that is no larger is one tile, and the last tiles are moved
    /// inwards to end with it.
    pub tile: u32,
    /// The share of a tile that it has in common with the next one, from 0 to 0.9, at least.
    pub overlap: f64,
}

/// A tile's first pixel in the picture, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// More tiles than this are no inspection of one picture.
const MOST_TILES: u64 = 1 << 16;

impl Tiling {
    /// Tiles of this side that overlap by a quarter.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a side below 16 pixels.
    pub fn new(tile: u32) -> Result<Self> {
        let tiling = Self { tile, overlap: 0.25 };
        tiling.validate()?;
        Ok(tiling)
    }

    /// Another overlap.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless it is from 0 to 0.9.
    pub fn overlap(mut self, share: f64) -> Result<Self> {
        self.overlap = share;
        self.validate()?;
        Ok(self)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.tile < 16 {
            return Err(Error::invalid_argument("tiling.tile", self.tile, "must be at least 16 pixels"));
        }
        if !(0.0..=0.9).contains(&self.overlap) {
            return Err(Error::invalid_argument("tiling.overlap", self.overlap, "must be from 0 to 0.9"));
        }
        Ok(())
    }

    /// The tiles of a picture, row by row.
    pub(crate) fn tiles(&self, width: u32, height: u32) -> Result<Vec<Tile>> {
        let (across, down) = (self.starts(width), self.starts(height));
        if across.len() as u64 * down.len() as u64 > MOST_TILES {
            let reason = format!("a picture of {width}x{height} pixels has more than {MOST_TILES} tiles");
            return Err(Error::invalid_argument("tiling.tile", self.tile, reason));
        }
        let (tile_width, tile_height) = (self.tile.min(width), self.tile.min(height));
        let row = |&y: &u32| {
            let tile = move |&x: &u32| Tile { x, y, width: tile_width, height: tile_height };
            across.iter().map(tile).collect::<Vec<_>>()
        };
        Ok(down.iter().flat_map(row).collect())
    }

    /// Where tiles start along one side.
    fn starts(&self, length: u32) -> Vec<u32> {
        let Some(last) = length.checked_sub(self.tile).filter(|&last| last > 0) else { return vec![0] };
        let step = ((f64::from(self.tile) * (1.0 - self.overlap)).floor() as u32).max(1);
        let count = last.div_ceil(step);
        // Spread evenly: the overlap is the wanted one at least, and the last tile ends with the picture.
        (0..=count).map(|index| (u64::from(index) * u64::from(last) / u64::from(count)) as u32).collect()
    }
}

impl Tile {
    /// The tile's part of the picture.
    pub(crate) fn cut(&self, picture: &Picture) -> Result<Picture> {
        let (stride, first, row) = (picture.width() as usize * 3, self.x as usize * 3, self.width as usize * 3);
        let rows = picture.pixels().chunks_exact(stride).skip(self.y as usize).take(self.height as usize);
        let pixels: Vec<u8> = rows.flat_map(|pixels| &pixels[first..first + row]).copied().collect();
        Ok(Picture::new(self.width, self.height, pixels)?)
    }
}

/// A map of a whole picture that grows tile by tile: where tiles overlap, their mean, each weighted by how far inside it a
/// pixel lies.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    sums: Vec<f32>,
    weights: Vec<f32>,
    picture: [u32; 2],
}

impl Merge {
    /// For a picture of this width and height whose first tile has maps of `[rows, columns]`.
    pub(crate) fn new(width: u32, height: u32, tile: Tile, [rows, columns]: [usize; 2]) -> Result<Self> {
        let scaled = |length: u32, tile: u32, cells: usize| {
            (f64::from(length) / f64::from(tile) * cells as f64).round().max(1.0) as usize
        };
        let (rows, columns) = (scaled(height, tile.height, rows), scaled(width, tile.width, columns));
        let mut buffers = [Vec::new(), Vec::new()];
        for buffer in &mut buffers {
            let no_memory = |_| {
                let reason = format!("there is no memory for a map of {columns} x {rows} values; choose larger tiles");
                Error::invalid_argument("tiling.tile", tile.width, reason)
            };
            let length = rows.saturating_mul(columns);
            buffer.try_reserve_exact(length).map_err(no_memory)?;
            buffer.resize(length, 0.0);
        }
        let [sums, weights] = buffers;
        Ok(Self { rows, columns, sums, weights, picture: [width, height] })
    }

    /// Adds a tile's map `[rows, columns]`.
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

    /// The merged map.
    pub(crate) fn finish(mut self) -> Vec<f32> {
        for (sum, weight) in self.sums.iter_mut().zip(&self.weights) {
            // Every pixel's centre lies in a tile.
            *sum = if *weight > 0.0 { *sum / weight } else { 0.0 };
        }
        self.sums
    }
}

/// The map's cells whose centres lie in a tile: each with its place in the tile's own map, and its weight.
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
        // Never nothing: at the picture's edge there is no other tile.
        let weight = (inside.min(length - inside) / length).max(1e-3);
        Some((cell, place, weight as f32))
    };
    (first..last).filter_map(cell).collect()
}

/// Bilinear, with the edge's values beyond the edge.
fn sample(map: &[f32], rows: usize, columns: usize, y: f64, x: f64) -> f32 {
    let axis = |place: f64, cells: usize| {
        let place = place.clamp(0.0, (cells - 1) as f64);
        let first = (place as usize).min(cells - 1);
        (first, (first + 1).min(cells - 1), (place - first as f64) as f32)
    };
    let ((top, bottom, below), (left, right, beside)) = (axis(y, rows), axis(x, columns));
    let row = |row: usize| map[row * columns + left] * (1.0 - beside) + map[row * columns + right] * beside;
    row(top) * (1.0 - below) + row(bottom) * below
}

/// The largest mean of a square of the score's size: what a map of one tile gives as its image score.
pub(crate) fn pooled_maximum(map: &[f32], rows: usize, columns: usize) -> f32 {
    let (high, wide) = (POOL.min(rows), POOL.min(columns));
    // Each row's running sums, and then the columns': in f64, where adding and taking away again leaves no trace.
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

    #[test]
    fn tiles_cover_the_picture_and_overlap_as_asked() {
        for (width, height) in [(1, 1), (64, 64), (65, 64), (100, 333), (64, 1000), (1000, 17)] {
            for overlap in [0.0, 0.25, 0.9] {
                let tiling = Tiling::new(64).unwrap().overlap(overlap).unwrap();
                let tiles = tiling.tiles(width, height).unwrap();
                let mut covered = vec![false; (width * height) as usize];
                for tile in &tiles {
                    assert!(tile.width == width.min(64) && tile.height == height.min(64));
                    for y in tile.y..tile.y + tile.height {
                        let row = (y * width + tile.x) as usize;
                        covered[row..row + tile.width as usize].fill(true);
                    }
                }
                assert!(covered.iter().all(|&covered| covered), "{width}x{height} {overlap}");
                let row: Vec<_> = tiles.iter().filter(|tile| tile.y == 0).collect();
                for pair in row.windows(2) {
                    let common = f64::from(pair[0].x + pair[0].width) - f64::from(pair[1].x);
                    assert!(common >= (overlap * 64.0).floor(), "{width}x{height} {overlap}: {common}");
                }
            }
        }
        assert!(Tiling::new(15).is_err());
        for overlap in [-0.1, 0.91, f64::NAN, f64::INFINITY] {
            assert!(Tiling::new(64).unwrap().overlap(overlap).is_err());
        }
        assert!(Tiling::new(16).unwrap().overlap(0.9).unwrap().tiles(100_000, 100_000).is_err());
    }

    #[test]
    fn a_cut_is_the_pictures_part() {
        let pixels: Vec<u8> = (0..7 * 5 * 3).map(|value| value as u8).collect();
        let picture = Picture::new(7, 5, pixels).unwrap();
        let part = Tile { x: 2, y: 1, width: 3, height: 2 }.cut(&picture).unwrap();
        assert_eq!((part.width(), part.height()), (3, 2));
        assert_eq!(part.pixels()[..3], picture.pixels()[(7 + 2) * 3..(7 + 3) * 3]);
        assert_eq!(part.pixels()[9..12], picture.pixels()[(14 + 2) * 3..(14 + 3) * 3]);
    }

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
        for (rows, columns) in [(1, 1), (16, 16), (5, 40), (33, 17), (40, 50)] {
            let map = Random::new(1).stream().normal(rows * columns);
            let (high, wide) = (POOL.min(rows), POOL.min(columns));
            let mut expected = f32::NEG_INFINITY;
            for top in 0..=rows - high {
                for left in 0..=columns - wide {
                    let square = (top..top + high).flat_map(|row| &map[row * columns + left..][..wide]);
                    expected = expected.max(square.sum::<f32>() / (high * wide) as f32);
                }
            }
            assert!((pooled_maximum(&map, rows, columns) - expected).abs() < 1e-5, "{rows}x{columns}");
        }
    }
}
