//! The outline of a region along the sides of its pixels.

/// Returns the corners where the outer border of the marked 8-connected region turns, clockwise in the picture, from the top
/// left corner of the first marked pixel. Empty if no pixel is marked.
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
    // Every side of a pixel is visited at most once, with the region on the right.
    for _ in 0..4 * mask.len() {
        let [dx, dy] = step;
        (x, y) = (x + dx, y + dy);
        // The pixels ahead of this corner: half a step forward, and half a step to a side.
        let ahead = |side: i64| {
            let [sx, sy] = [-dy * side, dx * side];
            marked(x + (dx + sx - 1) / 2, y + (dy + sy - 1) / 2)
        };
        // The left one first: if it is marked, it is connected to the pixel behind on the right, at least at this corner.
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
