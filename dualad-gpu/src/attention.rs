//! Multi-head attention with the neighbor mask, with its gradients.

use candle_core::{CustomOp3, DType, Layout, Result, Shape, Tensor};

use crate::launch::{Launch, Output};
use crate::params::{params, size};
use crate::run::{forward_passes, on_tensors_to};
use crate::source::Source;
use crate::support::dtype_name;

params! {
    struct AttentionParams {
        queries: u32,
        keys: u32,
        heads: u32,
        width: u32,
        columns: u32,
        above: u32,
        beside: u32,
        scale: f32,
    }
}

/// The largest number of channels per head that the kernels take: their rows fit the memory that the threads of a group share
/// (32 KiB on Metal).
pub const MAX_HEAD_WIDTH: usize = 400;

const FORWARD: &str = "attention_forward";
const STATISTICS: &str = "attention_statistics";
const QUERY_GRADIENT: &str = "attention_query_gradient";
const KEY_GRADIENTS: &str = "attention_key_gradients";

/// Rows of queries per group in the forward kernels, and of queries or keys in the backward ones.
const FORWARD_ROWS: usize = 16;
const BACKWARD_ROWS: usize = 8;
const THREADS: usize = 128;
/// Rows and columns of a tile, and the number of lanes of a warp.
const LANES: usize = 32;

/// Softmax attention, differentiable in query, key and value.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Queries, `[batch, queries, channels]`: the channels of all heads side by side.
    pub query: &'a Tensor,
    /// Keys, `[batch, keys, channels]`.
    pub key: &'a Tensor,
    /// Values, `[batch, keys, channels]`.
    pub value: &'a Tensor,
    /// The number of heads. Divides the channels.
    pub heads: usize,
    /// The tokens that a token must not attend to, if any.
    pub mask: Option<NeighborMask>,
}

/// A mask of the neighbors of each token, itself included. The CPU kernels have the same struct: neither crate depends on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborMask {
    /// The rows and columns of the token grid.
    pub grid: [usize; 2],
    /// The rows and columns of the masked neighborhood. An even number counts as the odd one above it.
    pub size: [usize; 2],
}

impl Attention<'_> {
    /// Returns the attended values, `[batch, queries, channels]`. A query with all keys masked gets zeros.
    ///
    /// # Errors
    /// Returns candle's error if the shapes do not fit, a head is wider than [`MAX_HEAD_WIDTH`], the dtype has no kernel, or the
    /// device fails.
    pub fn run(&self) -> Result<Tensor> {
        let Self { query, key, value, heads, mask } = *self;
        self.check()?;
        query.contiguous()?.apply_op3(&key.contiguous()?, &value.contiguous()?, Operation { heads, mask })
    }

    /// Returns the gradients of query, key and value, of their shapes, for the gradient `dy` of the result `y`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn gradients(&self, y: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let Self { query, key, value, heads, mask } = *self;
        self.check()?;
        if y.dims() != query.dims() || dy.dims() != query.dims() {
            candle_core::bail!("attention: query {:?}, result {:?}, gradient {:?}", query.dims(), y.dims(), dy.dims());
        }
        let [query, key, value, y] = [query.contiguous()?, key.contiguous()?, value.contiguous()?, y.contiguous()?];
        Operation { heads, mask }.gradients([&query, &key, &value, &y], dy)
    }

    fn check(&self) -> Result<()> {
        let Self { query, key, value, heads, mask } = *self;
        let (batch, queries, channels) = query.dims3()?;
        let (key_batch, keys, key_channels) = key.dims3()?;
        if key.dims() != value.dims() || key_batch != batch || key_channels != channels {
            candle_core::bail!("attention: query {:?}, key {:?}, value {:?}", query.dims(), key.dims(), value.dims());
        }
        if heads == 0 || channels == 0 || keys == 0 || channels % heads != 0 || channels / heads > MAX_HEAD_WIDTH {
            candle_core::bail!("attention: {channels} channels in {heads} heads over {keys} keys");
        }
        if let Some(NeighborMask { grid: [rows, columns], .. }) = mask
            && (queries != rows * columns || keys != queries)
        {
            candle_core::bail!("attention: {queries} and {keys} tokens on a grid of {rows} x {columns}");
        }
        Ok(())
    }
}

struct Operation {
    heads: usize,
    mask: Option<NeighborMask>,
}

/// The sizes of an attention's inputs.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    /// Channels of a head.
    width: usize,
}

