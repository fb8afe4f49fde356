//! The markers of a JPEG file: what they show of damage, without decoding.

/// What is wrong with a file, as far as its markers tell.
#[cfg(feature = "tiff")]
pub(super) fn damage(bytes: &[u8]) -> Option<&'static str> {
    match walk(bytes) {
        Walked::Damaged(reason) => Some(reason),
        Walked::Whole(_) | Walked::Unknown => None,
    }
}

/// What the markers tell of a file, from its start to the end of its first image.
pub(super) struct Walk {
    /// Where the end-of-image marker stands.
    pub(super) end: usize,
    /// Whether the first scan has all components of a frame that is not progressive.
    pub(super) in_one: bool,
    /// Whether the decoder can be held against [`BEYOND`] in the last scan.
    pub(super) guarded: bool,
}

pub(super) enum Walked {
    Whole(Walk),
    /// Something else where a scan should be: the decoder has the better words for it.
    Unknown,
    Damaged(&'static str),
}

const CUT_OFF: Walked = Walked::Damaged("it ends in the middle of the image");

/// What follows the last code: 128 ones, which are no code (ITU T.81, annex C, leaves the code of all ones out). A decoder
/// that needs more than the file has would fill it up with zeros, which are codes.
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

/// A component of the frame.
struct Component {
    id: u8,
    across: u64,
    down: u64,
    /// For each coefficient, how many of its lower bits are still missing; [`NEVER`] before any came.
    missing: [u8; 64],
}

const NEVER: u8 = u8::MAX;

/// Walks from segment to segment (ITU T.81, annex B), and through the codes of each scan to the marker that ends it.
/// Segments tell their length: a thumbnail in one of them has an end of its own.
pub(super) fn walk(bytes: &[u8]) -> Walked {
    let (mut position, mut frame, mut size, mut interval) = (2, 0, (0, 0), 0);
    let mut components = Vec::<Component>::new();
    let (mut scans, mut in_one) = (0, false);
    while let Some([0xff, marker, rest @ ..]) = bytes.get(position..) {
        match (*marker, rest) {
            (0xd9, _) if scans > 0 => {
                if components.iter().any(|component| component.missing.iter().any(|&bits| bits > 0)) {
                    return Walked::Damaged("scans are missing, without which it is blurred or has not all its colors");
                }
                // The decoder looks for what follows a progressive frame's first scan right behind its codes.
                return Walked::Whole(Walk { end: position, in_one, guarded: scans > 1 || frame != PROGRESSIVE });
            }
            // Bytes that fill up, and markers without a length.
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
                            Component { id, across, down, missing: [NEVER; 64] }
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
                            return Walked::Damaged("it has fewer restart intervals than its size takes");
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

/// The marker of a progressive frame; the two before it are those of sequential ones.
const PROGRESSIVE: u8 = 0xc2;

/// How many units a scan of these components has between its restarts (ITU T.81, A.2).
fn units((width, height): (u64, u64), components: &[Component], ids: &[u8]) -> u64 {
    let most = |of: fn(&Component) -> u64| components.iter().map(of).max().unwrap_or(1);
    let (most_across, most_down) = (most(|component| component.across), most(|component| component.down));
    match (ids, components.iter().find(|component| ids.first() == Some(&component.id))) {
        ([_], Some(alone)) if components.len() > 1 => {
            (width * alone.across).div_ceil(8 * most_across) * (height * alone.down).div_ceil(8 * most_down)
        }
        // One component alone is not interleaved, whatever sampling it names.
        ([_], _) => width.div_ceil(8) * height.div_ceil(8),
        _ => width.div_ceil(8 * most_across) * height.div_ceil(8 * most_down),
    }
}

/// Goes to the marker that ends a scan, or to the end of the file, and counts the restarts on the way.
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
