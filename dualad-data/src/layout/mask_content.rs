//! Masks that lie beside their images and that only their content tells: pictures of few colors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::mask_name::{Key, key, may_be_ending};
use crate::image::levels::{DeepLevels, MAX_LEVELS as MAX_COLORS};
use crate::image::{Limits, Picture};
use crate::image_name::is_image_name;

/// The share of pixels of a mask with soft edges, or in a jpeg file, that are nearly black or nearly white.
const MIN_EXTREME_SHARE: f64 = 0.99;
/// The levels that are nearly black, and the distance to white of those that are nearly white.
const NEAR: u8 = 24;

/// The number of pairs with the same ending that are looked at first. If none is an image and its mask, the others are not read.
const SAMPLED: usize = 4;
/// The number of endings that are looked at, the most frequent first.
const MAX_ENDINGS: usize = 8;

/// A picture with a summary of its levels of 16 bits, if it has such.
type Leveled = (Picture, Option<DeepLevels>);

/// The files of a folder that are masks of others by their content.
#[derive(Debug, Default)]
pub(super) struct ByContent {
    /// The masks, and the keys of their images.
    pub(super) masks: Vec<(PathBuf, Key)>,
    /// Files that share their name with another, and of which each may be an image or a mask.
    pub(super) unclear: Vec<PathBuf>,
}

/// Finds masks beside their images: of the same name with another extension (`x.png` beside `x.jpg`), or with an ending that is not
/// known (`x_roi.png` beside `x.png`). Only such pairs are decoded.
pub(super) fn masks_by_content(files: &[PathBuf]) -> ByContent {
    let mut groups = BTreeMap::<Key, Vec<&PathBuf>>::new();
    for path in files {
        groups.entry(key(path)).or_default().push(path);
    }
    let mut found = ByContent::default();
    let same: Vec<(&Key, &Vec<&PathBuf>)> = groups.iter().filter(|(_, files)| files.len() > 1).collect();
    let same = same.par_iter().map(|(key, files)| (*key, of_one_name(files)));
    for (key, (masks, unclear)) in same.collect::<Vec<_>>() {
        found.masks.extend(masks.into_iter().map(|path| (path, key.clone())));
        found.unclear.extend(unclear);
    }
    let mut endings = BTreeMap::<&[u8], Vec<(&PathBuf, &Key, &PathBuf)>>::new();
    for (name, files) in &groups {
        // The longest name of another file that this one begins with.
        let image = (1..name.len()).rev().find_map(|end| groups.get_key_value(name.get(..end)?));
        if let (Some((image, images)), &[mask]) = (image, &files[..])
            && let Some(ending) = name.strip_prefix(&image[..]).filter(|ending| may_be_ending(ending))
            && let Some(path) = images.first()
        {
            endings.entry(ending).or_default().push((mask, image, path));
        }
    }
    let mut endings: Vec<_> = endings.into_values().collect();
    endings.sort_by_key(|pairs| std::cmp::Reverse(pairs.len()));
    let is_pair = |(mask, _, image): &&(&PathBuf, &Key, &PathBuf)| is_mask_of(mask, image);
    for pairs in endings.into_iter().take(MAX_ENDINGS) {
        let step = pairs.len().div_ceil(SAMPLED).max(1);
        if pairs.iter().step_by(step).any(|pair| is_pair(&pair)) {
            let masks = pairs.par_iter().filter(is_pair).map(|(mask, image, _)| ((*mask).clone(), (*image).clone()));
            found.masks.extend(masks.collect::<Vec<_>>());
        }
    }
    found
}

