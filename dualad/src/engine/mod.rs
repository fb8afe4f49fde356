//! Networks on the CPU without a graph, as a list of steps over buffers that are kept from one batch to the next: training
//! steps forward and backward, and inference.
//!
//! The plain form is [`crate::DualAd`] with candle's gradients; the tests hold the two together. What makes this one fast:
//! images are independent of one another but for the parameters' gradients, so a task takes a group of images through the
//! whole network and back, with everything it touches in its caches; products that share an input are one; positions
//! are added as a table of biases; attention never leaves the cache; buffers are kept.
//!
//! - `layout.rs`: where each parameter stands in one flat vector.
//! - `plan.rs`: a configuration as steps over buffers.
//! - `group.rs`: a group of images going through the steps, and back.
//! - `train.rs`: all groups together: the loss and the gradient of a batch.
//! - `infer.rs`: the same steps to infer with, weights laid out once, every step shared out to the threads.
//!
//! What the steps are made of is in `dualad-kernels`.

mod group;
mod infer;
mod layout;
mod plan;
mod train;

pub(crate) use infer::InferenceEngine;
pub(crate) use train::TrainingEngine;
