//! `dualad import`: make a model of a checkpoint of the published code.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use dualad::backbones::{Backbone, Weights};
use dualad::candle_core::Device;
use dualad::recipe::Recipe;
use dualad::{Detector, DualAd, Model, Variant};
use serde::Serialize;

use crate::common::{CommonArgs, Result, print};
use crate::data::parse_category;
use crate::guard::Guard;
use crate::model::{backbones, weights_of};

/// Make a model of a checkpoint that the published PyTorch code saved
///
/// Names and shapes in the checkpoint tell the variant and the sizes of the network. The model has no thresholds yet: set them with `dualad calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Checkpoint of the published code (.pth, .pth.tar). Code in it is not executed
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Backbone that the network was trained with
    #[arg(long, value_name = "NAME", default_value = "wide-resnet50-2", value_parser = backbones())]
    backbone: Backbone,
    /// The backbone's weights: a safetensors or PyTorch file, or `hub` for the Hugging Face hub [default: those in the checkpoint]
    #[arg(long, value_name = "FILE|hub")]
    weights: Option<String>,
    /// JSON with what the shapes do not tell, where it is not the paper's, such as {"network": {"heads": 4, "neighbor_mask": [5, 5]}} [default: the paper's 8 heads and neighbor mask of 7 x 7 tokens]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Categories that the network was trained on, separated by commas [default: none; thresholds may then have any category]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_category)]
    categories: Vec<String>,
    /// Folder for the model. It must not hold another one
    #[arg(long, value_name = "DIR", default_value = "out/imported")]
    out: PathBuf,
    /// Copy the backbone's weights into the folder, so that another machine needs nothing else
    #[arg(long)]
    with_backbone: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// The JSON of an import.
#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    out: String,
    variant: Variant,
    parameters: usize,
    sha256: String,
}

/// Refuses the published code's own configuration with what to write instead.
fn refuse_yaml(path: &Path) -> Result<()> {
    let ending = path.extension().unwrap_or_default();
    if !["yaml", "yml"].iter().any(|yaml| ending.eq_ignore_ascii_case(yaml)) {
        return Ok(());
    }
    let path = path.display();
    Err(format!(
        r#"{path} is YAML, which is not read; write its nhead and neighbor_size into a JSON file, such as {{"network": {{"heads": 8, "neighbor_mask": [7, 7]}}}}: the checkpoint tells the rest"#
    )
    .into())
}

/// Refuses settings that are not those of the checkpoint.
fn check_sizes(given: &serde_json::Value, of_checkpoint: &serde_json::Value) -> Result<()> {
    for (name, given) in given.as_object().into_iter().flatten().filter(|(_, value)| !value.is_object()) {
        if let Some(other) = of_checkpoint.get(name).filter(|other| *other != given) {
            return Err(
                format!("--config has network.{name} {given}, and the checkpoint's is {other}; leave it out").into()
            );
        }
    }
    Ok(())
}

/// Runs `dualad import`.
pub(crate) fn run(args: &Args) -> Result<()> {
    args.common.check_json(&Guard::default().reads([&args.checkpoint]).reads(&args.config))?;
    let out = args.out.display();
    if args.out.join("config.json").exists() {
        return Err(format!("{out} holds a model; name another folder with --out").into());
    }
    let mut names = HashSet::new();
    if let Some(twice) = args.categories.iter().find(|name| !names.insert(*name)) {
        return Err(format!("--categories names {twice} twice; name each category once").into());
    }
    // The variant is the checkpoint's.
    let mut recipe = Recipe::paper(Variant::Heterogeneous, args.backbone);
    let mut given = serde_json::Value::Null;
    if let Some(path) = &args.config {
        refuse_yaml(path)?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        recipe = recipe.with_json(&path.display().to_string(), &text)?;
        given = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
    }
    let config = recipe.network.with_sizes_of(&args.checkpoint)?;
    check_sizes(&given["network"], &serde_json::to_value(&config)?)?;
    let (variant, parameters) = (config.variant, config.parameter_count()?);
    let network = DualAd::load_pth(config, &args.checkpoint, &Device::Cpu)?;
    let weights = match &args.weights {
        Some(weights) => weights_of(weights)?,
        None if args.backbone.has_weights() => Weights::file(&args.checkpoint),
        None => Weights::default(),
    };
    let stages: Vec<usize> = args.backbone.default_stages().iter().map(|stage| stage.index).collect();
    let extractor = args.backbone.extractor().stages(&stages).weights(weights.clone()).build();
    let extractor = extractor.map_err(|error| match &args.weights {
        Some(_) => error.to_string(),
        None => format!("{error}; --weights FILE names a file of the backbone's weights"),
    })?;
    let model = Model::new(network, args.backbone, &stages, extractor.provenance().clone());
    let model = model.with_categories(args.categories.clone());
    let detector = Detector::builder().device(&args.common.device()?).weights(weights).from_model(model)?;
    if args.with_backbone {
        detector.save_with_backbone(&args.out)?;
    } else {
        detector.save(&args.out)?;
    }
    let sha256 = detector.config().sha256.clone();
    let outcome = Outcome { format: 1, out: out.to_string(), variant, parameters, sha256 };
    args.common.write_json(&outcome)?;
    if args.common.json_to_stdout() {
        return Ok(());
    }
    print(&format!(
        "{out}: {variant}, {parameters} parameters; no thresholds yet: dualad calibrate --model {out} --data FOLDER\n"
    ))
}
