//! The job: features, training, evaluation, report.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dualad::backbones::{FeatureExtractor, Provenance, Weights};
use dualad::candle_core::Device;
use dualad::data::image::Preprocess;
use dualad::data::{Cancel, Dataset, Sample, Split, UNFINISHED};
use dualad::features::{FeatureCache, Features};
use dualad::metrics::Evaluation;
use dualad::report::{ImageResult, Picture, Report, Reported};
use dualad::store::FolderLock;
use dualad::train::Trainer;
use dualad::{DualAd, Error, Input, Model, TestSet};

use super::args::Preset;
use super::heatmaps::Strips;
use super::{TrainArgs, dataset};
use crate::common::{Result, note, print, temporary};
use crate::progress::Bar;

const CHECKPOINT: &str = "checkpoint.safetensors";
const LOG: &str = "train.jsonl";
/// Where an earlier run's go when a run begins anew.
const PREVIOUS_CHECKPOINT: &str = "checkpoint.previous.safetensors";
const PREVIOUS_LOG: &str = "train.previous.jsonl";
/// Pictures of misses, and of false alarms, in the report.
const WORST: usize = 8;

pub(crate) fn run(args: &TrainArgs, cancel: &Cancel) -> Result<()> {
    let out = args.out.clone();
    let device = args.common.device()?;
    // What can be refused without looking at an image is refused first.
    let cache = args.cache()?;
    check_json(args, &out)?;
    let mut job = Job { args, out: &out, device, cache, cancel, seconds: Seconds::default(), saved: false };
    let result = if args.eval_only { job.evaluate_only() } else { job.train() };
    result.map_err(|error| match error.downcast_ref::<Error>() {
        Some(Error::Cancelled) => job.interrupted().into(),
        _ => error,
    })
}

#[derive(Default)]
struct Seconds {
    features: Duration,
    training: f64,
    evaluation: Duration,
}

struct Job<'a> {
    args: &'a TrainArgs,
    out: &'a Path,
    device: Device,
    cache: Option<FeatureCache>,
    cancel: &'a Cancel,
    seconds: Seconds,
    /// Whether there is a checkpoint of this run.
    saved: bool,
}

/// The epoch that did best on the test set.
struct Best {
    epoch: u64,
    image_auroc: f64,
    network: DualAd,
}

