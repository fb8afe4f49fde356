//! What training images may be turned into: mirror images and quarter turns, where a product may lie like that.

use serde::{Deserialize, Serialize};

/// What is done to a training image, drawn anew in every epoch. The method does nothing (section 5), and neither does the default:
/// an image's features are then computed once and kept. With any of it they are computed at every step.
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
    /// Half of the images are mirrored left to right.
    pub flip_horizontal: bool,
    /// Half of the images are mirrored top to bottom.
    pub flip_vertical: bool,
    /// Images are turned by 0, 1, 2 or 3 quarters, each as likely; only square inputs can be.
    pub quarter_turns: bool,
}

impl Augmentation {
    /// Whether every image stays as it is.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
