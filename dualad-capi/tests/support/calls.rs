//! Calls of the functions that must succeed, and the model of the tests.

// Each call is one that the header allows. Not every test uses all of them.
#![allow(clippy::undocumented_unsafe_blocks, dead_code)]

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use dualad_capi::api::*;
use dualad_capi::*;

pub(crate) const GRAY8: i32 = DualadPixelFormat::Gray8 as i32;
pub(crate) const RGB8: i32 = DualadPixelFormat::Rgb8 as i32;
pub(crate) const BGR8: i32 = DualadPixelFormat::Bgr8 as i32;
pub(crate) const RGBA8: i32 = DualadPixelFormat::Rgba8 as i32;
pub(crate) const BGRA8: i32 = DualadPixelFormat::Bgra8 as i32;

/// A model and images, written once for all tests.
pub(crate) struct Place {
    _folder: tempfile::TempDir,
    pub(crate) model: PathBuf,
    pub(crate) images: Vec<PathBuf>,
}

pub(crate) fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let images = super::model::write_model(folder.path());
        Place { model: folder.path().join("model"), images, _folder: folder }
    })
}

pub(crate) fn c(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().to_str().unwrap()).unwrap()
}

pub(crate) fn message() -> String {
    unsafe { CStr::from_ptr(dualad_last_error_message()) }.to_str().unwrap().to_owned()
}

/// Checks that a call failed in this way, and that its text has these words.
#[track_caller]
pub(crate) fn fails(status: DualadStatus, expected: DualadStatus, words: &str) {
    assert_eq!(status, expected, "{}", message());
    assert!(message().contains(words), "{:?} has not {words:?}", message());
}

/// A loaded detector.
pub(crate) struct Loaded(pub(crate) *mut DualadDetector);

impl Loaded {
    pub(crate) fn new() -> Self {
        Self::with(null())
    }

    pub(crate) fn with(options: *const DualadOptions) -> Self {
        let mut detector = null_mut();
        let status = unsafe { dualad_detector_load(c(&place().model).as_ptr(), options, &mut detector) };
        assert_eq!(status, DualadStatus::Ok, "{}", message());
        Self(detector)
    }

    pub(crate) fn file(&self, image: &Path, category: Option<&str>) -> Found {
        let category = category.map(c);
        let category = category.as_ref().map_or(null(), |category| category.as_ptr());
        let mut found = null_mut();
        let status = unsafe { dualad_inspect_file(self.0, c(image).as_ptr(), category, &mut found) };
        assert_eq!(status, DualadStatus::Ok, "{}", message());
        Found(found)
    }

    pub(crate) fn buffer(&self, pixels: &[u8], size: [u32; 2], stride: usize, format: i32) -> (DualadStatus, Found) {
        let mut found = std::ptr::dangling_mut();
        let [width, height] = size;
        let (pixels, length) = (pixels.as_ptr(), pixels.len());
        let status =
            unsafe { dualad_inspect_buffer(self.0, pixels, length, width, height, stride, format, null(), &mut found) };
        assert_eq!(found.is_null(), status != DualadStatus::Ok);
        (status, Found(found))
    }

    pub(crate) fn thresholds(&self, category: Option<&str>) -> DualadThresholds {
        let category = category.map(c);
        let mut thresholds = NO_THRESHOLDS;
        let status = unsafe {
            dualad_detector_thresholds(self.0, category.as_ref().map_or(null(), |name| name.as_ptr()), &mut thresholds)
        };
        assert_eq!(status, DualadStatus::Ok);
        thresholds
    }

    pub(crate) fn set(&self, category: Option<&str>, [review, reject, region]: [f32; 3]) -> DualadStatus {
        let category = category.map(c);
        let category = category.as_ref().map_or(null(), |name| name.as_ptr());
        unsafe { dualad_detector_set_thresholds(self.0, category, review, reject, region) }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        unsafe { dualad_detector_free(self.0) }
    }
}

/// An inspection.
pub(crate) struct Found(pub(crate) *mut DualadInspection);

impl Found {
    pub(crate) fn score(&self) -> f32 {
        unsafe { dualad_inspection_score(self.0) }
    }

    pub(crate) fn verdict(&self) -> DualadVerdict {
        unsafe { dualad_inspection_verdict(self.0) }
    }

    pub(crate) fn thresholds(&self) -> DualadThresholds {
        let mut thresholds = NO_THRESHOLDS;
        assert_eq!(unsafe { dualad_inspection_thresholds(self.0, &mut thresholds) }, DualadStatus::Ok);
        thresholds
    }

    pub(crate) fn map(&self) -> (usize, usize, &[f32]) {
        let (mut values, mut width, mut height) = (null(), 0, 0);
        let status = unsafe { dualad_inspection_map(self.0, &mut values, &mut width, &mut height) };
        assert_eq!(status, DualadStatus::Ok);
        (width, height, unsafe { std::slice::from_raw_parts(values, width * height) })
    }

    pub(crate) fn regions(&self) -> Vec<DualadRegion> {
        let count = unsafe { dualad_inspection_region_count(self.0) };
        let region = |index| {
            let mut region = NO_REGION;
            assert_eq!(unsafe { dualad_inspection_region(self.0, index, &mut region) }, DualadStatus::Ok);
            region
        };
        (0..count).map(region).collect()
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        unsafe { dualad_inspection_free(self.0) }
    }
}

pub(crate) const NO_THRESHOLDS: DualadThresholds =
    DualadThresholds { review: 7.0, reject: 7.0, region: 7.0, source: DualadThresholdSource::None };
pub(crate) const NO_REGION: DualadRegion = DualadRegion {
    x: 0,
    y: 0,
    width: 0,
    height: 0,
    area: 0.0,
    centroid_x: 0.0,
    centroid_y: 0.0,
    mean: 0.0,
    peak: 0.0,
    peak_x: 0,
    peak_y: 0,
    reserved: 0,
};
