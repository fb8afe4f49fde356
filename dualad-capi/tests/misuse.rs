//! Calls that a C program gets wrong: each is an error with a text.

// Each call is one that the header allows.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::c_char;
use std::path::Path;
use std::ptr::{null, null_mut};

use dualad_capi::api::*;
use dualad_capi::*;

mod support {
    pub(crate) mod calls;
    pub(crate) mod model;
}

use support::calls::*;

#[test]
fn a_buffer_that_does_not_match_is_an_error() {
    let detector = Loaded::new();
    let pixels = vec![128; 300];
    let bad = |size, stride, format, words: &str| {
        let (status, _) = detector.buffer(&pixels, size, stride, format);
        fails(status, DualadStatus::InvalidArgument, words);
    };
    assert_eq!(detector.buffer(&pixels, [10, 10], 0, RGB8).0, DualadStatus::Ok);
    assert_eq!(detector.buffer(&pixels, [10, 10], 10, GRAY8).0, DualadStatus::Ok);
    bad([10, 10], 29, RGB8, "stride cannot be 29 bytes: a row of 10 pixels of 3 bytes is longer");
    bad([10, 10], 31, RGB8, "309");
    bad([10, 11], 0, RGB8, "330");
    bad([0, 10], 0, RGB8, "0x10");
    bad([10, 0], 0, GRAY8, "10x0");
    bad([u32::MAX, u32::MAX], 0, BGR8, "4294967295x4294967295");
    bad([u32::MAX, 1], 0, GRAY8, "4294967295x1");
    bad([1, u32::MAX], usize::MAX, GRAY8, "more than any memory");
    bad([10, 10], usize::MAX, GRAY8, "more than any memory");
    for format in [0, -1, 6, i32::MAX, i32::MIN] {
        bad([10, 10], 0, format, "DualadPixelFormat");
    }
    // Longer than any memory: the pointer is not followed.
    for length in [usize::MAX, isize::MAX as usize + 1] {
        let mut found = std::ptr::dangling_mut();
        let start = pixels.as_ptr();
        let status = unsafe { dualad_inspect_buffer(detector.0, start, length, 10, 10, 0, RGB8, null(), &mut found) };
        fails(status, DualadStatus::InvalidArgument, "pixels cannot have");
        assert!(found.is_null());
        let status = unsafe { dualad_inspect_encoded(detector.0, start, length, null(), &mut found) };
        fails(status, DualadStatus::InvalidArgument, "encoded cannot have");
    }
    // An empty file is no image.
    let mut found = null_mut();
    let status = unsafe { dualad_inspect_encoded(detector.0, pixels.as_ptr(), 0, null(), &mut found) };
    fails(status, DualadStatus::Image, "the image in memory");
    let status = unsafe { dualad_inspect_encoded(detector.0, pixels.as_ptr(), 300, null(), &mut found) };
    fails(status, DualadStatus::Image, "the image in memory");
}

