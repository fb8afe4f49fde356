//! Softmax of a row.

use crate::kernels::{exp, kernel, sum};

const LANES: usize = 8;

kernel! {
    /// In place. A row of nothing but minus infinity becomes zeros: a token that may attend to nothing reads nothing.
    fn softmax(row: &mut [f32]) = softmax_body
}

#[inline(always)]
pub(super) fn softmax_body<const FMA: bool>(row: &mut [f32]) {
    let largest = max(row);
    if largest == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    // A loop of its own: with the sum in it, compilers find no vectors.
    for x in row.iter_mut() {
        *x = exp::<FMA>(*x - largest);
    }
    let scale = 1.0 / sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = if chunk[lane] > largest[lane] { chunk[lane] } else { largest[lane] };
        }
    }
    largest.iter().chain(rest).fold(f32::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest })
}
