//! Mirroring and rotation of training images.

use serde::{Deserialize, Serialize};

/// The augmentation of training images, drawn anew in every epoch. The paper uses none (docs/method.md, section 1), and neither
/// does the default: features are then computed once and kept. With augmentation, they are computed at every step.
///
/// ```
/// use dualad::backbones::Backbone;
/// use dualad::recipe::Recipe;
/// use dualad::Variant;
///
/// let recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
/// assert!(recipe.train.augmentation.is_nothing());
/// let json = r#"{"train": {"augmentation": {"flip_horizontal": true}}}"#;
/// assert!(recipe.with_json("mine.json", json)?.train.augmentation.flip_horizontal);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Augmentation {
    /// Mirrors half of the images left to right.
    pub flip_horizontal: bool,
    /// Mirrors half of the images top to bottom.
    pub flip_vertical: bool,
    /// Rotates images by 0, 90, 180 or 270 degrees, with equal probability. The input must be square.
    pub quarter_turns: bool,
}

impl Augmentation {
    /// Returns whether images are not augmented.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
