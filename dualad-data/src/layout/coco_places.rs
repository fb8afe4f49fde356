//! The places of images that a file of COCO names.

use std::collections::BTreeMap;
use std::path::Path;

use super::divide::split;
use super::image_index::FoundAt;
use super::listing::{display_name, file_name};
use crate::finding::{Finding, FindingKind};
use crate::text::shown;

/// The findings about the places of images that a file of annotations names.
pub(super) struct Places<'a> {
    pub(super) file: &'a Path,
    pub(super) category: &'a str,
    pub(super) findings: &'a mut Vec<Finding>,
}

/// Returns the folder that most of the images lie in, without the folders of their names.
fn usual_base(images: &[FoundAt]) -> Option<&Path> {
    let mut counts = BTreeMap::<&Path, usize>::new();
    for base in images.iter().filter_map(|image| image.base.as_deref()) {
        *counts.entry(base).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(base, _)| base)
}

/// Gives missing images the places where they are expected: among the others.
pub(super) fn expect_missing(images: &mut [FoundAt]) {
    let Some(usual) = usual_base(images).map(Path::to_path_buf) else { return };
    let (mut whole, mut found) = (0, 0);
    for image in images.iter().filter(|image| image.base.as_deref() == Some(&usual)) {
        (whole, found) = (whole + usize::from(image.is_whole), found + 1);
    }
    for image in images.iter_mut().filter(|image| image.base.is_none()) {
        // The folders of the names may be those of another machine.
        let name = Path::new(&image.name);
        image.path = if 2 * whole > found { usual.join(name) } else { usual.join(file_name(name)) };
    }
}

impl Places<'_> {
    /// Reports images that are not where the names say: another image of the same name may have been found.
    pub(super) fn report(&mut self, images: &[FoundAt], folder: &Path, root: &Path) {
        let Some(most) = usual_base(images) else { return };
        let mut add = |kind, found: Vec<&FoundAt>, what: &str| {
            let Some(first) = found.first() else { return };
            let what = format!(
                "{what}: {} (such as \"{}\", found at {}); check that these are the images of the annotations",
                found.len(),
                first.name,
                shown(first.path.strip_prefix(root).unwrap_or(&first.path))
            );
            self.findings.push(Finding::new(kind, self.category, self.file, what));
        };
        let (usual, others): (Vec<&FoundAt>, Vec<&FoundAt>) =
            images.iter().filter(|image| image.base.is_some()).partition(|image| image.base.as_deref() == Some(most));
        let what = format!("images that it lists, and that lie in another folder than most ({})", shown(most));
        add(FindingKind::AmbiguousMask, others, &what);
        // Roboflow's file lies beside its images.
        let is_of_split = folder != root && split(&display_name(folder)).is_some();
        let is_elsewhere = |image: &&FoundAt| !image.is_whole || is_of_split && !image.path.starts_with(folder);
        let elsewhere = usual.into_iter().filter(is_elsewhere).collect();
        add(FindingKind::Choice, elsewhere, "images that are not where it says, and are found by name");
    }
}