/// Returns the masks among files of one name, and the files of which nothing tells whether they are masks.
fn of_one_name(files: &[&PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let read = |path: &&PathBuf| Some((path.to_path_buf(), Picture::read_levels(path, &Limits::default()).ok()?));
    let pictures: Vec<(PathBuf, Leveled)> = files.iter().filter_map(read).collect();
    let (masks, images): (Vec<_>, Vec<_>) = pictures.into_iter().partition(|(_, picture)| is_mask_like(picture));
    let size = |(picture, _): &Leveled| (picture.width(), picture.height());
    let (of_image, unclear): (Vec<_>, Vec<_>) =
        masks.into_iter().partition(|(_, mask)| images.iter().any(|(_, image)| size(image) == size(mask)));
    let paths = |found: Vec<(PathBuf, Leveled)>| found.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    (paths(of_image), paths(unclear))
}

/// Returns the files that are photographs, of pairs of a file named as a mask and the image that it would belong to. If none of the first ones
/// is, the others are not read.
pub(super) fn photographs_among(pairs: &[(&PathBuf, &PathBuf)]) -> Vec<PathBuf> {
    let is = |(file, image): &&(&PathBuf, &PathBuf)| is_photograph_beside(file, image);
    let step = pairs.len().div_ceil(SAMPLED).max(1);
    if !pairs.iter().step_by(step).any(|pair| is(&pair)) {
        return Vec::new();
    }
    pairs.par_iter().filter(is).map(|(file, _)| (*file).clone()).collect()
}

/// Returns whether a file is a photograph, and no copy of another one in which something is drawn: it has many colors, of which none fills much
/// of it, as black does in a mask with soft edges.
fn is_photograph_beside(file: &Path, image: &Path) -> bool {
    const MAX_SHARE: f64 = 0.3;
    const MAX_EQUAL: f64 = 0.5;
    let read = |path: &Path| Picture::read_levels(path, &Limits::default()).ok();
    let Some(leveled) = read(file).filter(|leveled| !may_be_mask(leveled) && look(leveled) == Look::Photograph) else {
        return false;
    };
    let (pixels, _) = leveled.0.pixels().as_chunks::<3>();
    let most = |share: f64| share * pixels.len() as f64;
    let mut counts = std::collections::HashMap::<[u8; 3], usize>::new();
    pixels.iter().for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
    if counts.values().any(|count| *count as f64 > most(MAX_SHARE)) {
        return false;
    }
    read(image).is_some_and(|(image, _)| {
        let (others, _) = image.pixels().as_chunks::<3>();
        let equal = pixels.iter().zip(others).filter(|(one, other)| one == other).count();
        others.len() != pixels.len() || equal as f64 <= most(MAX_EQUAL)
    })
}

/// Returns whether a file is the mask of an image: it has few colors and the image has many, at the same size.
pub(super) fn is_mask_of(mask: &Path, image: &Path) -> bool {
    let limits = Limits::default();
    let Ok(mask) = Picture::read_levels(mask, &limits) else { return false };
    is_mask_like(&mask)
        && Picture::read_size(image, &limits).is_ok_and(|size| size == (mask.0.width(), mask.0.height()))
        && Picture::read_levels(image, &limits).is_ok_and(|image| !is_mask_like(&image))
}

/// Returns whether the images of a folder are masks by their content: the first ones are, and there is one.
pub(super) fn look_like_masks(images: &[PathBuf]) -> bool {
    let is =
        |path: &PathBuf| Picture::read_levels(path, &Limits::default()).is_ok_and(|picture| is_mask_like(&picture));
    !images.is_empty() && images.iter().take(SAMPLED).all(is)
}

/// Returns whether files of masks and labels are black pictures alone.
pub(super) fn mark_nothing(files: &[PathBuf]) -> bool {
    let is_black = |path: &PathBuf| {
        let picture = Picture::read_levels(path, &Limits::default());
        picture.is_ok_and(|(picture, _)| picture.pixels().iter().all(|level| *level == 0))
    };
    files.iter().all(is_image_name) && files.par_iter().all(is_black)
}

/// The number of pictures of a folder that are looked at, in equal steps.
const LOOKED_AT: usize = 8;

/// Returns whether the pictures of a folder may be masks by their content: three of four are, among those that are looked at. Masks of
/// several colors in jpeg files count, too.
pub(super) fn may_be_masks(images: &[PathBuf]) -> bool {
    let (masks, all) = masks_of(images);
    all > 0 && 4 * masks >= 3 * all
}

/// Returns whether the pictures of a folder are no masks by their content, apart from one of four.
pub(super) fn are_photographs(images: &[PathBuf]) -> bool {
    let (masks, all) = masks_of(images);
    all > 0 && 4 * masks <= all
}

/// Returns the number of pictures that may be masks, and of all that can be read, among those that are looked at.
fn masks_of(images: &[PathBuf]) -> (usize, usize) {
    let step = images.len().div_ceil(LOOKED_AT).max(1);
    let looked_at: Vec<&PathBuf> = images.iter().step_by(step).collect();
    let read = |path: &&PathBuf| Picture::read_levels(path, &Limits::default()).ok();
    let found: Vec<bool> = looked_at.par_iter().filter_map(read).map(|picture| may_be_mask(&picture)).collect();
    (found.iter().filter(|is| **is).count(), found.len())
}

/// Returns whether a picture is a mask, or one of colors that lossy compression has changed.
fn may_be_mask(leveled: &Leveled) -> bool {
    is_mask_like(leveled) || leveled.1.is_none() && (is_of_pure_colors(&leveled.0) || is_flat(&leveled.0))
}

/// Returns whether each color of nearly all pixels is at its least or its greatest level: black, white, red, yellow and so on.
fn is_of_pure_colors(picture: &Picture) -> bool {
    /// The share of pixels; edges in jpeg files have other colors.
    const MIN_SHARE: f64 = 0.9;
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let is_high = |level: &u8| u8::MAX - level <= NEAR;
    let pure = pixels.iter().filter(|pixel| pixel.iter().all(|level| *level <= NEAR || is_high(level))).count();
    // A dark photograph has no high level.
    pixels.iter().any(|pixel| pixel.iter().any(is_high)) && pure as f64 >= MIN_SHARE * pixels.len() as f64
}

/// Returns whether most pixels have the same color, nearly all have the color of their neighbors, and the others have few colors.
fn is_flat(picture: &Picture) -> bool {
    const MIN_SAME: f64 = 0.5;
    const MIN_FLAT: f64 = 0.8;
    const MIN_OF_FEW: f64 = 0.97;
    /// The number of colors with those near them.
    const MAX_NEAR: usize = 4;
    let width = picture.width() as usize;
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let least = |share: f64| share * pixels.len() as f64;
    let pairs = pixels.iter().zip(pixels.iter().skip(1)).zip(pixels.iter().skip(width));
    let flat = pairs.filter(|((one, right), below)| one == right && one == below).count();
    if (flat as f64) < least(MIN_FLAT) {
        return false;
    }
    let mut counts = std::collections::HashMap::<[u8; 3], usize>::new();
    pixels.iter().for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
    let mut counts: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(color, count)| (std::cmp::Reverse(*count), *color));
    if !counts.first().is_some_and(|(_, count)| *count as f64 >= least(MIN_SAME)) {
        return false;
    }
    let mut near: Vec<[u8; 3]> = Vec::with_capacity(MAX_NEAR);
    let mut covered = 0;
    for (color, count) in counts {
        let is_near = |other: &[u8; 3]| color.iter().zip(other).all(|(one, other)| one.abs_diff(*other) <= NEAR);
        if near.iter().any(is_near) {
            covered += count;
        } else if near.len() < MAX_NEAR {
            near.push(color);
            covered += count;
        }
    }
    covered as f64 >= least(MIN_OF_FEW)
}

