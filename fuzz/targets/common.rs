//! A small model, for targets that need one.

use std::path::Path;

use dualad::backbones::Backbone;
use dualad::candle_core::Device;
use dualad::{DualAd, DualAdConfig, Model, Random, Variant};

/// Its configuration and its parameters, as `Model::save` writes them.
pub fn model() -> (Vec<u8>, Vec<u8>) {
    let mut config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank);
    (config.narrow_width, config.head_width, config.ffn_width, config.heads) = (4, 4, 4, 2);
    (config.encoder_layers, config.memory_slots) = (1, 3);
    let network = DualAd::new(config, &Random::new(0), &Device::Cpu).expect("a small network");
    let extractor = Backbone::FilterBank.extractor().build().expect("a filter bank");
    let model = Model::new(network, Backbone::FilterBank, &[1, 2, 3], extractor.provenance().clone());
    let folder = tempfile::tempdir().expect("a folder");
    model.save(folder.path(), "").expect("a saved model");
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("the model's file");
    (read("config.json"), read("model.safetensors"))
}

#[allow(dead_code)]
pub fn name() -> &'static Path {
    Path::new("fuzzed")
}
