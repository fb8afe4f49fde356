//! The doubts about files of COCO: images that none annotates, images in two splits, and boxes without an area.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bounded::{Id, List};
use super::coco_file::{Annotation, Segmentation};
use super::divide::is_unclear;
use super::listing::file_name;
use crate::finding::{Finding, FindingKind};
use crate::text::{names_of, shown};

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

/// Describes shapes whose coordinates are shares, in a file of this format. `place` tells which.
pub(super) fn in_shares(place: &str, format: &str) -> String {
    format!(
        "its shapes have values from 0 to 1{place}, but those of {format} are in pixels; multiply x and width by the width of the image, and y \
         and height by its height"
    )
}

/// Returns the image of an annotation in a file of COCO whose shape is given as shares of the size of the image. The box of an annotation
/// with polygons may be in pixels all the same.
pub(super) fn shares(annotations: &[Annotation]) -> Option<&Id> {
    let is_in_shares = |annotation: &&Annotation| {
        let bbox = annotation.bbox.as_ref().map_or(&[][..], |bbox| &bbox.0[..]);
        match &annotation.segmentation {
            Some(Segmentation::Runs(_)) => false,
            Some(Segmentation::Polygons(List(polygons))) if polygons.iter().any(|polygon| !polygon.0.is_empty()) => {
                are_shares(polygons.iter().flat_map(|polygon| &polygon.0))
            }
            // A box without an area has a warning of its own.
            _ => are_shares(bbox.iter()) && !matches!(bbox, [_, _, width, height] if *width == 0.0 || *height == 0.0),
        }
    };
    annotations.iter().find(is_in_shares).map(|annotation| &annotation.image_id)
}

/// Reports names of defects that may stand for none, such as `OK part`. `kinds` are those of each image.
pub(super) fn report_unclear_names<'k>(
    kinds: impl Iterator<Item = &'k String>,
    category: &str,
    root: &Path,
    findings: &mut Vec<Finding>,
) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for kind in kinds.filter(|kind| is_unclear(kind)) {
        *counts.entry(kind).or_default() += 1;
    }
    if counts.is_empty() {
        return;
    }
    let names: Vec<String> = counts.iter().map(|(kind, count)| format!("\"{kind}\" in {count}")).collect();
    let what = format!(
        "names in its annotations that may mean no defect, and that count as types of defects (in so many images): {}; if one means no defect, \
         name it ok, or remove its annotations",
        names_of(&names)
    );
    findings.push(Finding::new(FindingKind::UnclearLabel, category, root, what));
}
