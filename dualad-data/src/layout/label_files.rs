//! Files that may hold the labels of images, and that no layout reads. They are named: the images count as normal.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::files::{files_with, json};
use super::foreign::{self, Marked};
use super::left_out::is_link_within;
use super::listing::{Folder, Listing, list, stem};
use super::mask_name::{Key, is_of_image, key};
use super::named::{Mentions, Names};
use super::names::{Part, is_normal, means_labels};
use super::records::verdict;
use super::{coco, coco_file, labelme, tabular};
use crate::error::{Error, Result, without_path};
use crate::finding::{Finding, FindingKind};
use crate::image_name::has_ending;
use crate::text::names_of;

/// The endings of tables and annotations.
const ENDINGS: [&str; 11] = ["csv", "json", "jsonl", "ndjson", "ods", "parquet", "tsv", "xls", "xlsm", "xlsx", "xml"];
/// The endings of texts. Most are notes.
const TEXTS: [&str; 3] = ["txt", "lst", "log"];

/// The endings of settings, which may be labels.
const YAML: [&str; 2] = ["yaml", "yml"];

/// The depth to which folders are searched.
const DEPTH: usize = 2;
/// The number of folders that are searched.
const MAX_FOLDERS: usize = 500;

/// Reports the files in a folder, and in those in it, that may hold labels of the images, and the images that they do not name. Folders in
/// `known` are not searched. A file that labels images is an error: they would all count as normal.
pub(super) fn report(
    root: &Path,
    images: &[PathBuf],
    known: &HashSet<&Path>,
    category: &str,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let (names, keys) = (Names::of(images), images.iter().map(|image| key(image)).collect::<BTreeSet<Key>>());
    let (mut found, mut verdicts) = (Vec::<(PathBuf, Option<Mentions>)>::new(), Vec::<(PathBuf, String)>::new());
    let mut level = vec![root.to_path_buf()];
    let mut budget = MAX_FOLDERS;
    for depth in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in level.iter().take(budget) {
            // The readers report folders that cannot be listed.
            let Ok(Listing { folders, others, .. }) = list(folder) else { continue };
            let of_images = others.iter().filter(|file| is_of_image(file, &keys));
            verdicts.extend(of_images.filter_map(|file| Some((file.clone(), verdict(file)?))));
            let files = others
                .into_iter()
                .filter(|file| may_label(file, &keys) || has_ending(file, &YAML) || has_ending(file, &TEXTS));
            let files = files.map(|file| (Mentions::of(&file, &names), file));
            // Most settings and notes name no images.
            let files = files.filter(|(mentions, file)| mentions.is_some() || may_label(file, &keys));
            found.extend(files.map(|(mentions, file)| (file, mentions)));
            let is_searched = |folder: &PathBuf| !known.contains(folder.as_path()) && !is_link_within(folder, root);
            // The folders there say which images are normal.
            let inner = folders
                .into_iter()
                .filter(|inner| !is_normal(&inner.name) && Part::of(&inner.name) != Some(Part::Test));
            next.extend(inner.map(|inner| inner.path).filter(is_searched));
        }
        budget = budget.saturating_sub(level.len());
        if depth == DEPTH || budget == 0 {
            break;
        }
        level = next;
    }
    if let Some((path, error)) =
        found.iter().filter(|(_, mentions)| mentions.is_none()).find_map(|(file, _)| Some((file, unreadable(file)?)))
    {
        return Err(Error::Io { action: "read", path: path.clone(), error });
    }
    // Those that name images come first.
    found.sort_by_key(|(_, mentions)| mentions.is_none());
    let short = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let rest = |mentions: &Mentions| {
        let rest: Vec<String> = mentions.without(images).into_iter().map(short).collect();
        (!rest.is_empty()).then(|| format!("it does not name {}: {}", rest.len(), names_of(&rest)))
    };
    let labels = |(file, mentions): &(PathBuf, Option<Mentions>)| {
        let mentions = mentions.as_ref().filter(|mentions| mentions.are_labels(file, &names))?;
        Some((file.clone(), mentions.count(), rest(mentions)))
    };
    if let Some((file, count, rest)) = found.iter().find_map(labels) {
        let Advice { why, how } = advice(&file);
        let reason = format!(
            "{} names {count} of its {} images and is not read, because {why}; to have it read, {how}; if it holds no labels, move it out \
             of the folder, or move the normal images to train/good{}",
            short(&file),
            images.len(),
            rest.map_or(String::new(), |rest| format!("; {rest}"))
        );
        return Err(Error::Layout { path: root.into(), reason });
    }
    if let Some((file, label)) = verdicts.first() {
        let reason = format!(
            "files with the names of images say that these have defects, and are not read: {} (such as {}: \"{label}\"); move the normal \
             images to train/good and the others to test/<type of defect>, or write a table (csv) with the columns path and label above the \
             images",
            verdicts.len(),
            short(file)
        );
        return Err(Error::Layout { path: root.into(), reason });
    }
    let Some(((first, mentions), others)) = found.split_first() else { return Ok(()) };
    let Advice { why, how } = advice(first);
    let mut what = format!(
        "{} is not read, because {why}; to have it read, {how}. Until then, all images count as normal; if it holds no labels of \
         images, nothing is missing",
        short(first)
    );
    if let Some(mentions) = mentions {
        what += &format!(". It names {} of the {} images", mentions.count(), images.len());
        what += &rest(mentions).map_or(String::new(), |rest| format!("; {rest}"));
    }
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|(file, _)| short(file)).collect();
        what += &match others.len() {
            1 => format!(". Nor is another file that may hold labels: {}", names_of(&names)),
            count => format!(". Nor are {count} other files that may hold labels: {}", names_of(&names)),
        };
    }
    findings.push(Finding::new(FindingKind::LeftOut, category, first, what));
    Ok(())
}

