#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dualad_fuzz::readers::pytorch(data));
