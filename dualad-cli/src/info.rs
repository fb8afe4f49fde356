//! `dualad info`: describe a saved model.

use std::collections::BTreeMap;

use dualad::calibration::{Calibration, Rule, ThresholdMethod, Thresholds};
use dualad::candle_core::Device;
use dualad::{Detector, ImageCounts, Model, ModelConfig, ModelFiles};
use serde::Serialize;

use crate::common::{JsonArgs, Result, print, printable};
use crate::guard::Guard;
use crate::model::{from_hub, model_folder, weights_of};

/// Describe a saved model: its network, its training, its thresholds and their guarantees
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A trained model: its folder, or owner/name on the Hugging Face hub
    #[arg(long, value_name = "DIR|owner/name")]
    model: String,
    /// For a model on the hub that comes without its backbone's weights: a safetensors or PyTorch file of them
    #[arg(long, value_name = "FILE|hub")]
    weights: Option<String>,
    #[command(flatten)]
    json: JsonArgs,
}

/// The JSON of a model.
#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    model: String,
    /// The number of learned values.
    parameters: usize,
    /// The content of `config.json`.
    config: ModelConfig,
    /// The precision that scores are computed in, unless another one is chosen.
    precision: &'static str,
    /// The content of `calibration.json`; `null` without thresholds.
    calibration: Option<Calibration>,
    /// The promise of each category's thresholds, and of the pooled ones under the empty name.
    promises: BTreeMap<String, Vec<String>>,
    /// The numbers of images that the network, the bank and the thresholds were made of.
    images: ImageCounts,
    /// The number of training images that the model has a record of, by which `calibrate` refuses them; `null` without a record.
    known_training_images: Option<usize>,
    /// The reasons for which the model cannot be used as it is.
    problems: Vec<String>,
}

/// Runs `dualad info`.
pub(crate) fn run(args: &Args) -> Result<()> {
    args.json.check(&Guard::default().reads(ModelFiles::of(&args.model).all()))?;
    let Loaded { config, calibration, images, known_training_images } = load(&args.model, args.weights.as_deref())?;
    let mut promises = BTreeMap::new();
    for (name, thresholds) in calibration.iter().flat_map(all) {
        promises.insert(name.to_owned(), promise(thresholds));
    }
    let other = calibration.as_ref().and_then(|calibration| calibration.model.as_ref());
    let mut problems = Vec::new();
    if other.is_some_and(|model| *model != config.sha256) {
        problems.push("the thresholds were set for another model; set them anew with `dualad calibrate`".into());
    }
    for name in calibration.iter().flat_map(|calibration| calibration.categories.keys()) {
        if !config.categories.is_empty() && !config.categories.contains(name) {
            problems.push(format!(
                "there are thresholds for \"{name}\", which the model was not trained on; correct the name"
            ));
        }
    }
    let parameters = config.network.parameter_count()?;
    let model = args.model.clone();
    let precision = calibration.as_ref().map(|calibration| calibration.precision).unwrap_or_default().name();
    let outcome = Outcome {
        format: 1,
        model,
        parameters,
        config,
        precision,
        calibration,
        promises,
        images,
        known_training_images,
        problems,
    };
    args.json.write(&outcome)?;
    if args.json.to_stdout() { Ok(()) } else { print(&text(&outcome)) }
}

/// The description of a model, without its backbone.
struct Loaded {
    config: ModelConfig,
    calibration: Option<Calibration>,
    images: ImageCounts,
    known_training_images: Option<usize>,
}

impl Loaded {
    fn new(model: &Model, calibration: Option<Calibration>) -> Self {
        let (images, known_training_images) = (model.image_counts(), model.known_training_images());
        Self { config: model.config().clone(), calibration, images, known_training_images }
    }
}

/// Loads the configuration and the thresholds. The parameters are read, too: a damaged model is an error.
fn load(name: &str, weights: Option<&str>) -> Result<Loaded> {
    let Some(folder) = model_folder(name)? else {
        let builder = match weights {
            Some(weights) => Detector::builder().weights(weights_of(weights)?),
            None => Detector::builder(),
        };
        let detector = from_hub(builder, name)?;
        return Ok(Loaded::new(detector.model(), detector.calibration().cloned()));
    };
    let model = Model::load(folder, &Device::Cpu)?;
    let thresholds = ModelFiles::of(folder).calibration;
    let calibration = if thresholds.exists() { Some(Calibration::load(&thresholds)?) } else { None };
    Ok(Loaded::new(&model, calibration))
}

/// Returns every set of thresholds with its category; the pooled ones have the empty name.
fn all(calibration: &Calibration) -> impl Iterator<Item = (&str, &Thresholds)> {
    let named = calibration.categories.iter().map(|(name, thresholds)| (name.as_str(), thresholds));
    named.chain(calibration.pooled.iter().map(|thresholds| ("", thresholds)))
}

