//! Loops of training steps, and those of `dualad-kernels`. Knows no tensors.

mod rows;

pub(crate) use dualad_kernels::{
    AttentionShape, Scratch, Window, add_norm, add_norm_backward, attention, attention_backward, norm, norm_statistics,
    softmax,
};
pub(crate) use rows::{
    add_to_columns, disturb, drop_out, fused_adamw, rectify, rectify_backward, stage_errors, sum_squares,
};
