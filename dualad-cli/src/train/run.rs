//! A training run: features, training, evaluation, report.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dualad::calibration::Calibration;
use dualad::candle_core::Device;
use dualad::data::{Cancel, Dataset, Sample, Split};
use dualad::features::FeatureCache;
use dualad::fit::{Fit, FitProgress, Fitted, PreparedFit, RunFolder};
use dualad::metrics::{Evaluation, Metric};
use dualad::report::Reported;
use dualad::train::Trainer;
use dualad::{Detector, DualAd, Error, ModelFiles, TestSet};

use super::TrainArgs;
use crate::common::{Result, note, print, printable};
use crate::data::{self, Purpose};
use crate::evaluate::{Job, load_leniently, test_set};
use crate::guard::{Guard, check_apart};
use crate::measure::{Measurement, Output, Training};
use crate::model::weights_of;
use crate::progress::Bar;

pub(super) fn run(args: &TrainArgs, cancel: &Cancel) -> Result<()> {
    if args.eval_only {
        return evaluate_only(args, cancel);
    }
    let (device, others) = args.common.device.all()?;
    // Everything that can be refused before an image is read is refused first.
    let cache = args.features.cache()?;
    args.common.check_json(&Guard::default().run(&args.out).reads(&args.config))?;
    let mut run = Run { args, device, others, cache, cancel, saved: false };
    run.train().map_err(|error| match error.downcast_ref::<Error>() {
        Some(Error::Cancelled) => run.interrupted().into(),
        _ => error,
    })
}

/// Measures the model in `--out`.
fn evaluate_only(args: &TrainArgs, cancel: &Cancel) -> Result<()> {
    let TrainArgs { selection, out, features, common, .. } = args;
    let check = !args.no_check;
    let job = Job { data: args.data.as_deref(), selection, check, out, heat_maps: args.heatmaps, features, common };
    job.run(|| load(args), cancel)
}

/// Loads the model in `--out`.
fn load(args: &TrainArgs) -> Result<Detector> {
    let mut builder = Detector::builder().device(&args.common.device()?);
    builder = builder.limits(args.selection.limits());
    if let Some(weights) = &args.weights {
        builder = builder.weights(weights_of(weights)?);
    }
    let detector = load_leniently(builder, |builder| Ok(builder.load(&args.out)?))?;
    let backbone = detector.config().backbone;
    match args.backbone {
        Some(other) if other != backbone => {
            let out = args.out.display();
            Err(format!("the model in {out} has the backbone {backbone}, not {other}").into())
        }
        _ => Ok(detector),
    }
}

struct Run<'a> {
    args: &'a TrainArgs,
    device: Device,
    /// Devices that share each step of training with it.
    others: Vec<Device>,
    cache: Option<FeatureCache>,
    cancel: &'a Cancel,
    /// True once an interruption writes a checkpoint.
    saved: bool,
}

/// The network with the best image AUROC on the test set.
struct Best {
    epoch: u64,
    image_auroc: f64,
    network: DualAd,
}

