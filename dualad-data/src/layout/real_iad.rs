//! Real-IAD (Wang et al., CVPR 2024): a JSON file for each category lists the images, five views of each object.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::apart::{ANOMALOUS_TRAINING, note_apart};
use super::files::{files_with, images_below, json};
use super::left_out::LeftOut;
use super::listing::{Folder, Listing, display_name, list};
use super::table_path::path_within;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::sample::{Category, Label, Sample, Split};

/// The folders of the images at each size, the preferred one first.
pub(super) const IMAGES: [&str; 4] = ["realiad_1024", "realiad_512", "realiad_256", "realiad_raw"];
/// The start of the names of folders with JSON files. The name alone is the standard split.
pub(super) const SPLITS: &str = "realiad_jsons";

#[derive(Deserialize)]
struct File {
    meta: Meta,
    #[serde(default)]
    train: Vec<Entry>,
    #[serde(default)]
    test: Vec<Entry>,
}

#[derive(Deserialize)]
struct Meta {
    normal_class: String,
}

#[derive(Deserialize)]
struct Entry {
    anomaly_class: String,
    image_path: String,
    mask_path: Option<String>,
}

/// Returns whether a folder has the images and the JSON files of Real-IAD.
pub(super) fn is_here(root: &Path, listing: &Listing) -> bool {
    IMAGES.iter().any(|name| root.join(name).is_dir()) && splits(listing).is_ok_and(|splits| splits.is_some())
}

/// Returns the folder of JSON files: of the standard split if it is there, or else the first.
fn splits(listing: &Listing) -> Result<Option<PathBuf>> {
    let outer = listing.folders.iter().filter(|folder| folder.name.to_string_lossy().starts_with(SPLITS));
    for folder in outer {
        // The archive has a folder for each split in this folder.
        let inner = list(&folder.path)?.folders.into_iter().map(|inner| inner.path);
        for place in std::iter::once(folder.path.clone()).chain(inner) {
            if !files_with(&place, &["json"])?.is_empty() {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

/// Reads the categories: one for each JSON file whose images are there.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let sizes: Vec<&str> = IMAGES.into_iter().filter(|name| root.join(name).is_dir()).collect();
    let listing = list(root)?;
    let (Some(splits), [size, others @ ..]) = (splits(&listing)?, &sizes[..]) else { return Ok(Vec::new()) };
    let images = root.join(size);
    if !others.is_empty() {
        let what = format!("the images of {size} are read, not those of {}", others.join(", "));
        findings.push(Finding::new(FindingKind::Choice, "", root, what));
    }
    let files = files_with(&splits, &["json"])?.into_iter();
    let known = files.filter_map(|file| Some((images.join(file.file_stem()?), file)));
    let known: Vec<(PathBuf, PathBuf)> = known.filter(|(folder, _)| folder.is_dir()).collect();
    let mut left_out = LeftOut { top: root, category: "", findings };
    let read: HashSet<&PathBuf> = known.iter().map(|(folder, _)| folder).collect();
    let is_read = |folder: &Folder| read.contains(&folder.path);
    let advice = format!("{} has no file for this category; add it, or move the folder away", splits.display());
    let inside = list(&images)?;
    left_out.folders(inside.folders.iter().filter(|folder| !is_read(folder)), &advice);
    let is_of_dataset = |folder: &Folder| {
        let name = folder.name.to_string_lossy();
        IMAGES.iter().any(|known| *known == name) || name.starts_with(SPLITS)
    };
    let advice = format!("only images of {size} are read; move others away");
    left_out.folders(listing.folders.iter().filter(|folder| !is_of_dataset(folder)), &advice);
    left_out.loose(root, listing.images.len(), &advice);
    left_out.loose(&images, inside.images.len(), "they belong to no category; move them away");
    known.iter().map(|(folder, file)| category(folder, file, findings)).collect()
}

fn category(folder: &Path, file: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let File { meta, train, test } = json(file)?;
    let within = |value: &str| {
        path_within(folder, value)
            .map_err(|reason| Error::Annotations { path: file.into(), reason: format!("a path {reason}") })
    };
    let (mut samples, mut apart) = (Vec::with_capacity(train.len() + test.len()), 0);
    let mut named = HashSet::<PathBuf>::new();
    for (split, entries) in [(Split::Train, train), (Split::Test, test)] {
        for entry in entries {
            let is_normal = entry.anomaly_class == meta.normal_class;
            let path = within(&entry.image_path)?;
            let mask = entry.mask_path.filter(|mask| !mask.is_empty()).map(|mask| within(&mask)).transpose()?;
            named.extend([Some(path.clone()), mask.clone()].into_iter().flatten());
            if split == Split::Train && !is_normal {
                apart += 1;
                continue;
            }
            let label = if is_normal { Label::Normal } else { Label::Anomalous(entry.anomaly_class) };
            let mut sample = Sample::new(path, &name, split, label);
            sample.mask_rule = MaskRule::NonZero;
            sample.masks.extend(mask);
            let object = sample.path.parent().and_then(|parent| parent.strip_prefix(folder).ok());
            sample.object = object.map(|object| object.to_string_lossy().replace('\\', "/"));
            samples.push(sample);
        }
    }
    let all = images_below(folder)?;
    let others: Vec<&PathBuf> = all.iter().filter(|image| !named.contains(*image)).collect();
    let advice = format!("{} does not list them; add them, or move them away", file.display());
    LeftOut { top: folder, category: &name, findings }.unlisted(folder, &others, &advice);
    note_apart(&name, folder, apart, ANOMALOUS_TRAINING, findings);
    samples.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
    Ok(Category { name, folder: folder.into(), samples })
}