impl Job<'_> {
    fn train(&mut self) -> Result<()> {
        let backbone = self.args.backbone();
        let recipe = self.args.recipe(backbone)?;
        let weights = self.args.weights(backbone)?;
        if self.args.weights.is_some() && backbone.network().is_none() {
            note(&format!("note: {backbone} has no weights; --weights is not looked at"));
        }
        let _lock = FolderLock::take(self.out)?;
        let dataset = dataset::open(self.args, self.out, self.cancel)?;
        if self.args.common.json.is_some() && dataset.samples(Split::Test).next().is_none() {
            return Err("the dataset has no test images, so that there will be nothing for --json; leave it out".into());
        }
        let preprocess = Input::of_grid(recipe.network.grid).preprocess()?;
        let extractor: Arc<dyn FeatureExtractor> =
            Arc::from(backbone.extractor().weights(weights).device(&self.device).build()?);
        let train = self.features("features for training", &dataset, Split::Train, &extractor, &preprocess)?;
        let test = self.test_set(&dataset, &extractor, &preprocess)?;

        let path = self.out.join(CHECKPOINT);
        let trainer = if self.args.resume {
            Trainer::resume(recipe, &train, &self.device, &path)?
        } else {
            let trainer = Trainer::new(recipe, &train, &self.device, self.cancel)?.checkpoint(&path);
            set_aside(self.out)?;
            trainer
        };
        let interval = Duration::from_secs(self.args.checkpoint_every);
        let mut trainer = trainer.log(self.out.join(LOG)).checkpoint_interval(interval);
        let bar = Bar::training();
        let mut best: Option<Best> = None;
        // Whatever ends it from here on, it saves first.
        self.saved = true;
        while !trainer.is_finished() {
            let every = self.args.eval_every.unwrap_or(u64::MAX);
            let next = (trainer.epoch() / every + 1).saturating_mul(every);
            trainer.run_to(next, self.cancel, |progress| bar.train(progress))?;
            let Some(test) = test.as_ref().filter(|_| self.args.eval_every.is_some()) else { continue };
            if trainer.is_finished() && !self.args.best {
                // It is about to be measured anyway.
                continue;
            }
            let network = trainer.network()?;
            let (evaluation, _) = self.evaluate(test, &network)?;
            let image_auroc = evaluation.mean.image_auroc.unwrap_or(0.0);
            if self.args.best && best.as_ref().is_none_or(|best| image_auroc > best.image_auroc) {
                best = Some(Best { epoch: trainer.epoch(), image_auroc, network });
            }
            if !trainer.is_finished() {
                bar.suspend(|| self.say_mean(trainer.epoch(), &evaluation));
            }
        }
        drop(bar);
        self.seconds.training = trainer.seconds();

        let (network, reported) = match best {
            Some(Best { epoch, network, .. }) => (network, Reported::BestOnTestSet { epoch: usize::try_from(epoch)? }),
            None => (trainer.network()?, Reported::Last),
        };
        let stages: Vec<usize> = extractor.stages().iter().map(|stage| stage.index).collect();
        let mut model = Model::new(network, backbone, &stages, extractor.provenance().clone());
        model.config.categories = dataset.categories.iter().map(|category| category.name.clone()).collect();
        model.config.train_images = train.samples().len();
        model.config.preset = preset_name(self.args.preset()).into();
        model.config.train = Some(trainer.recipe().train.clone());
        // Before it is measured: whatever happens then, the model is there, and no other model's results beside it.
        remove_results(self.out);
        let thresholds = self.out.join("calibration.json");
        let had = thresholds.exists();
        model.save(self.out, "")?;
        if had && !thresholds.exists() {
            note("note: the thresholds were another model's, and are kept as calibration.previous.json; set them anew");
        }
        let Some(test) = test else {
            note("note: the dataset has no test images; nothing was measured");
            return Ok(());
        };
        let report = self.report(&model, (trainer.losses(), reported), &dataset, &test, &preprocess)?;
        model.save(self.out, &format!("```text\n{}```", report.table()))?;
        Ok(())
    }

    fn evaluate_only(&mut self) -> Result<()> {
        let model = Model::load(self.out, &self.device)?;
        let backbone = model.config.backbone;
        if let Some(other) = self.args.backbone.filter(|other| *other != backbone) {
            return Err(format!("the model in {} has the backbone {backbone}, not {other}", self.out.display()).into());
        }
        let trained_with = model.config.weights.clone();
        let weights = match (&self.args.weights, trained_with.source.as_str()) {
            (None, "file") => Weights::file(&trained_with.location),
            _ => self.args.weights(backbone)?,
        };
        let _lock = FolderLock::take(self.out)?;
        let dataset = dataset::open(self.args, self.out, self.cancel)?;
        let preprocess = model.config.input.preprocess()?;
        let extractor = backbone.extractor().stages(&model.config.stages).weights(weights).device(&self.device);
        let extractor: Arc<dyn FeatureExtractor> = Arc::from(extractor.build()?);
        check_weights(&trained_with, extractor.provenance())?;
        for category in dataset.categories.iter().filter(|category| !model.config.categories.contains(&category.name)) {
            note(&format!("note: the model was not trained on {}", category.name));
        }
        let test = self.test_set(&dataset, &extractor, &preprocess)?;
        let test = test.ok_or("the dataset has no test images; there is nothing to measure")?;
        self.report(&model, (Vec::new(), Reported::Last), &dataset, &test, &preprocess)?;
        Ok(())
    }

    fn features(
        &mut self,
        what: &'static str,
        dataset: &Dataset,
        split: Split,
        extractor: &Arc<dyn FeatureExtractor>,
        preprocess: &Preprocess,
    ) -> Result<Features> {
        let begun = Instant::now();
        let bar = Bar::new(what);
        let mut features =
            Features::of(dataset.samples(split).cloned(), extractor.clone(), preprocess.clone()).cancel(self.cancel);
        if let Some(cache) = &self.cache {
            features = features.cache(cache.clone());
        }
        let features = features.progress(|done, total| bar.set(done, total)).compute()?;
        self.seconds.features += begun.elapsed();
        Ok(features)
    }

    /// The test images, if there are any.
    fn test_set(
        &mut self,
        dataset: &Dataset,
        extractor: &Arc<dyn FeatureExtractor>,
        preprocess: &Preprocess,
    ) -> Result<Option<TestSet>> {
        if dataset.samples(Split::Test).next().is_none() {
            return Ok(None);
        }
        let features = self.features("features for testing", dataset, Split::Test, extractor, preprocess)?;
        Ok(Some(TestSet::new(features)?))
    }

    fn evaluate(&mut self, test: &TestSet, network: &DualAd) -> Result<(Evaluation, Vec<dualad::ImageScores>)> {
        let begun = Instant::now();
        let bar = Bar::new("scoring test images");
        let scores = test.score(network, self.cancel, |done, total| bar.set(done, total))?;
        let evaluation = test.evaluate(&scores)?;
        self.seconds.evaluation += begun.elapsed();
        Ok((evaluation, scores))
    }

    /// Measures the model, and writes down what was found.
    fn report(
        &mut self,
        model: &Model,
        (losses, reported): (Vec<f64>, Reported),
        dataset: &Dataset,
        test: &TestSet,
        preprocess: &Preprocess,
    ) -> Result<Report> {
        let (evaluation, scores) = self.evaluate(test, &model.network)?;
        let mut report = Report::new(evaluation);
        let config = &model.config;
        report.backbone = config.backbone.name().into();
        report.variant = config.network.variant.to_string();
        report.preset.clone_from(&config.preset);
        if let Some(train) = &config.train {
            report.seed = train.seed;
            report.epochs = usize::try_from(train.epochs)?;
        }
        report.parameters = config.network.parameter_count()?;
        report.train_images = config.train_images;
        report.seconds.features = self.seconds.features.as_secs_f64();
        report.seconds.training = self.seconds.training;
        report.seconds.evaluation = self.seconds.evaluation.as_secs_f64();
        (report.loss, report.reported) = (losses, reported);
        report.weights = weights_rows(&config.weights);
        let shown = |sample: &Sample| {
            let path = sample.path.strip_prefix(&dataset.root).unwrap_or(&sample.path);
            path.display().to_string()
        };
        let images = test.samples().iter().zip(&scores);
        report.images = images
            .map(|(sample, scores)| {
                ImageResult::new(&sample.category, shown(sample), &sample.label, scores.image_score)
            })
            .collect();
        let strips = Strips::new(test, &scores, preprocess)?;
        let picture =
            |index: usize| -> Result<Picture> { Ok(Picture::new(report.images[index].clone(), strips.png(index)?)) };
        let misses = report.worst_misses(WORST).into_iter().map(picture).collect::<Result<_>>()?;
        let false_alarms = report.worst_false_alarms(WORST).into_iter().map(picture).collect::<Result<_>>()?;
        (report.misses, report.false_alarms) = (misses, false_alarms);
        remove_results(self.out);
        report.save(self.out)?;
        if self.args.heatmaps > 0 {
            strips.write(&self.out.join("heatmaps"), self.args.heatmaps)?;
        }
        match &self.args.common.json {
            _ if self.args.common.json_to_stdout() => print(&line(&report.to_json()?))?,
            json => {
                if let Some(path) = json {
                    temporary(path)?;
                    report.save_json(path)?;
                }
                print(&format!("{}model, report.html and heat maps: {}\n", report.table(), self.out.display()))?;
            }
        }
        Ok(report)
    }

    /// One line for an evaluation on the way; the JSON keeps standard output for itself.
    fn say_mean(&self, epoch: u64, evaluation: &Evaluation) {
        if self.args.common.json_to_stdout() {
            return;
        }
        let percent = |metric: &dualad::metrics::Metric| {
            metric.as_ref().map_or_else(|_| "-".to_owned(), |value| format!("{:.1}", 100.0 * value))
        };
        let mean = &evaluation.mean;
        // The run is worth more than a line about it.
        let _ = print(&format!(
            "epoch {epoch}: image AUROC {}, pixel AUROC {}, pixel AP {}\n",
            percent(&mean.image_auroc),
            percent(&mean.pixel_auroc),
            percent(&mean.pixel_ap)
        ));
    }

    /// What to say when the run was ended from outside.
    fn interrupted(&self) -> String {
        if self.args.eval_only {
            return "interrupted; nothing was written".into();
        }
        if self.saved {
            let path = self.out.join(CHECKPOINT);
            return format!("interrupted; {} has the run so far: go on from it with --resume", path.display());
        }
        "interrupted before the first training step; features that were cached are kept".into()
    }
}

