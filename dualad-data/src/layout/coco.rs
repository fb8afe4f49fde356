//! COCO: a JSON file lists images and annotations. CVAT, Roboflow and Label Studio write it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::divide::{divide, is_normal, split};
use super::files::{files_with, has_extension, images_below, json, parent};
use super::left_out::LeftOut;
use super::listing::{display_name, list};
use super::run_lengths;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::{Drawing, Shape};
use crate::sample::{Category, Label, Sample, Split};

/// The number of files in a folder that may be COCO's. A folder with more has a file for each image.
const MAX_FILES: usize = 16;

#[derive(Deserialize)]
struct Probe {
    images: Option<Vec<IgnoredAny>>,
    annotations: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Kind>,
}

#[derive(Deserialize)]
struct Image {
    id: Value,
    file_name: String,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Value,
    #[serde(default)]
    category_id: Value,
    segmentation: Option<Segmentation>,
    bbox: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Kind {
    id: Value,
    name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f32>>),
    Runs { counts: Counts, size: (u32, u32) },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Plain(Vec<u32>),
    Compressed(String),
}

/// An image with its annotations from all files.
struct Annotated {
    split: Option<Split>,
    file: PathBuf,
    size: Option<(u32, u32)>,
    shapes: Vec<Shape>,
    /// The names of the defects. Empty for a normal image.
    kinds: BTreeSet<String>,
}

/// Returns whether a file has images and annotations as COCO has.
pub(super) fn is_coco(path: &Path) -> bool {
    json::<Probe>(path).is_ok_and(|probe| probe.images.is_some() && probe.annotations.is_some())
}

/// Returns COCO's files of a dataset: in its folder, in `annotations`, and in folders of its splits.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in list(root)?.folders.iter().filter(|folder| {
        let name = folder.name.to_string_lossy();
        name.eq_ignore_ascii_case("annotations") || split(&name).is_some()
    }) {
        found.extend(in_folder(&folder.path)?);
    }
    found.extend(in_folder(root)?);
    Ok(found)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files_with(folder, &["json"])?;
    if found.len() > MAX_FILES {
        return Ok(Vec::new());
    }
    found.retain(|path| is_coco(path));
    Ok(found)
}

/// Reads a dataset as one category, or each of its folders that is one. The root may also be a file of annotations.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    if has_extension(root, &["json"]) && root.is_file() {
        let folder = parent(root);
        // CVAT's file lies beside the folder of its images.
        let beside = folder.file_name().is_some_and(|name| name.eq_ignore_ascii_case("annotations"));
        let folder = if beside { parent(folder) } else { folder };
        return Ok(vec![category(folder, &[root.to_path_buf()], findings)?]);
    }
    let own = files(root)?;
    if !own.is_empty() {
        return Ok(vec![category(root, &own, findings)?]);
    }
    let (mut categories, mut others, listing) = (Vec::new(), Vec::new(), list(root)?);
    for folder in &listing.folders {
        let own = files(&folder.path)?;
        if own.is_empty() {
            others.push(folder);
        } else {
            categories.push(category(&folder.path, &own, findings)?);
        }
    }
    if !categories.is_empty() {
        LeftOut { top: root, category: "", findings }.beside_annotated(&listing, &others, "COCO's annotations");
    }
    Ok(categories)
}

fn category(root: &Path, files: &[PathBuf], findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(root);
    let images = images_below(root)?;
    let index = Index::new(&images);
    let (mut found, mut boxes) = (BTreeMap::<PathBuf, Annotated>::new(), 0);
    for file in files {
        boxes += read_file(root, file, &index, &mut found)?;
    }
    let unlisted: Vec<&PathBuf> = images.iter().filter(|path| !found.contains_key(*path)).collect();
    if let [first, ..] = unlisted[..] {
        let what = format!(
            "images that no file of annotations lists: {} (such as {}); they are left out",
            unlisted.len(),
            first.strip_prefix(root).unwrap_or(first).display()
        );
        findings.push(Finding::new(FindingKind::LeftOut, &name, root, what));
    }
    if boxes > 0 {
        let what = format!("annotations without an outline: {boxes}; their boxes are the masks");
        findings.push(Finding::new(FindingKind::Choice, &name, root, what));
    }
    let mut samples = Vec::with_capacity(found.len());
    for (path, annotated) in found {
        let label = label(&annotated.kinds);
        let mut sample = Sample::new(path, &name, Split::Train, label);
        if !annotated.shapes.is_empty() {
            sample.drawing = Some(Arc::new(Drawing::new(annotated.file, annotated.size, annotated.shapes)?));
        }
        samples.push((annotated.split, sample));
    }
    Ok(divide(&name, root, samples, findings))
}

/// Returns the label of an image with defects of these names.
pub(super) fn label(kinds: &BTreeSet<String>) -> Label {
    /// The number of names that are joined.
    const NAMED: usize = 3;
    match kinds.len() {
        0 => Label::Normal,
        1..=NAMED => Label::Anomalous(kinds.iter().cloned().collect::<Vec<_>>().join("+")),
        _ => Label::Anomalous("several".into()),
    }
}

