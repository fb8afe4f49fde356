//! The part of `tools/bench/engines.py` that runs this library. The script alternates between this library and other engines; it
//! sends commands to standard input, one for each line, and each is answered with one line of JSON.
//!
//! - `backbone NAME BATCH FORM`, `network VARIANT CHANNELS,... BATCH FORM`, `whole FOLDER BATCH FORM IMAGE...`,
//!   `step CHANNELS,... BATCH [plain]`: prepares a computation. Weights and inputs are synthetic. The form is a precision, `f32` or
//!   `int8`, or `plain` for candle's own operations.
//! - `run COUNT`: runs it COUNT times and returns the milliseconds of each run.
//! - `output FILE`: writes its results, as little-endian f32.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::Parser;
use dualad::backbones::weights::synthetic;
use dualad::backbones::{Backbone, Weights};
use dualad::bench::{Form, Steps};
use dualad::detector::Request;
use dualad::recipe::AdamWConfig;
use dualad::{Detector, DualAd, DualAdConfig, Precision, Random, Variant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Args {
    /// The threads to use
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Passed by cargo and ignored
    #[arg(long, hide = true)]
    bench: bool,
}

/// A computation to measure, which returns its results.
type Subject = Box<dyn FnMut() -> Result<Vec<Tensor>>>;

/// The seeds of backbones and images, and of networks and tokens. They are those of `tools/reference`.
const SEED: u64 = 1;
const NETWORK_SEED: u64 = 5;

fn main() -> Result<()> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let mut subject: Option<Subject> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match (words.as_slice(), &mut subject) {
            (["run", count], Some(subject)) => {
                let mut times = Vec::new();
                for _ in 0..count.parse::<usize>()? {
                    let started = Instant::now();
                    std::hint::black_box(subject()?);
                    times.push(started.elapsed().as_secs_f64() * 1e3);
                }
                serde_json::json!({"ms": times, "peak_mib": peak()})
            }
            (["output", file], Some(subject)) => {
                let mut bytes = Vec::new();
                for tensor in subject()? {
                    bytes.extend(values(&tensor)?.into_iter().flat_map(f32::to_le_bytes));
                }
                std::fs::write(file, bytes)?;
                serde_json::json!({})
            }
            (words, _) => {
                drop(subject.take());
                subject = Some(make(words)?);
                serde_json::json!({})
            }
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Returns the peak memory of the process in MiB, where the system reports it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    kilobytes.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}

/// Returns a tensor of synthetic values.
fn synthetic_tensor(name: &str, shape: &[usize], seed: u64) -> Result<Tensor> {
    Ok(Tensor::from_vec(synthetic::tensor(name, shape, seed), shape, &Device::Cpu)?)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Prepares the computation of a command.
fn make(words: &[&str]) -> Result<Subject> {
    match *words {
        ["backbone", name, batch, form] => backbone(name, batch.parse()?, precision(form)?),
        ["network", variant, stages, batch, form] => network(variant, stages, batch.parse()?, precision(form)?),
        ["step", stages, batch] => step(stages, batch.parse()?, false),
        ["step", stages, batch, "plain"] => step(stages, batch.parse()?, true),
        ["whole", folder, batch, form, ref images @ ..] => {
            let precision = precision(form)?.ok_or("the whole has no plain form")?;
            whole(folder, batch.parse()?, precision, images)
        }
        _ => Err(format!("unknown command {words:?}").into()),
    }
}

/// Returns the precision that a form names, or `None` for the plain form.
fn precision(form: &str) -> Result<Option<Precision>> {
    match Precision::from_name(form) {
        None if form == "plain" => Ok(None),
        None => Err(format!("unknown form {form}").into()),
        precision => Ok(precision),
    }
}

/// The feature maps of images. Without a precision, candle's own operations compute them.
fn backbone(name: &str, batch: usize, precision: Option<Precision>) -> Result<Subject> {
    let builder = name.parse::<Backbone>()?.extractor().weights(Weights::synthetic(SEED));
    let builder = match precision {
        Some(precision) => builder.precision(precision),
        None => builder.plain(),
    };
    let (extractor, images) = (builder.build()?, synthetic_tensor("input", &[batch, 3, 224, 224], SEED)?);
    Ok(Box::new(move || Ok(extractor.extract(&images)?)))
}

/// The paper's configuration for stages of these channels.
fn config(variant: &str, stages: &str) -> Result<DualAdConfig> {
    let variant = if variant == "homogeneous" { Variant::Homogeneous } else { Variant::Heterogeneous };
    let mut config = DualAdConfig::paper(variant, Backbone::WideResNet50x2);
    config.stage_channels = stages.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(config)
}

/// A network with synthetic parameters.
fn synthetic_network(config: &DualAdConfig) -> Result<DualAd> {
    let parameters = config.parameters()?.into_iter();
    let parameters = parameters
        .map(|p| Ok((p.name.clone(), synthetic_tensor(&p.name, &p.shape, NETWORK_SEED)?)))
        .collect::<Result<_>>()?;
    Ok(DualAd::from_parameters(config.clone(), parameters)?)
}

/// The anomaly maps and scores of tokens.
fn network(variant: &str, stages: &str, batch: usize, precision: Option<Precision>) -> Result<Subject> {
    let config = config(variant, stages)?;
    let network = synthetic_network(&config)?;
    let tokens = synthetic_tensor("input", &[batch, config.tokens(), config.channels()], NETWORK_SEED)?;
    let reconstructor = network.reconstructor_in(precision.unwrap_or_default())?;
    Ok(Box::new(move || {
        let scores = if precision.is_none() {
            network.score(&tokens, &network.reconstruct(&tokens)?)?
        } else {
            reconstructor.score(&tokens)?
        };
        Ok(vec![scores.image_score, scores.anomaly_map])
    }))
}

/// A training step.
fn step(stages: &str, batch: usize, plain: bool) -> Result<Subject> {
    let config = config("heterogeneous", stages)?;
    let tokens = Random::new(2).stream().normal(batch * config.tokens() * config.channels());
    let tokens = Tensor::from_vec(tokens, (batch, config.tokens(), config.channels()), &Device::Cpu)?;
    let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
    let mut steps = Steps::new(if plain { Form::Plain } else { Form::Fast }, &network, AdamWConfig::default())?;
    let mut random = Random::new(1);
    Ok(Box::new(move || Ok(vec![Tensor::new(steps.step(&tokens, &mut random)? as f32, &Device::Cpu)?])))
}

/// The scores of image files, from reading and decoding on. The model is saved in `folder`.
fn whole(folder: &str, batch: usize, precision: Precision, images: &[&str]) -> Result<Subject> {
    let (backbone, mut config) = (Backbone::WideResNet50x2, config("heterogeneous", "256,512,1024")?);
    config.dropout = 0.0;
    let extractor = backbone.extractor().weights(Weights::synthetic(SEED)).build()?;
    let model = dualad::Model::new(synthetic_network(&config)?, backbone, &[1, 2, 3], extractor.provenance().clone());
    model.save(folder, "")?;
    let detector = Detector::builder().precision(precision).load(folder)?;
    let images: Vec<PathBuf> = images.iter().map(PathBuf::from).collect();
    Ok(Box::new(move || {
        let found = detector.inspect_batch(images.iter().cycle().take(batch).map(Request::from));
        let scores = found.into_iter().map(|inspection| Ok(inspection?.image_score));
        Ok(vec![Tensor::new(scores.collect::<Result<Vec<f32>>>()?, &Device::Cpu)?])
    }))
}
