//! Calibration as JSON that somebody edited; those that are read are written and read again, the same.
#![no_main]

use dualad::calibration::Calibration;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(calibration) = Calibration::from_json("fuzzed", text) {
        let written = calibration.to_json().expect("what was read can be written");
        let again = Calibration::from_json("written", &written).expect("what was written can be read");
        assert_eq!(again.to_json().expect("as above"), written);
    }
});
