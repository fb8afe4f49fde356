//! Layer norm and softmax.

mod layer_norm;
pub(crate) mod softmax;

pub use layer_norm::{add_norm, add_norm_backward, norm, norm_statistics};
pub use softmax::{MIN_NORM, hard_shrink, softmax};
