//! Resizing, compared with results of OpenCV and with a plain implementation.

use crate::support::fixture;
use dualad_data::Error;
use dualad_data::image::{AspectRatio, Filter, IMAGENET_MEAN, IMAGENET_STD, Mask, Picture, Preprocess};
use proptest::prelude::*;

fn resized(picture: &Picture, width: u32, height: u32) -> Vec<u8> {
    Preprocess::new(height, width).unwrap().picture(picture).unwrap().pixels().to_vec()
}

fn resized_mask(values: &[u8], size: (u32, u32), width: u32, height: u32) -> Vec<u8> {
    let mask = Mask::new(size.0, size.1, values.to_vec()).unwrap();
    Preprocess::new(height, width).unwrap().mask(&mask).unwrap().pixels().to_vec()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

#[test]
fn results_equal_those_of_opencv() {
    let fixture: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture("resize.json")).unwrap()).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let size = |key: &str| (case[key][0].as_u64().unwrap() as u32, case[key][1].as_u64().unwrap() as u32);
        let bytes = |key: &str| {
            let hex = case[key].as_str().unwrap();
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect::<Vec<_>>()
        };
        let ((width, height), target) = (size("source"), size("target"));
        let positions = || (0..height).flat_map(|i| (0..width).map(move |j| (i, j)));
        let levels =
            positions().flat_map(|(i, j)| [0, 1, 2].map(|c| (i * i * (c + 3) + 7 * j * (c + 1) + 5 * i * j) as u8));
        let picture = Picture::new(width, height, levels.collect()).unwrap();
        let difference = largest_difference(&resized(&picture, target.0, target.1), &bytes("linear"));
        assert!(difference <= 1, "{width}x{height} to {target:?}: {difference} levels");
        let mask: Vec<u8> = positions().map(|(i, j)| ((3 * i + 5 * j) % 7 + 249) as u8).collect();
        assert_eq!(
            resized_mask(&mask, (width, height), target.0, target.1),
            bytes("nearest"),
            "{width}x{height} to {target:?}"
        );
    }
}

/// Interpolated rows of a wide picture would take more memory than there is.
#[test]
fn a_picture_with_few_rows_is_not_resized_if_it_is_too_wide() {
    let resize = |width: u32, height: u32| {
        let picture = Picture::new(width, height, vec![7; 3 * width as usize * height as usize]).unwrap();
        Preprocess::new(224, 224).unwrap().picture(&picture)
    };
    for (width, height) in [(300_000, 1), (1, 2_000_000), (100_000, 300)] {
        assert!(resize(width, height).unwrap().pixels().iter().all(|&level| level == 7));
    }
    let error = resize(2_000_000, 1).unwrap_err();
    assert!(matches!(error, Error::TooWide { width: 2_000_000, height: 1, .. }), "{error}");
}

#[test]
fn results_equal_the_golden_pictures() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens/metrics.safetensors");
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("skipped: the goldens are not there");
        return;
    };
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| tensors.tensor(name).unwrap().data().to_vec();
    let picture = Picture::new(101, 75, tensor("resize.image")).unwrap();
    for (name, width, height) in [("resize.bilinear_224x224", 224, 224), ("resize.bilinear_64x48", 64, 48)] {
        let difference = largest_difference(&resized(&picture, width, height), &tensor(name));
        assert!(difference <= 1, "{name}: {difference} levels");
    }
    assert_eq!(resized_mask(&tensor("resize.mask"), (101, 75), 64, 48), tensor("resize.nearest_64x48"));
}

