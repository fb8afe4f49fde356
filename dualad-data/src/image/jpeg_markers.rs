//! The markers of a JPEG file, which show some damage without decoding.

use std::ops::Range;

use super::jpeg_segments::{DNL, Segments};

/// Returns the damage that the markers of a strip or tile show. The decoder of TIFF fills missing codes with gray, so the
/// end-of-image marker is needed.
#[cfg(feature = "tiff")]
pub(super) fn damage(bytes: &[u8]) -> Option<&'static str> {
    match walk(bytes) {
        Walked::Damaged(reason) => Some(reason),
        Walked::Whole(Walk { has_end: false, .. }) => Some(ENDS_EARLY),
        Walked::Whole(_) | Walked::Unknown | Walked::Unsupported(_) => None,
    }
}

/// The first image of a file by its markers.
pub(super) struct Walk {
    /// The parts of the file that make up the image, without the end-of-image marker.
    pub(super) parts: Vec<Range<usize>>,
    /// `false` if the file ends without the end-of-image marker.
    pub(super) has_end: bool,
    /// The position of the height in the header, and the height, if the header leaves it to a segment after the first scan.
    pub(super) height: Option<(usize, [u8; 2])>,
    /// `true` if Huffman tables that the first scan uses are left out, as in the frames of videos: they are those of the standard.
    pub(super) lacks_tables: bool,
    /// `true` if the first scan of a sequential frame has all components.
    pub(super) in_one: bool,
    /// `true` if [`BEYOND`] can detect missing codes in the last scan.
    pub(super) guarded: bool,
}

