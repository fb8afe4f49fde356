//! Vision transformers (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021) under timm's key names, as trained by
//! - DINO (Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021);
//! - DINOv2 (Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024), also with registers (Darcet et
//!   al., "Vision Transformers Need Registers", ICLR 2024);
//! - DINOv3 (Simeoni et al., "DINOv3", 2025).

use dualad_kernels::Activation;

use crate::network::graph::{Builder, Network, Value};
use crate::network::op::{Conv, Learned, Op, Padding, Parameter, Resampling};

/// The configuration of a vision transformer.
pub(crate) struct Config {
    name: &'static str,
    size: Size,
    patch: usize,
    registers: usize,
    position: Position,
    /// The key of each block's two layer scales after `blocks.N.`, or `None` if it has none.
    layer_scale: Option<[&'static str; 2]>,
    /// True if the projections to q, k and v have biases.
    qkv_bias: bool,
    norm_eps: f64,
    /// True if files may hold the token that replaced masked patches in training.
    mask_token: bool,
}

/// The sizes of vision transformers, S, B and L. A head has 64 channels.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    Small,
    Base,
    Large,
}

#[derive(Clone, Copy)]
enum Position {
    Learned(Learned),
    /// Rotary, with this base of the periods.
    Rotary(f64),
}

/// The stages of a vision transformer: groups of the same number of blocks.
const STAGES: usize = 4;

impl Size {
    const fn channels(self) -> usize {
        match self {
            Self::Small => 384,
            Self::Base => 768,
            Self::Large => 1024,
        }
    }

    const fn blocks(self) -> usize {
        match self {
            Self::Small | Self::Base => 12,
            Self::Large => 24,
        }
    }
}

/// Returns ViT-S/16 of DINO, learned at 224 x 224.
pub(crate) const fn dino(name: &'static str) -> Config {
    Config {
        name,
        size: Size::Small,
        patch: 16,
        registers: 0,
        position: Position::Learned(Learned { grid: 14, class: true, resampling: Resampling::Dino }),
        layer_scale: None,
        qkv_bias: true,
        norm_eps: 1e-6,
        mask_token: false,
    }
}

/// Returns a network of DINOv2, learned at 518 x 518.
pub(crate) const fn dinov2(name: &'static str, size: Size) -> Config {
    Config {
        name,
        size,
        patch: 14,
        registers: 0,
        position: Position::Learned(Learned { grid: 37, class: true, resampling: Resampling::Antialiased }),
        layer_scale: Some(["ls1.gamma", "ls2.gamma"]),
        qkv_bias: true,
        norm_eps: 1e-6,
        mask_token: true,
    }
}

/// Returns a network of DINOv2 with registers. In timm's files, the class token holds the sum with its position.
pub(crate) const fn dinov2_registers(name: &'static str, size: Size) -> Config {
    let position = Position::Learned(Learned { grid: 37, class: false, resampling: Resampling::Antialiased });
    Config { registers: 4, position, ..dinov2(name, size) }
}

/// Returns a network of DINOv3.
pub(crate) const fn dinov3(name: &'static str, size: Size) -> Config {
    Config {
        name,
        size,
        patch: 16,
        registers: 4,
        position: Position::Rotary(100.0),
        layer_scale: Some(["gamma_1", "gamma_2"]),
        qkv_bias: false,
        norm_eps: 1e-5,
        mask_token: false,
    }
}

pub(crate) fn describe(config: &Config) -> Network {
    let &Config { size, patch, registers, position, .. } = config;
    let channels = size.channels();
    let mut net = Builder::new(config.name, patch);
    let embed = Conv::new("patch_embed.proj", 3, channels, patch).stride(patch).padding(Padding::Symmetric(0));
    let patches = net.push(Op::Conv(embed), Value::IMAGE, None);
    let learned = match position {
        Position::Learned(learned) => Some(learned),
        Position::Rotary(_) => None,
    };
    let mut x = net.push(Op::Embed { channels, registers, position: learned }, patches, None);
    let blocks = size.blocks();
    for block in 0..blocks {
        x = config.block(&mut net, &format!("blocks.{block}"), x);
        if (block + 1) % (blocks / STAGES) == 0 {
            // The final norm is not applied to any stage (`docs/method.md`, section 2).
            let map = net.push(Op::TokensToMap { channels }, x, None);
            net.stage(map, channels, patch);
        }
    }
    let mut head = vec![Parameter::new("norm.weight", &[channels]), Parameter::new("norm.bias", &[channels])];
    if config.mask_token {
        head.push(Parameter::buffer("mask_token", &[1, channels]));
    }
    net.finish(head)
}

impl Config {
    fn block(&self, net: &mut Builder, key: &str, x: Value) -> Value {
        let channels = self.size.channels();
        let heads = channels / 64;
        let scale = |index: usize| self.layer_scale.map(|names| format!("{key}.{}", names[index]));
        let identity = Activation::Identity;
        let y = net.push(self.layer_norm(&format!("{key}.norm1"), channels), x, None);
        let qkv = Op::Linear {
            key: format!("{key}.attn.qkv"),
            bias: self.qkv_bias,
            scale: None,
            in_channels: channels,
            out_channels: 3 * channels,
            activation: identity,
        };
        let mut y = net.push(qkv, y, None);
        if let Position::Rotary(temperature) = self.position {
            y = net.push(Op::Rotary { channels, heads, temperature }, y, None);
        }
        let y = net.push(Op::SelfAttention { channels, heads }, y, None);
        let projection = linear(&format!("{key}.attn.proj"), channels, channels, identity, scale(0));
        let x = net.push(projection, y, Some(x));
        let y = net.push(self.layer_norm(&format!("{key}.norm2"), channels), x, None);
        let y = net.push(linear(&format!("{key}.mlp.fc1"), channels, 4 * channels, Activation::Gelu, None), y, None);
        net.push(linear(&format!("{key}.mlp.fc2"), 4 * channels, channels, identity, scale(1)), y, Some(x))
    }

    fn layer_norm(&self, key: &str, channels: usize) -> Op {
        Op::LayerNorm { key: key.into(), channels, eps: self.norm_eps }
    }
}

fn linear(key: &str, in_channels: usize, out_channels: usize, activation: Activation, scale: Option<String>) -> Op {
    Op::Linear { key: key.into(), bias: true, scale, in_channels, out_channels, activation }
}
