//! The cutting of large pictures into tiles.

use dualad_data::image::Picture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The cutting of large pictures into overlapping tiles, each of which is an input of the network. A model is trained and used with
/// the same tiling.
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
    /// The side of a tile, in pixels of the picture. A smaller picture is one tile. The last tiles end with the picture.
    pub tile: u32,
    /// The minimum share of a tile that overlaps the next one, from 0 to 0.9.
    pub overlap: f64,
}

/// A rectangle of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The maximum number of tiles of a picture.
const MAX_TILES: u64 = 1 << 16;

impl Tiling {
    /// Returns tiles of this side that overlap by a quarter.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a side below 16 pixels.
    pub fn new(tile: u32) -> Result<Self> {
        let tiling = Self { tile, overlap: 0.25 };
        tiling.validate()?;
        Ok(tiling)
    }

    /// Sets the overlap.
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

    /// Returns the tiles of a picture, row by row.
    pub(crate) fn tiles(&self, width: u32, height: u32) -> Result<Vec<Tile>> {
        let (across, down) = (self.starts(width), self.starts(height));
        if across.len() as u64 * down.len() as u64 > MAX_TILES {
            let reason = format!("a picture of {width}x{height} pixels has more than {MAX_TILES} tiles");
            return Err(Error::invalid_argument("tiling.tile", self.tile, reason));
        }
        let (tile_width, tile_height) = (self.tile.min(width), self.tile.min(height));
        let row = |&y: &u32| {
            let tile = move |&x: &u32| Tile { x, y, width: tile_width, height: tile_height };
            across.iter().map(tile).collect::<Vec<_>>()
        };
        Ok(down.iter().flat_map(row).collect())
    }

    /// Returns the first pixel of each tile along one side.
    fn starts(&self, length: u32) -> Vec<u32> {
        let Some(last) = length.checked_sub(self.tile).filter(|&last| last > 0) else { return vec![0] };
        let step = ((f64::from(self.tile) * (1.0 - self.overlap)).floor() as u32).max(1);
        let count = last.div_ceil(step);
        // Evenly spaced, so that the last tile ends with the picture.
        (0..=count).map(|index| (u64::from(index) * u64::from(last) / u64::from(count)) as u32).collect()
    }
}

impl Tile {
    /// Returns the tile's part of a picture.
    pub(crate) fn cut(&self, picture: &Picture) -> Result<Picture> {
        let (stride, first, row) = (picture.width() as usize * 3, self.x as usize * 3, self.width as usize * 3);
        let rows = picture.pixels().chunks_exact(stride).skip(self.y as usize).take(self.height as usize);
        let pixels: Vec<u8> = rows.flat_map(|pixels| &pixels[first..first + row]).copied().collect();
        Ok(Picture::new(self.width, self.height, pixels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_picture_and_overlap_at_least_as_requested() {
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
    fn a_cut_has_the_pixels_of_its_tile() {
        let pixels: Vec<u8> = (0..7 * 5 * 3).map(|value| value as u8).collect();
        let picture = Picture::new(7, 5, pixels).unwrap();
        let part = Tile { x: 2, y: 1, width: 3, height: 2 }.cut(&picture).unwrap();
        assert_eq!((part.width(), part.height()), (3, 2));
        assert_eq!(part.pixels()[..3], picture.pixels()[(7 + 2) * 3..(7 + 3) * 3]);
        assert_eq!(part.pixels()[9..12], picture.pixels()[(14 + 2) * 3..(14 + 3) * 3]);
    }
}
