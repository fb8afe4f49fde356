//! `dualad train`, and the examples `mvtec` and `visa`: train one model on all categories of a dataset, and measure it.

mod args;
mod run;

use std::process::ExitCode;

use dualad::data::Cancel;

use crate::common::{self, Result, listed};
use crate::data::is_of_a_file;
use crate::hint::SKIP_BROKEN;
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
    // These programs reproduce published figures, for which every image is trained on.
    common::exit(run(&common::parse(name, &[("layout", layout), ("out", out), ("hold_out", "0")])))
}

/// Runs `dualad train`.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    args.progress.apply();
    args.threads.map_or(Ok(()), set_threads)?;
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    run::run(args, &cancel).map_err(with_hint)
}

/// Sets the number of threads of the whole program, before any of them begins.
fn set_threads(count: usize) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(|index| format!("dualad-{index}"));
    pool.build_global().map_err(|error| format!("cannot compute on {count} threads: {error}").into())
}

/// Adds to an error the flags of training that avoid it.
fn with_hint(error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
    let hint = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(dualad::data::Error::Dataset { findings }), _) if findings.iter().any(is_of_a_file) => SKIP_BROKEN,
        (_, Some(dualad::Error::Images { .. } | dualad::Error::Data(dualad::data::Error::Decode { .. }))) => {
            SKIP_BROKEN
        }
        (_, Some(dualad::Error::CheckpointMismatch { field, .. })) if field.contains("training image") => {
            "other images are trained on with another --hold-out"
        }
        _ => return error,
    };
    format!("{}; {hint}", listed(&*error)).into()
}
