//! Activation functions and exponentials of vectors.

use crate::activation::Activation;
use crate::simd::vector::{ROUND, Simd};

/// Applies an activation function.
///
/// # Safety
/// The same as for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(x: S::V, activation: Activation) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Identity => x,
            // x is the second operand, so NaN stays NaN.
            Activation::Relu => S::max(S::splat(0.0), x),
            // x is the dividend, so NaN stays NaN.
            Activation::Silu => {
                let minus_log2_e = S::splat(-std::f32::consts::LOG2_E);
                S::div(x, S::add(S::splat(1.0), two_to::<S>(S::mul(x, minus_log2_e))))
            }
            Activation::Gelu => {
                let half = S::mul(x, S::splat(0.5));
                S::mul_add(half, erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
            }
        }
    }
}

/// e^x, within 2 units in the last place. x is clamped to -87..=88.
///
/// x = n ln 2 + r: a polynomial gives e^r (that of Cephes' `expf`), and n goes straight into the exponent.
///
/// # Safety
/// The same as for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        // The bounds are the first operands, so NaN stays NaN.
        let x = S::min(S::splat(88.0), S::max(S::splat(-87.0), x));
        let shifted = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let n = S::sub(shifted, S::splat(ROUND));
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), S::mul_add(n, S::splat(-0.693_359_4), x));
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = S::mul_add(p, r, S::splat(c));
        }
        let y = S::add(S::mul_add(S::mul(p, r), r, r), S::splat(1.0));
        S::mul(y, S::power_of_two(shifted))
    }
}

/// 2^x with a relative error of at most 1.5e-7. x is clamped to -125..=126; the result for NaN is arbitrary.
///
/// It takes 12 operations where [`exp`] takes 17: the caller rounds x, the polynomial (minimax for 2^r, r from -1/2 to 1/2) has
/// fewer terms, and n is added to the exponent.
///
/// # Safety
/// The same as for [`Simd`].
#[inline(always)]
unsafe fn two_to<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = S::min(S::splat(126.0), S::max(S::splat(-125.0), x));
        let shifted = S::add(x, S::splat(ROUND));
        let r = S::sub(x, S::sub(shifted, S::splat(ROUND)));
        let mut p = S::splat(1.327_647_2e-3);
        for c in [9.675_542e-3, 5.550_713e-2, 0.240_221_2, 0.693_146_94, 1.000_000_1] {
            p = S::mul_add(p, r, S::splat(c));
        }
        S::add_to_exponent(p, shifted)
    }
}

/// 1 / (1 + e^-x).
///
/// # Safety
/// The same as for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// The error function, with an error of at most 2e-7 (Abramowitz and Stegun, 7.1.26).
///
/// # Safety
/// The same as for [`Simd`].
#[inline(always)]
unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        let size = S::max(S::sub(zero, x), x);
        let t = S::div(one, S::mul_add(size, S::splat(0.327_591_1), one));
        let mut p = S::splat(1.061_405_4);
        for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
            p = S::mul_add(p, t, S::splat(c));
        }
        let y = S::sub(one, S::mul(S::mul(p, t), exp::<S>(S::sub(zero, S::mul(size, size)))));
        // The sign of x: y for x > 0, -y for x < 0. (x / |x| would be NaN at 0, where y is 0 up to rounding.)
        let sign = S::min(one, S::max(S::splat(-1.0), S::mul(x, S::splat(1e30))));
        S::mul(y, sign)
    }
}
