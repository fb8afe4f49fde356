//! The trait of an instruction set's vectors.

use crate::simd::kind::IsaKind;

/// 1.5 * 2^23. Adding it to a small value rounds that value to an integer, which is then in the low bits of the sum.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// The vectors of f32 of an instruction set.
///
/// # Safety
/// Every method may use the instruction set: the calling function must be compiled for it, and the processor must have it.
/// Pointers must be valid for [`Self::LANES`] elements, with any alignment.
pub(crate) trait Simd: Copy + 'static {
    /// The name of the instruction set.
    const KIND: IsaKind;
    /// A vector.
    type V: Copy;
    /// The elements of a vector.
    const LANES: usize;
    /// The vectors in a row of a matrix product's tile: a panel of packed weights is as wide.
    const VECTORS: usize = 2;
    /// The rows of a matrix product's tile. Its sums fit into the registers, and so do a line of the panel and, as far as there are
    /// that many, the addresses of the rows.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The larger of each pair; `b` where one of them is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of each pair; `b` where one of them is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, rounded once where the processor has the instruction.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The bits of the lanes where a is not less than b, NaN included; lane 0 is the lowest bit.
    unsafe fn not_less(a: Self::V, b: Self::V) -> u32;
    /// The sum of all lanes.
    unsafe fn sum(x: Self::V) -> f32;
    /// Prefetches a cache line that is read soon. The pointer may be invalid.
    unsafe fn prefetch(from: *const f32);
    /// Prefetches a cache line that is read immediately.
    unsafe fn prefetch_near(from: *const f32);
    /// Prefetches a cache line that is written immediately.
    unsafe fn prefetch_to_write(to: *const f32);
    /// 2^n, given 1.5 * 2^23 + n with an integer n from -126 to 127.
    unsafe fn power_of_two(shifted: Self::V) -> Self::V;
    /// x * 2^n, given the same 1.5 * 2^23 + n. `x` and the result must be normal floating-point numbers.
    unsafe fn add_to_exponent(x: Self::V, shifted: Self::V) -> Self::V;
}
