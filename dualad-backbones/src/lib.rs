//! Frozen image backbones on [candle](candle_core), which compute feature maps for visual anomaly detection.
//!
//! 1. Choose a [`Backbone`]. Its stages, channels and strides are known before any weights are loaded.
//! 2. Build a [`FeatureExtractor`] with [`Backbone::extractor`] from [`Weights`]: a file, bytes or a file on the hub.
//!    [`Backbone::FilterBank`] needs none.
//! 3. [`FeatureExtractor::extract`] computes one map per stage from images `[batch, 3, height, width]`.
//!    [`FeatureExtractor::tokens`] also brings the maps to one stride, 16 for most backbones ([`Backbone::token_stride`]), and
//!    concatenates them to `[batch, tokens, channels]`.
//!
//! The crate depends on no datasets and no detector. Two choices are DualAD's: the default stages
//! ([`Backbone::default_stages`]) and the token stride ([`TOKEN_STRIDE`]).
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
//! An extractor is `Send + Sync`; calls do not affect one another's results. On the CPU its kernels run on the current
//! rayon pool (`ThreadPool::install`); candle chooses the threads of its own operations.
//!
//! # Features
//! - `hub` (default): weights from the Hugging Face hub. Without it, the crate has no network code.
//! - `cuda`, `cudnn`, `metal`, `mkl`, `accelerate`: those of candle.

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
pub mod layers;
mod network;
mod spec;
mod stage;
mod text;
pub mod weights;

pub use aggregate::aggregate;
pub use backbone::Backbone;
pub use builder::ExtractorBuilder;
pub use candle_core;
pub use error::{Error, Result, WeightsError};
pub use extractor::FeatureExtractor;
pub use hub_file::HubFile;
pub use stage::{Stage, TOKEN_STRIDE};
pub use weights::{Provenance, Weights, WeightsSource};

/// The ImageNet mean of red, green and blue on the scale `[0, 1]`. Images are normalized by subtracting it and dividing by
/// [`IMAGENET_STD`].
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];

/// The ImageNet standard deviation of red, green and blue on the scale `[0, 1]`.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The README's examples, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
