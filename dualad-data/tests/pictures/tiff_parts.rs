//! TIFF files whose strips and tiles the decoder does not read as they are: LZW, reversed bits, and planes in tiles.

use crate::support::tiff::Parts;
use dualad_data::Error;
use dualad_data::MaskRule;
use dualad_data::image::{Limits, Mask, Picture};

fn decode(tiff: &Parts) -> Picture {
    Picture::decode(&tiff.bytes(), "some.tif", &Limits::default()).unwrap()
}

fn error(tiff: &Parts) -> Error {
    Picture::decode(&tiff.bytes(), "some.tif", &Limits::default()).unwrap_err()
}

/// Samples that compress well in some areas and badly in others.
fn samples(count: usize, row: usize) -> Vec<u8> {
    (0..count).map(|at| if (at / row).is_multiple_of(3) { 9 } else { (at * at / 7 + at / row * 31) as u8 }).collect()
}

fn gray(levels: &[u8]) -> Vec<u8> {
    levels.iter().flat_map(|&level| [level; 3]).collect()
}

/// Replaces samples by their difference to the previous pixel of the row.
fn predicted(data: &[u8], row: usize, pixel: usize) -> Vec<u8> {
    let mut out = data.to_vec();
    for line in out.chunks_mut(row) {
        for at in (pixel..line.len()).rev() {
            line[at] = line[at].wrapping_sub(line[at - pixel]);
        }
    }
    out
}

#[test]
fn lzw_in_tiles_and_strips_is_read() {
    for (width, height) in [(17, 10), (64, 48), (100, 33), (256, 256), (300, 310)] {
        for pixel in [1, 3] {
            let data = samples(width * height * pixel, width * pixel);
            let expected = if pixel == 1 { gray(&data) } else { data.clone() };
            let plain = Parts::new(width, height, if pixel == 1 { 1 } else { 2 }, pixel, 8);
            let strip = plain.clone().strip(&data).lzw();
            assert_eq!(decode(&strip).pixels(), expected, "{width}x{height}x{pixel} in a strip");
            for side in [16, 32, 48, 64, 256] {
                let tiled = plain.clone().tiles((side, side), width * pixel, pixel, &data);
                let what = format!("{width}x{height}x{pixel} in tiles of {side}");
                assert_eq!(decode(&tiled).pixels(), expected, "{what}");
                assert_eq!(decode(&tiled.clone().lzw()).pixels(), expected, "{what}, LZW");
                let differences = Parts {
                    parts: tiled.parts.iter().map(|part| predicted(part, side * pixel, pixel)).collect(),
                    ..tiled.clone()
                };
                let differences = differences.with(317, &[2]).lzw();
                assert_eq!(decode(&differences).pixels(), expected, "{what}, LZW of differences");
            }
        }
    }
    // Flat tiles, as a drawing has them.
    for side in [600, 1000] {
        let flat: Vec<u8> = (0..side * side).map(|at| if at % side < side / 2 { 200 } else { 20 }).collect();
        let tiled = Parts::new(side, side, 1, 1, 8).tiles((256, 256), side, 1, &flat).lzw();
        assert_eq!(decode(&tiled).pixels(), gray(&flat));
    }
}

#[test]
fn lzw_without_an_end_code_is_read_if_it_is_complete() {
    let data = samples(40 * 30, 40);
    let whole = Parts::new(40, 30, 1, 1, 8).strip(&data).lzw();
    let length = whole.parts[0].len();
    // The end code has more than 8 bits, so the last byte has nothing else.
    let mut without = whole.clone();
    without.parts[0].truncate(length - 1);
    assert_eq!(decode(&without).pixels(), gray(&data));
    let mut cut = whole;
    cut.parts[0].truncate(length / 2);
    let error = error(&cut);
    assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("LZW"), "{error}");
    // Codes of 9 bits for "clear", 3, 4, 5 and 6, without an end code.
    let codes = [256u64, 3, 4, 5, 6].iter().fold(0, |bits, code| bits << 9 | code) << 19;
    let four = Parts::new(4, 1, 1, 1, 8).strip(&codes.to_be_bytes()[..6]).with(259, &[5]);
    assert_eq!(decode(&four).pixels(), gray(&[3, 4, 5, 6]));
}

