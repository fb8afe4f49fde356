//! The operations that [dualad](https://docs.rs/dualad) runs in kernels of its own on CUDA and Metal devices, on candle tensors.
//!
//! Each operation is a struct with named fields and a method `run`. The kernels are in `kernels/`, one source for both kinds of
//! device; their names and parameters are known to this crate only. [`supports`] tells whether tensors can be given to it.
//!
//! An implementation detail of dualad: the interface may change with any version.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use dualad_gpu::{LayerNorm, supports};
//!
//! let x = Tensor::zeros((2, 65), DType::F32, &Device::Cpu)?;
//! let (weight, bias) = (Tensor::ones(65, DType::F32, &Device::Cpu)?, Tensor::zeros(65, DType::F32, &Device::Cpu)?);
//! // Only a CUDA or Metal device runs kernels.
//! assert!(!supports(&[&x, &weight, &bias]));
//! assert!(LayerNorm { x: &x, weight: &weight, bias: &bias, eps: 1e-5 }.run().is_err());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! # Features
//! `cuda` compiles the kernels with nvcc, for the device of the machine or for `CUDA_COMPUTE_CAP`. `metal` compiles each kernel
//! when it is first used. Without the feature of its device, every operation returns an error. `nccl` adds sums over several CUDA
//! devices; the program then needs NCCL.

mod adamw;
mod aggregate;
#[cfg(feature = "nccl")]
mod all_reduce;
mod attention;
#[cfg(feature = "cuda")]
mod cuda;
mod gemm;
mod launch;
mod layer_norm;
mod memory;
#[cfg(feature = "metal")]
mod metal;
mod params;
mod product;
mod random;
mod run;
mod score;
mod source;
mod support;

pub use adamw::{AdamWConstants, AdamWStep, sums_of_squares};
pub use aggregate::{Aggregate, StageMap};
#[cfg(feature = "nccl")]
pub use all_reduce::AllReduce;
pub use attention::{Attention, MAX_HEAD_WIDTH, NeighborMask};
pub use layer_norm::LayerNorm;
pub use memory::MemoryRead;
pub use product::ProductInto;
pub use random::{Activation, Dropout, Jitter, PhiloxStream};
pub use score::{Combination, CombinedErrors, MAX_STAGES};
pub use support::{devices, supports};
