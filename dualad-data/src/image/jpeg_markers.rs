//! The markers of a JPEG file, which show some damage without decoding.

/// Returns the damage that the markers of a file show.
#[cfg(feature = "tiff")]
pub(super) fn damage(bytes: &[u8]) -> Option<&'static str> {
    match walk(bytes) {
        Walked::Damaged(reason) => Some(reason),
        Walked::Whole(_) | Walked::Unknown => None,
    }
}

/// The content of the markers, from the start of a file to the end of its first image.
pub(super) struct Walk {
    /// The position of the end-of-image marker.
    pub(super) end: usize,
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
    Damaged(&'static str),
}

const CUT_OFF: Walked = Walked::Damaged("it ends in the middle of the image");

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

/// Walks through the segments (ITU T.81, annex B) and the codes of each scan. A segment starts with its length, so the
/// markers of a thumbnail inside a segment are skipped.
pub(super) fn walk(bytes: &[u8]) -> Walked {
    let (mut position, mut frame, mut size, mut interval) = (2, 0, (0, 0), 0);
    let mut components = Vec::<Component>::new();
    let (mut scans, mut in_one) = (0, false);
    while let Some([0xff, marker, rest @ ..]) = bytes.get(position..) {
        match (*marker, rest) {
            (0xd9, _) if scans > 0 => {
                if components.iter().any(|component| component.missing.iter().any(|&bits| bits > 0)) {
                    return Walked::Damaged("scans are missing: it would be blurred or lack colors");
                }
                // The decoder expects the next scan directly after the codes of the first scan of a progressive frame.
                return Walked::Whole(Walk { end: position, in_one, guarded: scans > 1 || frame != PROGRESSIVE });
            }
            // Fill bytes, and markers without a length.
            (0xff, _) => position += 1,
            (0x01 | 0xd0..=0xd9, _) => position += 2,
            (marker, [high, low, segment @ ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let pair = |at: usize| segment.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
                position += 2 + length;
                match marker {
                    0xc0..=PROGRESSIVE => {
                        (frame, size) = (marker, (pair(3).into(), pair(1).into()));
                        let all = segment.get(6..).unwrap_or_default().as_chunks::<3>().0.iter();
                        let all = all.take(segment.get(5).copied().unwrap_or(0).into());
                        let new = |&[id, sampling, _]: &[u8; 3]| {
                            let (across, down) = (u64::from(sampling >> 4).max(1), u64::from(sampling & 15).max(1));
                            Component { id, across, down, missing: [NONE_READ; 64] }
                        };
                        components = all.map(new).collect();
                    }
                    0xdd => interval = u64::from(pair(0)),
                    0xda if frame == 0 => return Walked::Unknown,
                    0xda => {
                        let Some(count) = segment.first().map(|&count| usize::from(count)) else { return CUT_OFF };
                        let Some(choice) = segment.get(1..1 + 2 * count) else { return CUT_OFF };
                        let Some(&[first, last, bits]) = segment.get(1 + 2 * count..4 + 2 * count) else {
                            return CUT_OFF;
                        };
                        let ids: Vec<u8> = choice.as_chunks::<2>().0.iter().map(|&[id, _]| id).collect();
                        let units = units(size, &components, &ids);
                        let progressive = frame == PROGRESSIVE;
                        let (first, last, bits) = if progressive { (first, last, bits & 15) } else { (0, 63, 0) };
                        for component in components.iter_mut().filter(|component| ids.contains(&component.id)) {
                            if let Some(band) =
                                component.missing.get_mut(usize::from(first)..=usize::from(last.min(63)))
                            {
                                band.fill(bits);
                            }
                        }
                        if scans == 0 {
                            in_one = ids.len() >= components.len() && !progressive;
                        }
                        scans += 1;
                        let restarts = codes(bytes, &mut position);
                        if interval > 0 && restarts < units.div_ceil(interval).saturating_sub(1) {
                            return Walked::Damaged("it has fewer restart intervals than its size needs");
                        }
                    }
                    _ => {}
                }
            }
            _ => return CUT_OFF,
        }
    }
    if scans > 0 || position >= bytes.len() { CUT_OFF } else { Walked::Unknown }
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

/// Moves to the marker that ends a scan, or to the end of the file, and counts the restarts.
fn codes(bytes: &[u8], position: &mut usize) -> u64 {
    let mut restarts = 0;
    while let Some(found) = bytes.get(*position..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
        *position += found;
        match bytes.get(*position + 1) {
            Some(0) => *position += 2,
            Some(0xd0..=0xd7) => {
                restarts += 1;
                *position += 2;
            }
            Some(0xff) => *position += 1,
            Some(_) => return restarts,
            None => break,
        }
    }
    *position = bytes.len();
    restarts
}
