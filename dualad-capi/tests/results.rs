//! The results of the functions, as a C program reads them, are those of the library.

// Each call is one that the header allows.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use dualad::Detector;
use dualad::calibration::Decision;
use dualad::data::image::{Limits, Picture};
use dualad::detector::Request;
use dualad_capi::api::*;
use dualad_capi::*;

mod support {
    pub(crate) mod calls;
    pub(crate) mod model;
}

use support::calls::*;

#[test]
fn results_equal_those_of_the_library_on_every_thread() {
    let (detector, own) = (Loaded::new(), Detector::load(&place().model).unwrap());
    let pointer = detector.0 as usize;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let detector = std::mem::ManuallyDrop::new(Loaded(pointer as *mut DualadDetector));
                for image in &place().images {
                    let expected = own.inspect(Request::from(image).category("gear")).unwrap();
                    let found = detector.file(image, Some("gear"));
                    assert_eq!(found.score().to_bits(), expected.image_score.to_bits());
                    let (width, height, values) = found.map();
                    assert_eq!((width, height), (expected.anomaly_map.width, expected.anomaly_map.height));
                    assert_eq!(values, expected.anomaly_map.values);
                    let size = unsafe { [dualad_inspection_width(found.0), dualad_inspection_height(found.0)] };
                    assert_eq!(size, [expected.width, expected.height]);
                    let verdict = expected.verdict.unwrap();
                    assert_eq!(found.verdict() as i32, verdict.decision as i32 + 1);
                    let DualadThresholds { review, reject, region, source } = found.thresholds();
                    assert_eq!([review, reject, region], [verdict.review, verdict.reject, verdict.region]);
                    assert_eq!(source, DualadThresholdSource::Category);
                    let regions = found.regions();
                    assert_eq!(regions.len(), expected.regions.len());
                    for (found, expected) in regions.iter().zip(&expected.regions) {
                        let bounds = expected.bounds;
                        assert_eq!(
                            [found.x, found.y, found.width, found.height],
                            [bounds.x, bounds.y, bounds.width, bounds.height]
                        );
                        assert_eq!([found.centroid_x, found.centroid_y], expected.centroid);
                        assert_eq!((found.area, found.mean, found.peak), (expected.area, expected.mean, expected.peak));
                        assert_eq!([found.peak_x, found.peak_y], expected.peak_at);
                    }
                }
            });
        }
    });
    assert_eq!([Decision::Accept as i32, Decision::Review as i32, Decision::Reject as i32], [0, 1, 2]);
}

#[test]
fn files_memory_and_buffers_give_the_same_score() {
    let detector = Loaded::new();
    for image in place().images.iter().take(3) {
        let score = detector.file(image, None).score();
        let encoded = std::fs::read(image).unwrap();
        let mut found = null_mut();
        let status = unsafe { dualad_inspect_encoded(detector.0, encoded.as_ptr(), encoded.len(), null(), &mut found) };
        assert_eq!(status, DualadStatus::Ok, "{}", message());
        assert_eq!(Found(found).score().to_bits(), score.to_bits());

        let picture = Picture::read(image, &Limits::default()).unwrap();
        let size = [picture.width(), picture.height()];
        for (format, gap) in
            [(RGB8, 0), (RGB8, 5), (BGR8, 0), (BGR8, 1), (RGBA8, 0), (RGBA8, 3), (BGRA8, 0), (BGRA8, 4)]
        {
            let pixel = |rgb: &[u8]| match (format, rgb) {
                (RGB8, &[r, g, b]) => vec![r, g, b],
                (BGR8, &[r, g, b]) => vec![b, g, r],
                (RGBA8, &[r, g, b]) => vec![r, g, b, 5],
                (BGRA8, &[r, g, b]) => vec![b, g, r, 250],
                _ => unreachable!(),
            };
            let row = size[0] as usize * pixel(&[0; 3]).len();
            let mut pixels = Vec::new();
            for rgb in picture.pixels().chunks(size[0] as usize * 3) {
                pixels.extend(rgb.chunks(3).flat_map(pixel));
                pixels.extend(vec![99; gap]);
            }
            // The last row needs no gap.
            pixels.truncate(pixels.len() - gap);
            let stride = if gap == 0 { 0 } else { row + gap };
            let (status, found) = detector.buffer(&pixels, size, stride, format);
            assert_eq!(status, DualadStatus::Ok, "{}", message());
            assert_eq!(found.score().to_bits(), score.to_bits(), "{format} {gap}");
        }
    }
}