/// The kinds of pictures by their colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Too few pixels to tell.
    Tiny,
    /// One color alone.
    Blank,
    /// The few colors of a mask.
    FewColors,
    /// Nearly all pixels are nearly black or nearly white, and there are both: a mask in a jpeg file, or a silhouette.
    BlackAndWhite,
    /// Most pixels are nearly black or nearly white.
    MostlyBlackAndWhite,
    Photograph,
}

/// Returns the kind of a picture. Of a large one, a part of the pixels is looked at for black and white.
pub(crate) fn look((picture, deep): &(Picture, Option<DeepLevels>)) -> Look {
    /// The least number of pixels.
    const LEAST: usize = 64;
    const MOSTLY: f64 = 0.9;
    /// The number of pixels that are looked at.
    const SHARES: usize = 1 << 16;
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    match colors(pixels).filter(|_| deep.is_none_or(|deep| deep.may_be_mask)) {
        _ if pixels.len() < LEAST => return Look::Tiny,
        Some(0 | 1) => return Look::Blank,
        Some(_) => return Look::FewColors,
        None => {}
    }
    let step = (pixels.len() / SHARES).max(1);
    match extreme_shares(pixels.iter().step_by(step)) {
        (black, white) if black > 0.0 && white > 0.0 && black + white >= MIN_EXTREME_SHARE => Look::BlackAndWhite,
        (black, white) if black + white >= MOSTLY => Look::MostlyBlackAndWhite,
        _ => Look::Photograph,
    }
}

