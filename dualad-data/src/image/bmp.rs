//! BMP files whose header points to the wrong place, and files without the padding of the last row.

use std::path::Path;

use super::limits::Limits;
use super::memory::buffer;
use crate::error::Result;

/// The length of the header of the file, before that of the image.
const FILE_HEADER: usize = 14;
/// The length of the first header of OS/2, with sizes of 16 bits and palettes of 3 bytes a color.
const CORE_HEADER: usize = 12;

/// Places of an image in its file.
struct Places {
    /// The end of the header of the image.
    header: usize,
    /// The end of the palette.
    palette: usize,
    /// The end of a palette of all colors; `palette` for an image without one.
    full: usize,
    /// The bytes of a color of the palette.
    color: usize,
    /// The number of planes. Some programs write 0 for 1.
    planes: u16,
    /// The position of the pixels that the header gives.
    offset: usize,
    /// The bytes of all rows, and the padding of the last; nothing if the rows are compressed.
    rows: Option<(usize, usize)>,
}

impl Places {
    fn of(bytes: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let offset = long(10)? as usize;
        let size = long(FILE_HEADER)? as usize;
        let planes = short(if size == CORE_HEADER { 22 } else { 26 })?;
        let (width, height, bits, compression, used, color) = if size == CORE_HEADER {
            (short(18)?.into(), short(20)?.into(), short(24)?, 0, 0, 3)
        } else {
            let (width, height) = (long(18)?.cast_signed().unsigned_abs(), long(22)?.cast_signed().unsigned_abs());
            (width, height, short(28)?, long(30)?, long(46)?, 4)
        };
        // The masks of the colors come after the oldest header, and are a part of the others.
        let masks = if size == 40 && compression == 3 { 12 } else { 0 };
        let header = FILE_HEADER.checked_add(size)?.checked_add(masks)?;
        let colors = match (bits, used) {
            (1..=8, 0) => 1 << bits,
            (1..=8, used) => (used as usize).min(1 << bits),
            _ => 0,
        };
        let palette = header.checked_add(colors * color)?;
        let full = if colors > 0 { header.checked_add((1 << bits) * color)? } else { palette };
        let row = u64::from(width) * u64::from(bits);
        let (used, stride) = (row.div_ceil(8), row.div_ceil(32) * 4);
        let all = usize::try_from(stride.checked_mul(height.into())?).ok()?;
        let rows = matches!(compression, 0 | 3).then_some((all, (stride - used) as usize));
        Some(Self { header, palette, full, color, planes, offset, rows })
    }

    /// Returns whether pixels at this position fill the file. Few bytes may follow them, and the padding of the last row may be
    /// missing.
    fn fits(&self, start: usize, length: usize) -> bool {
        self.rows.is_some_and(|(all, padding)| {
            let end = start.saturating_add(all);
            length.saturating_add(padding) >= end && length <= end.saturating_add(3)
        })
    }

    /// Returns whether the palette is shorter than its header says. Where this is ambiguous, the length of the file decides.
    fn is_palette_short(&self, length: usize) -> bool {
        self.offset > self.header && self.offset < self.palette && !self.fits(self.palette, length)
    }

    /// Returns whether the palette has all colors, although its header says that it has fewer.
    fn is_palette_full(&self, length: usize) -> bool {
        self.palette < self.full && self.offset == self.full && self.fits(self.offset, length)
    }

    /// Returns where the pixels start.
    fn start(&self, length: usize) -> usize {
        let is_before = self.offset < self.palette && !self.is_palette_short(length);
        let is_beyond =
            self.offset > self.palette && !self.fits(self.offset, length) && self.fits(self.palette, length);
        if is_before || is_beyond { self.palette } else { self.offset }
    }
}

/// The changes of a file: the start of its pixels, the number of bytes that the last row lacks, the number of colors, and that of planes.
struct Repair {
    start: u32,
    missing: usize,
    colors: Option<u32>,
    /// True for a header whose planes are at their usual place, and 0.
    has_no_plane: bool,
}

/// Returns the changes that the decoder needs, if the file differs in this.
fn repair(bytes: &[u8]) -> Option<Repair> {
    let places = Places::of(bytes)?;
    let start = places.start(bytes.len());
    let missing = places.rows.map_or(0, |(all, padding)| {
        let missing = start.saturating_add(all).saturating_sub(bytes.len());
        if missing <= padding { missing } else { 0 }
    });
    // The oldest header has no number of colors.
    let is_other = places.is_palette_short(bytes.len()) || places.is_palette_full(bytes.len());
    let colors = (is_other && places.color == 4).then(|| (start - places.header) / 4);
    let has_no_plane = places.planes == 0 && places.color == 4;
    if start == places.offset && missing == 0 && colors.is_none() && !has_no_plane {
        return None;
    }
    let colors = colors.filter(|&colors| colors > 0).map(u32::try_from).transpose().ok()?;
    Some(Repair { start: u32::try_from(start).ok()?, missing, colors, has_no_plane })
}

/// Returns a copy whose header points to the pixels and whose last row is complete, if the file differs in this.
///
/// # Errors
/// [`Error::TooLarge`] and [`Error::Io`] for the memory of the copy.
///
/// [`Error::TooLarge`]: crate::Error::TooLarge
/// [`Error::Io`]: crate::Error::Io
pub(super) fn repaired(bytes: &[u8], path: &Path, limits: &Limits) -> Result<Option<Vec<u8>>> {
    let Some(Repair { start, missing, colors, has_no_plane }) = repair(bytes) else { return Ok(None) };
    let length = bytes.len().saturating_add(missing);
    limits.check_memory(path, length as u64)?;
    let mut copy = buffer(path, length as u64, 0)?;
    copy.extend_from_slice(bytes);
    copy.resize(length, 0);
    for (place, value) in [(10, Some(start)), (46, colors)] {
        if let (Some(field), Some(value)) = (copy.get_mut(place..place + 4), value) {
            field.copy_from_slice(&value.to_le_bytes());
        }
    }
    if let Some(planes) = copy.get_mut(26..28).filter(|_| has_no_plane) {
        planes.copy_from_slice(&1_u16.to_le_bytes());
    }
    Ok(Some(copy))
}