/// Bilinear resizing with two taps per axis, half-pixel centers and a repeated border.
fn plain(picture: &Picture, width: u32, height: u32) -> Vec<f64> {
    let taps = |i: u32, source: u32, target: u32| {
        let last = f64::from(source - 1);
        let x = ((f64::from(i) + 0.5) * f64::from(source) / f64::from(target) - 0.5).clamp(0.0, last);
        (x.floor() as usize, (x.floor() + 1.0).min(last) as usize, x.fract())
    };
    let mut out = Vec::new();
    for i in 0..height {
        let (top, bottom, down) = taps(i, picture.height(), height);
        for j in 0..width {
            let (left, right, across) = taps(j, picture.width(), width);
            for c in 0..3 {
                let at = |row: usize, column: usize| {
                    f64::from(picture.pixels()[(row * picture.width() as usize + column) * 3 + c])
                };
                let line = |row| at(row, left) * (1.0 - across) + at(row, right) * across;
                out.push(line(top) * (1.0 - down) + line(bottom) * down);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bilinear_is_within_a_level_of_the_plain_form(
        (width, height, levels) in (1u32..70, 1u32..70).prop_flat_map(|(w, h)| {
            (Just(w), Just(h), proptest::collection::vec(any::<u8>(), (w * h * 3) as usize))
        }),
        target_width in 1u32..90,
        target_height in 1u32..90,
    ) {
        let picture = Picture::new(width, height, levels).unwrap();
        let got = resized(&picture, target_width, target_height);
        let expected = plain(&picture, target_width, target_height);
        prop_assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            // Rows and columns are rounded separately, by half a level each, and so are the weights.
            prop_assert!((f64::from(*got) - expected).abs() <= 1.05, "{} is not {}", got, expected);
        }
    }

    #[test]
    fn every_option_gives_the_requested_size(
        width in 1u32..50, height in 1u32..50, target_width in 1u32..40, target_height in 1u32..40,
        antialiased: bool, letterbox: bool,
    ) {
        let picture = Picture::new(width, height, vec![200; (width * height * 3) as usize]).unwrap();
        let mask = Mask::new(width, height, vec![1; (width * height) as usize]).unwrap();
        let filter = if antialiased { Filter::Antialiased } else { Filter::Bilinear };
        let aspect_ratio = if letterbox { AspectRatio::Letterbox([7, 8, 9]) } else { AspectRatio::Stretch };
        let preprocess = Preprocess::new(target_height, target_width).unwrap().filter(filter).aspect_ratio(aspect_ratio);
        let (resized, mask) = (preprocess.picture(&picture).unwrap(), preprocess.mask(&mask).unwrap());
        let place = preprocess.placement(width, height);
        prop_assert_eq!((resized.width(), resized.height()), (target_width, target_height));
        for y in 0..target_height {
            for x in 0..target_width {
                let inside = (place.x..place.x + place.width).contains(&x) && (place.y..place.y + place.height).contains(&y);
                let at = (y * target_width + x) as usize;
                prop_assert_eq!(&resized.pixels()[at * 3..][..3], if inside { &[200u8, 200, 200] } else { &[7u8, 8, 9] });
                prop_assert_eq!(mask.pixels()[at], u8::from(inside));
            }
        }
    }
}

#[test]
fn extreme_shapes_resize() {
    for (width, height) in [(1, 1), (20_000, 1), (1, 20_000)] {
        let picture = Picture::new(width, height, vec![9; (width * height * 3) as usize]).unwrap();
        for aspect_ratio in [AspectRatio::Stretch, AspectRatio::Letterbox([9; 3])] {
            for filter in [Filter::Bilinear, Filter::Antialiased] {
                let preprocess = Preprocess::new(224, 224).unwrap().aspect_ratio(aspect_ratio).filter(filter);
                assert!(preprocess.picture(&picture).unwrap().pixels().iter().all(|&level| level == 9));
            }
        }
    }
}

#[test]
fn a_letterbox_keeps_the_aspect_ratio() {
    let place = Preprocess::new(224, 224).unwrap().aspect_ratio(AspectRatio::Letterbox([0; 3])).placement(448, 100);
    assert_eq!((place.x, place.y, place.width, place.height), (0, 87, 224, 50));
}

#[test]
fn antialiasing_uses_every_pixel() {
    // Stripes of one pixel. Plain bilinear samples some of them, and the average is gray.
    let levels = (0..64u32 * 64).flat_map(|i| [if i % 64 % 4 == 0 { 255u8 } else { 0 }; 3]).collect();
    let picture = Picture::new(64, 64, levels).unwrap();
    let smooth = Preprocess::new(4, 4).unwrap().filter(Filter::Antialiased).picture(&picture).unwrap();
    assert!(smooth.pixels().iter().all(|level| level.abs_diff(64) < 12), "{:?}", smooth.pixels());
}

#[test]
fn pixels_are_normalized_plane_by_plane() {
    let picture = Picture::new(2, 1, vec![0, 51, 102, 153, 204, 255]).unwrap();
    let pixels = Preprocess::new(1, 2).unwrap().pixels(&picture).unwrap();
    let expected = [0u8, 153, 51, 204, 102, 255].iter().enumerate().map(|(i, &level)| {
        let c = i / 2;
        (f32::from(level) / 255.0 - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
    });
    assert_eq!(pixels, expected.collect::<Vec<_>>());
    let plain = Preprocess::new(1, 2).unwrap().normalize([0.0; 3], [1.0; 3]).unwrap().pixels(&picture).unwrap();
    assert_eq!(plain[5], 1.0);
}

#[test]
fn invalid_values_are_errors() {
    for (height, width, wrong) in [(0, 224, "height"), (224, 0, "width"), (224, u32::MAX, "width")] {
        let error = Preprocess::new(height, width).unwrap_err();
        assert!(matches!(&error, Error::Value { field, .. } if *field == wrong), "{error}");
    }
    let preprocess = Preprocess::new(1, 1).unwrap();
    assert!(preprocess.clone().normalize([0.0; 3], [1.0, 0.0, 1.0]).is_err());
    assert!(preprocess.normalize([f32::NAN; 3], [1.0; 3]).is_err());
}