/// Every pointer of every function, one after the other.
#[test]
fn null_pointers_are_errors() {
    use DualadStatus::InvalidArgument;
    let (detector, options) = (Loaded::new(), dualad_options_new());
    let image = c(&place().images[0]);
    let found = detector.file(&place().images[0], None);
    let name = c"x".as_ptr();
    let pixels = [0u8; 4];
    let data = pixels.as_ptr();
    let (mut to_detector, mut to_inspection) = (null_mut(), null_mut());
    unsafe {
        dualad_options_free(null_mut());
        dualad_detector_free(null_mut());
        dualad_inspection_free(null_mut());
        let null_is = |status, name: &str| fails(status, InvalidArgument, &format!("{name} is NULL"));

        null_is(dualad_options_set_threads(null_mut(), 1), "options");
        null_is(dualad_options_set_weights(null_mut(), name), "options");
        null_is(dualad_options_set_max_pixels(null_mut(), 1), "options");
        null_is(dualad_options_set_regions(null_mut(), 1, 1), "options");
        assert_eq!(dualad_options_set_weights(options, null()), DualadStatus::Ok);

        null_is(dualad_detector_load(null(), options, &mut to_detector), "folder");
        null_is(dualad_detector_load(name, options, null_mut()), "detector");
        let load = |config, parameters, to| {
            dualad_detector_load_memory(config, 4, parameters, 4, null(), 0, null(), 0, options, to)
        };
        null_is(load(null(), data, &mut to_detector), "config");
        null_is(load(data, null(), &mut to_detector), "parameters");
        null_is(load(data, data, null_mut()), "detector");
        let mut lengths = |backbone, calibration| {
            let (files, to) = ((data, 4), &mut to_detector);
            dualad_detector_load_memory(
                files.0,
                files.1,
                files.0,
                files.1,
                null(),
                backbone,
                null(),
                calibration,
                options,
                to,
            )
        };
        null_is(lengths(1, 0), "backbone");
        null_is(lengths(0, 1), "calibration");

        let mut thresholds = NO_THRESHOLDS;
        null_is(dualad_detector_thresholds(null(), null(), &mut thresholds), "detector");
        null_is(dualad_detector_thresholds(detector.0, null(), null_mut()), "thresholds");
        null_is(dualad_detector_set_thresholds(null(), null(), 1.0, 2.0, 1.0), "detector");
        null_is(dualad_detector_clear_thresholds(null()), "detector");
        assert_eq!(dualad_detector_category_count(null()), 0);
        assert!(dualad_detector_category(null(), 0).is_null());

        let buffer = |detector, pixels, to| dualad_inspect_buffer(detector, pixels, 4, 2, 2, 0, GRAY8, null(), to);
        null_is(buffer(null(), data, &mut to_inspection), "detector");
        null_is(buffer(detector.0, null(), &mut to_inspection), "pixels");
        null_is(buffer(detector.0, data, null_mut()), "inspection");
        null_is(dualad_inspect_encoded(null(), data, 4, null(), &mut to_inspection), "detector");
        null_is(dualad_inspect_encoded(detector.0, null(), 4, null(), &mut to_inspection), "encoded");
        null_is(dualad_inspect_encoded(detector.0, null(), 0, null(), &mut to_inspection), "encoded");
        null_is(dualad_inspect_encoded(detector.0, data, 4, null(), null_mut()), "inspection");
        null_is(dualad_inspect_file(null(), image.as_ptr(), null(), &mut to_inspection), "detector");
        null_is(dualad_inspect_file(detector.0, null(), null(), &mut to_inspection), "file");
        null_is(dualad_inspect_file(detector.0, image.as_ptr(), null(), null_mut()), "inspection");

        assert!(dualad_inspection_score(null()).is_nan());
        assert_eq!(dualad_inspection_verdict(null()), DualadVerdict::None);
        assert_eq!((dualad_inspection_width(null()), dualad_inspection_height(null())), (0, 0));
        assert_eq!((dualad_inspection_region_count(null()), dualad_inspection_regions_left_out(null())), (0, 0));
        assert_eq!(message(), "inspection is NULL");
        null_is(dualad_inspection_thresholds(null(), &mut thresholds), "inspection");
        null_is(dualad_inspection_thresholds(found.0, null_mut()), "thresholds");
        let (mut values, mut width, mut height) = (null(), 0, 0);
        null_is(dualad_inspection_map(null(), &mut values, &mut width, &mut height), "inspection");
        null_is(dualad_inspection_map(found.0, null_mut(), &mut width, &mut height), "values");
        null_is(dualad_inspection_map(found.0, &mut values, null_mut(), &mut height), "width");
        null_is(dualad_inspection_map(found.0, &mut values, &mut width, null_mut()), "height");
        null_is(dualad_inspection_copy_map(null(), 1, 1, [0.0f32].as_mut_ptr(), 1), "inspection");
        null_is(dualad_inspection_copy_map(found.0, 1, 1, null_mut(), 1), "values");
        let mut region = NO_REGION;
        null_is(dualad_inspection_region(null(), 0, &mut region), "inspection");
        null_is(dualad_inspection_region(found.0, 0, null_mut()), "region");
        dualad_options_free(options);
    }
    assert!(to_detector.is_null() && to_inspection.is_null());
    assert_eq!(thresholds_are_untouched(), NO_THRESHOLDS);
}

