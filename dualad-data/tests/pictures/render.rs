//! Heat maps, outlines, strips and PNG files.

use std::fs;
use std::path::Path;

use dualad_data::Error;
use dualad_data::image::{AspectRatio, Preprocess};
use dualad_data::render::{ColorMap, RenderError, Scale, heat_map, heat_map_placed, outline, save_png, stack, strip};
use image::{GrayImage, Luma, Rgb, RgbImage};
use proptest::prelude::*;

const MAPS: [ColorMap; 2] = [ColorMap::Inferno, ColorMap::Viridis];

fn noisy(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 37 + y * 11) as u8, (x * 5) as u8, (y * 91) as u8]))
}

/// CIE lightness.
fn lightness(Rgb(color): Rgb<u8>) -> f32 {
    let [r, g, b] = color.map(|level| {
        let level = f32::from(level) / 255.0;
        if level <= 0.04045 { level / 12.92 } else { ((level + 0.055) / 1.055).powf(2.4) }
    });
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    if y > 0.008_856 { 116.0 * y.cbrt() - 16.0 } else { 903.3 * y }
}

#[test]
fn lightness_of_color_maps_increases_evenly() {
    for map in MAPS {
        let levels: Vec<f32> = (0..=256).map(|step| lightness(map.color(step as f32 / 256.0))).collect();
        // One gray level of rounding is about 0.4.
        assert!(levels.windows(2).all(|pair| pair[1] > pair[0] - 0.5), "{map:?}");
        let eighths: Vec<f32> = levels.iter().copied().step_by(32).collect();
        let mean = (eighths[8] - eighths[0]) / 8.0;
        for pair in eighths.windows(2) {
            let step = pair[1] - pair[0];
            assert!((0.75 * mean..1.25 * mean).contains(&step), "{map:?}: {step} beside {mean}");
        }
        assert_eq!(map.color(f32::NAN), map.color(0.0));
        assert_eq!(map.color(f32::INFINITY), map.color(1.0));
        assert_eq!(map.color(-1.0), map.color(0.0));
    }
    // The ends and the middle of the tables of matplotlib.
    assert_eq!(ColorMap::Inferno.color(1.0), Rgb([252, 255, 164]));
    assert_eq!(ColorMap::Viridis.color(0.0), Rgb([68, 1, 84]));
    assert_eq!(ColorMap::Viridis.color(0.5), Rgb([33, 144, 140]));
}

#[test]
fn a_constant_map_is_a_constant_tint() {
    let image = RgbImage::from_pixel(45, 31, Rgb([10, 100, 200]));
    let scale = Scale::new(0.0, 2.0).unwrap();
    for map in MAPS {
        for value in [f32::MIN, -1.0, 0.0, 0.3, 2.0, f32::MAX] {
            let heat = heat_map(&image, &[value; 35], [5, 7], scale, map, 0.5).unwrap();
            let Rgb(color) = map.color(scale.position(value));
            let expected: [u8; 3] = std::array::from_fn(|channel| {
                (0.5 * f32::from([10u8, 100, 200][channel]) + 0.5 * f32::from(color[channel])).round() as u8
            });
            assert!(heat.pixels().all(|pixel| pixel.0 == expected), "{map:?}, {value}");
        }
        let ends = [0.0, 1.0].map(|opacity| heat_map(&image, &[1.0], [1, 1], scale, map, opacity).unwrap());
        assert_eq!(ends[0], image);
        assert!(ends[1].pixels().all(|&pixel| pixel == map.color(0.5)));
    }
}

