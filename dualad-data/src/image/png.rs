//! PNG files that end after the last pixel.

/// The chunk at the end of a file (PNG, third edition, 11.2.5), with its length and checksum.
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// Returns a copy that ends with the chunk for the end, if the file lacks only this chunk or a part of it. Whether all pixels
/// are there is left to the decoder.
pub(super) fn ended(bytes: &[u8]) -> Option<Vec<u8>> {
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
    let rest = bytes.get(position..).filter(|rest| position > 8 && END.starts_with(rest))?;
    let mut copy = Vec::new();
    copy.try_reserve_exact(position + END.len()).ok()?;
    copy.extend_from_slice(&bytes[..bytes.len() - rest.len()]);
    copy.extend_from_slice(&END);
    Some(copy)
}
