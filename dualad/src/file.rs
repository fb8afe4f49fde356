//! Files that are either whole or not there.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes to a temporary name in the file's folder, and renames: an earlier file stays until the new one is complete.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |error| Error::Io { action: "write", path: path.into(), error };
    if path.file_name().is_none() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path names no file")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    #[cfg(unix)]
    {
        // Temporary files are their owner's alone; what is saved is for others to read.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map(|_| ()).map_err(|error| io(error.error))
}

/// Opening anything but a regular file may wait for ever, and reading it may never end.
///
/// # Errors
/// [`Error::Weights`] for what is no file, [`Error::Io`].
pub(crate) fn check_file(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(dualad_backbones::WeightsError::NotAFile { path: path.into() }.into()),
        Err(error) => Err(Error::Io { action: "read", path: path.into(), error }),
    }
}
