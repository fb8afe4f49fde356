//! Errors of loading and registering models.

/// An error of this crate. The functions of a query report an error of one image in its row, and others as DataFusion's errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model that cannot be loaded.
    #[error(transparent)]
    Model(#[from] dualad::Error),
    /// A model that is not the one that was asked for.
    #[error("the model {model} has the digest {found}, and {expected} was asked for; give every worker the same model")]
    Digest {
        /// The model's folder, or its name on the hub.
        model: String,
        /// The digest of the model that was loaded.
        found: String,
        /// The digest that was asked for.
        expected: String,
    },
    /// A description of a model that cannot be used.
    #[error("the model {model:?} {reason}")]
    Source {
        /// The description, cut at 200 characters.
        model: String,
        /// The cause, and a way out.
        reason: String,
    },
}

/// A result with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}
