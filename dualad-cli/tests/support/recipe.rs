//! A recipe with a small network.

use dualad::Variant;
use dualad::backbones::Backbone;
use dualad::recipe::Recipe;

use super::config::CONFIG;

/// Returns the recipe of [`CONFIG`] with two epochs, for 64 x 64 pixels.
pub(crate) fn recipe() -> Recipe {
    let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank).with_json("CONFIG", CONFIG).unwrap();
    recipe.train.epochs = 2;
    recipe
}
