//! What a decoder gives becomes a picture or a mask, in the memory that it is in.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use super::mask_rule::MaskRule;
use super::raster::{Mask, Picture};
use crate::error::Result;

/// An image as it is stored.
pub(super) struct Levels {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 (gray), 2 (and alpha), 3 (RGB) or 4 (and alpha).
    pub(super) channels: usize,
    /// Whether a level has 16 bits, in the machine's byte order.
    pub(super) deep: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) orientation: Orientation,
    /// Whether its compression changes levels.
    pub(super) lossy: bool,
}

/// What values a mask has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskValues {
    pub(crate) largest: u16,
    /// Full white at the mask's depth.
    pub(crate) white: u16,
    /// How many pixels are neither 0 nor white.
    pub(crate) gray: usize,
    /// Whether the file's compression made some of them up.
    pub(crate) lossy: bool,
}

impl Levels {
    /// Gray becomes RGB, 16 bits are rounded to 8, alpha is dropped.
    pub(super) fn into_picture(mut self) -> Result<Picture> {
        if self.deep {
            let count = self.bytes.len() / 2;
            for index in 0..count {
                let level = u32::from(u16::from_ne_bytes([self.bytes[2 * index], self.bytes[2 * index + 1]]));
                // 65535 / 255 = 257, and half of it rounds up. At most 255.
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
            // From the end, where nothing is left to read.
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

    /// The rule counts at the file's own depth: rounded to 8 bits, a faint value would be 0 and a bright one white. Of
    /// several colors, the brightest counts.
    pub(super) fn into_mask(mut self, rule: MaskRule) -> Result<(Mask, MaskValues)> {
        let (samples, colors) = (self.channels, if self.channels < 3 { 1 } else { 3 });
        let white = if self.deep { u16::MAX } else { u16::from(u8::MAX) };
        let mut values = MaskValues { largest: 0, white, gray: 0, lossy: self.lossy };
        let width = if self.deep { 2 } else { 1 };
        let pixels = self.bytes.len() / (samples * width);
        for pixel in 0..pixels {
            let first = pixel * samples * width;
            let value = if self.deep {
                let level = |at| u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
                (0..colors).map(|color| level(first + 2 * color)).fold(0, u16::max)
            } else {
                u16::from(self.bytes[first..first + colors].iter().copied().fold(0, u8::max))
            };
            values.largest = values.largest.max(value);
            values.gray += usize::from(value != 0 && value != white);
            let marked = match rule {
                MaskRule::White => value == white,
                MaskRule::NonZero => value != 0,
            };
            self.bytes[pixel] = u8::from(marked);
        }
        self.bytes.truncate(pixels);
        self.bytes.shrink_to_fit();
        let mut image =
            DynamicImage::ImageLuma8(GrayImage::from_raw(self.width, self.height, self.bytes).unwrap_or_default());
        image.apply_orientation(self.orientation);
        Ok((Mask::new(image.width(), image.height(), image.into_bytes())?, values))
    }
}
