use proptest::prelude::*;

use super::*;
use crate::{Error, Random};

/// `#` is 1, `.` is 0, digits are themselves.
fn map(rows: &[&str]) -> (Vec<f32>, [usize; 2]) {
    let value = |byte: u8| match byte {
        b'#' => 1.0,
        b'.' => 0.0,
        digit => f32::from(digit - b'0'),
    };
    (
        rows.iter().flat_map(|row| row.bytes().map(value)).collect(),
        [rows.len(), rows.first().map_or(0, |row| row.len())],
    )
}

fn all() -> RegionOptions {
    RegionOptions::default().with_max_regions(usize::MAX).with_outlines(true).with_masks(true)
}

fn found(rows: &[&str]) -> Vec<Region> {
    let (map, sides) = map(rows);
    let found = regions(&map, sides, 0.5, &all()).unwrap();
    check(&map, sides, 0.5, &found.regions);
    found.regions
}

fn bounds(region: &Region) -> [u32; 4] {
    let Bounds { x, y, width, height } = region.bounds;
    [x, y, width, height]
}

/// The area that a closed line encloses, clockwise as seen in the picture.
fn enclosed(outline: &[[u32; 2]]) -> i64 {
    let next = outline.iter().cycle().skip(1);
    let twice = |(a, b): (&[u32; 2], &[u32; 2])| {
        let ([ax, ay], [bx, by]) = (a.map(i64::from), b.map(i64::from));
        ax * by - bx * ay
    };
    outline.iter().zip(next).map(twice).sum::<i64>() / 2
}

/// Pixel by pixel: fills each region from its first pixel, in raster order.
fn flood(map: &[f32], [height, width]: [usize; 2], threshold: f32) -> Vec<Vec<[usize; 2]>> {
    let mut seen = vec![false; map.len()];
    let mut regions = Vec::new();
    for first in 0..map.len() {
        let mut pixels = Vec::new();
        let mut ahead = vec![first];
        while let Some(pixel) = ahead.pop() {
            if seen[pixel] || map[pixel] < threshold {
                continue;
            }
            seen[pixel] = true;
            let [x, y] = [pixel % width, pixel / width];
            pixels.push([y, x]);
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                ahead.extend((x.saturating_sub(1)..(x + 2).min(width)).map(|x| y * width + x));
            }
        }
        if !pixels.is_empty() {
            pixels.sort_unstable();
            regions.push(pixels);
        }
    }
    regions
}

/// Pixels of holes: what is not of the region and cannot be reached from outside by steps over sides.
fn holes(pixels: &[[usize; 2]], [height, width]: [usize; 2]) -> i64 {
    // A margin of one pixel joins all that is outside.
    let (height, width) = (height + 2, width + 2);
    let mut taken = vec![false; height * width];
    for [y, x] in pixels {
        taken[(y + 1) * width + x + 1] = true;
    }
    let mut ahead = vec![0];
    while let Some(pixel) = ahead.pop() {
        if std::mem::replace(&mut taken[pixel], true) {
            continue;
        }
        let [x, y] = [pixel % width, pixel / width];
        ahead.extend((x > 0).then(|| pixel - 1));
        ahead.extend((x + 1 < width).then(|| pixel + 1));
        ahead.extend((y > 0).then(|| pixel - width));
        ahead.extend((y + 1 < height).then(|| pixel + width));
    }
    taken.iter().filter(|&&taken| !taken).count() as i64
}

