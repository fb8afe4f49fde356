//! The interface of a list of images' tokens.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::features::identity::Identity;
use crate::random::Stream;
use crate::recipe::Augmentation;

/// The tokens of images, by index. A trainer and a test set read them.
pub trait TokenSource: std::fmt::Debug + Send + Sync {
    /// Returns the number of images.
    fn images(&self) -> usize;

    /// Returns the tokens of images, `[indices, tokens, channels]` in f32 on the CPU.
    ///
    /// # Errors
    /// Those of the source.
    fn batch(&self, indices: &[usize]) -> Result<Tensor>;

    /// Returns the tokens of augmented images, `[indices, tokens, channels]`. `stream` draws the augmentation of each image by its
    /// index.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the source has tokens only (the default) or cannot augment its images like that, and those of
    /// the source.
    fn augmented(&self, indices: &[usize], augmentation: Augmentation, stream: Stream) -> Result<Tensor> {
        let _ = (indices, stream);
        let reason = "the source has tokens only, without their images; train on a folder";
        Err(Error::invalid_argument("augmentation", format_args!("{augmentation:?}"), reason))
    }

    /// Returns the identity of the tokens. A checkpoint holds it, and a resumed run must have the same.
    fn identity(&self) -> &Identity;
}
