//! Files around the normal images that say that some have defects: annotations and tables, which the layouts of folders do not read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::bounded::{Id, List};
use super::coco_file::{File, is_coco};
use super::divide::marks_no_defect;
use super::files::{bytes, json};
use super::foreign::{self, Format, Marked};
use super::label_list::LabelList;
use super::left_out::is_link_within;
use super::listing::{list, stem};
use super::names::{Stated, label_of, may_hold_annotations, means_labels};
use super::own_files::OwnFiles;
use super::records::{unread, verdict};
use super::training_images::{Images, Place};
use super::words::letters;
use super::{label_files, labelme, tabular};
use crate::error::Error;
use crate::finding::{Finding, FindingKind};
use crate::image::Drawing;
use crate::image_name::has_ending;
use crate::sample::{Category, Label, Split};
use crate::text::{names_of, shown};

/// The depth to which folders are searched.
const DEPTH: usize = 5;
/// The numbers of folders and of files that are looked at.
const MAX_FOLDERS: usize = 5_000;
const MAX_FILES: usize = 50_000;

/// The number of files of other forms whose records are read.
const MAX_LISTS: usize = 200;

/// The endings of annotations, tables, annotations that are not read, and lists.
const JSON: [&str; 1] = ["json"];
const TABLES: [&str; 4] = ["csv", "tsv", "jsonl", "ndjson"];
const UNREAD: [&str; 2] = ["txt", "xml"];
const LISTS: [&str; 4] = ["log", "lst", "yaml", "yml"];

/// Marks the images to train on in which a file in the folder, or below it, marks a defect, and reports the normal test images in which one
/// does. Folders in `known` are not searched, and the files of the reader itself (`own`) are not read again. Files that cannot be read and have
/// the names of images to train on are reported. Returns the files that say of a normal image whether it has a defect,
/// and those that are damaged.
pub(super) fn mark(
    root: &Path,
    known: &HashSet<PathBuf>,
    own: Option<&OwnFiles>,
    categories: &mut [Category],
    findings: &mut Vec<Finding>,
) -> HashSet<PathBuf> {
    let mut files = files(root, known);
    files.retain(|file| !own.is_some_and(|own| own.have(file)));
    if files.is_empty() {
        return HashSet::new();
    }
    let all = || categories.iter().flat_map(|category| &category.samples).map(|sample| sample.path.clone());
    let paths: Vec<PathBuf> = all().collect();
    let images = Images::of(root, &paths, categories);
    let Said { marks, lists, unread, damaged, mut read } = Said::by(&files, &images);
    for (file, list) in lists {
        list.report(file, &images, categories, findings);
    }
    // The reader of a folder without a folder for normal images names these files.
    if !findings.iter().any(label_files::is_of_file) {
        report_unread(root, &unread, &images, categories, findings);
    }
    report_damaged(root, &damaged, categories, findings);
    read.extend(damaged.into_iter().map(|(file, _)| file.clone()));
    marks.apply(&images, categories, findings);
    read
}

/// Returns the first file by which images to train on of a category have defects, and the number of these images.
pub(super) fn first_mark(files: &[PathBuf], images: &Images<'_>, category: &Category) -> Option<(PathBuf, usize)> {
    let marks = Said::by(files, images).marks;
    let OfCategory { marked, may_be_part, .. } = marks.of(0, category, images);
    let (_, (first, _)) = marked.first().filter(|_| !may_be_part)?;
    Some((first.clone(), marked.len()))
}

