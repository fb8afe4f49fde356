//! LabelMe: a JSON file with shapes beside each annotated image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::coco::{by_path, label};
use super::divide::{divide, is_normal, split};
use super::files::{files_with, images_below, json};
use super::left_out::LeftOut;
use super::listing::{display_name, list};
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::{Drawing, Shape};
use crate::sample::{Category, Label, Sample, Split};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    shapes: Vec<Drawn>,
    image_width: Option<f64>,
    image_height: Option<f64>,
    flags: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Drawn {
    #[serde(default)]
    label: String,
    #[serde(default)]
    points: Vec<[f32; 2]>,
    shape_type: Option<String>,
}

/// The name of a folder of images.
const IMAGES: &str = "images";

/// Returns whether images of a dataset have annotations beside them: in the folder, in its `images`, or in folders of splits.
pub(super) fn is_here(root: &Path) -> Result<bool> {
    if has_annotated(root)? {
        return Ok(true);
    }
    for folder in list(root)?.folders {
        let name = folder.name.to_string_lossy();
        if (name.eq_ignore_ascii_case(IMAGES) || split(&name).is_some()) && has_annotated(&folder.path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of files beside images that are read to find one with annotations. Others may lie among them.
const MOST_LOOKED_AT: usize = 100;

/// Returns whether a folder has an image with annotations beside it.
fn has_annotated(folder: &Path) -> Result<bool> {
    if files_with(folder, &["json"])?.is_empty() {
        return Ok(false);
    }
    let files = list(folder)?.images.into_iter().map(|path| path.with_extension("json")).filter(|path| path.is_file());
    Ok(files.take(MOST_LOOKED_AT).any(|path| json::<File>(&path).is_ok()))
}

/// Reads a dataset as one category, or each of its folders that is one.
pub(super) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    if is_here(root)? {
        return Ok(vec![category(root, findings)?]);
    }
    let (mut categories, mut others, listing) = (Vec::new(), Vec::new(), list(root)?);
    for folder in &listing.folders {
        if is_here(&folder.path)? {
            categories.push(category(&folder.path, findings)?);
        } else {
            others.push(folder);
        }
    }
    if !categories.is_empty() {
        LeftOut { top: root, category: "", findings }.beside_annotated(&listing, &others, "LabelMe's annotations");
    }
    Ok(categories)
}

fn category(root: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(root);
    let (mut samples, mut without) = (Vec::new(), 0);
    let images = images_below(root)?;
    let stems: BTreeSet<_> = images.iter().map(|path| path.with_extension("")).collect();
    let all: BTreeSet<&Path> = images.iter().filter_map(|path| path.parent()).collect();
    let (folders, others): (BTreeSet<&Path>, BTreeSet<&Path>) =
        all.into_iter().partition(|folder| is_read(root, folder));
    for folder in others {
        let count = images.iter().filter(|path| path.parent() == Some(folder)).count();
        let advice = "it has no annotations, and is no folder images, train, valid or test";
        LeftOut { top: root, category: &name, findings }.loose(folder, count, advice);
    }
    for path in images.iter().filter(|path| path.parent().is_some_and(|folder| folders.contains(folder))) {
        let file = path.with_extension("json");
        let mut sample = Sample::new(path, &name, Split::Train, Label::Normal);
        if file.is_file() {
            annotate(&mut sample, &file)?;
        } else {
            without += 1;
        }
        samples.push((by_path(root, path), sample));
    }
    for folder in folders {
        for file in files_with(folder, &["json"])?.iter().filter(|file| !stems.contains(&file.with_extension(""))) {
            if json::<File>(file).is_ok() {
                let what = "there is no image of this name beside it, so its annotations are not used".to_string();
                findings.push(Finding::new(FindingKind::UnpairedMask, &name, file, what));
            }
        }
    }
    if without > 0 {
        let what = format!("images without annotations beside them: {without}; they count as normal");
        findings.push(Finding::new(FindingKind::Choice, &name, root, what));
    }
    Ok(divide(&name, root, samples, findings))
}

/// Returns whether the images of a folder without annotations count as normal: not those of other folders, such as pictures of
/// masks. A folder with annotations is read, whatever its name.
fn is_read(root: &Path, folder: &Path) -> bool {
    let names = folder.strip_prefix(root).into_iter().flat_map(|inner| inner.components());
    let mut names = names.map(|part| part.as_os_str().to_string_lossy());
    names.all(|name| name.eq_ignore_ascii_case(IMAGES) || split(&name).is_some())
        || files_with(folder, &["json"]).is_ok_and(|files| !files.is_empty())
}

/// Sets the label and the drawing of an image from its annotations.
fn annotate(sample: &mut Sample, file: &Path) -> Result<()> {
    let content: File = json(file)?;
    let fault = |reason: String| Error::Annotations { path: file.into(), reason };
    let (mut shapes, mut kinds) = (Vec::new(), BTreeSet::new());
    for drawn in content.shapes {
        let kind = drawn.label.trim();
        if is_normal(kind) {
            continue;
        }
        kinds.insert(if kind.is_empty() { "defect".into() } else { kind.to_string() });
        shapes.push(shape(drawn).map_err(fault)?);
    }
    // A flag labels the image as a whole.
    let flags =
        content.flags.into_iter().flatten().filter(|(name, value)| *value == Value::Bool(true) && !is_normal(name));
    kinds.extend(flags.map(|(name, _)| name));
    sample.label = label(&kinds);
    if !shapes.is_empty() {
        let side =
            |side: Option<f64>| side.filter(|side| (1.0..=f64::from(u32::MAX)).contains(side)).map(|side| side as u32);
        let size = side(content.image_width).zip(side(content.image_height));
        sample.drawing = Some(Arc::new(Drawing::new(file, size, shapes)?));
    }
    Ok(())
}

/// Returns a shape of LabelMe.
fn shape(drawn: Drawn) -> Result<Shape, String> {
    let kind = drawn.shape_type.as_deref().unwrap_or("polygon");
    match (kind, &drawn.points[..]) {
        ("polygon", [_, ..]) => Ok(Shape::Polygon(drawn.points)),
        ("rectangle", &[[x0, y0], [x1, y1]]) => {
            Ok(Shape::rectangle([x0.min(x1), y0.min(y1), (x1 - x0).abs(), (y1 - y0).abs()]))
        }
        // Some versions write all four corners.
        ("rectangle" | "rotation", [_, _, _, _]) => Ok(Shape::Polygon(drawn.points)),
        ("circle", &[center, [x, y]]) => Ok(Shape::Disc { center, radius: (x - center[0]).hypot(y - center[1]) }),
        ("line" | "linestrip" | "point" | "points", [_, ..]) => Ok(Shape::Line(drawn.points)),
        ("polygon" | "rectangle" | "rotation" | "circle" | "line" | "linestrip" | "point" | "points", points) => {
            Err(format!("a shape of the type {kind} has {} points", points.len()))
        }
        (kind, _) => Err(format!(
            "a shape has the type {kind}, which is not read; draw it as polygon, rectangle, circle, line, linestrip or point"
        )),
    }
}
