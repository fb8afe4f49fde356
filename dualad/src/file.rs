//! Files of the library, with its errors.

use std::path::Path;

use crate::error::{Error, Result};

/// Replaces a file by new content: until that is complete, the old content stays.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    dualad_store::write_atomically(path, bytes).map_err(|error| Error::Io { action: "write", path: path.into(), error })
}

/// Checks that a path leads to a regular file. Opening a pipe may block forever, and reading a device may never end.
///
/// # Errors
/// [`Error::Weights`] for anything but a regular file, [`Error::Io`].
pub(crate) fn check_file(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(dualad_backbones::WeightsError::NotAFile { path: path.into() }.into()),
        Err(error) => Err(Error::Io { action: "read", path: path.into(), error }),
    }
}

/// Returns the SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn sha256_of_file(path: &Path) -> Result<String> {
    dualad_store::sha256_of_file(path).map_err(|error| Error::Io { action: "read", path: path.into(), error })
}
