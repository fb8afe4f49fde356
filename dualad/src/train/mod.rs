//! Training: so far, the optimiser.

mod optimizer;

pub use optimizer::{AdamW, AdamWConfig};
