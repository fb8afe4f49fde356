//! Softmax attention: one head forward and backward, and all heads of a batch.

mod backward;
mod forward;
mod heads;
mod mask;
mod shape;

pub use forward::{AttentionScratch, attention, attention_backward};
pub use heads::{MultiHead, copy_head};
pub use mask::NeighborMask;
pub use shape::{AttentionShape, AttentionStrides};
