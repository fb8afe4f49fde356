//! The memory of decoding: its peak, and buffers whose allocation can fail.

use std::cell::Cell;
use std::path::Path;

use image::metadata::Orientation;

use super::limits::Limits;
use crate::error::{Error, Result};

/// The purpose of reading an image file.
pub(super) struct Purpose<'a> {
    /// The number of bytes that the caller needs for a pixel.
    pub(super) room: u64,
    /// Receives the peak memory in bytes, if the caller wants no more than that.
    pub(super) measured: Option<&'a Cell<u64>>,
}

impl Purpose<'_> {
    /// Decides on decoding that needs this much memory at its peak.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the limits; [`Error::Cancelled`] if only the memory is wanted.
    pub(super) fn allow(&self, limits: &Limits, path: &Path, peak: u64) -> Result<()> {
        limits.check_memory(path, peak)?;
        match self.measured {
            Some(measured) => {
                measured.set(peak);
                Err(Error::Cancelled)
            }
            None => Ok(()),
        }
    }
}

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
