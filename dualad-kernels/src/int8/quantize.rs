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
    /// Finds the scale of each row and stores the rows, which have `length` elements and follow each other. Stored rows begin `stride`
    /// elements of f32 apart.
    ///
    /// # Safety
    /// `x` is valid for each row, `to` for as many stored elements in each, and `scales` for one scale for each.
    unsafe fn find_scales_and_store(x: *const f32, rows: usize, length: usize, to: *mut f32, stride: usize, scales: *mut Scale)
        = find_and_store_body
}

/// The rows whose scales are found before they are stored: each waits for its own scale only.
const ROWS: usize = 8;

#[inline(always)]
unsafe fn find_and_store_body<D: Dot>(
    x: *const f32,
    rows: usize,
    length: usize,
    to: *mut f32,
    stride: usize,
    scales: *mut Scale,
) {
    let mut first = 0;
    while first < rows {
        let end = rows.min(first + ROWS);
        // SAFETY: the caller's promise.
        unsafe {
            for row in first..end {
                let mut span = Span::default();
                find_span_body::<D>(x.add(row * length), length, &mut span);
                scales.add(row).write(Scale::new(span));
            }
            for row in first..end {
                store_body::<D>(x.add(row * length), length, *scales.add(row), to.add(row * stride).cast());
            }
        }
        first = end;
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
    let whole = count / lanes * lanes;
    // SAFETY: the caller's promise; the last elements go through buffers, which hold the widest vector. Outside the loop, so that the
    // scale stays in registers.
    unsafe {
        let inverse = D::Floats::splat(scale.inverse);
        let zero = D::Floats::splat(ROUND + scale.zero as f32);
        let mut at = 0;
        while at < whole {
            // From 0 to 255: a span of 254, and half of one for the rounding of each end. Not fused: every instruction set rounds
            // alike.
            let shifted = D::Floats::add(D::Floats::mul(D::Floats::load(x.add(at)), inverse), zero);
            D::store_elements(to.add(at), shifted);
            at += lanes;
        }
        if whole < count {
            let last = load_part::<D>(x.add(whole), count - whole);
            let mut part = [std::mem::MaybeUninit::<D::Element>::uninit(); 16];
            let shifted = D::Floats::add(D::Floats::mul(last, inverse), zero);
            D::store_elements(part.as_mut_ptr().cast(), shifted);
            std::ptr::copy_nonoverlapping(part.as_ptr().cast(), to.add(whole), count - whole);
        }
    }
}

dot_kernel! {
    /// Returns stored numbers to f32.
    ///
    /// # Safety
    /// `from` is valid for `count` stored elements, `to` for as many elements.
    unsafe fn restore(from: *const u8, count: usize, scale: Scale, to: *mut f32) = restore_body
}

#[inline(always)]
unsafe fn restore_body<D: Dot>(from: *const u8, count: usize, scale: Scale, to: *mut f32) {
    let (lanes, from) = (D::Floats::LANES, from.cast::<D::Element>());
    let whole = count / lanes * lanes;
    // SAFETY: as in `store_body`; every bit pattern is an element.
    unsafe {
        let (step, zero) = (D::Floats::splat(scale.step), D::Floats::splat(scale.zero as f32));
        let mut at = 0;
        while at < whole {
            let x = D::Floats::sub(D::load_elements(from.add(at)), zero);
            D::Floats::store(to.add(at), D::Floats::mul(x, step));
            at += lanes;
        }
        if whole < count {
            let mut stored = [std::mem::MaybeUninit::<D::Element>::zeroed(); 16];
            std::ptr::copy_nonoverlapping(from.add(whole), stored.as_mut_ptr().cast(), count - whole);
            let x = D::Floats::sub(D::load_elements(stored.as_ptr().cast()), zero);
            let mut part = [0.0f32; 16];
            D::Floats::store(part.as_mut_ptr(), D::Floats::mul(x, step));
            std::ptr::copy_nonoverlapping(part.as_ptr(), to.add(whole), count - whole);
        }
    }
}

/// Returns the elements of f32 that a stored row of `length` numbers takes, with its padding.
pub(crate) fn row_length(isa: DotIsa, length: usize) -> usize {
    length.next_multiple_of(ALIGN) * isa.element() / size_of::<f32>()
}

/// Stores rows of `length` elements, each with a scale of its own, and returns the scales. What pads a row is arbitrary, because its
/// weights are 0.
///
/// # Safety
/// `to` is valid for [`row_length`] elements for each row.
pub(crate) unsafe fn store_rows(isa: DotIsa, rows: &[f32], length: usize, to: *mut f32) -> Vec<Scale> {
    let mut scales = vec![Scale::default(); rows.len() / length];
    let stride = row_length(isa, length);
    // SAFETY: the rows are a slice; `to` has a place for each, as the caller promises.
    unsafe { find_scales_and_store(isa, rows.as_ptr(), scales.len(), length, to, stride, scales.as_mut_ptr()) };
    scales
}

/// Returns a stored row to f32.
///
/// # Safety
/// `from` is valid for as many stored elements as the row has.
pub(crate) unsafe fn restore_row(isa: DotIsa, from: *const u8, scale: Scale, row: &mut [f32]) {
    // SAFETY: the row is a slice; the rest is the caller's promise.
    unsafe { restore(isa, from, row.len(), scale, row.as_mut_ptr()) };
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
    let store = |(to, start): (&mut [f32], usize)| {
        let (row, mut scale) = (&x[start..][..length], Scale::default());
        // SAFETY: the row is a slice, and has its chunk of the buffer.
        unsafe { find_scales_and_store(isa, row.as_ptr(), 1, length, to.as_mut_ptr(), 0, &raw mut scale) };
        scale
    };
    rows.map(store).collect()
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
