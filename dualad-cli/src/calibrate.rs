//! `dualad calibrate`: set a model's thresholds with labeled images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::{CommonArgs, Result, note, print, printable};
use crate::guard::Guard;
use crate::model::{ModelArgs, check_category};
use crate::progress::{Bar, ProgressArgs};
use clap::{ArgGroup, ValueEnum};
use dualad::calibration::{Calibration, Calibrator, Rule, Thresholds};
use dualad::data::{Cancel, Dataset, Sample, Split};
use dualad::detector::Request;
use dualad::{Detector, ModelFiles};

/// The default of --false-alarm-rate.
const RATE: f64 = 0.01;
/// The default of --confidence.
const CONFIDENCE: f64 = 0.95;

/// The use of images that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trained {
    /// End with an error that names them
    Refuse,
    /// Set the thresholds with the other images
    LeaveOut,
    /// Use them: the thresholds will be too low
    Use,
}

/// Set a model's thresholds with labeled images
///
/// Writes calibration.json into the model's folder, or to --out. The file may be edited by hand. Images that the model was trained
/// on are refused, whatever their names: they score lower than new images.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Also write the thresholds to FILE; `-` prints them instead of the table")))]
#[command(group = ArgGroup::new("reject").args(["false_alarm_rate", "quantile", "f1_max", "recall"]))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A dataset, whose test images are used; or a folder of good images; or a folder of good images for each product
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Product in the images, whatever their folder's name [default: the folders' names]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Use the training images of the dataset; only if this model was not trained on them
    #[arg(long)]
    training_images: bool,
    /// Use of images that the model was trained on
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Trained::Refuse)]
    trained: Trained,
    /// Reject at most this share of good parts [default: 0.01, with --confidence]
    #[arg(long, value_name = "SHARE", value_parser = parse_rate, allow_negative_numbers = true)]
    false_alarm_rate: Option<f64>,
    /// Confidence of --false-alarm-rate
    #[arg(long, value_name = "SHARE", default_value_t = CONFIDENCE, value_parser = parse_confidence, allow_negative_numbers = true)]
    confidence: f64,
    /// Reject at or above this quantile of the good images' scores
    #[arg(long, value_name = "SHARE", value_parser = parse_quantile, allow_negative_numbers = true)]
    quantile: Option<f64>,
    /// Reject at or above the score with the best F1; needs defective images
    #[arg(long)]
    f1_max: bool,
    /// Reject at least this share of the defective images; needs defective images
    #[arg(long, value_name = "SHARE", value_parser = parse_recall, allow_negative_numbers = true)]
    recall: Option<f64>,
    /// Ask for a review at or above this quantile of the good images' scores
    #[arg(long, value_name = "SHARE", value_parser = parse_quantile, allow_negative_numbers = true)]
    review_quantile: Option<f64>,
    /// File to write [default: calibration.json in the model's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Parses a number, and checks it as a value of a rule.
fn parse_share(text: &str, rule: fn(f64) -> Rule) -> std::result::Result<f64, String> {
    let share = text.parse::<f64>().map_err(|_| "must be a number, such as 0.95".to_owned())?;
    rule(share).validate().map_err(|error| error.to_string())?;
    Ok(share)
}

fn parse_quantile(text: &str) -> std::result::Result<f64, String> {
    parse_share(text, |quantile| Rule::Quantile { quantile })
}

fn parse_recall(text: &str) -> std::result::Result<f64, String> {
    parse_share(text, |share| Rule::Recall { share })
}

fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    parse_share(text, |rate| Rule::FalseAlarmRate { rate, confidence: CONFIDENCE })
}

fn parse_confidence(text: &str) -> std::result::Result<f64, String> {
    parse_share(text, |confidence| Rule::FalseAlarmRate { rate: RATE, confidence })
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.progress.apply();
    let source = &args.model.source;
    let out = match (&args.out, source.folder()?) {
        (Some(out), _) => out.clone(),
        (None, Some(folder)) if folder.is_dir() => ModelFiles::of(folder).calibration,
        (None, Some(folder)) => {
            return Err(format!("there is no model in {}; name the folder of a trained one", folder.display()).into());
        }
        (None, None) => {
            return Err("the model is not a folder; say with --out where the thresholds are to be written".into());
        }
    };
    let guard = Guard::default().reads(args.model.files());
    guard.check_thresholds(&out)?;
    args.common.check_json(&guard)?;
    // Without the thresholds it has: they may be another model's, or damaged.
    let detector = source.load(source.builder(&args.common)?.calibration(None).limits(args.model.images.limits()))?;
    check_category(&detector, args.category.as_deref())?;
    let dataset = Dataset::open_products(&args.data)?;
    // The training images of a folder without test images are good images.
    let test = !args.training_images && dataset.samples(Split::Test).next().is_some();
    let samples: Vec<&Sample> = dataset.samples(if test { Split::Test } else { Split::Train }).collect();
    let (samples, as_category) = match &args.category {
        Some(category) => (samples, Some(Some(category.clone()))),
        None => of_the_model(samples, detector.categories())?,
    };
    let samples = unseen(args.trained, &detector, samples)?;
    let bar = Bar::new("scoring images");
    let images = samples.iter().map(|&sample| {
        let request = Request::from(&sample.path);
        let request = match &as_category {
            Some(Some(category)) => request.category(category),
            Some(None) => request,
            None => request.category(&sample.category),
        };
        (request, sample.label.clone())
    });
    // Those that are left out are known by now: another look would decode every image once more.
    let calibrator = calibrator(args).training_images(args.trained != Trained::Refuse);
    let calibration = detector.calibrate(&calibrator, images, &Cancel::default(), |progress| {
        bar.set(progress.done, progress.total);
    });
    drop(bar);
    let calibration = calibration?;
    calibration.save(&out)?;
    for warning in calibration.warnings() {
        note(&warning);
    }
    if args.common.json_to_stdout() {
        return print(&format!("{}\n", calibration.to_json()?.trim_end()));
    }
    args.common.write_json(&calibration)?;
    print(&table(&calibration, &out))
}

