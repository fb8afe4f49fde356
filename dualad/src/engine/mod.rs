//! The engines: networks as lists of steps over buffers, without a graph. On the CPU, one trains (forward and backward) and one infers;
//! another one trains on CUDA devices.
//!
//! The reference is the plain form, [`crate::DualAd`] with candle's gradients; tests compare all engines with it. Those of the CPU are
//! fast for these reasons:
//!
//! - Images are independent until their gradients are summed. So in training, one task takes a group of images forward and back
//!   through the whole network, with all its data in the cache.
//! - Products with the same input are joined.
//! - Positions are added as a table of biases.
//! - Attention scores never leave the cache.
//! - Buffers are kept between calls.
//!
//! Inference covers every network. Training covers the heterogeneous network, but not its narrow-deep branch alone; other networks
//! train with candle's graph.
//!
//! - `layout.rs`: the parameters in one flat vector.
//! - `plan.rs`: a configuration as a list of steps over buffers.
//! - `derived.rs`: values that follow from the parameters alone.
//! - `infer.rs` and `packed_step.rs`: inference, with weights laid out once and each step distributed over the threads.
//! - `train.rs`, `group.rs` and `gradient.rs`: the loss of a batch, the passes of a group, and the sum of the gradients.
//! - `device/`: the passes of a training step on a CUDA device, in its tensors.
//!
//! The kernels of the steps on the CPU are in `dualad-kernels`.

mod derived;
#[cfg(feature = "train")]
mod device;
#[cfg(feature = "train")]
mod gradient;
#[cfg(feature = "train")]
mod group;
mod infer;
#[cfg_attr(not(feature = "train"), allow(dead_code))] // some of it serves training only
mod layout;
mod packed_step;
#[cfg_attr(not(feature = "train"), allow(dead_code))] // some of it serves training only
mod plan;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(feature = "train")]
mod train;

#[cfg(feature = "train")]
pub(crate) use device::{DeviceEngine, Draws};
pub(crate) use infer::InferenceEngine;
#[cfg(feature = "train")]
pub(crate) use train::TrainingEngine;