impl Run<'_> {
    fn train(&mut self) -> Result<()> {
        let backbone = self.args.backbone();
        let recipe = self.args.recipe(backbone)?;
        let weights = self.args.weights(backbone)?;
        if self.args.weights.is_some() && !backbone.has_weights() {
            note(&format!("note: {backbone} has no weights; --weights has no effect"));
        }
        let included = self.args.with_backbone && backbone.has_weights();
        if self.args.with_backbone && !included {
            note(&format!("note: {backbone} has no weights; --with-backbone has no effect"));
        }
        // Before the folder is taken: a wrong path leaves nothing behind.
        self.args.data.as_ref().map_or(Ok(()), |data| check_apart(&self.args.out, data))?;
        let opened = self.args.data.as_ref().map(|root| self.args.selection.open(root)).transpose()?;
        let folder = RunFolder::take(&self.args.out)?;
        let resume = self.args.resume && folder.checkpoint().exists();
        if self.args.resume && !resume {
            note(&format!("note: there is no {} to resume from; the run begins", folder.checkpoint().display()));
        }
        let dataset = self.dataset(opened, resume)?;
        if self.args.common.json.is_some() && dataset.samples(Split::Test).next().is_none() {
            return Err("the dataset has no test images, so there will be no result for --json; leave it out".into());
        }
        let fit = Detector::fit(dataset.clone()).recipe(recipe).preset(self.args.preset().into());
        let fit = fit.backbone(backbone, weights.clone()).resume(resume);
        let prepared = self.settings(fit, &folder).prepare()?;
        let test_set = self.test_set(&dataset, &prepared)?;
        let earlier = !resume && folder.checkpoint().exists();
        let trainer = prepared.trainer()?;
        if let Some(notice) = prepared.begins_anew() {
            note(&format!("note: {notice}"));
        } else if earlier {
            let kept = folder.previous_checkpoint();
            note(&format!("note: the checkpoint of an earlier run is kept as {}", kept.display()));
        }
        // From here on an interruption writes a checkpoint.
        self.saved = true;
        let mut measurement = test_set.as_ref().map(|(set, _)| Measurement::new(&dataset, set, self.cancel));
        let (trainer, best) = self.epochs(&prepared, trainer, measurement.as_mut())?;
        let (network, reported) = match best {
            Some(Best { epoch, network, .. }) => (network, Reported::BestOnTestSet { epoch: usize::try_from(epoch)? }),
            None => (trainer.network()?, Reported::Last),
        };
        let (losses, seconds) = (trainer.losses(), trainer.seconds());
        drop(trainer);
        let evaluation = measurement.as_ref().map(|measurement| measurement.time);
        let anew = prepared.begins_anew().map(str::to_owned);
        let features = prepared.seconds() + test_set.as_ref().map_or(0.0, |(_, seconds)| *seconds);
        let Fitted { mut detector, mut notices, .. } = prepared.finish(network, losses.clone())?;
        save(&detector, &folder)?;
        let measured = match &test_set {
            Some((set, _)) => {
                let mut measurement = Measurement::new(&dataset, set, self.cancel);
                measurement.time = evaluation.unwrap_or_default();
                let training = Training { losses, reported, seconds, features, trained_test_images: None };
                self.measure(measurement, training, &mut detector, &mut notices, &folder)
            }
            None => {
                note("note: the dataset has no test images; nothing was measured");
                Ok(())
            }
        };
        // Once, and also for a model that cannot be measured.
        if included {
            include(detector.clone(), &folder)?;
        }
        measured?;
        let notices: Vec<String> = notices.into_iter().filter(|notice| Some(notice) != anew.as_ref()).collect();
        self.print_thresholds(&detector, &notices)
    }

    /// Measures the saved model. Adds the results to its card, and the decisions on the defective test images to its thresholds.
    fn measure(
        &self,
        mut measurement: Measurement<'_>,
        training: Training,
        detector: &mut Detector,
        notices: &mut Vec<String>,
        folder: &RunFolder,
    ) -> Result<()> {
        let output = Output {
            common: &self.args.common,
            folder,
            heat_maps: self.args.heatmaps,
            limits: self.args.selection.limits(),
        };
        let model = detector.model().on_device(&self.device)?;
        let report = measurement.report(&model, detector.calibration(), training, output)?;
        if let Some(mut calibration) = detector.calibration().cloned() {
            let known = calibration.warnings();
            let defective = report.images.iter().filter(|image| image.anomalous);
            calibration.record_known_defective(defective.map(|image| (image.category.as_str(), image.image_score)))?;
            notices.extend(calibration.warnings().into_iter().filter(|warning| !known.contains(warning)));
            // The same thresholds with a record more: no earlier ones to keep.
            calibration.save(ModelFiles::of(folder.path()).calibration)?;
            *detector = detector.clone().with_calibration(Some(calibration));
        }
        save_card(detector, folder, &format!("```text\n{}```", report.table()))
    }

    /// Prints the thresholds, the share of known good images that they reject, the notices, and the next commands. Where the JSON goes to standard
    /// output, the notices go to standard error.
    fn print_thresholds(&self, detector: &Detector, notices: &[String]) -> Result<()> {
        if self.args.common.json_to_stdout() {
            notices.iter().for_each(|notice| note(&format!("note: {notice}")));
            return Ok(());
        }
        let model = quoted(&self.args.out);
        let calibrate = format!("dualad calibrate --model {model} --data FOLDER");
        let lines = match detector.calibration() {
            Some(calibration) => calibration.summary(),
            None if self.args.hold_out() > 0.0 => {
                vec![format!("none, because there are too few images to keep any back; set them with `{calibrate}`")]
            }
            None => vec![format!("none, because every image is trained on; set them with `{calibrate}`")],
        };
        let lines = lines.iter().map(|line| format!("thresholds: {line}"));
        let notices = notices.iter().map(|notice| format!("note: {notice}"));
        let next = format!("next: dualad inspect --model {model} IMAGE, or {calibrate} with more good images");
        let place = [format!("model: {}", self.args.out.display()), next];
        print(&lines.chain(notices).chain(place).map(|line| printable(&line) + "\n").collect::<String>())
    }

    /// Returns the opened dataset, or else generates one, and checks it.
    fn dataset(&self, opened: Option<Dataset>, resume: bool) -> Result<Dataset> {
        let dataset = match opened {
            Some(dataset) => dataset,
            None => self.args.selection.open(&data::generate(&self.args.out)?)?,
        };
        if !resume && !self.args.no_check {
            let (skip_broken, limits) = (self.args.skip_broken, self.args.selection.limits());
            return data::check(dataset, Purpose::Training, skip_broken, limits, self.cancel);
        }
        Ok(dataset)
    }

    /// Adds the settings that do not depend on the recipe.
    fn settings(&self, fit: Fit, folder: &RunFolder) -> Fit {
        let interval = Duration::from_secs(self.args.checkpoint_every);
        let fit = fit
            .hold_out(self.args.hold_out())
            .skip_broken(self.args.skip_broken)
            .device(&self.device)
            .data_parallel(&self.others)
            .cancel(self.cancel)
            .limits(self.args.selection.limits());
        let fit = fit.checkpoint(folder.checkpoint()).checkpoint_interval(interval).log(folder.log());
        let fit = match &self.cache {
            Some(cache) => fit.cache(cache.clone()),
            None => fit,
        };
        let [reading, bank, features, scoring] =
            ["reading images", "tokens for the bank", "features for training", "scoring for thresholds"].map(Bar::new);
        fit.progress(move |progress| match progress {
            FitProgress::Reading(progress) => reading.set(progress.done, progress.total),
            FitProgress::Bank(progress) => bank.set(progress.done, progress.total),
            FitProgress::Features(progress) => features.set(progress.done, progress.total),
            FitProgress::Scoring(progress) => scoring.set(progress.done, progress.total),
            _ => {}
        })
    }

    /// Returns the test set and the seconds that its features took, if the dataset has test images.
    fn test_set(&self, dataset: &Dataset, prepared: &PreparedFit) -> Result<Option<(TestSet, f64)>> {
        let samples: Vec<Sample> = dataset.samples(Split::Test).cloned().collect();
        if samples.is_empty() {
            return Ok(None);
        }
        Ok(Some(test_set(prepared.features(samples))?))
    }

    /// Trains to the end, and evaluates on the way where the flags ask for it. Returns the best network for `--best`.
    fn epochs<'a>(
        &self,
        prepared: &PreparedFit,
        trainer: Trainer<'a>,
        mut measurement: Option<&mut Measurement<'_>>,
    ) -> Result<(Trainer<'a>, Option<Best>)> {
        let bar = Arc::new(Bar::training());
        let shared = bar.clone();
        let mut trainer = trainer.progress(move |progress| shared.train(progress));
        let mut best: Option<Best> = None;
        while !trainer.is_finished() {
            let every = self.args.eval_every.unwrap_or(u64::MAX);
            let next = (trainer.epoch() / every + 1).saturating_mul(every);
            trainer.run_to(next)?;
            let Some(measurement) = measurement.as_mut().filter(|_| self.args.eval_every.is_some()) else { continue };
            if trainer.is_finished() && !self.args.best {
                // The final evaluation follows.
                continue;
            }
            let network = trainer.network()?;
            let (evaluation, _) = measurement.evaluate(&prepared.model(network.clone())?)?;
            let image_auroc = evaluation.mean.image_auroc.unwrap_or(0.0);
            if self.args.best && best.as_ref().is_none_or(|best| image_auroc > best.image_auroc) {
                best = Some(Best { epoch: trainer.epoch(), image_auroc, network });
            }
            if !trainer.is_finished() {
                bar.suspend(|| self.print_mean(trainer.epoch(), &evaluation));
            }
        }
        // Without the function, the bar ends here.
        Ok((trainer.progress(|_| {}), best))
    }

    /// Prints a line for an evaluation during training, unless the JSON goes to standard output.
    fn print_mean(&self, epoch: u64, evaluation: &Evaluation) {
        if self.args.common.json_to_stdout() {
            return;
        }
        let percent =
            |metric: &Metric| metric.as_ref().map_or_else(|_| "-".to_owned(), |value| format!("{:.1}", 100.0 * value));
        let mean = &evaluation.mean;
        // A line that cannot be printed does not end the run.
        let _ = print(&format!(
            "epoch {epoch}: image AUROC {}, pixel AUROC {}, pixel AP {}\n",
            percent(&mean.image_auroc),
            percent(&mean.pixel_auroc),
            percent(&mean.pixel_ap)
        ));
    }

    /// Returns the error message of an interrupted run.
    fn interrupted(&self) -> String {
        if self.saved {
            let out = self.args.out.display();
            return format!("interrupted; {out}/checkpoint.safetensors has the run so far: continue it with --resume");
        }
        "interrupted before the first training step; features that were cached are kept".into()
    }
}

