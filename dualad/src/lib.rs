//! Visual anomaly detection: one model for all product categories, trained on normal images only.
//!
//! DualAD (S. He et al., "DualAD: Exploring Coupled Dual-Branch Networks for Multi-Class Unsupervised Anomaly
//! Detection", Electronics 2025, 14(3), 594) reconstructs the features of a frozen pretrained backbone; what it cannot
//! reconstruct is anomalous.
//!
//! 1. [`data`]: files to pixels, `[batch, 3, height, width]`.
//! 2. [`backbones`]: pixels to tokens, `[batch, tokens, channels]`.
//! 3. [`DualAd`]: tokens to their reconstruction by the coupled dual-branch network that a [`DualAdConfig`] describes,
//!    and both to an anomaly map and an image score ([`Scores`]).
//! 4. [`train`]: what trains it.
//! 5. [`metrics`]: how well the scores separate normal from anomalous.
//! 6. [`calibration`]: scores to decisions, by thresholds chosen on known images.
//! 7. [`detector`]: what an application embeds: one type that inspects images.
//! 8. [`report`]: what a run found, as a table, JSON, and a page to show.

#[doc(hidden)]
pub mod bench;
pub mod calibration;
mod cdbn;
mod components;
mod config;
pub mod detector;
mod engine;
mod error;
#[cfg(feature = "train")]
mod evaluate;
pub mod features;
mod file;
#[cfg(feature = "train")]
pub mod fit;
pub mod metrics;
mod model;
mod ops;
mod progress;
mod pseudo_anomaly;
pub mod recipe;
mod reconstructor;
#[cfg(feature = "report")]
pub mod report;
mod score;
mod setters;
#[cfg(test)]
mod testing;
#[cfg(feature = "train")]
pub mod train;

pub use candle_core;
pub use cdbn::{DualAd, ParameterShape};
pub use config::{
    Branches, Combination, DualAdConfig, Jitter, JitterKind, Variant, backbone_multiply_accumulates,
    backbone_parameter_count,
};
pub use detector::Detector;
pub use dualad_backbones as backbones;
pub use dualad_data as data;
use dualad_data::random;
pub use dualad_data::{Random, Stream};
pub use dualad_store as store;
pub use error::{Error, ErrorKind, Format, FormatError, Result};
#[cfg(feature = "train")]
pub use evaluate::{ImageScores, TestSet};
pub use model::{AspectRatio, Input, Model, ModelConfig, ModelFiles, Resampling};
pub use progress::Progress;
pub use reconstructor::Reconstructor;
pub use score::Scores;

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The guide's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;

/// The parts' code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/building-blocks.md")]
struct BuildingBlocks;

/// The thresholds' code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/calibration.md")]
struct CalibrationGuide;