/// The result of [`walk`].
pub(super) enum Walked {
    Whole(Walk),
    /// There is something other than a scan. The decoder has a better message for it.
    Unknown,
    Unsupported(&'static str),
    Damaged(&'static str),
}

pub(super) const ENDS_EARLY: &str = "it ends in the middle of the image";
const CUT_OFF: Walked = Walked::Damaged(ENDS_EARLY);

/// Bytes to append after the last code: 128 one bits, which are not a valid code (ITU T.81, annex C, reserves the code of
/// all ones). Without them, a decoder continues a truncated file with zeros, which are valid codes.
pub(super) const BEYOND: [u8; 34] = {
    let mut ones = [0; 34];
    let mut at = 0;
    while at < 32 {
        ones[at] = 0xff;
        at += 2;
    }
    (ones[32], ones[33]) = (0xff, 0xd9);
    ones
};

/// A color component of the frame.
struct Component {
    id: u8,
    across: u64,
    down: u64,
    /// For each coefficient, the number of its low bits that are missing; [`NONE_READ`] before the first scan of it.
    missing: [u8; 64],
}

const NONE_READ: u8 = u8::MAX;

/// The largest number of parts that are separated by bytes of no segment.
const MOST_PARTS: usize = 1000;

/// Walks through the segments (ITU T.81, annex B) and the codes of each scan.
pub(super) fn walk(bytes: &[u8]) -> Walked {
    let (mut frame, mut size, mut interval, mut height) = (0, (0, 0), 0, None);
    let mut components = Vec::<Component>::new();
    let (mut scans, mut in_one, mut tables, mut lacks_tables) = (0u32, false, Vec::new(), false);
    let start = 0..bytes.len().min(2);
    let mut parts = vec![start];
    let (mut has_end, mut segments) = (false, Segments::new(bytes));
    for segment in segments.by_ref() {
        let pair = |at: usize| segment.content.get(at..at + 2).map_or([0; 2], |pair| [pair[0], pair[1]]);
        match segment.marker {
            0xd9 if scans > 0 => {
                has_end = true;
                break;
            }
            // The decoder does not know the segment. It is kept where it has no meaning.
            DNL if scans > 0 => continue,
            0xc0..=PROGRESSIVE if frame != 0 => return Walked::Damaged("it has two headers of a frame"),
            0xc0..=PROGRESSIVE => {
                if segment.content.first() == Some(&12) {
                    return Walked::Unsupported("it is a jpeg of 12 bits a sample");
                }
                let mut height_bytes = pair(1);
                if height_bytes == [0; 2] {
                    let Some(found) = lines(bytes, segment.range.end) else {
                        return Walked::Damaged(
                            "its header has a height of 0, and no segment after the scan has another",
                        );
                    };
                    height = Some((segment.start_of_content() + 1, found));
                    height_bytes = found;
                }
                frame = segment.marker;
                size = (u16::from_be_bytes(pair(3)).into(), u16::from_be_bytes(height_bytes).into());
                let all = segment.content.get(6..).unwrap_or_default().as_chunks::<3>().0.iter();
                let all = all.take(segment.content.get(5).copied().unwrap_or(0).into());
                let new = |&[id, sampling, _]: &[u8; 3]| {
                    let (across, down) = (u64::from(sampling >> 4).max(1), u64::from(sampling & 15).max(1));
                    Component { id, across, down, missing: [NONE_READ; 64] }
                };
                components = all.map(new).collect();
            }
            0xc3 => return Walked::Unsupported("it is a lossless jpeg"),
            0xc5..=0xc7 => return Walked::Unsupported("it is a hierarchical jpeg"),
            0xc9..=0xcb | 0xcd..=0xcf => return Walked::Unsupported("it is a jpeg with arithmetic coding"),
            0xf7 => return Walked::Unsupported("it is a JPEG-LS image"),
            0xc4 => tables.extend(huffman_tables(segment.content)),
            0xdd => interval = u64::from(u16::from_be_bytes(pair(0))),
            0xda if frame == 0 => return Walked::Unknown,
            0xda => {
                let segment = &segment;
                let Some(count) = segment.content.first().map(|&count| usize::from(count)) else { return CUT_OFF };
                let Some(choice) = segment.content.get(1..1 + 2 * count) else { return CUT_OFF };
                let Some(&[first, last, bits]) = segment.content.get(1 + 2 * count..4 + 2 * count) else {
                    return CUT_OFF;
                };
                let ids: Vec<u8> = choice.as_chunks::<2>().0.iter().map(|&[id, _]| id).collect();
                let units = units(size, &components, &ids);
                let progressive = frame == PROGRESSIVE;
                let (first, last, bits) = if progressive { (first, last, bits & 15) } else { (0, 63, 0) };
                for component in components.iter_mut().filter(|component| ids.contains(&component.id)) {
                    if let Some(band) = component.missing.get_mut(usize::from(first)..=usize::from(last.min(63))) {
                        band.fill(bits);
                    }
                }
                if scans == 0 {
                    in_one = ids.len() >= components.len() && !progressive;
                    // A damaged header may have hidden the tables.
                    let used = choice.as_chunks::<2>().0.iter().flat_map(|&[_, ids]| [ids >> 4, 0x10 | ids & 15]);
                    let is_left_out = |table: u8| table & 15 < 2 && !tables.contains(&table);
                    lacks_tables = !progressive && parts.len() == 1 && used.into_iter().any(is_left_out);
                }
                scans += 1;
                if interval > 0 && segment.restarts < units.div_ceil(interval).saturating_sub(1) {
                    return Walked::Damaged("it has fewer restart intervals than its size needs");
                }
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut()
            && last.end == segment.range.start
        {
            last.end = segment.range.end;
        } else if parts.len() < MOST_PARTS {
            parts.push(segment.range);
        } else {
            return Walked::Damaged("it has too many bytes that belong to no segment");
        }
    }
    if scans == 0 {
        return if segments.is_at_end() { CUT_OFF } else { Walked::Unknown };
    }
    if segments.is_cut() {
        return CUT_OFF;
    }
    if components.iter().any(|component| component.missing.iter().any(|&bits| bits > 0)) {
        return Walked::Damaged("scans are missing: it would be blurred or lack colors");
    }
    // Half a marker at the end of the file.
    if let Some(last) = parts.last_mut() {
        while last.len() > 2 && bytes.get(last.end - 1) == Some(&0xff) {
            last.end -= 1;
        }
    }
    // The decoder expects the next scan directly after the codes of the first scan of a progressive frame.
    let guarded = scans > 1 || frame != PROGRESSIVE;
    Walked::Whole(Walk { parts, has_end, height, lacks_tables, in_one, guarded })
}

/// Returns the classes and numbers of the Huffman tables in a segment: 0 to 3 for DC, 16 more for AC.
fn huffman_tables(mut content: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    while let Some((&table, rest)) = content.split_first()
        && let Some((counts, rest)) = rest.split_at_checked(16)
    {
        found.push(table);
        let length: usize = counts.iter().map(|&count| usize::from(count)).sum();
        content = rest.get(length..).unwrap_or_default();
    }
    found
}

/// Returns the number of lines in the first segment for it (ITU T.81, B.2.5) from a position on.
fn lines(bytes: &[u8], position: usize) -> Option<[u8; 2]> {
    let mut segments = Segments::from(bytes, position);
    let lines = segments.find(|segment| segment.marker == DNL)?.content.get(..2)?;
    <[u8; 2]>::try_from(lines).ok().filter(|lines| *lines != [0; 2])
}

/// The marker of a progressive frame. The two markers before it are those of sequential frames.
const PROGRESSIVE: u8 = 0xc2;

/// Returns the number of coded units of a scan of these components (ITU T.81, A.2). Restart intervals count them.
fn units((width, height): (u64, u64), components: &[Component], ids: &[u8]) -> u64 {
    let max = |of: fn(&Component) -> u64| components.iter().map(of).max().unwrap_or(1);
    let (max_across, max_down) = (max(|component| component.across), max(|component| component.down));
    match (ids, components.iter().find(|component| ids.first() == Some(&component.id))) {
        ([_], Some(alone)) if components.len() > 1 => {
            (width * alone.across).div_ceil(8 * max_across) * (height * alone.down).div_ceil(8 * max_down)
        }
        // A single component is not interleaved, whatever its sampling factors.
        ([_], _) => width.div_ceil(8) * height.div_ceil(8),
        _ => width.div_ceil(8 * max_across) * height.div_ceil(8 * max_down),
    }
}
