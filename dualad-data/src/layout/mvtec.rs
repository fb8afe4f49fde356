//! MVTec AD (Bergmann et al., CVPR 2019), MVTec LOCO (Bergmann et al., IJCV 2022) and folders like them.

use std::path::Path;

use super::left_out::LeftOut;
use super::listing::{Folder, display_name, list, list_if_there};
use super::masks::Masks;
use super::names::{GOOD, masks_among, may_be_normal};
use super::recognize::{self, FolderKind};
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Label, Sample, Split};

const TRAIN: &str = "train";
pub(crate) const TEST: &str = "test";
pub(crate) const TRUTH: &str = "ground_truth";

/// Reads the categories of a folder.
pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let listing = list(root)?;
    let names = match recognize::folder(root, &listing, Vec::new())? {
        FolderKind::Categories(names) => names,
        FolderKind::Category => return Ok(vec![read_category(root, findings)?]),
        FolderKind::Plain(_) | FolderKind::Nothing => return Ok(Vec::new()),
    };
    let is_category = |folder: &&Folder| names.contains(&folder.name);
    let mut left_out = LeftOut { top: root, category: "", findings };
    let advice = "they belong to no category; move them away";
    left_out.loose(root, listing.images.len(), advice);
    let others = listing.folders.iter().filter(|folder| !is_category(folder));
    let advice =
        format!("it is not a category, because it has no images in {TRAIN}/{GOOD}; move it away, or open it by itself");
    left_out.folders(others, &advice);
    let categories = listing.folders.iter().filter(is_category);
    categories.map(|folder| read_category(&folder.path, findings)).collect()
}

fn read_category(folder: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let listing = list(folder)?;
    let train = list_if_there(&folder.join(TRAIN))?;
    let mut left_out = LeftOut { top: folder, category: &name, findings };
    let advice = format!("normal images belong in {TRAIN}/{GOOD}, test images in {TEST}/{GOOD} and {TEST}/<type>");
    left_out.loose(folder, listing.images.len(), &advice);
    left_out.folders(
        listing.folders.iter().filter(|inner| ![TRAIN, TEST, TRUTH].iter().any(|n| inner.name == *n)),
        &advice,
    );
    let advice = format!("training reads only {TRAIN}/{GOOD}");
    left_out.loose(&folder.join(TRAIN), train.images.len(), &advice);
    let mut samples = Vec::new();
    for kind in &train.folders {
        if kind.name == GOOD {
            let good = list(&kind.path)?;
            left_out.folders(&good.folders, &advice);
            masks_among(&good.images, &kind.path, &name, left_out.findings);
            let images = good.images.into_iter();
            samples.extend(images.map(|path| Sample::new(path, &name, Split::Train, Label::Normal)));
        } else {
            left_out.folders([kind], &advice);
        }
    }
    samples.extend(test_samples(folder, &name, findings)?);
    Ok(Category { name, folder: folder.into(), samples })
}

/// Reads the images of `test/<type>` with their masks from `ground_truth/<type>`.
pub(crate) fn test_samples(folder: &Path, category: &str, findings: &mut Vec<Finding>) -> Result<Vec<Sample>> {
    let (test, truth) = (folder.join(TEST), folder.join(TRUTH));
    let listing = list_if_there(&test)?;
    let mut left_out = LeftOut { top: folder, category, findings };
    let advice = format!("their labels are unknown; sort them into {TEST}/{GOOD} and {TEST}/<defect type>");
    left_out.loose(&test, listing.images.len(), &advice);
    let mut samples = Vec::new();
    for kind in &listing.folders {
        let inner = list(&kind.path)?;
        let mut left_out = LeftOut { top: folder, category, findings };
        left_out.folders(&inner.folders, &format!("images of {TEST}/<type> belong directly in that folder"));
        masks_among(&inner.images, &kind.path, category, findings);
        if kind.name == GOOD {
            let images = inner.images.into_iter();
            samples.extend(images.map(|path| Sample::new(path, category, Split::Test, Label::Normal)));
            continue;
        }
        let name = kind.name.to_string_lossy();
        if may_be_normal(&name) && !inner.images.is_empty() {
            let what = format!("its images count as defects of type \"{name}\"; normal ones belong in {TEST}/{GOOD}");
            findings.push(Finding::new(FindingKind::UnclearLabel, category, &kind.path, what));
        }
        let label = Label::Anomalous(name.clone().into_owned());
        let mut masks = Masks::new(list_if_there(&truth.join(&kind.name))?);
        for path in inner.images {
            let mut sample = Sample::new(path, category, Split::Test, label.clone());
            masks.pair(&mut sample, findings)?;
            samples.push(sample);
        }
        masks.report_unpaired(category, &format!("{TEST}/{name}"), findings);
    }
    unused_truth(&truth, &listing.folders, category, findings)?;
    Ok(samples)
}

/// Reports masks directly in the folder, masks of types without test images, and masks of normal images.
fn unused_truth(truth: &Path, types: &[Folder], category: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let listing = list_if_there(truth)?;
    if !listing.images.is_empty() {
        let what = format!(
            "{} not used, because their types are unknown: the mask of {TEST}/<type>/<stem>.png belongs in \
             {TRUTH}/<type>/<stem>_mask.png",
            match listing.images.len() {
                1 => "1 mask in it is".to_string(),
                masks => format!("{masks} masks in it are"),
            },
        );
        findings.push(Finding::new(FindingKind::UnpairedMask, category, truth, what));
    }
    for kind in &listing.folders {
        if kind.name == GOOD {
            let advice = "normal images have no defects, so their masks are not read";
            LeftOut { top: truth, category, findings }.folders([kind], advice);
        } else if !types.iter().any(|known| known.name == kind.name) {
            let images = format!("{TEST}/{}", kind.name.to_string_lossy());
            Masks::new(list(&kind.path)?).report_unpaired(category, &images, findings);
        }
    }
    Ok(())
}
