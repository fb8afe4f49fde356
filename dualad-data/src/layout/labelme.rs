//! LabelMe: a JSON file with shapes beside each annotated image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::beside::{report_beside, report_derived, report_unclear, separate};
use super::bounded::{Entry, Flag, List};
use super::coco::{by_path, label, size};
use super::coco_doubts::{are_shares, in_shares, report_unclear_names};
use super::columns::{says_label, says_no_label};
use super::divide::{divide, is_normal, marks_no_defect, split};
use super::files::{files_with, images_below, json};
use super::left_out::LeftOut;
use super::listing::{display_name, file_name, list, stem};
use super::mask_name::{Key, composed, key};
use super::names::{self, Part, Stated, may_hold_annotations};
use super::stated;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::{Drawing, Shape};
use crate::sample::{Category, Label, Sample, Split};
use crate::text::{names_of, shown};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    shapes: List<Drawn>,
    image_path: Option<String>,
    image_width: Option<f64>,
    image_height: Option<f64>,
    flags: Option<BTreeMap<String, Flag>>,
}

#[derive(Deserialize)]
struct Drawn {
    label: Option<String>,
    #[serde(default)]
    points: List<[f32; 2]>,
    shape_type: Option<String>,
    flags: Option<BTreeMap<String, Flag>>,
}

impl Entry for Drawn {
    fn values(&self) -> usize {
        let flags: usize = self.flags.iter().flatten().map(|(name, _)| 20 + name.len() / 4).sum();
        20 + self.label.as_ref().map_or(0, String::len) / 4 + self.points.values() + flags
    }
}

impl Drawn {
    /// Returns the label without spaces around it; empty if there is none.
    fn label(&self) -> &str {
        self.label.as_deref().unwrap_or_default().trim()
    }

    /// Returns whether the shape marks a defect: by its label, unless all of its flags that are set are words for normal images. A flag that
    /// is not set says nothing: LabelMe writes all of them.
    fn is_defect(&self) -> bool {
        let mut set = self.flags.iter().flatten().filter(|(_, flag)| **flag == Flag::Set(true)).peekable();
        !(marks_no_defect(self.label()) || set.peek().is_some() && set.all(|(name, _)| is_normal(name)))
    }
}

impl Drawn {
    /// Returns whether the points are shares of the size of the image. Those of lines may lie in the first pixel.
    fn is_in_shares(&self) -> bool {
        let is_area = !matches!(self.shape_type.as_deref(), Some("line" | "linestrip" | "point" | "points"));
        is_area && are_shares(self.points.0.as_flattened().iter())
    }
}

impl File {
    /// Returns the flags that stand for a defect: those that are set, one for normal images that alone is there and is not set, and texts
    /// that are no words for normal images. A text that may be no label is an error.
    fn defect_flags(&self) -> Result<Vec<String>, String> {
        let flags: Vec<(&String, &Flag)> = self.flags.iter().flatten().collect();
        if let [(name, Flag::Set(false))] = flags[..]
            && is_normal(name)
        {
            return Ok(vec![format!("not {name}")]);
        }
        let mut found = Vec::new();
        for (name, flag) in flags {
            match flag {
                Flag::Set(true) if !is_normal(name) => found.push(name.clone()),
                Flag::Set(_) => {}
                Flag::Text(text) if is_normal(text) || says_no_label(name) => {}
                Flag::Text(text) if says_label(name) || states_defect(text) => found.push(text.clone()),
                Flag::Text(text) => {
                    return Err(format!(
                        "its flag \"{name}\" is \"{text}\", which may be a defect or not; write ok or bad, or true or false, or remove the flag"
                    ));
                }
            }
        }
        Ok(found)
    }

    /// Returns the flags that stand for a defect, or none if that is unclear.
    fn flags_of_defects(&self) -> impl Iterator<Item = String> {
        self.defect_flags().unwrap_or_default().into_iter()
    }
}

/// Returns whether a text is a word for defects.
fn states_defect(text: &str) -> bool {
    matches!(names::label_of(text.as_ref()), Stated::Defective | Stated::DefectType)
}

/// The name of a folder of images.
const IMAGES: &str = "images";

/// Returns the files that may have the annotations of a folder's images: those in it, those in a folder for annotations in it, and if
/// the folder lies in the dataset (`is_inside`), those in one beside it.
fn files_of(folder: &Path, is_inside: bool) -> Result<Vec<PathBuf>> {
    let mut found = files_with(folder, &["json"])?;
    let above = folder.parent().filter(|above| is_inside && !above.as_os_str().is_empty());
    for around in std::iter::once(folder).chain(above) {
        // The reader reports a folder that cannot be listed.
        let folders = list(around).map_or(Vec::new(), |listing| listing.folders);
        for labels in folders.iter().filter(|inner| inner.path != folder && may_hold_annotations(&inner.name)) {
            found.extend(files_with(&labels.path, &["json"])?);
        }
    }
    Ok(found)
}

