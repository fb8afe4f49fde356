//! Helpers that tests share.

use dualad::Variant;
use dualad::backbones::Backbone;
use dualad::recipe::Recipe;

/// A network small enough for a test, without a bank: 64 x 64 pixels.
pub(crate) fn recipe() -> Recipe {
    recipe_for(Backbone::FilterBank)
}

/// A network of 4 x 4 tokens for a backbone.
pub(crate) fn recipe_for(backbone: Backbone) -> Recipe {
    let mut recipe = Recipe::fast(Variant::Heterogeneous, backbone);
    recipe.network = recipe
        .network
        .with_grid([4, 4])
        .with_neighbor_mask(Some([1, 1]))
        .with_levels(2)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(8)
        .with_heads(2)
        .with_encoder_layers(1)
        .with_memory_slots(6);
    recipe.bank = None;
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.schedule.warmup_steps) = (2, 4, 2);
    recipe
}
