//! The number of frames of an animated file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest number of frames that are counted.
const MOST: usize = 10_000;
/// The largest number of blocks of a file that are looked at.
const MOST_BLOCKS: usize = 1_000_000;

/// Returns the number of frames of a GIF, WebP or PNG file. Only the heads of its blocks are read. `None` is a file of another kind, or one
/// whose blocks cannot be read.
pub(crate) fn frames(path: &Path) -> Option<usize> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut start = [0; 12];
    file.read_exact(&mut start).ok()?;
    match start {
        [b'G', b'I', b'F', b'8', ..] => of_gif(&mut file),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => of_webp(&mut file),
        [0x89, b'P', b'N', b'G', ..] => of_png(&mut file),
        _ => None,
    }
}

/// Counts the images of a GIF file, up to the fault of a damaged one.
fn of_gif(file: &mut BufReader<File>) -> Option<usize> {
    file.seek(SeekFrom::Start(10)).ok()?;
    let [flags, _, _] = bytes(file)?;
    skip_colors(file, flags)?;
    let mut count = 0;
    for _ in 0..MOST_BLOCKS {
        match bytes(file) {
            Some([b',']) if count < MOST => {
                count += 1;
                let [.., flags] = bytes::<9>(file)?;
                skip_colors(file, flags)?;
                file.seek_relative(1).ok()?;
            }
            Some([b'!']) => file.seek_relative(1).ok()?,
            _ => break,
        }
        loop {
            match bytes(file)? {
                [0] => break,
                [length] => file.seek_relative(i64::from(length)).ok()?,
            }
        }
    }
    Some(count)
}

/// Skips the table of colors that the flags of a GIF file announce.
fn skip_colors(file: &mut BufReader<File>, flags: u8) -> Option<()> {
    let colors = if flags & 0x80 != 0 { 2 << (flags & 7) } else { 0 };
    file.seek_relative(3 * colors).ok()
}

fn of_webp(file: &mut BufReader<File>) -> Option<usize> {
    let mut count = 0;
    for _ in 0..MOST_BLOCKS {
        let Some([name @ .., a, b, c, d]) = bytes::<8>(file) else { break };
        count += usize::from(name == *b"ANMF");
        let length = u32::from_le_bytes([a, b, c, d]);
        if count == MOST || file.seek_relative(i64::from(length) + i64::from(length % 2)).is_err() {
            break;
        }
    }
    Some(count.max(1))
}

/// Returns the number that the control block of an animation has, which lies before the pixels.
fn of_png(file: &mut BufReader<File>) -> Option<usize> {
    file.seek(SeekFrom::Start(8)).ok()?;
    for _ in 0..MOST_BLOCKS {
        let [a, b, c, d, name @ ..] = bytes::<8>(file)?;
        match &name {
            b"acTL" => return Some((u32::from_be_bytes(bytes(file)?) as usize).min(MOST)),
            b"IDAT" | b"IEND" => break,
            _ => file.seek_relative(i64::from(u32::from_be_bytes([a, b, c, d])) + 4).ok()?,
        }
    }
    Some(1)
}

fn bytes<const COUNT: usize>(file: &mut BufReader<File>) -> Option<[u8; COUNT]> {
    let mut found = [0; COUNT];
    file.read_exact(&mut found).ok()?;
    Some(found)
}
