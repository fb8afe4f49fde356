//! `dualad train`, and the examples `mvtec` and `visa`: train one model on all categories of a dataset, and measure it.

mod args;
mod run;

use std::process::ExitCode;

use dualad::data::Cancel;

use crate::common::{self, Result};
use crate::signals::cancel_on_signal;
pub use args::TrainArgs;

/// The defaults in which one training program differs from another.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The program's name.
    pub name: &'static str,
    /// The layout of `--data`: `auto`, `mvtec`, `visa` or `folder`.
    pub layout: &'static str,
    /// The folder `--out`.
    pub out: &'static str,
}

/// Runs a training program of its own, such as the example `mvtec`: `dualad train` with other defaults.
pub fn main(defaults: Defaults) -> ExitCode {
    let Defaults { name, layout, out } = defaults;
    common::exit(run(&common::parse(name, &[("layout", layout), ("out", out)])))
}

/// Runs `dualad train`.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    run::run(args, &cancel)
}
