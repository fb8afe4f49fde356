//! The server's errors.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A reason why a server does not start or does not stop cleanly.
///
/// A request that cannot be answered is not among them: its client receives the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of [`Options`](crate::Options) is outside its range.
    #[error("`{field}` is {value}; it must be {allowed}")]
    InvalidOption {
        /// The field's name.
        field: &'static str,
        /// The field's value.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// The address cannot be listened on: it is in use, is not an address of this machine, or needs more rights.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The detector has no thresholds: no answer would have a decision, and a client that looks for `reject` would pass everything.
    #[error("the model has no thresholds, so no answer would have a decision; calibrate it, or serve scores only")]
    NoThresholds,
    /// The file of the thresholds cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Thresholds {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The inspection thread cannot be started.
    #[error("cannot start the inspection thread: {0}")]
    Thread(#[source] io::Error),
    /// Accepted requests were still unanswered at the end of [`Options::stop_timeout`](crate::Options::stop_timeout). Their
    /// connections are closed.
    #[error("some requests were not answered within {timeout:?} of stopping")]
    StopTimeout {
        /// The time that stopping may take.
        timeout: Duration,
    },
}
