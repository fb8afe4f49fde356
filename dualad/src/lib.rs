//! Visual anomaly detection: one model for all product categories, trained on normal images only.
//!
//! DualAD (S. He et al., "DualAD: Exploring Coupled Dual-Branch Networks for Multi-Class Unsupervised Anomaly
//! Detection", Electronics 2025, 14(3), 594) reconstructs the features of a frozen pretrained backbone; what it cannot
//! reconstruct is anomalous.
//!
//! What is here so far is the first step of that: the frozen backbones and the tokens made of their features, in
//! [`backbones`].

pub use dualad_backbones as backbones;

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
