//! NEON: thirty-two registers of four elements. A vector is two of them.
//!
//! Every method gives the bits of [`Portable`](crate::simd::portable::Portable) on aarch64.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::simd::kind::IsaKind;
use crate::simd::vector::{ROUND, Simd};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon;

// SAFETY (of the blocks): the trait's contract makes the instructions available and the pointers valid for eight elements.
impl Simd for Neon {
    const KIND: IsaKind = IsaKind::Neon;
    type V = float32x4x2_t;
    const LANES: usize = 8;
    /// The sums take 20 registers, a line of the panel four, and the compiler reads four elements of each row at once, five more. With
    /// six rows it spills sums.
    const ROWS: usize = 5;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4x2_t {
        // SAFETY: above.
        let four = unsafe { vdupq_n_f32(x) };
        float32x4x2_t(four, four)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4x2_t {
        // SAFETY: above. One `vld1q_f32_x2` would need two registers in a row.
        unsafe { float32x4x2_t(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: float32x4x2_t) {
        // SAFETY: above.
        unsafe {
            vst1q_f32(to, x.0);
            vst1q_f32(to.add(4), x.1);
        }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn div(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vdivq_f32(a.0, b.0), vdivq_f32(a.1, b.1)) }
    }
    /// A comparison and a selection: the instruction for the larger one returns NaN where one of them is NaN.
    #[inline(always)]
    unsafe fn max(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vbslq_f32(vcgtq_f32(a.0, b.0), a.0, b.0), vbslq_f32(vcgtq_f32(a.1, b.1), a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4x2_t, b: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vbslq_f32(vcltq_f32(a.0, b.0), a.0, b.0), vbslq_f32(vcltq_f32(a.1, b.1), a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: float32x4x2_t, b: float32x4x2_t, c: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn not_less(a: float32x4x2_t, b: float32x4x2_t) -> u32 {
        const BITS: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: above; the constant has as many elements as are loaded.
        unsafe {
            let less = vcombine_u16(vmovn_u32(vcltq_f32(a.0, b.0)), vmovn_u32(vcltq_f32(a.1, b.1)));
            u32::from(vaddvq_u16(vbicq_u16(vld1q_u16(BITS.as_ptr()), less)))
        }
    }
    #[inline(always)]
    unsafe fn sum(x: float32x4x2_t) -> f32 {
        // SAFETY: above.
        unsafe {
            let four = vaddq_f32(x.0, x.1);
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vpadds_f32(two)
        }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a prefetch accesses no memory that the program could see, and never faults.
        unsafe { asm!("prfm pldl2keep, [{}]", in(reg) from, options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn prefetch_near(from: *const f32) {
        // SAFETY: as above.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) from, options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn prefetch_to_write(to: *const f32) {
        // SAFETY: as above.
        unsafe { asm!("prfm pstl1keep, [{}]", in(reg) to, options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn power_of_two(shifted: float32x4x2_t) -> float32x4x2_t {
        // SAFETY: above.
        unsafe {
            let bias = vdupq_n_s32((ROUND.to_bits() as i32).wrapping_sub(127));
            let power =
                |shifted| vreinterpretq_f32_s32(vshlq_n_s32::<23>(vsubq_s32(vreinterpretq_s32_f32(shifted), bias)));
            float32x4x2_t(power(shifted.0), power(shifted.1))
        }
    }
    #[inline(always)]
    unsafe fn add_to_exponent(x: float32x4x2_t, shifted: float32x4x2_t) -> float32x4x2_t {
        // The shift removes 1.5 * 2^23 and leaves n.
        // SAFETY: above.
        unsafe {
            let scale = |x, shifted| {
                let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted));
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), n))
            };
            float32x4x2_t(scale(x.0, shifted.0), scale(x.1, shifted.1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::portable::Portable;
    use crate::tests::TestValues;

    /// Every method of `S`, on eight elements each.
    unsafe fn all<S: Simd>(a: &[f32; 8], b: &[f32; 8], c: &[f32; 8]) -> Vec<u32> {
        let mut results = Vec::new();
        // SAFETY: the arrays have eight elements, as vectors of both instruction sets have; every aarch64 processor has both.
        unsafe {
            let [a, b, c] = [a, b, c].map(|x| S::load(x.as_ptr()));
            let shifted = S::add(S::splat(ROUND), S::min(S::splat(100.0), S::max(S::splat(-100.0), a)));
            let one = S::add(S::splat(1.0), S::min(S::splat(0.5), S::max(S::splat(0.0), b)));
            for vector in [
                S::add(a, b),
                S::sub(a, b),
                S::mul(a, b),
                S::div(a, b),
                S::max(a, b),
                S::min(a, b),
                S::mul_add(a, b, c),
                S::power_of_two(shifted),
                S::add_to_exponent(one, shifted),
            ] {
                let mut lanes = [0.0f32; 8];
                S::store(lanes.as_mut_ptr(), vector);
                // The payload of NaN is not defined.
                results.extend(lanes.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }));
            }
            results.push(S::not_less(a, b));
            let sum = S::sum(c);
            results.push(if sum.is_nan() { f32::NAN.to_bits() } else { sum.to_bits() });
        }
        results
    }

    #[test]
    fn every_method_gives_the_bits_of_the_portable_form() {
        let odd = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42, f32::MAX, 1.5];
        let mut random = TestValues::new(8);
        for case in 0..2000 {
            let [a, b, c]: [[f32; 8]; 3] = std::array::from_fn(|_| {
                std::array::from_fn(|_| match (case % 4, random.next()) {
                    (0, x) => odd[((x + 1.0) * 4.0) as usize % 8],
                    (kind, x) => x * 10f32.powi(3 * kind),
                })
            });
            // SAFETY: every aarch64 processor that this test runs on has NEON.
            let [neon, portable] = unsafe { [all::<Neon>(&a, &b, &c), all::<Portable>(&a, &b, &c)] };
            assert_eq!(neon, portable, "{a:?} {b:?} {c:?}");
        }
    }
}
