//! SIMD128 of WebAssembly: vectors of four elements. A module has them or has not: the choice is made when it is compiled.

use std::arch::wasm32::*;

use crate::simd::kind::IsaKind;
use crate::simd::vector::{ROUND, Simd};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Simd128;

// SAFETY (of the blocks): the trait's contract makes the pointers valid for four elements.
impl Simd for Simd128 {
    const KIND: IsaKind = IsaKind::Simd128;
    type V = v128;
    const LANES: usize = 4;
    /// Twelve sums, the two vectors of a panel's line and a factor: browsers compile them to the sixteen registers of x86-64.
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn splat(x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> v128 {
        // SAFETY: above.
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: v128) {
        // SAFETY: above.
        unsafe { v128_store(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    unsafe fn div(a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    // The pseudo-maximum and pseudo-minimum return their first operand where one is NaN.
    #[inline(always)]
    unsafe fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    unsafe fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn not_less(a: v128, b: v128) -> u32 {
        u32::from(i32x4_bitmask(f32x4_lt(a, b)) ^ 0b1111)
    }
    #[inline(always)]
    unsafe fn sum(x: v128) -> f32 {
        let two = f32x4_add(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_near(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_to_write(_: *const f32) {}
    #[inline(always)]
    unsafe fn power_of_two(shifted: v128) -> v128 {
        i32x4_shl(i32x4_sub(shifted, i32x4_splat((ROUND.to_bits() as i32).wrapping_sub(127))), 23)
    }
    #[inline(always)]
    unsafe fn add_to_exponent(x: v128, shifted: v128) -> v128 {
        // The shift removes 1.5 * 2^23 and leaves n.
        i32x4_add(x, i32x4_shl(shifted, 23))
    }
}