/// Leaves out the images that the model was trained on, where that is asked for. Says so if the model does not know them.
fn unseen<'a>(trained: Trained, detector: &Detector, samples: Vec<&'a Sample>) -> Result<Vec<&'a Sample>> {
    if detector.model().known_training_images().is_none() {
        note(
            "note: the model has no record of its training images, as those of earlier versions; thresholds are right only if these images are others",
        );
        return Ok(samples);
    }
    if trained != Trained::LeaveOut {
        return Ok(samples);
    }
    let requests: Vec<Request<'_>> = samples.iter().map(|sample| Request::from(&sample.path)).collect();
    let seen = detector.was_trained_on(&requests, &Cancel::default())?.unwrap_or_default();
    let unseen: Vec<&Sample> =
        samples.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(sample, _)| *sample).collect();
    if unseen.is_empty() {
        return Err(
            format!("the model was trained on all {} images; give images that it has not seen", samples.len()).into()
        );
    }
    if let count @ 1.. = samples.len() - unseen.len() {
        note(&format!("note: left out, because the model was trained on them: {count} of {} images", samples.len()));
    }
    Ok(unseen)
}

/// Selects the images of products that the model was trained on. Returns them, and the category to use for all of them where
/// the folder's name is none of the model's products: the model's only product, or none.
///
/// The scores of an unknown product would mean nothing, and spoil the pooled thresholds.
fn of_the_model<'a>(samples: Vec<&'a Sample>, known: &[String]) -> Result<(Vec<&'a Sample>, Option<Option<String>>)> {
    let is_known = |sample: &&Sample| known.is_empty() || known.contains(&sample.category);
    let unknown: BTreeSet<&str> =
        samples.iter().filter(|sample| !is_known(sample)).map(|sample| sample.category.as_str()).collect();
    let listed = unknown.iter().copied().collect::<Vec<_>>().join(", ");
    if unknown.is_empty() {
        return Ok((samples, None));
    }
    if samples.iter().any(is_known) {
        note(&format!("note: left out, because the model was not trained on it: {listed}"));
        return Ok((samples.into_iter().filter(is_known).collect(), None));
    }
    match known {
        _ if unknown.len() > 1 => {
            Err(format!("the model was trained on {}, and these images are of others: {listed}", known.join(", "))
                .into())
        }
        [only] => {
            note(&format!("note: the images in {listed} are taken for the model's one product, {only}"));
            Ok((samples, Some(Some(only.clone()))))
        }
        _ => {
            let names = known.join(", ");
            note(&format!("note: {listed} is not one of {names}; its images set only the pooled thresholds"));
            Ok((samples, Some(None)))
        }
    }
}

fn calibrator(args: &Args) -> Calibrator {
    let reject = match (args.quantile, args.recall) {
        (Some(quantile), _) => Rule::Quantile { quantile },
        (_, Some(share)) => Rule::Recall { share },
        _ if args.f1_max => Rule::F1Max,
        _ => Rule::FalseAlarmRate { rate: args.false_alarm_rate.unwrap_or(RATE), confidence: args.confidence },
    };
    let calibrator = Calibrator::new(reject);
    match args.review_quantile {
        Some(quantile) => calibrator.review(Rule::Quantile { quantile }),
        None => calibrator,
    }
}

/// Returns the thresholds as a table.
fn table(calibration: &Calibration, out: &Path) -> String {
    let mut text = format!("{:<16} {:>10} {:>10} {:>6} {:>9}\n", "category", "review", "reject", "good", "defective");
    let named = calibration.categories.iter().map(|(name, thresholds)| (name.as_str(), thresholds));
    for (name, thresholds) in named.chain(calibration.pooled.iter().map(|thresholds| ("(pooled)", thresholds))) {
        let Thresholds { review, reject, normal_images, anomalous_images, .. } = thresholds;
        let name = printable(name);
        text += &format!("{name:<16} {review:>10.4} {reject:>10.4} {normal_images:>6} {anomalous_images:>9}\n");
    }
    text + &format!("{}\n", out.display())
}
