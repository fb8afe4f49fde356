//! Loops that the compiler turns into vector instructions. They are compiled for AVX2 with FMA and for the baseline, and the
//! choice is made at run time.

/// Compiles a kernel for AVX2 with FMA and for the baseline, and defines a function that chooses when it is called.
///
/// The body has a const parameter `FMA`: whether the processor has a fused multiply-add. Without the instruction, `f32::mul_add`
/// would be a library call.
macro_rules! vectorized {
    (
        $(#[$doc:meta])*
        $vis:vis fn $name:ident $(<$generic:ident: $bound:ident>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $body:ident
    ) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$generic: $bound>)? ($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn fast $(<$generic: $bound>)? ($($arg: $type),*) $(-> $result)? {
                    $body::<true $(, $generic)?>($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the two features that `fast` is compiled for, as checked above.
                    return unsafe { fast($($arg),*) };
                }
            }
            // Every aarch64 processor has the instruction.
            $body::<{ cfg!(target_arch = "aarch64") } $(, $generic)?>($($arg),*)
        }
    };
}
pub(crate) use vectorized;

/// a * b + c, rounded once if `FMA` is true.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x for x <= 0, within 2 units in the last place; zero for x < -87. NaN stays NaN.
///
/// x = n ln 2 + r: a polynomial gives e^r (that of Cephes' `expf`), and n goes straight into the exponent.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// Adding and subtracting it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = mul_add::<FMA>(clamped, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, mul_add::<FMA>(n, -0.693_359_4, clamped));
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = mul_add::<FMA>(p, r, c);
    }
    // The low bits of the shifted value hold the integer: no conversion is needed.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let y = (mul_add::<FMA>(p * r, r, r) + 1.0) * power;
    if x < -87.0 { 0.0 } else { y }
}

/// The sum of `f` of each value. It is made in four vectors of eight lanes, so the order differs from a plain loop's.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [[0.0f32; 8]; 4];
    let (whole, rest) = values.as_chunks::<8>();
    let (fours, few) = whole.as_chunks::<4>();
    for chunks in fours {
        for (sums, chunk) in sums.iter_mut().zip(chunks) {
            for (sum, &value) in sums.iter_mut().zip(chunk) {
                *sum += f(value);
            }
        }
    }
    for chunk in few {
        for (sum, &value) in sums[0].iter_mut().zip(chunk) {
            *sum += f(value);
        }
    }
    lane_sum(sums) + rest.iter().map(|&value| f(value)).sum::<f32>()
}

/// The sum of all lanes: one half is added to the other until one lane is left.
#[inline(always)]
pub(crate) fn lane_sum([mut a, b, c, d]: [[f32; 8]; 4]) -> f32 {
    for lane in 0..8 {
        a[lane] = (a[lane] + b[lane]) + (c[lane] + d[lane]);
    }
    for half in [4, 2, 1] {
        for lane in 0..half {
            a[lane] += a[lane + half];
        }
    }
    a[0]
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_exact_to_rounding() {
        for step in 0..1_000_000 {
            let x = -step as f32 * 87.0e-6;
            let expected = f64::from(x).exp();
            for found in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(found) - expected).abs() <= 2.5e-7 * expected, "{x}: {found} {expected}");
            }
        }
        for exp in [exp::<true>, exp::<false>] {
            assert_eq!(exp(0.0), 1.0);
            assert_eq!((exp(-88.0), exp(-1e30), exp(f32::NEG_INFINITY)), (0.0, 0.0, 0.0));
            assert!(exp(f32::NAN).is_nan());
        }
    }
}
