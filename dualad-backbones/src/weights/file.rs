//! Files of weights.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dualad_store::AtomicFile;

use crate::error::WeightsError;

/// The maximum size of a weight file.
const MAX_BYTES: u64 = 8 << 30;

/// Writes a file that gets its name when it is complete.
pub(crate) fn write_file(path: &Path, content: &mut dyn Read) -> Result<(), WeightsError> {
    let written = AtomicFile::create(path).and_then(|mut file| {
        std::io::copy(content, &mut file)?;
        file.commit()
    });
    written.map_err(|error| WeightsError::Io { path: path.into(), error })
}

/// Reads a safetensors file of at most 8 GiB. Only the header's length is checked, so that no memory is taken for a file of another
/// format.
///
/// ```
/// use dualad_backbones::WeightsError;
/// use dualad_backbones::weights::read_file;
///
/// let error = read_file(std::env::temp_dir()).unwrap_err();
/// assert!(matches!(error, WeightsError::NotAFile { .. }));
/// ```
///
/// # Errors
/// [`WeightsError::NotAFile`] for a folder or a device, [`WeightsError::Io`] if the file cannot be read, [`WeightsError::Malformed`]
/// if it is too large or has no header.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>, WeightsError> {
    let path = path.as_ref();
    let io = |error| WeightsError::Io { path: path.into(), error };
    let malformed = |reason: String| {
        let source_name = path.display().to_string();
        Err(WeightsError::Malformed { source_name, format: "safetensors", reason })
    };
    let mut file = open_file(path)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_BYTES {
        return malformed(format!("it has {length} bytes, and at most {MAX_BYTES} are read"));
    }
    let mut header = [0; 8];
    if length < 8 {
        return malformed(format!("it has {length} bytes, and the length of a header alone takes 8"));
    }
    file.read_exact(&mut header).map_err(io)?;
    let header_length = u64::from_le_bytes(header);
    if header_length < 2 || header_length > length - 8 {
        return malformed(format!("its header would have {header_length} bytes, and the file has {length}"));
    }
    let mut bytes = Vec::new();
    let reserved = usize::try_from(length).map(|length| bytes.try_reserve_exact(length));
    if !matches!(reserved, Ok(Ok(()))) {
        return Err(io(std::io::ErrorKind::OutOfMemory.into()));
    }
    bytes.extend_from_slice(&header);
    // Bytes that another process appends meanwhile are not read.
    file.take(length - 8).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Opens a regular file. Opening a pipe may block forever, and reading a device may never end.
pub(crate) fn open_file(path: &Path) -> Result<File, WeightsError> {
    let io = |error| WeightsError::Io { path: path.into(), error };
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(WeightsError::NotAFile { path: path.into() });
    }
    File::open(path).map_err(io)
}
