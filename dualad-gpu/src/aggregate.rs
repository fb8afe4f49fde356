//! Feature aggregation: the stage maps of a backbone to tokens.

use candle_core::{DType, Result, Tensor};

use crate::launch::Launch;
use crate::params::{params, size};
use crate::run::on_tensors;
use crate::source::Source;
use crate::support::{check_dtype, dtype_name};

params! {
    struct AggregateParams {
        batch: u32,
        channels: u32,
        rows: u32,
        columns: u32,
        token_rows: u32,
        token_columns: u32,
        token_channels: u32,
        first_channel: u32,
        pool: u32,
        repeat: u32,
    }
}

/// The aggregation of stage maps to tokens: average pooling of maps finer than the tokens, nearest up-sampling of coarser maps,
/// concatenation over channels. Has no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Aggregate<'a> {
    /// The stage maps, of one dtype and one device, in the order of the tokens' channels.
    pub maps: &'a [StageMap<'a>],
    /// The rows and columns of tokens.
    pub grid: [usize; 2],
    /// The pixels per side of a token.
    pub token_stride: usize,
}

/// A stage's map and its resolution.
#[derive(Debug, Clone, Copy)]
pub struct StageMap<'a> {
    /// The map, `[batch, channels, rows, columns]`.
    pub map: &'a Tensor,
    /// The pixels per side of a cell of the map; divides the token stride, or is a multiple of it.
    pub stride: usize,
}

fn kernel(dtype: DType) -> Result<String> {
    Ok(format!("aggregate_{}", dtype_name(dtype)?))
}

impl Aggregate<'_> {
    /// Returns tokens `[batch, token rows * token columns, channels of all maps]`.
    ///
    /// # Errors
    /// Returns candle's error if there is no map, a stride is 0, a map does not cover the tokens, the dtype has no kernel, or the
    /// device fails.
    pub fn run(&self) -> Result<Tensor> {
        let [rows, columns] = self.grid;
        let Some(first) = self.maps.first().map(|stage| stage.map) else {
            candle_core::bail!("aggregation of no maps")
        };
        if self.token_stride == 0 || self.maps.iter().any(|stage| stage.stride == 0) {
            candle_core::bail!("aggregation with a stride of 0 pixels")
        }
        let (batch, dtype) = (first.dim(0)?, first.dtype());
        let kernel = kernel(dtype)?;
        let channels = self.maps.iter().map(|stage| stage.map.dim(1));
        let token_channels = channels.sum::<Result<usize>>()?;
        let tokens = Tensor::zeros((batch, rows * columns, token_channels), dtype, first.device())?;
        let mut first_channel = 0;
        for &StageMap { map, stride } in self.maps {
            check_dtype("aggregation", map, dtype)?;
            let (map_batch, channels, map_rows, map_columns) = map.dims4()?;
            let (pool, repeat) = ((self.token_stride / stride).max(1), (stride / self.token_stride).max(1));
            let covers = |cells: usize, tokens: usize| cells * repeat >= tokens * pool;
            if map_batch != batch || !covers(map_rows, rows) || !covers(map_columns, columns) {
                candle_core::bail!(
                    "aggregation of a map {:?} of stride {stride} to {rows} x {columns} tokens",
                    map.dims()
                );
            }
            let params = AggregateParams {
                batch: size(batch)?,
                channels: size(channels)?,
                rows: size(map_rows)?,
                columns: size(map_columns)?,
                token_rows: size(rows)?,
                token_columns: size(columns)?,
                token_channels: size(token_channels)?,
                first_channel: size(first_channel)?,
                pool: size(pool)?,
                repeat: size(repeat)?,
            };
            let threads = 256;
            let groups = [(columns * channels).div_ceil(threads), rows, batch];
            let launch = Launch::new(Source::Aggregate, kernel.as_str(), &params).changes(1).groups(groups, threads, 0);
            on_tensors(&launch, &[&map.contiguous()?, &tokens], &[])?;
            first_channel += channels;
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::assert_declares;

    #[test]
    fn parameters_match_the_kernel() {
        AggregateParams::assert_matches(Source::Aggregate);
    }

    #[test]
    fn a_stride_of_zero_is_refused() {
        let map = Tensor::zeros((1, 2, 3, 3), DType::F32, &candle_core::Device::Cpu).unwrap();
        for (stride, token_stride) in [(0, 16), (4, 0)] {
            let maps = [StageMap { map: &map, stride }];
            let error = Aggregate { maps: &maps, grid: [1, 1], token_stride }.run().unwrap_err();
            assert!(error.to_string().contains("stride of 0"), "{error}");
        }
    }

    #[test]
    fn kernels_exist() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            assert_declares(Source::Aggregate, &kernel(dtype).unwrap());
        }
    }
}
