//! Trains one model on all categories of VisA, or a dataset laid out like it, and measures it.
//!
//! ```sh
//! cargo run --release --example visa -- --data VISA          # the paper's recipe
//! cargo run --release --example visa -- --help
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/training/mod.rs"]
mod training;

use std::process::ExitCode;

use clap::Parser;

/// Train one model on all categories of a dataset laid out as VisA, and measure it
///
/// Without --data, a small dataset is generated, and a backbone without weights is trained on for some minutes.
#[derive(Debug, Parser)]
#[command(name = "visa", version)]
struct Args {
    #[command(flatten)]
    training: training::TrainArgs,
}

fn main() -> ExitCode {
    training::main(training::Kind::Visa, &Args::parse().training)
}
