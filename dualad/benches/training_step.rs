//! The time of one training step: jitter, forward pass, loss, backward pass and optimizer.
//!
//! ```sh
//! cargo bench --workspace --bench training_step -- --stages 256,512,1024 --narrow 256 --batch 16
//! tools/bench/training_step.sh          # alternates with PyTorch
//! ```
//!
//! Prints one JSON object: the median and the smallest milliseconds of a step, and the peak memory of the process.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::Parser;
use dualad::backbones::Backbone;
use dualad::bench::{Form, Steps};
use dualad::recipe::AdamWConfig;
use dualad::{DualAd, DualAdConfig, Random, Variant};

#[derive(Parser)]
struct Args {
    /// The channels of each stage
    #[arg(long, value_delimiter = ',', default_value = "64,128,256")]
    stages: Vec<usize>,
    /// The narrow width
    #[arg(long, default_value_t = 256)]
    narrow: usize,
    /// The attention heads
    #[arg(long, default_value_t = 8)]
    heads: usize,
    /// The hidden width of the wide branch, as a multiple of the wide width
    #[arg(long, default_value_t = 4)]
    ratio: usize,
    /// The dropout probability
    #[arg(long, default_value_t = 0.1)]
    dropout: f64,
    /// Measure candle's graph instead of the training engine
    #[arg(long)]
    plain: bool,
    /// The images of a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// The steps that are measured, after one warm-up step
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Passed by cargo and ignored
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
    config.stage_channels.clone_from(&args.stages);
    config = config
        .with_narrow_width(args.narrow)
        .with_chunk_width(args.narrow)
        .with_ffn_width(4 * args.narrow)
        .with_heads(args.heads)
        .with_wide_ffn_ratio(args.ratio)
        .with_dropout(args.dropout);
    let shape = (args.batch, config.tokens(), config.channels());
    let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
    let mut steps = Steps::new(if args.plain { Form::Plain } else { Form::Fast }, &network, AdamWConfig::default())?;
    drop(network);
    let mut random = Random::new(1);
    let tokens = Random::new(2).stream().normal(shape.0 * shape.1 * shape.2);
    let tokens = Tensor::from_vec(tokens, shape, &Device::Cpu)?;
    let mut times = Vec::new();
    let mut loss = 0.0;
    for step in 0..=args.steps {
        let started = Instant::now();
        loss = steps.step(&tokens, &mut random)?;
        if step > 0 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    // Linux reports the peak memory in kB; other systems do not have this file.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak: Option<u64> = peak.map(|kilobytes: u64| kilobytes / 1024);
    println!("{}", serde_json::json!({"step_ms": median, "fastest_ms": times[0], "peak_mib": peak, "loss": loss}));
    Ok(())
}
