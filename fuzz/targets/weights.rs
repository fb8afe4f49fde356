//! A backbone's weights as safetensors.
#![no_main]

use dualad::backbones::{Backbone, Weights};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Backbone::ResNet18.extractor().weights(Weights::bytes(data.to_vec())).build();
});
