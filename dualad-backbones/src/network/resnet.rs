//! ResNet and Wide ResNet (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016;
//! Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016) under torchvision's key names.

use dualad_kernels::Activation;

use crate::network::graph::{Builder, Network, Value};
use crate::network::op::{Conv, Op, Parameter};
use crate::stage::TOKEN_STRIDE;

/// The configuration of a ResNet.
pub(crate) struct Config {
    name: &'static str,
    depths: [usize; 4],
    block: Block,
}

enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1 convolution to `width * 2^stage` channels, a 3x3 one, and a 1x1 one to `4 * 64 * 2^stage` channels (stages from 0).
    Bottleneck { width: usize, stride_on: StrideOn },
}

/// The convolution of a stage's first bottleneck that has the stride.
#[derive(PartialEq)]
enum StrideOn {
    /// The 3x3 convolution, as in torchvision; also called v1.5.
    Conv2,
    /// The first 1x1 convolution, as published; also called v1.
    Conv1,
}

pub(crate) const RESNET18: Config = Config { name: "resnet18", depths: [2, 2, 2, 2], block: Block::Basic };
pub(crate) const RESNET34: Config = Config { name: "resnet34", depths: [3, 4, 6, 3], block: Block::Basic };
pub(crate) const RESNET50: Config = Config {
    name: "resnet50",
    depths: [3, 4, 6, 3],
    block: Block::Bottleneck { width: 64, stride_on: StrideOn::Conv2 },
};
pub(crate) const RESNET50_V1: Config = Config {
    name: "resnet50-v1",
    depths: [3, 4, 6, 3],
    block: Block::Bottleneck { width: 64, stride_on: StrideOn::Conv1 },
};
pub(crate) const WIDE_RESNET50_2: Config = Config {
    name: "wide-resnet50-2",
    depths: [3, 4, 6, 3],
    block: Block::Bottleneck { width: 128, stride_on: StrideOn::Conv2 },
};

const CLASSES: usize = 1000;

pub(crate) fn describe(config: &Config) -> Network {
    let mut net = Builder::new(config.name, TOKEN_STRIDE);
    let stem = conv("conv1", "bn1", 3, 64, 7).stride(2).activation(Activation::Relu);
    let stem = net.push(Op::Conv(stem), Value::IMAGE, None);
    let mut x = net.push(Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, stem, None);
    let mut channels = 64;
    for (stage, &depth) in config.depths.iter().enumerate() {
        let base = 64 << stage;
        for index in 0..depth {
            let key = format!("layer{}.{index}", stage + 1);
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            (x, channels) = match &config.block {
                Block::Basic => basic(&mut net, &key, x, channels, base, stride),
                Block::Bottleneck { width, stride_on } => {
                    let strides = if *stride_on == StrideOn::Conv1 { (stride, 1) } else { (1, stride) };
                    bottleneck(&mut net, &key, x, channels, width << stage, 4 * base, strides)
                }
            };
        }
        net.stage(x, channels, 4 << stage);
    }
    net.finish(vec![Parameter::new("fc.weight", &[CLASSES, channels]), Parameter::new("fc.bias", &[CLASSES])])
}

fn basic(net: &mut Builder, key: &str, x: Value, from: usize, to: usize, stride: usize) -> (Value, usize) {
    let skip = shortcut(net, key, x, from, to, stride);
    let first = conv(&format!("{key}.conv1"), &format!("{key}.bn1"), from, to, 3);
    let y = net.push(Op::Conv(first.stride(stride).activation(Activation::Relu)), x, None);
    let second = conv(&format!("{key}.conv2"), &format!("{key}.bn2"), to, to, 3);
    (net.push(Op::Conv(second.activation(Activation::Relu)), y, Some(skip)), to)
}

fn bottleneck(
    net: &mut Builder,
    key: &str,
    x: Value,
    from: usize,
    width: usize,
    to: usize,
    strides: (usize, usize),
) -> (Value, usize) {
    let skip = shortcut(net, key, x, from, to, strides.0 * strides.1);
    let first = conv(&format!("{key}.conv1"), &format!("{key}.bn1"), from, width, 1);
    let y = net.push(Op::Conv(first.stride(strides.0).activation(Activation::Relu)), x, None);
    let second = conv(&format!("{key}.conv2"), &format!("{key}.bn2"), width, width, 3);
    let y = net.push(Op::Conv(second.stride(strides.1).activation(Activation::Relu)), y, None);
    let third = conv(&format!("{key}.conv3"), &format!("{key}.bn3"), width, to, 1);
    (net.push(Op::Conv(third.activation(Activation::Relu)), y, Some(skip)), to)
}

/// Returns the residual: the input itself, or its 1x1 projection where the shape changes.
fn shortcut(net: &mut Builder, key: &str, x: Value, from: usize, to: usize, stride: usize) -> Value {
    if from == to && stride == 1 {
        return x;
    }
    let projection = conv(&format!("{key}.downsample.0"), &format!("{key}.downsample.1"), from, to, 1);
    net.push(Op::Conv(projection.stride(stride)), x, None)
}

fn conv(key: &str, norm: &str, from: usize, to: usize, kernel: usize) -> Conv {
    Conv::new(key, from, to, kernel).norm(norm, 1e-5)
}
