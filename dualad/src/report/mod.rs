//! What a run found: a table for a terminal, JSON for programs, and one HTML file to show.
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
//! [`Report::worst_misses`] and [`Report::worst_false_alarms`] say of which images to add a [`Picture`].

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

use std::collections::BTreeMap;
use std::path::Path;

use dualad_backbones::{Backbone, Provenance};
use dualad_data::Label;

use crate::config::Variant;
use crate::error::{Error, Result};
use crate::file::write_atomically;
use crate::metrics::{Evaluation, Measured};
use crate::recipe::Preset;

/// What a run of training and evaluation found. [`Report::new`] makes one of its metrics; the other fields start empty, and
/// what is empty is left out of the page.
///
/// ```
/// use dualad::data::Label;
/// use dualad::metrics::{Scored, evaluate};
/// use dualad::report::{ImageResult, Report};
///
/// # let (category, height, width) = ("gear", 1, 2);
/// # let map = &[0.1, 0.9];
/// let good = Scored { category, anomalous: false, image_score: 0.21, height, width, map, mask: None };
/// let bad = Scored { anomalous: true, image_score: 0.64, mask: Some(&[0, 1]), ..good };
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
    /// The network's variant.
    pub variant: Option<Variant>,
    /// The preset that the training's recipe started from.
    pub preset: Option<Preset>,
    /// The seed of everything random.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// Numbers that the network learned.
    pub parameters: usize,
    /// Images trained on.
    pub train_images: usize,
    /// Images evaluated; [`Report::new`] takes it from the metrics.
    pub test_images: usize,
    /// Where the time went.
    pub seconds: Seconds,
    /// Mean training loss of each epoch. Must be finite for JSON.
    pub loss: Vec<f64>,
    /// Which epoch's network the metrics are of.
    pub reported: Reported,
    /// The metrics.
    pub evaluation: Evaluation,
    /// From which image score on something counts as anomalous; [`Report::new`] takes those of the best F1.
    pub thresholds: Thresholds,
    /// The images evaluated, in any order.
    pub images: Vec<ImageResult>,
    /// The origin of the backbone's weights.
    pub weights: Option<Provenance>,
    /// Pictures of the anomalous images that scored lowest, the worst first.
    pub misses: Vec<Picture>,
    /// Pictures of the normal images that scored highest, the worst first.
    pub false_alarms: Vec<Picture>,
}

/// Wall-clock seconds of a run's parts.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Seconds {
    /// Images to features.
    pub features: f64,
    /// Training.
    pub training: f64,
    /// Scoring and measuring.
    pub evaluation: f64,
}

/// Which epoch's network is reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reported {
    /// The last: nothing was chosen by looking at the test set.
    #[default]
    Last,
    /// The one that did best on the test set, which makes its metrics better than new images will see. Every form of the
    /// report says so.
    BestOnTestSet {
        /// Which, from 1.
        epoch: usize,
    },
}

/// The image score from which on up an image counts as anomalous.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Thresholds {
    /// By category; one that is not there has the pooled threshold.
    pub categories: BTreeMap<String, f32>,
    /// One for all categories.
    pub pooled: Option<f32>,
    /// How they were chosen, as it follows "thresholds:".
    pub chosen: String,
}

impl Thresholds {
    /// Thresholds of one's own, such as a calibration's.
    pub fn new(categories: BTreeMap<String, f32>, pooled: Option<f32>, chosen: impl Into<String>) -> Self {
        Self { categories, pooled, chosen: chosen.into() }
    }

    /// Those at which F1 is best on the very images that were evaluated.
    fn best_f1(evaluation: &Evaluation) -> Self {
        let threshold = |measured: &Measured| measured.image_threshold.filter(|threshold| threshold.is_finite());
        let categories = evaluation.categories.iter();
        let categories = categories.filter_map(|(name, measured)| Some((name.clone(), threshold(measured)?)));
        Self::new(categories.collect(), threshold(&evaluation.pooled), "best F1 on the test set")
    }
}

