//! Vision transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021) as DINO trained it
//! (Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021), under timm's key names.

use dualad_kernels::Activation;

use crate::network::graph::{Builder, Network, Value};
use crate::network::op::{Conv, Op, Padding, Parameter};

/// The configuration of a plain vision transformer.
pub(crate) struct Config {
    name: &'static str,
    channels: usize,
    heads: usize,
    patch: usize,
    /// The side of the grid that the position embedding was learned for.
    grid: usize,
    /// The blocks of each of the four stages.
    depths: [usize; 4],
}

/// ViT-S/16 at 224 x 224.
pub(crate) const SMALL_16: Config =
    Config { name: "vit-small-dino", channels: 384, heads: 6, patch: 16, grid: 14, depths: [3, 3, 3, 3] };

const NORM_EPS: f64 = 1e-6;

pub(crate) fn describe(config: &Config) -> Network {
    let &Config { channels, heads, patch, grid, .. } = config;
    let mut net = Builder::new(config.name);
    let embed = Conv::new("patch_embed.proj", 3, channels, patch).stride(patch).padding(Padding::Symmetric(0));
    let patches = net.push(Op::Conv(embed), Value::IMAGE, None);
    let mut x = net.push(Op::Embed { channels, grid }, patches, None);
    let mut block = 0;
    for depth in config.depths {
        for _ in 0..depth {
            let key = format!("blocks.{block}");
            let y = net.push(layer_norm(&format!("{key}.norm1"), channels), x, None);
            let y = net.push(linear(&format!("{key}.attn.qkv"), channels, 3 * channels, Activation::Identity), y, None);
            let y = net.push(Op::SelfAttention { channels, heads }, y, None);
            x = net.push(linear(&format!("{key}.attn.proj"), channels, channels, Activation::Identity), y, Some(x));
            let y = net.push(layer_norm(&format!("{key}.norm2"), channels), x, None);
            let y = net.push(linear(&format!("{key}.mlp.fc1"), channels, 4 * channels, Activation::Gelu), y, None);
            x = net.push(linear(&format!("{key}.mlp.fc2"), 4 * channels, channels, Activation::Identity), y, Some(x));
            block += 1;
        }
        // The final norm is not applied to any stage (`docs/method.md`, section 2).
        let map = net.push(Op::TokensToMap { channels }, x, None);
        net.stage(map, channels, patch);
    }
    net.finish(vec![Parameter::new("norm.weight", &[channels]), Parameter::new("norm.bias", &[channels])])
}

fn layer_norm(key: &str, channels: usize) -> Op {
    Op::LayerNorm { key: key.into(), channels, eps: NORM_EPS }
}

fn linear(key: &str, in_channels: usize, out_channels: usize, activation: Activation) -> Op {
    Op::Linear { key: key.into(), in_channels, out_channels, activation }
}

/// Returns the position embedding `[1 + rows * columns, channels]` of a grid of `rows` x `columns`, class token first,
/// interpolated from the one learned for `grid` x `grid`.
///
/// The interpolation is that of DINO's `interpolate_pos_encoding`: bicubic with a = -0.75, half-pixel centers and clamped borders.
/// The scale is `(rows + 0.1) / grid`; DINO adds 0.1 against rounding errors, which shifts every coordinate slightly.
pub(crate) fn position_embedding(
    learned: &[f32],
    channels: usize,
    grid: usize,
    [rows, columns]: [usize; 2],
) -> Vec<f32> {
    if [rows, columns] == [grid, grid] {
        return learned.to_vec();
    }
    let (class, cells) = learned.split_at(channels);
    let (vertical, horizontal) = (taps(grid, rows), taps(grid, columns));
    let mut embedding = class.to_vec();
    embedding.reserve(rows * columns * channels);
    let mut sums = vec![0.0f64; channels];
    for vertical in &vertical {
        for horizontal in &horizontal {
            sums.fill(0.0);
            for (row, row_weight) in vertical {
                for (column, column_weight) in horizontal {
                    let start = (row * grid + column) * channels;
                    for (sum, &cell) in sums.iter_mut().zip(&cells[start..start + channels]) {
                        *sum += row_weight * column_weight * f64::from(cell);
                    }
                }
            }
            embedding.extend(sums.iter().map(|&sum| sum as f32));
        }
    }
    embedding
}

/// Returns, for each of `to` cells, the four of `from` cells that it interpolates, and their weights.
fn taps(from: usize, to: usize) -> Vec<[(usize, f64); 4]> {
    const A: f64 = -0.75;
    let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
    let scale = (to as f64 + 0.1) / from as f64;
    (0..to)
        .map(|cell| {
            let position = (cell as f64 + 0.5) / scale - 0.5;
            let t = position - position.floor();
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            let first = position.floor() as isize - 1;
            std::array::from_fn(|tap| {
                let index = (first + tap as isize).clamp(0, from as isize - 1);
                (index as usize, weights[tap])
            })
        })
        .collect()
}
