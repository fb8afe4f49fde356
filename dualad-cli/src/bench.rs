//! `dualad bench`: the time of each part, from an encoded picture to a decision, and of a training step.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use dualad::backbones::{Backbone, Weights};
use dualad::bench::Steps;
use dualad::candle_core::cuda::set_gemm_reduced_precision_f32;
use dualad::candle_core::{DType, Device, Tensor};
use dualad::detector::Request;
use dualad::recipe::Precision;
use dualad::{Detector, DualAd, DualAdConfig, Model, Random, Variant};
use serde::Serialize;

use crate::common::{self, CommonArgs, Result, UsageError, parse_count, print};
use crate::device::Devices;
use crate::guard::Guard;
use crate::progress::{ProgressArgs, Status};

/// Measure the time of each part: preprocessing, backbone, reconstruction, scoring, all of them, and a training step
///
/// Prints medians in milliseconds an image.
#[derive(Debug, clap::Args)]
#[command(mut_arg("seed", |arg| arg.help("Seed of the picture and of the parameters [default: 0]")))]
pub(crate) struct Args {
    /// Frozen backbone
    #[arg(long, value_name = "NAME", default_value = "wide-resnet50-2", value_parser = parse_backbone)]
    backbone: Backbone,
    /// The reconstruction network, of the paper's size: heterogeneous or homogeneous
    #[arg(long, default_value = "heterogeneous", value_parser = parse_variant)]
    variant: Variant,
    /// The backbone's weights, a safetensors or PyTorch file [default: generated ones, which take the same time]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Numbers of pictures at a time, with commas between them
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,8", value_parser = parse_sizes)]
    batch_size: Vec<usize>,
    /// Numbers of threads, with commas between them
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2", value_parser = parse_sizes)]
    threads: Vec<usize>,
    /// Seconds to measure each part for; it runs at least three times
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Numbers to compute with
    #[arg(long, value_enum, default_value_t = DTypeName::F32)]
    dtype: DTypeName,
    /// Multiply f32 matrices in tf32, on a CUDA device
    #[arg(long)]
    tf32: bool,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// The numbers to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum DTypeName {
    /// 32 bits
    F32,
    /// 16 bits, for a GPU; no training step
    F16,
    /// 16 bits with the range of f32, for a GPU
    Bf16,
}

impl From<DTypeName> for DType {
    fn from(name: DTypeName) -> Self {
        match name {
            DTypeName::F32 => Self::F32,
            DTypeName::F16 => Self::F16,
            DTypeName::Bf16 => Self::BF16,
        }
    }
}

impl Args {
    /// Returns the precision of training steps, if there is one.
    fn training_precision(&self) -> Option<Precision> {
        match self.dtype {
            DTypeName::F32 if self.tf32 => Some(Precision::Tf32),
            DTypeName::F32 => Some(Precision::F32),
            DTypeName::F16 => None,
            DTypeName::Bf16 => Some(Precision::Bf16),
        }
    }
}

fn parse_backbone(text: &str) -> std::result::Result<Backbone, String> {
    text.parse().map_err(|error: dualad::backbones::Error| error.to_string())
}

fn parse_variant(text: &str) -> std::result::Result<Variant, String> {
    match text {
        "heterogeneous" => Ok(Variant::Heterogeneous),
        "homogeneous" => Ok(Variant::Homogeneous),
        _ => Err("must be heterogeneous or homogeneous".into()),
    }
}

fn parse_sizes(text: &str) -> std::result::Result<usize, String> {
    parse_count(text, 1024)
}

fn parse_seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 3600.0);
    seconds.ok_or_else(|| "must be above 0 and at most 3600".into())
}

