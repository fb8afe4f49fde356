//! Attention of several heads, whose channels lie side by side in each row.

use rayon::prelude::*;

use crate::attention::forward::{AttentionScratch, attention};
use crate::attention::shape::{AttentionShape, AttentionStrides};
use crate::memory::Workspace;

/// The rows that a task copies.
const ROWS: usize = 28;

/// Attention of `heads` heads: channels `h * head.width` to `(h + 1) * head.width` of a row belong to head `h`.
#[derive(Debug, Clone, Copy)]
pub struct MultiHead {
    /// The number of heads.
    pub heads: usize,
    /// The shape of each head. Its strides are the distances between whole rows.
    pub head: AttentionShape,
}

impl MultiHead {
    /// Computes the output of one image on the current thread. The slices begin at the image's first row.
    ///
    /// # Panics
    /// If a slice is too short for its rows.
    pub fn run_image(&self, q: &[f32], k: &[f32], v: &[f32], y: &mut [f32], scratch: &mut AttentionScratch) {
        for channel in (0..self.heads).map(|head| head * self.head.width) {
            attention(&self.head, &q[channel..], &k[channel..], &v[channel..], &mut y[channel..], scratch);
        }
    }

    /// Computes the outputs of a batch on the current thread pool: `y` is `[images * queries, heads * width]` with contiguous rows.
    /// The rows of an image follow those of the image before it.
    ///
    /// ```
    /// use dualad_kernels::{AttentionShape, AttentionStrides, MultiHead, Workspace};
    ///
    /// let head = AttentionShape { queries: 1, keys: 1, width: 1, strides: AttentionStrides::all(2), mask: None };
    /// let mut y = [0.0; 4];
    /// // Two images of one token and two heads: a single key's weight is 1, so the output is the value.
    /// let (q, v) = ([0.0; 4], [1.0, 2.0, 3.0, 4.0]);
    /// MultiHead { heads: 2, head }.run(&q, &q, &v, &mut y, &mut Workspace::default());
    /// assert_eq!(y, v);
    /// ```
    ///
    /// # Panics
    /// If a slice is too short for its rows.
    pub fn run(&self, q: &[f32], k: &[f32], v: &[f32], y: &mut [f32], workspace: &mut Workspace) {
        let AttentionShape { queries, keys, width, strides, .. } = self.head;
        if y.is_empty() {
            return;
        }
        let head = AttentionShape { strides: AttentionStrides { output: width, ..strides }, ..self.head };
        // The rows of a head are not contiguous in the output, so each task first writes to a matrix of its own.
        let mut by_head = workspace.take(y.len());
        by_head.par_chunks_mut(queries * width).enumerate().for_each_init(
            AttentionScratch::default,
            |scratch, (index, y)| {
                let (image, channel) = (index / self.heads, index % self.heads * width);
                let rows = |x: &[f32], tokens: usize, stride: usize| image * tokens * stride + channel..x.len();
                attention(
                    &head,
                    &q[rows(q, queries, strides.query)],
                    &k[rows(k, keys, strides.key)],
                    &v[rows(v, keys, strides.value)],
                    y,
                    scratch,
                );
            },
        );
        y.par_chunks_mut(self.heads * width).with_min_len(ROWS).enumerate().for_each(|(row, y)| {
            let (image, token) = (row / queries, row % queries);
            for (head, y) in y.chunks_exact_mut(width).enumerate() {
                y.copy_from_slice(&by_head[((image * self.heads + head) * queries + token) * width..][..width]);
            }
        });
        workspace.release(by_head);
    }
}

/// Copies the contiguous rows of one head, `width` elements each, to rows that begin `stride` elements apart.
pub fn copy_head(rows: &[f32], width: usize, to: &mut [f32], stride: usize) {
    for (row, to) in rows.chunks_exact(width).zip(to.chunks_mut(stride)) {
        to[..width].copy_from_slice(row);
    }
}