/// Returns a path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    // To a shell of Unix, a backslash escapes the next character.
    let plain = if cfg!(windows) { "/\\:._-+,@%=" } else { "/:._-+,@%=" };
    let is_plain = |c: char| c.is_alphanumeric() || plain.contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Adds a copy of the backbone's weights to the saved model.
fn include(mut detector: Detector, folder: &RunFolder) -> Result<()> {
    let thresholds = ModelFiles::of(folder.path()).calibration;
    // The same model's thresholds of an earlier day stay.
    if detector.calibration().is_none() && thresholds.exists() {
        detector = detector.with_calibration(Some(Calibration::load(&thresholds)?));
    }
    Ok(detector.save_with_backbone(folder.path())?)
}

/// Saves the model before it is measured, and removes the results of an earlier model, which would be taken for this one's.
fn save(detector: &Detector, folder: &RunFolder) -> Result<()> {
    let files = ModelFiles::of(folder.path());
    let before = std::fs::read(&files.previous_calibration).ok();
    save_card(detector, folder, "")?;
    // Afterwards: if the model cannot be saved, the earlier one keeps its results.
    folder.remove_results()?;
    let after = std::fs::read(&files.previous_calibration).ok();
    if after.is_some() && after != before {
        let kept = files.previous_calibration.display();
        let then = if files.calibration.exists() { "" } else { "; set them anew" };
        note(&format!("note: the thresholds that were there are kept as {kept}{then}"));
    }
    Ok(())
}

/// Saves the model with its thresholds, if it has any, and with its results for the model card.
fn save_card(detector: &Detector, folder: &RunFolder, results: &str) -> Result<()> {
    match detector.calibration() {
        Some(_) => detector.save_with_results(folder.path(), results)?,
        // The same model's thresholds of an earlier day stay.
        None => detector.model().save(folder.path(), results)?,
    }
    Ok(())
}