/// Gives normal images to train on the drawings of their annotations that mark a defect. Files that are not valid mark nothing.
pub(super) fn mark(folder: &Path, samples: &mut [Sample]) {
    // A folder of another name may be the dataset itself.
    let is_inside =
        folder.file_name().is_some_and(|name| names::is_normal(name) || Part::of(name) == Some(Part::Train));
    let Ok(files) = files_of(folder, is_inside) else { return };
    if files.is_empty() {
        return;
    }
    let images: Vec<PathBuf> = samples.iter().map(|sample| sample.path.clone()).collect();
    let named = Named::of(&images);
    let mut marked = BTreeMap::<&PathBuf, PathBuf>::new();
    for file in files {
        let Ok(content) = json::<File>(&file) else { continue };
        // One in another folder may be that of an image elsewhere with the same name.
        let of_folder = content.image_path.as_ref().and_then(|path| {
            let path = path.replace('\\', "/");
            Path::new(&path).parent().and_then(Path::file_name).map(OsStr::to_os_string)
        });
        let is_elsewhere =
            file.parent() != Some(folder) && of_folder.is_some_and(|name| folder.file_name() != Some(&name));
        if has_defects(&content) && !is_elsewhere {
            // Images of one stem may show one part.
            for image in named.images_of(&file, &content).into_iter().chain(named.of_stem(&file)) {
                marked.entry(image).or_insert_with(|| file.clone());
            }
        }
    }
    for sample in samples {
        // The shapes do not matter for an image that is not tested on.
        let drawing = marked.get(&sample.path).and_then(|file| Drawing::new(file, None, Vec::new()).ok());
        if let Some(drawing) = drawing {
            sample.drawing = Some(Arc::new(drawing));
        }
    }
}

/// Returns whether a shape or a flag stands for a defect.
fn has_defects(content: &File) -> bool {
    content.shapes.0.iter().any(Drawn::is_defect) || content.flags_of_defects().next().is_some()
}

/// Returns the name of the image that a file has, and the labels of the defects that it marks. Nothing if it marks none.
pub(super) fn defects_of(file: &Path) -> Option<(Option<String>, Vec<String>)> {
    let content = json::<File>(file).ok().filter(has_defects)?;
    let shapes = content.shapes.0.iter().filter(|drawn| drawn.is_defect());
    let labels = shapes.map(|drawn| drawn.label().to_string()).chain(content.flags_of_defects()).collect();
    Some((content.image_path, labels))
}

/// Returns whether a file has the shapes of LabelMe.
pub(super) fn is_labelme(path: &Path) -> bool {
    json::<File>(path).is_ok()
}

/// Returns whether images of a dataset have annotations beside them: in the folder, in its `images`, or in folders of splits.
pub(super) fn is_here(root: &Path) -> Result<bool> {
    if has_annotated(root, false)? {
        return Ok(true);
    }
    for folder in list(root)?.folders {
        let name = folder.name.to_string_lossy();
        if (name.eq_ignore_ascii_case(IMAGES) || split(&name).is_some()) && has_annotated(&folder.path, true)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of files that are read to find one with annotations. Others may lie among them.
const MOST_LOOKED_AT: usize = 100;

/// Returns whether a folder has an image with annotations beside it.
fn has_annotated(folder: &Path, is_inside: bool) -> Result<bool> {
    let files = files_of(folder, is_inside)?;
    if files.is_empty() {
        return Ok(false);
    }
    let images = list(folder)?.images;
    let named = Named::of(&images);
    // Those of an image by their names are looked at first.
    let (by_name, others): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|file| !named.of_stem(file).is_empty());
    let mut files = by_name.into_iter().chain(others).take(MOST_LOOKED_AT);
    Ok(files.any(|file| json::<File>(file).is_ok_and(|content| !named.images_of(file, &content).is_empty())))
}

/// The images of a folder by their names, in composed letters.
struct Named<'a> {
    by_stem: BTreeMap<Key, Vec<&'a PathBuf>>,
    by_name: BTreeMap<String, &'a PathBuf>,
}

impl<'a> Named<'a> {
    fn of(images: &'a [PathBuf]) -> Self {
        let mut by_stem = BTreeMap::<Key, Vec<&PathBuf>>::new();
        for path in images {
            by_stem.entry(key(path)).or_default().push(path);
        }
        Self { by_stem, by_name: images.iter().map(|path| (composed(file_name(path)), path)).collect() }
    }

