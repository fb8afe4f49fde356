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

mod decode;
mod normalise;
mod resize;

pub use decode::{Limits, Mask, Picture};
pub use normalise::{IMAGENET_MEAN, IMAGENET_STD};
pub use resize::{Filter, Fit, Placement, Preprocess};
