//! The layout of a plain folder: normal images, and optionally test images.

use std::path::Path;

use super::left_out::LeftOut;
use super::listing::{display_name, list};
use super::names::masks_among;
use super::{mvtec, recognize};
use crate::error::Result;
use crate::finding::Finding;
use crate::sample::{Category, Label, Sample, Split};

pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let normal = recognize::only(root, recognize::plain(root)?)?;
    let name = display_name(root);
    let mut left_out = LeftOut { top: root, category: &name, findings };
    let advice = format!("the normal images are those in {}; move these there, or elsewhere", normal.display());
    let is_read = |folder: &Path| {
        normal.starts_with(folder) || [mvtec::TEST, mvtec::TRUTH].iter().any(|name| folder == root.join(name))
    };
    // Each folder from the root to the normal images may have other folders in it.
    for folder in normal.ancestors().take_while(|folder| folder.starts_with(root)) {
        let inner = list(folder)?.folders;
        left_out.folders(inner.iter().filter(|inner| !is_read(&inner.path)), &advice);
    }
    let images = list(&normal)?.images;
    masks_among(&images, &normal, &name, findings);
    let images = images.into_iter();
    let mut samples: Vec<Sample> = images.map(|path| Sample::new(path, &name, Split::Train, Label::Normal)).collect();
    samples.extend(mvtec::test_samples(root, &name, findings)?);
    Ok(vec![Category { name, folder: root.into(), samples }])
}
