//! The functions of [`DualadOptions`].

use std::ffi::c_char;
use std::path::Path;

use crate::border::{call, value};
use crate::failure::Failure;
use crate::options::DualadOptions;
use crate::pointers::{free, give, object_mut, optional_text, path};
use crate::status::DualadStatus;

/// Makes settings, all with their defaults. Free them with `dualad_options_free`. Returns NULL if it fails.
#[unsafe(no_mangle)]
pub extern "C" fn dualad_options_new() -> *mut DualadOptions {
    value(std::ptr::null_mut(), || Ok(give(DualadOptions::default())))
}

/// Frees settings. NULL is allowed. Detectors that were loaded with them are not affected.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_options_free(options: *mut DualadOptions) {
    call(|| {
        // SAFETY: The caller gives what `dualad_options_new` returned, once, and uses it no more (header, rules).
        unsafe { free(options) };
        Ok(())
    });
}

/// Sets the number of threads that a detector computes on: 1 to 1024, threads of its own, which end with the detector. 0, the default,
/// is threads that all detectors share, one for each core. The number is checked when a model is loaded.
///
/// Callers of the same threads take turns in the order in which they came: one at a time, or one for each 4 threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_options_set_threads(options: *mut DualadOptions, threads: u32) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointer is NULL or valid, and no other thread uses the settings (header, rules).
        unsafe { object_mut(options, "options") }?.threads = threads;
        Ok(())
    })
}

/// Sets the file of the backbone's weights, a safetensors or PyTorch file. NULL, the default: the file in the model's folder, or else
/// the file that its configuration names. They must be the weights that the model was trained with; their digest is compared. A model
/// whose backbone has no weights is not loaded with such settings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_options_set_weights(
    options: *mut DualadOptions,
    weights: *const c_char,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid, and no other thread uses the settings (header, rules).
        let (options, given) = unsafe { (object_mut(options, "options")?, optional_text(weights, "weights")?) };
        options.weights = match given {
            None => None,
            // SAFETY: As before.
            Some(_) => Some(unsafe { path(weights, "weights") }.map(Path::to_path_buf)?),
        };
        Ok(())
    })
}

/// Sets the largest image in pixels, width times height. Default: 100 million. Above the default, the limits of a file's size and of
/// the memory for decoding grow with it. A larger image is refused with DUALAD_STATUS_IMAGE before memory is taken. 0 is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_options_set_max_pixels(options: *mut DualadOptions, pixels: u64) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointer is NULL or valid, and no other thread uses the settings (header, rules).
        let options = unsafe { object_mut(options, "options") }?;
        if pixels == 0 {
            return Err(Failure::argument("pixels", "is 0, which no image has; give at least 1"));
        }
        options.pixels = Some(pixels);
        Ok(())
    })
}

/// Sets the selection of the defect regions: their least area in pixels of the anomaly map (default: 1), and the most that are listed,
/// the most severe first (default: 100).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_options_set_regions(
    options: *mut DualadOptions,
    min_area: u64,
    max_regions: usize,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointer is NULL or valid, and no other thread uses the settings (header, rules).
        let options = unsafe { object_mut(options, "options") }?;
        options.regions = options.regions.with_min_area(min_area).with_max_regions(max_regions);
        Ok(())
    })
}
