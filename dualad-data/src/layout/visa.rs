//! VisA (Zou et al., ECCV 2022): a table lists the images with their use and label.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::{bytes, images_below, parent};
use super::left_out::LeftOut;
use super::listing::{Folder, list, list_if_there};
use super::masks::Masks;
use super::names::holds_labels;
use super::table_path::{check_category, path_within};
use super::tabular::csv_error;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::sample::{Category, Label, Sample, Split};

/// The table of the one-class split: normal images for training, the others for testing.
pub(crate) const TABLE: &str = "split_csv/1cls.csv";

/// The advice for images that the table does not list.
const NOT_LISTED: &str = "split_csv/1cls.csv does not list them; add lines for them, or move them away";

/// The largest table in bytes. VisA's table has 800 KiB.
const MAX_TABLE_BYTES: u64 = 64 << 20;

/// Reads the categories of the table.
pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let table = root.join(TABLE);
    let at = |line, reason: String| Error::Table { path: table.clone(), line, reason };
    let of_csv = |error| csv_error(&table, error);
    // Opening a pipe or reading a device may never end.
    let metadata =
        std::fs::metadata(&table).map_err(|error| Error::Io { action: "read", path: table.clone(), error })?;
    if !metadata.is_file() || metadata.len() > MAX_TABLE_BYTES {
        let reason = format!("its {} is not a file of at most {} MiB", table.display(), MAX_TABLE_BYTES >> 20);
        return Err(Error::Layout { path: root.into(), reason });
    }
    let text = bytes(&table)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_slice());
    let headers = reader.headers().map_err(of_csv)?.clone();
    let column = |name: &str| {
        let mut found =
            headers.iter().enumerate().filter(|(_, header)| header.eq_ignore_ascii_case(name)).map(|(index, _)| index);
        let position = found.next();
        if found.next().is_some() {
            return Err(at(1, format!("the column \"{name}\" is there twice; remove or rename one of the two")));
        }
        position.ok_or_else(|| {
            at(1, format!("there is no column \"{name}\"; the table needs object, split, label, image and mask"))
        })
    };
    let columns = [column("object")?, column("split")?, column("label")?, column("image")?, column("mask")?];

    let (mut unclear, mut lines) = (BTreeSet::new(), BTreeMap::<PathBuf, (u64, Label, Split)>::new());
    let mut categories = BTreeMap::<String, Vec<Sample>>::new();
    for record in reader.records() {
        let record = record.map_err(of_csv)?;
        let line = record.position().map_or(1, csv::Position::line);
        let [object, split, label, image, mask] = columns.map(|column| record.get(column).unwrap_or_default());
        check_category(root, object).map_err(|reason| at(line, format!("column object {reason}")))?;
        let split = match split.to_ascii_lowercase().as_str() {
            "train" => Split::Train,
            "test" => Split::Test,
            other => return Err(at(line, format!("column split is \"{other}\"; write train or test"))),
        };
        // The names of VisA are in lower case.
        let label = ["normal", "anomaly"].into_iter().find(|known| label.eq_ignore_ascii_case(known)).unwrap_or(label);
        if !matches!(label, "normal" | "anomaly" | "") && unclear.insert((object.to_string(), label.to_string())) {
            let what = format!(
                "line {line}: column label is \"{label}\", which counts as a defect type; if normal or anomaly is meant, write \
                 that"
            );
            findings.push(Finding::new(FindingKind::UnclearLabel, object, &table, what));
        }
        let label = match label {
            "normal" => Label::Normal,
            "" => return Err(at(line, "column label is empty; write normal or anomaly".into())),
            kind => Label::Anomalous(kind.into()),
        };
        if split == Split::Train && label.is_anomalous() {
            return Err(at(
                line,
                "columns split and label name an anomalous image for training; only normal images can be trained on"
                    .into(),
            ));
        }
        let path =
            |column, value| path_within(root, value).map_err(|reason| at(line, format!("column {column} {reason}")));
        let mut sample = Sample::new(path("image", image)?, object, split, label);
        if let Some((first, label, split)) = lines.get(&sample.path) {
            let other = if label.is_anomalous() != sample.label.is_anomalous() {
                Some("label")
            } else {
                (*split != sample.split).then_some("split")
            };
            if let Some(other) = other {
                return Err(at(
                    line,
                    format!("line {first} has another {other} for this image; remove one of the lines"),
                ));
            }
            let what = format!("{TABLE} lists it in line {first} and in line {line}; remove one");
            findings.push(Finding::new(FindingKind::Duplicate, object, &sample.path, what));
        }
        lines.insert(sample.path.clone(), (line, sample.label.clone(), sample.split));
        sample.mask_rule = MaskRule::NonZero;
        if !mask.is_empty() {
            sample.masks.push(path("mask", mask)?);
        }
        categories.entry(object.into()).or_default().push(sample);
    }
    let used: BTreeSet<&OsStr> =
        lines.keys().filter_map(|image| image.strip_prefix(root).ok()?.iter().next()).collect();
    let is_other = |folder: &&Folder| !used.contains(folder.name.as_os_str());
    let listing = list(root)?;
    LeftOut { top: root, category: "", findings }.unlisted_folders(listing.folders.iter().filter(is_other), NOT_LISTED);
    let categories = categories.into_iter().map(|(name, mut samples)| {
        samples.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
        pair_masks(root, &name, &mut samples, findings)?;
        let folder = root.join(&name);
        Ok(Category { name, folder, samples })
    });
    categories.collect()
}