/// An evaluated image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageResult {
    /// The name of its category.
    pub category: String,
    /// Its file as shown, relative to the data set.
    pub path: String,
    /// The type of its defect, where it has one that has a name.
    pub defect: Option<String>,
    /// Whether it has a defect.
    pub anomalous: bool,
    /// Its score.
    pub image_score: f32,
}

impl ImageResult {
    /// An image by what is known about it, and its score.
    pub fn new(category: impl Into<String>, path: impl Into<String>, label: &Label, image_score: f32) -> Self {
        let defect = match label {
            Label::Anomalous(defect) if !defect.is_empty() => Some(defect.clone()),
            _ => None,
        };
        let (category, path) = (category.into(), path.into());
        Self { category, path, defect, anomalous: label.is_anomalous(), image_score }
    }
}

/// An image to look at.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Picture {
    /// What it shows.
    pub image: ImageResult,
    /// A PNG file's bytes, such as a strip of the picture, its heat map and its mask's outline.
    pub png: Vec<u8>,
    /// What to say about it besides the image's name, defect and score; may be empty.
    pub note: String,
}

impl Picture {
    /// A picture without a note.
    pub fn new(image: ImageResult, png: Vec<u8>) -> Self {
        Self { image, png, note: String::new() }
    }
}

impl Report {
    /// A report of these metrics, whose other fields are to be filled in.
    pub fn new(evaluation: Evaluation) -> Self {
        Self {
            backbone: None,
            variant: None,
            preset: None,
            seed: 0,
            epochs: 0,
            parameters: 0,
            train_images: 0,
            test_images: evaluation.pooled.images,
            seconds: Seconds::default(),
            loss: Vec::new(),
            reported: Reported::default(),
            thresholds: Thresholds::best_f1(&evaluation),
            evaluation,
            images: Vec::new(),
            weights: None,
            misses: Vec::new(),
            false_alarms: Vec::new(),
        }
    }

    /// Up to `count` places in [`Report::images`]: the anomalous ones that lie furthest below their category's threshold, or,
    /// where all were found, the least above it. The worst is first; equally bad ones keep their order.
    pub fn worst_misses(&self, count: usize) -> Vec<usize> {
        decisions::worst(self, true, count)
    }

    /// As [`Report::worst_misses`], of the normal images: those furthest above the threshold, or the least below it.
    pub fn worst_false_alarms(&self, count: usize) -> Vec<usize> {
        decisions::worst(self, false, count)
    }

    /// The metrics as a table of plain text, in percent with one decimal: a row for each category, their mean, and all
    /// pooled. `-` stands where a metric is undefined, and below the table why. Ends with a line break.
    ///
    /// Nothing but names that are not ASCII themselves makes it so; their control characters are escaped.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// The result as JSON in one line, `"format": 1`. A metric that is undefined is null, and `"undefined"` says why.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number that is not finite.
    pub fn to_json(&self) -> Result<String> {
        json::json(self)
    }

    /// The result as one HTML file that needs nothing else: no network, no script.
    ///
    /// Whatever is given is shown: names are escaped, and a number that is not finite is left out or marked as missing.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Writes `report.json` and `report.html` into a folder, which is made where it is not there. Each file is written to a
    /// temporary name and renamed.
    ///
    /// # Errors
    /// As [`Self::to_json`], before anything is written; [`Error::Io`] for what cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        let json = self.to_json()?;
        std::fs::create_dir_all(folder).map_err(|error| Error::Io { action: "create", path: folder.into(), error })?;
        write_atomically(&folder.join("report.json"), json.as_bytes())?;
        self.save_html(folder.join("report.html"))
    }

    /// Writes the JSON to a file, under a temporary name first.
    ///
    /// # Errors
    /// As [`Self::to_json`], and [`Error::Io`].
    pub fn save_json(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_json()?.as_bytes())
    }

    /// Writes the page to a file, under a temporary name first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_html(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_html().as_bytes())
    }
}
