//! The functions of [`DualadDetector`], without those that inspect.

use std::ffi::{CStr, c_char};

use dualad::Detector;
use dualad::detector::{DetectorBuilder, ModelBytes};

use crate::border::{call, value};
use crate::detector::DualadDetector;
use crate::failure::Failure;
use crate::options::DualadOptions;
use crate::pointers::{bytes, free, give, object, optional_bytes, optional_text, path, result};
use crate::status::DualadStatus;
use crate::thresholds::{DualadThresholds, given};

/// Loads a detector with the caller's settings, or with the default ones for NULL.
///
/// # Safety
/// The pointer is NULL or valid, and no other thread changes the settings.
unsafe fn load(
    options: *const DualadOptions,
    load: impl FnOnce(DetectorBuilder) -> Result<Detector, dualad::Error>,
) -> Result<*mut DualadDetector, Failure> {
    let default = DualadOptions::default();
    // SAFETY: The caller answers for it.
    let options = if options.is_null() { &default } else { unsafe { object(options, "options") }? };
    Ok(give(DualadDetector::new(load(options.builder())?)))
}

/// Loads the folder of a trained model. `folder` is its path; `options` may be NULL for the default settings. Free the detector with
/// `dualad_detector_free`.
///
/// Errors: DUALAD_STATUS_MODEL for a folder without a model and for files that cannot be used, DUALAD_STATUS_SYSTEM for files that
/// cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_load(
    folder: *const c_char,
    options: *const DualadOptions,
    detector: *mut *mut DualadDetector,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let detector = unsafe { result(detector, "detector") }?.write(std::ptr::null_mut());
        // SAFETY: As before.
        unsafe {
            let folder = path(folder, "folder")?;
            *detector = load(options, |builder| builder.load(folder))?;
        }
        Ok(())
    })
}

/// Loads a model from memory, without access to files. Each file has a pointer and its length in bytes: `config` is the content of
/// `config.json`, `parameters` that of `model.safetensors`. `backbone`, the file of the backbone's weights, is NULL for a backbone
/// without weights, and if `dualad_options_set_weights` names a file. `calibration`, the content of `calibration.json`, is NULL for no
/// thresholds. The memory may be freed after the call. Free the detector with `dualad_detector_free`.
///
/// Errors: DUALAD_STATUS_MODEL for files that cannot be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_load_memory(
    config: *const u8,
    config_length: usize,
    parameters: *const u8,
    parameters_length: usize,
    backbone: *const u8,
    backbone_length: usize,
    calibration: *const u8,
    calibration_length: usize,
    options: *const DualadOptions,
    detector: *mut *mut DualadDetector,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let detector = unsafe { result(detector, "detector") }?.write(std::ptr::null_mut());
        // SAFETY: As before, each for its length.
        unsafe {
            let files = ModelBytes {
                config: bytes(config, config_length, "config")?,
                parameters: bytes(parameters, parameters_length, "parameters")?,
                backbone: optional_bytes(backbone, backbone_length, "backbone")?,
                calibration: optional_bytes(calibration, calibration_length, "calibration")?,
            };
            *detector = load(options, |builder| builder.from_bytes(&files))?;
        }
        Ok(())
    })
}

/// Frees a detector, and its threads if it has some of its own. NULL is allowed. No other thread may use the detector any more.
/// Results of its inspections stay valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_free(detector: *mut DualadDetector) {
    call(|| {
        // SAFETY: The caller gives what a loading function returned, once, and no thread uses it any more (header, rules).
        unsafe { free(detector) };
        Ok(())
    });
}

/// Returns the number of categories (products) that the model was trained on; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_category_count(detector: *const DualadDetector) -> usize {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(0, || Ok(unsafe { object(detector, "detector") }?.categories().len()))
}

/// Returns the name of a category, `index` from 0; NULL if `index` is too large or the detector is NULL. The text is valid until the
/// detector is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_category(detector: *const DualadDetector, index: usize) -> *const c_char {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(std::ptr::null(), || unsafe { object(detector, "detector") }?.category(index).map(CStr::as_ptr))
}

/// Reads the thresholds that decide on images of a category; `category` is NULL for images without one. Without thresholds the status
/// is DUALAD_STATUS_OK and `thresholds->source` is DUALAD_THRESHOLD_SOURCE_NONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_thresholds(
    detector: *const DualadDetector,
    category: *const c_char,
    thresholds: *mut DualadThresholds,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let (detector, category, thresholds) = unsafe {
            let category = optional_text(category, "category")?;
            (object(detector, "detector")?, category, result(thresholds, "thresholds")?)
        };
        thresholds.write(detector.thresholds(category));
        Ok(())
    })
}

/// Replaces the thresholds of a category that the model was trained on, or for `category` NULL the pooled ones, which decide on images
/// without a category and of categories without thresholds. The model's folder is not changed.
///
/// `review` must be at most `reject`. All are finite and at least 0; `region` may be NaN for the value of `review`. Other threads may
/// inspect meanwhile: an inspection that has begun is decided by the thresholds that it began with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_set_thresholds(
    detector: *const DualadDetector,
    category: *const c_char,
    review: f32,
    reject: f32,
    region: f32,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let (detector, category) = unsafe { (object(detector, "detector")?, optional_text(category, "category")?) };
        detector.set_thresholds(category, given(review, reject, region)?)
    })
}

/// Removes all thresholds. Inspections then have a score and no verdict. Other threads may inspect meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_detector_clear_thresholds(detector: *const DualadDetector) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointer is NULL or valid (header, rules).
        unsafe { object(detector, "detector") }?.clear_thresholds();
        Ok(())
    })
}
