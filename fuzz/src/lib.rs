//! Fuzz targets for every reader of outside bytes: files, JSON, and HTTP requests.
//!
//! A target is a function that takes any bytes and must not panic. `fuzz/run` calls them with libFuzzer; the test `readers` of
//! this crate calls them with seeds and randomly damaged seeds, and needs no fuzzer.

mod images;
pub mod readers;
pub mod requests;
pub mod seeds;
#[path = "../../dualad-data/tests/support/tiff.rs"]
mod tiff_parts;
