//! Trains one model on all categories of a dataset laid out as MVTec AD, or of plain folders, and measures it.
//!
//! ```sh
//! cargo run --release --example mvtec                        # generates a small dataset, and needs no weights
//! cargo run --release --example mvtec -- --data MVTEC        # the paper's recipe
//! cargo run --release --example mvtec -- --help
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/training/mod.rs"]
mod training;

use std::process::ExitCode;

use clap::Parser;

/// Train one model on all categories of a dataset laid out as MVTec AD, and measure it
///
/// Without --data, a small dataset is generated, and a backbone without weights is trained on for some minutes.
#[derive(Debug, Parser)]
#[command(name = "mvtec", version)]
struct Args {
    #[command(flatten)]
    training: training::TrainArgs,
}

fn main() -> ExitCode {
    training::main(training::Kind::Mvtec, &Args::parse().training)
}
