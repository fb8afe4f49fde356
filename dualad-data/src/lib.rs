//! Datasets of industrial inspection, from files on disk to numbers, and back to pictures. Knows no network.
//!
//! [`Dataset::open`] reads MVTec AD, VisA, and folders of one's own; [`Dataset::check`] says what is wrong with the files
//! before training starts; a [`Loader`] decodes, resizes and normalizes them in parallel:
//!
//! ```no_run
//! use dualad_data::image::Preprocess;
//! use dualad_data::{Dataset, Loader, Split};
//!
//! let dataset = Dataset::open("mvtec")?;
//! let report = dataset.check().run()?.into_result()?; // an error that lists every fatal fault
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

mod cancel;
mod check;
mod dataset;
mod error;
mod finding;
pub mod image;
mod layout;
mod loader;
mod parallel;
pub mod random;
#[cfg(feature = "render")]
pub mod render;
mod sample;
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
pub use layout::Layout;
pub use loader::{Batch, Batches, Loader, OnError};
pub use random::{Random, Sequence, Stream};
pub use sample::{Category, Label, Sample, Split};
