//! Softmax of a row.

use crate::vectorised;
use crate::vectorised::{exp, sum};

const LANES: usize = 8;

vectorised! {
    /// In place. A row of nothing but minus infinity becomes zeros: a token that may attend to nothing reads nothing.
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

/// Makes each x of the row e^(x - largest), and returns their sum: 1 or more, or 0 for a row of nothing but minus infinity,
/// which becomes zeros.
#[inline(always)]
pub(super) fn exponentials<const FMA: bool>(row: &mut [f32]) -> f32 {
    let largest = max(row);
    if largest == f32::NEG_INFINITY {
        row.fill(0.0);
        return 0.0;
    }
    // A loop of its own: with the sum in it, compilers find no vectors.
    for x in row.iter_mut() {
        *x = exp::<FMA>(*x - largest);
    }
    sum(row, |x| x)
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
