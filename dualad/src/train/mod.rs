//! Training: so far, the optimiser.

mod optimizer;
mod step;

pub use optimizer::{AdamW, AdamWConfig};
