//! The 8-connected regions of an anomaly map above a threshold.

use serde::Serialize;

use super::outline;
use crate::components::{self, Run};
use crate::error::{Error, Result};
use crate::setters::setters;

/// A rectangle of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Bounds {
    /// The first column.
    pub x: u32,
    /// The first row.
    pub y: u32,
    /// The number of columns.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
}

/// A region of the anomaly map at or above the threshold, in the map's pixels.
///
/// Pixel (x, y) covers the area from corner (x, y) to corner (x + 1, y + 1).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Region {
    /// The smallest rectangle around it.
    pub bounds: Bounds,
    /// The number of pixels.
    pub area: u64,
    /// The largest value.
    pub peak: f32,
    /// The column and row of the first pixel in raster order with that value.
    pub peak_at: [u32; 2],
    /// The mean of the pixels' centers, x and y. It may lie outside the region.
    pub centroid: [f64; 2],
    /// The mean value.
    pub mean: f64,
    /// The corners where the outer border turns, x and y, clockwise in the picture from the top left corner of its first pixel.
    /// The last corner is connected to the first. Where pixels touch only at a corner, the outline visits that corner twice.
    /// Holes have no outline. Empty unless [`RegionOptions::outlines`] is set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outline: Vec<[u32; 2]>,
    /// 1 for the region's pixels and 0 for the others of [`Self::bounds`], row by row. Empty unless [`RegionOptions::masks`] is
    /// set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<u8>,
}

/// The selection of regions and of their properties.
///
/// ```
/// use dualad::detector::{RegionOptions, regions};
///
/// let map = [0.9, 0.0, 0.7, 0.8];
/// let found = regions(&map, [1, 4], 0.5, &RegionOptions::default().with_min_area(2).with_masks(true))?;
/// assert_eq!((found.regions.len(), found.too_small), (1, 1));
/// assert_eq!(found.regions[0].mask, [1, 1]);
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionOptions {
    /// The minimum area in pixels of the anomaly map. Default: 1.
    pub min_area: u64,
    /// The maximum number of regions that are returned, the most severe first. Default: 100.
    pub max_regions: usize,
    /// Traces outlines. Default: false.
    pub outlines: bool,
    /// Returns masks, each as large as its region's bounds. Default: false.
    pub masks: bool,
}

impl Default for RegionOptions {
    fn default() -> Self {
        Self { min_area: 1, max_regions: 100, outlines: false, masks: false }
    }
}

setters!(RegionOptions {
    with_min_area: min_area: u64,
    with_max_regions: max_regions: usize,
    with_outlines: outlines: bool,
    with_masks: masks: bool,
});

/// The regions of a map.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Regions {
    /// The regions, the most severe first: by peak, then by area, then by their first pixels in raster order.
    pub regions: Vec<Region>,
    /// The number of less severe regions beyond [`RegionOptions::max_regions`].
    pub left_out: usize,
    /// The number of regions below [`RegionOptions::min_area`].
    pub too_small: usize,
}

/// Returns the 8-connected regions of pixels at or above the threshold in a map of `[height, width]` values, row by row.
///
/// ```
/// use dualad::detector::{RegionOptions, regions};
///
/// #[rustfmt::skip]
/// let map = [
///     0.0, 0.9, 0.0, 0.0,
///     0.7, 0.0, 0.0, 0.6,
/// ];
/// let found = regions(&map, [2, 4], 0.5, &RegionOptions::default().with_outlines(true))?;
/// // Pixels that touch at a corner are connected.
/// let worst = &found.regions[0];
/// assert_eq!((worst.area, worst.peak, worst.peak_at), (2, 0.9, [1, 0]));
/// assert_eq!((worst.bounds.x, worst.bounds.y, worst.bounds.width, worst.bounds.height), (0, 0, 2, 2));
/// assert_eq!(found.regions[1].outline, [[3, 1], [4, 1], [4, 2], [3, 2]]);
/// # Ok::<(), dualad::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`] if the number of values is not `height * width` or exceeds [`u32::MAX`], and for a value that is
/// not finite or a threshold that is NaN, which would hide a defect.
pub fn regions(map: &[f32], sides: [usize; 2], threshold: f32, options: &RegionOptions) -> Result<Regions> {
    let [height, width] = sides;
    let wrong = |argument: &str, value: String, reason: &str| Err(Error::invalid_argument(argument, value, reason));
    if height.checked_mul(width) != Some(map.len()) || u32::try_from(map.len()).is_err() {
        let value = format!("{} values for {height} x {width} pixels (height x width)", map.len());
        return wrong("the anomaly map", value, "needs one value per pixel, at most 2^32 - 1");
    }
    if threshold.is_nan() {
        return wrong("the threshold", "NaN".into(), "must be a number");
    }
    if let Some(pixel) = map.iter().position(|value| !value.is_finite()) {
        let field = format!("the anomaly map's value at column {}, row {}", pixel % width, pixel / width);
        return wrong(&field, map[pixel].to_string(), "must be finite; look at the picture and the model's weights");
    }
    let runs = components::runs(map, width, |_| true, |value| value >= threshold);
    // Roots come before the other runs of their trees, so regions are in the order of their first pixels.
    let mut totals: Vec<Total> = Vec::new();
    let mut region_of = vec![0u32; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        if run.root as usize == index {
            region_of[index] = totals.len() as u32;
            totals.push(Total::new(run, width));
        } else {
            region_of[index] = region_of[run.root as usize];
        }
        totals[region_of[index] as usize].add(run, map, width);
    }

    let mut order: Vec<u32> = (0..totals.len() as u32).collect();
    order.retain(|&region| totals[region as usize].area >= options.min_area);
    let too_small = totals.len() - order.len();
    let by_severity = |&a: &u32, &b: &u32| {
        let ([x, y], by_place) = ([a, b].map(|region| &totals[region as usize]), a.cmp(&b));
        y.peak.total_cmp(&x.peak).then(y.area.cmp(&x.area)).then(by_place)
    };
    let left_out = order.len().saturating_sub(options.max_regions);
    if left_out > 0 {
        order.select_nth_unstable_by(options.max_regions, by_severity);
        order.truncate(options.max_regions);
    }
    order.sort_unstable_by(by_severity);

    let mut regions: Vec<Region> = order.iter().map(|&region| totals[region as usize].region()).collect();
    if options.outlines || options.masks {
        draw(&mut regions, runs_of(&runs, &region_of, &order, totals.len()), width, options);
    }
    Ok(Regions { regions, left_out, too_small })
}

