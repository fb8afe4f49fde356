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

/// Returns the SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn sha256_of_file(path: &Path) -> Result<String> {
    dualad_store::sha256_of_file(path).map_err(|error| Error::Io { action: "read", path: path.into(), error })
}
