//! Perceptually uniform color maps.
//!
//! The color maps of matplotlib by Nathaniel J. Smith, Stefan van der Walt and (viridis) Eric Firing, in the public domain
//! (CC0): <https://bids.github.io/colormap/>. About every eighth of their 256 colors is kept. Interpolation reproduces the
//! others to within 2 of 255.

use image::Rgb;

/// A color map from the lowest score to the highest. Lightness increases monotonically, so a gray print keeps the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ColorMap {
    /// Black, purple, red, yellow.
    #[default]
    Inferno,
    /// Blue, green, yellow. Normal regions stay visible below it.
    Viridis,
}

impl ColorMap {
    /// Returns the color at a position from 0 to 1. Positions outside are clamped, and NaN counts as 0.
    pub fn color(self, position: f32) -> Rgb<u8> {
        let table = match self {
            Self::Inferno => &INFERNO,
            Self::Viridis => &VIRIDIS,
        };
        let last = table.len() - 1;
        let place = position.clamp(0.0, 1.0) * last as f32;
        // The cast converts NaN to 0.
        let (index, part) = (place as usize, place.fract().max(0.0));
        let (from, to) = (table[index], table[(index + 1).min(last)]);
        let mix = |from: u8, to: u8| (f32::from(from) + (f32::from(to) - f32::from(from)) * part).round() as u8;
        Rgb(std::array::from_fn(|channel| mix(from[channel], to[channel])))
    }
}

const INFERNO: [[u8; 3]; 33] = [
    [0, 0, 4],
    [4, 3, 18],
    [11, 7, 36],
    [21, 11, 55],
    [33, 12, 74],
    [46, 10, 90],
    [60, 9, 101],
    [74, 12, 107],
    [87, 16, 109],
    [99, 20, 110],
    [112, 25, 110],
    [125, 30, 109],
    [137, 34, 106],
    [150, 39, 102],
    [163, 43, 97],
    [175, 49, 92],
    [187, 55, 85],
    [198, 62, 77],
    [209, 70, 68],
    [219, 79, 59],
    [227, 89, 50],
    [235, 101, 40],
    [241, 113, 30],
    [246, 127, 20],
    [249, 141, 10],
    [251, 156, 6],
    [252, 171, 15],
    [251, 186, 31],
    [249, 202, 50],
    [245, 217, 73],
    [242, 232, 101],
    [243, 245, 134],
    [252, 255, 164],
];

const VIRIDIS: [[u8; 3]; 33] = [
    [68, 1, 84],
    [71, 13, 96],
    [72, 24, 106],
    [72, 35, 116],
    [71, 45, 123],
    [69, 54, 129],
    [66, 64, 134],
    [63, 73, 137],
    [59, 82, 139],
    [55, 90, 141],
    [51, 99, 141],
    [47, 106, 142],
    [44, 114, 142],
    [41, 122, 142],
    [38, 129, 142],
    [35, 137, 142],
    [33, 144, 140],
    [31, 152, 139],
    [31, 159, 136],
    [33, 166, 133],
    [40, 174, 128],
    [49, 181, 123],
    [62, 188, 116],
    [76, 194, 108],
    [93, 201, 99],
    [110, 206, 88],
    [130, 211, 76],
    [150, 216, 63],
    [171, 220, 50],
    [192, 223, 36],
    [213, 226, 26],
    [234, 229, 26],
    [253, 231, 37],
];
