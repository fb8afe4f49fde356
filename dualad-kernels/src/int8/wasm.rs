//! SIMD128 of WebAssembly. It has no products of bytes: elements and weights are multiplied as 16-bit integers.

use std::arch::wasm32::*;

use crate::int8::dot::Dot;
use crate::simd::wasm::Simd128;

// SAFETY (of the blocks): the trait's contract makes the pointers valid.
impl Dot for Simd128 {
    type Floats = Self;
    type Element = i16;
    type Sums = v128;
    type Group = v128;
    type Line = v128;
    const GROUP: usize = 2;
    const SHIFT: i32 = 0;

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> v128 {
        // SAFETY: above.
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn scale_sums(a: v128, b: i32) -> v128 {
        i32x4_mul(a, i32x4_splat(b))
    }
    #[inline(always)]
    unsafe fn to_floats(sums: v128) -> v128 {
        f32x4_convert_i32x4(sums)
    }
    #[inline(always)]
    unsafe fn load_group(from: *const i16) -> v128 {
        // SAFETY: above.
        unsafe { v128_load32_splat(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> v128 {
        // SAFETY: above.
        unsafe { i16x8_load_extend_i8x8(from) }
    }
    #[inline(always)]
    unsafe fn dot(sums: v128, group: v128, line: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(group, line))
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const i16) -> v128 {
        // SAFETY: above.
        unsafe { f32x4_convert_i32x4(i32x4_load_extend_i16x4(from)) }
    }
    #[inline(always)]
    unsafe fn largest(x: v128) -> f32 {
        let two = f32x4_pmax(x, i32x4_shuffle::<2, 3, 2, 3>(x, x));
        f32x4_extract_lane::<0>(two).max(f32x4_extract_lane::<1>(two))
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut i16, shifted: v128) {
        // The lowest 16 bits of 1.5 * 2^23 + q are q.
        let elements = i16x8_shuffle::<0, 2, 4, 6, 0, 2, 4, 6>(shifted, shifted);
        // SAFETY: above.
        unsafe { v128_store64_lane::<0>(elements, to.cast()) }
    }
}
