//! An encoded picture, and an encoded mask.
#![no_main]

use dualad::data::image::{Limits, Mask, Picture, Preprocess};
use dualad::data::MaskRule;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // What is decoded is looked at, too: small, so that many are.
    let limits = Limits::default().pixels(1 << 20).memory(64 << 20);
    if let Ok(picture) = Picture::decode(data, "fuzzed", &limits) {
        assert_eq!(picture.pixels().len(), 3 * picture.width() as usize * picture.height() as usize);
        let pixels = Preprocess::new(32, 48).and_then(|preprocess| preprocess.pixels(&picture)).expect("a picture's pixels");
        assert!(pixels.iter().all(|value| value.is_finite()));
    }
    let _ = Mask::decode(data, "fuzzed", MaskRule::NonZero, &limits);
});