/// Holds regions with everything drawn against the flood fill's.
fn check(map: &[f32], sides: [usize; 2], threshold: f32, found: &[Region]) {
    let width = sides[1];
    let mut expected = flood(map, sides, threshold);
    let peak = |pixels: &[[usize; 2]]| pixels.iter().map(|[y, x]| map[y * width + x]).fold(f32::NEG_INFINITY, f32::max);
    // Stable: what is as severe stays in raster order.
    expected.sort_by(|a, b| peak(b).total_cmp(&peak(a)).then(b.len().cmp(&a.len())));
    assert_eq!(found.len(), expected.len());
    for (region, pixels) in found.iter().zip(expected) {
        let [x, y, w, h] = bounds(region).map(|side| side as usize);
        let masked: Vec<_> = (0..w * h).filter(|&at| region.mask[at] == 1).map(|at| [y + at / w, x + at % w]).collect();
        assert_eq!(masked, pixels);
        assert_eq!(region.mask.len(), w * h);
        for edge in [[true, true], [true, false], [false, true], [false, false]] {
            let [rows, last] = edge;
            let line = if last {
                if rows { y + h - 1 } else { x + w - 1 }
            } else if rows {
                y
            } else {
                x
            };
            assert!(
                pixels.iter().any(|[y, x]| line == if rows { *y } else { *x }),
                "the box is no larger than it must be"
            );
        }
        assert_eq!((region.area, region.peak), (pixels.len() as u64, peak(&pixels)));
        let [column, row] = region.peak_at.map(|at| at as usize);
        let first = pixels.iter().find(|[y, x]| map[y * width + x] == region.peak);
        assert_eq!(first, Some(&[row, column]));
        let mean = |value: &dyn Fn(&[usize; 2]) -> f64| pixels.iter().map(value).sum::<f64>() / pixels.len() as f64;
        assert!((region.mean - mean(&|[y, x]| f64::from(map[y * width + x]))).abs() < 1e-9);
        assert!((region.centroid[0] - mean(&|[_, x]| *x as f64 + 0.5)).abs() < 1e-9);
        assert!((region.centroid[1] - mean(&|[y, _]| *y as f64 + 0.5)).abs() < 1e-9);

        let outline = &region.outline;
        assert_eq!(outline[0], [pixels[0][1] as u32, pixels[0][0] as u32]);
        assert_eq!(enclosed(outline), pixels.len() as i64 + holes(&pixels, sides));
        for corner in 0..outline.len() {
            let [a, b, c] = [0, 1, 2].map(|step| outline[(corner + step) % outline.len()]);
            // From side to side, and never on straight.
            assert!((a[0] == b[0]) != (a[1] == b[1]) && (a[0] == b[0]) == (b[1] == c[1]), "{outline:?}");
        }
    }
}

#[test]
fn a_single_pixel() {
    let regions = found(&["...", ".7."]);
    assert_eq!(regions.len(), 1);
    let region = &regions[0];
    assert_eq!((bounds(region), region.area, region.peak), ([1, 1, 1, 1], 1, 7.0));
    assert_eq!((region.peak_at, region.centroid, region.mean), ([1, 1], [1.5, 1.5], 7.0));
    assert_eq!(region.outline, [[1, 1], [2, 1], [2, 2], [1, 2]]);
    assert_eq!(region.mask, [1]);
}

#[test]
fn the_whole_map() {
    let regions = found(&["####", "####", "####"]);
    assert_eq!((regions.len(), bounds(&regions[0]), regions[0].area), (1, [0, 0, 4, 3], 12));
    assert_eq!(regions[0].outline, [[0, 0], [4, 0], [4, 3], [0, 3]]);
    assert_eq!(regions[0].centroid, [2.0, 1.5]);
}

#[test]
fn corners_join() {
    let regions = found(&["#..", ".#.", "..#"]);
    assert_eq!((regions.len(), regions[0].area), (1, 3));
    // There and back over the same corners.
    assert_eq!(regions[0].outline.iter().filter(|&&corner| corner == [1, 1] || corner == [2, 2]).count(), 4);
    let regions = found(&["..#", ".#.", "#.."]);
    assert_eq!((regions.len(), enclosed(&regions[0].outline)), (1, 3));
    // Beside each other over the end of a row they do not.
    assert_eq!(found(&["..#", "...", "#.."]).len(), 2);
    assert_eq!(found(&["..#", "#.."]).len(), 2);
}

#[test]
fn holes_are_inside_the_outline() {
    let regions = found(&["#####", "#...#", "#.9.#", "#...#", "#####"]);
    assert_eq!(regions.iter().map(|region| region.area).collect::<Vec<_>>(), [1, 16]);
    let ring = &regions[1];
    assert_eq!((ring.outline.len(), enclosed(&ring.outline), ring.centroid), (4, 25, [2.5, 2.5]));
    assert_eq!(ring.mask.iter().filter(|&&marked| marked == 0).count(), 9);
    // Joined by corners alone.
    let diamond = &found(&[".#.", "#.#", ".#."])[0];
    assert_eq!((diamond.area, enclosed(&diamond.outline)), (4, 5));
}

