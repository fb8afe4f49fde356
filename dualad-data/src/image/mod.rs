//! Images: decoding, resizing and normalizing, from a file to the input of a network.
//!
//! ```no_run
//! use dualad_data::image::{Limits, Picture, Preprocess};
//!
//! let picture = Picture::read("screw.png", &Limits::default())?;
//! let preprocess = Preprocess::new(224, 224)?;
//! let pixels = preprocess.pixels(&picture)?; // [3, 224, 224]
//! assert_eq!(pixels.len(), 3 * 224 * 224);
//! # Ok::<(), dualad_data::Error>(())
//! ```

/// Types of [`crate::image_crate`], for images from other sources and for drawing.
#[doc(no_inline)]
pub use image::{GrayImage, Rgb, RgbImage};

#[cfg(feature = "bmp")]
mod bmp;
mod canvas;
pub(crate) mod decode;
mod drawing;
mod format;
mod frame;
pub(crate) mod frames;
#[cfg(feature = "jpeg")]
mod jpeg;
#[cfg(feature = "jpeg")]
mod jpeg_copy;
#[cfg(feature = "jpeg")]
mod jpeg_markers;
#[cfg(feature = "jpeg")]
mod jpeg_segments;
pub(crate) mod levels;
mod limits;
mod mask_rule;
mod memory;
mod normalize;
#[cfg(feature = "png")]
mod png;
mod raster;
mod raw;
mod resize;
#[cfg(feature = "tiff")]
mod tiff;
#[cfg(feature = "tiff")]
mod tiff_kind;
#[cfg(feature = "tiff")]
mod tiff_page;
pub(crate) mod tiff_pages;
#[cfg(feature = "tiff")]
mod tiff_simple;

pub use drawing::{Drawing, Shape};
pub use frame::Frame;
pub use limits::Limits;
pub use mask_rule::MaskRule;
pub use normalize::{IMAGENET_MEAN, IMAGENET_STD};
pub use raster::{Mask, Picture};
pub use raw::{PixelFormat, RawImage};
pub use resize::{AspectRatio, Filter, Placement, Preprocess};
