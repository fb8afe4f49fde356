//! `dualad calibrate`: set a model's thresholds with labeled images.

mod images;
mod join;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use dualad::calibration::{Calibration, Calibrator, Rule};
use dualad::data::{Cancel, Dataset, Finding, FindingKind, Label, Sample, Split};
use dualad::detector::Request;
use dualad::{Detector, ModelFiles, Precision, Progress};

use crate::common::{CommonArgs, Result, note, print};
use crate::guard::Guard;
use crate::model::{ModelArgs, check_category};
use crate::progress::{Bar, ProgressArgs};
use images::Trained;
use join::Earlier;

/// The default of --false-alarm-rate.
const RATE: f64 = 0.01;
/// The default of --confidence.
const CONFIDENCE: f64 = 0.95;
/// The default of --review-quantile with a bound on the rate of false alarms.
const REVIEW_QUANTILE: f64 = 0.95;

/// Set a model's thresholds with labeled images
///
/// Writes calibration.json into the model's folder, or to --out. The file may be edited by hand. Thresholds of products without images
/// are kept, and so are the pooled ones unless there are images of every product. Images that the model was trained on are refused,
/// whatever their names: they score lower than new images.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Also write the thresholds to FILE; `-` prints them instead of the table")))]
#[command(mut_arg("calibration", |arg| arg.help("Thresholds that are kept where the images set none, instead of the model's own")))]
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
    /// Leave out images that cannot be read, and list them
    #[arg(long)]
    skip_broken: bool,
    /// Replace the pooled thresholds, although the images are not of every product, or their folder names none
    #[arg(long)]
    pooled: bool,
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
    /// Ask for a review at or above this quantile of the good images' scores [default: 0.95 with --false-alarm-rate, none with another rule]
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
    let builder = source.builder(&args.common)?.calibration(None).limits(args.model.images.limits());
    let (precision, reason) = precision(args, &out)?;
    let detector = source.load(builder.precision(precision))?;
    check_category(&detector, args.category.as_deref())?;
    let dataset = Dataset::open_products(&args.data)?;
    check_products(&dataset, detector.categories())?;
    // The training images of a folder without test images are good images.
    let test = !args.training_images && dataset.samples(Split::Test).next().is_some();
    let samples: Vec<&Sample> = dataset.samples(if test { Split::Test } else { Split::Train }).collect();
    if test && samples.iter().all(|sample| sample.label.is_anomalous()) {
        let folder = args.data.display();
        return Err(format!(
            "{folder}: all of its {} test images are defective, and thresholds need good images; --training-images uses the {} others",
            samples.len(),
            dataset.samples(Split::Train).count()
        )
        .into());
    }
    let (samples, as_category) = select(samples, args.category.as_deref(), detector.categories())?;
    let normal = samples.iter().filter(|sample| !sample.label.is_anomalous());
    let products = normal.filter_map(|sample| as_category.unwrap_or(Some(sample.category.as_str()))).collect();
    let earlier = earlier(args, &out, &detector, &products)?;
    let images: Vec<(Request<'_>, Label)> =
        samples.iter().map(|sample| (request(sample, as_category), sample.label.clone())).collect();
    let known = images::choose(&detector, &images, args.trained, args.skip_broken)?;
    if as_category == Some(None) {
        let folder = samples.first().map_or("", |sample| sample.category.as_str());
        check_pooled(folder, args.pooled, earlier.as_ref(), detector.categories())?;
    }
    // Of a dataset with test images, these are good images, too.
    let train: Vec<&Sample> =
        dataset.samples(Split::Train).filter(|sample| test && !sample.label.is_anomalous()).collect();
    // The images that are left out are copies of them.
    let good: Vec<Request<'_>> = match train.is_empty() {
        true => known.left_out.clone(),
        false => train.iter().map(|sample| request(sample, as_category)).collect(),
    };
    let bar = Bar::new("scoring images");
    let progress = |progress: Progress| bar.set(progress.done, progress.total);
    let good = images::spread(&good, &known);
    let calibration = detector.calibrate_on(&calibrator(args), &known, &good, &Cancel::default(), progress)?;
    drop(bar);
    let joined = join::join(calibration, earlier, detector.categories(), args.pooled)?;
    joined.save(&out)?;
    note(&format!("note: scores are computed in {precision}{reason}"));
    for warning in joined.calibration.warnings() {
        note(&warning);
    }
    joined.tell_of_known();
    if args.common.json_to_stdout() {
        return print(&format!("{}\n", joined.calibration.to_json()?.trim_end()));
    }
    args.common.write_json(&joined.calibration)?;
    print(&joined.table(&out))
}

/// Returns the precision that is asked for, or else that of the earlier thresholds, and the reason as it follows its name.
fn precision(args: &Args, out: &Path) -> Result<(Precision, String)> {
    if let Some(asked) = args.model.source.precision {
        return Ok((asked, ", as --precision says".into()));
    }
    if let Some(path) = earlier_path(args, out)?.filter(|path| path.exists()) {
        // Thresholds that cannot be read are told of later.
        let earlier = Calibration::load(&path).ok().filter(|earlier| !earlier.is_of_any_precision());
        if let Some(earlier) = earlier {
            return Ok((earlier.precision, format!(", the precision of the thresholds in {}", path.display())));
        }
    }
    Ok((Precision::default(), ", the default".into()))
}

