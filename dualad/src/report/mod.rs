//! Reports of a run: a table for a terminal, JSON for programs, and an HTML page.
//!
//! ```
//! use dualad::backbones::Backbone;
//! use dualad::data::Label;
//! use dualad::metrics::Evaluation;
//! use dualad::report::{ImageResult, Report};
//!
//! fn report(evaluation: Evaluation, folder: &std::path::Path) -> dualad::Result<()> {
//!     let mut report = Report::new(evaluation);
//!     report.backbone = Some(Backbone::ResNet18);
//!     report.loss = vec![0.31, 0.12];
//!     let defect = Label::Anomalous("scratch".into());
//!     report.images.push(ImageResult::new("gear", "gear/test/good/000.png", &Label::Normal, 0.21));
//!     report.images.push(ImageResult::new("gear", "gear/test/scratch/000.png", &defect, 0.64));
//!
//!     println!("{}", report.table());
//!     report.save(folder) // report.json and report.html
//! }
//! ```
//!
//! [`Report::worst_misses`] and [`Report::worst_false_alarms`] select the images that deserve a [`ReportPicture`].

mod columns;
mod decisions;
#[cfg(feature = "train")]
mod fill;
mod html;
mod json;
#[cfg(test)]
mod sample;
mod table;
#[cfg(test)]
mod tests;
mod weights;

pub use dualad_store::printable;

use std::collections::BTreeMap;
use std::path::Path;

use dualad_backbones::{Backbone, Provenance};
use dualad_data::Label;

use crate::Precision;
use crate::calibration::{Calibration, LabeledScore, Tally};
use crate::config::Variant;
use crate::error::{Error, Result};
use crate::file::write_atomically;
use crate::metrics::{Evaluation, Measured};
use crate::recipe::Preset;

/// The results of training and evaluation. [`Report::new`] makes a report of metrics. All other fields start empty, and empty
/// fields are left out of the page.
///
/// ```
/// use dualad::data::Label;
/// use dualad::metrics::{ScoredImage, evaluate};
/// use dualad::report::{ImageResult, Report};
///
/// # let (category, height, width) = ("gear", 1, 2);
/// # let map = &[0.1, 0.9];
/// let good = ScoredImage { category, anomalous: false, image_score: 0.21, height, width, map, mask: None };
/// let bad = ScoredImage { anomalous: true, image_score: 0.64, mask: Some(&[0, 1]), ..good };
/// let mut report = Report::new(evaluate(&[good, bad])?);
/// let scratch = Label::Anomalous("scratch".into());
/// report.images.push(ImageResult::new("gear", "gear/test/good/000.png", &Label::Normal, 0.21));
/// report.images.push(ImageResult::new("gear", "gear/test/scratch/000.png", &scratch, 0.64));
///
/// assert_eq!(report.thresholds.pooled, Some(0.64));
/// assert_eq!(report.worst_misses(1), [1]);
/// assert!(report.table().contains("gear"));
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The backbone.
    pub backbone: Option<Backbone>,
    /// The precision that the scores were computed in.
    pub precision: Option<Precision>,
    /// The network's variant.
    pub variant: Option<Variant>,
    /// The preset that the training's recipe started from.
    pub preset: Option<Preset>,
    /// The seed of the run.
    pub seed: u64,
    /// The number of epochs.
    pub epochs: usize,
    /// The number of trained parameters.
    pub parameters: usize,
    /// The number of images that the network was trained on; see [`ModelConfig::train_images`](crate::ModelConfig::train_images).
    pub train_images: usize,
    /// The number of images whose tokens the bank was made of; 0 without a bank.
    pub bank_images: usize,
    /// The number of test images; set by [`Report::new`].
    pub test_images: usize,
    /// The number of test images that the model was trained on, which makes the metrics too good. `None` if it is not known.
    pub trained_test_images: Option<usize>,
    /// The time that each part took.
    pub seconds: Seconds,
    /// The mean training loss of each epoch. JSON needs finite values.
    pub loss: Vec<f64>,
    /// The epoch whose network was evaluated.
    pub reported: Reported,
    /// The metrics.
    pub evaluation: Evaluation,
    /// The thresholds of the image score; [`Report::new`] sets those with the best F1.
    pub thresholds: ReportThresholds,
    /// The decisions on the test images by the model's thresholds, for each category; see [`Report::with_decisions`].
    pub decisions: BTreeMap<String, Tally>,
    /// The test images, in any order.
    pub images: Vec<ImageResult>,
    /// The origin of the backbone's weights.
    pub weights: Option<Provenance>,
    /// Pictures of the anomalous images with the lowest scores, the worst first.
    pub misses: Vec<ReportPicture>,
    /// Pictures of the normal images with the highest scores, the worst first.
    pub false_alarms: Vec<ReportPicture>,
}

/// The wall-clock seconds of the parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Seconds {
    /// The time for features.
    pub features: f64,
    /// The time for training.
    pub training: f64,
    /// The time for scoring and metrics.
    pub evaluation: f64,
}

/// The epoch whose network is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reported {
    /// The last epoch, chosen without the test set.
    #[default]
    Last,
    /// The epoch with the best metrics on the test set. Its metrics are better than those on new images; every form of the
    /// report says so.
    BestOnTestSet {
        /// The epoch, from 1.
        epoch: usize,
    },
}

