//! The conversion of decoded levels to a picture or a mask, in place.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use sha2::{Digest, Sha256};

use super::mask_rule::MaskRule;
use super::raster::{Mask, Picture};
use crate::error::Result;

/// A decoded image, not yet rotated.
pub(super) struct Levels {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 (gray), 2 (and alpha), 3 (RGB) or 4 (and alpha).
    pub(super) channels: usize,
    /// `true` for levels of 16 bits, in native byte order.
    pub(super) deep: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) orientation: Orientation,
    /// `true` for lossy compression.
    pub(super) lossy: bool,
}

/// A summary of the values of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskValues {
    /// The largest value of a pixel's brightest color.
    pub(crate) largest: u16,
    /// The value of white at the depth of the mask.
    pub(crate) white: u16,
    /// The number of pixels that are neither 0 nor white.
    pub(crate) gray: usize,
    /// The number of different values of 8 bits among them. Soft edges have many.
    pub(crate) shades: usize,
    /// `true` for lossy compression, which may have produced some of them.
    pub(crate) lossy: bool,
    /// The smallest and the largest alpha, if the mask has an alpha channel.
    pub(crate) alpha: Option<(u16, u16)>,
}

/// A summary of the levels of a picture of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeepLevels {
    /// The largest level of a color, apart from a few pixels: a sensor may have some that are always white.
    pub(crate) largest: u16,
    /// The largest level below white, apart from a few pixels: a caption or a bar may be white.
    pub(crate) below_white: u16,
    /// The largest level below those of a caption in a frame of at most 14 bits, and the smallest of those, if it has some.
    pub(crate) caption: Option<(u16, u16)>,
    /// The smallest level, apart from a few pixels, of a gray picture whose levels are not all multiples of a number: frames that were
    /// stretched to 16 bits use the whole range.
    pub(crate) smallest: Option<u16>,
    /// True if the levels may be those of a mask: few, and each at most 255, or white, or one that 8 bits have.
    pub(crate) may_be_mask: bool,
    /// The SHA-256 of all levels.
    pub(crate) digest: [u8; 32],
}

/// Returns the number of hot pixels that an image may have. The largest level leaves them out.
fn hot_pixels(pixels: usize) -> usize {
    const SHARE: usize = 10_000;
    const SMALL: usize = 4;
    // A very small image may have fewer.
    (pixels / SHARE).max(SMALL).min(pixels / 100)
}

/// Returns the largest level of a frame of at most 14 bits below the levels of a caption in it, and the smallest level of the caption. `counts`
/// are the pixels of each level. A caption, a bar or a logo has a few levels, each of many pixels, and leaves the most of the frame. Frames of
/// 8 bits that were stretched to 16 have few levels, too, or only multiples of a number.
fn caption(counts: &[usize]) -> Option<(u16, u16)> {
    /// The largest levels of 12 and 14 bits. A sensor may be saturated there.
    const BITS: [u16; 2] = [(1 << 12) - 1, (1 << 14) - 1];
    const MOST_LEVELS: usize = 16;
    /// A caption covers at most one of so many pixels, and has at most one of so many levels.
    const SHARE: usize = 4;
    let pixels: usize = counts.iter().sum();
    let used = |range: std::ops::RangeInclusive<u16>| {
        range.filter_map(|level| Some((level, *counts.get(usize::from(level)).filter(|count| **count > 0)?)))
    };
    BITS.into_iter().find_map(|most| {
        let above: Vec<(u16, usize)> = used(most + 1..=u16::MAX).collect();
        let mut rare: Vec<usize> = above.iter().map(|(_, count)| *count).collect();
        rare.sort_unstable();
        let mut hot = hot_pixels(pixels);
        let many = rare.iter().skip_while(|count| hot.checked_sub(**count).map(|rest| hot = rest).is_some()).count();
        let covered: usize = rare.iter().sum();
        let below: Vec<u16> = used(0..=most).map(|(level, _)| level).collect();
        let is_saturated = BITS.iter().any(|white| above.iter().any(|(level, _)| level == white));
        let step = below.iter().copied().fold(0, gcd);
        let is = (1..=MOST_LEVELS).contains(&many)
            && !is_saturated
            && SHARE * covered <= pixels
            && below.len() >= SHARE * many
            && step == 1;
        Some((*below.last()?, above.first()?.0)).filter(|_| is)
    })
}

/// Returns the greatest common divisor.
fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The largest number of levels of a mask.
pub(crate) const MAX_LEVELS: usize = 8;

/// Returns whether these levels of 16 bits may be those of a mask. Frames of 10 or 12 bits that are flat have few levels, too, which lie
/// between those of a palette and white.
fn may_be_mask(levels: &[u16]) -> bool {
    // A level of 8 bits is that many 257ths of one of 16.
    let is_of_mask = |level: &u16| *level <= u16::from(u8::MAX) || level.is_multiple_of(257);
    levels.len() <= MAX_LEVELS && (levels.iter().all(is_of_mask) || matches!(levels, [0, _]))
}

impl MaskValues {
    /// The summary of a mask that was drawn from annotations. Its white is 1, and that of a file is 255 or 65535.
    pub(crate) const DRAWN: Self = Self { largest: 1, white: 1, gray: 0, shades: 0, lossy: false, alpha: None };
}

