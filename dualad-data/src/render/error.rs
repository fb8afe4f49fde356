//! The errors of drawing.

use std::path::PathBuf;

use crate::text::shown;

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
        path: PathBuf,
    },
    /// The picture cannot be encoded.
    #[error("the picture for {} cannot be encoded as PNG: {error}", shown(path))]
    Encode {
        /// The file that was to be.
        path: PathBuf,
        /// The encoder's word.
        error: image::ImageError,
    },
}