/// Medians in milliseconds.
#[derive(Debug, Serialize)]
struct Run {
    threads: usize,
    batch_size: usize,
    /// The time of one picture, by part.
    ms_per_image: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct Step {
    threads: usize,
    batch_size: usize,
    ms: f64,
    /// True if the tokens were on the device before. Training has them on the CPU, and each step copies its own.
    tokens_on_device: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    backbone: Backbone,
    variant: Variant,
    device: String,
    dtype: DTypeName,
    tf32: bool,
    instruction_set: String,
    runs: Vec<Run>,
    training_steps: Vec<Step>,
    /// The peak memory of the process in MiB; `null` where the operating system does not report it.
    peak_mib: Option<u64>,
}

/// The number of images of a training step, as in the paper.
const TRAINING_BATCH: usize = 16;
const PARTS: [&str; 5] = ["preprocessing", "backbone", "reconstruction", "scoring", "whole"];

/// Runs `dualad bench` as a program of its own.
pub fn main() -> ExitCode {
    common::exit(run(&common::parse("bench", &[])))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.progress.apply();
    let status = Status::new();
    args.common.check_json(&Guard::default().reads(&args.weights))?;
    if args.tf32 && (!matches!(args.common.device, Devices::Cuda(_)) || args.dtype != DTypeName::F32) {
        return Err(Box::new(UsageError("--tf32 needs --device cuda and --dtype f32".into())));
    }
    let device = args.common.device()?;
    set_gemm_reduced_precision_f32(args.tf32);
    let dtype = DType::from(args.dtype);
    let weights = match &args.weights {
        Some(path) => Weights::file(path),
        None if !args.backbone.has_weights() => Weights::default(),
        None => Weights::synthetic(0),
    };
    let seed = args.common.seed.unwrap_or(0);
    let extractor = args.backbone.extractor().weights(weights.clone()).device(&device).dtype(dtype).build()?;
    let config = DualAdConfig::paper(args.variant, args.backbone);
    let network = DualAd::new(config.clone(), &Random::new(seed), &device)?.frozen(dtype, &device)?;
    let stages: Vec<usize> = extractor.stages().iter().map(|stage| stage.index).collect();
    let on_cpu = network.frozen(DType::F32, &Device::Cpu)?;
    let model = Model::new(on_cpu, args.backbone, &stages, extractor.provenance().clone());
    let reconstructor = network.reconstructor()?;
    let picture = picture(seed)?;
    let mut outcome = Outcome {
        format: 1,
        backbone: args.backbone,
        variant: args.variant,
        device: format!("{:?}", device.location()),
        dtype: args.dtype,
        tf32: args.tf32,
        instruction_set: dualad_kernels::Isa::best().to_string(),
        runs: Vec::new(),
        training_steps: Vec::new(),
        peak_mib: None,
    };
    for &threads in &args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let builder = Detector::builder().device(&device).dtype(dtype).weights(weights.clone()).threads(threads);
        let detector = builder.from_model(model.clone())?;
        let preprocess = model.config().input.preprocess()?;
        for &batch in &args.batch_size {
            let requests: Vec<Request<'_>> = (0..batch).map(|_| Request::encoded(&picture, "picture.png")).collect();
            let pixels = || -> Result<Tensor> {
                let mut values = Vec::new();
                for request in &requests {
                    values.extend(preprocess.pixels(&detector.picture(*request)?)?);
                }
                let (height, width) = (preprocess.height() as usize, preprocess.width() as usize);
                Ok(Tensor::from_vec(values, (batch, 3, height, width), &device)?)
            };
            let images = pixels()?;
            let tokens = extractor.tokens(&images)?;
            let reconstruction = reconstructor.reconstruct(&tokens)?;
            let mut ms_per_image = BTreeMap::new();
            for part in PARTS {
                status.show(&format!("{threads} threads, {batch} at a time: {part}"));
                let once = || -> Result<()> {
                    match part {
                        "preprocessing" => drop(pixels()?),
                        "backbone" => drop(extractor.tokens(&images)?),
                        "reconstruction" => drop(reconstructor.reconstruct(&tokens)?),
                        "scoring" => drop(network.score(&tokens, &reconstruction)?.image_score.to_vec1::<f32>()?),
                        _ => {
                            for inspection in detector.inspect_batch(requests.iter().copied()) {
                                inspection?;
                            }
                        }
                    }
                    Ok(device.synchronize()?)
                };
                // Errors of this program need not be sent between threads: they are told as text.
                let times = pool.install(|| median(args.seconds, once).map_err(|error| error.to_string()))?;
                ms_per_image.insert(part, times / batch as f64);
            }
            outcome.runs.push(Run { threads, batch_size: batch, ms_per_image });
        }
        status.show(&format!("{threads} threads: a training step"));
        // On the CPU, training is fast in f32 and for this network only.
        let is_fast = args.variant == Variant::Heterogeneous && args.dtype == DTypeName::F32;
        let Some(precision) = args.training_precision().filter(|_| is_fast || !device.is_cpu()) else { continue };
        let network = DualAd::new(config.clone(), &Random::new(seed), &device)?;
        let places = if device.is_cpu() { vec![Device::Cpu] } else { vec![Device::Cpu, device.clone()] };
        for place in places {
            let step = || training_step(&network, &place, precision, seed, args.seconds);
            let ms = pool.install(|| step().map_err(|error| error.to_string()))?;
            let tokens_on_device = !place.is_cpu();
            outcome.training_steps.push(Step { threads, batch_size: TRAINING_BATCH, ms, tokens_on_device });
        }
    }
    status.show("");
    outcome.peak_mib = peak();
    if !args.common.json_to_stdout() {
        print(&table(&outcome))?;
    }
    args.common.write_json(&outcome)
}

