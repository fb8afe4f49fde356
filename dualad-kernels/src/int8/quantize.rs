//! Rows of f32 as 8-bit integers.

use crate::int8::dot::{ALIGN, Dot};
use crate::int8::isa::{DotIsa, dot_kernel};
use crate::simd::vector::{ROUND, Simd};

/// The largest stored number, up to rounding: of the 256 that there are, one is left out so that no rounding exceeds them.
const MAX: f32 = 254.0;

/// The step and the zero of stored numbers: q stands for `step * (q - zero)`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Scale {
    /// NaN if one of the numbers is not finite, so that results are NaN too.
    pub(crate) step: f32,
    /// From 0 to 255.
    pub(crate) zero: i32,
    /// 1 / step, or 0 if the numbers are too small for one.
    inverse: f32,
}

impl Scale {
    /// Returns the scale for the numbers within a span.
    #[inline(always)]
    pub(crate) fn new(Span([low, high]): Span) -> Self {
        let span = high - low;
        let inverse = MAX / span;
        // Numbers below 1e-36 are zeros.
        if inverse.is_infinite() {
            return Self::default();
        }
        // A cast turns NaN into 0.
        Self { step: span / MAX, zero: (-low * inverse + 0.5) as i32, inverse }
    }
}

/// The vectors that are compared at a time: each waits for the one before it.
const CHAINS: usize = 4;

/// The smallest and the largest of some numbers and 0; NaN if one of them is not finite.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span([f32; 2]);

impl Span {
    /// Returns the span of some numbers.
    pub(crate) fn of(isa: DotIsa, x: &[f32]) -> Self {
        let mut span = Self::default();
        // SAFETY: the numbers are a slice.
        unsafe { find_span(isa, x.as_ptr(), x.len(), &mut span) };
        span
    }

    /// Returns the span of the numbers of both.
    pub(crate) fn join(self, other: Self) -> Self {
        // `min` and `max` would drop NaN, and a difference of finite numbers may be infinite.
        let invalid = |Self([low, _]): Self| if low.is_nan() { low } else { 0.0 };
        let invalid = invalid(self) + invalid(other);
        Self([self.0[0].min(other.0[0]) + invalid, self.0[1].max(other.0[1]) + invalid])
    }
}

dot_kernel! {
    /// Finds the span of `count` numbers.
    ///
    /// # Safety
    /// `x` is valid for `count` elements.
    unsafe fn find_span(x: *const f32, count: usize, span: &mut Span) = find_span_body
}

#[inline(always)]
unsafe fn find_span_body<D: Dot>(x: *const f32, count: usize, span: &mut Span) {
    // SAFETY: the caller's promise; the last vector goes through a buffer where it would exceed the numbers.
    unsafe {
        let zero = D::Floats::splat(0.0);
        let (mut low, mut high, mut finite) = ([zero; CHAINS], [zero; CHAINS], [zero; CHAINS]);
        let lanes = D::Floats::LANES;
        let mut at = 0;
        while at + CHAINS * lanes <= count {
            for chain in 0..CHAINS {
                let x = D::Floats::load(x.add(at + chain * lanes));
                low[chain] = D::Floats::min(low[chain], x);
                high[chain] = D::Floats::max(high[chain], x);
                // NaN if x is infinite or NaN.
                finite[chain] = D::Floats::mul_add(x, zero, finite[chain]);
            }
            at += CHAINS * lanes;
        }
        while at < count {
            let x = load_part::<D>(x.add(at), count - at);
            (low[0], high[0]) = (D::Floats::min(low[0], x), D::Floats::max(high[0], x));
            finite[0] = D::Floats::mul_add(x, zero, finite[0]);
            at += lanes;
        }
        for chain in 1..CHAINS {
            (low[0], high[0]) = (D::Floats::min(low[0], low[chain]), D::Floats::max(high[0], high[chain]));
            finite[0] = D::Floats::add(finite[0], finite[chain]);
        }
        let ([low, ..], [high, ..], [finite, ..]) = (low, high, finite);
        let valid = D::Floats::sum(finite);
        let low = -D::largest(D::Floats::sub(zero, low));
        *span = Span([low + valid, D::largest(high) + valid]);
    }
}

dot_kernel! {
    /// Finds the scale of a row and stores the row.
    ///
    /// # Safety
    /// `x` is valid for `count` elements, `to` for as many stored ones.
    unsafe fn find_scale_and_store(x: *const f32, count: usize, to: *mut u8, scale: &mut Scale) = find_and_store_body
}

