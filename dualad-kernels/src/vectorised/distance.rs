//! Distances of rows, and whether numbers are such.

use crate::vectorised;
use crate::vectorised::{lane_sum, mul_add};

const LANES: usize = 8;

vectorised! {
    /// The sum of ((x - y) / scale)^2. Without a scale it is 1, and an empty `y` is zeros.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn squared_distance(x: &[f32], y: &[f32], scale: Option<&[f32]>) -> f32 = squared_distance_body
}

#[inline(always)]
fn squared_distance_body<const FMA: bool>(x: &[f32], y: &[f32], scale: Option<&[f32]>) -> f32 {
    match (y.is_empty(), scale) {
        (true, None) => sum::<FMA>(x.len(), |i| x[i]),
        (true, Some(scale)) => with_same_length(x, scale, |x, scale| sum::<FMA>(x.len(), |i| x[i] / scale[i])),
        (false, None) => with_same_length(x, y, |x, y| sum::<FMA>(x.len(), |i| x[i] - y[i])),
        (false, Some(scale)) => with_same_length(x, y, |x, y| {
            with_same_length(x, scale, |x, scale| sum::<FMA>(x.len(), |i| (x[i] - y[i]) / scale[i]))
        }),
    }
}

vectorised! {
    /// Whether none is NaN or infinite.
    pub fn are_finite(x: &[f32]) -> bool = are_finite_body
}

#[inline(always)]
fn are_finite_body<const FMA: bool>(x: &[f32]) -> bool {
    // Exponents of nothing but ones.
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

#[inline(always)]
fn with_same_length(x: &[f32], y: &[f32], f: impl FnOnce(&[f32], &[f32]) -> f32) -> f32 {
    assert_eq!(x.len(), y.len(), "a distance's rows");
    f(x, &y[..x.len()])
}

/// The sum of the squares of `value(0)` to `value(count - 1)`.
#[inline(always)]
fn sum<const FMA: bool>(count: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [[0.0f32; LANES]; 4];
    let whole = count / (4 * LANES) * (4 * LANES);
    for at in (0..whole).step_by(4 * LANES) {
        for part in 0..4 {
            for lane in 0..LANES {
                let value = value(at + part * LANES + lane);
                sums[part][lane] = mul_add::<FMA>(value, value, sums[part][lane]);
            }
        }
    }
    lane_sum(sums) + (whole..count).map(|i| value(i) * value(i)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Numbers;

    #[test]
    fn what_is_not_finite_is_found_wherever_it_is() {
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

    #[test]
    fn distances_are_their_definition() {
        let mut numbers = Numbers::new(0);
        for count in [0, 1, 7, 8, 31, 32, 33, 448, 1000] {
            let [x, y, scale] = [(); 3].map(|()| numbers.take(count));
            for (y, scale) in [(true, true), (true, false), (false, true), (false, false)].map(|(has_y, has_scale)| {
                (if has_y { y.as_slice() } else { &[] }, has_scale.then_some(scale.as_slice()))
            }) {
                let value = |i: usize| {
                    let y = y.get(i).map_or(0.0, |y| f64::from(*y));
                    ((f64::from(x[i]) - y) / scale.map_or(1.0, |scale| f64::from(scale[i]))).powi(2)
                };
                let expected: f64 = (0..count).map(value).sum();
                for body in [squared_distance_body::<false>, squared_distance_body::<true>, squared_distance] {
                    let found = f64::from(body(&x, y, scale));
                    assert!((found - expected).abs() <= 1e-5 * expected, "{count}: {found} {expected}");
                }
            }
        }
    }
}
