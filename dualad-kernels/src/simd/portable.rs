//! Arrays of eight elements for any architecture; the compiler turns them into vectors.

use crate::simd::kind::IsaKind;
use crate::simd::vector::{ROUND, Simd};

const LANES: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for lane in 0..LANES {
        out[lane] = f(a[lane], b[lane]);
    }
    out
}

// SAFETY (of the blocks): the trait's contract makes the pointers valid for eight elements.
impl Simd for Portable {
    const KIND: IsaKind = IsaKind::Portable;
    type V = [f32; LANES];
    const LANES: usize = LANES;
    /// aarch64 has 32 registers of four elements, x86-64 has 16.
    const ROWS: usize = if cfg!(target_arch = "aarch64") { 6 } else { 3 };

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: above.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        // SAFETY: above.
        unsafe { to.cast::<Self::V>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut out = c;
        for lane in 0..LANES {
            // Without the instruction, `mul_add` would be a library call for each element.
            out[lane] = if cfg!(target_arch = "aarch64") {
                a[lane].mul_add(b[lane], c[lane])
            } else {
                a[lane] * b[lane] + c[lane]
            };
        }
        out
    }
    #[inline(always)]
    unsafe fn not_less(a: Self::V, b: Self::V) -> u32 {
        let mut less = 0;
        for lane in 0..LANES {
            less |= u32::from(a[lane] < b[lane]) << lane;
        }
        less ^ ((1 << LANES) - 1)
    }
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_near(_: *const f32) {}
    #[inline(always)]
    unsafe fn prefetch_to_write(_: *const f32) {}
    #[inline(always)]
    unsafe fn power_of_two(shifted: Self::V) -> Self::V {
        shifted.map(|x| f32::from_bits((x.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23))
    }
    #[inline(always)]
    unsafe fn add_to_exponent(x: Self::V, shifted: Self::V) -> Self::V {
        // The shift removes 1.5 * 2^23 and leaves n.
        zip(x, shifted, |x, shifted| f32::from_bits(x.to_bits().wrapping_add(shifted.to_bits() << 23)))
    }
}