#[test]
fn combs_are_joined_late() {
    let teeth = "#.".repeat(40);
    let back = "#".repeat(80);
    for rows in [vec![&*teeth, &teeth, &back], vec![&back, &teeth, &teeth], vec![&teeth, &back, &teeth]] {
        let regions = found(&rows);
        assert_eq!((regions.len(), regions[0].area), (1, 160));
    }
    // A spiral, whose arms meet in the middle only.
    let regions = found(&["#######", "#.....#", "#.###.#", "#.#...#", "#.#####"]);
    assert_eq!(regions.len(), 1);
    // Two combs in each other.
    let regions = found(&["#########", "#.#.#.#.#", "#.#.#.#.#", ".........", "########."]);
    assert_eq!(regions.iter().map(|region| region.area).collect::<Vec<_>>(), [19, 8]);
}

#[test]
fn the_worst_is_first() {
    let regions = found(&["3.22.4", "......", "22.3..", "..3..2"]);
    let order: Vec<_> = regions.iter().map(|region| (region.peak, region.area, region.peak_at)).collect();
    assert_eq!(
        order,
        [(4.0, 1, [5, 0]), (3.0, 4, [3, 2]), (3.0, 1, [0, 0]), (2.0, 2, [2, 0]), (2.0, 1, [5, 3])],
        "by peak, area, place; a peak is the first of its value"
    );
    let (map, sides) = map(&["3.22.4", "......", "22.3..", "..3..2"]);
    for most in 0..=6 {
        let some = regions_of(&map, sides, &all().with_max_regions(most));
        assert_eq!((&some.regions[..], some.left_out), (&regions[..most.min(5)], 5usize.saturating_sub(most)));
    }
    let large = regions_of(&map, sides, &all().with_min_area(2).with_max_regions(1));
    assert_eq!((&large.regions[..], large.left_out, large.too_small), (&regions[1..2], 1, 3));
    let none = regions_of(&map, sides, &all().with_min_area(u64::MAX));
    assert_eq!((none.regions.len(), none.left_out, none.too_small), (0, 0, 5));
    let bare = regions_of(&map, sides, &RegionOptions::default());
    assert!(bare.regions.iter().all(|region| region.outline.is_empty() && region.mask.is_empty()));
}

fn regions_of(map: &[f32], sides: [usize; 2], options: &RegionOptions) -> Regions {
    regions(map, sides, 0.5, options).unwrap()
}

#[test]
fn lines_and_nothing() {
    assert_eq!(found(&["#.##.###"]).iter().map(|region| region.area).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(found(&["#", ".", "#", "#"]).iter().map(|region| region.area).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(found(&["...", "..."]), []);
    for sides in [[0, 0], [0, 5], [5, 0]] {
        assert_eq!(regions(&[], sides, 0.5, &all()).unwrap(), Regions::default());
    }
    let (map, sides) = map(&["#.", ".#"]);
    assert_eq!(regions(&map, sides, f32::INFINITY, &all()).unwrap(), Regions::default());
    assert_eq!(regions(&map, sides, f32::NEG_INFINITY, &all()).unwrap().regions[0].area, 4);
    // At the threshold is above it.
    assert_eq!(regions(&map, sides, 1.0, &all()).unwrap().regions[0].area, 2);
    assert_eq!(regions(&map, sides, 1f32.next_up(), &all()).unwrap(), Regions::default());
}

#[test]
fn what_is_no_map_is_refused() {
    let error = |map: &[f32], sides, threshold| {
        let error = regions(map, sides, threshold, &all()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }));
        error.to_string()
    };
    assert!(error(&[0.0; 6], [2, 2], 0.5).contains("6 values for 2 x 2"));
    assert!(error(&[0.0; 6], [usize::MAX, usize::MAX], 0.5).contains("6 values"));
    assert!(error(&[0.0; 6], [2, 3], f32::NAN).contains("threshold is NaN"));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(error(&[0.0, 0.0, 0.0, 0.0, value, 0.0], [2, 3], 0.5).contains("column 1, row 1"));
    }
}

