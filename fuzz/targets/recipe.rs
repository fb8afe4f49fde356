//! A recipe's JSON, and the configuration it gives.
#![no_main]

use dualad::Variant;
use dualad::backbones::Backbone;
use dualad::train::Recipe;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let base = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    if let Ok(recipe) = base.with_json("fuzzed", text) {
        let _ = recipe.validate();
    }
});