#[test]
fn maps_are_sampled_at_pixel_centers() {
    let image = noisy(6, 4);
    let map: Vec<f32> = (0..24).map(|value| value as f32).collect();
    let scale = Scale::new(0.0, 23.0).unwrap();
    let heat = heat_map(&image, &map, [4, 6], scale, ColorMap::Inferno, 1.0).unwrap();
    for (x, y, &pixel) in heat.enumerate_pixels() {
        assert_eq!(pixel, ColorMap::Inferno.color((y * 6 + x) as f32 / 23.0));
    }
    // Two cells over six pixels. Pixels 1 and 4 are the centers of the cells.
    let heat = heat_map(&noisy(6, 1), &[0.0, 1.0], [1, 2], Scale::new(0.0, 1.0).unwrap(), ColorMap::Viridis, 1.0);
    let shares = [0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0];
    for (pixel, share) in heat.unwrap().pixels().zip(shares) {
        let expected = ColorMap::Viridis.color(share).0;
        assert!(pixel.0.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1), "{pixel:?} {expected:?}");
    }
}

#[test]
fn a_letterboxed_map_is_aligned_with_its_picture() {
    let (scale, colors) = (Scale::new(0.0, 40.0).unwrap(), ColorMap::Viridis);
    // Wide and tall pictures, and the rows and columns of a 32 x 32 input without padding.
    for (width, height, rows, columns) in [(40, 20, 8..24, 0..32), (10, 40, 0..32, 12..20), (64, 64, 0..32, 0..32)] {
        let image = noisy(width, height);
        let preprocess = Preprocess::new(32, 32).unwrap().aspect_ratio(AspectRatio::Letterbox([0; 3]));
        // The padding has high scores, because the network has not learned it.
        let value = |row: usize, column: usize| {
            if rows.contains(&row) && columns.contains(&column) { (row + column / 2) as f32 } else { 1e6 }
        };
        let map: Vec<f32> = (0..32 * 32).map(|i| value(i / 32, i % 32)).collect();
        let cropped: Vec<f32> =
            rows.clone().flat_map(|row| columns.clone().map(move |column| value(row, column))).collect();
        let placed = heat_map_placed(&image, &map, [32, 32], &preprocess, scale, colors, 0.7).unwrap();
        let expected = heat_map(&image, &cropped, [rows.len(), columns.len()], scale, colors, 0.7).unwrap();
        assert_eq!(placed, expected, "{width}x{height}");
        // A stretched input has no padding.
        let stretch = Preprocess::new(32, 32).unwrap();
        let placed = heat_map_placed(&image, &map, [32, 32], &stretch, scale, colors, 0.7).unwrap();
        assert_eq!(placed, heat_map(&image, &map, [32, 32], scale, colors, 0.7).unwrap());
    }
    // A coarse map: the picture covers a band as thin as a cell of the 4 x 4 map.
    let preprocess = Preprocess::new(64, 64).unwrap().aspect_ratio(AspectRatio::Letterbox([0; 3]));
    let map: Vec<f32> = (0..16).map(|i| (i / 4) as f32).collect();
    let heat = heat_map_placed(&noisy(64, 2), &map, [4, 4], &preprocess, Scale::new(0.0, 3.0).unwrap(), colors, 1.0);
    let middle = colors.color(0.5).0;
    for pixel in heat.unwrap().pixels() {
        assert!(pixel.0.iter().zip(middle).all(|(a, b)| a.abs_diff(b) <= 3), "{pixel:?} {middle:?}");
    }
    for size in [(1, 1), (1, 4000), (4000, 1)] {
        assert!(heat_map_placed(&noisy(size.0, size.1), &map, [4, 4], &preprocess, scale, colors, 1.0).is_ok());
    }
}

