//! What [dualad](https://docs.rs/dualad) computes on a CUDA or Metal device where candle's own operations would waste it: kernels
//! in `kernels/`, one source for both, and [`Launch`], which runs one on candle's tensors. Knows no networks.
//!
//! An implementation detail of dualad, whose interface may change with any version.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use dualad_gpu::{Launch, Source};
//!
//! let tokens = Tensor::zeros((2, 65), DType::F32, &Device::Cpu)?;
//! let unit = Launch::new(Source::Memory, "unit_forward_float").count(2).count(65).number(1.0).number(0.5).warps(2);
//! // Only a CUDA or Metal device runs kernels.
//! assert!(unit.run(&[&tokens], &[(tokens.elem_count(), DType::F32)]).is_err());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! # Features
//! `cuda` compiles the kernels with nvcc, for the device at hand or for `CUDA_COMPUTE_CAP`; `metal` compiles them when one is
//! first used. Without either, every launch is an error.
//!
//! # Errors
//! Every launch returns candle's: a tensor of another device, a type that there is no kernel for, no memory, or what the driver
//! says. Sizes are the caller's to get right: kernels do not check them.

#[cfg(feature = "cuda")]
mod cuda;
mod launch;
#[cfg(feature = "metal")]
mod metal;

pub use launch::{Launch, Source, devices, suffix};
