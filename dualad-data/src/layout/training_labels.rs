//! Files around the images to train on that say that some have defects: annotations and tables, which the layouts of folders do not read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounded::{Id, List};
use super::coco::Index;
use super::coco_file::{File, is_coco};
use super::divide::is_normal;
use super::files::json;
use super::left_out::is_link_within;
use super::listing::{list, stem};
use super::mask_name::{Key, composed, key};
use super::names::{Stated, label_of};
use super::{label_files, labelme, tabular};
use crate::finding::{Finding, FindingKind};
use crate::image::Drawing;
use crate::image_name::has_ending;
use crate::sample::{Category, Label, Sample, Split};
use crate::text::shown;

/// The depth to which folders are searched.
const DEPTH: usize = 5;
/// The numbers of folders and of files that are looked at.
const MAX_FOLDERS: usize = 5_000;
const MAX_FILES: usize = 50_000;

/// The endings of annotations, tables, and annotations that are not read.
const JSON: [&str; 1] = ["json"];
const TABLES: [&str; 4] = ["csv", "tsv", "jsonl", "ndjson"];
const UNREAD: [&str; 2] = ["txt", "xml"];

/// An image to train on: the positions of its category and in it.
type Place = (usize, usize);

/// Marks the images to train on in which a file in the folder, or below it, marks a defect. Folders in `known` are not searched. Files that
/// cannot be read and have the names of these images are reported.
pub(super) fn mark(root: &Path, known: &HashSet<PathBuf>, categories: &mut [Category], findings: &mut Vec<Finding>) {
    let files = files(root, known);
    if files.is_empty() {
        return;
    }
    let all = || categories.iter().flat_map(|category| &category.samples).map(|sample| sample.path.clone());
    let paths: Vec<PathBuf> = all().collect();
    let images = Images::of(root, &paths, categories);
    let mut marks = Marks::default();
    for file in &files {
        if has_ending(file, &JSON) {
            if is_coco(file) {
                of_coco(file, &images, &mut marks);
            } else if let Some((name, labels)) = labelme::defects_of(file)
                && let Some(place) = images.of_shapes(file, name.as_deref())
            {
                labels.iter().for_each(|label| marks.add(place, file, label));
            }
        } else if has_ending(file, &TABLES) && tabular::names_images(file) {
            of_table(file, &images, &mut marks);
        }
    }
    // The reader of a folder without a folder for normal images names these files.
    if !findings.iter().any(label_files::is_of_file) {
        report_unread(root, &files, &images, categories, findings);
    }
    marks.apply(categories, findings);
}

