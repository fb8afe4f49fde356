//! The gate of a squeeze-and-excitation block.

use crate::conv::shape::MapSize;
use crate::parallel::{SharedOut, run_tasks};
use crate::simd::isa::{Isa, kernel};
use crate::simd::math::sigmoid;
use crate::simd::vector::Simd;
use crate::vectorized::vectorized;

/// Multiplies each channel of each image by the sigmoid of its gate. `gate`, `[batch, channels]`, is replaced by its sigmoid.
///
/// # Panics
/// If the length of a buffer does not fit its size.
pub fn apply_gate(isa: Isa, x: &[f32], size: MapSize, gate: &mut [f32], y: &mut [f32]) {
    assert!(size.batch > 0 && gate.len().is_multiple_of(size.batch), "the length of a gate");
    let channels = gate.len() / size.batch;
    assert!(x.len() == size.cells() * channels && y.len() == x.len(), "the buffers of a gate");
    // SAFETY: the slice is valid for its own length.
    unsafe { sigmoids(isa, gate.as_mut_ptr(), gate.len()) };
    let (line, gate, shared) = (size.columns * channels, &*gate, SharedOut::new(y));
    run_tasks(size.batch * size.rows, |task| {
        let gate = &gate[task / size.rows * channels..][..channels];
        // SAFETY: `at` checked the row, and each task writes its own.
        let y = unsafe { std::slice::from_raw_parts_mut(shared.at(task * line, line), line) };
        multiply_rows(&x[task * line..][..line], gate, y);
    });
}

kernel! {
    /// Replaces each element by its sigmoid.
    ///
    /// # Safety
    /// `x` is valid for `count` elements.
    unsafe fn sigmoids(x: *mut f32, count: usize) = sigmoids_body
}

#[inline(always)]
unsafe fn sigmoids_body<S: Simd>(x: *mut f32, count: usize) {
    let whole = count / S::LANES * S::LANES;
    // SAFETY: the caller's promise; elements that do not fill a vector go through a buffer.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            S::store(x.add(at), sigmoid::<S>(S::load(x.add(at))));
        }
        let mut lanes = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(x.add(whole), lanes.as_mut_ptr(), count - whole);
        let y = sigmoid::<S>(S::load(lanes.as_ptr()));
        S::store(lanes.as_mut_ptr(), y);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), x.add(whole), count - whole);
    }
}

vectorized! {
    /// Multiplies contiguous rows by one row of factors.
    fn multiply_rows(x: &[f32], factors: &[f32], y: &mut [f32]) = multiply_rows_body
}

#[inline(always)]
fn multiply_rows_body<const FMA: bool>(x: &[f32], factors: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(factors.len()).zip(y.chunks_exact_mut(factors.len())) {
        x.iter().zip(factors).zip(y).for_each(|((x, factor), y)| *y = x * factor);
    }
}
