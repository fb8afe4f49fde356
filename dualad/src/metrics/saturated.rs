//! The saturated per-region overlap (sPRO) of MVTec LOCO (Bergmann et al., IJCV 2022).

use super::{Error, Metric, Undefined, Unit};

/// A defect of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct SaturatedRegion {
    /// The mask of the defect, of the size of the anomaly map; values other than 0 mark it.
    pub mask: Vec<u8>,
    /// The share of its pixels that is enough to have found all of it, in `(0, 1]`. A missing screw is found when a part of the
    /// place where it belongs is marked.
    pub share: f64,
}

/// An image with its anomaly map and its defects.
#[derive(Debug, Clone, Copy)]
pub struct SaturatedImage<'a> {
    /// The category, for errors.
    pub category: &'a str,
    /// The anomaly map, finite scores.
    pub map: &'a [f32],
    /// The defects. They may overlap. A normal image has none.
    pub regions: &'a [SaturatedRegion],
}

/// A region in the sweep over thresholds.
struct Region {
    /// The number of pixels that saturates it.
    saturation: f64,
    /// The number of its pixels at or above the threshold.
    found: f64,
}

impl Region {
    fn overlap(&self) -> f64 {
        (self.found / self.saturation).min(1.0)
    }
}

/// Returns the area under the curve of the mean saturated overlap of the regions against the false-positive rate, from 0 to
/// `limit`, divided by `limit`. The usual limit of MVTec LOCO is 0.05.
///
/// At a threshold, the saturated overlap of a region is the number of its pixels with at least this score, divided by
/// `share` times all of its pixels, and at most 1. The false-positive rate is the share of pixels outside of all regions with
/// at least this score. Every distinct score is a threshold, and the curve is linear between them. A region without pixels,
/// because it vanished when its mask was resized, is left out.
///
/// # Errors
/// For a mask of another size than its map, a score that is not finite, and a share or a limit outside of `(0, 1]`.
///
/// ```
/// use dualad::metrics::{SaturatedImage, SaturatedRegion, saturated_pro};
///
/// // The first two pixels are a defect, and one of them has the highest score.
/// let mut region = SaturatedRegion { mask: vec![1, 1, 0, 0], share: 1.0 };
/// let map = [0.9, 0.3, 0.5, 0.1];
/// let measure = |region: &SaturatedRegion| {
///     let regions = std::slice::from_ref(region);
///     saturated_pro(&[SaturatedImage { category: "tray", map: &map, regions }], 0.5)
/// };
/// assert_eq!(measure(&region)?, Ok(0.5));
/// // One pixel is enough.
/// region.share = 0.5;
/// assert_eq!(measure(&region)?, Ok(1.0));
/// # Ok::<(), dualad::metrics::Error>(())
/// ```
pub fn saturated_pro(images: &[SaturatedImage<'_>], limit: f64) -> Result<Metric, Error> {
    check_share("the limit of the false-positive rate", limit)?;
    let mut regions: Vec<Region> = Vec::new();
    // The score of each pixel, for each of its regions or for none.
    let mut pixels: Vec<(f32, Option<usize>)> = Vec::new();
    let mut normal = 0.0;
    for (index, image) in images.iter().enumerate() {
        let mut free = vec![true; image.map.len()];
        if let Some(column) = image.map.iter().position(|score| !score.is_finite()) {
            // The number of columns is unknown.
            let (category, score) = (image.category.into(), image.map[column]);
            return Err(Error::PixelScore { image: index, category, row: 0, column, score });
        }
        for region in image.regions {
            check_share("the share of a saturated region", region.share)?;
            if region.mask.len() != image.map.len() {
                let (mask, map) = (region.mask.len(), image.map.len());
                return Err(Error::MaskSize { image: index, category: image.category.into(), mask, map });
            }
            let marked = || region.mask.iter().enumerate().filter(|(_, pixel)| **pixel != 0).map(|(pixel, _)| pixel);
            let area = marked().count();
            if area == 0 {
                continue;
            }
            for pixel in marked() {
                free[pixel] = false;
                pixels.push((image.map[pixel], Some(regions.len())));
            }
            // A share of less than one pixel still takes one pixel.
            regions.push(Region { saturation: (region.share * area as f64).max(1.0), found: 0.0 });
        }
        let free = image.map.iter().zip(free).filter(|(_, free)| *free);
        let before = pixels.len();
        pixels.extend(free.map(|(score, _)| (*score, None)));
        normal += (pixels.len() - before) as f64;
    }
    if normal == 0.0 {
        return Ok(Err(Undefined::NoNormal(Unit::Pixel)));
    }
    if regions.is_empty() {
        return Ok(Err(Undefined::NoAnomalous(Unit::Pixel)));
    }
    // -0 and 0 are one threshold.
    pixels.iter_mut().for_each(|pixel| pixel.0 += 0.0);
    // The order of equal scores is fixed, so that sums are the same every time.
    pixels.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (mut overlaps, mut above) = (0.0, 0.0);
    let (mut area, mut last) = (0.0, (0.0, 0.0));
    for tied in pixels.chunk_by(|a, b| a.0 == b.0) {
        for (_, region) in tied {
            match region.and_then(|region| regions.get_mut(region)) {
                Some(region) => {
                    overlaps -= region.overlap();
                    region.found += 1.0;
                    overlaps += region.overlap();
                }
                None => above += 1.0,
            }
        }
        let next = (above / normal, overlaps / regions.len() as f64);
        let end = f64::min(next.0, limit);
        if last.0 < end {
            let at_end = last.1 + (next.1 - last.1) * (end - last.0) / (next.0 - last.0);
            area += (end - last.0) * (last.1 + at_end) / 2.0;
        }
        last = next;
    }
    Ok(Ok(area / limit))
}

fn check_share(what: &'static str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value <= 1.0 { Ok(()) } else { Err(Error::Share { what, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(mask: &[u8], share: f64) -> SaturatedRegion {
        SaturatedRegion { mask: mask.to_vec(), share }
    }

    fn pro(map: &[f32], regions: &[SaturatedRegion], limit: f64) -> Metric {
        saturated_pro(&[SaturatedImage { category: "c", map, regions }], limit).unwrap()
    }

    fn near(found: Metric, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn the_curve_is_that_of_the_definition() {
        // Overlap 1/2 at rate 0, until the rate is 1/2; then 1.
        let map = [0.9, 0.3, 0.5, 0.1];
        let whole = [region(&[1, 1, 0, 0], 1.0)];
        near(pro(&map, &whole, 1.0), 0.75);
        near(pro(&map, &whole, 0.5), 0.5);
        near(pro(&map, &whole, 0.25), 0.5);
        // One of two pixels saturates the region.
        near(pro(&map, &[region(&[1, 1, 0, 0], 0.5)], 1.0), 1.0);
        // Three of four pixels saturate it: overlaps 1/3, then 2/3 at rate 1/2, then 1 at rate 1/2.
        let map = [0.9, 0.4, 0.3, 0.2, 0.5, 0.1];
        near(pro(&map, &[region(&[1, 1, 1, 1, 0, 0], 0.75)], 1.0), 0.5 / 3.0 + 0.5);
        // The mean of two regions, the second of which is found last: (1 + 0) / 2 until both are.
        let map = [0.9, 0.5, 0.3, 0.1];
        near(pro(&map, &[region(&[1, 0, 0, 0], 1.0), region(&[0, 0, 1, 0], 1.0)], 1.0), 0.5 * 0.5 + 0.5 * 1.0);
        // A pixel of two regions counts in both.
        near(pro(&[0.9, 0.5], &[region(&[1, 0], 1.0), region(&[1, 0], 1.0)], 1.0), 1.0);
        // Equal scores are one threshold: a straight line from (0, 0) to (1, 1).
        near(pro(&[0.5; 4], &[region(&[1, 1, 0, 0], 1.0)], 1.0), 0.5);
        near(pro(&[0.0, -0.0], &[region(&[1, 0], 1.0)], 0.5), 0.25);
    }

    #[test]
    fn normal_images_count_in_the_rate() {
        let (bad, good) = ([0.9f32, 0.2], [0.5f32, 0.1]);
        let regions = [region(&[1, 0], 1.0)];
        let images = [
            SaturatedImage { category: "c", map: &bad, regions: &regions },
            SaturatedImage { category: "c", map: &good, regions: &[] },
        ];
        near(saturated_pro(&images, 0.05).unwrap(), 1.0);
        let hidden = [0.15f32, 0.2];
        let images = [SaturatedImage { category: "c", map: &hidden, regions: &regions }, images[1]];
        // Found at the third of three normal pixels: nothing before the rate 2/3, all after it.
        near(saturated_pro(&images, 1.0).unwrap(), 1.0 / 3.0);
        assert_eq!(saturated_pro(&images, 0.5).unwrap(), Ok(0.0));
    }

    #[test]
    fn what_is_undefined_or_wrong_is_told() {
        assert_eq!(pro(&[0.5], &[], 0.05), Err(Undefined::NoAnomalous(Unit::Pixel)));
        assert_eq!(pro(&[0.5, 0.1], &[region(&[0, 0], 1.0)], 0.05), Err(Undefined::NoAnomalous(Unit::Pixel)));
        assert_eq!(pro(&[0.5], &[region(&[1], 1.0)], 0.05), Err(Undefined::NoNormal(Unit::Pixel)));
        let fails = |map: &[f32], region: SaturatedRegion, limit| {
            saturated_pro(&[SaturatedImage { category: "c", map, regions: &[region] }], limit).unwrap_err()
        };
        assert!(matches!(fails(&[0.5, f32::NAN], region(&[1, 0], 1.0), 0.05), Error::PixelScore { .. }));
        assert!(matches!(fails(&[0.5, 0.1], region(&[1], 1.0), 0.05), Error::MaskSize { mask: 1, map: 2, .. }));
        assert!(matches!(fails(&[0.5, 0.1], region(&[1, 0], 0.0), 0.05), Error::Share { .. }));
        assert!(matches!(fails(&[0.5, 0.1], region(&[1, 0], 1.0), f64::NAN), Error::Share { .. }));
    }
}