/// Returns the files that may hold labels.
fn files(root: &Path, known: &HashSet<PathBuf>) -> Vec<PathBuf> {
    let (mut found, mut level, mut budget) = (Vec::new(), vec![root.to_path_buf()], MAX_FOLDERS);
    for _ in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in level.iter().take(budget) {
            // The readers report folders that cannot be listed.
            let Ok(listing) = list(folder) else { continue };
            let may_label =
                |file: &PathBuf| [&JSON[..], &TABLES[..], &UNREAD[..]].iter().any(|endings| has_ending(file, endings));
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

/// The images of a dataset by their names.
struct Images<'a> {
    root: &'a Path,
    index: Index<'a>,
    by_stem: HashMap<Key, Vec<&'a PathBuf>>,
    /// The folders that have images in them, or below.
    around: HashSet<&'a Path>,
    /// The images to train on.
    trained: HashMap<&'a Path, Place>,
}

impl<'a> Images<'a> {
    fn of(root: &'a Path, paths: &'a [PathBuf], categories: &[Category]) -> Self {
        let mut by_stem = HashMap::<Key, Vec<&PathBuf>>::new();
        for path in paths {
            by_stem.entry(key(path)).or_default().push(path);
        }
        let around = paths.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        let positions = categories.iter().enumerate().flat_map(|(index, category)| {
            let samples = category.samples.iter().enumerate();
            samples.map(move |(sample_index, sample)| ((index, sample_index), sample))
        });
        let is_trained = |(_, (_, sample)): &(&PathBuf, (Place, &Sample))| {
            sample.split == Split::Train && !sample.label.is_anomalous()
        };
        let trained = paths.iter().zip(positions).filter(is_trained);
        let trained = trained.map(|(path, (place, _))| (path.as_path(), place)).collect();
        Self { root, index: Index::new(paths), by_stem, around, trained }
    }

    /// Returns the nearest folder around a file that has images.
    fn folder_of<'f>(&self, file: &'f Path) -> &'f Path {
        let mut above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(self.root));
        above.find(|folder| self.around.contains(folder)).or(file.parent()).unwrap_or(file)
    }

    /// Returns the image to train on that alone has a name in a file.
    fn named(&self, name: &str, file: &Path) -> Option<Place> {
        let found = self.index.find(name, self.folder_of(file)).ok()?;
        found.base.as_ref()?;
        self.trained.get(found.path.as_path()).copied()
    }

    /// Returns the image to train on that a file of shapes belongs to: that of its name in the file, unless it lies in another folder, or
    /// else that of the file's stem.
    fn of_shapes(&self, file: &Path, name: Option<&str>) -> Option<Place> {
        let name = name.map(|name| name.replace('\\', "/"));
        let folder = name.as_ref().and_then(|name| Path::new(name).parent()?.file_name());
        let found = name.as_ref().and_then(|name| self.index.find(name, self.folder_of(file)).ok());
        match found.filter(|found| found.base.is_some()) {
            Some(found) => {
                let is_there = folder.is_none() || found.path.parent().and_then(Path::file_name) == folder;
                self.trained.get(found.path.as_path()).copied().filter(|_| is_there)
            }
            None => self.of_stem(file),
        }
    }

    /// Returns the image to train on that alone has the stem of a file.
    fn of_stem(&self, file: &Path) -> Option<Place> {
        let folder = self.folder_of(file);
        let same = self.by_stem.get(&composed(stem(file)).into_bytes())?;
        let mut near = same.iter().filter(|path| path.starts_with(folder));
        let (Some(one), None) = (near.next(), near.next()) else { return None };
        self.trained.get(one.as_path()).copied()
    }
}

/// The images to train on that files mark, the file of each, and the labels.
#[derive(Default)]
struct Marks(BTreeMap<Place, (PathBuf, BTreeSet<String>)>);

impl Marks {
    fn add(&mut self, place: Place, file: &Path, label: &str) {
        let mark = self.0.entry(place).or_insert_with(|| (file.to_path_buf(), BTreeSet::new()));
        mark.1.insert(label.to_string());
    }

