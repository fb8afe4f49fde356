//! Visual anomaly detection: one model for all product categories, trained on normal images only.
//!
//! The model is DualAD (S. He et al., "DualAD: Exploring Coupled Dual-Branch Networks for Multi-Class Unsupervised Anomaly
//! Detection", Electronics 2025, 14(3), 594). A frozen pretrained backbone extracts features from an image, and a network
//! that has learned the features of normal images reconstructs them. Where the reconstruction fails, the image is anomalous.
//! `docs/method.md` has the equations.
//!
//! # The type for each task
//!
//! | task | type |
//! |---|---|
//! | train a model on a folder of normal images | [`Fit`](fit::Fit), from [`Detector::fit`] |
//! | save a model, load it, load it from the hub | [`Detector`], [`DetectorBuilder`](detector::DetectorBuilder) |
//! | inspect an image: a file, its bytes, a camera's buffer | [`Detector::inspect`] takes a [`Request`](detector::Request) and returns an [`Inspection`](detector::Inspection) |
//! | inspect on several devices | [`Replicas`](detector::Replicas) |
//! | choose thresholds by images with known labels | [`Detector::calibrate`] with a [`Calibrator`](calibration::Calibrator) |
//! | continue the training with images of the old products and new ones | [`Detector::extend`] |
//! | measure a model on a test set | [`TestSet`] |
//! | write a report: table, JSON, HTML page | [`Report`](report::Report) |
//! | change the network or its training | [`Recipe`](recipe::Recipe), [`DualAdConfig`] |
//! | write your own training loop | [`Trainer`](train::Trainer) on [`Features`](features::Features) |
//! | write a model in another format | [`Detector::parts`] |
//! | use the network alone | [`DualAd`] for training and every device, [`Reconstructor`] for fast inference |
//!
//! ```no_run
//! use dualad::Detector;
//! use dualad::backbones::{Backbone, Weights};
//! use dualad::detector::Request;
//!
//! // Once: train on a folder of normal images, and save the model.
//! let fitted = Detector::fit("good-images").backbone(Backbone::ResNet18, Weights::file("resnet18.safetensors")).run()?;
//! fitted.detector.save("model")?;
//!
//! // In the application: load the model and inspect images, from any number of threads.
//! let detector = Detector::load("model")?;
//! let inspection = detector.inspect(Request::from("part.png"))?;
//! println!("score {}: {:?}", inspection.image_score, inspection.verdict);
//! # Ok::<(), dualad::Error>(())
//! ```
//!
//! # Data flow
//!
//! Each step knows the steps before it and none after it.
//!
//! 1. [`data`]: image files to pixels, `[batch, 3, height, width]`.
//! 2. [`backbones`]: pixels to tokens, `[batch, tokens, channels]`, one token for 16 x 16 pixels (14 x 14 for DINOv2). [`features`]
//!    keeps the tokens of a list of images.
//! 3. [`DualAd`]: tokens to their reconstruction. [`train`] fits its parameters by a [`recipe`].
//! 4. [`Scores`]: tokens and reconstruction to an anomaly map and an image score.
//! 5. [`metrics`]: the scores of labeled images to AUROC, AP, F1 and AUPRO; [`report`] shows them.
//! 6. [`calibration`]: the scores of labeled images to thresholds, and a score to a decision.
//! 7. [`detector`]: all of it behind one type.
//!
//! # Conventions
//!
//! Builders have setters by value and one final method that returns a [`Result`]; values are checked there. A setter `cancel`
//! takes a [`Cancel`](data::Cancel) that another thread can trigger, and a setter `progress` takes a function. Structs with
//! public fields have setters `with_<field>`. [`Error::kind`] tells who is at fault for an error.
//!
//! # Cargo features
//!
//! | feature | default | content |
//! |---|---|---|
//! | `train` | yes | training, features of image files, evaluation of test sets |
//! | `report` | yes | reports of a run |
//! | `render` | yes | heat maps, PNG files |
//! | `synthetic` | yes | the generator of synthetic datasets |
//! | `bmp`, `gif`, `jpeg`, `png`, `pnm`, `tiff`, `webp` | yes | image formats |
//! | `hub` | yes | models and weights from the Hugging Face hub; without it the crate has no network code |
//! | `cuda`, `cudnn`, `metal`, `mkl`, `accelerate` | no | the devices and libraries of candle |

#[cfg(feature = "train")]
mod ahead;
pub mod bank;
#[doc(hidden)]
pub mod bench;
mod bilinear;
pub mod calibration;
mod cdbn;
#[cfg(feature = "train")]
mod clock;
mod components;
mod config;
pub mod detector;
mod device_name;
mod engine;
mod error;
#[cfg(feature = "train")]
mod evaluate;
pub mod features;
mod file;
#[cfg(feature = "train")]
pub mod fit;
#[cfg(feature = "train")]
mod loco;
pub mod metrics;
mod model;
#[cfg(feature = "train")]
mod objects;
mod ops;
pub mod parts;
mod progress;
mod pseudo_anomaly;
pub mod recipe;
mod reconstructor;
#[cfg(feature = "report")]
pub mod report;
mod score;
mod scorer;
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
pub use dualad_kernels::Precision;
pub use dualad_store as store;
pub use error::{Error, ErrorKind, Format, FormatError, Result};
#[cfg(feature = "train")]
pub use evaluate::{ImageScores, TestSet};
#[cfg(feature = "train")]
pub use loco::SaturatedPro;
pub use model::{AspectRatio, ImageCounts, Input, Model, ModelBank, ModelConfig, ModelFiles, Resampling};
pub use progress::Progress;
pub use reconstructor::Reconstructor;
pub use score::Scores;
pub use scorer::ScoreParts;

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The code of embedding.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;

/// The code of building-blocks.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/building-blocks.md")]
struct BuildingBlocks;

/// The code of calibration.md, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/calibration.md")]
struct CalibrationGuide;

/// The code of gpu.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/gpu.md")]
struct GpuGuide;

/// The code of weights.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/weights.md")]
struct WeightsGuide;
