//! Signals that end the server: the first one gently, the second at once.

use tokio::sync::watch;

use crate::common::Result;

#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// From here on a signal ends nothing by itself.
    pub(crate) fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The signal's number.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> i32 {
        // Where there are no signals, there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        2
    }
}

impl Signals {
    pub(crate) async fn watch(mut self, stopping: watch::Sender<bool>) {
        self.next().await;
        stopping.send_replace(true);
        let signal = self.next().await;
        std::process::exit(128 + signal);
    }
}
