//! Folders of small parts cut out of images (crops) beside folders of products. They often show the defects of a product.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::listing::{Folder, display_name};
use super::mask_folders::Candidate;
use super::words::tokens;
use crate::finding::{Finding, FindingKind};
use crate::image::{Limits, Picture};
use crate::text::names_of;

/// The words for parts cut out of images that end a name, in lower case and without accents.
const LAST: &str = "ausschnitt ausschnitte crop cropped croppings crops cutout cutouts decoupe decoupes patches recorte recortes ritagli \
    ritaglio roi rois snippet snippets uitsnede uitsneden";
/// Those that begin a name. `crop`, `patch` and the like may begin that of a product.
const FIRST: [&str; 2] = ["cropped", "crops"];
/// Those of scripts without upper and lower case, or without Latin letters, at the end of a word.
const ENDS: [&str; 8] = ["裁剪", "裁切", "裁剪图", "切り抜き", "切抜き", "クロップ", "크롭", "вырезки"];

/// The number of folders whose images are looked at.
const MAX_FOLDERS: usize = 64;
/// The number of images of a folder that are looked at, in equal steps.
const LOOKED_AT: usize = 16;

/// Returns the words of a name without the one for crops, if it has one: `bottle` for `bottle_crops`.
pub(super) fn without_crops(words: &[String]) -> Option<&[String]> {
    let is_last = |word: &String| {
        LAST.split_whitespace().any(|known| known == word) || ENDS.iter().any(|end| word.ends_with(end))
    };
    match words {
        [rest @ .., cut, out] if cut == "cut" && matches!(out.as_str(), "out" | "outs") => Some(rest),
        [rest @ .., word] if is_last(word) => Some(rest),
        [word, rest @ ..] if FIRST.contains(&word.as_str()) => Some(rest),
        _ => None,
    }
}

fn is_named_so(name: &OsStr) -> bool {
    without_crops(&tokens(&name.to_string_lossy())).is_some()
}

/// The widths and heights of some images of a folder.
struct Sizes(Vec<(u32, u32)>);

/// The evidence of sizes that the images of a folder are crops of others.
#[derive(PartialEq)]
enum Evidence {
    /// They are small, and of many sizes.
    Varied,
    /// They are very small.
    Small,
}

impl Sizes {
    fn of(images: &[PathBuf]) -> Self {
        let step = images.len().div_ceil(LOOKED_AT).max(1);
        let images: Vec<&PathBuf> = images.iter().step_by(step).collect();
        Self(images.par_iter().filter_map(|path| Picture::read_size(path, &Limits::default()).ok()).collect())
    }

    fn areas(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(width, height)| u64::from(*width) * u64::from(*height))
    }

    /// Returns the number of different sizes.
    fn different(&self) -> usize {
        self.0.iter().collect::<BTreeSet<_>>().len()
    }

    /// Returns whether a side of the largest image is a quarter longer than that of the smallest.
    fn vary(&self) -> bool {
        let differ = |side: fn(&(u32, u32)) -> u32| {
            let sides = || self.0.iter().map(side).map(u64::from);
            sides().min().zip(sides().max()).is_some_and(|(least, most)| 4 * most >= 5 * least)
        };
        differ(|size| size.0) || differ(|size| size.1)
    }

    /// Returns the evidence that these are the sizes of crops of `others`, the images of a camera.
    fn are_crops_of(&self, others: &Self) -> Option<Evidence> {
        /// The least number of images.
        const LEAST: usize = 3;
        /// The areas of the smallest other image and of these images: of all if they vary, and of each otherwise.
        const VARIED: u64 = 4;
        const SMALL: u64 = 16;
        let (count, least) = (self.0.len(), others.areas().min()?);
        let fits = |(width, height): &(u32, u32)| others.0.iter().all(|other| *width <= other.0 && *height <= other.1);
        if count < LEAST || others.0.len() < LEAST || !self.0.iter().all(fits) {
            return None;
        }
        let (sum, largest) = (self.areas().sum::<u64>(), self.areas().max()?);
        if 2 * self.different() > count && self.vary() && 4 * others.different() <= others.0.len() {
            return (VARIED * sum <= least.saturating_mul(count as u64)).then_some(Evidence::Varied);
        }
        (SMALL * largest <= least).then_some(Evidence::Small)
    }
}

