//! The preprocessing of a model's images.

use std::fmt;

use dualad_backbones::TOKEN_STRIDE;
use dualad_data::image::{IMAGENET_MEAN, IMAGENET_STD, Preprocess};
use serde::{Deserialize, Serialize};

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
    /// Returns the paper's preprocessing for a network with this grid of tokens (rows, columns).
    pub fn of_grid([rows, columns]: [usize; 2]) -> Self {
        // Grids have at most 256 rows and columns.
        let side = |tokens: usize| u32::try_from(tokens * TOKEN_STRIDE).unwrap_or(u32::MAX);
        Self {
            height: side(rows),
            width: side(columns),
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

    #[test]
    fn the_input_has_16_pixels_for_each_token() {
        let input = Input::of_grid([3, 4]);
        assert_eq!((input.height, input.width, input.preprocess().unwrap().width()), (48, 64, 64));
    }

    #[test]
    fn an_invalid_input_is_refused() {
        let mut input = Input::of_grid([3, 4]);
        input.standard_deviation[1] = 0.0;
        assert!(matches!(input.preprocess(), Err(crate::Error::Data(_))));
        let json = serde_json::to_string(&Input::of_grid([3, 4])).unwrap();
        for (from, to) in [("bilinear", "lanczos"), ("stretch", "crop")] {
            let error = serde_json::from_str::<Input>(&json.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(from) && error.contains(to), "{error}");
        }
    }
}
