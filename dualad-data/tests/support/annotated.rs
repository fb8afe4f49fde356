//! Datasets with annotations: files, and what is read of them.

use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind, Label, Sample, Split};

use super::Tree;

/// Returns the images of a split with their categories and labels; `-` for a normal image.
pub(crate) fn images(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<(String, String, String)> {
    let root = tree.root().canonicalize().unwrap();
    let one = |sample: &Sample| {
        let path = sample.path.canonicalize().unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let label = match &sample.label {
            Label::Normal => "-".to_string(),
            Label::Anomalous(kind) => kind.clone(),
        };
        (path, sample.category.clone(), label)
    };
    dataset.samples(split).map(one).collect()
}

pub(crate) fn paths(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<String> {
    images(tree, dataset, split).into_iter().map(|image| image.0).collect()
}

/// Returns the marked pixels of an image as `x,y`.
pub(crate) fn marked(dataset: &Dataset, name: &str) -> Vec<(usize, usize)> {
    let mut samples = dataset.categories.iter().flat_map(|category| &category.samples);
    let sample = samples.find(|sample| sample.path.ends_with(name)).unwrap();
    let size = dualad_data::image::Picture::read_size(&sample.path, &Limits::default()).unwrap();
    let mask = sample.read_mask(size, &Limits::default()).unwrap().unwrap();
    let width = size.0 as usize;
    let all = mask.pixels().iter().enumerate().filter(|(_, pixel)| **pixel != 0);
    all.map(|(index, _)| (index % width, index / width)).collect()
}

pub(crate) fn kinds(dataset: &Dataset) -> Vec<FindingKind> {
    let report = dataset.check().threads(1).run().unwrap();
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// Writes pictures of 8 x 4 pixels that differ.
pub(crate) fn pictures(tree: &Tree, names: &[&str]) {
    for (seed, name) in names.iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
}

/// Returns COCO's JSON of these images and annotations, each image with its index as identifier.
pub(crate) fn coco(images: &[&str], annotations: &[(usize, &str)]) -> String {
    let image = |(id, name): (usize, &&str)| {
        format!(r#"{{"id": {id}, "file_name": "{name}", "width": 8, "height": 4, "license": 1, "date_captured": 0}}"#)
    };
    let images: Vec<String> = images.iter().enumerate().map(image).collect();
    let annotation = |(id, (image, rest)): (usize, &(usize, &str))| {
        format!(r#"{{"id": {id}, "image_id": {image}, "iscrowd": 0, "area": 4, {rest}}}"#)
    };
    let annotations: Vec<String> = annotations.iter().enumerate().map(annotation).collect();
    format!(
        r#"{{"info": {{"year": "2026"}}, "licenses": [{{"name": "", "id": 0, "url": ""}}],
            "categories": [{{"id": 0, "name": "defects", "supercategory": "none"}}, {{"id": 1, "name": "dent"}},
                           {{"id": 2, "name": "scratch"}}, {{"id": 3, "name": "OK"}}],
            "images": [{}], "annotations": [{}]}}"#,
        images.join(", "),
        annotations.join(", ")
    )
}

pub(crate) fn labelme(shapes: &str) -> String {
    format!(
        r#"{{"version": "5.5.0", "flags": {{}}, "shapes": [{shapes}], "imagePath": "x.png", "imageData": "iVBORw0KGgo=",
            "imageHeight": 4, "imageWidth": 8}}"#
    )
}
