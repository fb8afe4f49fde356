//! Frozen image backbones on [candle](candle_core): the feature maps that visual anomaly detection reads.
//!
//! 1. Name a [`Backbone`]: it knows its stages, channels and strides before any weight is loaded.
//! 2. Build a [`FeatureExtractor`] with [`Backbone::extractor`], from [`Weights`] in a file, in bytes or on the hub.
//!    [`Backbone::FilterBank`] needs none.
//! 3. [`FeatureExtractor::extract`] turns `[batch, 3, height, width]` images into one map per stage;
//!    [`FeatureExtractor::tokens`] also brings the maps to stride 16 and joins them, `[batch, tokens, channels]`.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use dualad_backbones::Backbone;
//!
//! let extractor = Backbone::FilterBank.extractor().build()?;
//! let images = Tensor::zeros((1, 3, 224, 224), DType::F32, &Device::Cpu)?;
//! let tokens = extractor.tokens(&images)?;
//! assert_eq!(tokens.dims(), [1, 14 * 14, extractor.token_channels()]);
//! # Ok::<(), dualad_backbones::Error>(())
//! ```
//!
//! # Threads
//! An extractor is `Send + Sync` and keeps no state between calls. On the CPU its work runs on candle's and rayon's
//! global thread pools.
//!
//! # Features
//! `hub` (default): weights from the Hugging Face hub; without it there is no network code in the build. `cuda`,
//! `cudnn`, `metal`, `mkl`, `accelerate`: forwarded to candle.

mod aggregate;
mod efficientnet;
mod engine;
mod error;
mod extractor;
mod filter_bank;
mod network;
mod resnet;
mod spec;
mod vit;
pub mod weights;

pub use aggregate::aggregate;
pub use candle_core;
pub use error::{Error, Result, WeightsError};
pub use extractor::{ExtractorBuilder, FeatureExtractor};
pub use filter_bank::FilterBank;
pub use network::{Activation, BatchNorm, Conv, Layer, Network, Op, Padding, Parameter, Shape, Value};
pub use spec::{Backbone, HubFile, Stage, TOKEN_STRIDE};
pub use weights::{Provenance, Weights};

/// ImageNet's mean of red, green and blue on the scale `[0, 1]`: subtract it from an image.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];

/// ImageNet's standard deviation of red, green and blue: divide by it after subtracting [`MEAN`].
pub const STANDARD_DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
