//! Features: tokens of images by a frozen backbone, computed once and kept.
//!
//! [`pixels`] prepares pictures for a backbone. [`Features`] holds the tokens of image files, in a [`FeatureCache`] on disk or
//! in memory. A trainer and a test set take tokens from any [`TokenSource`].

#[cfg(feature = "train")]
mod augment;
#[cfg(feature = "train")]
mod cache;
#[cfg(feature = "train")]
mod files;
#[cfg(feature = "train")]
mod identity;
#[cfg(feature = "train")]
mod memory;
#[cfg(feature = "train")]
mod pictures;
#[cfg(feature = "train")]
mod source;
#[cfg(feature = "train")]
mod storage;
mod tokens;

#[cfg(feature = "train")]
pub use cache::{FeatureCache, FeatureType};
#[cfg(feature = "train")]
pub(crate) use files::name_of;
#[cfg(feature = "train")]
pub use files::{Features, FeaturesBuilder};
#[cfg(feature = "train")]
pub use identity::Identity;
#[cfg(feature = "train")]
pub(crate) use identity::extraction;
#[cfg(feature = "train")]
pub(crate) use pictures::PictureTokens;
#[cfg(feature = "train")]
pub use source::TokenSource;
pub use tokens::pixels;
pub(crate) use tokens::size;
