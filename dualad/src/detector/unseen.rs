//! The check that images are not those that the model was trained on.

use dualad_data::Cancel;
use rayon::prelude::*;

use crate::detector::{Detector, Request};
use crate::error::{Error, Result};

/// The number of images between two looks at the cancel handle.
const CHUNK: usize = 32;

impl Detector {
    /// Returns for each request whether the model was trained on its picture, or on a copy in another lossless format. `None` for a
    /// model without a record of its training images, such as one of an earlier version.
    ///
    /// # Errors
    /// With a record, as [`Self::inspect`] for an image that cannot be read, [`Error::Images`] for several; [`Error::Cancelled`].
    pub fn was_trained_on(&self, requests: &[Request<'_>], cancel: &Cancel) -> Result<Option<Vec<bool>>> {
        if self.model.trained_on().is_none() {
            return Ok(None);
        }
        let (mut seen, mut broken) = (Vec::with_capacity(requests.len()), Vec::new());
        for requests in requests.chunks(CHUNK) {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let model = self.model();
            let read =
                |request: &Request<'_>| Ok(model.was_trained_on(&*request.picture(&self.limits)?).unwrap_or_default());
            for found in self.threads.run(|| requests.par_iter().map(read).collect::<Vec<Result<bool>>>()) {
                found.map_or_else(|error| broken.push(error), |found| seen.push(found));
            }
        }
        match broken.len() {
            0 => Ok(Some(seen)),
            1 => Err(broken.remove(0)),
            _ => Err(Error::Images { errors: broken }),
        }
    }
}
