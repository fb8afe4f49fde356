//! The functions that inspect an image.

use std::ffi::c_char;

use dualad::detector::Request;

use crate::border::call;
use crate::detector::DualadDetector;
use crate::image::frame;
use crate::inspection::DualadInspection;
use crate::pointers::{bytes, give, object, optional_text, path, result};
use crate::status::DualadStatus;

/// Inspects an image in memory, such as a camera's buffer of `length` bytes at `pixels`. Rows follow each other from top to bottom,
/// `stride` bytes from the start of one to the start of the next; 0 is rows without gaps. `format` is a DualadPixelFormat. The buffer
/// may be longer than the image; the last row needs no gap. `category` may be NULL; it selects the thresholds, and does not affect the
/// score. Free the inspection with `dualad_inspection_free`.
///
/// Errors: DUALAD_STATUS_INVALID_ARGUMENT if size, stride and format do not match the buffer; DUALAD_STATUS_IMAGE for an image above
/// the limit of pixels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspect_buffer(
    detector: *const DualadDetector,
    pixels: *const u8,
    length: usize,
    width: u32,
    height: u32,
    stride: usize,
    format: i32,
    category: *const c_char,
    inspection: *mut *mut DualadInspection,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let inspection = unsafe { result(inspection, "inspection") }?.write(std::ptr::null_mut());
        // SAFETY: As before, `pixels` for `length` bytes.
        let (detector, pixels, category) = unsafe {
            (object(detector, "detector")?, bytes(pixels, length, "pixels")?, optional_text(category, "category")?)
        };
        let frame = frame(pixels, width, height, stride, format)?;
        *inspection = give(detector.inspect(Request::from(frame), category)?);
        Ok(())
    })
}

/// Inspects the content of an image file of `length` bytes: png, jpg, bmp, tiff, webp, gif or pnm. `category` is as for
/// `dualad_inspect_buffer`. Free the inspection with `dualad_inspection_free`.
///
/// Errors: DUALAD_STATUS_IMAGE for an image that cannot be decoded or exceeds the limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspect_encoded(
    detector: *const DualadDetector,
    encoded: *const u8,
    length: usize,
    category: *const c_char,
    inspection: *mut *mut DualadInspection,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let inspection = unsafe { result(inspection, "inspection") }?.write(std::ptr::null_mut());
        // SAFETY: As before, `encoded` for `length` bytes.
        let (detector, encoded, category) = unsafe {
            (object(detector, "detector")?, bytes(encoded, length, "encoded")?, optional_text(category, "category")?)
        };
        *inspection = give(detector.inspect(Request::encoded(encoded, "the image in memory"), category)?);
        Ok(())
    })
}

/// Inspects an image file. `file` is its path. `category` is as for `dualad_inspect_buffer`. Free the inspection with
/// `dualad_inspection_free`.
///
/// Errors: DUALAD_STATUS_SYSTEM for a file that cannot be read, DUALAD_STATUS_IMAGE for one that cannot be decoded or exceeds the
/// limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspect_file(
    detector: *const DualadDetector,
    file: *const c_char,
    category: *const c_char,
    inspection: *mut *mut DualadInspection,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let inspection = unsafe { result(inspection, "inspection") }?.write(std::ptr::null_mut());
        // SAFETY: As before.
        let (detector, file, category) =
            unsafe { (object(detector, "detector")?, path(file, "file")?, optional_text(category, "category")?) };
        *inspection = give(detector.inspect(Request::from(file), category)?);
        Ok(())
    })
}
