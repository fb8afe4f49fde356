//! Compares the library with values that the published PyTorch code, torchvision and timm computed.
//!
//! ```sh
//! cargo run --release --example parity -- --goldens DIR
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

// Every golden file has a module of its own.
mod backbones;
mod cdbn;
mod metrics;
mod resize;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dualad::candle_core::Device;

use dualad_cli::{CommonArgs, Result};

/// Compare this library with golden values and print the largest error of each tensor, relative to the tensor's
/// largest magnitude
#[derive(Debug, Parser)]
#[command(name = "parity", version)]
struct Args {
    /// Folder with golden files: backbones.json, cdbn_*.safetensors, metrics.safetensors
    #[arg(long, value_name = "DIR")]
    goldens: PathBuf,
    #[command(flatten)]
    common: CommonArgs,
}

/// The largest error of each tensor of a file, by name.
type Errors = BTreeMap<String, f64>;

/// A function that checks one file on a device, and reports the check at hand.
type Run = fn(&Path, &Device, &dyn Fn(&str)) -> Result<Errors>;

/// The check of one kind of golden file.
struct Check {
    /// The start and the end of the file's name.
    file: (&'static str, &'static str),
    /// The name of the result. Default: the file's name without its extension.
    name: Option<&'static str>,
    run: Run,
    tolerance: fn(&str) -> f64,
}

const CHECKS: [Check; 4] = [
    Check { file: ("backbones", ".json"), name: None, run: backbones::check, tolerance: backbones::tolerance },
    Check { file: ("cdbn_", ".safetensors"), name: None, run: cdbn::check, tolerance: cdbn::tolerance },
    Check { file: ("metrics", ".safetensors"), name: None, run: metrics::check, tolerance: metrics::tolerance },
    Check { file: ("metrics", ".safetensors"), name: Some("resize"), run: resize::check, tolerance: resize::tolerance },
];

impl Check {
    fn is_for(&self, name: &str) -> bool {
        name.starts_with(self.file.0) && name.ends_with(self.file.1)
    }
}

fn main() -> ExitCode {
    dualad_cli::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let device = args.common.device()?;
    let folder = std::fs::read_dir(&args.goldens);
    let folder = folder.map_err(|error| format!("cannot read the folder {}: {error}", args.goldens.display()))?;
    let mut files = folder.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    let mut results = BTreeMap::new();
    let mut failures = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let checks: Vec<&Check> = CHECKS.iter().filter(|check| check.is_for(&name)).collect();
        if checks.is_empty() && name != "README.md" && !args.common.json_to_stdout() {
            println!("{name}: not covered by this version");
        }
        for check in checks {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let stem = check.name.map_or_else(|| stem.into_owned(), str::to_owned);
            let errors =
                (check.run)(path, &device, &progress).map_err(|error| format!("{}: {error}", path.display()))?;
            for (tensor, &error) in &errors {
                let tolerance = (check.tolerance)(tensor);
                // NaN is over every tolerance.
                let passed = error <= tolerance;
                if !args.common.json_to_stdout() {
                    println!("{stem:<24} {tensor:<44} {error:>9.1e} {}", if passed { "ok" } else { "OVER TOLERANCE" });
                }
                if !passed {
                    failures.push(format!("{stem} {tensor}: {error:.1e} > {tolerance:.0e}"));
                }
            }
            results.insert(stem, errors);
        }
    }
    if results.is_empty() {
        return Err(format!(
            "{} holds no golden file; expected backbones.json, cdbn_*.safetensors or metrics.safetensors",
            args.goldens.display()
        )
        .into());
    }
    args.common.write_json(&results)?;
    match failures.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("{} of the tensors are over their tolerance; the first: {first}", failures.len()).into())
        }
    }
}

/// Says what is being worked on, where somebody watches.
fn progress(what: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{what}");
        let _ = stderr.flush();
    }
}
