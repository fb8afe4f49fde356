//! Memory for decoded images, checked and allocated without aborting.

use std::path::Path;

use image::metadata::Orientation;

use crate::error::{Error, Result};

pub(super) fn lies_across(orientation: Orientation) -> bool {
    orientation.to_exif() > 4
}

/// What decoding takes at its peak: at first its own buffer and the decoder's memory, and then, where the image is
/// turned, what is turned and what it becomes.
pub(super) fn peak(pixels: u64, own: u64, working: u64, room: u64, orientation: Orientation) -> u64 {
    // Rows in work, tables, and what else does not grow with the image.
    const SMALL: u64 = 1 << 20;
    let turned = if lies_across(orientation) { pixels.saturating_mul(2 * room) } else { 0 };
    own.saturating_add(working).max(turned).saturating_add(SMALL)
}

/// `length` zeros, with room for `own` bytes.
pub(super) fn buffer(path: &Path, own: u64, length: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let room = usize::try_from(own).unwrap_or(usize::MAX);
    let error = std::io::ErrorKind::OutOfMemory.into();
    buffer.try_reserve_exact(room.max(length)).map_err(|_| Error::Io {
        action: "find memory to decode",
        path: path.into(),
        error,
    })?;
    buffer.resize(length, 0);
    Ok(buffer)
}
