//! Bilinear interpolation along one axis.

/// Returns the two cells that a position lies between, and the weight of the second, in `[0, 1)`.
///
/// Cell `i` has its center at position `i`. Beyond the outermost centers the outermost cells continue. `cells` is at least 1.
pub(crate) fn tap(position: f64, cells: usize) -> (usize, usize, f64) {
    let last = cells.saturating_sub(1);
    let position = position.clamp(0.0, last as f64);
    let first = (position as usize).min(last);
    (first, (first + 1).min(last), position - first as f64)
}
