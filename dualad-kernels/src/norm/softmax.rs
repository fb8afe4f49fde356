//! Softmax of a row, and the hard shrinkage of a row of softmax weights.

use crate::vectorized::{exp, sum, vectorized};

const LANES: usize = 8;

vectorized! {
    /// Replaces a row by its softmax. A row in which every element is minus infinity becomes zeros: a token that may attend to no
    /// token gets no value.
    pub fn softmax(row: &mut [f32]) = softmax_body
}

#[inline(always)]
fn softmax_body<const FMA: bool>(row: &mut [f32]) {
    let sum = exponentials::<FMA>(row);
    if sum != 0.0 {
        let scale = 1.0 / sum;
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Replaces each x of the row by e^(x - max) and returns the sum, which is at least 1. A row in which every element is minus
/// infinity becomes zeros, and the sum is 0.
#[inline(always)]
pub(crate) fn exponentials<const FMA: bool>(row: &mut [f32]) -> f32 {
    let largest = max(row);
    if largest == f32::NEG_INFINITY {
        row.fill(0.0);
        return 0.0;
    }
    // A separate loop: with the sum in it, the compiler does not vectorize it.
    for x in row.iter_mut() {
        *x = exp::<FMA>(*x - largest);
    }
    sum(row, |x| x)
}

/// The smallest value that a norm or a sum of weights counts as: it avoids a division by zero. PyTorch uses the same.
pub const MIN_NORM: f32 = 1e-12;

/// Applies hard shrinkage to a row of softmax weights: sets every weight that is not above 1 / `weights.len()` to zero and divides
/// the others by their sum. Returns that sum, at least [`MIN_NORM`].
///
/// ```
/// let mut weights = [0.5, 0.3, 0.1, 0.1];
/// let sum = dualad_kernels::hard_shrink(&mut weights);
/// assert_eq!(weights, [0.5 / sum, 0.3 / sum, 0.0, 0.0]);
/// ```
pub fn hard_shrink(weights: &mut [f32]) -> f32 {
    let threshold = (1.0 / weights.len() as f64) as f32;
    weights.iter_mut().for_each(|weight| *weight = if *weight <= threshold { 0.0 } else { *weight });
    let sum = weights.iter().sum::<f32>().max(MIN_NORM);
    weights.iter_mut().for_each(|weight| *weight /= sum);
    sum
}

#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut largest = [[f32::NEG_INFINITY; LANES]; 4];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let (fours, few) = chunks.as_chunks::<4>();
    for four in fours {
        for part in 0..4 {
            for lane in 0..LANES {
                largest[part][lane] = larger(largest[part][lane], four[part][lane]);
            }
        }
    }
    let [mut low, b, c, d] = largest;
    for other in [b, c, d].iter().chain(few) {
        for lane in 0..LANES {
            low[lane] = larger(low[lane], other[lane]);
        }
    }
    for half in [4, 2, 1] {
        for lane in 0..half {
            low[lane] = larger(low[lane], low[lane + half]);
        }
    }
    rest.iter().fold(low[0], |largest, &x| larger(largest, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrunk_weights_sum_to_one_and_equal_weights_vanish() {
        let mut weights = [0.4, 0.35, 0.2, 0.05];
        assert_eq!(hard_shrink(&mut weights), 0.75);
        assert_eq!(weights, [0.4 / 0.75, 0.35 / 0.75, 0.0, 0.0]);
        let mut equal = [0.25; 4];
        assert_eq!(hard_shrink(&mut equal), MIN_NORM);
        assert_eq!(equal, [0.0; 4]);
    }
}
