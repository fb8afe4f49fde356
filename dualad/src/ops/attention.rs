//! Multi-head attention with the neighbor mask (docs/method.md, section 4.4).
//!
//! No `[batch, heads, tokens, tokens]` tensor is allocated: the scores of one image and head stay in the cache of one thread, and
//! the backward pass computes them again.

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor};
use dualad_kernels::{
    AttentionScratch, AttentionShape, AttentionStrides, MultiHead, NeighborMask, attention_backward, copy_head,
};
use rayon::prelude::*;

use crate::ops::support::{is_cpu_f32, values, widened, with_values};

const NAME: &str = "attention";

/// The mask as a tensor to add to the scores, `[tokens, tokens]`, for the plain form.
fn mask_tensor(mask: NeighborMask, device: &Device) -> Result<Tensor> {
    let tokens = mask.grid[0] * mask.grid[1];
    let mut values = vec![0f32; tokens * tokens];
    for token in 0..tokens {
        for range in mask.masked(token) {
            values[token * tokens..][range].fill(f32::NEG_INFINITY);
        }
    }
    Tensor::from_vec(values, (tokens, tokens), device)
}

/// Returns the softmax attention of `query` over `key` and `value`, all `[batch, tokens, channels]` with the channels of the heads
/// side by side.
pub(crate) fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: Option<NeighborMask>,
) -> Result<Tensor> {
    let (_, queries, _) = query.dims3()?;
    if key.dims() != value.dims() || query.dim(0)? != key.dim(0)? || query.dim(2)? != key.dim(2)? {
        candle_core::bail!("{NAME}: query {:?}, key {:?}, value {:?}", query.dims(), key.dims(), value.dims());
    }
    let (keys, channels) = (key.dim(1)?, key.dim(2)?);
    if heads == 0 || channels == 0 || keys == 0 || channels % heads != 0 {
        candle_core::bail!("{NAME}: {channels} channels in {heads} heads over {keys} keys");
    }
    if let Some(NeighborMask { grid: [rows, columns], .. }) = mask
        && (queries != rows * columns || keys != queries)
    {
        candle_core::bail!("{NAME}: {queries} and {keys} tokens on a grid of {rows} x {columns}");
    }
    if dualad_gpu::supports(&[query, key, value]) && channels / heads <= dualad_gpu::MAX_HEAD_WIDTH {
        let mask = mask.map(|NeighborMask { grid, size }| dualad_gpu::NeighborMask { grid, size });
        return dualad_gpu::Attention { query, key, value, heads, mask }.run();
    }
    if is_cpu_f32(&[query, key, value]) {
        let op = Attention { heads, mask };
        return query.contiguous()?.apply_op3(&key.contiguous()?, &value.contiguous()?, op);
    }
    if let Some([wide_query, wide_key, wide_value]) = widened([query, key, value])? {
        return attention(&wide_query, &wide_key, &wide_value, heads, mask)?.to_dtype(query.dtype());
    }
    plain(query, key, value, heads, mask)
}

/// Returns the gradients of query, key and value, of their shapes, for the gradient `dy` of the result `y`. All tensors are f32.
#[cfg(feature = "train")]
pub(crate) fn gradients(
    [query, key, value, y]: [&Tensor; 4],
    heads: usize,
    mask: Option<NeighborMask>,
    dy: &Tensor,
) -> Result<[Tensor; 3]> {
    if dualad_gpu::supports(&[query, key, value, y, dy]) {
        let mask = mask.map(|NeighborMask { grid, size }| dualad_gpu::NeighborMask { grid, size });
        return dualad_gpu::Attention { query, key, value, heads, mask }.gradients(y, dy);
    }
    let [query, key, value] = [query.contiguous()?, key.contiguous()?, value.contiguous()?];
    Attention { heads, mask }.gradients([&query, &key, &value], dy)
}

/// The plain form, with every score in memory.
pub(crate) fn plain(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: Option<NeighborMask>,
) -> Result<Tensor> {
    let (batch, tokens, channels) = query.dims3()?;
    let width = channels / heads;
    let split = |x: &Tensor| x.reshape((batch, (), heads, width))?.transpose(1, 2)?.contiguous();
    let query = (split(query)? * (width as f64).powf(-0.5))?;
    // Scores and softmax are f32 for half precision, too.
    let mut scores = query.matmul(&split(key)?.t()?.contiguous()?)?.to_dtype(DType::F32)?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(&mask_tensor(mask, scores.device())?)?;
    }
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?.to_dtype(value.dtype())?;
    weights.matmul(&split(value)?)?.transpose(1, 2)?.reshape((batch, tokens, channels))
}