/// Returns the row and the columns of a run.
fn place(run: &Run, width: usize) -> (u32, std::ops::Range<u32>) {
    let width = width as u32;
    let (row, column) = (run.start / width, run.start % width);
    (row, column..column + run.len())
}

/// The sums over a region.
#[derive(Debug)]
struct Total {
    /// The first and last columns, and the first and last rows.
    columns: [u32; 2],
    rows: [u32; 2],
    area: u64,
    peak: f32,
    peak_at: [u32; 2],
    /// Twice the sums of the pixels' centers.
    centers: [u128; 2],
    sum: f64,
}

impl Total {
    fn new(run: &Run, width: usize) -> Self {
        let (row, columns) = place(run, width);
        Self {
            columns: [columns.start, columns.end - 1],
            rows: [row; 2],
            area: 0,
            peak: f32::NEG_INFINITY,
            peak_at: [columns.start, row],
            centers: [0; 2],
            sum: 0.0,
        }
    }

    fn add(&mut self, run: &Run, map: &[f32], width: usize) {
        let (row, columns) = place(run, width);
        let [first, last] = &mut self.columns;
        (*first, *last) = ((*first).min(columns.start), (*last).max(columns.end - 1));
        self.rows[1] = row;
        self.area += u64::from(run.len());
        let [length, left, right, y] = [run.len(), columns.start, columns.end, row].map(u128::from);
        self.centers[0] += length * (left + right);
        self.centers[1] += length * (2 * y + 1);
        for (column, &value) in columns.zip(&map[run.start as usize..run.end as usize]) {
            self.sum += f64::from(value);
            if value > self.peak {
                (self.peak, self.peak_at) = (value, [column, row]);
            }
        }
    }

    fn region(&self) -> Region {
        let ([left, right], [top, bottom]) = (self.columns, self.rows);
        let bounds = Bounds { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
        let area = self.area as f64;
        Region {
            bounds,
            area: self.area,
            peak: self.peak,
            peak_at: self.peak_at,
            centroid: self.centers.map(|twice| twice as f64 / 2.0 / area),
            mean: self.sum / area,
            outline: Vec::new(),
            mask: Vec::new(),
        }
    }
}

/// Returns the runs of each region in `order`; `count` is the number of all regions.
fn runs_of(runs: &[Run], region_of: &[u32], order: &[u32], count: usize) -> Vec<Vec<Run>> {
    let mut place = vec![usize::MAX; count];
    for (index, &region) in order.iter().enumerate() {
        place[region as usize] = index;
    }
    let mut sorted = vec![Vec::new(); order.len()];
    for (run, &region) in runs.iter().zip(region_of) {
        if let Some(runs) = sorted.get_mut(place[region as usize]) {
            runs.push(*run);
        }
    }
    sorted
}

/// Adds outlines and masks to the regions.
fn draw(regions: &mut [Region], runs_of: Vec<Vec<Run>>, map_width: usize, options: &RegionOptions) {
    for (region, runs) in regions.iter_mut().zip(runs_of) {
        let Bounds { x, y, width, height } = region.bounds;
        let [width, height] = [width, height].map(|side| side as usize);
        let mut mask = vec![0; width * height];
        for run in runs {
            let (row, columns) = place(&run, map_width);
            let start = (row - y) as usize * width + (columns.start - x) as usize;
            mask[start..start + columns.len()].fill(1);
        }
        if options.outlines {
            region.outline = outline::trace(&mask, width).into_iter().map(|[i, j]| [x + i, y + j]).collect();
        }
        if options.masks {
            region.mask = mask;
        }
    }
}
