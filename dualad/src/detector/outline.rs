//! The outer border of a region, along the pixels' sides.

/// The corners where the outer border of the 8-connected region that the mask marks turns, clockwise as seen in the picture,
/// from the first marked pixel's top left corner. Empty if nothing is marked.
pub(super) fn trace(mask: &[u8], width: usize) -> Vec<[u32; 2]> {
    let Some(first) = mask.iter().position(|&marked| marked != 0) else { return Vec::new() };
    let height = mask.len() / width;
    let marked = |x: i64, y: i64| {
        let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
        inside && mask[y as usize * width + x as usize] != 0
    };
    let start = [(first % width) as i64, (first / width) as i64];
    let ([mut x, mut y], mut step) = (start, [1, 0]);
    let mut corners = vec![[x as u32, y as u32]];
    // Every side of a pixel is passed at most once, with the region on the right.
    for _ in 0..4 * mask.len() {
        let [dx, dy] = step;
        (x, y) = (x + dx, y + dy);
        // The pixels ahead of this corner: half a step on, and half a step to either side.
        let ahead = |side: i64| {
            let [sx, sy] = [-dy * side, dx * side];
            marked(x + (dx + sx - 1) / 2, y + (dy + sy - 1) / 2)
        };
        // The left one first: if it is marked, it touches the pixel on the right behind, at this corner if nowhere else.
        let next = match (ahead(-1), ahead(1)) {
            (true, _) => [dy, -dx],
            (_, true) => step,
            _ => [-dy, dx],
        };
        if [x, y] == start && next == [1, 0] {
            break;
        }
        if next != step {
            corners.push([x as u32, y as u32]);
            step = next;
        }
    }
    corners
}
