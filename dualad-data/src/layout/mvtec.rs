//! MVTec AD (Bergmann et al., CVPR 2019) and folders like it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::GOOD;
use super::listing::{display_name, list, list_if_there, stem};
use crate::check::{Finding, Kind};
use crate::dataset::{Category, Label, Sample, Split};
use crate::error::Result;

/// A folder with `train/good`, or with `train` or `test` and no images where a plain folder has its own.
pub(crate) fn is_category(folder: &Path) -> bool {
    let (train, test) = (folder.join("train"), folder.join("test"));
    let without_images = |folder: &Path| list_if_there(folder).is_ok_and(|listing| listing.images.is_empty());
    train.join(GOOD).is_dir()
        || (train.is_dir() || test.is_dir())
            && !folder.join(GOOD).is_dir()
            && without_images(folder)
            && without_images(&train)
}

pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    if is_category(root) {
        return Ok(vec![read_category(root, findings)?]);
    }
    let folders = list(root)?.folders;
    let categories = folders.iter().filter(|folder| is_category(&folder.path));
    categories.map(|folder| read_category(&folder.path, findings)).collect()
}

fn read_category(folder: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let train = list_if_there(&folder.join("train"))?;
    let mut samples = Vec::new();
    for kind in &train.folders {
        let images = list(&kind.path)?.images;
        if kind.name == GOOD {
            samples.extend(images.into_iter().map(|path| Sample::new(path, &name, Split::Train, Label::Normal)));
        } else if !images.is_empty() {
            let what = format!("{} images are left out: training takes those in train/{GOOD} alone", images.len());
            findings.push(Finding::new(Kind::LeftOut, &name, &kind.path, what));
        }
    }
    samples.extend(test_samples(folder, &name, findings)?);
    Ok(Category { name, samples })
}

/// The images of `test/<type>`, with their masks from `ground_truth/<type>`.
pub(crate) fn test_samples(folder: &Path, category: &str, findings: &mut Vec<Finding>) -> Result<Vec<Sample>> {
    let (test, truth) = (folder.join("test"), folder.join("ground_truth"));
    let listing = list_if_there(&test)?;
    if !listing.images.is_empty() {
        let what = format!(
            "{} images are left out, as nothing says what they are: sort them into test/{GOOD} and test/<type of defect>",
            listing.images.len()
        );
        findings.push(Finding::new(Kind::LeftOut, category, &test, what));
    }
    let mut samples = Vec::new();
    for kind in &listing.folders {
        let images = list(&kind.path)?.images;
        if kind.name == GOOD {
            samples.extend(images.into_iter().map(|path| Sample::new(path, category, Split::Test, Label::Normal)));
            continue;
        }
        let mut masks = Masks::new(list_if_there(&truth.join(&kind.name))?.images);
        let label = Label::Anomalous(kind.name.to_string_lossy().into_owned());
        for path in images {
            let mut sample = Sample::new(path, category, Split::Test, label.clone());
            sample.mask = masks.pair(&sample.path, category, findings);
            samples.push(sample);
        }
        masks.report_unpaired(category, findings);
    }
    // Masks of a type that has no test images at all.
    for kind in list_if_there(&truth)?.folders {
        if !listing.folders.iter().any(|known| known.name == kind.name) {
            Masks::new(list(&kind.path)?.images).report_unpaired(category, findings);
        }
    }
    Ok(samples)
}

/// The masks of one folder, found by stem: an image's place in a listing says nothing about its mask's.
pub(crate) struct Masks {
    by_stem: BTreeMap<OsString, Vec<Mask>>,
}

struct Mask {
    path: PathBuf,
    image: Option<PathBuf>,
}

impl Masks {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let mut by_stem = BTreeMap::<_, Vec<_>>::new();
        for path in paths {
            by_stem.entry(stem(&path).to_os_string()).or_default().push(Mask { path, image: None });
        }
        Self { by_stem }
    }

    /// The mask `<stem>_mask.*`, or else `<stem>.*`. Two that fit are named, and the first by name is taken.
    pub(crate) fn pair(&mut self, image: &Path, category: &str, findings: &mut Vec<Finding>) -> Option<PathBuf> {
        let mut with_suffix = stem(image).to_os_string();
        with_suffix.push("_mask");
        let key =
            [with_suffix.as_os_str(), stem(image)].into_iter().find(|key| self.by_stem.contains_key::<OsStr>(key))?;
        let masks = self.by_stem.get_mut(key)?;
        let several = masks.len() > 1;
        let mask = masks.first_mut()?;
        if several {
            let what = format!("several masks have its stem; {} is taken", mask.path.display());
            findings.push(Finding::new(Kind::AmbiguousMask, category, image, what));
        }
        match &mask.image {
            Some(other) => {
                let what =
                    format!("it shares its stem, and so the mask {}, with {}", mask.path.display(), other.display());
                findings.push(Finding::new(Kind::AmbiguousMask, category, image, what));
            }
            None => mask.image = Some(image.into()),
        }
        Some(mask.path.clone())
    }

    pub(crate) fn report_unpaired(self, category: &str, findings: &mut Vec<Finding>) {
        for mask in self.by_stem.into_values().flatten().filter(|mask| mask.image.is_none()) {
            let what = "this mask has no image of its stem; it is not used".to_string();
            findings.push(Finding::new(Kind::UnpairedMask, category, &mask.path, what));
        }
    }
}
