//! The trait of everything that gives tokens of images by number.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::features::identity::Identity;
use crate::random::Stream;
use crate::recipe::Augmentation;

/// Images' tokens by number: what a [`crate::train::Trainer`] learns from.
pub trait TokenSource: std::fmt::Debug + Send + Sync {
    /// How many images there are.
    fn images(&self) -> usize;

    /// The tokens of these images in this order, `[indices, tokens, channels]`, in f32 on the CPU.
    ///
    /// # Errors
    /// Whatever keeps them from being had.
    fn batch(&self, indices: &[usize]) -> Result<Tensor>;

    /// The same of images that are augmented, each as `stream` says for its number: computed anew, whatever is kept.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the images cannot be had (which is what sources do that do not say otherwise) or not be augmented
    /// like that; whatever else keeps them from being had.
    fn augmented(&self, indices: &[usize], augmentation: Augmentation, stream: Stream) -> Result<Tensor> {
        let _ = (indices, stream);
        let reason = "these tokens are kept, and the images that they are of are not; train on a folder";
        Err(Error::invalid_argument("augmentation", format_args!("{augmentation:?}"), reason))
    }

    /// What tells these tokens from others: a checkpoint keeps it, and a resumed run must have the same.
    fn identity(&self) -> &Identity;
}
