//! The color images of MVTec 3D-AD (Bergmann et al., VISAPP 2022): `train/good/rgb`, `test/<type>/rgb`, `test/<type>/gt`.

use std::path::{Path, PathBuf};

use super::apart::{VALIDATION, categories, note_apart, report_beside_categories, report_others};
use super::derived;
use super::left_out::LeftOut;
use super::listing::{Folder, Listing, display_name, list, list_if_there};
use super::masks::Masks;
use super::names::GOOD;
use crate::error::Result;
use crate::finding::Finding;
use crate::image::MaskRule;
use crate::sample::{Category, Label, Sample, Split};

const COLOR: &str = "rgb";

fn is_category(folder: &Path) -> bool {
    list_if_there(&folder.join("train").join(GOOD).join(COLOR)).is_ok_and(|listing| !listing.images.is_empty())
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
    let train = derived::images_in(&folder.join("train").join(GOOD).join(COLOR), &name, findings)?.into_iter();
    let mut samples: Vec<Sample> = train.map(|path| Sample::new(path, &name, Split::Train, Label::Normal)).collect();
    let test = folder.join("test");
    let (derived, kinds): (Vec<Folder>, Vec<Folder>) =
        list_if_there(&test)?.folders.into_iter().partition(|kind| derived::fill(kind, folder));
    LeftOut { top: folder, category: &name, findings }.folders(&derived, derived::FOLDER);
    for kind in &kinds {
        let kind_name = kind.name.to_string_lossy();
        let label = if kind.name == GOOD { Label::Normal } else { Label::Anomalous(kind_name.to_string()) };
        let mut masks = Masks::new(list_if_there(&kind.path.join("gt"))?);
        for path in derived::images_in(&kind.path.join(COLOR), &name, findings)? {
            let mut sample = Sample::new(path, &name, Split::Test, label.clone());
            masks.pair(&mut sample, findings)?;
            sample.mask_rule = MaskRule::NonZero;
            samples.push(sample);
        }
        masks.report_unpaired(&name, &format!("test/{kind_name}/{COLOR}"), findings);
    }
    let validation = folder.join("validation").join(GOOD).join(COLOR);
    let count = derived::images_in(&validation, &name, findings)?.len();
    note_apart(&name, &validation, count, VALIDATION, findings);
    let parts = ["train", "validation", "test"].map(|part| folder.join(part));
    report_others(folder, &parts, false, &name, findings)?;
    for part in &parts {
        let kinds: Vec<PathBuf> = if part.ends_with("test") {
            kinds.iter().chain(&derived).map(|kind| kind.path.clone()).collect()
        } else {
            vec![part.join(GOOD)]
        };
        report_others(part, &kinds, false, &name, findings)?;
        for kind in kinds.iter().filter(|kind| !derived.iter().any(|folder| folder.path == **kind)) {
            // The position images need no finding.
            report_others(kind, &[COLOR, "gt", "xyz"].map(|inner| kind.join(inner)), false, &name, findings)?;
            report_others(&kind.join(COLOR), &[], true, &name, findings)?;
        }
    }
    Ok(Category { name, folder: folder.into(), samples })
}