/// Returns a sentence for each threshold.
fn promise(thresholds: &Thresholds) -> Vec<String> {
    let Thresholds { review, reject, normal_images, anomalous_images, .. } = thresholds;
    let mut sentences = vec![sentence("rejects", *reject, thresholds.reject_method.as_ref())];
    if review < reject {
        sentences.push(sentence("asks for review", *review, thresholds.review_method.as_ref()));
    }
    sentences.push(format!("set with {normal_images} good and {anomalous_images} defective images"));
    if let Some(known) = &thresholds.known_good {
        sentences.push(known.text());
    }
    if let Some(known) = &thresholds.known_defective {
        sentences.push(known.text());
    }
    sentences.extend(thresholds.warnings.iter().map(|warning| format!("warning: {warning}")));
    sentences
}

fn sentence(verb: &str, threshold: f32, method: Option<&ThresholdMethod>) -> String {
    let Some(method) = method else { return format!("{verb} from {threshold:.4}, set by hand") };
    let rule = match method.rule {
        Rule::Quantile { quantile } => format!("the {quantile} quantile of the good images"),
        Rule::FalseAlarmRate { rate, confidence } => {
            let (rate, confidence) = (100.0 * rate, 100.0 * confidence);
            format!("at most {rate} % of good parts, with {confidence} % confidence")
        }
        Rule::F1Max => "the best F1 on the images".into(),
        Rule::Recall { share } => format!("{} % of the defective images", 100.0 * share),
        _ => "a rule that this version does not know".into(),
    };
    let mut text = format!("{verb} from {threshold:.4}, by the rule: {rule}");
    // The bound is too low for F1Max: that rule looks at the normal scores.
    if let Some(alarms) = method.false_alarms.filter(|_| method.rule != Rule::F1Max) {
        let (rate, confidence) = (100.0 * alarms.rate_at_most, 100.0 * alarms.confidence);
        text += &format!("; at most {rate:.2} % of good parts are at or above it, with {confidence} % confidence");
    }
    text
}

fn text(outcome: &Outcome) -> String {
    let Outcome { model, parameters, config, precision, calibration, promises, problems, .. } = outcome;
    let ModelConfig { backbone, network, input, categories, preset, .. } = config;
    let mut rows = vec![
        ("model", model.clone()),
        ("written by", format!("dualad {}", config.dualad)),
        ("SHA-256", config.sha256.clone()),
        ("backbone", format!("{backbone}, {}", weights(config))),
        ("network", format!("{}, {parameters} parameters", network.variant)),
        ("input", format!("{} x {} pixels (height x width){}", input.height, input.width, tiles(config))),
        ("categories", categories.join(", ")),
        ("trained on", outcome.images.to_string()),
    ];
    let known = match outcome.known_training_images {
        Some(count) => format!("{count} images, which `dualad calibrate` refuses"),
        None => "none, as in models of earlier versions".into(),
    };
    rows.push(("record", known));
    if !config.held_out.is_empty() {
        rows.push(("held out", format!("{} images", config.held_out.len())));
    }
    if let Some(bank) = &config.bank {
        let alone = if bank.alone { "; it scores alone, the network is not trained" } else { "" };
        rows.push(("bank", format!("{} normal tokens{alone}", bank.tokens.iter().sum::<usize>())));
    }
    if let Some(train) = &config.train {
        let preset = preset.map_or("its own", |preset| preset.name());
        let (epochs, batch) = (train.epochs, train.batch_size);
        rows.push(("recipe", format!("{preset}, {epochs} epochs, {batch} images a step, seed {}", train.seed)));
    }
    match calibration {
        None => rows.push(("thresholds", "none: set them with `dualad calibrate`".into())),
        Some(calibration) if calibration.is_of_any_precision() => {
            rows.push(("thresholds", "for scores in any precision".into()));
        }
        Some(Calibration { precision, .. }) => rows.push(("thresholds", format!("for scores in {precision}"))),
    }
    rows.push(("precision", format!("{precision}, unless --precision names another")));
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<12} {}\n", printable(value))).collect();
    for (name, sentences) in promises {
        let name = if name.is_empty() { "pooled" } else { name };
        text += &format!("\nthresholds of {}\n", printable(name));
        sentences.iter().for_each(|sentence| text += &format!("  {}\n", printable(sentence)));
    }
    for notice in calibration.iter().flat_map(|calibration| &calibration.notices) {
        text += &format!("\nwarning: {}\n", printable(notice));
    }
    for problem in problems {
        text += &format!("\nproblem: {problem}\n");
    }
    text
}

fn weights(config: &ModelConfig) -> String {
    let Some(digest) = &config.weights.sha256 else { return "no weights".into() };
    format!("weights {}, SHA-256 {digest}", config.weights.location)
}

fn tiles(config: &ModelConfig) -> String {
    match &config.input.tiling {
        Some(tiling) => format!(", tiles of {} pixels that overlap by {}", tiling.tile, tiling.overlap),
        None => String::new(),
    }
}
