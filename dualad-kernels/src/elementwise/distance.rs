//! Squared distances of rows.

use crate::vectorized::{lane_sum, mul_add, vectorized};

const LANES: usize = 8;

vectorized! {
    /// Returns the sum of ((x - y) / scale)^2. Without `scale`, the divisor is 1; an empty `y` stands for zeros.
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

#[inline(always)]
fn with_same_length(x: &[f32], y: &[f32], f: impl FnOnce(&[f32], &[f32]) -> f32) -> f32 {
    assert_eq!(x.len(), y.len(), "the rows of a distance");
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
    use crate::tests::TestValues;

    #[test]
    fn distances_equal_their_definition() {
        let mut values = TestValues::new(0);
        for count in [0, 1, 7, 8, 31, 32, 33, 448, 1000] {
            let [x, y, scale] = [(); 3].map(|()| values.take(count));
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
