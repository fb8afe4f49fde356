//! The C interface of [`dualad`].
//!
//! C and C++ programs use `include/dualad.h`, which is made from this crate; `docs/c.md` is the guide. Rust programs use `dualad`.
//!
//! [`api`] has the exported functions. Each converts its pointers (`pointers.rs`), catches panics (`border.rs`) and calls safe code.
//! The contract of each function is in its comment, and the contract of all of them at the top of the header.

// The contracts are the comments of the functions, which are the header's comments, too.
#![allow(clippy::missing_safety_doc)]

pub mod api;
mod border;
mod detector;
mod failure;
mod image;
mod inspection;
mod last_error;
mod options;
mod pointers;
mod status;
mod thresholds;

pub use detector::DualadDetector;
pub use image::DualadPixelFormat;
pub use inspection::{DualadInspection, DualadRegion, DualadVerdict};
pub use options::DualadOptions;
pub use status::DualadStatus;
pub use thresholds::{DualadThresholdSource, DualadThresholds};
