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
mod backbone;
mod builder;
mod engine;
mod error;
mod extractor;
mod filter_bank;
#[cfg(feature = "hub")]
pub mod hub;
mod hub_file;
mod input;
mod network;
mod spec;
mod stage;
pub mod weights;

pub use aggregate::aggregate;
pub use backbone::Backbone;
pub use builder::ExtractorBuilder;
pub use candle_core;
pub use error::{Error, Result, WeightsError};
pub use extractor::FeatureExtractor;
pub use filter_bank::FilterBank;
pub use hub_file::HubFile;
pub use stage::{Stage, TOKEN_STRIDE};
pub use weights::{Provenance, Weights, WeightsSource};

/// The ImageNet mean of red, green and blue on the scale `[0, 1]`. Images are normalized by subtracting it and dividing by
/// [`IMAGENET_STD`].
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];

/// The ImageNet standard deviation of red, green and blue on the scale `[0, 1]`.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
