//! The kinds of TIFF: those of cameras and scanners decode exactly, and an error describes the others.

use std::io::Cursor;

use crate::support::fixture;
use dualad_data::image::{Limits, Mask, Picture};
use dualad_data::{Error, MaskRule};

/// The tags and samples of an uncompressed image with one strip.
#[derive(Clone)]
struct Tiff {
    width: u16,
    height: u16,
    photometric: u16,
    bits: u16,
    samples: u16,
    format: u16,
    orientation: u16,
    planar: u16,
    palette: Vec<u16>,
    data: Vec<u8>,
}

impl Tiff {
    fn new(width: u16, height: u16, photometric: u16, bits: u16, samples: u16, data: &[u8]) -> Self {
        let (format, orientation, planar, palette, data) = (1, 1, 1, Vec::new(), data.to_vec());
        Self { width, height, photometric, bits, samples, format, orientation, planar, palette, data }
    }

    /// Returns the file in either byte order, as TIFF or as BigTIFF.
    fn bytes(&self, little: bool, big: bool) -> Vec<u8> {
        let number = |value: u64, length: usize| -> Vec<u8> {
            if little { value.to_le_bytes()[..length].to_vec() } else { value.to_be_bytes()[8 - length..].to_vec() }
        };
        // Planar images have a strip for each plane. Here they share one.
        let strips = if self.planar == 2 { self.samples.into() } else { 1 };
        let mut tags = vec![
            (256, vec![self.width]),
            (257, vec![self.height]),
            (258, vec![self.bits; self.samples.into()]),
            (259, vec![1]),
            (262, vec![self.photometric]),
            (273, vec![0; strips]),
            (274, vec![self.orientation]),
            (277, vec![self.samples]),
            (278, vec![self.height]),
            (279, vec![self.data.len() as u16; strips]),
            (284, vec![self.planar]),
            (339, vec![self.format; self.samples.into()]),
        ];
        if !self.palette.is_empty() {
            tags.push((320, self.palette.clone()));
        }
        if self.photometric == 6 {
            // Color at every pixel.
            tags.push((530, vec![1, 1]));
        }
        tags.sort();
        let (header, count, offset) = if big { (16, 8, 8) } else { (8, 2, 4) };
        let directory = count + tags.len() * (2 + 2 + 2 * offset) + offset;
        let mut after = Vec::new();
        let mut entries = number(tags.len() as u64, count);
        let start = header + directory;
        // The samples, followed by values that are longer than their entry.
        after.extend(&self.data);
        after.resize(after.len().next_multiple_of(2), 0);
        for (tag, mut values) in tags {
            if tag == 273 {
                values.fill(start as u16);
            }
            entries.extend(number(tag, 2));
            entries.extend(number(3, 2));
            entries.extend(number(values.len() as u64, offset));
            let mut bytes: Vec<u8> = values.iter().flat_map(|&value| number(value.into(), 2)).collect();
            if bytes.len() > offset {
                let place = number((start + after.len()) as u64, offset);
                after.extend(std::mem::replace(&mut bytes, place));
            }
            bytes.resize(offset, 0);
            entries.extend(bytes);
        }
        entries.extend(number(0, offset));
        let mut file = if little { b"II".to_vec() } else { b"MM".to_vec() };
        file.extend(number(if big { 43 } else { 42 }, 2));
        if big {
            file.extend(number(8, 2));
            file.extend(number(0, 2));
        }
        file.extend(number(header as u64, offset));
        file.extend(entries);
        file.extend(after);
        file
    }

    fn picture(&self) -> Picture {
        let [first, rest @ ..] = [(true, false), (false, false), (true, true), (false, true)]
            .map(|(little, big)| Picture::decode(&self.bytes(little, big), "some.tif", &Limits::default()).unwrap());
        assert!(rest.iter().all(|other| *other == first));
        first
    }