/// Reads the images and annotations of one file, and returns the number of boxes.
fn read_file(root: &Path, path: &Path, index: &Index<'_>, found: &mut BTreeMap<PathBuf, Annotated>) -> Result<usize> {
    let fault = |reason: String| Error::Annotations { path: path.into(), reason };
    let File { images, annotations, categories } = json(path)?;
    let kinds: HashMap<String, String> =
        categories.into_iter().map(|kind| (kind.id.to_string(), kind.name.trim().to_string())).collect();
    let folder = path.parent().unwrap_or(root);
    let split = split_of(root, path);
    let mut by_id = HashMap::new();
    for image in images {
        let place = index.find(&image.file_name, folder).map_err(&fault)?;
        let side =
            |side: Option<f64>| side.filter(|side| (1.0..=f64::from(u32::MAX)).contains(side)).map(|side| side as u32);
        let size = side(image.width).zip(side(image.height));
        let of_image = by_path(root, &place).or(split);
        let file = path.to_path_buf();
        found.entry(place.clone()).or_insert_with(|| Annotated {
            split: of_image,
            file,
            size,
            shapes: Vec::new(),
            kinds: BTreeSet::new(),
        });
        let id = image.id.to_string();
        if by_id.insert(id.clone(), place.clone()).is_some_and(|other| other != place) {
            return Err(fault(format!(
                "two images have the id {id}, so their annotations cannot be told apart; give each its own"
            )));
        }
    }
    let mut boxes = 0;
    for annotation in annotations {
        let id = annotation.image_id.to_string();
        let Some(annotated) = by_id.get(&id).and_then(|place| found.get_mut(place)) else {
            return Err(fault(format!("an annotation has the image_id {id}, but no image has this id")));
        };
        let kind = kinds.get(&annotation.category_id.to_string()).map_or("defect", String::as_str);
        if is_normal(kind) {
            continue;
        }
        annotated.kinds.insert(kind.into());
        let (shapes, is_box) =
            shapes(annotation).map_err(|reason| fault(format!("an annotation of the image {id}: {reason}")))?;
        boxes += usize::from(is_box);
        annotated.shapes.extend(shapes);
    }
    Ok(boxes)
}

/// Returns the shapes of an annotation, and whether they are only its box.
fn shapes(annotation: Annotation) -> Result<(Vec<Shape>, bool), String> {
    match annotation.segmentation {
        Some(Segmentation::Polygons(polygons)) if polygons.iter().any(|polygon| !polygon.is_empty()) => {
            let polygon = |values: &Vec<f32>| {
                let (points, rest) = values.as_chunks::<2>();
                if rest.is_empty() {
                    Ok(Shape::Polygon(points.to_vec()))
                } else {
                    Err(format!("a polygon has {} numbers; it needs two for each point", values.len()))
                }
            };
            let polygons = polygons.iter().filter(|polygon| !polygon.is_empty()).map(polygon);
            Ok((polygons.collect::<Result<_, _>>()?, false))
        }
        Some(Segmentation::Runs { counts, size: (height, width) }) => {
            let lengths = match counts {
                Counts::Plain(lengths) => lengths,
                Counts::Compressed(text) => run_lengths::decode(&text)?,
            };
            Ok((vec![Shape::Runs { size: (width, height), lengths }], false))
        }
        Some(Segmentation::Polygons(_)) | None => match annotation.bbox.as_deref() {
            None | Some([]) => Ok((Vec::new(), false)),
            Some(&[x, y, width, height]) if width >= 0.0 && height >= 0.0 => {
                Ok((vec![Shape::rectangle([x, y, width, height])], true))
            }
            Some(_) => Err("its bbox is not [x, y, width, height]".into()),
        },
    }
}

/// Returns the split of a file of annotations: that of its folder, or of a word in its name, as in `instances_val2017.json`.
fn split_of(root: &Path, path: &Path) -> Option<Split> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    by_path(root, path).or_else(|| stem.split(|c: char| !c.is_alphabetic()).find_map(split))
}

/// Returns the split that a folder between the root and a file stands for.
pub(super) fn by_path(root: &Path, path: &Path) -> Option<Split> {
    let folders = path.strip_prefix(root).ok()?.parent()?;
    folders.components().find_map(|part| split(part.as_os_str().to_str()?))
}

/// The images of a dataset by name.
struct Index<'a> {
    by_name: HashMap<&'a OsStr, Vec<&'a Path>>,
}

impl<'a> Index<'a> {
    fn new(images: &'a [PathBuf]) -> Self {
        let mut by_name = HashMap::<_, Vec<_>>::new();
        for path in images {
            by_name.entry(path.file_name().unwrap_or_default()).or_default().push(path.as_path());
        }
        Self { by_name }
    }

    /// Returns the image that a name in a file of annotations in `folder` stands for. Tools write paths of their own, so the
    /// image is the one that shares the most parts at the end of its path. An image that is not there is expected in the folder.
    fn find(&self, name: &str, folder: &Path) -> Result<PathBuf, String> {
        let name = name.replace('\\', "/");
        let parts: Vec<OsString> = Path::new(&name)
            .components()
            .filter_map(|part| match part {
                Component::Normal(part) => Some(part.to_os_string()),
                _ => None,
            })
            .collect();
        let Some(last) = parts.last() else { return Err(format!("the file_name \"{name}\" names no file")) };
        let shared = |path: &Path| {
            let ends = path.components().rev().zip(parts.iter().rev());
            (ends.take_while(|(own, part)| own.as_os_str() == part.as_os_str()).count(), path.starts_with(folder))
        };
        let candidates = self.by_name.get(last.as_os_str()).map_or(&[][..], Vec::as_slice);
        let Some(best) = candidates.iter().map(|path| shared(path)).max() else {
            return Ok(folder.join(last));
        };
        let mut equal = candidates.iter().filter(|path| shared(path) == best);
        match (equal.next(), equal.next()) {
            (Some(one), Some(other)) => Err(format!(
                "the file_name \"{name}\" may be {} or {}; name the folder, too, or move one away",
                one.display(),
                other.display()
            )),
            (Some(one), None) => Ok(one.to_path_buf()),
            (None, _) => Ok(folder.join(last)),
        }
    }
}
