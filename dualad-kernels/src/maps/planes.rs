//! The conversion between maps, channels last, and planes, channels first.

use crate::parallel::{SharedOut, part, run_tasks};

/// The elements that a task transposes.
const SHARE: usize = 32 << 10;
/// The side of a block that is transposed at a time.
const BLOCK: usize = 16;

/// Transposes planes `[batch, channels, cells]` to maps `[batch, cells, channels]`.
///
/// # Panics
/// If the buffers have different lengths, or if `batch * channels` does not divide their length.
pub fn from_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    let cells = cells_of(x, batch, channels, y);
    transpose(x, batch, [channels, cells], y);
}

/// Transposes maps `[batch, cells, channels]` to planes `[batch, channels, cells]`.
///
/// # Panics
/// If the buffers have different lengths, or if `batch * channels` does not divide their length.
pub fn to_planes(x: &[f32], batch: usize, channels: usize, y: &mut [f32]) {
    let cells = cells_of(x, batch, channels, y);
    transpose(x, batch, [cells, channels], y);
}

/// Transposes matrices `[batch, rows, columns]` to `[batch, columns, rows]`.
fn transpose(x: &[f32], batch: usize, [rows, columns]: [usize; 2], y: &mut [f32]) {
    let parts = (rows * columns).div_ceil(SHARE).min(columns.div_ceil(BLOCK)).max(1);
    let shared = SharedOut::new(y);
    run_tasks(batch * parts, |task| {
        let (image, range) = (task / parts, part(columns, BLOCK, parts, task % parts));
        let x = &x[image * rows * columns..][..rows * columns];
        let length = range.len() * rows;
        // SAFETY: `at` checked the new rows, and each task writes its own.
        let y = unsafe {
            std::slice::from_raw_parts_mut(shared.at((image * columns + range.start) * rows, length), length)
        };
        if rows.min(range.len()) < BLOCK {
            for row in 0..rows {
                let from = &x[row * columns..][range.clone()];
                y[row..].iter_mut().step_by(rows).zip(from).for_each(|(y, x)| *y = *x);
            }
            return;
        }
        for row in (0..rows).step_by(BLOCK) {
            for column in (0..range.len()).step_by(BLOCK) {
                let size = [BLOCK.min(rows - row), BLOCK.min(range.len() - column)];
                transpose_block(
                    &x[row * columns + range.start + column..],
                    columns,
                    size,
                    &mut y[column * rows + row..],
                    rows,
                );
            }
        }
    });
}

/// Transposes a block of at most [`BLOCK`] rows and columns. The rows of `x` begin `x_stride` elements apart, those of `y` `y_stride`.
#[inline(always)]
fn transpose_block(x: &[f32], x_stride: usize, [rows, columns]: [usize; 2], y: &mut [f32], y_stride: usize) {
    let mut block = [[0.0; BLOCK]; BLOCK];
    if [rows, columns] == [BLOCK, BLOCK] {
        // Of a size that the compiler knows.
        for (to, x) in block.iter_mut().zip(x.chunks(x_stride)) {
            to.copy_from_slice(&x[..BLOCK]);
        }
        for (column, y) in y.chunks_mut(y_stride).take(BLOCK).enumerate() {
            let line: [f32; BLOCK] = std::array::from_fn(|row| block[row][column]);
            y[..BLOCK].copy_from_slice(&line);
        }
        return;
    }
    for (to, x) in block.iter_mut().zip(x.chunks(x_stride)).take(rows) {
        to[..columns].copy_from_slice(&x[..columns]);
    }
    for (column, y) in y.chunks_mut(y_stride).take(columns).enumerate() {
        y.iter_mut().zip(&block).take(rows).for_each(|(y, row)| *y = row[column]);
    }
}

/// Checks the lengths and returns the cells of a map.
fn cells_of(x: &[f32], batch: usize, channels: usize, y: &[f32]) -> usize {
    assert!(batch > 0 && channels > 0 && x.len() == y.len(), "the lengths of planes");
    assert!(x.len().is_multiple_of(batch * channels), "the lengths of planes");
    x.len() / (batch * channels)
}