    /// Returns the images with the stem of a file, or the one whose whole name is its stem (`000.jpg.json`).
    fn of_stem(&self, file: &Path) -> Vec<&'a PathBuf> {
        let of_whole = || self.by_name.get(&composed(stem(file))).copied().into_iter().collect();
        self.by_stem.get(&key(file)).cloned().unwrap_or_else(of_whole)
    }

    /// Returns the image that annotations name.
    fn named(&self, content: &File) -> Option<&'a PathBuf> {
        let path = content.image_path.as_ref()?.replace('\\', "/");
        self.by_name.get(&composed(file_name(Path::new(&path)))).copied()
    }

    /// Returns the images that annotations belong to: those of the file's stem, or the one that the file names, if several or none have
    /// its stem.
    fn images_of(&self, file: &Path, content: &File) -> Vec<&'a PathBuf> {
        let of_stem = self.of_stem(file);
        match (&of_stem[..], self.named(content)) {
            ([], named) => named.into_iter().collect(),
            ([_, _, ..], Some(named)) if of_stem.contains(&named) => vec![named],
            _ => of_stem,
        }
    }
}

/// Reads a dataset as one category, or each of its folders that is one.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    if is_here(root)? {
        return Ok(vec![category(root, false, findings)?]);
    }
    let (mut categories, mut others, listing) = (Vec::new(), Vec::new(), list(root)?);
    for folder in &listing.folders {
        if is_here(&folder.path)? {
            categories.push(category(&folder.path, true, findings)?);
        } else {
            others.push(folder);
        }
    }
    if !categories.is_empty() {
        LeftOut { top: root, category: "", findings }.beside_annotated(&listing, &others, "LabelMe's annotations");
    }
    Ok(categories)
}

/// Reads a category. `is_product` tells that it is one of several in a folder.
fn category(root: &Path, is_product: bool, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(root);
    let (mut samples, mut without, mut stated) = (Vec::new(), Vec::new(), stated::Folders::new(root, is_product));
    let mut kinds = Vec::new();
    let mut by_folder = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
    for path in images_below(root)? {
        by_folder.entry(path.parent().unwrap_or(root).to_path_buf()).or_default().push(path);
    }
    for (folder, images) in by_folder {
        if !is_read(root, &folder) {
            let advice = "it has no annotations, and is no folder images, train, valid or test";
            LeftOut { top: root, category: &name, findings }.loose(&folder, images.len(), advice);
            continue;
        }
        let beside = separate(images);
        report_derived(&beside, &folder, &name, findings);
        report_beside(&beside, &folder, &name, findings);
        report_unclear(&beside, &folder, &name, findings);
        let mut annotations = annotations(&folder, folder != root, &beside.images, &name, findings)?;
        for path in beside.images {
            let mut sample = Sample::new(&path, &name, Split::Train, Label::Normal);
            match annotations.remove(&path) {
                Some((file, content)) => kinds.extend(annotate(&mut sample, &file, &content)?),
                None => without.push(shown(path.strip_prefix(root).unwrap_or(&path))),
            }
            sample.label = stated.label(&path, sample.label);
            samples.push((by_path(root, &path), sample));
        }
    }
    if !without.is_empty() {
        let count = without.len();
        let what =
            format!("images without annotations beside them: {count}; they count as normal: {}", names_of(&without));
        findings.push(Finding::new(FindingKind::Choice, &name, root, what));
    }
    report_unclear_names(kinds.iter(), &name, root, findings);
    stated.report(&name, findings);
    Ok(divide(&name, root, samples, findings))
}