/// Returns the number of colors, if they are few.
fn colors(pixels: &[[u8; 3]]) -> Option<usize> {
    let mut colors: Vec<[u8; 3]> = Vec::with_capacity(MAX_COLORS);
    for pixel in pixels {
        if !colors.contains(pixel) {
            if colors.len() == MAX_COLORS {
                return None;
            }
            colors.push(*pixel);
        }
    }
    Some(colors.len())
}

/// Returns the shares of pixels that are nearly black and nearly white.
fn extreme_shares<'a>(pixels: impl Iterator<Item = &'a [u8; 3]>) -> (f64, f64) {
    let (mut black, mut white, mut all) = (0usize, 0usize, 0usize);
    for pixel in pixels {
        all += 1;
        black += usize::from(pixel.iter().all(|level| *level <= NEAR));
        white += usize::from(pixel.iter().all(|level| u8::MAX - level <= NEAR));
    }
    let share = |count: usize| count as f64 / all.max(1) as f64;
    (share(black), share(white))
}

/// Returns whether a picture has the few colors of a mask, or is nearly black and white.
fn is_mask_like((picture, deep): &Leveled) -> bool {
    let (pixels, rest) = picture.pixels().as_chunks::<3>();
    let extreme = || {
        let (black, white) = extreme_shares(pixels.iter());
        // A dark photograph has no white.
        white > 0.0 && black + white >= MIN_EXTREME_SHARE
    };
    // Rounded to 8 bits, the levels of a frame of 10 bits are few.
    let few = colors(pixels).is_some() && deep.is_none_or(|deep| deep.may_be_mask);
    rest.is_empty() && (few || extreme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dark_photograph_is_no_mask() {
        let picture = |level: fn(usize) -> u8| {
            let pixels = (0..32 * 32).flat_map(|pixel| [level(pixel); 3]).collect();
            (Picture::new(32, 32, pixels).unwrap(), None)
        };
        assert!(!is_mask_like(&picture(|pixel| (pixel % 20) as u8)));
        // A mask in JPEG: nearly black and white.
        assert!(is_mask_like(&picture(|pixel| if pixel % 32 < 16 {
            (pixel % 12) as u8
        } else {
            255 - (pixel % 12) as u8
        })));
    }

    /// A flat frame of 10 bits has few levels when they are rounded to 8.
    #[test]
    fn a_frame_of_10_bits_is_no_mask() {
        let folder = tempfile::tempdir().unwrap();
        let is = |name: &str, level: fn(u32) -> u16| {
            let path = folder.path().join(name);
            let image = image::ImageBuffer::from_fn(32, 32, |x, y| image::Luma([level(x + 32 * y)]));
            image.save(&path).unwrap();
            look_like_masks(&[path])
        };
        assert!(!is("many.png", |pixel| (pixel % 1024) as u16));
        assert!(!is("few.png", |pixel| 600 + (pixel % 7) as u16));
        assert!(!is("dark.png", |pixel| (pixel % 200) as u16));
        for (name, level) in [
            ("white.png", (|pixel| if pixel < 99 { u16::MAX } else { 0 }) as fn(u32) -> u16),
            ("numbers.png", |pixel| (pixel % 8) as u16),
            ("gray.png", |pixel| (pixel % 4) as u16 * 64 * 257),
            ("black.png", |_| 0),
        ] {
            assert!(is(name, level), "{name}");
        }
    }
}