impl Levels {
    /// Summarizes the levels of 16 bits, which a picture no longer has.
    pub(super) fn deep_levels(&self) -> Option<DeepLevels> {
        if !self.deep {
            return None;
        }
        let colors = if self.channels < 3 { 1 } else { 3 };
        let level = |bytes: &[u8]| bytes.try_into().map_or(0, u16::from_ne_bytes);
        let of_pixel = |pixel: &[u8]| pixel.chunks_exact(2).take(colors).map(level).fold(0, u16::max);
        let mut counts = vec![0_usize; usize::from(u16::MAX) + 1];
        let mut pixels = 0;
        for pixel in self.bytes.chunks_exact(2 * self.channels) {
            if let Some(count) = counts.get_mut(usize::from(of_pixel(pixel))) {
                *count += 1;
            }
            pixels += 1;
        }
        let largest_up_to = |most: u16| {
            let mut hot = hot_pixels(pixels);
            let is_of_many = |level: &u16| {
                let count = counts.get(usize::from(*level)).copied().unwrap_or(0);
                let is = count > hot;
                hot = hot.saturating_sub(count);
                is
            };
            (0..=most).rev().find(is_of_many).unwrap_or(0)
        };
        let (largest, below_white) = (largest_up_to(u16::MAX), largest_up_to(u16::MAX - 1));
        let mut cold = hot_pixels(pixels);
        let is_of_many = |level: &u16| {
            let count = counts.get(usize::from(*level)).copied().unwrap_or(0);
            let is = count > cold;
            cold = cold.saturating_sub(count);
            is
        };
        let used = || counts.iter().zip(0..=u16::MAX).filter(|(count, _)| **count > 0).map(|(_, level)| level);
        let smallest = (0..=u16::MAX).find(is_of_many).filter(|_| colors == 1 && used().fold(0, gcd) == 1);
        let used: Vec<u16> = used().take(MAX_LEVELS + 1).collect();
        Some(DeepLevels {
            largest,
            below_white,
            caption: caption(&counts),
            smallest,
            may_be_mask: may_be_mask(&used),
            digest: Sha256::digest(&self.bytes).into(),
        })
    }

    /// Converts gray to RGB, rounds 16 bits to 8, and drops alpha.
    pub(super) fn into_picture(mut self) -> Result<Picture> {
        if self.deep {
            let count = self.bytes.len() / 2;
            for index in 0..count {
                let level = u32::from(u16::from_ne_bytes([self.bytes[2 * index], self.bytes[2 * index + 1]]));
                // 65535 / 255 = 257, and 128 rounds. The result is at most 255.
                self.bytes[index] = ((level + 128) / 257) as u8;
            }
            self.bytes.truncate(count);
        }
        let (pixels, colors) = (self.bytes.len() / self.channels, if self.channels < 3 { 1 } else { 3 });
        if colors < self.channels {
            for pixel in 0..pixels {
                self.bytes.copy_within(pixel * self.channels..pixel * self.channels + colors, pixel * colors);
            }
            self.bytes.truncate(pixels * colors);
        }
        if colors == 1 {
            self.bytes.resize(pixels * 3, 0);
            // Backwards, so that no level is overwritten before it is read.
            for pixel in (0..pixels).rev() {
                let level = self.bytes[pixel];
                self.bytes[3 * pixel..3 * pixel + 3].fill(level);
            }
        }
        self.bytes.shrink_to_fit();
        let (width, height) = (self.width, self.height);
        if self.orientation == Orientation::NoTransforms {
            return Picture::new(width, height, self.bytes);
        }
        let mut image = DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, self.bytes).unwrap_or_default());
        image.apply_orientation(self.orientation);
        Picture::new(image.width(), image.height(), image.into_bytes())
    }

    /// Applies the rule at the depth of the file: after rounding to 8 bits, a small value would be 0 and a large one white.
    /// The brightest color channel counts.
    pub(super) fn into_mask(mut self, rule: MaskRule) -> Result<(Mask, MaskValues)> {
        let (samples, colors) = (self.channels, if self.channels < 3 { 1 } else { 3 });
        let white = if self.deep { u16::MAX } else { u16::from(u8::MAX) };
        let mut values = MaskValues { largest: 0, white, gray: 0, shades: 0, lossy: self.lossy, alpha: None };
        let mut seen = [false; 256];
        let width = if self.deep { 2 } else { 1 };
        let pixels = self.bytes.len() / (samples * width);
        for pixel in 0..pixels {
            let first = pixel * samples * width;
            let level = |channel: usize| {
                let at = first + channel * width;
                if self.deep {
                    u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]])
                } else {
                    u16::from(self.bytes[at])
                }
            };
            let value = (0..colors).map(level).fold(0, u16::max);
            let alpha = (samples > colors).then(|| level(colors));
            values.largest = values.largest.max(value);
            if value != 0 && value != white {
                values.gray += 1;
                let shade = if self.deep { value >> 8 } else { value };
                if let Some(seen) = seen.get_mut(usize::from(shade)) {
                    *seen = true;
                }
            }
            if let Some(alpha) = alpha {
                let (least, most) = values.alpha.unwrap_or((alpha, alpha));
                values.alpha = Some((least.min(alpha), most.max(alpha)));
            }
            let marked = match rule {
                MaskRule::White => value == white,
                MaskRule::NonZero => value != 0,
                MaskRule::Half => value > white / 2,
                MaskRule::Alpha => alpha.is_some_and(|alpha| alpha > white / 2),
            };
            self.bytes[pixel] = u8::from(marked);
        }
        values.shades = seen.iter().filter(|seen| **seen).count();
        self.bytes.truncate(pixels);
        self.bytes.shrink_to_fit();
        let mut image =
            DynamicImage::ImageLuma8(GrayImage::from_raw(self.width, self.height, self.bytes).unwrap_or_default());
        image.apply_orientation(self.orientation);
        Ok((Mask::new(image.width(), image.height(), image.into_bytes())?, values))
    }
}
