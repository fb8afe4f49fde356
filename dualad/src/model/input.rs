//! The preprocessing of a model's images.

use std::fmt;

use dualad_data::image::{IMAGENET_MEAN, IMAGENET_STD, Preprocess};
use serde::{Deserialize, Serialize};

use crate::config::DualAdConfig;
use crate::error::Result;
use crate::model::tiling::Tiling;

/// The preprocessing of images for a backbone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Input {
    /// The number of rows, in pixels.
    pub height: u32,
    /// The number of columns, in pixels.
    pub width: u32,
    /// The resampling of pictures.
    pub filter: Resampling,
    /// The treatment of other aspect ratios.
    pub fit: AspectRatio,
    /// The mean of red, green and blue on `[0, 1]`, which is subtracted.
    pub mean: [f32; 3],
    /// The standard deviation of red, green and blue on `[0, 1]`, by which the difference is divided.
    pub standard_deviation: [f32; 3],
    /// The tiling of pictures. Without it, a whole picture is one input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiling: Option<Tiling>,
}

/// The resampling of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Resampling {
    /// Bilinear interpolation without antialiasing (docs/method.md, section 1).
    #[default]
    Bilinear,
}

/// The treatment of pictures whose aspect ratio is not the input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AspectRatio {
    /// The picture is stretched.
    #[default]
    Stretch,
}

impl fmt::Display for Resampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bilinear => "bilinear",
        })
    }
}

impl fmt::Display for AspectRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stretch => "stretch",
        })
    }
}

impl Input {
    /// Returns the paper's preprocessing for a network: its grid of tokens times their side in pixels.
    pub fn of_network(network: &DualAdConfig) -> Self {
        let side = |tokens: usize| u32::try_from(tokens.saturating_mul(network.token_stride)).unwrap_or(u32::MAX);
        let [height, width] = network.grid.map(side);
        Self {
            height,
            width,
            filter: Resampling::default(),
            fit: AspectRatio::default(),
            mean: IMAGENET_MEAN,
            standard_deviation: IMAGENET_STD,
            tiling: None,
        }
    }

    /// Sets the tiling.
    #[must_use]
    pub fn with_tiling(mut self, tiling: Option<Tiling>) -> Self {
        self.tiling = tiling;
        self
    }

    /// Returns the preprocessing.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for a size, a mean or a standard deviation out of range.
    pub fn preprocess(&self) -> Result<Preprocess> {
        Ok(Preprocess::new(self.height, self.width)?.normalize(self.mean, self.standard_deviation)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(token_stride: usize) -> DualAdConfig {
        let network = DualAdConfig::paper(crate::Variant::Heterogeneous, crate::backbones::Backbone::ResNet18);
        network.with_grid([3, 4]).with_token_stride(token_stride)
    }

    #[test]
    fn the_input_has_the_pixels_of_its_tokens() {
        for (token_stride, size) in [(16, (48, 64)), (14, (42, 56))] {
            let input = Input::of_network(&network(token_stride));
            let preprocess = input.preprocess().unwrap();
            assert_eq!((input.height, input.width), size);
            assert_eq!((preprocess.height(), preprocess.width()), size);
        }
        assert_eq!(Input::of_network(&network(usize::MAX)).width, u32::MAX);
    }

    #[test]
    fn an_invalid_input_is_refused() {
        let mut input = Input::of_network(&network(16));
        input.standard_deviation[1] = 0.0;
        assert!(matches!(input.preprocess(), Err(crate::Error::Data(_))));
        let json = serde_json::to_string(&Input::of_network(&network(16))).unwrap();
        for (from, to) in [("bilinear", "lanczos"), ("stretch", "crop")] {
            let error = serde_json::from_str::<Input>(&json.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(from) && error.contains(to), "{error}");
        }
    }
}
