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
    /// Replaces dy by `scale` * dy where y > 0 and by 0 elsewhere. This is the backward pass of ReLU, and of ReLU with dropout,
    /// whose dropped elements are 0 too.
    pub fn relu_backward(dy: &mut [f32], y: &[f32], scale: f32) = relu_backward_body
}

#[inline(always)]
fn relu_backward_body<const FMA: bool>(dy: &mut [f32], y: &[f32], scale: f32) {
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = if *y > 0.0 { *dy * scale } else { 0.0 };
    }
}
