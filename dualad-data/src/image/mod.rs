//! From a file to the numbers that a network takes: decode, resize, normalise.
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

/// Of [`crate::image_crate`], for pictures from elsewhere and for [`crate::render`].
#[doc(no_inline)]
pub use image::{GrayImage, Rgb, RgbImage};

mod decode;
mod jpeg;
mod levels;
mod limits;
mod normalise;
mod raster;
mod raw;
mod resize;
mod tiff;

pub(crate) use decode::{orientation_of as orientation, size};
pub(crate) use levels::MaskValues;
pub use limits::Limits;
pub use normalise::{IMAGENET_MEAN, IMAGENET_STD};
pub use raster::{Mask, Picture};
pub use raw::{PixelFormat, RawImage};
pub use resize::{Filter, Fit, Placement, Preprocess};
