//! Folders beside each other that show one product, told by their images: they may be labels in words that no list knows.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::mask_folders::Candidate;
use super::siblings::differ_in_zero_and_one;
use crate::finding::{Finding, FindingKind};
use crate::image::{Filter, Limits, Picture, Preprocess};
use crate::text::names_of;

/// The number of folders up to which they may be labels of one product.
const MAX_LABELS: usize = 64;
/// The number of images of a folder that are looked at, in equal steps.
const LOOKED_AT: usize = 16;
/// The number of images of all folders that are looked at.
const LOOKED_AT_IN_ALL: usize = 512;
/// The number of pixels of a folder that are looked at, apart from the first two images.
const PIXELS: u64 = 64_000_000;
/// The number of images of the larger of two folders for each one of the smaller: defects are rare.
const MANY: usize = 3;
/// The least standard deviation: images of one product without noise differ by a defect.
const LEAST_DEVIATION: f64 = 0.012;
/// The largest difference of the ratios of width and height of scaled images.
const MAX_SKEW: f64 = 0.01;
/// The side of a thumbnail in pixels.
const SIDE: u32 = 16;

/// The images of a folder that are looked at.
struct Sampled<'a> {
    paths: Vec<&'a PathBuf>,
    /// The widths and heights.
    sizes: BTreeSet<(u32, u32)>,
}

impl<'a> Sampled<'a> {
    fn of(images: &'a [PathBuf], count: usize) -> Self {
        let step = images.len().div_ceil(count.max(1)).max(1);
        let mut paths: Vec<&PathBuf> = images.iter().step_by(step).collect();
        let size = |path: &&PathBuf| Picture::read_size(path, &Limits::default()).ok();
        let found: Vec<(u32, u32)> = paths.par_iter().filter_map(size).collect();
        let largest = found.iter().map(|(width, height)| u64::from(*width) * u64::from(*height)).max();
        let few = PIXELS.checked_div(largest.unwrap_or(0)).unwrap_or(0).max(2);
        let step = (paths.len() as u64).div_ceil(few).max(1);
        paths = paths.into_iter().step_by(step as usize).collect();
        Self { paths, sizes: found.into_iter().collect() }
    }

    /// Returns whether the images may be of one camera: they have a common size, or one of the same shape, as scaled ones have, or each
    /// folder has several sizes, as crops have.
    fn may_be_of_one_camera(&self, other: &Self) -> bool {
        let is_scaled = |(one, other): (&(u32, u32), &(u32, u32))| {
            let [wide, high] = [(one.0, other.1), (one.1, other.0)].map(|(a, b)| f64::from(a) * f64::from(b));
            (wide - high).abs() <= MAX_SKEW * wide.max(high)
        };
        let mut pairs = self.sizes.iter().flat_map(|one| other.sizes.iter().map(move |other| (one, other)));
        pairs.any(is_scaled) || self.sizes.len() > 1 && other.sizes.len() > 1
    }

    /// Returns whether the images have a common size.
    fn share_a_size(&self, other: &Self) -> bool {
        !self.sizes.is_disjoint(&other.sizes)
    }
}

/// The look of a folder's images.
struct Look {
    /// The number of images.
    count: f64,
    /// The mean thumbnail: `[SIDE * SIDE, 3]`, from 0 to 1.
    mean: Vec<f64>,
    /// The variance of the thumbnails around the mean, if there are several.
    variance: Option<f64>,
    /// The mean color of the mean thumbnail.
    color: [f64; 3],
    /// The mean thumbnail without its mean color.
    structure: Vec<f64>,
}

impl Look {
    /// Returns the look of the images that can be read, if there is one.
    fn of(paths: &[&PathBuf]) -> Option<Self> {
        let preprocess = Preprocess::new(SIDE, SIDE).ok()?.filter(Filter::Antialiased);
        let thumbnail = |path: &&PathBuf| -> Option<Vec<f64>> {
            let picture = Picture::read(path, &Limits::default()).ok()?;
            let small = preprocess.picture(&picture).ok()?;
            Some(small.pixels().iter().map(|level| f64::from(*level) / 255.0).collect())
        };
        Self::of_thumbnails(&paths.par_iter().filter_map(thumbnail).collect::<Vec<_>>())
    }

