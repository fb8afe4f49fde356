#![no_main]

#[allow(dead_code)]
#[path = "../src/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::weights(data));
