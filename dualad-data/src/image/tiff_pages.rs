//! The number of pages of a TIFF file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest number of pages that are counted.
const MOST: usize = 10_000;
/// The tag that tells smaller copies of a page from other pages, and the bit for them.
const KIND: u16 = 254;
const SMALLER_COPY: u64 = 1;
/// The tag of older files, and its value for smaller copies.
const OLD_KIND: u16 = 255;
const OLD_SMALLER_COPY: u64 = 2;

/// Returns the number of pages of a TIFF file, smaller copies left out. Only the directories of its pages are read. `None` is a file of another
/// kind, or one whose directories cannot be read.
pub(crate) fn pages(path: &Path) -> Option<usize> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut start = [0; 4];
    file.read_exact(&mut start).ok()?;
    let (is_little, is_big_tiff) = match start {
        [b'I', b'I', 42, 0] => (true, false),
        [b'M', b'M', 0, 42] => (false, false),
        [b'I', b'I', 43, 0] => (true, true),
        [b'M', b'M', 0, 43] => (false, true),
        _ => return None,
    };
    let mut reader = Reader { file, is_little };
    if is_big_tiff {
        reader.number(4)?;
    }
    let (of_count, of_offset, of_entry) = if is_big_tiff { (8, 8, 20) } else { (2, 4, 12) };
    let mut offset = reader.number(of_offset)?;
    let (mut count, mut seen) = (0, std::collections::HashSet::new());
    while offset != 0 && count < MOST && seen.insert(offset) {
        reader.file.seek(SeekFrom::Start(offset)).ok()?;
        let entries = reader.number(of_count)?;
        let mut is_copy = false;
        // A directory has few entries; more are damage.
        for _ in 0..Some(entries).filter(|entries| *entries <= u64::from(u16::MAX))? {
            let tag = reader.number(2)? as u16;
            let kind = reader.number(2)?;
            reader.number(if is_big_tiff { 8 } else { 4 })?;
            // The value of 16 or 32 bits begins the field.
            let of_value = if kind == 3 { 2 } else { 4 };
            let value = reader.number(of_value)?;
            reader.skip(of_entry - 8 - u64::from(is_big_tiff) * 4 - of_value)?;
            is_copy |= tag == KIND && value & SMALLER_COPY != 0 || tag == OLD_KIND && value == OLD_SMALLER_COPY;
        }
        count += usize::from(!is_copy);
        offset = reader.number(of_offset)?;
    }
    Some(count)
}

/// A file of numbers in one byte order.
struct Reader {
    file: BufReader<File>,
    is_little: bool,
}

impl Reader {
    /// Reads a number of up to 8 bytes.
    fn number(&mut self, bytes: u64) -> Option<u64> {
        let mut number = 0;
        for index in 0..bytes {
            let mut byte = [0];
            self.file.read_exact(&mut byte).ok()?;
            let [byte] = byte.map(u64::from);
            number = if self.is_little { number | byte << (8 * index) } else { number << 8 | byte };
        }
        Some(number)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.number(bytes).map(|_| ())
    }
}
