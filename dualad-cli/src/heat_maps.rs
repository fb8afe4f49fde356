//! Strips of pictures: an image, the outline of its mask, and its heat map.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use dualad::data::image::{Limits, Picture, Preprocess};
use dualad::data::render::{self, ColorMap, Scale};
use dualad::data::{Label, Sample};
use dualad::{ImageScores, TestSet};
use image::{GrayImage, Rgb, RgbImage};

use crate::common::{Result, note};
use crate::names::{digest, shortened};

/// The lengths of names in bytes. Encrypted file systems allow 143 for a file.
const MAX_FOLDER: usize = 100;
const MAX_KIND: usize = 40;
const MAX_STEM: usize = 80;
/// The number of missing heat maps that are named. The others are counted.
const MAX_FAILURES: usize = 5;

const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// Draws strips, with one color scale for each category.
pub(crate) struct Strips<'a> {
    test_set: &'a TestSet,
    scores: &'a [ImageScores],
    preprocess: &'a Preprocess,
    limits: Limits,
    scales: BTreeMap<&'a str, Scale>,
}

impl<'a> Strips<'a> {
    pub(crate) fn new(
        test_set: &'a TestSet,
        scores: &'a [ImageScores],
        preprocess: &'a Preprocess,
        limits: Limits,
    ) -> Result<Self> {
        let mut maps = BTreeMap::<&str, Vec<&[f32]>>::new();
        for (sample, scores) in test_set.samples().iter().zip(scores) {
            maps.entry(&sample.category).or_default().push(&scores.map);
        }
        let scale = |(category, maps): (&'a str, Vec<&[f32]>)| Ok((category, Scale::over(maps, 1.0, 99.5)?));
        let scales = maps.into_iter().map(scale).collect::<Result<_>>()?;
        Ok(Self { test_set, scores, preprocess, limits, scales })
    }

    /// Draws an image, the image with the outline of its mask if it has one, and its heat map, side by side.
    pub(crate) fn strip(&self, index: usize) -> Result<RgbImage> {
        let sample = &self.test_set.samples()[index];
        let picture = self.preprocess.picture(&Picture::read(&sample.path, &self.limits)?)?;
        let (width, height) = (picture.width(), picture.height());
        let image =
            RgbImage::from_raw(width, height, picture.pixels().to_vec()).ok_or("a picture without its pixels")?;
        let scale = self.scales[sample.category.as_str()];
        let heat =
            render::heat_map(&image, &self.scores[index].map, self.test_set.size(), scale, ColorMap::Inferno, 0.5)?;
        let mut parts = vec![image.clone()];
        if let Some(mask) = self.test_set.mask(index) {
            let mask = GrayImage::from_raw(width, height, mask.to_vec()).ok_or("a mask without its pixels")?;
            let mut outlined = image;
            render::outline(&mut outlined, &mask, OUTLINE)?;
            parts.push(outlined);
        }
        parts.push(heat);
        Ok(render::strip(&parts.iter().collect::<Vec<_>>())?)
    }

    /// Returns a strip as the bytes of a PNG file.
    pub(crate) fn png(&self, index: usize) -> Result<Vec<u8>> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        self.strip(index)?.write_to(&mut bytes, image::ImageFormat::Png)?;
        Ok(bytes.into_inner())
    }

    /// Writes `count` strips of each category, most of them with a defect: `<category>/<defect>_<image>.png`. Those that cannot be
    /// written are named on standard error: the model and its report do not need them.
    pub(crate) fn write(&self, folder: &Path, count: usize) {
        let mut failures = Vec::new();
        for category in self.scales.keys() {
            let of = |anomalous: bool| {
                let samples = self.test_set.samples().iter().enumerate();
                let fits = move |(_, sample): &(usize, &Sample)| {
                    sample.category == *category && sample.label.is_anomalous() == anomalous
                };
                samples.filter(fits).map(|(index, _)| index).collect::<Vec<usize>>()
            };
            let (defective, good) = (of(true), of(false));
            let normal = (count / 4).min(good.len());
            let chosen = spread(&defective, count - normal);
            let rest = count - chosen.len();
            let folder = folder.join(shortened(&file_name(category), MAX_FOLDER));
            if let Err(error) = std::fs::create_dir_all(&folder) {
                failures.push(format!("cannot create {}: {error}", folder.display()));
                continue;
            }
            let mut taken = HashSet::new();
            for index in chosen.into_iter().chain(spread(&good, rest)) {
                let path = folder.join(name_of(&self.test_set.samples()[index], &mut taken));
                let written = self.strip(index).and_then(|strip| Ok(render::save_png(&path, &strip)?));
                failures.extend(written.err().map(|error| format!("cannot write {}: {error}", path.display())));
            }
        }
        for failure in failures.iter().take(MAX_FAILURES) {
            note(&format!("note: a heat map is missing: {failure}"));
        }
        if let Some(more @ 1..) = failures.len().checked_sub(MAX_FAILURES) {
            note(&format!("note: {more} more heat maps are missing"));
        }
    }
}

/// Returns the file name of a test image's strip. A second one with the same name gets the digest of its image's path.
fn name_of(sample: &Sample, taken: &mut HashSet<String>) -> String {
    let kind = match &sample.label {
        Label::Normal => "good",
        Label::Anomalous(kind) => kind,
    };
    let stem = sample.path.file_stem().unwrap_or_default().to_string_lossy();
    let (kind, stem) = (shortened(&file_name(kind), MAX_KIND), shortened(&file_name(&stem), MAX_STEM));
    let mut name = format!("{kind}_{stem}");
    // Some file systems take upper and lower case for the same.
    if !taken.insert(name.to_lowercase()) {
        name = format!("{name}-{}", digest(&sample.path.to_string_lossy()));
    }
    name + ".png"
}

/// Returns `count` of the indices, evenly spread.
fn spread(indices: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(indices.len());
    (0..count).map(|number| indices[number * indices.len() / count]).collect()
}

/// Returns a name that is valid as one part of a path. The names in a table may hold any character.
fn file_name(name: &str) -> String {
    let part = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    name.chars().map(part).collect()
}
