//! A small model of a ResNet, which computes in int8 and has an ONNX file.

use std::path::Path;

use dualad::backbones::{Backbone, Weights};
use dualad::{Detector, Variant};

use super::config::CONFIG;
use super::parts::write_parts;

/// Trains a small model of ResNet-18 with synthetic weights and a bank: the folders `data` and `model`.
pub(crate) fn train(folder: &Path) {
    write_parts(&folder.join("data"), 8);
    let mut recipe =
        dualad::recipe::Recipe::fast(Variant::Heterogeneous, Backbone::ResNet18).with_json("CONFIG", CONFIG).unwrap();
    recipe.train.epochs = 1;
    recipe.bank = recipe.bank.map(|bank| bank.with_tokens(40).with_dims(16));
    let fit = Detector::fit(folder.join("data")).backbone(Backbone::ResNet18, Weights::synthetic(1)).recipe(recipe);
    fit.run().unwrap().detector.save(folder.join("model")).unwrap();
}