/// A run that begins anew leaves an earlier one's checkpoint and log where they can be taken back.
fn set_aside(out: &Path) -> Result<()> {
    if !out.join(CHECKPOINT).exists() {
        return Ok(());
    }
    for (name, previous) in [(CHECKPOINT, PREVIOUS_CHECKPOINT), (LOG, PREVIOUS_LOG)] {
        let (from, to) = (out.join(name), out.join(previous));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|error| format!("cannot rename {}: {error}", from.display()))?;
        }
    }
    note(&format!("note: the checkpoint of an earlier run is kept as {}", out.join(PREVIOUS_CHECKPOINT).display()));
    Ok(())
}

/// Another model's report and heat maps, which would be taken for this one's. What else lies there stays.
fn remove_results(out: &Path) {
    for name in ["report.json", "report.html"] {
        let _ = std::fs::remove_file(out.join(name));
    }
    let Ok(categories) = std::fs::read_dir(out.join("heatmaps")) else { return };
    for category in categories.flatten() {
        for file in std::fs::read_dir(category.path()).into_iter().flatten().flatten() {
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".png") || name.starts_with(UNFINISHED) {
                let _ = std::fs::remove_file(file.path());
            }
        }
        let _ = std::fs::remove_dir(category.path());
    }
}

/// A file that cannot be written is better known before a run than after it, and so is one that the run itself writes.
fn check_json(args: &TrainArgs, out: &Path) -> Result<()> {
    let Some(path) = args.common.json.as_deref().filter(|_| !args.common.json_to_stdout()) else { return Ok(()) };
    temporary(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() && folder != out {
        return Err(format!("cannot write {}: there is no folder {}", path.display(), folder.display()).into());
    }
    let own =
        [CHECKPOINT, LOG, "config.json", "model.safetensors", "calibration.json", "README.md", "report.html", ".lock"];
    let same = |name: &str| path.file_name().is_some_and(|file| file == name);
    let in_out = std::fs::canonicalize(folder).ok().zip(std::fs::canonicalize(out).ok()).is_some_and(|(a, b)| a == b);
    if in_out && own.iter().any(|name| same(name)) {
        return Err(
            format!("--json {}: the run keeps a file of its own there; choose another name", path.display()).into()
        );
    }
    Ok(())
}

fn check_weights(trained_with: &Provenance, found: &Provenance) -> Result<()> {
    if trained_with.sha256 == found.sha256 {
        return Ok(());
    }
    let shown = |weights: &Provenance| weights.sha256.clone().unwrap_or_else(|| "none".into());
    let (wanted, found) = (shown(trained_with), shown(found));
    Err(format!("the backbone's weights have SHA-256 {found}, and the model was trained with {wanted}; give those with --weights").into())
}

fn weights_rows(weights: &Provenance) -> Vec<(String, String)> {
    let rows = [
        ("source", Some(weights.source.clone())),
        ("location", Some(weights.location.clone()).filter(|location| !location.is_empty())),
        ("revision", weights.revision.clone()),
        ("sha256", weights.sha256.clone()),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn preset_name(preset: Preset) -> &'static str {
    match preset {
        Preset::Paper => "paper",
        Preset::Fast => "fast",
    }
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
