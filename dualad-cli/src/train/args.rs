//! The flags of training.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dualad::Variant;
use dualad::backbones::{Backbone, Weights};
use dualad::recipe::Recipe;

use crate::common::{CommonArgs, Result, UsageError};
use crate::data::DataArgs;
use crate::features::FeatureArgs;
use crate::model::{backbones, parse_threads, weights_of};
use crate::progress::ProgressArgs;

/// The default share of images that are kept back for the thresholds.
const HELD_OUT: f64 = 0.2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// The paper's recipe: 1200 epochs
    Paper,
    /// A useful model in minutes on a CPU: a small network, and a bank of normal features beside it
    Fast,
    /// The best detections: as fast, with larger images
    Accurate,
}

impl From<Preset> for dualad::recipe::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Paper => Self::Paper,
            Preset::Fast => Self::Fast,
            Preset::Accurate => Self::Accurate,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VariantName {
    /// Two branches of different kinds, wide-shallow and narrow-deep
    Heterogeneous,
    /// Two branches of the same kind
    Homogeneous,
}

/// Train one model on all categories of a dataset, and measure it
///
/// Finds the layout of the dataset: MVTec AD, VisA, or folders of good images. Without --data, a small dataset is generated;
/// training on it with the filter bank takes some minutes.
#[derive(Debug, Args)]
#[command(mut_arg("seed", |arg| arg.help("Seed of all random numbers [default: the recipe's, 0]")))]
#[command(mut_arg("json", |arg| arg.help("Write the report as JSON to FILE; `-` prints it instead of the table")))]
pub struct TrainArgs {
    /// Folder of the dataset [default: none, a small one is generated]
    #[arg(long, value_name = "ROOT")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: DataArgs,
    /// Skip the check of every file of the dataset; a resumed run skips it, too
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Leave out images that cannot be read, and list them
    #[arg(long)]
    pub(crate) skip_broken: bool,
    /// Share of each category's training images that are kept back: they are not trained on and set the thresholds [default: 0.2; with
    /// --preset paper 0, to train on the paper's images]
    #[arg(long, value_name = "SHARE", value_parser = parse_share, allow_negative_numbers = true)]
    pub(crate) hold_out: Option<f64>,
    /// Frozen backbone [default: wide-resnet50-2, the paper's best; without --data: filter-bank, which needs no weights]
    #[arg(long, value_name = "NAME", value_parser = backbones())]
    pub(crate) backbone: Option<Backbone>,
    /// The backbone's weights: a safetensors or PyTorch file, or `hub` for the Hugging Face hub [default: hub]
    #[arg(long, value_name = "FILE|hub")]
    pub(crate) weights: Option<String>,
    /// Save a copy of the backbone's weights with the model, so that another machine needs nothing else. They have a license of
    /// their own
    #[arg(long, conflicts_with = "eval_only")]
    pub(crate) with_backbone: bool,
    /// The reconstruction network
    #[arg(long, value_enum, default_value_t = VariantName::Heterogeneous)]
    pub(crate) variant: VariantName,
    /// Recipe, which other flags can change [default: paper; without --data: fast]
    #[arg(long, value_enum)]
    pub(crate) preset: Option<Preset>,
    /// Number of epochs [default: the preset's; paper: 1200, fast and accurate: 12]. 0 with a bank: the bank alone scores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) epochs: Option<u64>,
    /// Number of images a training step [default: the preset's; paper: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch_size: Option<u16>,
    /// Learning rate before its schedule [default: the preset's; paper: 1e-4]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) learning_rate: Option<f64>,
    /// Also measure after every N epochs [default: only after the last]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) eval_every: Option<u64>,
    /// Save and report the epoch with the best image AUROC on the test set, of those that --eval-every measures. The report
    /// says so: metrics on new images will be worse
    #[arg(long, requires = "eval_every", conflicts_with = "resume")]
    pub(crate) best: bool,
    /// JSON with changes to the preset, such as {"network": {"levels": 2}, "train": {"seed": 1}}; flags override it
    #[arg(long, value_name = "FILE.json")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the model, its checkpoint, log, report and heat maps
    #[arg(long, value_name = "DIR", default_value = "out/model")]
    pub(crate) out: PathBuf,
    /// Continue from the last checkpoint in --out; without a checkpoint, begin
    #[arg(long)]
    pub(crate) resume: bool,
    /// Do not train: measure the model in --out
    #[arg(long, conflicts_with_all = ["resume", "config", "preset", "epochs", "batch_size", "learning_rate", "eval_every", "skip_broken"])]
    pub(crate) eval_only: bool,
    /// Seconds of training between two checkpoints; where writing one takes long, they are rarer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) checkpoint_every: u64,
    /// Number of heat maps to write for each category
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) heatmaps: usize,
    /// Number of threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "must be at least 0 and below 1, such as 0.2".into())
}

fn rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("choose a finite number that is not negative, such as 1e-4".into()),
    }
}

impl TrainArgs {
    pub(crate) fn hold_out(&self) -> f64 {
        self.hold_out.unwrap_or(if self.preset() == Preset::Paper { 0.0 } else { HELD_OUT })
    }

    pub(crate) fn backbone(&self) -> Backbone {
        let unnamed = if self.data.is_some() { Backbone::WideResNet50x2 } else { Backbone::FilterBank };
        self.backbone.unwrap_or(unnamed)
    }

    /// The weights asked for; for a backbone that needs none, none.
    pub(crate) fn weights(&self, backbone: Backbone) -> Result<Weights> {
        if !backbone.has_weights() {
            return Ok(Weights::default());
        }
        weights_of(self.weights.as_deref().unwrap_or("hub"))
    }

    pub(crate) fn preset(&self) -> Preset {
        self.preset.unwrap_or(if self.data.is_some() { Preset::Paper } else { Preset::Fast })
    }

    /// The preset, what --config changes, and what flags change.
    pub(crate) fn recipe(&self, backbone: Backbone) -> Result<Recipe> {
        let variant = match self.variant {
            VariantName::Heterogeneous => Variant::Heterogeneous,
            VariantName::Homogeneous => Variant::Homogeneous,
        };
        let preset = self.preset();
        let mut recipe = dualad::recipe::Preset::from(preset).recipe(variant, backbone);
        if let Some(path) = &self.config {
            // Reading a device may never end.
            if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(format!("cannot read {}: it is not a regular file", path.display()).into());
            }
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            recipe = recipe.with_json(&path.display().to_string(), &text)?;
        }
        let train = &mut recipe.train;
        train.epochs = self.epochs.unwrap_or(train.epochs);
        train.batch_size = self.batch_size.map_or(train.batch_size, usize::from);
        train.optimizer.learning_rate = self.learning_rate.unwrap_or(train.optimizer.learning_rate);
        train.seed = self.common.seed.unwrap_or(train.seed);
        if self.epochs == Some(0) && recipe.bank.is_none() {
            let reason =
                "--epochs 0 trains nothing; without a bank, such as that of --preset accurate, it must be at least 1";
            return Err(UsageError(reason.into()).into());
        }
        recipe.validate()?;
        Ok(recipe)
    }
}