#[test]
fn unusual_names_are_paths_like_others() {
    let folder = tempfile::tempdir().unwrap();
    // Wide characters, accents, spaces, and quotes where the system allows them.
    let name = if cfg!(windows) { "模型 ñ é 🙂" } else { "模型 ñ \"é\" 'x' 🙂 \\ %s\n" };
    let model = folder.path().join(name);
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(&place().model).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    let image = model.join(format!("{name}.png"));
    std::fs::copy(&place().images[0], &image).unwrap();
    let mut detector = null_mut();
    let status = unsafe { dualad_detector_load(c(&model).as_ptr(), null(), &mut detector) };
    assert_eq!(status, DualadStatus::Ok, "{}", message());
    let detector = Loaded(detector);
    let score = detector.file(&image, None).score();
    assert_eq!(score.to_bits(), Loaded::new().file(&place().images[0], None).score().to_bits());
    // A category of any name has the pooled thresholds.
    let found = detector.file(&image, Some(name));
    assert_eq!(found.thresholds().source, DualadThresholdSource::PooledInstead);
    assert_ne!(found.verdict(), DualadVerdict::None);
    // Its name is in the error as it is.
    let status = detector.set(Some("a \"quoted\" name"), [1.0, 1.0, 1.0]);
    fails(
        status,
        DualadStatus::InvalidArgument,
        "category is \"a \"quoted\" name\"; the model was trained on gear, plate",
    );
}

#[test]
fn a_model_is_loaded_from_memory() {
    let read = |name: &str| std::fs::read(place().model.join(name)).unwrap();
    let [config, parameters, calibration] = ["config.json", "model.safetensors", "calibration.json"].map(read);
    let load = |config: &[u8], parameters: &[u8], calibration: &[u8]| {
        let mut detector = std::ptr::dangling_mut();
        let (data, length) = (calibration.as_ptr(), calibration.len());
        let calibration = if calibration.is_empty() { null() } else { data };
        let status = unsafe {
            dualad_detector_load_memory(
                config.as_ptr(),
                config.len(),
                parameters.as_ptr(),
                parameters.len(),
                null(),
                0,
                calibration,
                length,
                null(),
                &mut detector,
            )
        };
        assert_eq!(detector.is_null(), status != DualadStatus::Ok);
        (status, Loaded(detector))
    };
    let image = &place().images[0];
    let expected = Loaded::new().file(image, None);
    let (status, detector) = load(&config, &parameters, &calibration);
    assert_eq!(status, DualadStatus::Ok, "{}", message());
    let found = detector.file(image, None);
    assert_eq!((found.score().to_bits(), found.verdict()), (expected.score().to_bits(), expected.verdict()));
    let (status, detector) = load(&config, &parameters, &[]);
    assert_eq!(status, DualadStatus::Ok, "{}", message());
    assert_eq!(detector.file(image, None).verdict(), DualadVerdict::None);
    fails(load(&config[1..], &parameters, &calibration).0, DualadStatus::Model, "<bytes>");
    fails(load(&config, &parameters[1..], &calibration).0, DualadStatus::Model, "<bytes>");
    fails(load(&config, &parameters, &calibration[1..]).0, DualadStatus::Model, "calibration.json");
    fails(load(&[], &[], &[]).0, DualadStatus::Model, "<bytes>");
}