fn thresholds_are_untouched() -> DualadThresholds {
    let mut thresholds = NO_THRESHOLDS;
    let status = unsafe { dualad_detector_thresholds(null(), null(), &mut thresholds) };
    assert_eq!(status, DualadStatus::InvalidArgument);
    thresholds
}

#[test]
fn pointers_that_are_not_aligned_are_errors() {
    let detector = Loaded::new();
    let found = detector.file(&place().images[0], None);
    let mut memory = [0u64; 32];
    let odd = memory.as_mut_ptr().cast::<u8>().wrapping_add(1);
    unsafe {
        let status = dualad_inspection_region(found.0, 0, odd.cast());
        fails(status, DualadStatus::InvalidArgument, "region is not aligned to 8 bytes");
        let status = dualad_inspection_copy_map(found.0, 1, 1, odd.cast(), 1);
        fails(status, DualadStatus::InvalidArgument, "values is not aligned to 4 bytes");
        let status = dualad_detector_clear_thresholds(odd.cast());
        fails(status, DualadStatus::InvalidArgument, "detector is not aligned");
    }
}

#[test]
fn texts_that_are_not_utf_8_are_errors() {
    let detector = Loaded::new();
    let wrong = c"part\xff.png".as_ptr();
    let image = c(&place().images[0]);
    let (mut to_detector, mut found) = (null_mut(), null_mut());
    let options = dualad_options_new();
    unsafe {
        let bad = |status, words: &str| fails(status, DualadStatus::InvalidArgument, words);
        bad(dualad_detector_load(wrong, null(), &mut to_detector), "folder is not UTF-8 text: its byte number 4");
        bad(dualad_inspect_file(detector.0, wrong, null(), &mut found), "file is not UTF-8");
        bad(dualad_inspect_file(detector.0, image.as_ptr(), wrong, &mut found), "category is not UTF-8");
        bad(dualad_detector_set_thresholds(detector.0, wrong, 1.0, 1.0, 1.0), "category is not UTF-8");
        bad(dualad_options_set_weights(options, wrong), "weights is not UTF-8");
        // An empty path would be the current folder.
        bad(dualad_detector_load(c"".as_ptr(), null(), &mut to_detector), "folder is empty");
        bad(dualad_inspect_file(detector.0, c"".as_ptr(), null(), &mut found), "file is empty");
        bad(dualad_options_set_weights(options, c"".as_ptr()), "weights is empty");
        dualad_options_free(options);
    }
}

#[test]
fn folders_that_are_no_model_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| {
        let mut detector = std::ptr::dangling_mut();
        let status = unsafe { dualad_detector_load(c(path).as_ptr(), null(), &mut detector) };
        assert!(detector.is_null());
        status
    };
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    fails(load(&file), DualadStatus::Model, "file");
    fails(load(&folder.path().join("absent")), DualadStatus::Model, "absent: there is no such folder");
    fails(load(folder.path()), DualadStatus::Model, "config.json");
    std::fs::write(folder.path().join("config.json"), "{\"format\": \"\0\"}").unwrap();
    std::fs::write(folder.path().join("model.safetensors"), "").unwrap();
    fails(load(folder.path()), DualadStatus::Model, folder.path().to_str().unwrap());
}

#[test]
fn the_text_of_an_error_stays_until_the_next() {
    assert_eq!(message(), "");
    let status = unsafe { dualad_detector_clear_thresholds(null()) };
    fails(status, DualadStatus::InvalidArgument, "detector is NULL");
    let text: *const c_char = dualad_last_error_message();
    drop(Loaded::new());
    assert_eq!(text, dualad_last_error_message());
    assert_eq!(message(), "detector is NULL");
}
