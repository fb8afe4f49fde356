//! SIGINT, SIGTERM and a closed terminal end the work in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dualad::data::Cancel;

use crate::common::Result;

/// Cancels the work at the first SIGINT, SIGTERM or SIGHUP. The second one ends the process at once.
pub(crate) fn cancel_on_signal(cancel: &Cancel) -> Result<()> {
    listen(cancel).map_err(|error| format!("cannot listen for signals: {error}").into())
}

fn listen(cancel: &Cancel) -> std::io::Result<()> {
    let received = Arc::new(AtomicBool::new(false));
    let mut signals = vec![signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    // A terminal that is closed sends it.
    #[cfg(unix)]
    signals.push(signal_hook::consts::SIGHUP);
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
