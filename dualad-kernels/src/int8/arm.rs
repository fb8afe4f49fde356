//! The dot products of Armv8.2. A vector is two registers.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::int8::dot::Dot;
use crate::simd::neon::Neon;

/// NEON with the dot products.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeonDot;

// SAFETY (of the blocks): the trait's contract makes the instructions available and the pointers valid.
impl Dot for NeonDot {
    type Floats = Neon;
    /// The instruction multiplies signed bytes by signed ones.
    type Element = i8;
    type Sums = int32x4x2_t;
    /// Four bytes, loaded as one f32: no computation looks at them as such.
    type Group = f32;
    type Line = int8x16x2_t;
    const GROUP: usize = 4;
    const SHIFT: i32 = 128;

    #[inline(always)]
    unsafe fn load_sums(from: *const i32) -> int32x4x2_t {
        // SAFETY: above.
        unsafe { int32x4x2_t(vld1q_s32(from), vld1q_s32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn scale_sums(a: int32x4x2_t, b: i32) -> int32x4x2_t {
        // SAFETY: above.
        unsafe { int32x4x2_t(vmulq_n_s32(a.0, b), vmulq_n_s32(a.1, b)) }
    }
    #[inline(always)]
    unsafe fn to_floats(sums: int32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vcvtq_f32_s32(sums.0), vcvtq_f32_s32(sums.1)) }
    }
    #[inline(always)]
    unsafe fn load_group(from: *const i8) -> f32 {
        // SAFETY: above.
        unsafe { from.cast::<f32>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_line(from: *const i8) -> int8x16x2_t {
        // SAFETY: above.
        unsafe { int8x16x2_t(vld1q_s8(from), vld1q_s8(from.add(16))) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4x2_t, group: f32, line: int8x16x2_t) -> int32x4x2_t {
        // SAFETY: above.
        unsafe { int32x4x2_t(add_products(sums.0, line.0, group), add_products(sums.1, line.1, group)) }
    }
    #[inline(always)]
    unsafe fn load_elements(from: *const i8) -> float32x4x2_t {
        // The highest bit of q is the opposite of that of q - 128.
        // SAFETY: above.
        unsafe {
            let words = vmovl_u8(veor_u8(vld1_u8(from.cast()), vdup_n_u8(128)));
            let [low, high] = [vget_low_u16(words), vget_high_u16(words)].map(|half| vcvtq_f32_u32(vmovl_u16(half)));
            float32x4x2_t(low, high)
        }
    }
    #[inline(always)]
    unsafe fn largest(x: float32x4x2_t) -> f32 {
        // SAFETY: above.
        unsafe { vmaxvq_f32(vmaxq_f32(x.0, x.1)) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut i8, shifted: float32x4x2_t) {
        // The lowest byte of 1.5 * 2^23 + q is q, and the highest bit of q - 128 is the opposite of q's.
        // SAFETY: above.
        unsafe {
            let [low, high] = [shifted.0, shifted.1].map(|half| vmovn_u32(vreinterpretq_u32_f32(half)));
            let bytes = vmovn_u16(vcombine_u16(low, high));
            vst1_u8(to.cast(), veor_u8(bytes, vdup_n_u8(128)));
        }
    }
}

/// Adds to each sum the products of a column's four weights and the four bytes of a row. The intrinsic is not stable in Rust yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn add_products(mut sums: int32x4_t, weights: int8x16_t, four: f32) -> int32x4_t {
    // SAFETY: the instruction reads and writes registers only; the processor has it, as whoever calls this function promises.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {four:v}.4b[0]",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            four = in(vreg) four,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