#[test]
fn scales_clamp_and_take_percentiles() {
    let scale = Scale::new(1.0, 3.0).unwrap();
    let positions = [-5.0, 1.0, 1.5, 2.0, 3.0, 9.0].map(|score| scale.position(score));
    assert_eq!(positions, [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]);
    assert_eq!(Scale::new(f32::MIN, f32::MAX).unwrap().position(0.0), 0.5);
    let flat = Scale::new(2.0, 2.0).unwrap();
    assert_eq!([1.0, 2.0, 3.0].map(|score| flat.position(score)), [0.0, 0.0, 1.0]);

    let (one, two) = ([4.0, 0.0, 3.0], [1.0, 2.0]);
    let over = |low, high| Scale::over([one.as_slice(), &two], low, high).unwrap();
    assert_eq!((over(0.0, 100.0).low(), over(0.0, 100.0).high()), (0.0, 4.0));
    assert_eq!((over(25.0, 87.5).low(), over(25.0, 87.5).high()), (1.0, 3.5));

    let message = |scale: Result<Scale, Error>| scale.unwrap_err().to_string();
    assert!(message(Scale::new(2.0, 1.0)).contains("2 to 1"));
    assert!(message(Scale::new(f32::NAN, 1.0)).contains("NaN"));
    assert!(message(Scale::over([one.as_slice()], 50.0, 101.0)).contains("101"));
    assert!(message(Scale::over([], 0.0, 100.0)).contains("at least one map"));
    let broken = [0.0, f32::INFINITY];
    assert!(message(Scale::over([one.as_slice(), &broken], 0.0, 100.0)).contains("value 1 of anomaly map 1 is inf"));
}

#[test]
fn invalid_maps_are_errors() {
    let (image, scale) = (noisy(8, 8), Scale::new(0.0, 1.0).unwrap());
    let heat = |map: &[f32], shape, opacity| heat_map(&image, map, shape, scale, ColorMap::Inferno, opacity);
    for (length, shape) in [(5, [2, 3]), (0, [0, 0]), (0, [0, 7]), (4, [usize::MAX, 2]), (4, [2, usize::MAX / 2 + 3])] {
        let error = heat(&vec![0.5; length], shape, 0.5).unwrap_err();
        assert!(matches!(error, Error::Render(RenderError::MapShape { .. })), "{error}");
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = heat(&[0.0, 0.0, value, 0.0], [2, 2], 0.5).unwrap_err();
        assert!(matches!(error, Error::Render(RenderError::NotFinite { index: 2, .. })), "{error}");
    }
    for opacity in [-0.1, 1.1, f32::NAN] {
        assert!(heat(&[0.0; 4], [2, 2], opacity).unwrap_err().to_string().contains("opacity"));
    }
    let empty = RgbImage::new(0, 5);
    assert!(heat_map(&empty, &[0.0; 4], [2, 2], scale, ColorMap::Inferno, 0.5).is_ok());
}