/// Reads the annotations of the images of a folder, and reports those that are not used.
fn annotations(
    folder: &Path,
    is_inside: bool,
    images: &[PathBuf],
    category: &str,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<PathBuf, (PathBuf, Arc<File>)>> {
    let named = Named::of(images);
    let (mut found, mut twins) = (BTreeMap::<PathBuf, (PathBuf, Arc<File>)>::new(), Vec::new());
    // The files that name another image than the one of their own name: the first, with both images, and the number of them.
    let (mut first_other, mut others_named) = (None, 0);
    // Those of an image by their names come first.
    let (by_name, others): (Vec<PathBuf>, Vec<PathBuf>) =
        files_of(folder, is_inside)?.into_iter().partition(|file| !named.of_stem(file).is_empty());
    for (file, is_named) in
        by_name.into_iter().map(|file| (file, true)).chain(others.into_iter().map(|file| (file, false)))
    {
        let content = match json::<File>(&file) {
            Ok(content) => Arc::new(content),
            // A file of another kind, which is no image's.
            Err(_) if !is_named => continue,
            Err(error) => return Err(error),
        };
        let images = named.images_of(&file, &content);
        if let Some((used, other)) = images.first().zip(named.named(&content).filter(|other| !images.contains(other))) {
            first_other.get_or_insert_with(|| (file.clone(), [*used, other]));
            others_named += 1;
        }
        // A folder for annotations may have those of several folders of images.
        if images.is_empty() && file.parent() == Some(folder) {
            let what = "there is no image of this name beside it, so its annotations are not used".to_string();
            findings.push(Finding::new(FindingKind::UnpairedMask, category, &file, what));
        }
        let others = named.of_stem(&file).into_iter().filter(|image| !images.contains(image));
        twins.extend(others.map(|image| (image, file.clone(), Arc::clone(&content))));
        for image in images {
            if let Some((other, _)) = found.get(image) {
                let what =
                    format!("{} annotates {} as well, and is used instead; remove one", shown(other), shown(image));
                findings.push(Finding::new(FindingKind::AmbiguousMask, category, &file, what));
            } else {
                found.insert(image.clone(), (file.clone(), Arc::clone(&content)));
            }
        }
    }
    twins.retain(|(image, ..)| !found.contains_key(*image));
    let names: Vec<_> = twins
        .iter()
        .filter(|(.., content)| has_defects(content))
        .map(|(image, ..)| file_name(image).to_string_lossy())
        .collect();
    if !names.is_empty() {
        let what = format!(
            "images with the name of an annotated one, apart from the ending: {} ({}); they count as defective, too; if they show other parts, \
             rename them",
            names.len(),
            names_of(&names)
        );
        findings.push(Finding::new(FindingKind::AmbiguousMask, category, folder, what));
    }
    found.extend(twins.into_iter().map(|(image, file, content)| (image.clone(), (file, content))));
    if let Some((file, images)) = first_other {
        let [used, other] = images.map(|image| file_name(image).to_string_lossy().into_owned());
        let what = format!(
            "files whose imagePath names another image than their own name: {others_named} (such as {}, which is used for {used}, and names \
             {other}); if the imagePath is right, rename the file",
            file_name(&file).to_string_lossy()
        );
        findings.push(Finding::new(FindingKind::AmbiguousMask, category, folder, what));
    }
    Ok(found)
}

/// Returns whether the images of a folder without annotations count as normal: not those of other folders, such as pictures of
/// masks. A folder with annotations is read, whatever its name.
fn is_read(root: &Path, folder: &Path) -> bool {
    let names = folder.strip_prefix(root).into_iter().flat_map(|inner| inner.components());
    let mut names = names.map(|part| part.as_os_str().to_string_lossy());
    names.all(|name| name.eq_ignore_ascii_case(IMAGES) || split(&name).is_some())
        || files_with(folder, &["json"]).is_ok_and(|files| !files.is_empty())
}

/// Sets the label and the drawing of an image from its annotations. Returns the names of its defects.
fn annotate(sample: &mut Sample, file: &Path, content: &File) -> Result<BTreeSet<String>> {
    let fault = |reason: String| Error::Annotations { path: file.into(), reason };
    let (mut shapes, mut kinds) = (Vec::new(), BTreeSet::new());
    if content.shapes.0.iter().any(Drawn::is_in_shares) {
        return Err(fault(in_shares("", "LabelMe")));
    }
    for drawn in content.shapes.0.iter().filter(|drawn| drawn.is_defect()) {
        let kind = drawn.label();
        kinds.insert(if kind.is_empty() { "defect".into() } else { kind.to_string() });
        shapes.push(shape(drawn).map_err(fault)?);
    }
    // A flag labels the image as a whole.
    kinds.extend(content.defect_flags().map_err(fault)?);
    sample.label = label(&kinds);
    if !shapes.is_empty() {
        let size = size(content.image_width, content.image_height);
        sample.drawing = Some(Arc::new(Drawing::new(file, size, shapes)?));
    }
    Ok(kinds)
}

/// Returns a shape of LabelMe.
fn shape(drawn: &Drawn) -> Result<Shape, String> {
    let kind = drawn.shape_type.as_deref().unwrap_or("polygon");
    let points = &drawn.points.0;
    match (kind, &points[..]) {
        ("polygon", [_, ..]) => Ok(Shape::Polygon(points.clone())),
        ("rectangle", &[[x0, y0], [x1, y1]]) => {
            Ok(Shape::rectangle([x0.min(x1), y0.min(y1), (x1 - x0).abs(), (y1 - y0).abs()]))
        }
        // Some versions write all four corners.
        ("rectangle" | "rotation", [_, _, _, _]) => Ok(Shape::Polygon(points.clone())),
        ("circle", &[center, [x, y]]) => Ok(Shape::Disc { center, radius: (x - center[0]).hypot(y - center[1]) }),
        ("line" | "linestrip" | "point" | "points", [_, ..]) => Ok(Shape::Line(points.clone())),
        ("polygon" | "rectangle" | "rotation" | "circle" | "line" | "linestrip" | "point" | "points", points) => {
            Err(format!("a shape of the type {kind} has {} points", points.len()))
        }
        (kind, _) => Err(format!(
            "a shape has the type {kind}, which is not read; draw it as polygon, rectangle, circle, line, linestrip or point"
        )),
    }
}
