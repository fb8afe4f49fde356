//! Datasets of industrial inspection: reading, checking, loading, drawing and generating. The crate contains no neural network.
//!
//! [`Dataset::open`] reads MVTec AD, VisA and your own folders. [`Dataset::check`] reports faults of the files before training.
//! A [`Loader`] decodes, resizes and normalizes images in parallel:
//!
//! ```no_run
//! use dualad_data::image::Preprocess;
//! use dualad_data::{Dataset, Loader, Split};
//!
//! let dataset = Dataset::open("mvtec")?;
//! let report = dataset.check().run()?.into_result()?; // the error lists all fatal faults
//! for finding in &report.findings {
//!     eprintln!("{finding}");
//! }
//!
//! let loader = Loader::new(dataset.samples(Split::Train).cloned(), Preprocess::new(224, 224)?).shuffle(42);
//! for epoch in 0..10 {
//!     for batch in loader.batches(epoch) {
//!         let batch = batch?;
//!         let _input: &[f32] = &batch.pixels; // [batch.len(), 3, 224, 224]
//!     }
//! }
//! # Ok::<(), dualad_data::Error>(())
//! ```
//!
//! # Cargo features
//!
//! All are on by default, and the crate builds without any of them.
//!
//! | feature | content |
//! |---|---|
//! | `bmp`, `gif`, `jpeg`, `png`, `pnm`, `tiff`, `webp` | reading this image format; `tiff` includes `jpeg` |
//! | `render` | heat maps, outlines and PNG files; includes `png` |
//! | `synthetic` | the generator of synthetic datasets; includes `render` |
//!
//! Reading a file of a format that is left out returns [`Error::FormatDisabled`].

mod cancel;
mod check;
mod dataset;
mod error;
mod finding;
pub mod image;
mod image_name;
mod layout;
mod loader;
mod parallel;
pub mod random;
#[cfg(feature = "render")]
pub mod render;
mod sample;
mod saturation;
#[cfg(all(feature = "render", feature = "tiff"))]
mod submission;
#[cfg(feature = "synthetic")]
pub mod synthetic;
mod text;

/// The `image` crate, whose types [`image`], `render` and `synthetic` use. Types of another version of it do not match.
#[doc(no_inline)]
pub use ::image as image_crate;
pub use cancel::Cancel;
pub use check::{Check, Report};
pub use dataset::Dataset;
pub use error::{Error, Result};
pub use finding::{Finding, FindingKind, Severity};
pub use image::MaskRule;
pub use image_name::{IMAGE_ENDINGS, OTHER_IMAGE_ENDINGS, is_image_name, is_other_image_name};
pub use layout::Layout;
pub use loader::{Batch, Batches, Loader, OnError};
pub use random::{Random, Sequence, Stream};
pub use sample::{Category, Label, Sample, Split};
pub use saturation::{SaturatedDefect, Saturations};
#[cfg(all(feature = "render", feature = "tiff"))]
pub use submission::PrivateImage;