proptest! {
    #[test]
    fn an_outline_is_exactly_the_boundary(
        width in 1u32..12, height in 1u32..12, bits in proptest::collection::vec(any::<bool>(), 144),
    ) {
        let at = |x: i64, y: i64| {
            (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y) && bits[(y * 12 + x) as usize]
        };
        let mask = GrayImage::from_fn(width, height, |x, y| Luma([u8::from(at(x.into(), y.into()))]));
        let (plain, color) = (noisy(width, height), Rgb([1, 2, 3]));
        let mut drawn = plain.clone();
        outline(&mut drawn, &mask, color).unwrap();
        for (x, y, &pixel) in drawn.enumerate_pixels() {
            let (column, row) = (i64::from(x), i64::from(y));
            let neighbors = [(-1, 0), (1, 0), (0, -1), (0, 1)];
            let boundary = at(column, row) && neighbors.iter().any(|(dx, dy)| !at(column + dx, row + dy));
            prop_assert_eq!(pixel, if boundary { color } else { *plain.get_pixel(x, y) });
        }
    }

    #[test]
    fn heat_maps_do_not_panic(
        rows in 1usize..6, columns in 1usize..6, width in 0u32..9, height in 0u32..9, opacity in 0f32..=1.0,
        values in proptest::collection::vec(any::<f32>(), 36), ends in any::<(f32, f32)>(),
    ) {
        let map = &values[..rows * columns];
        if let Ok(scale) = Scale::new(ends.0.min(ends.1), ends.0.max(ends.1)) {
            let heat = heat_map(&noisy(width, height), map, [rows, columns], scale, ColorMap::Viridis, opacity);
            prop_assert_eq!(heat.is_ok(), map.iter().all(|value| value.is_finite()));
        }
        prop_assert_eq!(Scale::over([map], 1.0, 99.0).is_ok(), map.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn an_outline_needs_a_mask_of_the_same_size() {
    let error = outline(&mut noisy(4, 4), &GrayImage::new(4, 5), Rgb([0; 3])).unwrap_err();
    assert!(error.to_string().contains("4 x 5 pixels and the image 4 x 4"), "{error}");
}

#[test]
fn strips_keep_every_picture() {
    let (tall, low) = (noisy(5, 9), noisy(7, 4));
    let row = strip(&[&tall, &low, &tall]).unwrap();
    assert_eq!(row.dimensions(), (5 + 8 + 7 + 8 + 5, 9));
    assert_eq!(row.get_pixel(0, 0), tall.get_pixel(0, 0));
    assert_eq!(row.get_pixel(13, 2), low.get_pixel(0, 0));
    assert_eq!(row.get_pixel(32, 8), tall.get_pixel(4, 8));
    for (x, y) in [(5, 0), (12, 8), (13, 1), (13, 6)] {
        assert_eq!(row.get_pixel(x, y), &Rgb([255; 3]));
    }
    let column = stack(&[&low, &tall]).unwrap();
    assert_eq!(column.dimensions(), (7, 4 + 8 + 9));
    assert_eq!(column.get_pixel(1, 12), tall.get_pixel(0, 0));
    assert_eq!(strip(&[&low]).unwrap(), low);
    assert!(strip(&[]).unwrap_err().to_string().contains("at least one"));
    assert!(stack(&[]).is_err());
}

#[test]
fn png_files_are_complete_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let (path, image) = (folder.path().join("a.png"), noisy(19, 7));
    save_png(&path, &RgbImage::new(3, 3)).unwrap();
    save_png(&path, &image).unwrap();
    assert_eq!(image::open(&path).unwrap().to_rgb8(), image);
    let mask = GrayImage::from_fn(5, 5, |x, _| Luma([x as u8]));
    save_png(&folder.path().join("mask.png"), &mask).unwrap();
    assert_eq!(image::open(folder.path().join("mask.png")).unwrap().to_luma8(), mask);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    let error = save_png(&folder.path().join("nowhere/a.png"), &image).unwrap_err();
    assert!(matches!(&error, Error::Io { action: "write", .. }) && error.to_string().contains("nowhere"), "{error}");
    // A folder has the name. The temporary file is removed.
    fs::create_dir(folder.path().join("b.png")).unwrap();
    assert!(save_png(&folder.path().join("b.png"), &image).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    assert!(matches!(save_png(Path::new("/"), &image), Err(Error::Io { .. })));
    let error = save_png(&folder.path().join("empty.png"), &RgbImage::new(0, 3)).unwrap_err();
    assert!(matches!(error, Error::Render(RenderError::Encode { .. })), "{error}");
    assert!(!folder.path().join("empty.png").exists());
}

#[cfg(unix)]
#[test]
fn a_picture_does_not_replace_a_device_or_a_link() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let image = noisy(9, 7);
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/a.png"), "old").unwrap();
    symlink("elsewhere/a.png", at("link.png")).unwrap();
    save_png(&at("link.png"), &image).unwrap();
    assert!(fs::symlink_metadata(at("link.png")).unwrap().is_symlink());
    assert_eq!(image::open(at("elsewhere/a.png")).unwrap().to_rgb8(), image);

    let _socket = UnixListener::bind(at("socket.png")).unwrap();
    symlink("nowhere.png", at("broken.png")).unwrap();
    symlink("/dev/null", at("device.png")).unwrap();
    for name in ["socket.png", "broken.png", "device.png", "elsewhere"] {
        let error = save_png(&at(name), &image).unwrap_err();
        assert!(matches!(error, Error::Render(RenderError::NotAFile { .. })), "{name}: {error}");
        assert!(!at(name).is_file());
    }
}
