//! Measures a model on a test set, and writes the report, the heat maps and the JSON.

use std::time::{Duration, Instant};

use dualad::calibration::Calibration;
use dualad::data::image::Limits;
use dualad::data::{Cancel, Dataset, Saturations};
use dualad::fit::RunFolder;
use dualad::metrics::{Evaluation, Metric};
use dualad::report::{Report, ReportPicture, Reported};
use dualad::{ImageScores, Model, ModelFiles, TestSet};

use crate::common::{CommonArgs, Result, note, print};
use crate::guard::Guard;
use crate::heat_maps::Strips;
use crate::progress::Bar;

/// The number of pictures of misses, and of false alarms, in the report.
const MAX_PICTURES: usize = 8;

/// The destination of the results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output<'a> {
    pub(crate) common: &'a CommonArgs,
    pub(crate) folder: &'a RunFolder,
    /// The number of heat maps for each category.
    pub(crate) heat_maps: usize,
    /// The limits for images.
    pub(crate) limits: Limits,
}

/// The training of a network, for its report.
#[derive(Debug, Default)]
pub(crate) struct Training {
    pub(crate) losses: Vec<f64>,
    pub(crate) reported: Reported,
    pub(crate) seconds: f64,
    /// The seconds that the features took.
    pub(crate) features: f64,
    /// The number of test images that the model was trained on, if it is known.
    pub(crate) trained_test_images: Option<usize>,
}

/// Measures models on one test set.
pub(crate) struct Measurement<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) test_set: &'a TestSet,
    pub(crate) cancel: &'a Cancel,
    /// The time that all evaluations took.
    pub(crate) time: Duration,
}

impl<'a> Measurement<'a> {
    pub(crate) fn new(dataset: &'a Dataset, test_set: &'a TestSet, cancel: &'a Cancel) -> Self {
        Self { dataset, test_set, cancel, time: Duration::ZERO }
    }

    pub(crate) fn evaluate(&mut self, model: &Model) -> Result<(Evaluation, Vec<ImageScores>)> {
        let begun = Instant::now();
        let bar = Bar::new("scoring test images");
        let scores =
            self.test_set.score_model(model, self.cancel, |progress| bar.set(progress.done, progress.total))?;
        let evaluation = self.test_set.evaluate(&scores)?;
        self.time += begun.elapsed();
        Ok((evaluation, scores))
    }

    /// Measures a model and writes the report, the heat maps and the JSON. Returns the report, with the decisions by these thresholds.
    pub(crate) fn report(
        &mut self,
        model: &Model,
        thresholds: Option<&Calibration>,
        training: Training,
        output: Output<'_>,
    ) -> Result<Report> {
        let (evaluation, scores) = self.evaluate(model)?;
        self.note_more(&scores)?;
        let (test_set, root, config) = (self.test_set, &self.dataset.root, model.config());
        let mut report = Report::new(evaluation).with_model(config)?.with_images(test_set.samples(), &scores, root);
        if let Some(thresholds) = thresholds {
            report = report.with_decisions(thresholds)?;
        }
        report.precision = Some(test_set.precision());
        report.bank_images = model.image_counts().bank;
        report.seconds.features = training.features;
        report.trained_test_images = training.trained_test_images;
        report.seconds.training = training.seconds;
        report.seconds.evaluation = self.time.as_secs_f64();
        (report.loss, report.reported) = (training.losses, training.reported);
        let preprocess = config.input.preprocess()?;
        let strips = Strips::new(test_set, &scores, &preprocess, output.limits)?;
        // An image may have been removed since it was scored. The results do not need its picture.
        let picture = |index: usize| match strips.png(index) {
            Ok(png) => Some(ReportPicture::new(report.images[index].clone(), png)),
            Err(error) => {
                note(&format!("note: the report has no picture of {}: {error}", report.images[index].path));
                None
            }
        };
        let misses = report.worst_misses(MAX_PICTURES).into_iter().filter_map(picture).collect();
        let false_alarms = report.worst_false_alarms(MAX_PICTURES).into_iter().filter_map(picture).collect();
        (report.misses, report.false_alarms) = (misses, false_alarms);
        output.folder.remove_results()?;
        report.save(output.folder.path())?;
        if output.heat_maps > 0 {
            strips.write(&output.folder.heat_maps(), output.heat_maps);
        }
        output.print(&report)?;
        Ok(report)
    }
}

impl Measurement<'_> {
    /// Prints the metrics that some datasets have beside those of the report: of whole objects, and of saturated defects.
    fn note_more(&self, scores: &[ImageScores]) -> Result<()> {
        /// The usual limit of MVTec LOCO.
        const LIMIT: f64 = 0.05;
        let shown = |metric: &Metric| metric.map_or("undefined".into(), |value| format!("{:.2} %", 100.0 * value));
        if let Some(objects) = self.test_set.evaluate_objects(scores)? {
            for (category, measured) in &objects.categories {
                let (auroc, count) = (shown(&measured.metrics.image_auroc), measured.images);
                note(&format!("{category}: AUROC of {count} objects by their largest image score: {auroc}"));
            }
            note(&format!("mean AUROC of objects: {}", shown(&objects.mean.image_auroc)));
        }
        let saturations = Saturations::of_dataset(self.dataset).map_err(dualad::Error::from)?;
        for (category, pro) in self.test_set.saturated_pro(scores, &saturations, LIMIT)? {
            let types: Vec<String> =
                pro.by_type.iter().map(|(kind, metric)| format!("{kind} {}", shown(metric))).collect();
            note(&format!("{category}: AU-sPRO up to {LIMIT}: {} ({})", shown(&pro.mean), types.join(", ")));
        }
        Ok(())
    }
}

impl Output<'_> {
    /// Prints the table, and writes the JSON where `--json` says.
    fn print(&self, report: &Report) -> Result<()> {
        if self.common.json_to_stdout() {
            return print(&format!("{}\n", report.to_json()?.trim_end()));
        }
        if let Some(path) = &self.common.json {
            // Again: the file may be new.
            self.common.check_json(&Guard::default())?;
            report.save_json(path)?;
        }
        let folder = self.folder.path();
        let model = if ModelFiles::of(folder).config.exists() { "model, " } else { "" };
        print(&format!("{}{model}report.html and heat maps: {}\n", report.table(), folder.display()))
    }
}
