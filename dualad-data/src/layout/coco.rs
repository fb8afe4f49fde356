//! COCO: a JSON file lists images and annotations. CVAT, Roboflow and Label Studio write it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::bounded::{Id, List};
use super::coco_doubts::{Doubts, in_shares, report_unclear_names, shares};
use super::coco_file::{Annotation, Counts, File, Image, Runs, Segmentation, is_coco};
use super::coco_places::{Places, expect_missing};
use super::divide::{divide, marks_no_defect, split};
use super::files::{DEPTH, files_with, images_below, json, parent};
use super::image_index::{FoundAt, Index};
use super::left_out::LeftOut;
use super::listing::{display_name, list};
use super::names::may_hold_annotations;
use super::near_names::hint;
use super::{run_lengths, stated};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::{Drawing, Shape};
use crate::image_name::has_ending;
use crate::sample::{Category, Label, Sample, Split};
use crate::text::{names_of, shown};

/// The number of files in a folder that may be COCO's. A folder with more has a file for each image.
const MAX_FILES: usize = 16;

/// An image with its annotations from all files.
struct Annotated {
    split: Option<Split>,
    file: PathBuf,
    size: Option<(u32, u32)>,
    shapes: Vec<Shape>,
    /// The names of the defects. Empty for a normal image.
    kinds: BTreeSet<String>,
}

/// Returns whether a dataset has a file of COCO in one of the places for it.
pub(super) fn is_here(root: &Path) -> Result<bool> {
    Ok(candidates(root)?.iter().any(|path| is_coco(path)))
}

/// Returns the files of a dataset that may be COCO's: in its folder, in `annotations`, and in folders of its splits.
fn candidates(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut add = |folder: &Path| -> Result<()> {
        let files = files_with(folder, &["json"])?;
        if files.len() <= MAX_FILES {
            found.extend(files);
        }
        Ok(())
    };
    for folder in list(root)?.folders.iter().filter(|folder| {
        let name = folder.name.to_string_lossy();
        // A folder of annotations with images of its own may be a product.
        let has_images = || images_below(&folder.path).is_ok_and(|images| !images.is_empty());
        name.eq_ignore_ascii_case("annotations")
            || split(&name).is_some()
            || may_hold_annotations(&folder.name) && !has_images()
    }) {
        add(&folder.path)?;
    }
    add(root)?;
    Ok(found)
}

/// Reads the files of COCO in a dataset. Other files are passed over.
fn read_files(root: &Path) -> Result<Vec<(PathBuf, File)>> {
    let mut found = Vec::new();
    for path in candidates(root)? {
        match json::<File>(&path) {
            Ok(file) if file.annotations.is_some() => found.push((path, file)),
            Err(error) if is_coco(&path) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}

/// Returns the error of a file that would be COCO's in a dataset, and lists images without any annotations.
pub(super) fn incomplete(root: &Path) -> Option<Error> {
    let files = if root.is_file() { vec![root.to_path_buf()] } else { candidates(root).ok()? };
    let path = files.into_iter().find(|path| lists_images_alone(path))?;
    Some(Error::Annotations { path, reason: format!("{IMAGES_ALONE}; {ADD_ANNOTATIONS}") })
}

/// The fault of a file that lists images alone.
pub(super) const IMAGES_ALONE: &str = "it lists images as COCO does, but has no list \"annotations\"";
/// The remedy for such a file.
pub(super) const ADD_ANNOTATIONS: &str =
    "export it with its annotations; if no image has a defect, add \"annotations\": []";

/// Returns whether a file has COCO's list of images, and none of annotations.
pub(super) fn lists_images_alone(path: &Path) -> bool {
    json::<File>(path).is_ok_and(|file| file.annotations.is_none() && !file.images.0.is_empty())
}

/// Reads a dataset as one category, or each of its folders that is one. The root may also be a file of annotations.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    if has_ending(root, &["json"]) && root.is_file() {
        let folder = parent(root);
        // CVAT's file lies beside the folder of its images.
        let beside = folder.file_name().is_some_and(|name| name.eq_ignore_ascii_case("annotations"));
        let folder = if beside { parent(folder) } else { folder };
        let files = vec![(root.to_path_buf(), json(root)?)];
        return Ok(vec![category(&folder_of_images(folder, &files), files, false, findings)?]);
    }
    let own = read_files(root)?;
    if !own.is_empty() {
        // A folder of annotations alone: its images lie above it.
        let folder = if images_below(root)?.is_empty() { folder_of_images(root, &own) } else { root.to_path_buf() };
        return Ok(vec![category(&folder, own, false, findings)?]);
    }
    if let Some(error) = incomplete(root) {
        return Err(error);
    }
    let (mut categories, mut others, listing) = (Vec::new(), Vec::new(), list(root)?);
    for folder in &listing.folders {
        let own = read_files(&folder.path)?;
        if own.is_empty() {
            others.push(folder);
        } else {
            categories.push(category(&folder.path, own, true, findings)?);
        }
    }
    if !categories.is_empty() {
        LeftOut { top: root, category: "", findings }.beside_annotated(&listing, &others, "COCO's annotations");
    }
    Ok(categories)
}

