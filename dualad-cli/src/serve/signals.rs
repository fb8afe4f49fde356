//! Signals that stop the server: the first one in order, the second one at once.

use std::io::Result;

use tokio::sync::watch;

#[cfg(unix)]
use crate::signals::is_hangup_ignored;

#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` if it stays ignored.
    hangup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP, which end the process no more by themselves. SIGHUP stays ignored under `nohup`.
    pub(crate) fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let [interrupt, terminate] = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for a signal and returns its number.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            Some(_) = async { self.hangup.as_mut()?.recv().await } => 1,
        }
    }
}

#[cfg(windows)]
pub(crate) struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    terminate: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    /// Catches Ctrl-C, Ctrl-Break, a closed window and the shutdown of the system. After the last two, Windows ends the process in a few
    /// seconds.
    pub(crate) fn new() -> Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self { interrupt: ctrl_c()?, terminate: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for one of them and returns the number of the signal that it stands for.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.close.recv() => 1,
            _ = self.shutdown.recv() => 15,
        }
    }
}

impl Signals {
    /// Sets `stop` at the first signal and ends the process at the second.
    pub(crate) async fn watch(mut self, stop: watch::Sender<bool>) {
        self.next().await;
        stop.send_replace(true);
        let signal = self.next().await;
        std::process::exit(128 + signal);
    }
}
