//! Anomaly maps as pictures: heat maps over the image, outlines of masks, strips side by side, PNG files.
//!
//! ```
//! use dualad_data::render::{self, ColourMap, Scale};
//! use dualad_data::image_crate::{GrayImage, Luma, Rgb, RgbImage};
//!
//! let image = RgbImage::from_pixel(64, 64, Rgb([120, 120, 120]));
//! let map: Vec<f32> = (0..14 * 14).map(|token| token as f32).collect();
//! // One scale for every picture of a set, or their colours could not be compared.
//! let scale = Scale::over([map.as_slice()], 1.0, 99.5)?;
//! let heat = render::heat_map(&image, &map, [14, 14], scale, ColourMap::Inferno, 0.5)?;
//!
//! let mask = GrayImage::from_fn(64, 64, |x, y| Luma([if x.max(y) < 20 { 255 } else { 0 }]));
//! let mut outlined = image.clone();
//! render::outline(&mut outlined, &mask, Rgb([0, 255, 0]))?;
//!
//! let folder = tempfile::tempdir()?;
//! render::save_png(&folder.path().join("strip.png"), &render::strip(&[&image, &outlined, &heat])?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::error::shown;

mod colour_map;
mod compose;
mod heat_map;
mod png;

pub use colour_map::ColourMap;
pub use compose::{outline, stack, strip};
pub use heat_map::{Scale, heat_map, heat_map_placed};
pub(crate) use png::encode_png;
pub use png::save_png;

/// What is wrong with the material for a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The map's shape and its number of values disagree, or it is empty.
    #[error(
        "the anomaly map has {found} values, but its shape is {rows} x {columns} (rows x columns); give one value \
         for each cell, and at least one"
    )]
    MapShape {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Values given.
        found: usize,
    },
    /// A value of a map that is not finite.
    #[error("value {index} of anomaly map {map} is {value}; a map must be finite, so look at what computed it")]
    NotFinite {
        /// Which map, from 0.
        map: usize,
        /// Which value, from 0 and row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An argument is out of range.
    #[error("{argument} cannot be {value}: {advice}")]
    Argument {
        /// Which.
        argument: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        advice: &'static str,
    },
    /// Two pictures that belong together differ in size.
    #[error("the mask is {} x {} pixels and the image {} x {} (width x height); resize one to the other",
        mask.0, mask.1, image.0, image.1)]
    Size {
        /// Width and height of the mask.
        mask: (u32, u32),
        /// Width and height of the image.
        image: (u32, u32),
    },
    /// A picture's path is taken by what is no file, and is not replaced.
    #[error(
        "{} is a folder, a device or a link that leads nowhere; name another file, or remove it yourself",
        shown(path)
    )]
    NotAFile {
        /// The path.
        path: std::path::PathBuf,
    },
    /// The picture cannot be encoded.
    #[error("the picture for {} cannot be encoded as PNG: {error}", shown(path))]
    Encode {
        /// The file that was to be.
        path: std::path::PathBuf,
        /// The encoder's word.
        error: image::ImageError,
    },
}
