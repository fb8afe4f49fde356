//! MVTec AD 2 (Heckler-Kram et al., 2025): a public test set with masks, and private ones without.

use std::path::{Path, PathBuf};

use super::apart::{VALIDATION, categories, note_apart, report_beside_categories, report_others};
use super::derived;
use super::listing::{Listing, display_name, list, list_if_there};
use super::masks::Masks;
use super::names::GOOD;
use crate::error::Result;
use crate::finding::Finding;
use crate::sample::{Category, Label, Sample, Split};

/// The test set with labels and masks.
const PUBLIC: &str = "test_public";
/// The test sets whose labels only the evaluation server knows.
const PRIVATE: [&str; 2] = ["test_private", "test_private_mixed"];
const VALIDATION_FOLDER: &str = "validation";
const BAD: &str = "bad";
const TRUTH: &str = "ground_truth";

fn is_category(folder: &Path) -> bool {
    let has_test = std::iter::once(&PUBLIC).chain(&PRIVATE).any(|name| folder.join(name).is_dir());
    has_test && folder.join("train").join(GOOD).is_dir()
}

/// Returns whether a folder has categories of this dataset, or is one.
pub(super) fn is_here(root: &Path, listing: &Listing) -> bool {
    !categories(root, listing, is_category).is_empty()
}

/// Reads the categories.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let listing = list(root)?;
    let found = categories(root, &listing, is_category);
    report_beside_categories(root, &listing, &found, findings);
    found.iter().map(|folder| category(folder, findings)).collect()
}

fn category(folder: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let images = |part: &Path, findings: &mut Vec<Finding>| derived::images_in(&folder.join(part), &name, findings);
    let normal = |paths: Vec<PathBuf>, split| {
        let sample = |path| Sample::new(path, &name, split, Label::Normal);
        paths.into_iter().map(sample).collect::<Vec<Sample>>()
    };
    let mut samples = normal(images(&Path::new("train").join(GOOD), findings)?, Split::Train);
    let public = Path::new(PUBLIC);
    let mut masks = Masks::new(list_if_there(&folder.join(PUBLIC).join(TRUTH).join(BAD))?);
    for path in images(&public.join(BAD), findings)? {
        let mut sample = Sample::new(path, &name, Split::Test, Label::Anomalous(BAD.into()));
        masks.pair(&mut sample, findings)?;
        samples.push(sample);
    }
    masks.report_unpaired(&name, &format!("{PUBLIC}/{BAD}"), findings);
    samples.extend(normal(images(&public.join(GOOD), findings)?, Split::Test));
    let validation = Path::new(VALIDATION_FOLDER).join(GOOD);
    let count = images(&validation, findings)?.len();
    note_apart(&name, &folder.join(&validation), count, VALIDATION, findings);
    for private in PRIVATE {
        let why = "only the evaluation server of the dataset knows their labels";
        let count = images(Path::new(private), findings)?.len();
        note_apart(&name, &folder.join(private), count, why, findings);
    }
    let at = |names: &[&str]| names.iter().map(|name| folder.join(name)).collect::<Vec<PathBuf>>();
    let inside = |part: &str, names: &[&str]| names.iter().map(|name| folder.join(part).join(name)).collect::<Vec<_>>();
    let [private, mixed] = PRIVATE;
    report_others(folder, &at(&["train", VALIDATION_FOLDER, PUBLIC, private, mixed]), false, &name, findings)?;
    for (part, read) in [("train", &[GOOD][..]), (VALIDATION_FOLDER, &[GOOD]), (PUBLIC, &[GOOD, BAD, TRUTH])] {
        report_others(&folder.join(part), &inside(part, read), false, &name, findings)?;
        for inner in read.iter().filter(|inner| **inner != TRUTH) {
            report_others(&folder.join(part).join(inner), &[], true, &name, findings)?;
        }
    }
    let truth = folder.join(PUBLIC).join(TRUTH);
    report_others(&truth, &[truth.join(BAD)], false, &name, findings)?;
    for private in PRIVATE {
        report_others(&folder.join(private), &[], true, &name, findings)?;
    }
    Ok(Category { name, folder: folder.into(), samples })
}

/// Returns the images of the private test sets: the category, the test set and the path of each.
#[cfg(all(feature = "render", feature = "tiff"))]
pub(crate) fn private_images(root: &Path) -> Result<Vec<(String, String, PathBuf)>> {
    let mut found = Vec::new();
    for folder in categories(root, &list(root)?, is_category) {
        for split in PRIVATE {
            let (_, images) = derived::separate(list_if_there(&folder.join(split))?.images);
            found.extend(images.into_iter().map(|path| (display_name(&folder), split.to_string(), path)));
        }
    }
    Ok(found)
}
