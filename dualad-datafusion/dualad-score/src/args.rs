//! The arguments of the program.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use dualad::Detector;
use dualad::backbones::Weights;
use dualad_datafusion::Inspector;

use crate::address::Address;
use crate::error::{Error, Result};

/// Scores the images of Parquet files with a model of dualad
///
/// Each row of the input gets the score, the decision, the threshold, the regions and the error of its image; the other columns are
/// passed through. Finished parts of the input are kept in OUTPUT.parts until the output is complete: after an interruption, the same
/// command with --resume goes on with the rest.
#[derive(Debug, clap::Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) score: ScoreArgs,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Inspect images for other machines
    Worker(WorkerArgs),
}

/// The arguments that name a model.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// A trained model: its folder, or owner/name on the Hugging Face hub
    #[arg(long, value_name = "DIR|owner/name", required = true)]
    pub(crate) model: Option<String>,
    /// The backbone's weights, a safetensors or PyTorch file [default: those in the model's folder, or those that its configuration names]
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Number of threads to inspect with; with workers, of each worker [default: one for each core]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Number of rows that a thread reads at a time. Their images are in memory
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65536))]
    pub(crate) batch: usize,
    /// Parquet files, or folders of Parquet files. In SQL they are the table `images`, and a query of other tables needs none
    #[arg(long, value_name = "FILE", required_unless_present = "sql", num_args = 1..)]
    pub(crate) input: Vec<PathBuf>,
    /// Parquet file to write
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) output: Option<PathBuf>,
    /// Column with the contents of image files
    #[arg(long, value_name = "COLUMN", default_value = "image")]
    pub(crate) image: String,
    /// Column with the category of each image; its thresholds are used [default: the pooled thresholds are used]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) category: Option<String>,
    /// Pass the column of images through, too
    #[arg(long)]
    pub(crate) keep_images: bool,
    /// Beginning of the names of the new columns, such as "dualad_"
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// Write the result of a query instead, such as "SELECT line, inspect(image)['score'] FROM images". It is not resumable
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["category", "keep_images", "prefix", "resume"])]
    pub(crate) sql: Option<String>,
    /// Go on with an interrupted run. With --overwrite, begin anew where there is none to go on with
    #[arg(long)]
    pub(crate) resume: bool,
    /// Replace the output, and the parts of an earlier run
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Addresses of workers, such as 10.0.0.5:50051, with commas between. They read the input under the same path
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) workers: Vec<Address>,
    /// Seconds of silence after which the part of a worker is given to another. Set it to more than a batch takes
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = RangedU64ValueParser::<u64>::new().range(1..=86400))]
    patience: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Address to listen on. Anyone who reaches it can read the files of this machine: keep it in a network of your own
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    pub(crate) listen: Address,
}

impl Args {
    /// Returns the number of threads of the runtime: those that inspect, and one for everything else.
    pub(crate) fn runtime_threads(&self) -> usize {
        let model = match &self.command {
            Some(Command::Worker(worker)) => &worker.model,
            None => &self.score.model,
        };
        model.threads() + 1
    }
}

impl ScoreArgs {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    pub(crate) fn output(&self) -> Result<PathBuf> {
        let output = self.output.clone().ok_or_else(|| Error::message("--output is missing"))?;
        if output.is_dir() || output.file_name().is_none() {
            return Err(Error::file(output, "--output is a folder; name a file in it"));
        }
        Ok(output)
    }
}

impl ModelArgs {
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    pub(crate) fn inspector(&self) -> Result<Inspector> {
        let model = self.model.as_deref().unwrap_or_default();
        let mut builder = Detector::builder();
        if let Some(weights) = &self.weights {
            builder = builder.weights(Weights::file(weights));
        }
        let folder = std::path::Path::new(model);
        let detector = if folder.is_dir() { builder.load(folder)? } else { from_hub(builder, model)? };
        Ok(Inspector::new(detector)?)
    }
}

#[cfg(feature = "hub")]
fn from_hub(builder: dualad::detector::DetectorBuilder, name: &str) -> Result<Detector> {
    if name.split('/').count() != 2 || name.starts_with(['.', '/']) {
        return Err(Error::message(format!("--model {name}: there is no such folder")));
    }
    Ok(builder.from_pretrained(name)?)
}

#[cfg(not(feature = "hub"))]
fn from_hub(_builder: dualad::detector::DetectorBuilder, name: &str) -> Result<Detector> {
    Err(Error::message(format!("--model {name}: there is no such folder; this program was built without the hub")))
}
