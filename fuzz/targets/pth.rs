//! A checkpoint of the published PyTorch code: a zip file with a pickle in it.
#![no_main]

use std::sync::LazyLock;

use dualad::backbones::Backbone;
use dualad::candle_core::Device;
use dualad::{DualAd, DualAdConfig, Variant};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let path = FOLDER.path().join("fuzzed.pth");
    std::fs::write(&path, data).expect("a file to read");
    let mut config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank);
    (config.narrow_width, config.head_width, config.ffn_width, config.heads) = (4, 4, 4, 2);
    let _ = DualAd::load_pth(config, &path, &Device::Cpu);
});