/// The labels that files give normal images.
#[derive(Default)]
struct Said<'f> {
    marks: Marks,
    lists: Vec<(&'f PathBuf, LabelList)>,
    /// Those in formats that are not read, with the images that they mark.
    unread: Vec<(&'f PathBuf, Format, Vec<Place>)>,
    damaged: Vec<(&'f PathBuf, Error)>,
    /// The files that say of a normal image whether it has a defect.
    read: HashSet<PathBuf>,
}

impl<'f> Said<'f> {
    fn by(files: &'f [PathBuf], images: &Images<'_>) -> Self {
        let mut said = Self::default();
        let mut lists = Vec::new();
        for file in files {
            if let Some(Marked { format, objects }) = foreign::marked(file) {
                let placed = |(name, label): (Option<String>, String)| {
                    let place = name.map_or_else(|| images.of_stem(file), |name| images.mentioned(&name, file))?;
                    Some((place, label))
                };
                let objects: Vec<(Place, String)> = objects.into_iter().filter_map(placed).collect();
                objects.iter().for_each(|(place, label)| said.marks.add(*place, file, label));
                said.unread.push((file, format, objects.into_iter().map(|(place, _)| place).collect()));
            } else if has_ending(file, &JSON) && is_coco(file) {
                if of_coco(file, images, &mut said.marks) {
                    said.read.insert(file.clone());
                }
            } else if let Some((name, labels)) = has_ending(file, &JSON).then(|| labelme::defects_of(file)).flatten() {
                if let Some(place) = images.of_shapes(file, name.as_deref()) {
                    labels.iter().for_each(|label| said.marks.add(place, file, label));
                    said.read.insert(file.clone());
                }
            } else if has_ending(file, &TABLES) && tabular::names_images(file) {
                if of_table(file, images, &mut said.marks) {
                    said.read.insert(file.clone());
                }
            } else if images.may_be_list(file) {
                lists.push(file);
            } else if let Some((place, label)) = images.of_stem(file).and_then(|place| Some((place, verdict(file)?))) {
                said.marks.add(place, file, &label);
                said.read.insert(file.clone());
            }
            if !said.read.contains(file) {
                said.damaged.extend(fault(file, images).map(|error| (file, error)));
            }
        }
        for file in lists.into_iter().take(MAX_LISTS) {
            let list = LabelList::of(file, images);
            list.defects().for_each(|(place, label)| said.marks.add(place, file, label));
            if list.has_labels() {
                said.read.insert(file.clone());
            }
            said.lists.push((file, list));
        }
        said
    }
}

/// Returns the files that may hold labels.
fn files(root: &Path, known: &HashSet<PathBuf>) -> Vec<PathBuf> {
    let (mut found, mut level, mut budget) = (Vec::new(), vec![root.to_path_buf()], MAX_FOLDERS);
    for _ in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in level.iter().take(budget) {
            // The readers report folders that cannot be listed.
            let Ok(listing) = list(folder) else { continue };
            let endings = [&JSON[..], &TABLES[..], &UNREAD[..], &LISTS[..]];
            let may_label = |file: &PathBuf| endings.iter().any(|endings| has_ending(file, endings));
            found.extend(listing.others.into_iter().filter(may_label));
            let inner = listing.folders.into_iter().map(|inner| inner.path);
            next.extend(inner.filter(|inner| !known.contains(inner) && !is_link_within(inner, root)));
        }
        budget = budget.saturating_sub(level.len());
        level = next;
    }
    found.truncate(MAX_FILES);
    found
}

/// The normal images that files mark, the file of each, and the labels.
#[derive(Default)]
struct Marks(BTreeMap<Place, (PathBuf, BTreeSet<String>)>);

impl Marks {
    fn add(&mut self, place: Place, file: &Path, label: &str) {
        let mark = self.0.entry(place).or_insert_with(|| (file.to_path_buf(), BTreeSet::new()));
        mark.1.insert(label.to_string());
    }

    /// Returns the marks of the images of a category. Where most images to train on are marked, or the labels are its name, and no label is
    /// that of a defect, the marks may be those of the part.
    fn of(&self, index: usize, category: &Category, images: &Images<'_>) -> OfCategory<'_> {
        let own = self.0.iter().filter(|((of, _), _)| *of == index);
        let (marked, tested): (Vec<Mark>, Vec<Mark>) =
            own.partition(|(place, _)| images.split(**place) == Split::Train);
        let trained = category.samples.iter().filter(|sample| sample.split == Split::Train).count();
        // The name of the product labels the part.
        let name = letters(&category.name);
        let is_part =
            [&marked, &tested].into_iter().flat_map(|marks| labels(marks)).all(|label| letters(label) == name);
        let may_be_part = !have_word(&marked) && (is_part || 2 * marked.len() > trained);
        OfCategory { marked, tested, trained, may_be_part }
    }

    /// Gives images to train on drawings, which a check reports, and reports the normal test images. Marks that may be those of the part are
    /// a warning.
    fn apply(self, images: &Images<'_>, categories: &mut [Category], findings: &mut Vec<Finding>) {
        for (index, category) in categories.iter_mut().enumerate() {
            let OfCategory { marked, tested, trained, may_be_part } = self.of(index, category, images);
            if have_word(&tested) || !may_be_part {
                report_tests(category, &tested, images, findings);
            }
            let Some((_, (first, _))) = marked.first() else { continue };
            if may_be_part {
                let what = format!(
                    "annotations that are not read mark {} of the {trained} images to train on in category \"{}\" (such as \"{}\" in this \
                     file); if these are defects, move the images to test/<type of defect>; if they mark the part, nothing is missing",
                    marked.len(),
                    category.name,
                    labels(&marked).first().unwrap_or(&"")
                );
                findings.push(Finding::new(FindingKind::UnclearLabel, &category.name, first, what));
                continue;
            }
            for ((_, sample), (file, _)) in marked {
                let sample = category.samples.get_mut(*sample).filter(|sample| sample.drawing.is_none());
                // The shapes do not matter for an image that is not tested on.
                if let (Some(sample), Ok(drawing)) = (sample, Drawing::new(file, None, Vec::new())) {
                    sample.drawing = Some(Arc::new(drawing));
                }
            }
        }
    }
}

/// The marks of the images of a category.
struct OfCategory<'a> {
    /// Those to train on.
    marked: Vec<Mark<'a>>,
    tested: Vec<Mark<'a>>,
    /// The number of all images to train on.
    trained: usize,
    may_be_part: bool,
}

/// An image with the file that marks it, and the labels.
type Mark<'a> = (&'a Place, &'a (PathBuf, BTreeSet<String>));

fn labels<'a>(marks: &[Mark<'a>]) -> BTreeSet<&'a str> {
    marks.iter().flat_map(|(_, (_, labels))| labels).map(String::as_str).collect()
}