    fn error(&self) -> String {
        let error = Picture::decode(&self.bytes(true, false), "some.tif", &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        error.to_string()
    }
}

fn gray(levels: &[u8]) -> Vec<u8> {
    levels.iter().flat_map(|&level| [level; 3]).collect()
}

#[test]
fn palettes_become_their_colors() {
    // Reds, greens and blues of 16 bits. 0x80ff is slightly less than 128.5 of 255.
    let palette = vec![0, 0xffff, 0x0101, 0x80ff, 0x0202, 0, 0xffff, 0, 0x0303, 0, 0, 0xffff];
    let colors = [[0u8, 2, 3], [255, 0, 0], [1, 255, 0], [128, 0, 255]];
    let two = Tiff { palette, ..Tiff::new(5, 2, 3, 2, 1, &[0b00_01_10_11, 0b01_000000, 0b11_11_00_00, 0]) };
    let expected: Vec<u8> = [0, 1, 2, 3, 1, 3, 3, 0, 0, 0].iter().flat_map(|&index: &usize| colors[index]).collect();
    assert_eq!(two.picture().pixels(), expected);

    let ramp: Vec<u16> = (0..3).flat_map(|channel| (0..256).map(move |i| (i ^ (channel * 85)) * 257)).collect();
    let eight = Tiff { palette: ramp.clone(), ..Tiff::new(3, 1, 3, 8, 1, &[0, 7, 255]) };
    assert_eq!(eight.picture().pixels(), [0, 85, 170, 7, 7 ^ 85, 7 ^ 170, 255, 255 ^ 85, 255 ^ 170]);
    // Some programs write the palette in 8 bits.
    let shallow = Tiff { palette: ramp.iter().map(|value| value / 257).collect(), ..eight.clone() };
    assert_eq!(shallow.picture(), eight.picture());
    // Others write 8 bits and a zero byte.
    let shifted = Tiff { palette: ramp.iter().map(|value| value / 257 * 256).collect(), ..eight.clone() };
    assert_eq!(shifted.picture(), eight.picture());
    let short = Tiff { palette: vec![0; 30], ..eight };
    let error = Picture::decode(&short.bytes(true, false), "some.tif", &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("palette"), "{error}");
}

#[test]
fn levels_of_few_bits_are_scaled_to_eight() {
    let four = Tiff::new(3, 2, 1, 4, 1, &[0x0f, 0x50, 0xa1, 0xf0]);
    assert_eq!(four.picture().pixels(), gray(&[0, 255, 85, 170, 17, 255]));
    let two = Tiff::new(5, 1, 1, 2, 1, &[0b00_01_10_11, 0b10_000000]);
    assert_eq!(two.picture().pixels(), gray(&[0, 85, 170, 255, 170]));
    let one = Tiff::new(10, 1, 1, 1, 1, &[0b0101_0000, 0b0100_0000]);
    assert_eq!(one.picture().pixels(), gray(&[0, 255, 0, 255, 0, 0, 0, 0, 0, 255]));
    // Scanners write 0 for white.
    for (bits, inverted) in [(1, one), (2, two), (4, four)] {
        let expected: Vec<u8> = inverted.picture().pixels().iter().map(|level| 255 - level).collect();
        assert_eq!(Tiff { photometric: 0, ..inverted }.picture().pixels(), expected, "{bits} bits");
    }
}

#[test]
fn ycbcr_becomes_rgb() {
    let stored = [76, 85, 255, 150, 44, 21, 29, 255, 107, 128, 128, 128, 255, 128, 128];
    let expected = [[254u8, 0, 0], [0, 255, 1], [0, 0, 254], [128; 3], [255; 3]];
    let picture = Tiff::new(5, 1, 6, 8, 3, &stored).picture();
    for (found, expected) in picture.pixels().chunks(3).zip(expected) {
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1), "{found:?} {expected:?}");
    }
    // Jpeg data with color at every second pixel.
    let picture = Picture::read(fixture("ycbcr_jpeg.tif"), &Limits::default()).unwrap();
    assert_eq!((picture.width(), picture.height()), (32, 16));
    for (x, expected) in [(3, [200u8, 40, 30]), (28, [20, 60, 210])] {
        let found = &picture.pixels()[(4 * 32 + x) * 3..][..3];
        assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 6), "{found:?} {expected:?}");
    }
}

#[test]
fn extra_samples_of_gray_are_dropped() {
    let eight = Tiff::new(2, 2, 1, 8, 2, &[10, 0, 20, 255, 30, 7, 40, 9]);
    assert_eq!(eight.picture().pixels(), gray(&[10, 20, 30, 40]));
    let sixteen = |little: bool| {
        let level = |value: u16| if little { value.to_le_bytes() } else { value.to_be_bytes() };
        let data: Vec<u8> = [257u16 * 3, 9, 40_000, 9].into_iter().flat_map(level).collect();
        Picture::decode(&Tiff::new(2, 1, 1, 16, 2, &data).bytes(little, false), "a.tif", &Limits::default()).unwrap()
    };
    assert_eq!(sixteen(true).pixels(), gray(&[3, 156]));
    assert_eq!(sixteen(true), sixteen(false));
}

