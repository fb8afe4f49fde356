//! Images to train on that are also anomalous test images.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::finding::{Finding, FindingKind};
use crate::image::{Limits, decode};
use crate::sample::{Label, Sample, Split};

/// Returns whether a sample is a normal image to train on.
pub(super) fn is_trained(sample: &Sample) -> bool {
    sample.split == Split::Train && !sample.label.is_anomalous()
}

/// Returns whether a sample is an anomalous test image.
fn is_defect(sample: &Sample) -> bool {
    sample.split == Split::Test && sample.label.is_anomalous()
}

/// Returns a finding for each normal image to train on that has the key of an anomalous test image of its category. In another category,
/// the image may be the anomaly: a wrong product.
pub(super) fn defects<'a, K: Eq + Hash>(images: impl IntoIterator<Item = (&'a Sample, K)>) -> Vec<Finding> {
    let (mut trained, mut defects) = (Vec::new(), HashMap::<(&str, K), &Sample>::new());
    for (sample, key) in images {
        if is_trained(sample) {
            trained.push((sample, key));
        } else if is_defect(sample) {
            defects.entry((&sample.category, key)).or_insert(sample);
        }
    }
    let finding = |(sample, key): (&'a Sample, K)| {
        let defect = defects.get(&(sample.category.as_str(), key))?;
        let Label::Anomalous(kind) = &defect.label else { return None };
        let what = format!(
            "this normal image to train on has the same pixels as the anomalous test image {} of the type \"{kind}\"; remove it from \
             the training images if it shows a defect, or correct the label of the test image if it shows none",
            defect.path.display()
        );
        Some(Finding::new(FindingKind::DefectInTraining, &sample.category, &sample.path, what))
    };
    trained.into_iter().filter_map(finding).collect()
}

/// Returns the findings of [`defects`] for files that are reached twice, by links to files or folders. No file is read.
pub(super) fn linked(samples: &[&Sample]) -> Vec<Finding> {
    let mut folders = HashMap::<PathBuf, Option<PathBuf>>::new();
    let mut real = |sample: &&Sample| {
        if std::fs::symlink_metadata(&sample.path).is_ok_and(|metadata| metadata.is_symlink()) {
            return sample.path.canonicalize().ok();
        }
        let (folder, name) = (sample.path.parent()?, sample.path.file_name()?);
        // The folder of a relative path may be empty.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = folders.entry(folder.into()).or_insert_with(|| folder.canonicalize().ok());
        Some(real.as_ref()?.join(name))
    };
    defects(samples.iter().filter_map(|sample| Some((*sample, real(sample)?))))
}

/// Returns the findings of [`defects`] for files with the same bytes. Only files that have the size of one on the other side are read.
pub(super) fn copied(samples: &[&Sample], limits: &Limits) -> Vec<Finding> {
    let mut sizes = HashMap::<(&str, u64), [bool; 2]>::new();
    let mut sized = Vec::new();
    for sample in samples.iter().filter(|sample| is_trained(sample) || is_defect(sample)) {
        let Ok(metadata) = std::fs::metadata(&sample.path) else { continue };
        let key = (sample.category.as_str(), metadata.len());
        sizes.entry(key).or_default()[usize::from(is_defect(sample))] = true;
        sized.push((*sample, key));
    }
    sized.retain(|(_, key)| sizes.get(key) == Some(&[true, true]));
    let digest = |(sample, _): &(&Sample, (&str, u64))| decode::read(&sample.path, limits).ok().map(Sha256::digest);
    let digests: Vec<_> = sized.par_iter().map(digest).collect();
    defects(sized.iter().zip(digests).filter_map(|((sample, _), digest)| Some((*sample, digest?))))
}