#[test]
fn lzw_of_the_first_programs_is_read() {
    let data = samples(90 * 70, 90);
    let mut tiff = Parts::new(90, 70, 1, 1, 8).strip(&data).with(259, &[5]);
    tiff.parts[0] = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, 8).encode(&data).unwrap();
    assert_eq!(decode(&tiff).pixels(), gray(&data));
}

#[test]
fn planes_are_read_in_tiles_and_strips() {
    let (width, height) = (50, 35);
    let planes: Vec<Vec<u8>> = (0..4).map(|plane| samples(width * height, width + plane)).collect();
    let interleaved = |count: usize| -> Vec<u8> {
        (0..width * height).flat_map(|at| planes[..count].iter().map(move |plane| plane[at])).collect()
    };
    let in_tiles = |photometric: u16, count: usize| {
        planes[..count].iter().fold(Parts::new(width, height, photometric, count, 8).with(284, &[2]), |tiff, plane| {
            tiff.tiles((16, 32), width, 1, plane)
        })
    };
    let rgb = in_tiles(2, 3);
    assert_eq!(decode(&rgb).pixels(), interleaved(3));
    assert_eq!(decode(&rgb.clone().lzw()).pixels(), interleaved(3));
    assert_eq!(decode(&rgb.clone().lzw().reversed()).pixels(), interleaved(3));
    let differences = Parts { parts: rgb.parts.iter().map(|part| predicted(part, 16, 1)).collect(), ..rgb };
    assert_eq!(decode(&differences.with(317, &[2]).lzw()).pixels(), interleaved(3));
    // With alpha, and gray with alpha.
    assert_eq!(decode(&in_tiles(2, 4).with(338, &[2])).pixels(), interleaved(3));
    assert_eq!(decode(&in_tiles(1, 2).with(338, &[2])).pixels(), gray(&planes[0]));
    // Inks, which become the complement of red, green and blue.
    let mut inks = Parts::new(width, height, 5, 4, 8).with(284, &[2]);
    inks.parts = planes.clone();
    let side_by_side = Parts::new(width, height, 5, 4, 8).strip(&interleaved(4));
    assert_eq!(decode(&inks), decode(&side_by_side));
    assert_eq!(decode(&in_tiles(5, 4)), decode(&side_by_side));
    let mut strips = Parts::new(width, height, 1, 2, 8).with(284, &[2]).with(338, &[2]);
    strips.parts = planes[..2].to_vec();
    assert_eq!(decode(&strips).pixels(), gray(&planes[0]));
    // 16 bits: 257 is the step of a level.
    let deep = planes[..3].iter().fold(Parts::new(width, height, 2, 3, 16).with(284, &[2]), |tiff, plane| {
        let wide: Vec<u8> = plane.iter().flat_map(|&level| (u16::from(level) * 257).to_le_bytes()).collect();
        tiff.tiles((32, 16), 2 * width, 2, &wide)
    });
    assert_eq!(decode(&deep).pixels(), interleaved(3));
    // Planes that are not read are named.
    let bits = Parts::new(64, 32, 2, 3, 1).with(284, &[2]);
    let bits = (0..3).fold(bits, |tiff, _| tiff.tiles((4, 32), 8, 1, &[0x55; 256])).with(322, &[32]);
    for tiff in [bits, in_tiles(6, 3)] {
        let error = error(&tiff);
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("in tiles"), "{error}");
    }
}