#[test]
fn orientation_is_applied() {
    // The eight orientations of JEITA CP-3451, for the two rows 1 2 3 and 4 5 6.
    let ways: [(usize, [u8; 6]); 8] = [
        (3, [1, 2, 3, 4, 5, 6]),
        (3, [3, 2, 1, 6, 5, 4]),
        (3, [6, 5, 4, 3, 2, 1]),
        (3, [4, 5, 6, 1, 2, 3]),
        (2, [1, 4, 2, 5, 3, 6]),
        (2, [4, 1, 5, 2, 6, 3]),
        (2, [6, 3, 5, 2, 4, 1]),
        (2, [3, 6, 2, 5, 1, 4]),
    ];
    let nibbles = [0x12, 0x30, 0x45, 0x60];
    for (orientation, (width, expected)) in (1u16..).zip(ways) {
        let plain = Tiff { orientation, ..Tiff::new(3, 2, 1, 8, 1, &[17, 34, 51, 68, 85, 102]) };
        let unusual = Tiff { orientation, ..Tiff::new(3, 2, 1, 4, 1, &nibbles) };
        for picture in [plain.picture(), unusual.picture()] {
            assert_eq!(picture.width() as usize, width, "orientation {orientation}");
            assert_eq!(picture.pixels(), gray(&expected.map(|level| level * 17)), "orientation {orientation}");
        }
        let mask = Tiff { orientation, ..Tiff::new(3, 2, 1, 8, 1, &[255, 0, 0, 0, 0, 0]) }.bytes(true, false);
        let mask = Mask::decode(&mask, "mask.tif", MaskRule::White, &Limits::default()).unwrap();
        assert_eq!(mask.pixels(), expected.map(|level| u8::from(level == 1)), "orientation {orientation}");
    }
}

#[test]
fn errors_describe_kinds_that_are_not_read() {
    let twelve = Tiff::new(2, 1, 1, 12, 1, &[0; 3]).error();
    assert!(twelve.contains("gray tiff of 1 x 12 bits") && twelve.contains("convert it to png"), "{twelve}");
    let float = Tiff { format: 3, ..Tiff::new(1, 1, 1, 32, 1, &[0; 4]) }.error();
    assert!(float.contains("32 floating-point bits"), "{float}");
    let wide = Tiff::new(1, 1, 2, 32, 3, &[0; 12]).error();
    assert!(wide.contains("RGB tiff of 3 x 32 bits") && !wide.contains("floating-point"), "{wide}");
    let signed = Tiff { format: 2, ..Tiff::new(1, 1, 1, 16, 1, &[0; 2]) }.error();
    assert!(signed.contains("16 signed bits"), "{signed}");
    let planes = Tiff { planar: 2, ..Tiff::new(1, 1, 6, 8, 3, &[0; 3]) }.error();
    assert!(planes.contains("a plane each"), "{planes}");
    assert!(Tiff::new(1, 1, 9, 8, 3, &[0; 3]).error().contains("Lab"));
}

#[test]
fn a_file_with_truncated_strips_is_damaged() {
    // The directory precedes the samples, so the header can be read.
    let bytes = std::fs::read(fixture("ycbcr_jpeg.tif")).unwrap();
    let short = Tiff { data: vec![9; 4096], ..Tiff::new(64, 64, 1, 8, 1, &[]) }.bytes(true, false);
    let directory = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    for (bytes, at) in [(bytes, directory), (short, 8)] {
        Picture::decode(&bytes, "a.tif", &Limits::default()).unwrap();
        // The number of bytes of the first page, one too many and far too many.
        let count = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let entry = (0..count).map(|index| at + 2 + 12 * index).find(|&entry| bytes[entry..entry + 2] == [0x17, 1]);
        let value = entry.unwrap() + 8;
        for length in [bytes.len() as u16, u16::MAX] {
            let mut beyond = bytes.clone();
            beyond[value..value + 2].copy_from_slice(&length.to_le_bytes());
            let error = Picture::decode(&beyond, "a.tif", &Limits::default()).unwrap_err();
            assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("ends at byte"), "{error}");
        }
    }
}

#[test]
fn limits_and_damage_are_errors_for_all_kinds() {
    let palette = Tiff { palette: vec![7; 12], ..Tiff::new(8, 8, 3, 2, 1, &[0x1b; 16]) };
    let bytes = palette.bytes(false, false);
    let limits = Limits::default();
    assert!(Picture::decode(&bytes, "a.tif", &limits).is_ok());
    for (limits, unit) in
        [(limits.with_pixels(63), "pixels"), (limits.with_memory(64 * 3), "bytes of memory to decode")]
    {
        let error = Picture::decode(&bytes, "a.tif", &limits).unwrap_err();
        assert!(matches!(error, Error::TooLarge { unit: found, .. } if found == unit), "{error}");
    }
    for end in 0..bytes.len() {
        let _ = Picture::decode(&bytes[..end], "cut.tif", &limits);
        for value in [0, 1, 3, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[end] = value;
            let _ = Picture::decode(&damaged, "damaged.tif", &limits);
        }
    }
    // The `image` crate reads the file written above.
    let gray = Tiff::new(2, 1, 1, 8, 1, &[3, 4]).bytes(false, false);
    assert_eq!(image::ImageReader::new(Cursor::new(gray)).with_guessed_format().unwrap().decode().unwrap().width(), 2);
}
