//! Strips of pictures: an image, the outline of its mask, and its heat map.

use std::collections::BTreeMap;
use std::path::Path;

use dualad::data::Sample;
use dualad::data::image::{Limits, Picture, Preprocess};
use dualad::data::render::{self, ColorMap, Scale};
use dualad::{ImageScores, TestSet};
use image::{GrayImage, Rgb, RgbImage};

use crate::common::Result;

const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// Draws strips, with one color scale for each category.
pub(crate) struct Strips<'a> {
    test_set: &'a TestSet,
    scores: &'a [ImageScores],
    preprocess: &'a Preprocess,
    scales: BTreeMap<&'a str, Scale>,
}

impl<'a> Strips<'a> {
    pub(crate) fn new(test_set: &'a TestSet, scores: &'a [ImageScores], preprocess: &'a Preprocess) -> Result<Self> {
        let mut maps = BTreeMap::<&str, Vec<&[f32]>>::new();
        for (sample, scores) in test_set.samples().iter().zip(scores) {
            maps.entry(&sample.category).or_default().push(&scores.map);
        }
        let scale = |(category, maps): (&'a str, Vec<&[f32]>)| Ok((category, Scale::over(maps, 1.0, 99.5)?));
        Ok(Self { test_set, scores, preprocess, scales: maps.into_iter().map(scale).collect::<Result<_>>()? })
    }

    /// Draws an image, the image with the outline of its mask if it has one, and its heat map, side by side.
    pub(crate) fn strip(&self, index: usize) -> Result<RgbImage> {
        let sample = &self.test_set.samples()[index];
        let picture = self.preprocess.picture(&Picture::read(&sample.path, &Limits::default())?)?;
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

    /// Writes `count` strips of each category, most of them with a defect: `<category>/<defect>_<image>.png`.
    pub(crate) fn write(&self, folder: &Path, count: usize) -> Result<()> {
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
            let folder = folder.join(file_name(category));
            std::fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
            for index in chosen.into_iter().chain(spread(&good, rest)) {
                let sample = &self.test_set.samples()[index];
                let kind = match &sample.label {
                    dualad::data::Label::Normal => "good",
                    dualad::data::Label::Anomalous(kind) => kind,
                };
                let stem = sample.path.file_stem().unwrap_or_default().to_string_lossy();
                let path = folder.join(format!("{}_{}.png", file_name(kind), file_name(&stem)));
                render::save_png(&path, &self.strip(index)?)?;
            }
        }
        Ok(())
    }
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