    /// Gives the images drawings, which a check reports. Where most images of a category are marked, and no label is that of a defect, the
    /// marks may be those of the part: that is a warning.
    fn apply(self, categories: &mut [Category], findings: &mut Vec<Finding>) {
        for (index, category) in categories.iter_mut().enumerate() {
            let marked: Vec<(&Place, &(PathBuf, BTreeSet<String>))> =
                self.0.iter().filter(|((of, _), _)| *of == index).collect();
            let Some((_, (first, _))) = marked.first() else { continue };
            let trained = category.samples.iter().filter(|sample| sample.split == Split::Train).count();
            let is_defect = |label: &String| {
                label.is_empty() || matches!(label_of(label.as_ref()), Stated::Defective | Stated::DefectType)
            };
            let has_word = marked.iter().any(|(_, (_, labels))| labels.iter().any(is_defect));
            if !has_word && 2 * marked.len() > trained {
                let labels: BTreeSet<&str> =
                    marked.iter().flat_map(|(_, (_, labels))| labels).map(String::as_str).collect();
                let what = format!(
                    "annotations that are not read mark {} of the {trained} images to train on in category \"{}\" (such as \"{}\" in this \
                     file); if these are defects, move the images to test/<type of defect>; if they mark the part, nothing is missing",
                    marked.len(),
                    category.name,
                    labels.first().unwrap_or(&"")
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

/// Adds the images to train on that a file of COCO annotates.
fn of_coco(file: &Path, images: &Images<'_>, marks: &mut Marks) {
    let Ok(content) = json::<File>(file) else { return };
    let kinds: HashMap<Id, String> = content.categories.0.into_iter().map(|kind| (kind.id, kind.name)).collect();
    let places =
        content.images.0.into_iter().filter_map(|image| Some((image.id, images.named(&image.file_name, file)?)));
    let places: HashMap<Id, Place> = places.collect();
    let List(annotations) = content.annotations.unwrap_or_default();
    for annotation in annotations {
        let kind = annotation.category_id.as_ref().and_then(|id| kinds.get(id)).map_or("", |kind| kind.trim());
        if let Some(place) = places.get(&annotation.image_id).filter(|_| !is_normal(kind)) {
            marks.add(*place, file, kind);
        }
    }
}

/// Adds the images to train on that a table labels as defective: by a word for defects, or where it labels others as normal.
fn of_table(file: &Path, images: &Images<'_>, marks: &mut Marks) {
    let rows = tabular::labels(file).into_iter().filter(|row| !row.is_bare);
    let placed: Vec<(Place, Label)> =
        rows.filter_map(|row| Some((images.named(&row.path, file)?, row.label))).collect();
    let has_normal = placed.iter().any(|(_, label)| !label.is_anomalous());
    for (place, label) in placed {
        let Label::Anomalous(kind) = label else { continue };
        if has_normal || matches!(label_of(kind.as_ref()), Stated::Defective | Stated::DefectType) {
            marks.add(place, file, &kind);
        }
    }
}

/// Reports annotations of images to train on that are not read, once for each ending.
fn report_unread(
    root: &Path,
    files: &[PathBuf],
    images: &Images<'_>,
    categories: &[Category],
    findings: &mut Vec<Finding>,
) {
    for (ending, what_they_are) in [("txt", "texts, such as labels of YOLO"), ("xml", "annotations in XML")] {
        let is_label = |file: &&PathBuf| has_ending(file, &[ending]) && holds_objects(file);
        let found: Vec<(&PathBuf, Place)> =
            files.iter().filter(is_label).filter_map(|file| Some((file, images.of_stem(file)?))).collect();
        let Some((first, (category, _))) = found.first() else { continue };
        let folder = first.parent().unwrap_or(root);
        let what = format!(
            "{what_they_are}, have the names of images to train on, and are not read: {} (the first in {}); the images count as normal. If the \
             labels mark defects, move these images to test/<type of defect>",
            found.len(),
            shown(folder.strip_prefix(root).unwrap_or(folder))
        );
        let name = categories.get(*category).map_or("", |category| category.name.as_str());
        findings.push(Finding::new(FindingKind::LeftOut, name, first, what));
    }
}

/// Returns whether a text has lines of a class and four or more numbers, as those of YOLO, or XML has an object. An empty file marks nothing.
fn holds_objects(file: &Path) -> bool {
    const HEAD: u64 = 1 << 16;
    let mut head = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let text = String::from_utf8_lossy(&head);
    if read.is_err() || text.contains("<object") {
        return read.is_ok();
    }
    let is_row = |line: &str| {
        let mut values = line.split_ascii_whitespace();
        let class = values.next().is_some_and(|class| class.parse::<u32>().is_ok());
        let numbers: Vec<Option<f64>> = values.map(|value| value.parse().ok()).collect();
        class && numbers.len() >= 4 && numbers.iter().all(Option::is_some)
    };
    has_ending(file, &["txt"]) && text.lines().find(|line| !line.trim().is_empty()).is_some_and(is_row)
}