#[inline(always)]
unsafe fn find_and_store_body<D: Dot>(x: *const f32, count: usize, to: *mut u8, scale: &mut Scale) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut span = Span::default();
        find_span_body::<D>(x, count, &mut span);
        *scale = Scale::new(span);
        store_body::<D>(x, count, *scale, to);
    }
}

/// Loads a vector of which at least one and perhaps only `count` elements exist; the others are 0.
#[inline(always)]
unsafe fn load_part<D: Dot>(from: *const f32, count: usize) -> <D::Floats as Simd>::V {
    // SAFETY: the caller's pointer is valid for `count` elements; the buffer holds the widest vector.
    unsafe {
        if count >= D::Floats::LANES {
            return D::Floats::load(from);
        }
        let mut lanes = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
        D::Floats::load(lanes.as_ptr())
    }
}

dot_kernel! {
    /// Stores `count` numbers.
    ///
    /// # Safety
    /// `x` is valid for `count` elements, `to` for as many stored ones.
    unsafe fn store(x: *const f32, count: usize, scale: Scale, to: *mut u8) = store_body
}

#[inline(always)]
unsafe fn store_body<D: Dot>(x: *const f32, count: usize, scale: Scale, to: *mut u8) {
    let (lanes, to) = (D::Floats::LANES, to.cast::<D::Element>());
    // SAFETY: the caller's promise; the last vector goes through a buffer where it would exceed the row.
    unsafe {
        let inverse = D::Floats::splat(scale.inverse);
        let zero = D::Floats::splat(ROUND + scale.zero as f32);
        let mut at = 0;
        while at < count {
            // Not fused: every instruction set rounds alike.
            let scaled = D::Floats::mul(load_part::<D>(x.add(at), count - at), inverse);
            // From 0 to 255: a span of 254, and half of one for the rounding of each end.
            let shifted = D::Floats::add(scaled, zero);
            if count - at >= lanes {
                D::store_elements(to.add(at), shifted);
            } else {
                let mut part = [std::mem::MaybeUninit::<D::Element>::uninit(); 16];
                D::store_elements(part.as_mut_ptr().cast(), shifted);
                std::ptr::copy_nonoverlapping(part.as_ptr().cast(), to.add(at), count - at);
            }
            at += lanes;
        }
    }
}

/// Returns the elements of f32 that a stored row of `length` numbers takes, with its padding.
pub(crate) fn row_length(isa: DotIsa, length: usize) -> usize {
    length.next_multiple_of(ALIGN) * isa.element() / size_of::<f32>()
}

/// Stores a row with a scale of its own. What pads it is arbitrary, because its weights are 0.
///
/// # Safety
/// `to` is valid for [`row_length`] elements.
pub(crate) unsafe fn quantize_row(isa: DotIsa, row: &[f32], to: *mut f32) -> Scale {
    let mut scale = Scale::default();
    // SAFETY: the row is a slice; `to` has a place for each number, as the caller promises.
    unsafe { find_scale_and_store(isa, row.as_ptr(), row.len(), to.cast(), &mut scale) };
    scale
}

/// Stores the rows of `x` whose elements begin at `starts`, one after the other, and returns their scales.
pub(crate) fn quantize_rows(
    isa: DotIsa,
    x: &[f32],
    starts: impl Iterator<Item = usize>,
    length: usize,
    buffer: &mut [f32],
) -> Vec<Scale> {
    let rows = buffer.chunks_exact_mut(row_length(isa, length)).zip(starts);
    // SAFETY: each row has its chunk of the buffer.
    rows.map(|(to, start)| unsafe { quantize_row(isa, &x[start..][..length], to.as_mut_ptr()) }).collect()
}

/// Stores some cells of a map, `[cells, length]`, with the map's scale.
///
/// # Safety
/// `to` is valid for [`row_length`] elements for each cell.
pub(crate) unsafe fn store_cells(isa: DotIsa, cells: &[f32], length: usize, scale: Scale, to: *mut f32) {
    let stride = row_length(isa, length);
    if stride * size_of::<f32>() == length * isa.element() {
        // SAFETY: the cells are a slice; there are no gaps between the stored ones, which `to` has a place for.
        unsafe { store(isa, cells.as_ptr(), cells.len(), scale, to.cast()) };
        return;
    }
    for (index, cell) in cells.chunks_exact(length).enumerate() {
        // SAFETY: as above, a cell at a time.
        unsafe { store(isa, cell.as_ptr(), length, scale, to.add(index * stride).cast()) };
    }
}
