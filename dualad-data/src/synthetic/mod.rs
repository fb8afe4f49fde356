//! Small datasets that look like industrial inspection, drawn from a seed.
//!
//! Five categories: two textures ([`Category::Fabric`], [`Category::Plate`]) and three objects ([`Category::Blister`],
//! [`Category::Board`], [`Category::Gear`]). Every picture has its own pose, light, exposure, texture and sensor noise, so
//! that comparing pixels with a mean picture finds little. A picture with a defect is its own normal picture, drawn once
//! more with the defect: the mask is exactly where the two differ.
//!
//! [`write()`] makes a folder in the layout of MVTec AD, [`render()`] a single picture.
//!
//! ```
//! use dualad_data::synthetic::{self, Category, Defect, Options};
//!
//! let (image, mask) = synthetic::render(Category::Gear, 0, 7, Some(Defect::Missing), 64)?;
//! assert_eq!(image.dimensions(), (64, 64));
//! assert!(mask.pixels().any(|pixel| pixel.0 == [255]));
//!
//! let folder = tempfile::tempdir()?;
//! let options = Options { size: 32, train: 2, test_good: 1, test_per_defect: 1, ..Options::default() };
//! let summary = synthetic::write(&folder.path().join("parts"), &options, |_done, _total| {})?;
//! assert_eq!(summary.train, 2 * Category::ALL.len());
//! assert!(folder.path().join("parts/gear/ground_truth/missing/000_mask.png").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blister;
mod board;
mod fabric;
mod gear;
mod light;
mod mark;
mod noise;
mod place;
mod plate;
mod shape;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::error::Result;
use crate::random::Random;
use noise::{Point, hash};
use shape::{Colour, length, minus};
pub use write::{Options, Summary, write};

/// Sides that a picture can have, in pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 32..=4096;

/// The smallest change, in grey levels of 255 in any channel, that counts as a defect's and is kept.
pub const THRESHOLD: u8 = 4;

/// Deviation of the sensor's noise, in grey levels.
const SENSOR_NOISE: f32 = 1.4;

/// The share of a picture's pixels that a defect is meant to change, and how often one is drawn anew to get there.
const SHARE: std::ops::Range<f32> = 0.003..0.05;
const DRAWS: u32 = 8;

/// What is pictured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Category {
    /// Tablets under clear domes on foil.
    Blister,
    /// A circuit board with parts on it.
    Board,
    /// A plain-woven cloth.
    Fabric,
    /// A turned gear wheel, at any angle.
    Gear,
    /// A brushed metal plate.
    Plate,
}

impl Category {
    /// Every category, by name.
    pub const ALL: [Self; 5] = [Self::Blister, Self::Board, Self::Fabric, Self::Gear, Self::Plate];

    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blister => "blister",
            Self::Board => "board",
            Self::Fabric => "fabric",
            Self::Gear => "gear",
            Self::Plate => "plate",
        }
    }

    /// The defects that it can have, by name.
    pub const fn defects(self) -> &'static [Defect] {
        match self {
            Self::Blister => &[Defect::Dent, Defect::Missing, Defect::Swapped],
            Self::Board => &[Defect::Missing, Defect::Scratch, Defect::Swapped],
            Self::Fabric => &[Defect::Missing, Defect::Stain, Defect::Swapped],
            Self::Gear => &[Defect::Dent, Defect::Missing, Defect::Scratch, Defect::Stain],
            Self::Plate => &[Defect::Dent, Defect::Scratch, Defect::Stain],
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Category {
    type Err = SyntheticError;

    fn from_str(name: &str) -> Result<Self, SyntheticError> {
        let found = Self::ALL.into_iter().find(|category| category.name() == name);
        found.ok_or_else(|| SyntheticError::UnknownCategory { name: name.to_owned() })
    }
}

/// What is wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Defect {
    /// A bowl or a bump pressed into the surface.
    Dent,
    /// A part that is not there: a tablet, a component, a thread, a tooth.
    Missing,
    /// A bright or dark line.
    Scratch,
    /// A blot of oil, water or rust.
    Stain,
    /// Another part than there should be: another tablet, two components exchanged, a thread of another colour.
    Swapped,
}

