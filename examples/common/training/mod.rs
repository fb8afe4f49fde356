//! What `mvtec` and `visa` share: all but the layout of their datasets.

mod args;
mod bars;
mod dataset;
mod heatmaps;
mod run;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dualad::data::Cancel;

pub(crate) use args::TrainArgs;

/// Which dataset an example is for: each example knows one of them.
#[allow(dead_code)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mvtec,
    Visa,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Mvtec => "mvtec",
            Self::Visa => "visa",
        }
    }
}

/// Runs to the end or to the first SIGINT, SIGTERM or SIGHUP; the second ends the process at once.
pub(crate) fn main(kind: Kind, args: &TrainArgs) -> ExitCode {
    let cancel = Cancel::default();
    let result = match listen(&cancel) {
        Ok(()) => run::run(kind, args, &cancel),
        Err(error) => Err(format!("cannot listen for interruptions: {error}").into()),
    };
    crate::common::exit(result)
}

fn listen(cancel: &Cancel) -> std::io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    let mut signals = vec![signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    // A terminal that is closed.
    #[cfg(unix)]
    signals.push(signal_hook::consts::SIGHUP);
    for signal in signals {
        // In this order: the first signal finds the flag down, and raises it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, seen.clone())?;
        signal_hook::flag::register(signal, seen.clone())?;
    }
    let cancel = cancel.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while !seen.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel();
    })?;
    Ok(())
}