/// A picture as a camera might write it, as png.
fn picture(seed: u64) -> Result<Vec<u8>> {
    const SIDE: u32 = 900;
    let noise = Random::new(seed).stream().uniform((3 * SIDE * SIDE) as usize);
    let level = |index: usize| {
        let (x, y) = (index / 3 % SIDE as usize, index / 3 / SIDE as usize);
        (100 + (x / 9 + y / 18) % 100) as u8 + (noise[index] * 6.0) as u8
    };
    let pixels = (0..noise.len()).map(level).collect();
    let image = image::RgbImage::from_raw(SIDE, SIDE, pixels)
        .ok_or("a picture of 900 x 900 pixels has 3 * 900 * 900 numbers")?;
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// The median of as many runs as fit the seconds, at least three, after one that warms up.
fn median(seconds: f64, once: impl Fn() -> Result<()>) -> Result<f64> {
    once()?;
    let (started, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || started.elapsed() < Duration::from_secs_f64(seconds) {
        let started = Instant::now();
        once()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The median time of a training step whose tokens are on the device `place`.
fn training_step(network: &DualAd, place: &Device, precision: Precision, seed: u64, seconds: f64) -> Result<f64> {
    let config = network.config();
    let shape = (TRAINING_BATCH, config.tokens(), config.channels());
    let tokens = Tensor::from_vec(Random::new(seed).stream().normal(shape.0 * shape.1 * shape.2), shape, place)?;
    let steps = std::cell::RefCell::new((Steps::of_training(network, precision)?, Random::new(seed)));
    median(seconds, || {
        let (steps, random) = &mut *steps.borrow_mut();
        Ok(steps.step(&tokens, random).map(drop)?)
    })
}

fn table(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} {}, {}, {}{}, {}; medians in ms an image\n\nthreads  batch",
        outcome.backbone,
        outcome.variant,
        outcome.device,
        if outcome.tf32 { "tf32, " } else { "" },
        DType::from(outcome.dtype).as_str(),
        outcome.instruction_set
    );
    PARTS.iter().for_each(|part| text += &format!("  {part:>14}"));
    text.push('\n');
    for run in &outcome.runs {
        text += &format!("{:>7}  {:>5}", run.threads, run.batch_size);
        PARTS.iter().for_each(|part| text += &format!("  {:>14.2}", run.ms_per_image[part]));
        text.push('\n');
    }
    for step in &outcome.training_steps {
        let place = if step.tokens_on_device { ", tokens on the device" } else { "" };
        text +=
            &format!("\ntraining step, batch {}, {} threads{place}: {:.1} ms", step.batch_size, step.threads, step.ms);
    }
    if let Some(peak) = outcome.peak_mib {
        text += &format!("\npeak memory: {peak} MiB\n");
    }
    text
}

/// The process's peak memory in MiB, where Linux says it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    kilobytes.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}