#[test]
fn options_are_used_and_checked() {
    let options = dualad_options_new();
    let image = &place().images[0];
    let load = || {
        let mut detector = null_mut();
        let status = unsafe { dualad_detector_load(c(&place().model).as_ptr(), options, &mut detector) };
        (status, Loaded(detector))
    };
    let inspect = |detector: &Loaded| {
        let mut found = null_mut();
        let status = unsafe { dualad_inspect_file(detector.0, c(image).as_ptr(), null(), &mut found) };
        (status, Found(found))
    };
    let score = inspect(&Loaded::new()).1.score();
    for threads in [0, 1, 3] {
        assert_eq!(unsafe { dualad_options_set_threads(options, threads) }, DualadStatus::Ok);
        let (status, found) = inspect(&load().1);
        assert_eq!(status, DualadStatus::Ok);
        assert!((found.score() - score).abs() <= 1e-5 * score.abs());
    }
    for threads in [1025, u32::MAX] {
        assert_eq!(unsafe { dualad_options_set_threads(options, threads) }, DualadStatus::Ok);
        fails(load().0, DualadStatus::InvalidArgument, "from 1 to 1024");
    }
    assert_eq!(unsafe { dualad_options_set_threads(options, 1) }, DualadStatus::Ok);

    assert_eq!(unsafe { dualad_options_set_max_pixels(options, 64 * 64 - 1) }, DualadStatus::Ok);
    let small = load().1;
    fails(inspect(&small).0, DualadStatus::Image, "4095");
    let (status, _) = small.buffer(&[1; 64 * 64], [64, 64], 0, GRAY8);
    fails(status, DualadStatus::Image, "4095");
    assert_eq!(unsafe { dualad_options_set_max_pixels(options, u64::MAX) }, DualadStatus::Ok);
    assert_eq!(inspect(&load().1).0, DualadStatus::Ok);

    let everything = |detector: &Loaded| {
        assert_eq!(detector.set(None, [0.0, 1e9, f32::NAN]), DualadStatus::Ok);
        let found = inspect(detector).1;
        (found.regions().len(), unsafe { dualad_inspection_regions_left_out(found.0) })
    };
    assert_eq!(everything(&load().1), (1, 0));
    assert_eq!(unsafe { dualad_options_set_regions(options, 1, 0) }, DualadStatus::Ok);
    assert_eq!(everything(&load().1), (0, 1));
    assert_eq!(unsafe { dualad_options_set_regions(options, u64::MAX, usize::MAX) }, DualadStatus::Ok);
    assert_eq!(everything(&load().1), (0, 0));

    // Settings without effect are refused.
    assert_eq!(unsafe { dualad_options_set_weights(options, c"absent".as_ptr()) }, DualadStatus::Ok);
    fails(load().0, DualadStatus::InvalidArgument, "the backbone filter-bank has no weights");
    assert_eq!(unsafe { dualad_options_set_weights(options, null()) }, DualadStatus::Ok);
    assert_eq!(load().0, DualadStatus::Ok);
    fails(unsafe { dualad_options_set_max_pixels(options, 0) }, DualadStatus::InvalidArgument, "pixels is 0");
    unsafe { dualad_options_free(options) };
}

#[test]
fn categories_are_listed() {
    let detector = Loaded::new();
    let count = unsafe { dualad_detector_category_count(detector.0) };
    let name = |index| unsafe { CStr::from_ptr(dualad_detector_category(detector.0, index)) }.to_str().unwrap();
    assert_eq!((0..count).map(name).collect::<Vec<_>>(), ["gear", "plate"]);
    for index in [2, usize::MAX] {
        assert!(unsafe { dualad_detector_category(detector.0, index) }.is_null());
        assert!(message().contains("there are 2 categories"));
    }
}

#[test]
fn thresholds_are_read_and_replaced() {
    let detector = Loaded::new();
    let image = &place().images[0];
    let score = detector.file(image, Some("gear")).score();
    let own = detector.thresholds(Some("plate"));
    assert_eq!(own.source, DualadThresholdSource::Category);
    assert_eq!(detector.thresholds(None).source, DualadThresholdSource::Pooled);
    assert_eq!(detector.thresholds(Some("cable")).source, DualadThresholdSource::PooledInstead);

    let verdict = || detector.file(image, Some("gear")).verdict();
    for (thresholds, expected) in [
        ([score, score, f32::NAN], DualadVerdict::Reject),
        ([score, score.next_up(), f32::NAN], DualadVerdict::Review),
        ([score.next_up(), score.next_up(), 0.5], DualadVerdict::Accept),
    ] {
        assert_eq!(detector.set(Some("gear"), thresholds), DualadStatus::Ok, "{}", message());
        assert_eq!(verdict(), expected);
        let read = detector.thresholds(Some("gear"));
        let region = if thresholds[2].is_nan() { thresholds[0] } else { thresholds[2] };
        assert_eq!([read.review, read.reject, read.region], [thresholds[0], thresholds[1], region]);
    }
    assert_eq!(detector.thresholds(Some("plate")), own);
    assert_eq!(detector.set(None, [1.0, 2.0, 3.0]), DualadStatus::Ok);
    assert_eq!(detector.thresholds(Some("cable")).region, 3.0);

    let bad = |category, thresholds, words: &str| {
        let before = detector.thresholds(None);
        fails(detector.set(category, thresholds), DualadStatus::InvalidArgument, words);
        assert_eq!(detector.thresholds(None), before);
    };
    bad(None, [2.0, 1.0, 1.0], "review is 2");
    bad(None, [f32::NAN, 1.0, 1.0], "review");
    bad(None, [1.0, f32::INFINITY, 1.0], "reject");
    bad(None, [1.0, 1.0, f32::NEG_INFINITY], "region is -inf");
    bad(None, [1.0, 1.0, -1.0], "region is -1");
    bad(None, [-2.0, 1.0, 1.0], "review is -2");
    bad(Some("cable"), [1.0, 1.0, 1.0], "trained on gear, plate");

    assert_eq!(unsafe { dualad_detector_clear_thresholds(detector.0) }, DualadStatus::Ok);
    let none = detector.thresholds(Some("gear"));
    assert!(none.review.is_nan() && none.source == DualadThresholdSource::None);
    let found = detector.file(image, Some("gear"));
    assert_eq!((found.verdict(), found.thresholds().source), (DualadVerdict::None, DualadThresholdSource::None));
    assert_eq!((found.score().to_bits(), found.regions().len()), (score.to_bits(), 0));
    // The first thresholds of a detector that has none.
    assert_eq!(detector.set(Some("gear"), [score, score, f32::NAN]), DualadStatus::Ok);
    assert_eq!(verdict(), DualadVerdict::Reject);
    assert_eq!(detector.thresholds(None).source, DualadThresholdSource::None);
}

