//! Writes small models for `tools/onnx/check.sh`: for each backbone both variants, with a bank and without one.
//!
//! ```sh
//! cargo run --release --example onnx_models -- models resnet18 vit-small-dino
//! ```

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use dualad::backbones::{Backbone, Weights};
use dualad::bank::BankConfig;
use dualad::data::synthetic::{self, Category, Options};
use dualad::recipe::Recipe;
use dualad::{Detector, Variant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().ok_or("usage: onnx_models OUT BACKBONE...")?);
    std::fs::create_dir_all(&out)?;
    let images = out.join("images");
    let categories = vec![Category::Gear, Category::Plate, Category::Fabric];
    let options = Options { size: 96, train: 6, test_good: 2, test_per_defect: 1, categories, seed: 5 };
    synthetic::write(&images, &options, |_, _| ())?;
    for name in arguments {
        let backbone: Backbone = name.parse()?;
        for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
            for bank in [true, false] {
                let parts = if bank { "bank" } else { "network" };
                let folder = out.join(format!("{name}-{variant}-{parts}"));
                train(&images, &folder, backbone, variant, bank)?;
                println!("{}", folder.display());
            }
        }
    }
    Ok(())
}

fn train(images: &Path, folder: &Path, backbone: Backbone, variant: Variant, bank: bool) -> dualad::Result<()> {
    let mut recipe = if bank { Recipe::fast(variant, backbone) } else { Recipe::paper(variant, backbone) };
    recipe.train.epochs = 1;
    recipe.train.batch_size = 4;
    recipe.network = recipe
        .network
        .with_grid([4, 5])
        .with_neighbor_mask(Some([1, 3]))
        .with_levels(2)
        .with_narrow_width(16)
        .with_chunk_width(if bank { 16 } else { 24 })
        .with_ffn_width(32)
        .with_encoder_layers(2)
        .with_memory_slots(if variant == Variant::Heterogeneous { 12 } else { 0 });
    // Of both scales, which the presets do not use. Without trained weights, the last stage of other backbones is nearly even: its
    // distances would be rounding errors.
    let context = if backbone == Backbone::ResNet18 { 0.2 } else { 0.0 };
    recipe.bank = bank.then(|| BankConfig::default().with_tokens(60).with_dims(24).with_context(context));
    let fit = Detector::fit(images).backbone(backbone, Weights::synthetic(3)).recipe(recipe);
    fit.run()?.detector.save(folder)
}