impl Defect {
    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dent => "dent",
            Self::Missing => "missing",
            Self::Scratch => "scratch",
            Self::Stain => "stain",
            Self::Swapped => "swapped",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is wrong with a request for synthetic pictures, or with the folder that is to take them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The caller named a category that does not exist.
    #[error("there is no category \"{name}\"; choose from {}", Category::ALL.map(Category::name).join(", "))]
    UnknownCategory {
        /// The name given.
        name: String,
    },
    /// The category has no such defect.
    #[error("a {category} has no defect \"{defect}\"; choose from {}",
        category.defects().iter().map(|defect| defect.name()).collect::<Vec<_>>().join(", "))]
    Defect {
        /// The category.
        category: Category,
        /// The defect asked for.
        defect: Defect,
    },
    /// An option is out of range.
    #[error("the option \"{option}\" cannot be {value}: {advice}")]
    Option {
        /// Which.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What it can be.
        advice: String,
    },
    /// The folder holds something that this generator did not write.
    #[error("{} holds {}, which is not from this generator; name another folder, or empty this one yourself",
        folder.display(), found.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// A file or folder in it, relative to it.
        found: PathBuf,
    },
    /// The folder is from this generator, but a file in it was changed since.
    #[error("{} holds {}, which was changed since this generator wrote it; name another folder, or remove this one yourself",
        folder.display(), found.display())]
    Changed {
        /// The folder.
        folder: PathBuf,
        /// The file, relative to the folder.
        found: PathBuf,
    },
    /// The path given is no place for a dataset.
    #[error("{} cannot be a dataset's folder: {advice}", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
}

/// Something that can be looked at.
trait Scene {
    /// The light from a point, linear, with the sides of a pixel in the point's units.
    fn shade(&self, at: Point, pixel: f32) -> Colour;

    /// A circle outside which its flaw changes nothing, where that is known: its middle and radius.
    fn reach(&self, pixel: f32) -> Option<(Point, f32)>;
}

/// A defect to draw, and the random numbers that shape it: never those of the scene, which stays as it is.
struct Flaw {
    defect: Defect,
    random: Random,
}

/// Picture `index` of a category and its mask (255 on the defect, 0 elsewhere), both `size` x `size`.
///
/// The mask is 255 exactly where the picture differs from the same picture without the defect, which is
/// `render(category, seed, index, None, size)`; changes below [`THRESHOLD`] are left out of the picture. Defects cover
/// mostly 0.3 % to 5 % of the picture. The same arguments give the same bytes on the same machine.
///
/// ```
/// use dualad_data::synthetic::{Category, Defect, render};
///
/// let (good, _) = render(Category::Gear, 0, 7, None, 64)?;
/// let (bad, mask) = render(Category::Gear, 0, 7, Some(Defect::Missing), 64)?;
/// for ((good, bad), mask) in good.pixels().zip(bad.pixels()).zip(mask.pixels()) {
///     assert_eq!(good != bad, mask.0 == [255]);
/// }
/// // A fabric has no surface to dent.
/// assert!(render(Category::Fabric, 0, 7, Some(Defect::Dent), 64).is_err());
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// [`SyntheticError`] for a size outside [`SIZES`] and a defect that the category does not have.
pub fn render(
    category: Category,
    seed: u64,
    index: usize,
    defect: Option<Defect>,
    size: u32,
) -> Result<(RgbImage, GrayImage)> {
    if !SIZES.contains(&size) {
        return Err(size_error(size).into());
    }
    let name = format!("{category}/{index}");
    let normal = draw(category, seed, &name, None, None, size);
    let Some(defect) = defect else { return Ok((normal, GrayImage::new(size, size))) };
    if !category.defects().contains(&defect) {
        return Err(SyntheticError::Defect { category, defect }.into());
    }
    let pixels = (size * size) as f32;
    let mut best: Option<(f32, RgbImage, GrayImage)> = None;
    for attempt in 0..DRAWS {
        let random = Random::new(seed, &format!("{name}/{defect}/{attempt}"));
        let mut image = draw(category, seed, &name, Some(Flaw { defect, random }), Some(&normal), size);
        let mask = compare(&normal, &mut image);
        let share = mask.pixels().filter(|pixel| pixel.0 != [0]).count() as f32 / pixels;
        let off = (SHARE.start - share).max(share - SHARE.end).max(0.0);
        // One without any change is no defect at all: anything else is nearer.
        let off = if share == 0.0 { f32::MAX } else { off };
        if best.as_ref().is_none_or(|(least, ..)| off < *least) {
            best = Some((off, image, mask));
        }
        if off == 0.0 {
            break;
        }
    }
    Ok(best.map_or_else(|| (normal, GrayImage::new(size, size)), |(_, image, mask)| (image, mask)))
}