    fn of_thumbnails(thumbnails: &[Vec<f64>]) -> Option<Self> {
        let count = thumbnails.len() as f64;
        let mut mean = vec![0.0; thumbnails.first()?.len()];
        for thumbnail in thumbnails {
            mean.iter_mut().zip(thumbnail).for_each(|(mean, level)| *mean += level / count);
        }
        let sum: f64 = thumbnails.iter().map(|thumbnail| squared_distance(thumbnail, &mean)).sum();
        let (pixels, _) = mean.as_chunks::<3>();
        let mut color = [0.0; 3];
        for pixel in pixels {
            color.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += level / pixels.len() as f64);
        }
        let structure = mean.iter().zip(color.iter().cycle()).map(|(level, mean)| level - mean).collect();
        let variance = (thumbnails.len() > 1).then(|| sum / (count - 1.0));
        Some(Self { count, mean, variance, color, structure })
    }

    /// Returns whether the images of two folders are as alike as those within each, or alike but for the light.
    ///
    /// The limit lies between folders of good and of defective images of one product, and folders of different products: of 11
    /// categories, real and synthetic, the largest of the first had 0.9 of the variance, and the least of the second 2.
    /// Images of two sizes are not compared in another light: `has_one_size` is false.
    fn is_like(&self, other: &Self, has_one_size: bool) -> bool {
        /// The squared distance of the means, in variances within a folder.
        const MAX_DISTANCE: f64 = 1.2;
        let known: Vec<f64> = [self.variance, other.variance].into_iter().flatten().collect();
        let variance = known.iter().sum::<f64>() / known.len().max(1) as f64;
        // The means of a few images differ by chance.
        let chance = 2.0 * (1.0 / self.count + 1.0 / other.count);
        let limit = variance.max(LEAST_DEVIATION * LEAST_DEVIATION) * (MAX_DISTANCE + chance);
        squared_distance(&self.mean, &other.mean) <= limit || has_one_size && self.is_same_scene(other)
    }

    /// Returns whether two mean thumbnails show the same scene in another light: they have the same structure and hue.
    fn is_same_scene(&self, other: &Self) -> bool {
        const MIN_CORRELATION: f64 = 0.95;
        const MAX_HUE: f64 = 0.05;
        let product = |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f64>();
        let [own, others] = [&self.structure, &other.structure];
        let norms = (product(own, own) * product(others, others)).sqrt();
        // Without structure, as of flat pictures, rounding alone would correlate.
        let has_structure = norms > LEAST_DEVIATION * LEAST_DEVIATION * own.len() as f64;
        let share = |color: [f64; 3]| color.map(|level| level / color.iter().sum::<f64>().max(f64::MIN_POSITIVE));
        let mut hues = share(self.color).into_iter().zip(share(other.color));
        has_structure
            && product(own, others) >= MIN_CORRELATION * norms
            && hues.all(|(one, other)| (one - other).abs() <= MAX_HUE)
    }
}

/// Returns the mean of the squared differences.
fn squared_distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / one.len().max(1) as f64
}

/// Reports folders that may show one product: their images look alike, or their names are those of labels 0 and 1. A model would learn
/// the defects of one as normal.
pub(super) fn report(root: &Path, candidates: &[Candidate], findings: &mut Vec<Finding>) {
    let mut add = |names: &[String], why: &str| {
        let first = names.first().map_or("", String::as_str);
        let what = format!(
            "{why} ({}), so they may show one product under several labels, and the defective images would be trained on as normal; if \
             they are one product, move its normal images to PRODUCT/train/good, and the others to PRODUCT/test/<type of defect>; if \
             each is a product, name the categories to use, or move the images of each to a folder good in it ({first}/good)",
            names_of(names)
        );
        findings.push(Finding::new(FindingKind::SameProduct, "", root, what));
    };
    let name = |candidate: &Candidate| candidate.folder.name.to_string_lossy().into_owned();
    let names: Vec<&OsStr> = candidates.iter().map(|candidate| candidate.folder.name.as_os_str()).collect();
    let mut is_told = vec![false; candidates.len()];
    let mut not_compared = None;
    for (one, other) in differ_in_zero_and_one(&names) {
        let (Some(a), Some(b)) = (candidates.get(one), candidates.get(other)) else { continue };
        let (few, many) = (a.images.len().min(b.images.len()), a.images.len().max(b.images.len()));
        if many >= MANY * few {
            add(
                &[name(a), name(b)],
                &format!(
                    "the names of two folders differ only in 0 and 1, and one has {many} images and the other {few}"
                ),
            );
            for index in [one, other] {
                if let Some(told) = is_told.get_mut(index) {
                    *told = true;
                }
            }
        }
    }
    if candidates.len() > MAX_LABELS {
        let what = format!(
            "its {} folders are read as products by their names alone: the images of more than {MAX_LABELS} folders are not compared",
            candidates.len()
        );
        not_compared = Some(what);
    }
    for group in alike(candidates) {
        if !group.iter().all(|index| is_told.get(*index) == Some(&true)) {
            let names: Vec<String> = group.iter().filter_map(|index| candidates.get(*index)).map(name).collect();
            add(&names, "the images of folders look as alike as those within each folder");
        }
    }
    findings.extend(not_compared.map(|what| Finding::new(FindingKind::Choice, "", root, what)));
}

