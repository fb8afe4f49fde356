//! Progress through a list of images.

/// The progress of work on a list of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of images done.
    pub done: usize,
    /// The number of images in all.
    pub total: usize,
}