fn size_error(size: u32) -> SyntheticError {
    let advice = format!("choose {} to {} pixels", SIZES.start(), SIZES.end());
    SyntheticError::Option { option: "size", value: size.to_string(), advice }
}

/// `normal` is the picture without the flaw, to be kept where the flaw does not reach.
fn draw(
    category: Category,
    seed: u64,
    name: &str,
    flaw: Option<Flaw>,
    normal: Option<&RgbImage>,
    size: u32,
) -> RgbImage {
    let mut random = Random::new(seed, name);
    let grain = random.next() as u32;
    match category {
        Category::Blister => photograph(&blister::Blister::new(&mut random, flaw), normal, grain, size),
        Category::Board => photograph(&board::Board::new(&mut random, flaw), normal, grain, size),
        Category::Fabric => photograph(&fabric::Fabric::new(&mut random, flaw), normal, grain, size),
        Category::Gear => photograph(&gear::Gear::new(&mut random, flaw), normal, grain, size),
        Category::Plate => photograph(&plate::Plate::new(&mut random, flaw), normal, grain, size),
    }
}

fn photograph(scene: &impl Scene, normal: Option<&RgbImage>, grain: u32, size: u32) -> RgbImage {
    let pixel = 2.0 / size as f32;
    let kept = normal.zip(scene.reach(pixel));
    RgbImage::from_fn(size, size, |column, row| {
        let at = [(column as f32 + 0.5) * pixel - 1.0, (row as f32 + 0.5) * pixel - 1.0];
        if let Some((normal, (middle, radius))) = kept
            && length(minus(at, middle)) > radius
        {
            return *normal.get_pixel(column, row);
        }
        let (x, y) = (column as i32, row as i32);
        // Most of the noise is in brightness, as demosaicing leaves it.
        let shared = noise::normal(x, y, grain);
        let mut channel = 0;
        Rgb(scene.shade(at, pixel).map(|light| {
            channel += 1;
            let own = noise::normal(x, y, hash(channel, 0, grain));
            let level = 255.0 * light.clamp(0.0, 1.0).sqrt();
            // The cast saturates.
            (level + SENSOR_NOISE * (0.8 * shared + 0.6 * own) + 0.5) as u8
        }))
    })
}

/// The mask of what changed by [`THRESHOLD`] or more; the rest of `changed` is put back.
fn compare(normal: &RgbImage, changed: &mut RgbImage) -> GrayImage {
    let mut mask = GrayImage::new(normal.width(), normal.height());
    for ((before, after), mask) in normal.pixels().zip(changed.pixels_mut()).zip(mask.pixels_mut()) {
        if before.0.iter().zip(after.0).any(|(before, after)| before.abs_diff(after) >= THRESHOLD) {
            *mask = Luma([255]);
        } else {
            *after = *before;
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenes that do not say how far their flaw reaches.
    struct Anywhere<'a, S>(&'a S);

    impl<S: Scene> Scene for Anywhere<'_, S> {
        fn shade(&self, at: Point, pixel: f32) -> Colour {
            self.0.shade(at, pixel)
        }

        fn reach(&self, _: f32) -> Option<(Point, f32)> {
            None
        }
    }

    #[test]
    fn a_flaw_changes_nothing_where_it_does_not_reach() {
        fn check<S: Scene>(new: impl Fn(&mut Random, Option<Flaw>) -> S, category: Category) {
            for (size, seed) in [(32, 0), (90, 1), (90, 2), (90, 3), (90, 4), (90, 5)] {
                let normal = photograph(&new(&mut Random::new(seed, "scene"), None), None, 7, size);
                for &defect in category.defects() {
                    let flaw = Flaw { defect, random: Random::new(seed, "flaw") };
                    let scene = new(&mut Random::new(seed, "scene"), Some(flaw));
                    let part = photograph(&scene, Some(&normal), 7, size);
                    assert!(
                        part == photograph(&Anywhere(&scene), Some(&normal), 7, size),
                        "{category} {defect} {size}"
                    );
                }
            }
        }
        check(blister::Blister::new, Category::Blister);
        check(board::Board::new, Category::Board);
        check(fabric::Fabric::new, Category::Fabric);
        check(gear::Gear::new, Category::Gear);
        check(plate::Plate::new, Category::Plate);
    }
}
