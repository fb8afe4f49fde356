//! A model's configuration, with parameters that fit the one it should be.
#![no_main]

use std::sync::LazyLock;

use dualad::Model;
use dualad::candle_core::Device;

mod common;

static MODEL: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(common::model);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Model::from_bytes(common::name(), data, &MODEL.1, &Device::Cpu);
});
