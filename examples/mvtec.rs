//! Trains one model on all categories of a dataset laid out as MVTec AD, or of plain folders, and measures it:
//! `dualad train` under its old name.
//!
//! ```sh
//! cargo run --release --example mvtec                        # generates a small dataset, and needs no weights
//! cargo run --release --example mvtec -- --data MVTEC        # the paper's recipe
//! cargo run --release --example mvtec -- --help
//! ```

use std::process::ExitCode;

use dualad_cli::train::{self, Defaults};

fn main() -> ExitCode {
    train::main(Defaults { name: "mvtec", layout: "auto", out: "out/mvtec" })
}
