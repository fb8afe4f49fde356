//! The conversion between maps, channels last, and planes, channels first.

use crate::parallel::{SharedOut, part, run_tasks};

/// The cells that a task transposes.
const CELLS: usize = 512;

/// Transposes planes `[batch, channels, cells]` to maps `[batch, cells, channels]`.
///
/// # Panics
/// If the buffers have different lengths, or if `batch * channels` does not divide their length.
pub fn from_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    let cells = cells_of(x, batch, channels, y);
    let (parts, shared) = (cells.div_ceil(CELLS), SharedOut::new(y));
    run_tasks(batch * parts, |task| {
        let (image, range) = (task / parts, part(cells, 1, parts, task % parts));
        let (x, length) = (&x[image * cells * channels..][..cells * channels], range.len() * channels);
        // SAFETY: `at` checked the cells, and each task writes its own.
        let y = unsafe {
            std::slice::from_raw_parts_mut(shared.at((image * cells + range.start) * channels, length), length)
        };
        for channel in 0..channels {
            let plane = &x[channel * cells + range.start..][..range.len()];
            y[channel..].iter_mut().step_by(channels).zip(plane).for_each(|(y, x)| *y = *x);
        }
    });
}

/// Transposes maps `[batch, cells, channels]` to planes `[batch, channels, cells]`.
///
/// # Panics
/// If the buffers have different lengths, or if `batch * channels` does not divide their length.
pub fn to_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    /// The channels that a task writes: the cache lines of a block of cells stay in the cache.
    const CHANNELS: usize = 16;
    let cells = cells_of(x, batch, channels, y);
    let (parts, shared) = (channels.div_ceil(CHANNELS), SharedOut::new(y));
    run_tasks(batch * parts, |task| {
        let (image, range) = (task / parts, part(channels, CHANNELS, parts, task % parts));
        let x = &x[image * cells * channels..][..cells * channels];
        let length = range.len() * cells;
        // SAFETY: `at` checked the planes, and each task writes its own.
        let y = unsafe {
            std::slice::from_raw_parts_mut(shared.at((image * channels + range.start) * cells, length), length)
        };
        for (cell, x) in x.chunks_exact(channels).enumerate() {
            for (index, &value) in x[range.clone()].iter().enumerate() {
                y[index * cells + cell] = value;
            }
        }
    });
}

/// Checks the lengths and returns the cells of a map.
fn cells_of(x: &[f32], batch: usize, channels: usize, y: &[f32]) -> usize {
    assert!(batch > 0 && channels > 0 && x.len() == y.len(), "the lengths of planes");
    assert!(x.len().is_multiple_of(batch * channels), "the lengths of planes");
    x.len() / (batch * channels)
}
