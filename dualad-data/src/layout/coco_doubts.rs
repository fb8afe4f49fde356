//! The doubts about files of COCO: images that none annotates, images in two splits, and boxes without an area.

use std::path::{Path, PathBuf};

use super::bounded::{Id, List};
use super::coco_file::{Annotation, Segmentation};
use super::listing::file_name;
use crate::finding::{Finding, FindingKind};
use crate::text::shown;

/// The doubts about a category: the first case of each, and the number of them.
#[derive(Default)]
pub(super) struct Doubts {
    in_two_splits: usize,
    first_in_two: Option<(PathBuf, [String; 2])>,
    without_area: usize,
    first_without: Option<(PathBuf, String)>,
}

impl Doubts {
    /// Counts an image that two files list for different splits.
    pub(super) fn in_two_splits(&mut self, image: &Path, files: [&Path; 2]) {
        self.in_two_splits += 1;
        let names = || files.map(|file| file_name(file).to_string_lossy().into_owned());
        self.first_in_two.get_or_insert_with(|| (image.to_path_buf(), names()));
    }

    /// Counts a box without an area.
    pub(super) fn without_area(&mut self, file: &Path, image: &Id) {
        self.without_area += 1;
        self.first_without.get_or_insert_with(|| (file.to_path_buf(), image.to_string()));
    }

    /// Reports the doubts. `counts` are the numbers of annotated and of all listed images.
    pub(super) fn report(self, category: &str, root: &Path, counts: [usize; 2], findings: &mut Vec<Finding>) {
        let mut add = |kind, path: &Path, what| findings.push(Finding::new(kind, category, path, what));
        if let [0, images] = counts
            && images > 0
        {
            let what = format!(
                "no image in its annotations has a defect, so all count as normal: {images}; if some are defective, annotate them"
            );
            add(FindingKind::Choice, root, what);
        }
        if let Some((image, [one, other])) = self.first_in_two {
            let what = format!(
                "images that two files of annotations list for different splits: {} (such as {}, in {one} and in {other}); the first counts, \
                 and annotations of both; list each in one of them",
                self.in_two_splits,
                shown(image.strip_prefix(root).unwrap_or(&image))
            );
            add(FindingKind::Duplicate, root, what);
        }
        if let Some((file, image)) = self.first_without {
            let what = format!(
                "boxes without an area: {} (such as one of the image {image}); each marks one line or one pixel; correct or remove them",
                self.without_area
            );
            add(FindingKind::UnclearLabel, &file, what);
        }
    }
}

/// Returns whether the coordinates of shapes are shares of the size of the image: all are from 0 to 1, and some lie between.
pub(super) fn are_shares<'a>(mut coordinates: impl Iterator<Item = &'a f32>) -> bool {
    let mut has_share = false;
    let is_share = |value: &f32| {
        has_share |= value.fract() != 0.0;
        (0.0..=1.0).contains(value)
    };
    coordinates.all(is_share) && has_share
}

/// Describes shapes whose coordinates are shares, in a file of this format.
pub(super) fn in_shares(format: &str) -> String {
    format!(
        "its shapes have values from 0 to 1, but those of {format} are in pixels; multiply x and width by the width of the image, and y and \
         height by its height"
    )
}

/// Returns whether the shapes of a file of COCO are given as shares of the size of the image.
pub(super) fn have_shares(annotations: &[Annotation]) -> bool {
    let has_runs = |annotation: &Annotation| matches!(annotation.segmentation, Some(Segmentation::Runs(_)));
    let coordinates = annotations.iter().flat_map(|annotation| {
        let polygons = match &annotation.segmentation {
            Some(Segmentation::Polygons(List(polygons))) => &polygons[..],
            _ => &[],
        };
        let bbox = annotation.bbox.iter().flat_map(|bbox| &bbox.0);
        bbox.chain(polygons.iter().flat_map(|polygon| &polygon.0))
    });
    !annotations.iter().any(has_runs) && are_shares(coordinates)
}