impl Operation {
    fn sizes(&self, query: &[usize], key: &[usize]) -> Sizes {
        Sizes { batch: query[0], queries: query[1], keys: key[1], width: query[2] / self.heads }
    }

    /// A launch in which each group has `rows_per_group` of `rows` queries or keys.
    fn kernel(&self, name: &str, sizes: Sizes, rows: usize, rows_per_group: usize) -> Result<Launch> {
        let Sizes { batch, queries, keys, width } = sizes;
        let (columns, [above, beside]) = match self.mask {
            Some(NeighborMask { grid, size }) => (grid[1], size.map(|side| side / 2)),
            None => (0, [0, 0]),
        };
        let params = AttentionParams {
            queries: size(queries)?,
            keys: size(keys)?,
            heads: size(self.heads)?,
            width: size(width)?,
            columns: size(columns)?,
            above: size(above)?,
            beside: size(beside)?,
            scale: (width as f64).powf(-0.5) as f32,
        };
        // The group's rows (two tensors' rows backward), a tile with one padding column, and the weights of 32 other tokens.
        let shared = FORWARD_ROWS * width + LANES * (LANES + 1) + FORWARD_ROWS * LANES;
        let groups = [rows.div_ceil(rows_per_group), self.heads, batch];
        Ok(Launch::new(Source::Attention, name, &params).groups(groups, THREADS, shared))
    }

    /// Computes the statistics of each query, then the gradient of the queries, then those of the keys and values.
    fn gradients(&self, [query, key, value, output]: [&Tensor; 4], gradient: &Tensor) -> Result<[Tensor; 3]> {
        let (sizes, dtype, gradient) = (self.sizes(query.dims(), key.dims()), query.dtype(), gradient.contiguous()?);
        let Sizes { batch, queries, keys, width } = sizes;
        let like = |tensor: &Tensor| Output { count: tensor.elem_count(), dtype };

        let name = format!("{STATISTICS}_{}", dtype_name(dtype)?);
        let launch = self.kernel(&name, sizes, queries, FORWARD_ROWS)?;
        let statistics = Output { count: 2 * batch * self.heads * queries, dtype: DType::F32 };
        let [statistics] = on_tensors_to(&launch, &[query, key, output, &gradient], [statistics])?;

        let inputs = [query, key, value, &gradient, &statistics];
        let launch = self.kernel(&sized(QUERY_GRADIENT, width, dtype)?, sizes, queries, BACKWARD_ROWS)?;
        let [d_query] = on_tensors_to(&launch, &inputs, [like(query)])?;
        let launch = self.kernel(&sized(KEY_GRADIENTS, width, dtype)?, sizes, keys, BACKWARD_ROWS)?;
        let [d_key, d_value] = on_tensors_to(&launch, &inputs, [like(key), like(value)])?;
        Ok([d_query.reshape(query.shape())?, d_key.reshape(key.shape())?, d_value.reshape(value.shape())?])
    }

    fn forward(&self, [query, key, _]: [&Layout; 3], dtype: DType) -> Result<(Launch, Shape)> {
        let sizes = self.sizes(query.dims(), key.dims());
        let name = sized(FORWARD, sizes.width, dtype)?;
        Ok((self.kernel(&name, sizes, sizes.queries, FORWARD_ROWS)?, query.shape().clone()))
    }
}

/// The name of a kernel for a dtype and a head width, which it holds in vectors of 32 channels.
fn sized(kernel: &str, width: usize, dtype: DType) -> Result<String> {
    Ok(format!("{kernel}_{}_{}", dtype_name(dtype)?, width.div_ceil(LANES).next_power_of_two()))
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "attention"
    }

    forward_passes!(query query_layout, key key_layout, value value_layout);

    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [d_query, d_key, d_value] = self.gradients([query, key, value, output], gradient)?;
        Ok((Some(d_query), Some(d_key), Some(d_value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        AttentionParams::assert_matches(Source::Attention);
    }

    #[test]
    fn kernels_exist_for_every_width() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for width in [1, 32, 33, 65, 129, 257, MAX_HEAD_WIDTH] {
                for kernel in [FORWARD, QUERY_GRADIENT, KEY_GRADIENTS] {
                    assert_declares(Source::Attention, &sized(kernel, width, dtype).unwrap());
                }
            }
            assert_declares(Source::Attention, &format!("{STATISTICS}_{}", dtype_name(dtype).unwrap()));
        }
    }
}