struct Attention {
    heads: usize,
    mask: Option<NeighborMask>,
}

impl Attention {
    /// The attention of queries of shape `query` over keys and values of shape `key`.
    fn multi_head(&self, query: &[usize], key: &[usize]) -> MultiHead {
        let (queries, keys, channels) = (query[1], key[1], query[2]);
        let strides = AttentionStrides::all(channels);
        let head = AttentionShape { queries, keys, width: channels / self.heads, strides, mask: self.mask };
        MultiHead { heads: self.heads, head }
    }
}

impl Attention {
    /// Returns the gradients of query, key and value for that of the result.
    fn gradients(&self, [query, key, value]: [&Tensor; 3], gradient: &Tensor) -> Result<[Tensor; 3]> {
        let MultiHead { heads, head } = self.multi_head(query.dims(), key.dims());
        let gradient = gradient.contiguous()?;
        let op = |[query, key, value, gradient]: [&[f32]; 4]| {
            let channels = heads * head.width;
            // The first elements of each image's heads, in queries and in keys.
            let starts: Vec<[usize; 2]> = (0..query.len() / (head.queries * channels).max(1))
                .flat_map(|image| (0..heads).map(move |index| (image, index * head.width)))
                .map(|(image, channel)| [head.queries, head.keys].map(|tokens| image * tokens * channels + channel))
                .collect();
            let head_gradients: Vec<[Vec<f32>; 3]> = starts
                .par_iter()
                .map_init(AttentionScratch::default, |scratch, &[queries, keys]| {
                    let [mut dq, mut dk, mut dv] =
                        [head.queries, head.keys, head.keys].map(|tokens| vec![0.0; tokens * head.width]);
                    let inputs = [&query[queries..], &key[keys..], &value[keys..], &gradient[queries..]];
                    attention_backward(&head, inputs, [&mut dq, &mut dk, &mut dv], scratch);
                    [dq, dk, dv]
                })
                .collect();
            let mut gradients = [vec![0.0; query.len()], vec![0.0; key.len()], vec![0.0; value.len()]];
            for (head_gradients, [queries, keys]) in head_gradients.iter().zip(&starts) {
                for ((gradient, rows), start) in gradients.iter_mut().zip(head_gradients).zip([queries, keys, keys]) {
                    copy_head(rows, head.width, &mut gradient[*start..], channels);
                }
            }
            Ok(gradients)
        };
        let [d_query, d_key, d_value] = with_values([query, key, value, &gradient], NAME, op)?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok([tensor(d_query, query)?, tensor(d_key, key)?, tensor(d_value, value)?])
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        key: &CpuStorage,
        key_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let heads = self.multi_head(query_layout.dims(), key_layout.dims());
        let query = values(query, query_layout, NAME)?;
        let key = values(key, key_layout, NAME)?;
        let value = values(value, value_layout, NAME)?;
        let mut output = vec![0.0; query.len()];
        // A task is an image: the heads of an image share its rows.
        let channels = query_layout.dims()[2];
        let [rows, key_rows] = [heads.head.queries, heads.head.keys].map(|tokens| tokens * channels);
        output.par_chunks_mut(rows.max(1)).enumerate().for_each_init(
            AttentionScratch::default,
            |scratch, (image, output)| {
                let [key, value] = [key, value].map(|values| &values[image * key_rows..]);
                heads.run_image(&query[image * rows..], key, value, output, scratch);
            },
        );
        Ok((CpuStorage::F32(output), query_layout.shape().clone()))
    }

    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [d_query, d_key, d_value] = self.gradients([query, key, value], gradient)?;
        Ok((Some(d_query), Some(d_key), Some(d_value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check_devices, check_finite_differences, check_gradients, variable};
    use proptest::prelude::*;

    fn window(grid: [usize; 2], size: [usize; 2]) -> Option<NeighborMask> {
        Some(NeighborMask { grid, size })
    }

    #[test]
    fn equals_the_plain_form_forward_and_backward() {
        let cases = [
            (1, [1, 2], 1, 1, None),
            (2, [3, 4], 2, 3, None),
            (2, [6, 6], 4, 4, window([6, 6], [3, 3])),
            (1, [5, 8], 3, 5, window([5, 8], [5, 3])),
            (3, [5, 8], 2, 8, window([5, 8], [2, 4])),
            (1, [1, 9], 2, 2, window([1, 9], [1, 5])),
            (2, [14, 14], 8, 4, window([14, 14], [7, 7])),
            // Head widths of one and two vectors, whole and partial; keys in whole tiles, whole vectors and neither.
            (1, [5, 9], 2, 18, window([5, 9], [3, 3])),
            (1, [6, 8], 2, 24, window([6, 8], [3, 5])),
            (1, [1, 12], 1, 32, None),
            (2, [4, 10], 1, 41, window([4, 10], [1, 1])),
        ];
        for (batch, [rows, columns], heads, width, window) in cases {
            let shape = [batch, rows * columns, heads * width];
            let tensors = [variable(&shape, 1, 1.0), variable(&shape, 2, 1.0), variable(&shape, 3, 1.0)];
            check_gradients(
                &tensors.each_ref(),
                |t| attention(t[0], t[1], t[2], heads, window),
                |t| plain(t[0], t[1], t[2], heads, window),
            );
        }
    }

    #[test]
    fn devices_agree() {
        let cases = [
            (2, [3, 4], 2, 3, None),
            (2, [6, 6], 4, 4, window([6, 6], [3, 3])),
            (1, [5, 8], 1, 33, window([5, 8], [5, 3])),
            (2, [14, 14], 2, 56, window([14, 14], [7, 7])),
            (1, [3, 11], 1, 130, window([3, 11], [1, 5])),
            (1, [1, 9], 1, 300, None),
            // Wider than the GPU kernels serve.
            (1, [2, 3], 1, 500, None),
        ];
        for (batch, [rows, columns], heads, width, window) in cases {
            let shape: &[usize] = &[batch, rows * columns, heads * width];
            check_devices(
                &[shape; 3],
                |t| attention(t[0], t[1], t[2], heads, window),
                |t| plain(t[0], t[1], t[2], heads, window),
            );
        }
    }

    #[test]
    fn the_numbers_of_queries_and_keys_may_differ() {
        let (query, key, value) =
            (variable(&[2, 3, 6], 1, 1.0), variable(&[2, 5, 6], 2, 1.0), variable(&[2, 5, 6], 3, 1.0));
        check_gradients(
            &[&query, &key, &value],
            |t| attention(t[0], t[1], t[2], 2, None),
            |t| plain(t[0], t[1], t[2], 2, None),
        );
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let shape = [1, 6, 4];
        let tensors = [variable(&shape, 1, 1.0), variable(&shape, 2, 1.0), variable(&shape, 3, 1.0)];
        for window in [None, window([2, 3], [1, 1]), window([2, 3], [3, 1])] {
            check_finite_differences(&tensors.each_ref(), |t| attention(t[0], t[1], t[2], 2, window));
        }
    }

    proptest! {
        /// The output of a token does not depend on masked keys and values, bit for bit, and depends on all others.
        #[test]
        fn masked_tokens_have_no_effect(
            seed in any::<u64>(), rows in 2usize..7, columns in 4usize..7, token in 0usize..36, changed in 0usize..36,
        ) {
            let (tokens, window) = (rows * columns, NeighborMask { grid: [rows, columns], size: [3, 3] });
            let (token, changed) = (token % tokens, changed % tokens);
            let shape = [1, tokens, 4];
            let [query, key, value] = [1, 2, 3].map(|part| variable(&shape, seed ^ part, 1.0));
            let read = |key: &Tensor, value: &Tensor| -> Vec<f32> {
                let read = attention(&query, key, value, 2, Some(window)).unwrap();
                read.get(0).unwrap().get(token).unwrap().to_vec1().unwrap()
            };
            let change = |x: &Tensor| {
                let mut values: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
                values[changed * 4..][..4].iter_mut().for_each(|x| *x += 3.0);
                Tensor::from_vec(values, x.shape(), x.device()).unwrap()
            };
            let before = read(&key, &value);
            let after = read(&change(&key), &change(&value));
            let masked = window.masked(token).any(|range| range.contains(&changed));
            prop_assert_eq!(before == after, masked, "token {} and {}", token, changed);
        }
    }

    #[test]
    fn the_output_is_zero_if_all_keys_are_masked() {
        let x = variable(&[1, 4, 2], 1, 1.0);
        let y = attention(&x, &x, &x, 1, window([2, 2], [3, 3])).unwrap();
        assert!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|&y| y == 0.0));
    }
}
