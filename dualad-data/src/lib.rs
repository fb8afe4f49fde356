//! Datasets of industrial inspection, from files on disk to numbers, and back to pictures. Knows no network.
//!
//! [`Dataset::open`] reads MVTec AD, VisA, and folders of one's own; [`Dataset::check`] says what is wrong with the files
//! before training starts; a [`Loader`] decodes, resizes and normalises them in parallel:
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

mod check;
mod dataset;
mod error;
pub mod image;
mod layout;
mod loader;
mod parallel;
mod random;
pub mod render;
pub mod synthetic;

/// The `image` crate, whose pictures [`render`] and [`synthetic`] take and give: another version's do not fit.
#[doc(no_inline)]
pub use ::image as image_crate;
pub use check::{Check, Finding, Kind, Report, Severity};
pub use dataset::{Category, Dataset, Label, MaskRule, Sample, Split};
pub use error::{Error, Result};
pub use layout::Layout;
pub use loader::{Batch, Batches, Cancel, Loader, OnError};

/// What the names of files begin with that are not complete yet: each is renamed once it is, and a process that is killed leaves
/// one.
pub const UNFINISHED: &str = ".dualad-unfinished-";
