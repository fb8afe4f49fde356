//! The functions of [`DualadInspection`].

use crate::border::{call, value};
use crate::inspection::{DualadInspection, DualadRegion, DualadVerdict};
use crate::pointers::{array, free, object, result};
use crate::status::DualadStatus;
use crate::thresholds::DualadThresholds;

/// Frees an inspection, with its anomaly map. NULL is allowed. No other thread may use it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_free(inspection: *mut DualadInspection) {
    call(|| {
        // SAFETY: The caller gives what an inspecting function returned, once, and no thread uses it any more (header, rules).
        unsafe { free(inspection) };
        Ok(())
    });
}

/// Returns the image score, from 0 to 1e18; larger is more anomalous. It is not a probability. NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_score(inspection: *const DualadInspection) -> f32 {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(f32::NAN, || Ok(unsafe { object(inspection, "inspection") }?.score()))
}

/// Returns the decision; DUALAD_VERDICT_NONE if the detector had no thresholds, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_verdict(inspection: *const DualadInspection) -> DualadVerdict {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(DualadVerdict::None, || Ok(unsafe { object(inspection, "inspection") }?.verdict()))
}

/// Reads the thresholds that decided. `thresholds->source` tells whether the image's category was found; it is
/// DUALAD_THRESHOLD_SOURCE_NONE if the detector had no thresholds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_thresholds(
    inspection: *const DualadInspection,
    thresholds: *mut DualadThresholds,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let (inspection, thresholds) =
            unsafe { (object(inspection, "inspection")?, result(thresholds, "thresholds")?) };
        thresholds.write(inspection.thresholds());
        Ok(())
    })
}

/// Returns the number of columns of the image; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_width(inspection: *const DualadInspection) -> u32 {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(0, || Ok(unsafe { object(inspection, "inspection") }?.size()[0]))
}

/// Returns the number of rows of the image; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_height(inspection: *const DualadInspection) -> u32 {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(0, || Ok(unsafe { object(inspection, "inspection") }?.size()[1]))
}

/// Reads the anomaly map at its own size, that of the network's input: `height` rows of `width` values, from 0 to 1e18; larger is more
/// anomalous. The values at `values` belong to the inspection, and are valid until it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_map(
    inspection: *const DualadInspection,
    values: *mut *const f32,
    width: *mut usize,
    height: *mut usize,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let (inspection, values, width, height) = unsafe {
            let size = (result(width, "width")?, result(height, "height")?);
            (object(inspection, "inspection")?, result(values, "values")?, size.0, size.1)
        };
        let map = inspection.map();
        values.write(map.values.as_ptr());
        width.write(map.width);
        height.write(map.height);
        Ok(())
    })
}

/// Copies the anomaly map to the caller's array of `length` values, resized to `height` rows of `width` values (bilinear), such as the
/// size of the image. At its own size the values are copied as they are.
///
/// Errors: DUALAD_STATUS_INVALID_ARGUMENT if the array has fewer than `width * height` values; nothing is then written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_copy_map(
    inspection: *const DualadInspection,
    width: u32,
    height: u32,
    values: *mut f32,
    length: usize,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid, `values` for `length` values (header, rules).
        let (inspection, values) = unsafe { (object(inspection, "inspection")?, array(values, length, "values")?) };
        inspection.copy_map([width, height], values)
    })
}

/// Returns the number of defect regions that are listed. 0 if the detector had no thresholds, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_region_count(inspection: *const DualadInspection) -> usize {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(0, || Ok(unsafe { object(inspection, "inspection") }?.region_count()))
}

/// Returns the number of less severe regions that are not listed (`dualad_options_set_regions`); 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_regions_left_out(inspection: *const DualadInspection) -> usize {
    // SAFETY: The caller's pointer is NULL or valid (header, rules).
    value(0, || Ok(unsafe { object(inspection, "inspection") }?.regions_left_out()))
}

/// Reads a defect region, `index` from 0; the most severe is the first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dualad_inspection_region(
    inspection: *const DualadInspection,
    index: usize,
    region: *mut DualadRegion,
) -> DualadStatus {
    call(|| {
        // SAFETY: The caller's pointers are NULL or valid (header, rules).
        let (inspection, region) = unsafe { (object(inspection, "inspection")?, result(region, "region")?) };
        region.write(inspection.region(index)?);
        Ok(())
    })
}
