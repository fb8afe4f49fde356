//! The memory of decoding: its peak, and buffers whose allocation can fail.

use std::path::Path;

use image::metadata::Orientation;

use crate::error::{Error, Result};

/// Returns whether an orientation exchanges width and height.
pub(super) fn swaps_sides(orientation: Orientation) -> bool {
    orientation.to_exif() > 4
}

/// Returns the peak memory of decoding in bytes: first the output buffer and the memory of the decoder, then, if the image
/// is rotated, the original and the rotated image. `room` is the number of bytes that the caller needs for a pixel.
pub(super) fn peak(pixels: u64, own: u64, working: u64, room: u64, orientation: Orientation) -> u64 {
    // Row buffers, tables, and other memory that does not grow with the image.
    const FIXED: u64 = 1 << 20;
    let rotated = if swaps_sides(orientation) { pixels.saturating_mul(2 * room) } else { 0 };
    own.saturating_add(working).max(rotated).saturating_add(FIXED)
}

/// Allocates `length` zeros, with capacity for `own` bytes.
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
