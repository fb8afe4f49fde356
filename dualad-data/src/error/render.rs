//! The errors of drawing.

use std::path::PathBuf;

use crate::text::shown;

/// An error of [`crate::render`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The map is empty, or its shape and its number of values disagree.
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
    /// A map has a value that is not finite.
    #[error("value {index} of anomaly map {map} is {value}; a map must be finite, so look at what computed it")]
    NotFinite {
        /// The index of the map, from 0.
        map: usize,
        /// The index of the value in the row-major map, from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An argument is out of range.
    #[error("{argument} cannot be {value}: {advice}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// The value given.
        value: String,
        /// The valid values.
        advice: &'static str,
    },
    /// A mask and its image differ in size.
    #[error("the mask is {} x {} pixels and the image {} x {} (width x height); resize one to the other",
        mask.0, mask.1, image.0, image.1)]
    Size {
        /// Width and height of the mask.
        mask: (u32, u32),
        /// Width and height of the image.
        image: (u32, u32),
    },
    /// The path of a picture names something other than a file, which is not replaced.
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
        /// The file.
        path: PathBuf,
        /// The error of the encoder.
        error: image::ImageError,
    },
}