/// Finds masks that the table does not list, by their stems, and reports masks without an image.
fn pair_masks(root: &Path, name: &str, samples: &mut [Sample], findings: &mut Vec<Finding>) -> Result<()> {
    let named: BTreeSet<PathBuf> = samples.iter().flat_map(|sample| sample.masks.iter().cloned()).collect();
    let mut images = BTreeMap::<PathBuf, PathBuf>::new();
    // Some tables list one black mask for all normal images.
    for sample in samples.iter().filter(|sample| sample.label.is_anomalous()) {
        let [mask, ..] = &sample.masks[..] else { continue };
        if let Some(other) = images.insert(mask.clone(), sample.path.clone()).filter(|other| *other != sample.path) {
            let what = format!("it shares the mask {} with {}", mask.display(), other.display());
            findings.push(Finding::new(FindingKind::AmbiguousMask, name, &sample.path, what));
        }
    }
    let folder = root.join(name);
    let mut rest = list_if_there(&folder.join("Data").join("Masks").join("Anomaly"))?;
    rest.images.retain(|mask| !named.contains(mask));
    let mut rest = Masks::new(rest);
    for sample in samples.iter_mut().filter(|sample| sample.label.is_anomalous() && sample.masks.is_empty()) {
        rest.pair(sample, findings)?;
    }
    rest.report_unpaired(name, TABLE, findings);
    not_in_table(&folder, name, samples, findings)
}

/// Reports images of a category that the table does not list.
fn not_in_table(folder: &Path, name: &str, samples: &[Sample], findings: &mut Vec<Finding>) -> Result<()> {
    let named: BTreeSet<&Path> = samples.iter().map(|sample| sample.path.as_path()).collect();
    let is_mask = |image: &Path| {
        let inner = image.strip_prefix(folder).ok().and_then(Path::parent);
        inner.is_some_and(|inner| inner.iter().any(holds_labels))
    };
    let all = images_below(folder)?;
    let mut others = BTreeMap::<&Path, Vec<&PathBuf>>::new();
    for image in all.iter().filter(|image| !named.contains(image.as_path()) && !is_mask(image)) {
        others.entry(parent(image)).or_default().push(image);
    }
    for (place, images) in others {
        LeftOut { top: folder, category: name, findings }.unlisted(place, &images, NOT_LISTED);
    }
    Ok(())
}
