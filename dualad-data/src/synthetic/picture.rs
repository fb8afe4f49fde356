//! Single pictures.

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::category::{Category, Defect};
use super::noise::{self, hash};
use super::scene::{Flaw, Scene};
use super::shape::{length, minus};
use super::{blister, board, fabric, gear, plate};
use crate::error::{Result, SyntheticError};
use crate::random::{Random, Sequence};

/// The valid sides of a picture in pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 32..=4096;

/// The smallest change of a defect, in levels of 0 to 255 in any channel. Smaller changes are removed from the picture.
pub const THRESHOLD: u8 = 4;

/// The standard deviation of the sensor noise, in levels.
const SENSOR_NOISE: f32 = 1.4;

/// The wanted share of pixels that a defect changes.
const SHARE: std::ops::Range<f32> = 0.003..0.05;
/// The number of attempts to draw a defect with this share.
const MAX_ATTEMPTS: u32 = 8;

/// Draws picture `index` of a category and its mask (255 on the defect, 0 elsewhere), both `size` x `size`.
///
/// The mask is 255 exactly where the picture differs from the picture without the defect,
/// `render(category, seed, index, None, size)`. Changes below [`THRESHOLD`] are removed. Most defects cover 0.3 % to 5 % of
/// the picture. Equal arguments give equal bytes on the same machine.
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
/// [`SyntheticError::Option`] for a size outside [`SIZES`], [`SyntheticError::Defect`] for a defect that the category does not
/// have.
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
        let available: Vec<_> = category.defects().iter().map(|defect| defect.name()).collect();
        let (category, defect, available) = (category.name(), defect.name(), available.join(", "));
        return Err(SyntheticError::Defect { category, defect, available }.into());
    }
    let pixels = (size * size) as f32;
    let mut best: Option<(f32, RgbImage, GrayImage)> = None;
    for attempt in 0..MAX_ATTEMPTS {
        let flaw = Flaw { defect, random: random(seed, &format!("{name}/{defect}/{attempt}")) };
        let mut image = draw(category, seed, &name, Some(flaw), Some(&normal), size);
        let mask = compare(&normal, &mut image);
        let share = mask.pixels().filter(|pixel| pixel.0 != [0]).count() as f32 / pixels;
        let off = (SHARE.start - share).max(share - SHARE.end).max(0.0);
        // A defect without any change is the worst result.
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

/// Returns the sequence of random values of a name.
fn random(seed: u64, name: &str) -> Sequence {
    Random::new(seed).named(name).sequence()
}

pub(super) fn size_error(size: u32) -> SyntheticError {
    let advice = format!("choose {} to {} pixels", SIZES.start(), SIZES.end());
    SyntheticError::Option { option: "size", value: size.to_string(), advice }
}

/// Draws a picture. `normal` is the picture without the flaw. It is copied outside the reach of the flaw.
fn draw(
    category: Category,
    seed: u64,
    name: &str,
    flaw: Option<Flaw>,
    normal: Option<&RgbImage>,
    size: u32,
) -> RgbImage {
    let mut random = random(seed, name);
    let grain = random.bits() as u32;
    match category {
        Category::Blister => photograph(&blister::Blister::new(&mut random, flaw), normal, grain, size),
        Category::Board => photograph(&board::Board::new(&mut random, flaw), normal, grain, size),
        Category::Fabric => photograph(&fabric::Fabric::new(&mut random, flaw), normal, grain, size),
        Category::Gear => photograph(&gear::Gear::new(&mut random, flaw), normal, grain, size),
        Category::Plate => photograph(&plate::Plate::new(&mut random, flaw), normal, grain, size),
    }
}

/// Renders a scene with sensor noise.
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
        // Most of the noise is in brightness, as after demosaicing.
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

/// Returns the mask of changes of at least [`THRESHOLD`], and removes smaller changes from `changed`.
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
    use super::super::noise::Point;
    use super::super::shape::Color;
    use super::*;

    /// A scene of unknown reach.
    struct UnknownReach<'a, S>(&'a S);

    impl<S: Scene> Scene for UnknownReach<'_, S> {
        fn shade(&self, at: Point, pixel: f32) -> Color {
            self.0.shade(at, pixel)
        }

        fn reach(&self, _: f32) -> Option<(Point, f32)> {
            None
        }
    }

    #[test]
    fn a_flaw_changes_nothing_outside_its_reach() {
        fn check<S: Scene>(new: impl Fn(&mut Sequence, Option<Flaw>) -> S, category: Category) {
            for (size, seed) in [(32, 0), (90, 1), (90, 2), (90, 3), (90, 4), (90, 5)] {
                let normal = photograph(&new(&mut random(seed, "scene"), None), None, 7, size);
                for &defect in category.defects() {
                    let flaw = Flaw { defect, random: random(seed, "flaw") };
                    let scene = new(&mut random(seed, "scene"), Some(flaw));
                    let part = photograph(&scene, Some(&normal), 7, size);
                    assert!(
                        part == photograph(&UnknownReach(&scene), Some(&normal), 7, size),
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
