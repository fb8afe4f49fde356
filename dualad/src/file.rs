//! Files that are either whole or not there.

use std::io::Write;
use std::path::Path;

use dualad_data::UNFINISHED;

use crate::error::{Error, Result};

/// Removes what killed processes left in a folder, which nobody else may be writing in.
pub(crate) fn remove_unfinished(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // Whatever keeps it there keeps nobody from working.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Writes to a temporary name in the file's folder, and renames: an earlier file stays until the new one is complete.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let named = path;
    let io = |error| Error::Io { action: "write", path: named.into(), error };
    if path.file_name().is_none() {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path names no file")));
    }
    // What a link leads to is replaced, not the link; what is no file (a device, a pipe) is not replaced at all.
    let resolved = std::fs::canonicalize(path);
    let path = resolved.as_deref().unwrap_or(path);
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "there is something else than a file")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    #[cfg(unix)]
    {
        // Temporary files are their owner's alone; what is saved is for others to read.
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    sync_folder(folder).map_err(io)
}

/// Makes names as lasting as what they name: on Unix they are the folder's content.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        match std::fs::File::open(folder)?.sync_all() {
            // Not every file system can: of those, more cannot be had.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {}
            result => result?,
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_what_is_no_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write_atomically(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        let inner = folder.path().join("folder");
        std::fs::create_dir(&inner).unwrap();
        let error = write_atomically(&inner, b"new").unwrap_err().to_string();
        assert!(inner.is_dir() && error.contains("something else than a file"), "{error}");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(write_atomically(&socket, b"new").is_err());
        assert!(!std::fs::metadata(&socket).unwrap().is_file());
    }
}
