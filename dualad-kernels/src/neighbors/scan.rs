//! The kernels that go through lower bounds.

use crate::simd::isa::{Isa, kernel};
use crate::simd::vector::Simd;
use crate::vectorized::vectorized;

vectorized! {
    /// Returns the largest of the values that are less than `limit`, negative infinity for none.
    pub(crate) fn largest_below(values: &[f32], limit: f32) -> f32 = largest_below_body
}

#[inline(always)]
fn largest_below_body<const FMA: bool>(values: &[f32], limit: f32) -> f32 {
    const LANES: usize = 32;
    let larger = |largest: f32, x: f32| if x < limit && x > largest { x } else { largest };
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], values[lane]);
        }
    }
    largest.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

kernel! {
    /// Prefetches `count` elements.
    ///
    /// # Safety
    /// None: a prefetch does not access the memory.
    pub(crate) unsafe fn prefetch(from: *const f32, count: usize) = prefetch_body
}

#[inline(always)]
unsafe fn prefetch_body<S: Simd>(from: *const f32, count: usize) {
    for at in (0..count).step_by(16) {
        // SAFETY: a prefetch does not access the memory.
        unsafe { S::prefetch_near(from.wrapping_add(at)) };
    }
}

/// Replaces the content of `found` by the indices of the values that are not less than a threshold, in ascending order.
pub(crate) fn not_less(isa: Isa, values: &[f32], threshold: f32, found: &mut Vec<u32>) {
    found.clear();
    found.reserve(values.len());
    let mut count = 0;
    // SAFETY: the pointer is valid for the values, and `found` has room for an index for each; `count` of them are written.
    unsafe {
        indices_of(isa, values.as_ptr(), values.len(), threshold, found.as_mut_ptr(), &mut count);
        found.set_len(count);
    }
}

/// Computes the squared distance of `row` to those rows of `rows` that begin at `width` times an index. `width` is a multiple of 16.
///
/// # Panics
/// If an index is too large.
pub(crate) fn distances(isa: Isa, row: &[f32], rows: &[f32], indices: &[u32], out: &mut Vec<f32>) {
    let width = row.len();
    assert!(width.is_multiple_of(16), "a row of coordinates");
    let largest = indices.iter().max().map_or(0, |&index| index as usize + 1);
    assert!(largest * width <= rows.len(), "the rows of coordinates");
    out.clear();
    out.resize(indices.len(), 0.0);
    // SAFETY: all rows have `width` elements and lie within the buffer, as asserted above; there is one result for each index.
    unsafe {
        distances_of(isa, row.as_ptr(), width, rows.as_ptr(), indices.as_ptr(), indices.len(), out.as_mut_ptr());
    }
}

kernel! {
    /// # Safety
    /// `values` is valid for `count` elements, and so is `found`.
    unsafe fn indices_of(values: *const f32, count: usize, threshold: f32, found: *mut u32, number: &mut usize) = indices_body
}

#[inline(always)]
unsafe fn indices_body<S: Simd>(values: *const f32, count: usize, threshold: f32, found: *mut u32, number: &mut usize) {
    let whole = count / S::LANES * S::LANES;
    let mut next = 0;
    // SAFETY: the loops stay within the values; each index is written at most once, so there is room for all.
    unsafe {
        let bound = S::splat(threshold);
        for at in (0..whole).step_by(S::LANES) {
            let mut bits = S::not_less(S::load(values.add(at)), bound);
            while bits != 0 {
                *found.add(next) = at as u32 + bits.trailing_zeros();
                next += 1;
                bits &= bits - 1;
            }
        }
        for at in whole..count {
            let less = *values.add(at) < threshold;
            if !less {
                *found.add(next) = at as u32;
                next += 1;
            }
        }
    }
    *number = next;
}

kernel! {
    /// # Safety
    /// `row` is valid for `width` elements, a multiple of 16, and so are the rows that begin at `width` times an index; `indices` and
    /// `out` are valid for `count` elements.
    unsafe fn distances_of(
        row: *const f32, width: usize, rows: *const f32, indices: *const u32, count: usize, out: *mut f32,
    ) = distances_body
}

/// The rows by which prefetches are ahead.
const AHEAD: usize = 4;

#[inline(always)]
unsafe fn distances_body<S: Simd>(
    row: *const f32,
    width: usize,
    rows: *const f32,
    indices: *const u32,
    count: usize,
    out: *mut f32,
) {
    // SAFETY: the caller's promise; the width is a multiple of 16 lanes: four vectors of 4, two of 8 or one.
    unsafe {
        for index in 0..count {
            if index + AHEAD < count {
                let ahead = rows.add(*indices.add(index + AHEAD) as usize * width);
                for at in (0..width).step_by(16) {
                    S::prefetch_near(ahead.add(at));
                }
            }
            let other = rows.add(*indices.add(index) as usize * width);
            let mut sums = [S::splat(0.0); 2];
            for at in (0..width).step_by(16) {
                for part in 0..16 / S::LANES {
                    let at = at + part * S::LANES;
                    let difference = S::sub(S::load(row.add(at)), S::load(other.add(at)));
                    sums[part % 2] = S::mul_add(difference, difference, sums[part % 2]);
                }
            }
            *out.add(index) = S::sum(S::add(sums[0], sums[1]));
        }
    }
}
