//! ReLU, forward and backward.

use crate::vectorized::vectorized;

vectorized! {
    /// Replaces each x by max(x, 0). NaN stays NaN.
    pub fn relu(x: &mut [f32]) = relu_body
}

#[inline(always)]
fn relu_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x = if *x < 0.0 { 0.0 } else { *x };
    }
}

vectorized! {
    /// dy times `scale` where y is above zero, and 0 elsewhere: what reluing (and dropping, which leaves zeros too) does.
    pub fn relu_backward(dy: &mut [f32], y: &[f32], scale: f32) = relu_backward_body
}

#[inline(always)]
fn relu_backward_body<const FMA: bool>(dy: &mut [f32], y: &[f32], scale: f32) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = if *y > 0.0 { *dy * scale } else { 0.0 };
    }
}