/// Returns the folder in which the images of files of annotations lie: this one, or the nearest of the two above it in which one is
/// found by its name, or in its folder of images. Without any, it is this one.
fn folder_of_images(folder: &Path, files: &[(PathBuf, File)]) -> PathBuf {
    /// The number of names that are looked for.
    const TRIED: usize = 16;
    const IMAGES: &str = "images";
    let named = files.iter().flat_map(|(_, file)| &file.images.0).take(TRIED);
    let names: Vec<PathBuf> = named
        .map(|image| {
            let name = image.file_name.replace('\\', "/");
            Path::new(&name).components().filter(|part| matches!(part, Component::Normal(_))).collect()
        })
        .collect();
    let has = |folder: &Path| {
        let is_there = |name: &PathBuf| !name.as_os_str().is_empty() && folder.join(name).is_file();
        names.iter().any(is_there)
    };
    let own = images_below(folder).unwrap_or_default();
    let is_below = |name: &PathBuf| own.iter().any(|image| image.file_name() == name.file_name());
    if names.iter().any(is_below) {
        return folder.to_path_buf();
    }
    // CVAT's folders of images are named after the files of annotations: `images/default`.
    let has_below = |folder: &Path| {
        let inner = if folder.is_dir() { images_below(folder).unwrap_or_default() } else { Vec::new() };
        inner.iter().any(|image| names.iter().any(|name| name.file_name() == image.file_name()))
    };
    // Without the links of a relative path, `..` is not its parent.
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let above = real.ancestors().skip(1).take(2).find(|above| has(above) || has_below(&above.join(IMAGES)));
    above.map_or_else(|| folder.to_path_buf(), Path::to_path_buf)
}

/// Reads a category. `is_product` tells that it is one of several in a folder.
fn category(
    root: &Path,
    files: Vec<(PathBuf, File)>,
    is_product: bool,
    findings: &mut Vec<Finding>,
) -> Result<Category> {
    let name = display_name(root);
    let images = images_below(root)?;
    let index = Index::new(&images);
    let (mut found, mut boxes, mut doubts) = (BTreeMap::<PathBuf, Annotated>::new(), 0, Doubts::default());
    for (path, file) in files {
        let mut places = Places { file: &path, category: &name, findings };
        boxes += read_file(root, file, (&index, &images), &mut places, &mut found, &mut doubts)?;
    }
    let annotated = found.values().filter(|image| !image.kinds.is_empty()).count();
    doubts.report(&name, root, [annotated, found.len()], findings);
    if annotated == found.len() && annotated > 0 {
        findings.push(without_normal(&name, root, found.values()));
    }
    let unlisted: Vec<&PathBuf> = images.iter().filter(|path| !found.contains_key(*path)).collect();
    if !unlisted.is_empty() {
        let names: Vec<String> = unlisted.iter().map(|path| shown(path.strip_prefix(root).unwrap_or(path))).collect();
        let what = format!(
            "images that no file of annotations lists: {} ({}); they are left out",
            unlisted.len(),
            names_of(&names)
        );
        findings.push(Finding::new(FindingKind::LeftOut, &name, root, what));
    }
    report_unclear_names(found.values().flat_map(|image| &image.kinds), &name, root, findings);
    if boxes > 0 {
        let what = format!("annotations without an outline: {boxes}; their boxes are the masks");
        findings.push(Finding::new(FindingKind::Choice, &name, root, what));
    }
    let mut samples = Vec::with_capacity(found.len());
    let mut stated = stated::Folders::new(root, is_product);
    for (path, annotated) in found {
        let label = stated.label(&path, label(&annotated.kinds));
        let mut sample = Sample::new(&path, &name, Split::Train, label);
        if !annotated.shapes.is_empty() {
            let drawing = Drawing::new(annotated.file, annotated.size, annotated.shapes);
            sample.drawing = Some(Arc::new(drawing.map_err(|error| error.of_image(&path))?));
        }
        samples.push((annotated.split, sample));
    }
    stated.report(&name, findings);
    Ok(divide(&name, root, samples, findings))
}

