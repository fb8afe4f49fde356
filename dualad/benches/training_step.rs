//! One training step: noise, forward, loss, backward, optimiser.
//!
//! ```sh
//! cargo bench --workspace --bench training_step -- --stages 256,512,1024 --narrow 256 --batch 16
//! tools/bench/training_step.sh          # beside PyTorch's, in turn
//! ```
//!
//! Prints one JSON object: median milliseconds of the whole and of its parts, and the process's peak memory.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::Parser;
use dualad::backbones::Backbone;
use dualad::train::{AdamW, AdamWConfig};
use dualad::{DualAd, DualAdConfig, Random, Variant};

#[derive(Parser)]
struct Args {
    /// Channels of each stage
    #[arg(long, value_delimiter = ',', default_value = "64,128,256")]
    stages: Vec<usize>,
    /// Narrow width
    #[arg(long, default_value_t = 256)]
    narrow: usize,
    /// Images a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Steps measured, after one that warms up
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
    config.stage_channels.clone_from(&args.stages);
    (config.narrow_width, config.head_width, config.ffn_width) = (args.narrow, args.narrow, 4 * args.narrow);
    let shape = (args.batch, config.tokens(), config.channels());
    let network = DualAd::new(config, &Random::new(0), &Device::Cpu)?;
    let mut optimizer = AdamW::new(network.variables(), AdamWConfig::default())?;
    let mut random = Random::new(1);
    let tokens = Random::new(2).stream().normal(shape.0 * shape.1 * shape.2);
    let tokens = Tensor::from_vec(tokens, shape, &Device::Cpu)?;
    let mut times = [const { Vec::new() }; 4];
    for step in 0..=args.steps {
        let mut marks = vec![Instant::now()];
        let reconstruction = network.reconstruct_disturbed(&tokens, &mut random)?;
        let loss = network.loss(&tokens, &reconstruction)?;
        marks.push(Instant::now());
        let gradients = loss.backward()?;
        marks.push(Instant::now());
        optimizer.step(&gradients)?;
        marks.push(Instant::now());
        if step > 0 {
            for (times, pair) in times.iter_mut().zip(marks.windows(2)) {
                times.push((pair[1] - pair[0]).as_secs_f64() * 1e3);
            }
            times[3].push((marks[3] - marks[0]).as_secs_f64() * 1e3);
        }
    }
    let [forward, backward, optimiser, step] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    // Linux says it in kB; elsewhere it is left out.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    let peak: Option<u64> = peak.map(|kilobytes: u64| kilobytes / 1024);
    let (forward, backward, optimiser, step) = (forward as f32, backward as f32, optimiser as f32, step as f32);
    println!(
        "{}",
        serde_json::json!({
            "step_ms": step, "forward_ms": forward, "backward_ms": backward, "optimiser_ms": optimiser, "peak_mib": peak,
        })
    );
    Ok(())
}