/// Returns the error of opening a file. A pipe is not opened.
fn unreadable(file: &Path) -> Option<std::io::Error> {
    file.is_file().then(|| std::fs::File::open(file).err()).flatten()
}

/// Returns whether a file may hold labels. YOLO has a text for each image.
fn may_label(file: &Path, images: &BTreeSet<Key>) -> bool {
    has_ending(file, &ENDINGS) || has_ending(file, &TEXTS) && (is_of_image(file, images) || means_labels(stem(file)))
}

/// Returns whether a finding is that of files that may hold labels.
pub(super) fn is_of_file(finding: &Finding) -> bool {
    finding.kind == FindingKind::LeftOut && has_ending_of_labels(&finding.path)
}

/// Returns whether a file has an ending of those that may hold labels.
pub(super) fn has_ending_of_labels(file: &Path) -> bool {
    has_ending(file, &ENDINGS) || has_ending(file, &TEXTS)
}

/// The reason why a file is not read, and how it would be.
pub(super) struct Advice {
    pub(super) why: String,
    pub(super) how: &'static str,
}

/// Returns the advice for a file that may hold labels.
pub(super) fn advice(file: &Path) -> Advice {
    const COLUMNS: &str = "give it the columns path (relative to the table) and label (normal, or a type of defect), and put it above the \
                           images";
    const PLACE: &str = "open it by its path, or put it above the images, with paths relative to it";
    let (why, how) = if has_ending(file, &["csv", "tsv", "jsonl", "ndjson"]) {
        match tabular::first_line(file) {
            _ if tabular::names_images(file) => ("it is a table inside of what is opened".into(), PLACE),
            Some(line) => (format!("its first line \"{line}\" has no columns path and label"), COLUMNS),
            None => ("it has no columns path and label".into(), COLUMNS),
        }
    } else if has_ending(file, &["json"]) {
        let how = "write the labels as COCO or LabelMe does, or as a table (csv) with the columns path and label";
        match json::<IgnoredAny>(file) {
            Ok(_) if coco_file::is_coco(file) => (
                "it is a file of COCO where none is expected".into(),
                "open it by its path, or put it into annotations above the images",
            ),
            Ok(_) if labelme::is_labelme(file) => (
                "it is a file of LabelMe that belongs to no image beside it".into(),
                "put it beside its image, under the image's name",
            ),
            Ok(_) if coco::lists_images_alone(file) => (coco::IMAGES_ALONE.into(), coco::ADD_ANNOTATIONS),
            Ok(_) => ("it has neither the lists of COCO nor the shapes of LabelMe".into(), how),
            Err(Error::Table { reason, .. }) => (reason, "write it anew"),
            Err(error) => (without_path(&error, file), how),
        }
    } else if let Some(Marked { format, .. }) = foreign::marked(file) {
        (format!("it has annotations of {}, which are not supported", format.name()), "export them as COCO JSON")
    } else if has_ending(file, &["xml"]) {
        (
            "annotations in XML, such as those of CVAT and Pascal VOC, are not supported".into(),
            "export them as COCO JSON",
        )
    } else if has_ending(file, &YAML) {
        ("files of YAML are not supported".into(), "write a table (csv) with the columns path and label")
    } else if has_ending(file, &TEXTS) {
        (
            "texts are not supported, such as those of YOLO".into(),
            "convert it to COCO, or to a table (csv) with the columns path and label",
        )
    } else {
        ("spreadsheets are not supported".into(), "save it as csv with the columns path and label, above the images")
    };
    Advice { why, how }
}

/// Describes the labels of YOLO in a folder, or in one of its folders: texts in a folder `labels`.
pub(super) fn yolo(listing: &Listing) -> Option<String> {
    let has_texts = |folder: &&Folder| {
        folder.name.eq_ignore_ascii_case("labels")
            && files_with(&folder.path, &["txt"]).is_ok_and(|texts| !texts.is_empty())
    };
    let inner = listing.folders.iter().take(MAX_FOLDERS).filter_map(|folder| list(&folder.path).ok());
    let inner: Vec<Folder> = inner.flat_map(|listing| listing.folders).collect();
    let labels = listing.folders.iter().chain(&inner).find(has_texts)?;
    Some(format!(
        "; the texts in {} are labels as YOLO has them, which are not read: convert them to COCO, or move the images to train/good \
         and test/<type of defect>",
        labels.path.display()
    ))
}