/// Reports a category in which each image has an annotation of a defect: some may be of the part.
fn without_normal<'f>(category: &str, root: &Path, images: impl Iterator<Item = &'f Annotated>) -> Finding {
    let mut counts = BTreeMap::<&str, usize>::new();
    for kind in images.flat_map(|image| &image.kinds) {
        *counts.entry(kind).or_default() += 1;
    }
    let names: Vec<String> = counts.iter().map(|(kind, count)| format!("\"{kind}\" in {count}")).collect();
    let what = format!(
        "each image in its annotations has a defect, so none counts as normal: {}; if one of these marks the part and no defect, \
         remove its annotations or name it ok; normal images are listed without annotations",
        names_of(&names)
    );
    Finding::new(FindingKind::UnclearLabel, category, root, what)
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

/// Returns the width and height that a file gives, if they are those of an image.
pub(super) fn size(width: Option<f64>, height: Option<f64>) -> Option<(u32, u32)> {
    let side =
        |side: Option<f64>| side.filter(|side| (1.0..=f64::from(u32::MAX)).contains(side)).map(|side| side as u32);
    side(width).zip(side(height))
}

/// Reads the images and annotations of one file, and returns the number of boxes.
fn read_file(
    root: &Path,
    content: File,
    (index, images_here): (&Index<'_>, &[PathBuf]),
    places: &mut Places<'_>,
    found: &mut BTreeMap<PathBuf, Annotated>,
    doubts: &mut Doubts,
) -> Result<usize> {
    let path = places.file;
    let fault = |reason: String| Error::Annotations { path: path.into(), reason };
    let File { images, annotations, categories: List(categories) } = content;
    let List(annotations) = annotations.unwrap_or_default();
    if let Some(id) = shares(&annotations) {
        return Err(fault(in_shares(&format!(" in an annotation of the image {id}"), "COCO")));
    }
    let mut kinds = HashMap::<Id, String>::new();
    for kind in categories {
        let name = kind.name.trim().to_string();
        if let Some(other) = kinds.insert(kind.id.clone(), name.clone()).filter(|other| *other != name) {
            return Err(fault(format!(
                "the categories \"{other}\" and \"{name}\" both have the id {}; give each its own",
                kind.id
            )));
        }
    }
    let folder = path.parent().unwrap_or(root);
    let split = split_of(root, path);
    let (mut by_id, mut names) = (HashMap::new(), HashMap::new());
    let find = |image: &Image| index.find(&image.file_name, folder).map_err(&fault);
    let mut all: Vec<FoundAt> = images.0.iter().map(find).collect::<Result<_>>()?;
    expect_missing(&mut all);
    for (image, found_at) in images.0.iter().zip(&all) {
        let place = found_at.path.clone();
        // One of the two images is missing.
        let named = names.entry(place.clone()).or_insert_with(|| found_at.name.clone());
        if *named != found_at.name {
            return Err(fault(format!(
                "the file_names \"{named}\" and \"{}\" both stand for {}; add the image that is missing, or remove its entry",
                found_at.name,
                shown(&place)
            )));
        }
        let of_image = by_path(root, &place).or(split);
        let known = found.entry(place.clone()).or_insert_with(|| Annotated {
            split: of_image,
            file: path.to_path_buf(),
            size: size(image.width, image.height),
            shapes: Vec::new(),
            kinds: BTreeSet::new(),
        });
        if known.split != of_image {
            doubts.in_two_splits(&place, [&known.file, path]);
        }
        if by_id.insert(image.id.clone(), place.clone()).is_some_and(|other| other != place) {
            return Err(fault(format!(
                "two images have the id {}, so their annotations cannot be told apart; give each its own",
                image.id
            )));
        }
    }
    if let Some(first) = all.first()
        && all.iter().all(|image| image.base.is_none())
    {
        return Err(fault(format!(
            "none of its {} images is in {}, within {DEPTH} folders below it, or in the two folders above (such as \"{}\"{}); put the file into the folder above its images, or \
             into annotations beside them",
            all.len(),
            shown(root),
            first.name,
            hint(&first.name, images_here, root)
        )));
    }
    let missing: Vec<&str> = all.iter().filter(|image| image.base.is_none()).map(|image| image.name.as_str()).collect();
    if let Some(first) = missing.first() {
        let what = format!(
            "images that it lists are not in {}, nor in the folders in it, of which {DEPTH} levels are searched: {} ({}{}); add them, or remove their entries",
            shown(root),
            missing.len(),
            names_of(&missing),
            hint(first, images_here, root)
        );
        places.findings.push(Finding::new(FindingKind::Choice, places.category, path, what));
    }
    places.report(&all, folder, root);
    let mut boxes = 0;
    for annotation in annotations {
        let id = annotation.image_id.clone();
        let Some(annotated) = by_id.get(&id).and_then(|place| found.get_mut(place)) else {
            return Err(fault(format!("an annotation has the image_id {id}, but no image has this id")));
        };
        let kind = annotation.category_id.as_ref().and_then(|id| kinds.get(id)).map_or("defect", String::as_str);
        if marks_no_defect(kind) {
            continue;
        }
        annotated.kinds.insert(kind.into());
        if has_no_area(&annotation) {
            doubts.without_area(path, &id);
        }
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
        Some(Segmentation::Polygons(List(polygons))) if polygons.iter().any(|polygon| !polygon.0.is_empty()) => {
            let polygon = |List(values): &List<f32>| {
                let (points, rest) = values.as_chunks::<2>();
                if rest.is_empty() {
                    Ok(Shape::Polygon(points.to_vec()))
                } else {
                    Err(format!("a polygon has {} numbers; it needs two for each point", values.len()))
                }
            };
            let polygons = polygons.iter().filter(|polygon| !polygon.0.is_empty()).map(polygon);
            Ok((polygons.collect::<Result<_, _>>()?, false))
        }
        Some(Segmentation::Runs(Runs { counts, size: (height, width) })) => {
            let lengths = match counts {
                Counts::Plain(List(lengths)) => lengths,
                Counts::Compressed(text) => run_lengths::decode(&text)?,
            };
            Ok((vec![Shape::Runs { size: (width, height), lengths }], false))
        }
        Some(Segmentation::Polygons(_)) | None => match annotation.bbox.as_ref().map(|bbox| &bbox.0[..]) {
            None | Some([]) => Ok((Vec::new(), false)),
            Some(&[x, y, width, height]) if width >= 0.0 && height >= 0.0 => {
                Ok((vec![Shape::rectangle([x, y, width, height])], true))
            }
            Some(_) => Err("its bbox is not [x, y, width, height]".into()),
        },
    }
}

/// Returns whether an annotation is a box alone, and has no area.
fn has_no_area(annotation: &Annotation) -> bool {
    let has_outline = match &annotation.segmentation {
        Some(Segmentation::Polygons(List(polygons))) => polygons.iter().any(|polygon| !polygon.0.is_empty()),
        Some(Segmentation::Runs(_)) => true,
        None => false,
    };
    let bbox = annotation.bbox.as_ref().map(|bbox| &bbox.0[..]);
    !has_outline && matches!(bbox, Some(&[_, _, width, height]) if width == 0.0 || height == 0.0)
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
