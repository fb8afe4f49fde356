//! The segments of a JPEG file (ITU T.81, annex B).

use std::ops::Range;

/// The marker of the segment with the number of lines.
pub(super) const DNL: u8 = 0xdc;
const START_OF_SCAN: u8 = 0xda;

/// A marker and what belongs to it.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// The marker, its segment and, after the header of a scan, the codes.
    pub(super) range: Range<usize>,
    /// The segment without its length; empty for a marker that has none.
    pub(super) content: &'a [u8],
    /// The number of restarts in the codes.
    pub(super) restarts: u64,
}

impl Segment<'_> {
    /// Returns the position of the content in the file.
    pub(super) fn start_of_content(&self) -> usize {
        self.range.start + 4
    }
}

/// The segments of a file. A segment starts with its length, so the markers of a thumbnail inside a segment are skipped.
/// Bytes that belong to no segment are skipped, too, like in libjpeg.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    position: usize,
    cut: bool,
}

impl<'a> Segments<'a> {
    /// Starts after the marker at the start of an image.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self::from(bytes, 2)
    }

    /// Starts at a position.
    pub(super) fn from(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position, cut: false }
    }

    /// Returns whether the last segment extends beyond the end of the file.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Returns whether no bytes are left.
    pub(super) fn is_at_end(&self) -> bool {
        self.cut || self.position >= self.bytes.len()
    }

    /// Moves to the next marker, and returns it.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let rest = self.bytes.get(self.position..)?;
            match rest {
                // Fill bytes.
                [0xff, 0xff, ..] => self.position += 1,
                [0xff, marker @ 1..=0xfe, ..] => return Some(*marker),
                [0xff] | [] => return None,
                [_, after @ ..] => {
                    let skipped = after.iter().position(|&byte| byte == 0xff).unwrap_or(after.len());
                    self.position += 1 + skipped;
                }
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let marker = self.marker()?;
        let start = self.position;
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            self.position += 2;
            return Some(Segment { marker, range: start..self.position, content: &[], restarts: 0 });
        }
        let length =
            self.bytes.get(start + 2..start + 4).map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])));
        let content = length.and_then(|length| self.bytes.get(start + 4..start + 2 + length));
        let Some(content) = content else {
            self.cut = true;
            return None;
        };
        self.position = start + 4 + content.len();
        let restarts = if marker == START_OF_SCAN { self.codes() } else { 0 };
        Some(Segment { marker, range: start..self.position, content, restarts })
    }
}

impl Segments<'_> {
    /// Moves to the marker that ends a scan, or to the end of the file, and counts the restarts.
    fn codes(&mut self) -> u64 {
        let mut restarts = 0;
        while let Some(rest) = self.bytes.get(self.position..)
            && let Some(found) = rest.iter().position(|&byte| byte == 0xff)
        {
            self.position += found;
            match self.bytes.get(self.position + 1) {
                Some(0) => self.position += 2,
                Some(0xd0..=0xd7) => {
                    restarts += 1;
                    self.position += 2;
                }
                Some(0xff) => self.position += 1,
                Some(_) => return restarts,
                None => break,
            }
        }
        self.position = self.bytes.len();
        restarts
    }
}
