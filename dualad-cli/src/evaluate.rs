//! `dualad evaluate`: measure a saved model on a dataset.

use std::path::{Path, PathBuf};
use std::time::Instant;

use dualad::data::{Cancel, Sample, Split};
use dualad::detector::{DetectorBuilder, Request};
use dualad::features::FeaturesBuilder;
use dualad::fit::RunFolder;
use dualad::{Detector, Error, ModelFiles, TestSet};

use crate::common::{CommonArgs, Result, note};
use crate::data::{self, DataArgs, Purpose, whole_names};
use crate::features::FeatureArgs;
use crate::guard::{Guard, check_apart};
use crate::measure::{Measurement, Output, Training};
use crate::model::{ModelSource, check_categories};
use crate::progress::{Bar, ProgressArgs};
use crate::signals::cancel_on_signal;

/// Measure a saved model on the test images of a dataset
///
/// Prints a table of metrics for each category, and writes report.json, report.html and heat maps into --out.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Write the report as JSON to FILE; `-` prints it instead of the table")))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelSource,
    /// Folder of the dataset
    #[arg(long, value_name = "ROOT")]
    data: PathBuf,
    #[command(flatten)]
    selection: DataArgs,
    /// Skip the check of every file of the dataset
    #[arg(long)]
    no_check: bool,
    /// Folder for report.json, report.html and heat maps, whose earlier ones are replaced; not the folder of a model
    #[arg(long, value_name = "DIR", default_value = "out/evaluation")]
    out: PathBuf,
    /// Number of heat maps to write for each category
    #[arg(long, value_name = "N", default_value_t = 4)]
    heatmaps: usize,
    #[command(flatten)]
    features: FeatureArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs `dualad evaluate`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Args { model, data, selection, no_check, out, heatmaps, features, progress, common } = args;
    progress.apply();
    common.check_json(&Guard::default().reads(model.files()).run(out))?;
    if ModelFiles::of(out).config.exists() {
        let out = out.display();
        return Err(
            format!("--out {out} holds a model, whose training report would be replaced; name another folder").into()
        );
    }
    let job = Job { data: Some(data), selection, check: !no_check, out, heat_maps: *heatmaps, features, common };
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    let load = || load_leniently(model.builder(common)?.limits(selection.limits()), |builder| model.load(builder));
    job.run(load, &cancel)
}

/// Loads a model, without its thresholds if they cannot be used: they have no part in the metrics.
pub(crate) fn load_leniently(
    builder: DetectorBuilder,
    load: impl Fn(DetectorBuilder) -> Result<Detector>,
) -> Result<Detector> {
    load(builder.clone()).or_else(|error| {
        let detector = load(builder.calibration(None))?;
        note(&match error.downcast_ref() {
            Some(Error::OtherPrecision { model, found, wanted }) => format!(
                "note: there are no decisions in the report, because the thresholds are for scores in {found}; `dualad calibrate --model {} --data FOLDER --precision {wanted}` sets those for {wanted}",
                model.display()
            ),
            _ => format!("note: there are no decisions in the report: {error}"),
        });
        Ok(detector)
    })
}

/// A model to measure, and where the results go.
pub(crate) struct Job<'a> {
    /// The folder of the dataset; without it, the generated one in `out`.
    pub(crate) data: Option<&'a Path>,
    pub(crate) selection: &'a DataArgs,
    /// True if every file of the dataset is checked first.
    pub(crate) check: bool,
    pub(crate) out: &'a Path,
    pub(crate) heat_maps: usize,
    pub(crate) features: &'a FeatureArgs,
    pub(crate) common: &'a CommonArgs,
}

impl Job<'_> {
    pub(crate) fn run(&self, load: impl FnOnce() -> Result<Detector>, cancel: &Cancel) -> Result<()> {
        self.measure(load, cancel).map_err(|error| match error.downcast_ref::<Error>() {
            Some(Error::Cancelled) => "interrupted; nothing was written".into(),
            _ => error,
        })
    }

    fn measure(&self, load: impl FnOnce() -> Result<Detector>, cancel: &Cancel) -> Result<()> {
        let cache = self.features.cache()?;
        self.common.check_json(&Guard::default().run(self.out))?;
        let detector = load()?;
        let config = detector.config();
        if config.input.tiling.is_some() {
            return Err("the model cuts images into tiles; only models of whole images can be measured".into());
        }
        check_categories(&detector, &whole_names(self.selection.categories(), detector.categories()))?;
        // Before the folder is taken: a wrong path leaves nothing behind.
        self.data.map_or(Ok(()), |data| check_apart(self.out, data))?;
        let opened = self.data.map(|root| self.selection.open(root)).transpose()?;
        let folder = RunFolder::take(self.out)?;
        let mut dataset = match opened {
            Some(dataset) => dataset,
            None => self.selection.open(&data::generate(self.out)?)?,
        };
        if self.check {
            dataset = data::check(dataset, Purpose::Evaluation, false, self.selection.limits(), cancel)?;
        }
        for category in dataset.categories.iter().filter(|category| !config.categories.contains(&category.name)) {
            note(&format!("note: the model was not trained on {}", category.name));
        }
        let samples: Vec<Sample> = dataset.samples(Split::Test).cloned().collect();
        if samples.is_empty() {
            return Err("the dataset has no test images; there is nothing to measure".into());
        }
        let trained_test_images = trained(&detector, &samples, cancel)?;
        let mut features = detector.features(samples).cancel(cancel);
        if let Some(cache) = cache {
            features = features.cache(cache);
        }
        let (test_set, seconds) = test_set(features)?;
        let model = detector.model().on_device(detector.device())?;
        let training = Training { features: seconds, trained_test_images, ..Training::default() };
        let limits = self.selection.limits();
        let output = Output { common: self.common, folder: &folder, heat_maps: self.heat_maps, limits };
        Measurement::new(&dataset, &test_set, cancel).report(&model, detector.calibration(), training, output)?;
        Ok(())
    }
}

/// Returns the number of test images that the model was trained on, with a warning if there are some. `None` if the model has no record of
/// its training images.
fn trained(detector: &Detector, samples: &[Sample], cancel: &Cancel) -> Result<Option<usize>> {
    let requests: Vec<Request<'_>> = samples.iter().map(|sample| Request::from(&sample.path)).collect();
    let Some(seen) = detector.was_trained_on(&requests, cancel)? else { return Ok(None) };
    let mut paths = samples.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(sample, _)| &sample.path);
    if let Some(first) = paths.next() {
        let count = 1 + paths.count();
        note(&format!(
            "warning: the model was trained on {count} of the {} test images (such as {}), so the metrics are too good; test with other \
             images",
            samples.len(),
            first.display()
        ));
    }
    Ok(Some(seen.into_iter().filter(|seen| *seen).count()))
}

/// Computes the features of test images. Returns the test set and the seconds that it took.
pub(crate) fn test_set(features: FeaturesBuilder<'_>) -> Result<(TestSet, f64)> {
    let begun = Instant::now();
    let bar = Bar::new("features for testing");
    let features = features.progress(|progress| bar.set(progress.done, progress.total)).compute()?;
    Ok((TestSet::new(features)?, begun.elapsed().as_secs_f64()))
}
