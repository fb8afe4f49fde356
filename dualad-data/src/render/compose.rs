//! Outlines, and pictures in rows and columns.

use image::{GrayImage, Rgb, RgbImage};

use crate::error::{RenderError, Result};

/// The gap between two pictures in pixels.
const GAP: u32 = 8;
/// The color of the gap.
const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);

/// Draws the outline of a mask: its pixels (of any value except 0) with at least one of their four neighbors outside the
/// mask. Pixels outside the picture are outside the mask.
///
/// ```
/// use dualad_data::image_crate::{GrayImage, Luma, Rgb, RgbImage};
/// use dualad_data::render::outline;
///
/// let green = Rgb([0, 255, 0]);
/// let mut image = RgbImage::new(5, 5);
/// // 3 x 3 pixels in the middle.
/// let mask = GrayImage::from_fn(5, 5, |x, y| Luma([if x.abs_diff(2).max(y.abs_diff(2)) <= 1 { 255 } else { 0 }]));
/// outline(&mut image, &mask, green)?;
/// assert_eq!(image.pixels().filter(|&&pixel| pixel == green).count(), 8);
/// assert_ne!(*image.get_pixel(2, 2), green);
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// [`RenderError::Size`] if the image and the mask differ in size.
pub fn outline(image: &mut RgbImage, mask: &GrayImage, color: Rgb<u8>) -> Result<()> {
    if image.dimensions() != mask.dimensions() {
        return Err(RenderError::Size { mask: mask.dimensions(), image: image.dimensions() }.into());
    }
    // An index below 0 wraps to one outside the picture.
    let inside = |x: u32, y: u32| mask.get_pixel_checked(x, y).is_some_and(|pixel| pixel.0 != [0]);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let enclosed = || {
            inside(x.wrapping_sub(1), y)
                && inside(x.wrapping_add(1), y)
                && inside(x, y.wrapping_sub(1))
                && inside(x, y.wrapping_add(1))
        };
        if inside(x, y) && !enclosed() {
            *pixel = color;
        }
    }
    Ok(())
}

/// Joins pictures side by side, with a white gap of 8 pixels. Lower pictures are centered vertically.
///
/// ```
/// use dualad_data::image_crate::RgbImage;
/// use dualad_data::render::strip;
///
/// let strip = strip(&[&RgbImage::new(10, 4), &RgbImage::new(6, 8)])?;
/// assert_eq!(strip.dimensions(), (10 + 8 + 6, 8));
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// [`RenderError::Argument`] for an empty list, and for a result of more than 2^30 pixels.
pub fn strip(images: &[&RgbImage]) -> Result<RgbImage> {
    let sizes = || images.iter().map(|image| image.dimensions());
    let (width, height) = (total(sizes().map(|(width, _)| width))?, sizes().map(|(_, height)| height).max());
    let mut strip = canvas(width, height.unwrap_or(0))?;
    let mut left = 0;
    for image in images {
        paste(&mut strip, image, left, (height.unwrap_or(0) - image.height()) / 2);
        left += image.width() + GAP;
    }
    Ok(strip)
}

/// Joins pictures from top to bottom, with a white gap of 8 pixels. Narrower pictures are centered horizontally.
///
/// ```
/// use dualad_data::image_crate::RgbImage;
/// use dualad_data::render::stack;
///
/// let stack = stack(&[&RgbImage::new(10, 4), &RgbImage::new(6, 8)])?;
/// assert_eq!(stack.dimensions(), (10, 4 + 8 + 8));
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// # Errors
/// The errors of [`strip`].
pub fn stack(images: &[&RgbImage]) -> Result<RgbImage> {
    let sizes = || images.iter().map(|image| image.dimensions());
    let (width, height) = (sizes().map(|(width, _)| width).max(), total(sizes().map(|(_, height)| height))?);
    let mut stack = canvas(width.unwrap_or(0), height)?;
    let mut top = 0;
    for image in images {
        paste(&mut stack, image, (width.unwrap_or(0) - image.width()) / 2, top);
        top += image.height() + GAP;
    }
    Ok(stack)
}

/// Returns the sum of the sides and of the gaps between them.
fn total(sides: impl Iterator<Item = u32>) -> Result<u32, RenderError> {
    let sum = sides.map(u64::from).reduce(|sum, side| sum + u64::from(GAP) + side);
    let Some(sum) = sum else {
        let advice = "give at least one picture";
        return Err(RenderError::Argument { argument: "the list of pictures", value: "empty".to_owned(), advice });
    };
    // The loops add a gap after the last picture too.
    if sum > u64::from(u32::MAX - GAP) { Err(too_large(format!("{sum} pixels long"))) } else { Ok(sum as u32) }
}

/// Creates a blank picture.
fn canvas(width: u32, height: u32) -> Result<RgbImage, RenderError> {
    // Larger than any screen, and small enough to be allocated.
    const MAX_PIXELS: u64 = 1 << 30;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_large(format!("{width} x {height} pixels")));
    }
    Ok(RgbImage::from_pixel(width, height, BACKGROUND))
}

fn too_large(value: String) -> RenderError {
    RenderError::Argument { argument: "the joined picture", value, advice: "join fewer or smaller pictures" }
}

/// Copies a picture to a position of the canvas.
fn paste(canvas: &mut RgbImage, image: &RgbImage, left: u32, top: u32) {
    for (x, y, pixel) in image.enumerate_pixels() {
        if let Some(place) = canvas.get_pixel_mut_checked(left + x, top + y) {
            *place = *pixel;
        }
    }
}