#[test]
fn random_maps_are_what_a_flood_fill_finds() {
    let mut random = Random::new(11);
    for run in 0..400 {
        let [a, b, c, _] = random.stream().bits(0).map(|bits| bits as usize);
        let sides = [a % 24 + 1, b % 24 + 1];
        // Few values, so that peaks are equal; from sparse to nearly full.
        let values: Vec<f32> = random.stream().uniform(sides[0] * sides[1]);
        let values: Vec<f32> = values.iter().map(|value| (value * 8.0).floor()).collect();
        let threshold = (c % 8) as f32;
        let found = regions(&values, sides, threshold, &all()).unwrap();
        check(&values, sides, threshold, &found.regions);
        assert_eq!((found.left_out, found.too_small), (0, 0), "{run}");
    }
}

#[test]
fn boxes_cover_the_original() {
    let region = &found(&["....", ".##.", "...."])[0];
    let bounds_of = |original: [usize; 2]| {
        let found = Stretch::new([3, 4], original).unwrap().to_original(region);
        let Bounds { x, y, width, height } = found.bounds;
        assert!((found.area - 2.0 * (original[0] * original[1]) as f64 / 12.0).abs() < 1e-9);
        [x, y, width, height]
    };
    assert_eq!(bounds_of([3, 4]), [1, 1, 2, 1]);
    assert_eq!(bounds_of([30, 40]), [10, 10, 20, 10]);
    // 10 / 4 and 7 / 3 pixels for one: from 2.5 to 7.5, and from 2.33 to 4.67.
    assert_eq!(bounds_of([7, 10]), [2, 2, 6, 3]);
    // Smaller than the map: what is there in part is covered.
    assert_eq!(bounds_of([1, 2]), [0, 0, 2, 1]);

    let found = Stretch::new([3, 4], [7, 10]).unwrap().to_original(region);
    assert_eq!((found.peak_at, found.peak, found.mean), ([3, 3], 1.0, 1.0));
    assert!((found.centroid[0] - 5.0).abs() < 1e-12 && (found.centroid[1] - 3.5).abs() < 1e-12);
    assert!(found.outline[0][0] == 2.5 && (found.outline[0][1] - 7.0 / 3.0).abs() < 1e-12);
}

#[test]
fn sizes_that_are_none_are_refused() {
    for (map, original) in [([0, 1], [1, 1]), ([1, 1], [1, 0]), ([1, 1], [1 << 40, 1])] {
        assert!(matches!(Stretch::new(map, original), Err(Error::InvalidArgument { .. })));
    }
    assert!(
        Stretch::new([1, 1], [0, 5]).unwrap_err().to_string().contains("the size of the original picture is 0 x 5")
    );
    // A region of another map stays in the picture.
    let region = &found(&["....", "...#"])[0];
    for (map, original) in [([1, 1], [5, 5]), ([1, 2], [u32::MAX as usize; 2]), ([u32::MAX as usize; 2], [1, 1])] {
        let found = Stretch::new(map, original).unwrap().to_original(region);
        let Bounds { x, y, width, height } = found.bounds;
        assert!(u64::from(x) + u64::from(width) <= original[1] as u64);
        assert!(u64::from(y) + u64::from(height) <= original[0] as u64);
        assert!((found.peak_at[0] as usize) < original[1] && (found.peak_at[1] as usize) < original[0]);
    }
}

proptest! {
    /// Boxes cover what the region covers, no pixel more, and stay inside.
    #[test]
    fn boxes_are_as_small_as_can_be(map in 1usize..300, original in 1usize..5000, ends in [0.0..1.0f64, 0.0..1.0]) {
        let [start, end] = ends.map(|end| (end * map as f64) as usize);
        let (start, end) = (start.min(end), start.max(end) + 1);
        let values: Vec<f32> = (0..map).map(|at| f32::from(u8::from((start..end).contains(&at)))).collect();
        let region = &regions(&values, [1, map], 0.5, &all()).unwrap().regions[0];
        let found = Stretch::new([1, map], [3, original]).unwrap().to_original(region);
        let [first, last] = [found.bounds.x, found.bounds.x + found.bounds.width].map(|at| at as usize);
        // In units of 1 / map: no rounding.
        prop_assert!(first * map <= start * original && (first + 1) * map > start * original);
        prop_assert!(last * map >= end * original && (last - 1) * map < end * original);
        prop_assert!(last <= original);
        prop_assert!(found.bounds.height == 3);
        let peak = found.peak_at[0] as usize;
        prop_assert!(first <= peak && peak < last);
    }
}