/// The image scores from which on an image counts as anomalous.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ReportThresholds {
    /// The threshold of each category; other categories have the pooled one.
    pub categories: BTreeMap<String, f32>,
    /// The threshold for all categories.
    pub pooled: Option<f32>,
    /// The rule, as text that follows "thresholds:".
    pub chosen: String,
}

impl ReportThresholds {
    /// Makes thresholds, such as a calibration's.
    pub fn new(categories: BTreeMap<String, f32>, pooled: Option<f32>, chosen: impl Into<String>) -> Self {
        Self { categories, pooled, chosen: chosen.into() }
    }

    /// Returns the thresholds with the best F1 on the evaluated images.
    fn best_f1(evaluation: &Evaluation) -> Self {
        let threshold = |measured: &Measured| measured.image_threshold.filter(|threshold| threshold.is_finite());
        let categories = evaluation.categories.iter();
        let categories = categories.filter_map(|(name, measured)| Some((name.clone(), threshold(measured)?)));
        Self::new(categories.collect(), threshold(&evaluation.pooled), "best F1 on the test set")
    }
}

/// A test image with its score.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageResult {
    /// The name of its category.
    pub category: String,
    /// The file's name for display, relative to the dataset.
    pub path: String,
    /// The type of its defect, if it has a name.
    pub defect: Option<String>,
    /// The label: `true` for an anomalous image.
    pub anomalous: bool,
    /// The image score.
    pub image_score: f32,
}

impl ImageResult {
    /// Makes a result of an image's properties and its score.
    pub fn new(category: impl Into<String>, path: impl Into<String>, label: &Label, image_score: f32) -> Self {
        let defect = match label {
            Label::Anomalous(defect) if !defect.is_empty() => Some(defect.clone()),
            _ => None,
        };
        let (category, path) = (category.into(), path.into());
        Self { category, path, defect, anomalous: label.is_anomalous(), image_score }
    }

    fn labeled(&self) -> LabeledScore<'_> {
        LabeledScore { category: &self.category, score: self.image_score, anomalous: self.anomalous }
    }
}

/// A picture for the page.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReportPicture {
    /// The image that it shows.
    pub image: ImageResult,
    /// The bytes of a PNG file, such as the picture beside its heat map and the outline of its mask.
    pub png: Vec<u8>,
    /// A note beside the image's name, defect and score; may be empty.
    pub note: String,
}

impl ReportPicture {
    /// Makes a picture without a note.
    pub fn new(image: ImageResult, png: Vec<u8>) -> Self {
        Self { image, png, note: String::new() }
    }
}

impl Report {
    /// Makes a report of these metrics. The other fields are for the caller to fill in.
    pub fn new(evaluation: Evaluation) -> Self {
        Self {
            backbone: None,
            precision: None,
            variant: None,
            preset: None,
            seed: 0,
            epochs: 0,
            parameters: 0,
            train_images: 0,
            bank_images: 0,
            test_images: evaluation.pooled.images,
            seconds: Seconds::default(),
            loss: Vec::new(),
            reported: Reported::default(),
            thresholds: ReportThresholds::best_f1(&evaluation),
            evaluation,
            decisions: BTreeMap::new(),
            images: Vec::new(),
            weights: None,
            trained_test_images: None,
            misses: Vec::new(),
            false_alarms: Vec::new(),
        }
    }

    /// Sets the decisions on [`Report::images`] by these thresholds.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an image score that is NaN.
    pub fn with_decisions(mut self, calibration: &Calibration) -> Result<Self> {
        self.decisions = calibration.tally(self.images.iter().map(ImageResult::labeled))?;
        Ok(self)
    }

    /// Returns up to `count` indices into [`Report::images`]: the anomalous images furthest below their category's threshold, or
    /// closest above it if all are found. The worst is first; equal ones keep their order.
    pub fn worst_misses(&self, count: usize) -> Vec<usize> {
        decisions::worst(self, true, count)
    }

    /// Returns the same for normal images: those furthest above the threshold, or closest below it.
    pub fn worst_false_alarms(&self, count: usize) -> Vec<usize> {
        decisions::worst(self, false, count)
    }

    /// Returns the metrics as a table of plain text, in percent with one decimal: a row for each category, their mean, and all
    /// pooled. An undefined metric is `-`, with the reason below the table. Below are the decisions and the precision, if they are known.
    /// Ends with a line break.
    ///
    /// The table is ASCII unless a category name is not; control characters in names are escaped.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// Returns the report as JSON in one line, `"format": 1`. An undefined metric is null, with the reason in `"undefined"`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a value that is not finite.
    pub fn to_json(&self) -> Result<String> {
        json::json(self)
    }

    /// Returns the report as one HTML file without scripts or references to other files.
    ///
    /// Names are escaped. A value that is not finite is left out or marked as missing.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Writes `report.json` and `report.html` into a folder and creates it if it is missing. Each file is written atomically.
    ///
    /// # Errors
    /// As [`Self::to_json`], before anything is written; [`Error::Io`] if a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let json = self.to_json()?;
        std::fs::create_dir_all(folder).map_err(|error| Error::Io { action: "create", path: folder.into(), error })?;
        write_atomically(&folder.join("report.json"), json.as_bytes())?;
        self.save_html(folder.join("report.html"))
    }

    /// Writes the JSON to a file, atomically.
    ///
    /// # Errors
    /// As [`Self::to_json`], and [`Error::Io`].
    pub fn save_json(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_json()?.as_bytes())
    }

    /// Writes the page to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_html(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_html().as_bytes())
    }
}
