//! The error of folders and locks.

use std::path::PathBuf;

/// The result of an operation on a folder.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of an operation on a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process uses the folder.
    #[error("another run is writing to {}; wait for it, or name another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// The operation, e.g. `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
}
