//! Running a fit.

use crate::error::Result;
use crate::fit::outcome::Fitted;
use crate::fit::prepared::PreparedFit;
use crate::fit::settings::Fit;

impl Fit {
    /// Trains, scores the held-out images and sets the thresholds.
    ///
    /// # Errors
    /// As [`Self::prepare`]; [`Error::Training`](crate::Error::Training) for a loss or a gradient that is not finite,
    /// [`Error::Format`](crate::Error::Format) for a checkpoint that cannot be used,
    /// [`Error::CheckpointMismatch`](crate::Error::CheckpointMismatch) for one of another run.
    pub fn run(self) -> Result<Fitted> {
        let mut prepared = self.prepare()?;
        let (network, losses) = prepared.train()?;
        prepared.finish(network, losses)
    }

    /// Computes the features of the training images. [`PreparedFit`] then trains step by step.
    ///
    /// # Errors
    /// [`Error::NoImages`](crate::Error::NoImages), [`Error::Data`](crate::Error::Data) for an image or a folder,
    /// [`Error::Backbone`](crate::Error::Backbone) for the weights, [`Error::Config`](crate::Error::Config) for an invalid
    /// recipe, [`Error::InvalidArgument`](crate::Error::InvalidArgument) for an invalid setting, [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn prepare(self) -> Result<PreparedFit> {
        PreparedFit::new(self)
    }
}