/// Each inspection has thresholds that were set together.
#[test]
fn thresholds_change_while_other_threads_inspect() {
    let detector = Loaded::new();
    assert_eq!(detector.set(None, [0.0, 0.0, 0.0]), DualadStatus::Ok);
    let pointer = detector.0 as usize;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let detector = std::mem::ManuallyDrop::new(Loaded(pointer as *mut DualadDetector));
            for step in (0..u16::MAX).cycle().take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)) {
                let value = f32::from(step % 100);
                assert_eq!(detector.set(None, [value, value, value]), DualadStatus::Ok);
            }
        });
        for _ in 0..20 {
            let DualadThresholds { review, reject, region, .. } = detector.file(&place().images[0], None).thresholds();
            assert!(review == reject && reject == region);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn maps_are_copied_into_arrays_that_are_long_enough() {
    let detector = Loaded::new();
    let found = detector.file(&place().images[0], None);
    drop(detector);
    // The inspection does not need the detector.
    let (width, height, values) = found.map();
    let (wide, high) = (width as u32, height as u32);
    let copy = |width, height, length: usize| {
        let mut values = vec![-1.0f32; length];
        let status = unsafe { dualad_inspection_copy_map(found.0, width, height, values.as_mut_ptr(), length) };
        (status, values)
    };
    let (status, copied) = copy(wide, high, width * height + 1);
    assert_eq!(status, DualadStatus::Ok);
    assert_eq!((&copied[..width * height], copied[width * height]), (values, -1.0));
    let (status, copied) = copy(2 * wide, high, 2 * width * height);
    assert_eq!(status, DualadStatus::Ok);
    assert!(copied.iter().all(|value| *value >= 0.0));
    for (size, length) in [([wide, high], width * height - 1), ([u32::MAX, u32::MAX], 9), ([1, u32::MAX], 9)] {
        let (status, copied) = copy(size[0], size[1], length);
        fails(status, DualadStatus::InvalidArgument, "length is");
        assert!(copied.iter().all(|value| *value == -1.0));
    }
    fails(copy(0, 1, 9).0, DualadStatus::InvalidArgument, "size is 0 x 1");
    let mut value = 0.0;
    let status = unsafe { dualad_inspection_copy_map(found.0, 1, 1, &mut value, usize::MAX) };
    fails(status, DualadStatus::InvalidArgument, "values cannot have");
    let mut region = NO_REGION;
    let status = unsafe { dualad_inspection_region(found.0, usize::MAX, &mut region) };
    fails(status, DualadStatus::InvalidArgument, "there are");
}

#[test]
fn versions_are_those_of_the_package() {
    assert_eq!(unsafe { CStr::from_ptr(dualad_version()) }.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(dualad_abi_version(), DUALAD_ABI_VERSION);
}

#[test]
fn structures_have_no_padding() {
    assert_eq!((size_of::<DualadRegion>(), size_of::<DualadThresholds>()), (8 * 4 + 4 * 8, 4 * 4));
}

#[test]
fn objects_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<DualadDetector>();
    shared::<DualadInspection>();
}
