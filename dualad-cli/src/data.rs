//! Datasets: opened in any layout, generated, and checked before anything is computed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dualad::data::image::Limits;
use dualad::data::synthetic::{self, Options};
use dualad::data::{Cancel, Dataset, Finding, FindingKind, Layout, MaskRule, Sample, Split};

use crate::common::{Result, note};
use crate::limits::LimitArgs;
use crate::lines::{MAX_FAULTS, finding_lines, first_lines};
use crate::progress::Bar;

/// The layouts of datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutName {
    /// The layout that is found, or else a folder of normal images for each product
    Auto,
    /// MVTec AD: CATEGORY/train/good, CATEGORY/test/DEFECT, CATEGORY/ground_truth/DEFECT
    Mvtec,
    /// VisA: the table split_csv/1cls.csv names every image
    Visa,
    /// A folder of normal images, and if there is one, a folder `test`
    Folder,
    /// A table of images: csv, tsv, jsonl or ndjson, with the columns path and label
    Table,
    /// COCO annotations, as CVAT, Roboflow and Label Studio write them
    Coco,
    /// LabelMe annotations: a json file beside each annotated image
    #[value(name = "labelme")]
    LabelMe,
    /// KolektorSDD or KolektorSDD2: a mask beside each image
    Kolektor,
    /// DAGM 2007: CLASS/Train and CLASS/Test with masks in Label
    Dagm,
    /// MVTec AD 2: CATEGORY/train/good and CATEGORY/test_public
    MvtecAd2,
    /// The color images of MVTec 3D-AD: CATEGORY/train/good/rgb
    #[value(name = "mvtec-3d")]
    Mvtec3d,
    /// Real-IAD: realiad_jsons/CATEGORY.json and realiad_1024/CATEGORY
    RealIad,
}

/// The mask values that mark a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MasksName {
    /// Only white: 255, or 65535 in a mask of 16 bits
    White,
    /// Every value except 0: also masks of 0 and 1, and of palettes
    NonZero,
    /// Every value from the middle on: soft edges, and masks in jpeg
    Half,
    /// Opaque pixels of the alpha channel, whatever their color
    Alpha,
}

impl From<MasksName> for MaskRule {
    fn from(name: MasksName) -> Self {
        match name {
            MasksName::White => Self::White,
            MasksName::NonZero => Self::NonZero,
            MasksName::Half => Self::Half,
            MasksName::Alpha => Self::Alpha,
        }
    }
}

/// The flags for a dataset.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// Layout of the dataset
    #[arg(long, value_enum, value_name = "LAYOUT", default_value = "auto")]
    layout: LayoutName,
    /// Categories to use, with commas between them [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_category)]
    categories: Vec<String>,
    /// Mask values that mark a defect [default: white; non-zero for VisA, and for several masks of one image]
    #[arg(long, value_enum, value_name = "RULE")]
    masks: Option<MasksName>,
    #[command(flatten)]
    images: LimitArgs,
}

/// Returns the name of a category, without the spaces after a comma.
pub(crate) fn parse_category(text: &str) -> std::result::Result<String, String> {
    match text.trim() {
        "" => Err("a category's name is empty".into()),
        name => Ok(name.to_owned()),
    }
}

/// Returns the names of categories that were given. A known name with commas in it, which was taken apart, is whole again.
pub(crate) fn whole_names(given: &[String], known: &[String]) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), given);
    while let [first, ..] = rest {
        let parts = |name: &str| name.split(',').count();
        let is_next =
            |name: &&String| name.split(',').map(str::trim).eq(rest.iter().take(parts(name)).map(String::as_str));
        let whole = known.iter().find(is_next).unwrap_or(first);
        found.push(whole.clone());
        rest = rest.get(parts(whole)..).unwrap_or_default();
    }
    found
}

impl DataArgs {
    /// The limits for images.
    pub(crate) fn limits(&self) -> Limits {
        self.images.limits()
    }

    /// The categories that were named; empty for all.
    pub(crate) fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Opens the dataset in a folder.
    pub(crate) fn open(&self, root: &Path) -> Result<Dataset> {
        let layout = match self.layout {
            LayoutName::Auto => None,
            LayoutName::Mvtec => Some(Layout::Mvtec),
            LayoutName::Visa => Some(Layout::Visa),
            LayoutName::Folder => Some(Layout::Folder),
            LayoutName::Table => Some(Layout::Table),
            LayoutName::Coco => Some(Layout::Coco),
            LayoutName::LabelMe => Some(Layout::LabelMe),
            LayoutName::Kolektor => Some(Layout::Kolektor),
            LayoutName::Dagm => Some(Layout::Dagm),
            LayoutName::MvtecAd2 => Some(Layout::MvtecAd2),
            LayoutName::Mvtec3d => Some(Layout::Mvtec3d),
            LayoutName::RealIad => Some(Layout::RealIad),
        };
        let dataset = match layout {
            Some(layout) => Dataset::open_as(layout, root)?,
            None => Dataset::open_products(root)?,
        };
        let dataset = match self.masks {
            Some(masks) => dataset.mask_rule(masks.into()),
            None => dataset,
        };
        if self.categories.is_empty() {
            return Ok(dataset);
        }
        let known: Vec<String> = dataset.categories.iter().map(|category| category.name.clone()).collect();
        Ok(dataset.select(&whole_names(&self.categories, &known))?)
    }
}

