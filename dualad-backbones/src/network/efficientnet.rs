//! EfficientNet-B4 (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
//! ICML 2019) under timm's key names, in two variants that differ in padding and batch norm eps.

use dualad_kernels::Activation;

use crate::network::graph::{Builder, Network, Value};
use crate::network::op::{Conv, Op, Padding, Parameter};
use crate::stage::TOKEN_STRIDE;

/// The configuration of a variant.
pub(crate) struct Config {
    name: &'static str,
    /// True for TensorFlow's "same" padding, false for half the kernel on every side.
    same_padding: bool,
    norm_eps: f64,
}

/// The variant of weights trained with TensorFlow. DualAD's published configuration uses it.
pub(crate) const B4_TF: Config = Config { name: "efficientnet-b4", same_padding: true, norm_eps: 1e-3 };
/// The variant of weights trained with timm.
pub(crate) const B4_TIMM: Config = Config { name: "efficientnet-b4-timm", same_padding: false, norm_eps: 1e-5 };

/// A row of the paper's Table 1 at B4's width 1.4 and depth 1.8.
struct Row {
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    repeats: usize,
    /// True if the row's output is a stage's map: for the last row of each stride.
    ends_stage: bool,
}

const fn row(expansion: usize, kernel: usize, stride: usize, channels: usize, repeats: usize, ends_stage: bool) -> Row {
    Row { expansion, kernel, stride, channels, repeats, ends_stage }
}

const STEM: usize = 48;
const HEAD: usize = 1792;
const CLASSES: usize = 1000;
const ROWS: [Row; 7] = [
    row(1, 3, 1, 24, 2, true),
    row(6, 3, 2, 32, 4, true),
    row(6, 5, 2, 56, 4, true),
    row(6, 3, 2, 112, 6, false),
    row(6, 5, 1, 160, 6, true),
    row(6, 5, 2, 272, 8, false),
    row(6, 3, 1, 448, 2, true),
];

pub(crate) fn describe(config: &Config) -> Network {
    let mut net = Builder::new(config.name, TOKEN_STRIDE);
    let stem = config.conv("conv_stem", "bn1", 3, STEM, 3).stride(2).activation(Activation::Silu);
    let mut x = net.push(Op::Conv(stem), Value::IMAGE, None);
    let (mut channels, mut stride) = (STEM, 2);
    for (index, row) in ROWS.iter().enumerate() {
        for repeat in 0..row.repeats {
            let step = if repeat == 0 { row.stride } else { 1 };
            x = config.block(&mut net, &format!("blocks.{index}.{repeat}"), x, channels, row, step);
            channels = row.channels;
            stride *= step;
        }
        if row.ends_stage {
            net.stage(x, channels, stride);
        }
    }
    let mut head = Op::Conv(config.conv("conv_head", "bn2", channels, HEAD, 1)).parameters();
    head.push(Parameter::new("classifier.weight", &[CLASSES, HEAD]));
    head.push(Parameter::new("classifier.bias", &[CLASSES]));
    net.finish(head)
}

impl Config {
    /// Appends an inverted residual: expansion, depthwise convolution, gate, projection. With expansion 1 the first is absent.
    fn block(&self, net: &mut Builder, key: &str, x: Value, from: usize, row: &Row, stride: usize) -> Value {
        let wide = from * row.expansion;
        let (depthwise_norm, narrow, narrow_norm) =
            if row.expansion == 1 { ("bn1", "conv_pw", "bn2") } else { ("bn2", "conv_pwl", "bn3") };
        let mut y = x;
        if row.expansion > 1 {
            let conv = self.conv(&format!("{key}.conv_pw"), &format!("{key}.bn1"), from, wide, 1);
            y = net.push(Op::Conv(conv.activation(Activation::Silu)), y, None);
        }
        let (conv, norm) = (format!("{key}.conv_dw"), format!("{key}.{depthwise_norm}"));
        let conv = self.conv(&conv, &norm, wide, wide, row.kernel).stride(stride).depthwise();
        y = net.push(Op::Conv(conv.activation(Activation::Silu)), y, None);
        // The gate's width is a quarter of the block's *input* channels, rounded.
        let gate = Op::SqueezeExcite { key: format!("{key}.se"), channels: wide, reduced: (from + 2) / 4 };
        y = net.push(gate, y, None);
        let residual = (stride == 1 && from == row.channels).then_some(x);
        let conv = self.conv(&format!("{key}.{narrow}"), &format!("{key}.{narrow_norm}"), wide, row.channels, 1);
        net.push(Op::Conv(conv), y, residual)
    }

    fn conv(&self, key: &str, norm: &str, from: usize, to: usize, kernel: usize) -> Conv {
        let padding = if self.same_padding { Padding::Same } else { Padding::Symmetric(kernel / 2) };
        Conv::new(key, from, to, kernel).padding(padding).norm(norm, self.norm_eps)
    }
}