/// Returns whether a label is a word for a defect, or missing.
fn have_word(marks: &[Mark<'_>]) -> bool {
    labels(marks)
        .into_iter()
        .any(|label| label.is_empty() || matches!(label_of(label.as_ref()), Stated::Defective | Stated::DefectType))
}

/// Reports the normal test images of a category that files mark, once for each folder of files.
fn report_tests(category: &Category, tested: &[Mark<'_>], images: &Images<'_>, findings: &mut Vec<Finding>) {
    let mut by_folder = BTreeMap::<Option<&Path>, Vec<Mark<'_>>>::new();
    for mark in tested {
        by_folder.entry(mark.1.0.parent()).or_default().push(*mark);
    }
    for marked in by_folder.into_values() {
        let files: BTreeSet<&PathBuf> = marked.iter().map(|(_, (file, _))| file).collect();
        let Some(first) = files.first() else { continue };
        let they_say = match files.len() {
            1 => "it says".to_string(),
            count => format!("it and others beside it ({count} files) say"),
        };
        let sample = |((_, sample), _): &Mark<'_>| category.samples.get(*sample);
        let names: Vec<String> = marked.iter().filter_map(sample).map(|sample| images.short(&sample.path)).collect();
        let labels: Vec<&str> = labels(&marked).into_iter().filter(|label| !label.is_empty()).collect();
        let by = if labels.is_empty() { String::new() } else { format!(" ({})", names_of(&labels)) };
        let what = format!(
            "{they_say} that normal test images of category \"{}\" have defects{by}: {} ({}); they count as normal in every metric; move them to \
             test/<type of defect>, or if they have none, correct what says so",
            category.name,
            names.len(),
            names_of(&names)
        );
        findings.push(Finding::new(FindingKind::Contradiction, &category.name, first, what));
    }
}

/// Adds the normal images that a file of COCO annotates. Returns whether it lists any.
fn of_coco(file: &Path, images: &Images<'_>, marks: &mut Marks) -> bool {
    let Ok(content) = json::<File>(file) else { return false };
    let kinds: HashMap<Id, String> = content.categories.0.into_iter().map(|kind| (kind.id, kind.name)).collect();
    let places =
        content.images.0.into_iter().filter_map(|image| Some((image.id, images.named(&image.file_name, file)?)));
    let places: HashMap<Id, Place> = places.collect();
    let List(annotations) = content.annotations.unwrap_or_default();
    for annotation in annotations {
        let kind = annotation.category_id.as_ref().and_then(|id| kinds.get(id)).map_or("", |kind| kind.trim());
        if let Some(place) = places.get(&annotation.image_id).filter(|_| !marks_no_defect(kind)) {
            marks.add(*place, file, kind);
        }
    }
    !places.is_empty()
}

/// Adds the normal images that a table labels as defective: by a word for defects, or where it labels others of the same split as normal.
/// Returns whether it labels any.
fn of_table(file: &Path, images: &Images<'_>, marks: &mut Marks) -> bool {
    let rows = tabular::labels(file).into_iter().filter(|row| !row.is_bare);
    let rows: Vec<tabular::Labelled> = rows.collect();
    let has_products = images.have_product(rows.iter().filter_map(|row| row.product.as_deref()));
    let place = |row: &tabular::Labelled| {
        let product = row.product.as_deref().filter(|_| has_products);
        images.mentioned_of(&row.path, product, file)
    };
    let placed: Vec<(Place, Label)> = rows.into_iter().filter_map(|row| Some((place(&row)?, row.label))).collect();
    let is_normal_in =
        |split| placed.iter().any(|(place, label)| !label.is_anomalous() && images.split(*place) == split);
    let has_normal = [Split::Train, Split::Test].map(|split| (split, is_normal_in(split)));
    let is_any = !placed.is_empty();
    for (place, label) in placed {
        let Label::Anomalous(kind) = label else { continue };
        if has_normal.contains(&(images.split(place), true))
            || matches!(label_of(kind.as_ref()), Stated::Defective | Stated::DefectType)
        {
            marks.add(place, file, &kind);
        }
    }
    is_any
}

/// Returns whether a file of COCO or a table says of all images that it labels that they have no defect.
pub(super) fn says_all_are_normal(file: &Path) -> bool {
    if has_ending(file, &JSON) && is_coco(file) {
        let Ok(content) = json::<File>(file) else { return false };
        let normal: HashSet<Id> = content
            .categories
            .0
            .into_iter()
            .filter(|kind| marks_no_defect(kind.name.trim()))
            .map(|kind| kind.id)
            .collect();
        let List(annotations) = content.annotations.unwrap_or_default();
        let is_normal = |id: &Option<Id>| id.as_ref().is_some_and(|id| normal.contains(id));
        !annotations.is_empty() && annotations.iter().all(|annotation| is_normal(&annotation.category_id))
    } else if has_ending(file, &TABLES) && tabular::names_images(file) && tabular::fault(file).is_none() {
        let rows = tabular::labels(file);
        !rows.is_empty() && rows.iter().all(|row| !row.is_bare && !row.label.is_anomalous())
    } else {
        false
    }
}

/// Reports annotations of images to train on in formats that are not read, once for each format.
fn report_unread(
    root: &Path,
    files: &[(&PathBuf, Format, Vec<Place>)],
    images: &Images<'_>,
    categories: &[Category],
    findings: &mut Vec<Finding>,
) {
    for format in [Format::Yolo, Format::PascalVoc, Format::Cvat] {
        let is_trained = |place: &&Place| images.split(**place) == Split::Train;
        let own = files.iter().filter(|(_, of, places)| *of == format && places.iter().any(|place| is_trained(&place)));
        let found: Vec<&PathBuf> = own.clone().map(|(file, ..)| *file).collect();
        let marked: BTreeSet<&Place> = own.flat_map(|(_, _, places)| places).filter(is_trained).collect();
        let (Some(first), Some((category, _))) = (found.first(), marked.first()) else { continue };
        let folder = first.parent().unwrap_or(root);
        let what = format!(
            "annotations of {} are not read, and they mark images to train on (images: {}; files: {}, the first in {}). If they mark defects, \
             export them as COCO JSON and open that, or move these images to test/<type of defect>",
            format.name(),
            marked.len(),
            found.len(),
            shown(folder.strip_prefix(root).unwrap_or(folder))
        );
        let name = categories.get(*category).map_or("", |category| category.name.as_str());
        findings.push(Finding::new(FindingKind::LeftOut, name, first, what));
    }
}

/// Returns the fault of a JSON file or a table that cannot be read or is damaged, if it may hold labels of images to train on: it begins as
/// one of COCO, lies in a folder of annotations, is a table named like labels, has the name of an image, or one stands in it.
fn fault(file: &Path, images: &Images<'_>) -> Option<Error> {
    let is_table = has_ending(file, &TABLES);
    let error = match (has_ending(file, &JSON), is_table) {
        (true, _) => json::<IgnoredAny>(file).err()?,
        (_, true) if tabular::names_images(file) => tabular::fault(file)?,
        (_, true) => unread(file)?,
        _ => return None,
    };
    let is_of_images = || {
        let text = if is_table { tabular::beginning(file) } else { bytes(file).ok() }.unwrap_or_default();
        String::from_utf8_lossy(&text)
            .split(['"', ',', ';', '\t', '\n', '\r'])
            .any(|value| images.mentioned(value, file).is_some_and(|place| images.split(place) == Split::Train))
    };
    let may_label = is_coco(file)
        || is_table && means_labels(stem(file))
        || file.parent().and_then(Path::file_name).is_some_and(may_hold_annotations)
        || images.of_stem(file).is_some_and(|place| images.split(place) == Split::Train)
        || is_of_images();
    may_label.then_some(error)
}

/// Reports files of annotations that are damaged: nothing tells which images they mark.
fn report_damaged(root: &Path, found: &[(&PathBuf, Error)], categories: &[Category], findings: &mut Vec<Finding>) {
    // The reader of a folder without a folder for normal images has told them as files that are not read.
    findings.retain(|finding| !found.iter().any(|(file, _)| finding.path == **file));
    for (file, error) in found {
        // The innermost category that holds the file.
        let holds = |category: &&Category| file.starts_with(&category.folder) && category.folder != root;
        let category = categories.iter().find(holds).or(if let [one] = categories { Some(one) } else { None });
        let name = category.map_or("", |category| category.name.as_str());
        let what = format!(
            "{error}; it may mark defects in images that count as normal: write it anew, or if it holds no labels, move it out of the dataset"
        );
        findings.push(Finding::new(FindingKind::Unreadable, name, file, what));
    }
}
