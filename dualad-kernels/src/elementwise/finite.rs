//! The check for NaN and infinity.

use crate::vectorized::vectorized;

const LANES: usize = 8;

vectorized! {
    /// Returns `true` if no element is NaN or infinite.
    pub fn are_finite(x: &[f32]) -> bool = are_finite_body
}

#[inline(always)]
fn are_finite_body<const FMA: bool>(x: &[f32]) -> bool {
    // An exponent of which every bit is set.
    let odd = |x: f32| u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000);
    let mut found = [0u32; 4 * LANES];
    let (whole, rest) = x.as_chunks::<{ 4 * LANES }>();
    for chunk in whole {
        for lane in 0..4 * LANES {
            found[lane] |= odd(chunk[lane]);
        }
    }
    found.iter().all(|&found| found == 0) && rest.iter().all(|&x| odd(x) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_finite_is_found_at_every_position() {
        for length in [0, 1, 31, 32, 33, 100] {
            let mut x = vec![f32::MAX; length];
            assert!(are_finite(&x) && are_finite_body::<false>(&x));
            for at in 0..length {
                for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    x[at] = odd;
                    assert!(!are_finite(&x), "{length} {at} {odd}");
                }
                x[at] = -f32::MIN_POSITIVE;
            }
        }
    }
}
