//! PNG files that end after the last pixel.

use std::path::Path;

use super::limits::Limits;
use super::memory::buffer;
use crate::error::Result;

/// The chunk at the end of a file (PNG, third edition, 11.2.5), with its length and checksum.
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// Returns the length of the file without an incomplete chunk for the end, if it lacks only this chunk or a part of it.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut position = 8;
    while let Some(head) = bytes.get(position..position + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let end = position.checked_add(length)?.checked_add(12)?;
        if end > bytes.len() {
            break;
        }
        if head[4..] == END[4..8] {
            return None;
        }
        position = end;
    }
    bytes.get(position..).filter(|rest| position > 8 && END.starts_with(rest)).map(|_| position)
}

/// Returns a copy that ends with the chunk for the end, if the file lacks only this chunk or a part of it. Whether all pixels
/// are there is left to the decoder.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Io`] for the memory of the copy.
///
/// [`Error::TooLarge`]: crate::Error::TooLarge
/// [`Error::Io`]: crate::Error::Io
pub(super) fn ended(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let Some(whole) = whole(bytes) else { return Ok(None) };
    let length = (whole + END.len()) as u64;
    limits.check_memory(path, length)?;
    let mut copy = buffer(path, length, 0)?;
    copy.extend_from_slice(&bytes[..whole]);
    copy.extend_from_slice(&END);
    Ok(Some(copy))
}
