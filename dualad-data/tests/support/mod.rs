//! Files for tests.

#![allow(dead_code)] // Each test program uses its own part.

pub(crate) mod annotated;
pub(crate) mod tiff;

use std::path::{Path, PathBuf};

use dualad_data::{Dataset, FindingKind, Label, Sample, Split};
use image::{ImageBuffer, ImageFormat, Luma, Rgb};

/// The formats that are read.
pub(crate) const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Pnm,
];

/// A temporary folder of test files.
pub(crate) struct Tree {
    folder: tempfile::TempDir,
    /// Folders of its own around it: readers look for labels there, and the system's temporary folder may hold any file.
    _around: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let around = tempfile::tempdir().unwrap();
        let inner = around.path().join("around/it");
        std::fs::create_dir_all(&inner).unwrap();
        Self { folder: tempfile::tempdir_in(inner).unwrap(), _around: around }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = name.split('/').fold(self.root().to_path_buf(), |path, part| path.join(part));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Writes a picture that depends on the seed, in the format of the extension.
    pub(crate) fn picture(&self, name: &str, width: u32, height: u32, seed: u32) -> PathBuf {
        let path = self.path(name);
        let image = ImageBuffer::from_fn(width, height, |x, y| {
            let value = |c: u32| ((x * 7 + y * 13 + seed * 29 + c * 50) % 251) as u8;
            Rgb([value(0), value(1), value(2)])
        });
        let format = ImageFormat::from_extension(path.extension().unwrap().to_ascii_lowercase()).unwrap();
        image.save_with_format(&path, format).unwrap();
        path
    }

    /// Writes a mask whose left half has this value.
    pub(crate) fn mask(&self, name: &str, width: u32, height: u32, value: u8) -> PathBuf {
        let path = self.path(name);
        let image = ImageBuffer::from_fn(width, height, |x, _| Luma([if x < width.div_ceil(2) { value } else { 0 }]));
        image.save_with_format(&path, ImageFormat::Png).unwrap();
        path
    }

    /// Sets one pixel of a gray png file to 255.
    pub(crate) fn dot(&self, name: &str, x: u32, y: u32) {
        let path = self.path(name);
        let mut image = image::open(&path).unwrap().into_luma8();
        image.put_pixel(x, y, Luma([255]));
        image.save_with_format(&path, ImageFormat::Png).unwrap();
    }
}

/// Returns a png file of any color type and depth. `data` holds packed rows.
pub(crate) fn png(
    width: u32,
    height: u32,
    color: png::ColorType,
    depth: png::BitDepth,
    palette: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if !palette.is_empty() {
        encoder.set_palette(palette.to_vec());
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    bytes
}

/// Returns the path of a fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Creates files with any content: readers only list them.
pub(crate) fn touch(tree: &Tree, names: &[&str]) {
    for name in names {
        tree.write(name, "x");
    }
}

/// Returns the path of a file below a folder, with `/`.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")
}

/// Returns the images of a dataset: path, label, and mask.
pub(crate) fn read(dataset: &Dataset) -> Vec<String> {
    let samples = dataset.categories.iter().flat_map(|category| &category.samples);
    let line = |sample: &Sample| {
        let label = match &sample.label {
            Label::Normal if sample.split == Split::Train => "train",
            Label::Normal => "normal",
            Label::Anomalous(kind) => kind,
        };
        let masks: Vec<String> = sample.masks.iter().map(|mask| relative(&dataset.root, mask)).collect();
        format!("{} {label} {}", relative(&dataset.root, &sample.path), masks.join(" ")).trim_end().to_string()
    };
    samples.map(line).collect()
}

/// Returns the findings of a dataset: kind and path.
pub(crate) fn kinds(dataset: &Dataset) -> Vec<(FindingKind, String)> {
    dataset.findings.iter().map(|finding| (finding.kind, relative(&dataset.root, &finding.path))).collect()
}