/// Returns the groups of folders whose images look alike.
fn alike(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    if !(2..=MAX_LABELS).contains(&candidates.len()) {
        return Vec::new();
    }
    let each = (LOOKED_AT_IN_ALL / candidates.len()).min(LOOKED_AT);
    let sampled: Vec<Sampled> = candidates.iter().map(|candidate| Sampled::of(&candidate.images, each)).collect();
    let may_be = |one: usize, other: usize| {
        let pair = sampled.get(one).zip(sampled.get(other)).filter(|_| one != other);
        pair.is_some_and(|(one, other)| one.may_be_of_one_camera(other))
    };
    let all = || 0..sampled.len();
    let look = |(index, sampled): (usize, &Sampled)| {
        all().any(|other| may_be(index, other)).then(|| Look::of(&sampled.paths)).flatten()
    };
    let looks: Vec<Option<Look>> = sampled.iter().enumerate().map(look).collect();
    let is_like = |one: usize, other: usize| {
        let pair = looks.get(one).and_then(Option::as_ref).zip(looks.get(other).and_then(Option::as_ref));
        let sizes = sampled.get(one).zip(sampled.get(other));
        let has_one_size = sizes.is_some_and(|(one, other)| one.share_a_size(other));
        may_be(one, other) && pair.is_some_and(|(one, other)| one.is_like(other, has_one_size))
    };
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for index in all() {
        // A folder may join several groups.
        let (mut joined, rest): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| is_like(index, *other)));
        groups = rest;
        joined.push(vec![index]);
        groups.push(joined.concat());
    }
    groups.retain(|group| group.len() > 1);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Returns the look of pictures of a disc of a color on gray, which lies a little apart in each.
    fn look(color: [f64; 3], light: f64, count: u64, seed: u64) -> Look {
        let mut random = Random::new(seed).named("look").sequence();
        let thumbnail = |_| {
            let shift = f64::from(random.unit()) * 2.0 - 1.0;
            let pixel = |index: u32| {
                let (x, y) = (f64::from(index % SIDE), f64::from(index / SIDE));
                let is_inside = (x - 7.5 - shift).hypot(y - 7.5) < 4.5;
                color.map(|level| light * if is_inside { level } else { 0.5 })
            };
            (0..SIDE * SIDE).flat_map(pixel).collect::<Vec<f64>>()
        };
        Look::of_thumbnails(&(0..count).map(thumbnail).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn folders_of_one_product_are_alike_in_any_light() {
        let red = || look([0.8, 0.2, 0.1], 1.0, 16, 1);
        assert!(red().is_like(&look([0.8, 0.2, 0.1], 1.0, 16, 2), true));
        assert!(red().is_like(&look([0.8, 0.2, 0.1], 1.0, 1, 3), true));
        assert!(red().is_like(&look([0.8, 0.2, 0.1], 0.6, 4, 4), true));
        for color in [[0.1, 0.2, 0.8], [0.2, 0.2, 0.2], [1.0, 1.0, 1.0]] {
            assert!(!red().is_like(&look(color, 1.0, 16, 5), true), "{color:?}");
        }
        let flat = |level: f64| Look::of_thumbnails(&vec![vec![level; 3 * 16]; 4]).unwrap();
        assert!(flat(0.5).is_like(&flat(0.51), true) && !flat(0.5).is_like(&flat(0.6), true));
        // Rounding is no structure.
        assert!(!flat(1.0 / 255.0).is_like(&flat(201.0 / 255.0), true));
    }
}
