//! Files of weights.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dualad_store::AtomicFile;

use crate::error::WeightsError;
use crate::weights::format::Format;

/// The maximum size of a weight file.
const MAX_BYTES: u64 = 8 << 30;
/// The number of first bytes that tell a file's format.
const BEGIN: u64 = 512;

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
/// if it is too large or has no header, [`WeightsError::OtherFormat`] for a file of a known other format.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>, WeightsError> {
    read_checked(path.as_ref(), |name, begin, length| match Format::of(name, begin)? {
        Format::Safetensors => check_header(begin, length).map_err(|reason| malformed(name, reason)),
        Format::PyTorch => Err(malformed(name, "it is a PyTorch file".into())),
    })
}

/// Reads a file of weights of at most 8 GiB, safetensors or PyTorch. Its first bytes are checked before memory is taken for it.
///
/// # Errors
/// As [`read_file`].
pub fn read_weights(path: impl AsRef<Path>) -> Result<Vec<u8>, WeightsError> {
    read_checked(path.as_ref(), |name, begin, length| match Format::of(name, begin)? {
        Format::Safetensors => check_header(begin, length).map_err(|reason| malformed(name, reason)),
        Format::PyTorch => Ok(()),
    })
}

/// Reads a file after `check`, which gets its name, its first bytes and its length.
fn read_checked(
    path: &Path,
    check: impl FnOnce(&str, &[u8], u64) -> Result<(), WeightsError>,
) -> Result<Vec<u8>, WeightsError> {
    let io = |error| WeightsError::Io { path: path.into(), error };
    let name = path.display().to_string();
    let file = open_file(path)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_BYTES {
        return Err(malformed(&name, format!("it has {length} bytes, and at most {MAX_BYTES} are read")));
    }
    let mut bytes = Vec::new();
    let mut begin = file.take(BEGIN.min(length));
    begin.read_to_end(&mut bytes).map_err(io)?;
    check(&name, &bytes, length)?;
    let rest = length.saturating_sub(bytes.len() as u64);
    let reserved = usize::try_from(rest).map(|rest| bytes.try_reserve_exact(rest));
    if !matches!(reserved, Ok(Ok(()))) {
        return Err(io(std::io::ErrorKind::OutOfMemory.into()));
    }
    // Bytes that another process appends meanwhile are not read.
    begin.into_inner().take(rest).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn malformed(name: &str, reason: String) -> WeightsError {
    WeightsError::Malformed { source_name: name.into(), format: "safetensors", reason }
}

/// Checks the length of a safetensors file's header.
fn check_header(begin: &[u8], length: u64) -> Result<(), String> {
    let Some((header, _)) = begin.split_first_chunk() else {
        return Err(format!("it has {length} bytes, and the length of a header alone takes 8"));
    };
    let header_length = u64::from_le_bytes(*header);
    if header_length < 2 || header_length > length - 8 {
        return Err(format!("its header would have {header_length} bytes, and the file has {length}"));
    }
    Ok(())
}

/// Opens a regular file. Opening a pipe may block forever, and reading a device may never end.
fn open_file(path: &Path) -> Result<File, WeightsError> {
    let io = |error| WeightsError::Io { path: path.into(), error };
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(WeightsError::NotAFile { path: path.into() });
    }
    File::open(path).map_err(io)
}