#[test]
fn bits_from_the_lowest_on_are_read() {
    let rows = [[0b1010_0110u8, 0b1100_0000], [0b0001_1111, 0b0100_0000]];
    let bits: Vec<u8> = rows
        .iter()
        .flat_map(|row| (0..10).map(move |at| if row[at / 8] >> (7 - at % 8) & 1 == 1 { 255 } else { 0 }))
        .collect();
    let one = Parts::new(10, 2, 1, 1, 1).strip(rows.as_flattened());
    assert_eq!(decode(&one).pixels(), gray(&bits));
    assert_eq!(decode(&one.clone().reversed()).pixels(), gray(&bits));
    assert_eq!(decode(&one.clone().lzw().reversed()).pixels(), gray(&bits));
    let mask = Mask::decode(&one.reversed().bytes(), "a.tif", MaskRule::White, &Limits::default()).unwrap();
    assert_eq!(mask.pixels(), bits.iter().map(|&level| level / 255).collect::<Vec<u8>>());
    let data = samples(30 * 20 * 3, 90);
    let rgb = Parts::new(30, 20, 2, 3, 8).strip(&data).reversed();
    assert_eq!(decode(&rgb).pixels(), data);
    let indices = Parts::new(4, 1, 3, 1, 2).with(320, &[0, 0xffff, 0, 0, 0, 0, 0xffff, 0, 0, 0, 0, 0xffff]);
    let palette = indices.strip(&[0b00_01_10_11]).reversed();
    assert_eq!(decode(&palette).pixels(), [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
}

#[test]
fn raw_files_of_cameras_are_named() {
    let data = samples(16, 4);
    let raw = Parts::new(4, 4, 1, 1, 8).strip(&data).with(50706, &[1, 4]);
    let error = error(&raw);
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("raw file"), "{error}");
    // A reduced image alone is an image.
    assert_eq!(decode(&Parts::new(4, 4, 1, 1, 8).strip(&data).with(254, &[1])).pixels(), gray(&data));
}

#[test]
fn limits_hold_for_copies() {
    let data = samples(64 * 64, 64);
    let tiled = Parts::new(64, 64, 1, 1, 8).tiles((64, 64), 64, 1, &data).lzw();
    let limits = |bytes: u64| Limits::default().with_memory(bytes);
    assert!(Picture::decode(&tiled.bytes(), "a.tif", &limits(2 << 20)).is_ok());
    // A tile may be far larger than the image.
    let bomb = tiled.with(322, &[65520]).with(323, &[65520]);
    let error = Picture::decode(&bomb.bytes(), "a.tif", &limits(2 << 20)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // Many strips may be the same bytes.
    let mut strips = Parts::new(8, 60_000, 1, 1, 1).with(278, &[1]).with(266, &[2]);
    strips.parts = vec![Vec::new(); 60_000];
    let mut bytes = strips.bytes();
    let length = bytes.len() as u32;
    let counts = bytes.windows(2).position(|tag| tag == 279u16.to_le_bytes()).map(|at| at + 8).unwrap();
    let place = u32::from_le_bytes(bytes[counts..counts + 4].try_into().unwrap()) as usize;
    for count in bytes[place..place + 240_000].chunks_exact_mut(4) {
        count.copy_from_slice(&(length / 2).to_le_bytes());
    }
    let error = Picture::decode(&bytes, "a.tif", &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn cmyk_becomes_rgb() {
    let (width, height) = (13, 6);
    let inks = samples(4 * width * height, 4 * width);
    let tiff = Parts::new(width, height, 5, 4, 8).strip(&inks);
    let light = |ink: u8| f32::from(255 - ink) / 255.0;
    let expected = inks.as_chunks::<4>().0.iter().flat_map(|&[cyan, magenta, yellow, black]| {
        [cyan, magenta, yellow].map(|ink| 255.0 * light(ink) * light(black))
    });
    for tiff in [tiff.clone(), tiff.lzw()] {
        for (found, expected) in decode(&tiff).pixels().iter().zip(expected.clone()) {
            assert!((f32::from(*found) - expected).abs() <= 1.0, "{found}, not {expected}");
        }
    }
}

#[test]
fn a_predictor_without_a_compression_for_it_means_nothing() {
    let data = samples(17 * 10, 17);
    let plain = Parts::new(17, 10, 1, 1, 8).strip(&data);
    assert_eq!(decode(&plain.clone().with(317, &[2])).pixels(), gray(&data));
    assert_eq!(decode(&plain.clone().with(317, &[2]).reversed()).pixels(), gray(&data));
    let tiled = Parts::new(17, 10, 1, 1, 8).tiles((16, 16), 17, 1, &data);
    assert_eq!(decode(&tiled.with(317, &[2])).pixels(), gray(&data));
}

#[test]
fn strips_without_their_lengths_are_not_called_damaged() {
    let data = samples(17 * 10, 17);
    let mut bytes = Parts::new(17, 10, 1, 1, 8).strip(&data).bytes();
    // The tag of the lengths becomes one without a meaning.
    let at = bytes.windows(4).position(|part| part == [23, 1, 4, 0]).unwrap();
    bytes[at] = 24;
    let error = Picture::decode(&bytes, "some.tif", &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("StripByteCounts"), "{error}");
    let tree = crate::support::Tree::new();
    let error = Picture::read_size(tree.write("some.tif", &bytes), &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
