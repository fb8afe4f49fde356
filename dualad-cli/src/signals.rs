//! SIGINT, SIGTERM and a closed terminal end the work in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dualad::data::Cancel;

use crate::common::Result;

/// Cancels the work at the first SIGINT, SIGTERM or SIGHUP. The second one ends the process at once. On Windows, Ctrl-C is SIGINT;
/// Ctrl-Break and a closed window are SIGBREAK.
pub(crate) fn cancel_on_signal(cancel: &Cancel) -> Result<()> {
    listen(cancel).map_err(|error| format!("cannot listen for signals: {error}").into())
}

fn listen(cancel: &Cancel) -> std::io::Result<()> {
    let received = Arc::new(AtomicBool::new(false));
    let mut signals = vec![signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    // A terminal that is closed sends it.
    #[cfg(unix)]
    if !is_hangup_ignored() {
        signals.push(signal_hook::consts::SIGHUP);
    }
    #[cfg(windows)]
    signals.push(signal_hook::consts::SIGBREAK);
    for signal in signals {
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, received.clone())?;
        signal_hook::flag::register(signal, received.clone())?;
    }
    let cancel = cancel.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while !received.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel();
    })?;
    Ok(())
}

/// Returns true if the program was started with SIGHUP ignored, as `nohup` does: it goes on when its terminal is closed. Only Linux
/// tells without unsafe code; elsewhere the result is false.
#[cfg(unix)]
pub(crate) fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit stands for signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