/// Refuses folders that may be labels of one product, unless they are the products that the model was trained on.
fn check_products(dataset: &Dataset, known: &[String]) -> Result<()> {
    let found: Vec<Finding> =
        dataset.findings.iter().filter(|finding| finding.kind == FindingKind::SameProduct).cloned().collect();
    if found.is_empty() || dataset.categories.iter().all(|category| known.contains(&category.name)) {
        return Ok(());
    }
    // As text: the flag for other subcommands is none of this one's.
    Err(dualad::data::Error::Dataset { findings: found }.to_string().into())
}

/// Returns the thresholds that are kept where the images set none: those that --calibration names, or those that --out replaces, or
/// else the model's own. `products` are those that the images set thresholds of.
fn earlier(args: &Args, out: &Path, detector: &Detector, products: &BTreeSet<&str>) -> Result<Option<Earlier>> {
    if let Some(named) = args.model.calibration.as_ref().filter(|named| !named.exists()) {
        return Err(format!("--calibration {}: there is no such file", named.display()).into());
    }
    Ok(earlier_path(args, out)?.and_then(|path| Earlier::read(&path, detector, products)))
}

/// Returns the file of the thresholds that are kept where the images set none.
fn earlier_path(args: &Args, out: &Path) -> Result<Option<PathBuf>> {
    if let Some(named) = &args.model.calibration {
        return Ok(Some(named.clone()));
    }
    let own = args.model.source.folder()?.map(|folder| ModelFiles::of(folder).calibration);
    Ok(if out.exists() { Some(out.to_owned()) } else { own })
}

/// Returns the request for a sample, of another product if one is given.
fn request<'a>(sample: &'a Sample, category: Option<Option<&'a str>>) -> Request<'a> {
    let request = Request::from(&sample.path);
    match category.unwrap_or(Some(&sample.category)) {
        Some(category) => request.category(category),
        None => request,
    }
}

/// Refuses to replace pooled thresholds by the images of a folder that is no known product, unless that is asked for: they may be of one
/// product only. Where they are used, says for what.
fn check_pooled(folder: &str, asked: bool, earlier: Option<&Earlier>, known: &[String]) -> Result<()> {
    let known = known.join(", ");
    if asked || earlier.is_none_or(|earlier| earlier.0.pooled.is_none()) {
        note(&format!("note: {folder} is not one of {known}; its images set only the pooled thresholds"));
        return Ok(());
    }
    Err(format!(
        "the images' folder, {folder}, is none of the model's products, {known}: name the product with --category, or replace the pooled thresholds with --pooled if the images are of all of them"
    )
    .into())
}

/// Samples, and the category to use for all of them if it is not their folder's name; `Some(None)` stands for none.
type Selected<'a, 'b> = (Vec<&'a Sample>, Option<Option<&'b str>>);

/// Selects the images of products that the model was trained on. Returns them, and the category to use for all of them where
/// the folder's name is none of the model's products: the named one, the model's only product, or none.
///
/// The scores of another product would mean nothing, and spoil the thresholds.
fn select<'a, 'b>(samples: Vec<&'a Sample>, named: Option<&'b str>, known: &'b [String]) -> Result<Selected<'a, 'b>> {
    if let Some(named) = named {
        // Folders of other products are those products' images.
        let is_other = |sample: &&Sample| sample.category != named && known.contains(&sample.category);
        let others: BTreeSet<&str> =
            samples.iter().filter(|sample| is_other(sample)).map(|sample| sample.category.as_str()).collect();
        let is_one_folder = samples.windows(2).all(|pair| pair[0].category == pair[1].category);
        if others.is_empty() || is_one_folder {
            return Ok((samples, Some(Some(named))));
        }
        let listed = others.iter().copied().collect::<Vec<_>>().join(", ");
        let rest: Vec<&Sample> = samples.into_iter().filter(|sample| !is_other(sample)).collect();
        if rest.is_empty() {
            return Err(format!("the images are of {listed}, and --category names {named}").into());
        }
        note(&format!("note: left out, because --category names {named}: {listed}"));
        return Ok((rest, Some(Some(named))));
    }
    let is_known = |sample: &&Sample| known.is_empty() || known.contains(&sample.category);
    let unknown: BTreeSet<&str> =
        samples.iter().filter(|sample| !is_known(sample)).map(|sample| sample.category.as_str()).collect();
    let listed = unknown.iter().copied().collect::<Vec<_>>().join(", ");
    if unknown.is_empty() {
        return Ok((samples, None));
    }
    if samples.iter().any(&is_known) {
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
            Ok((samples, Some(Some(only.as_str()))))
        }
        _ => Ok((samples, Some(None))),
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
    let names_rule = args.quantile.or(args.recall).is_some() || args.f1_max;
    match args.review_quantile.or((!names_rule).then_some(REVIEW_QUANTILE)) {
        Some(quantile) => calibrator.review(Rule::Quantile { quantile }),
        None => calibrator,
    }
}
