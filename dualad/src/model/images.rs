//! The numbers of images that a model was made of.

use std::fmt;

use serde::Serialize;

use super::{Model, ModelConfig};

/// The numbers of normal images that a model was made of. Its network and its bank have different ones: the network is not trained on the
/// images that are held out for the thresholds, and the bank has tokens of them too.
///
/// The text is a phrase with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ImageCounts {
    /// The number of images that the network was trained on: in the last run, if its training was continued. 0 if the bank alone scores.
    pub network: usize,
    /// The number of images whose tokens the bank was made of; 0 without a bank.
    pub bank: usize,
    /// The number of images that were held out for the thresholds.
    pub held_out: usize,
}

impl ImageCounts {
    /// Returns the numbers of a model. `recorded` is the number of images in its record, if it has one: the bank of a continued model
    /// has tokens of earlier images too.
    pub(crate) fn of(config: &ModelConfig, recorded: Option<usize>) -> Self {
        let (trained, held_out) = (config.train_images, config.held_out.len());
        // Copies count once in the record.
        let all = (trained + held_out).max(recorded.unwrap_or(0));
        let is_alone = config.bank.as_ref().is_some_and(|bank| bank.alone);
        Self {
            network: if is_alone { 0 } else { trained },
            bank: if config.bank.is_some() { all } else { 0 },
            held_out,
        }
    }
}

impl fmt::Display for ImageCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, bank, held_out } = self;
        match (network, bank, held_out) {
            (0, 0, _) => write!(f, "normal images that are not recorded"),
            (0, ..) => write!(f, "{bank} normal images in the bank"),
            (_, 0, 0) => write!(f, "{network} normal images"),
            (_, 0, _) => write!(f, "{network} normal images, without {held_out} that were held out for the thresholds"),
            (_, _, 0) => write!(f, "network: {network} normal images; bank: {bank}"),
            _ => write!(
                f,
                "network: {network} normal images; bank: {bank}, with {held_out} that were held out for the thresholds"
            ),
        }
    }
}

impl Model {
    /// Returns the numbers of images that the model was made of.
    pub fn image_counts(&self) -> ImageCounts {
        ImageCounts::of(self.config(), self.known_training_images())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_the_images_of_the_network_and_of_the_bank() {
        let text = |network, bank, held_out| ImageCounts { network, bank, held_out }.to_string();
        assert_eq!(text(20, 0, 0), "20 normal images");
        assert_eq!(text(20, 0, 5), "20 normal images, without 5 that were held out for the thresholds");
        assert_eq!(
            text(20, 25, 5),
            "network: 20 normal images; bank: 25, with 5 that were held out for the thresholds"
        );
        assert_eq!(text(20, 20, 0), "network: 20 normal images; bank: 20");
        assert_eq!(text(0, 25, 5), "25 normal images in the bank");
        assert_eq!(text(0, 0, 0), "normal images that are not recorded");
    }
}
