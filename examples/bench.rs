//! Measures how long each part takes on this machine: `dualad bench`.
//!
//! ```sh
//! cargo run --release --example bench -- --backbone resnet18 --batch-size 1,8 --threads 1,2
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    dualad_cli::bench::main()
}
