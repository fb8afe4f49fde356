//! Trains one model on all categories of VisA, or a dataset laid out like it, and measures it.
//!
//! ```sh
//! cargo run --release --example visa -- --data VISA          # the paper's recipe
//! cargo run --release --example visa -- --help
//! ```

use std::process::ExitCode;

use dualad_cli::train::{self, Defaults};

fn main() -> ExitCode {
    train::main(Defaults { name: "visa", layout: "visa", out: "out/visa" })
}