/// Reports folders that are read as products, and whose images are crops of others by their names or by their sizes. `may_be` tells
/// whether nothing states that the images of a folder are normal.
pub(super) fn report(
    root: &Path,
    candidates: &[Candidate],
    may_be: impl Fn(&Candidate) -> bool,
    findings: &mut Vec<Finding>,
) {
    let (named, others): (Vec<&Candidate>, Vec<&Candidate>) =
        candidates.iter().partition(|candidate| is_named_so(&candidate.folder.name) && may_be(candidate));
    // All products may be cut out of larger images.
    if others.is_empty() {
        return;
    }
    let name = |folder: &Folder| folder.name.to_string_lossy().into_owned();
    let mut add = |names: &[String], why: &str| {
        let first = names.first().map_or("", String::as_str);
        let what = format!(
            "{why} ({}), and parts cut out of images often show defects; as products, they would be trained on as normal. If they show defects, \
             move them out of the dataset; if each is a product, name the categories to use, or move the images of each to a folder good in it \
             ({first}/good)",
            names_of(names)
        );
        findings.push(Finding::new(FindingKind::SameProduct, "", root, what));
    };
    if !named.is_empty() {
        let names: Vec<String> = named.iter().map(|candidate| name(candidate.folder)).collect();
        add(&names, "folders hold parts cut out of images by their names");
    }
    if !(2..=MAX_FOLDERS).contains(&others.len()) {
        return;
    }
    let sizes: Vec<(&Candidate, Sizes)> =
        others.into_iter().map(|candidate| (candidate, Sizes::of(&candidate.images))).collect();
    let (mut varied, mut small) = (Vec::new(), Vec::new());
    for (candidate, own) in sizes.iter().filter(|(candidate, _)| may_be(candidate)) {
        let found = || sizes.iter().filter_map(|(other, sizes)| Some((other, own.are_crops_of(sizes)?)));
        if found().any(|(_, evidence)| evidence == Evidence::Varied) {
            varied.push(name(candidate.folder));
        } else if let Some((other, _)) = found().next() {
            small.push((*candidate, name(other.folder)));
        }
    }
    if !varied.is_empty() {
        add(
            &varied,
            "the images of folders are small beside those of others, and of many sizes, as parts cut out of images are",
        );
    }
    for (candidate, other) in small {
        let what = format!(
            "its images are small beside those of {other}, and are read as those of a product; if they are parts cut out of images, such as \
             defects, move them out of the dataset; if it is a product, move them to a folder good in it"
        );
        let folder = &candidate.folder.path;
        findings.push(Finding::new(FindingKind::UnclearLabel, &display_name(folder), folder, what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_say_that_they_hold_crops() {
        for name in [
            "crops",
            "bottle_crops",
            "BottleCrop",
            "cropped bottle",
            "cut-outs",
            "cutouts",
            "Ausschnitte",
            "ROI",
            "patches",
            "瓶子裁剪",
            "défauts_recortes",
        ] {
            assert!(is_named_so(OsStr::new(name)), "{name}");
        }
        for name in ["crop_sensor", "patch_panel", "eye_patch", "cut", "cuts", "handouts", "tile", "microphone", "outs"]
        {
            assert!(!is_named_so(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn sizes_of_crops_are_small_and_differ() {
        let of = |sizes: &[(u32, u32)]| Sizes(sizes.to_vec());
        let camera = of(&[(1024, 1024); 8]);
        let varied = of(&[(60, 40), (80, 81), (33, 60), (120, 90)]);
        assert!(varied.are_crops_of(&camera) == Some(Evidence::Varied));
        assert!(of(&[(128, 128); 5]).are_crops_of(&camera) == Some(Evidence::Small));
        // Another camera, few images, and images of many sizes on both sides.
        assert!(of(&[(640, 480); 5]).are_crops_of(&camera).is_none());
        assert!(of(&[(60, 40), (80, 81)]).are_crops_of(&camera).is_none());
        let parts = of(&[(600, 400), (800, 801), (330, 600), (420, 900)]);
        assert!(varied.are_crops_of(&parts) != Some(Evidence::Varied) && camera.are_crops_of(&varied).is_none());
        // A scanner cuts its images to size: they differ little.
        assert!(of(&[(600, 400), (601, 402), (602, 401)]).are_crops_of(&camera).is_none());
    }
}
