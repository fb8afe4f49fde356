//! Training a detector: images of normal parts to a model with thresholds.
//!
//! 1. [`Detector::fit`] returns a [`Fit`], the settings of a run. [`Detector::extend`] returns one that continues a model.
//! 2. [`Fit::run`] trains, scores the held-out images and sets the thresholds: a [`Fitted`].
//! 3. [`Fit::prepare`] is for programs that evaluate during training: a [`PreparedFit`] holds the features of the training
//!    images and gives the [`Trainer`](crate::train::Trainer), the model and the detector.

mod bank;
mod images;
mod outcome;
mod prepared;
mod read;
mod recipe;
mod run;
mod run_folder;
mod settings;
#[cfg(test)]
mod tests;
mod thresholds;

pub use images::TrainingImages;
pub use outcome::{CategoryChange, Fitted};
pub use prepared::PreparedFit;
pub use run_folder::RunFolder;
pub use settings::{Fit, FitProgress};

use crate::detector::Detector;

impl Detector {
    /// Returns a run that trains a new model on normal images: those of a folder, of a dataset, or pictures in memory.
    pub fn fit(images: impl Into<TrainingImages>) -> Fit {
        Fit::new(images.into())
    }

    /// Returns a run that continues the training of this model, on images of all its products *and* of new ones. This
    /// detector does not change.
    pub fn extend(&self, images: impl Into<TrainingImages>) -> Fit {
        Fit::extending(self, images.into())
    }
}
