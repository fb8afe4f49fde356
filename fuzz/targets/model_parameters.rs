//! A model's parameters, with a configuration that fits those they should be.
#![no_main]

use std::sync::LazyLock;

use dualad::Model;
use dualad::backbones::weights::sha256;
use dualad::candle_core::Device;

mod common;

static MODEL: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(common::model);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The configuration names its parameters' digest: it is made to fit, or nothing else would be looked at.
    let config = String::from_utf8_lossy(&MODEL.0).replace(&sha256(&MODEL.1), &sha256(data));
    let _ = Model::from_bytes(common::name(), config.as_bytes(), data, &Device::Cpu);
});