/// The use of a dataset that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Training,
    /// Needs no images to train on.
    Evaluation,
}

/// Reads every file of a dataset and prints the findings. An error lists the fatal ones. Returns the dataset, without the broken
/// images if they are to be left out.
pub(crate) fn check(
    mut dataset: Dataset,
    purpose: Purpose,
    skip_broken: bool,
    limits: Limits,
    cancel: &Cancel,
) -> Result<Dataset> {
    let bar = Bar::new("checking the dataset");
    let check = dataset.check().limits(limits).cancel(cancel).progress(|done, total| bar.set(done, total));
    // The broken images are left out by their findings.
    let report = if skip_broken { check.listed(0).run() } else { check.run() };
    drop(bar);
    let mut report = report.map_err(dualad::Error::from)?;
    if purpose == Purpose::Evaluation {
        report.findings.retain(|finding| finding.kind != FindingKind::NoNormalImages);
    }
    if skip_broken {
        leave_out_broken(&mut dataset, &mut report.findings);
    }
    let report = report.into_result()?;
    for line in finding_lines(&report.findings, MAX_FAULTS, "") {
        note(&line);
    }
    if let Some(hint) = masks_hint(&report.findings) {
        note(hint);
    }
    Ok(dataset)
}

/// Returns whether a finding is of one file, an image or a mask, without which the dataset can be used.
pub(crate) fn is_of_a_file(finding: &Finding) -> bool {
    let kinds = [FindingKind::EmptyFile, FindingKind::Unreadable, FindingKind::TooLarge, FindingKind::MaskSize];
    kinds.contains(&finding.kind)
}

/// Removes the images that cannot be read, or a mask of theirs, and prints their findings.
fn leave_out_broken(dataset: &mut Dataset, findings: &mut Vec<Finding>) {
    let (broken, rest): (Vec<Finding>, Vec<Finding>) = std::mem::take(findings).into_iter().partition(is_of_a_file);
    *findings = rest;
    let paths: HashSet<&Path> = broken.iter().map(|finding| finding.path.as_path()).collect();
    let is_broken = |path: &PathBuf| paths.contains(path.as_path());
    let is_trained_on = |sample: &Sample| sample.split == Split::Train && !sample.label.is_anomalous();
    for category in &mut dataset.categories {
        let had = category.samples.iter().any(is_trained_on);
        category.samples.retain(|sample| !is_broken(&sample.path) && !sample.masks.iter().any(is_broken));
        if had && !category.samples.iter().any(is_trained_on) {
            note(&format!("warning: {} is not trained on: none of its images can be read", category.name));
        }
    }
    for line in first_lines(&broken, |finding| format!("left out: {}", finding.message), " are left out") {
        note(&line);
    }
}

/// Returns the flag that reads masks by another rule, if a finding asks for one.
pub(crate) fn masks_hint(findings: &[Finding]) -> Option<&'static str> {
    let of_values = |finding: &Finding| {
        matches!(finding.kind, FindingKind::EmptyMask | FindingKind::FullMask | FindingKind::GrayMask)
    };
    let hint = "note: --masks chooses the rule by which masks are read: white, non-zero, half or alpha";
    findings.iter().any(of_values).then_some(hint)
}

/// Generates a small dataset below `out`, unless it is there. It is the same every time.
pub(crate) fn generate(out: &Path) -> Result<PathBuf> {
    let folder = out.join("data");
    // This file is written last.
    if !folder.join("readme.txt").is_file() {
        let bar = Bar::new("generating a dataset");
        synthetic::write(&folder, &Options::default(), |done, total| bar.set(done, total))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_is_whole_again() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let known = names(&["gear, small", "gear", "nut"]);
        for (given, expected) in [
            (&["gear", "small"][..], &["gear, small"][..]),
            (&["nut", "gear", "small", "gear"], &["nut", "gear, small", "gear"]),
            (&["gear", "nut"], &["gear", "nut"]),
            (&["small", "x"], &["small", "x"]),
        ] {
            assert_eq!(whole_names(&names(given), &known), names(expected), "{given:?}");
        }
    }
}
