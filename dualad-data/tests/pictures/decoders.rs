//! Image files that differ from their formats in ways that other programs accept, and kinds that are named in errors.

use std::io::Cursor;

use crate::support::Tree;
use dualad_data::Error;
use dualad_data::image::{Limits, Picture};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode(bytes, "some.jpg", &Limits::default()).unwrap()
}

fn error(bytes: &[u8]) -> Error {
    Picture::decode(bytes, "some.jpg", &Limits::default()).unwrap_err()
}

fn gray(levels: &[u8]) -> Vec<u8> {
    levels.iter().flat_map(|&level| [level; 3]).collect()
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Jpeg files in gray and color, with the Huffman tables of the standard.
fn jpegs() -> [Vec<u8>; 2] {
    let color = RgbImage::from_fn(70, 45, |x, y| Rgb([(x * y) as u8, (x * 3) as u8, (y * 5) as u8]));
    let levels = GrayImage::from_fn(33, 50, |x, y| Luma([(x * y / 3) as u8]));
    [encode(color, ImageFormat::Jpeg), encode(levels, ImageFormat::Jpeg)]
}

/// Returns the positions and lengths of the segments with this marker before the codes.
fn segments(jpeg: &[u8], marker: u8) -> Vec<(usize, usize)> {
    let (mut at, mut found) = (2, Vec::new());
    while jpeg[at + 1] != 0xda {
        let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == marker {
            found.push((at, length));
        }
        at += length;
    }
    found
}

#[test]
fn a_jpeg_without_huffman_tables_has_those_of_the_standard() {
    for whole in jpegs() {
        let mut frame = whole.clone();
        for (at, length) in segments(&whole, 0xc4).into_iter().rev() {
            frame.drain(at..at + length);
        }
        assert!(frame.len() + 150 < whole.len());
        assert_eq!(decode(&frame), decode(&whole));
        let path = Tree::new().write("frame.jpg", &frame);
        assert!(Picture::read(path, &Limits::default()).is_err(), "the folder is gone");
        let tree = Tree::new();
        let path = tree.write("frame.jpg", &frame);
        assert_eq!(Picture::read_size(path, &Limits::default()).unwrap().0, decode(&whole).width());
        // Truncated codes are damage here, too.
        frame.truncate(frame.len() / 2);
        assert!(matches!(error(&frame), Error::Decode { .. }));
    }
}

#[test]
fn a_jpeg_without_one_huffman_table_has_that_of_the_standard() {
    for whole in jpegs() {
        let found = segments(&whole, 0xc4);
        let tables: Vec<u8> = found.iter().flat_map(|&(at, length)| whole[at + 4..at + length].to_vec()).collect();
        // Each table by itself.
        let (mut rest, mut all) = (&tables[..], Vec::new());
        while !rest.is_empty() {
            let length = 17 + rest[1..17].iter().map(|&count| usize::from(count)).sum::<usize>();
            all.push(&rest[..length]);
            rest = &rest[length..];
        }
        assert!(all.len() > 1);
        for missing in 0..all.len() {
            let mut frame = whole.clone();
            for &(at, length) in found.iter().rev() {
                frame.drain(at..at + length);
            }
            for (_, table) in all.iter().enumerate().filter(|(index, _)| *index != missing) {
                let segment = [&[0xff, 0xc4][..], &(2 + table.len() as u16).to_be_bytes(), table].concat();
                frame.splice(found[0].0..found[0].0, segment);
            }
            assert_eq!(decode(&frame), decode(&whole), "table {missing}");
        }
    }
}

#[test]
fn a_jpeg_without_its_end_marker_is_read_if_it_is_complete() {
    for whole in jpegs() {
        let codes = whole.len() - 2;
        assert_eq!(decode(&whole[..codes]), decode(&whole));
        assert_eq!(decode(&whole[..codes + 1]), decode(&whole));
        for cut in [4, 40, 200] {
            let error = error(&whole[..codes - cut]);
            assert!(matches!(error, Error::Decode { .. }), "{error}");
            assert!(error.to_string().contains("ends in the middle"), "{error}");
        }
    }
}

#[test]
fn the_height_of_a_jpeg_may_follow_the_scan() {
    for whole in jpegs() {
        let (frame, _) = segments(&whole, 0xc0)[0];
        let height = [whole[frame + 5], whole[frame + 6]];
        let with = |lines: [u8; 2], in_header: [u8; 2], end: &[u8]| {
            let mut bytes = whole[..whole.len() - 2].to_vec();
            bytes[frame + 5..frame + 7].copy_from_slice(&in_header);
            bytes.extend([0xff, 0xdc, 0, 4, lines[0], lines[1]]);
            bytes.extend(end);
            bytes
        };
        let end = [0xff, 0xd9];
        assert_eq!(decode(&with(height, height, &end)), decode(&whole));
        assert_eq!(decode(&with(height, height, &[])), decode(&whole));
        assert_eq!(decode(&with(height, [0; 2], &end)), decode(&whole));
        let tree = Tree::new();
        let path = tree.write("lines.jpg", with(height, [0; 2], &end));
        let size = Picture::read_size(path, &Limits::default()).unwrap();
        assert_eq!(size, (decode(&whole).width(), decode(&whole).height()));
        let mut none = whole.clone();
        none[frame + 5..frame + 7].copy_from_slice(&[0; 2]);
        for none in [none, with([0; 2], [0; 2], &end)] {
            let error = error(&none);
            assert!(matches!(error, Error::Decode { .. }) && error.to_string().contains("height"), "{error}");
        }
        // The codes are too few for the lines.
        assert!(matches!(error(&with([9, 0], [0; 2], &end)), Error::Decode { .. }));
    }
}

#[test]
fn bytes_between_the_segments_of_a_jpeg_are_skipped() {
    for whole in jpegs() {
        for (at, _) in segments(&whole, 0xdb) {
            let mut bytes = whole.clone();
            bytes.splice(at..at, [0u8; 600]);
            assert_eq!(decode(&bytes), decode(&whole));
            bytes.drain(bytes.len() - 60..bytes.len() - 2);
            assert!(matches!(error(&bytes), Error::Decode { .. }));
        }
    }
}

#[test]
fn kinds_of_jpeg_that_are_not_read_are_named() {
    let [color, _] = jpegs();
    let (frame, _) = segments(&color, 0xc0)[0];
    for (marker, name) in [(0xc3, "lossless"), (0xc6, "hierarchical"), (0xc9, "arithmetic"), (0xf7, "JPEG-LS")] {
        let mut other = color.clone();
        other[frame + 1] = marker;
        let error = error(&other);
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(name), "{error}");
    }
    let mut deep = color.clone();
    deep[frame + 4] = 12;
    let error = error(&deep);
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("12 bits"), "{error}");
}

/// A bmp with an INFO header, and rows from the bottom up.
fn bmp(width: u32, bits: u16, palette: &[[u8; 4]], used: u32, offset: u32, rows: &[u8]) -> Vec<u8> {
    let stride = (width * u32::from(bits)).div_ceil(32) * 4;
    let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(offset.to_le_bytes());
    for number in [40, width, rows.len() as u32 / stride] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0]);
    bytes.extend(bits.to_le_bytes());
    for number in [0, 0, 0, 0, used, 0u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(palette.as_flattened());
    bytes.extend(rows);
    bytes
}

#[test]
fn the_pixels_of_a_bmp_begin_after_its_header_and_palette() {
    let grays: Vec<[u8; 4]> = (0..=255).map(|level| [level, level, level, 0]).collect();
    let rows: Vec<u8> = (0..8 * 5).map(|at| at * 6).collect();
    let upright: Vec<u8> = rows.chunks(8).rev().flat_map(gray).collect();
    for offset in [54 + 1024, 54, 0, 14, 40, 54 + 1024 + 900] {
        assert_eq!(decode(&bmp(8, 8, &grays, 0, offset, &rows)).pixels(), upright, "{offset}");
        assert_eq!(decode(&bmp(8, 8, &grays, 256, offset, &rows)).pixels(), upright, "{offset}");
    }
    // A shorter palette than the header says is not an error: the offset is right.
    let short = bmp(8, 8, &grays[..240], 0, 54 + 4 * 240, &rows);
    assert_eq!(decode(&short).pixels(), upright);
    // A longer palette than the header says.
    assert_eq!(decode(&bmp(8, 8, &grays, 10, 54 + 1024, &rows)).pixels(), upright);
    // Without a plane.
    let mut none = bmp(8, 8, &grays, 0, 54 + 1024, &rows);
    none[26] = 0;
    assert_eq!(decode(&none).pixels(), upright);
    // Color without a palette.
    let color: Vec<u8> = (0..24 * 5).collect();
    let expected = decode(&bmp(8, 24, &[], 0, 54, &color));
    for offset in [0, 14, 50, 1078] {
        assert_eq!(decode(&bmp(8, 24, &[], 0, offset, &color)), expected, "{offset}");
    }
    // There may be data between the palette and the pixels.
    assert_eq!(decode(&bmp(8, 24, &[[9; 4]; 20], 0, 54 + 80, &color)), expected);
    // A palette that is missing.
    assert!(matches!(error(&bmp(8, 8, &[], 0, 54, &rows)), Error::Decode { .. }));
}

#[test]
fn the_last_row_of_a_bmp_needs_no_padding() {
    // Three bytes of padding.
    let rows: Vec<u8> = (0..12 * 4).collect();
    let whole = bmp(3, 24, &[], 0, 54, &rows);
    for missing in 1..=3 {
        assert_eq!(decode(&whole[..whole.len() - missing]), decode(&whole), "{missing}");
    }
    assert!(matches!(error(&whole[..whole.len() - 4]), Error::Decode { .. }));
}

#[test]
fn a_png_needs_no_end_chunk() {
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
    let whole = encode(image, ImageFormat::Png);
    for missing in [1, 4, 7, 11, 12] {
        assert_eq!(decode(&whole[..whole.len() - missing]), decode(&whole), "{missing}");
    }
    for missing in [13, 20, 100] {
        assert!(matches!(error(&whole[..whole.len() - missing]), Error::Decode { .. }), "{missing}");
    }
}

#[test]
fn pnm_files_are_read_in_all_their_kinds() {
    assert_eq!(decode(b"P5\n# GIMP\n3 1\n255\n\x00\x80\xff").pixels(), gray(&[0, 128, 255]));
    assert_eq!(decode(b"P6 2 1 255 \x01\x02\x03\x04\x05\x06").pixels(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(decode(b"P2\n2 2\n15\n0 15\n5 10\n").pixels(), gray(&[0, 255, 85, 170]));
    // A bit of 1 is black.
    assert_eq!(decode(b"P4\n10 1\n\xa0\x40").pixels(), gray(&[0, 255, 0, 255, 255, 255, 255, 255, 255, 0]));
    // The largest value of 12-bit cameras is white.
    assert_eq!(decode(b"P5\n3 1\n4095\n\x00\x00\x08\x00\x0f\xff").pixels(), gray(&[0, 128, 255]));
    assert!(matches!(error(b"P5\n30 10\n255\nshort"), Error::Decode { .. }));
    assert!(matches!(error(b"P5\n900000 900000\n255\n"), Error::TooLarge { .. }));
}

#[test]
fn a_gif_with_a_large_frame_keeps_to_the_limit() {
    let image = RgbImage::from_fn(8, 8, |x, y| Rgb([(x * 30) as u8, (y * 30) as u8, 0]));
    let mut bytes = encode(image, ImageFormat::Gif);
    assert_eq!(decode(&bytes).width(), 8);
    // The image descriptor: a frame of 65535 x 65535 pixels.
    let at = bytes.windows(10).position(|part| part == [0x2c, 0, 0, 0, 0, 8, 0, 8, 0, part[9]]).unwrap();
    bytes[at + 5..at + 9].fill(0xff);
    let error = error(&bytes);
    assert!(matches!(error, Error::TooLarge { .. } | Error::Decode { .. }), "{error}");
}

#[test]
fn an_app14_segment_of_another_program_does_not_change_the_colors() {
    for whole in jpegs() {
        let text = b"http://ns.adobe.com/xap/1.0/\0";
        let mut other = whole[..2].to_vec();
        other.extend([0xff, 0xee, 0, 2 + text.len() as u8]);
        other.extend(text);
        other.extend(&whole[2..]);
        assert_eq!(decode(&other), decode(&whole));
    }
}

#[test]
fn quantization_tables_of_a_jpeg_may_have_16_bits() {
    for whole in jpegs() {
        let mut deep = whole.clone();
        for (at, length) in segments(&whole, 0xdb).into_iter().rev() {
            let tables = whole[at + 4..at + length].chunks(65).flat_map(|table| {
                std::iter::once(0x10 | table[0]).chain(table[1..].iter().flat_map(|&value| [0, value]))
            });
            let tables: Vec<u8> = tables.collect();
            let mut segment = vec![0xff, 0xdb];
            segment.extend((2 + tables.len() as u16).to_be_bytes());
            segment.extend(tables);
            deep.splice(at..at + length, segment);
        }
        assert!(deep.len() >= whole.len() + 64);
        assert_eq!(decode(&deep), decode(&whole));
    }
}

#[test]
fn the_first_of_two_images_in_a_jpeg_is_read() {
    let [color, gray] = jpegs();
    assert_eq!(decode(&[&color[..], &gray].concat()), decode(&color));
}

/// A png in gray whose rows are in blocks that are not compressed.
fn stored_png(width: u32, height: u32, data: &[u8], checksum: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01, 1];
    stream.extend((data.len() as u16).to_le_bytes());
    stream.extend((!(data.len() as u16)).to_le_bytes());
    stream.extend(data);
    stream.extend(checksum);
    let mut bytes = Vec::new();
    let mut writer = png::Encoder::new(&mut bytes, width, height).write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &stream).unwrap();
    drop(writer);
    bytes
}

#[test]
fn a_png_may_have_more_data_than_pixels_and_a_wrong_checksum() {
    let (width, height) = (9, 7);
    let levels: Vec<u8> = (0..width * height).map(|at| (at * 4) as u8).collect();
    // The filter of a row is before it.
    let rows: Vec<u8> = levels.chunks(9).flat_map(|row| std::iter::once(0).chain(row.iter().copied())).collect();
    let adler = |data: &[u8]| {
        let (one, other) = data.iter().fold((1_u32, 0_u32), |(one, other), &byte| {
            let one = (one + u32::from(byte)) % 65521;
            (one, (other + one) % 65521)
        });
        (other << 16 | one).to_be_bytes()
    };
    let more = [&rows[..], &[0; 400]].concat();
    for (name, data, checksum) in [
        ("as it should be", &rows, &adler(&rows)[..]),
        ("more data", &more, &adler(&more)),
        ("a wrong checksum", &rows, &[1, 2, 3, 4]),
        ("no checksum", &rows, &[]),
    ] {
        assert_eq!(decode(&stored_png(width, height, data, checksum)).pixels(), gray(&levels), "{name}");
    }
    // Less data than pixels is damage.
    let less = &rows[..rows.len() - 20];
    assert!(matches!(error(&stored_png(width, height, less, &adler(less))), Error::Decode { .. }));
}

#[test]
fn a_bmp_from_the_top_down_or_without_opacity_or_with_a_long_header_is_read() {
    let (width, height) = (5_u32, 3_u32);
    let pixel = |x: u32, y: u32| [(x * 40) as u8, (y * 70) as u8, (x * y * 20) as u8];
    let upright: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
    // Blue is first. A row of 24 bits is filled to 16 bytes.
    let row = |y: u32, alpha: Option<u8>| {
        let of_pixel = move |x: u32| {
            let [red, green, blue] = pixel(x, y);
            [blue, green, red].into_iter().chain(alpha)
        };
        (0..width).flat_map(of_pixel).chain(alpha.is_none().then_some(0)).collect::<Vec<u8>>()
    };
    let from_top: Vec<u8> = (0..height).flat_map(|y| row(y, None)).collect();
    let mut top_down = bmp(width, 24, &[], 0, 54, &from_top);
    top_down[22..26].copy_from_slice(&(-(height as i32)).to_le_bytes());
    assert_eq!(decode(&top_down).pixels(), upright);

    let from_bottom = |alpha| (0..height).rev().flat_map(|y| row(y, Some(alpha))).collect::<Vec<u8>>();
    assert_eq!(decode(&bmp(width, 32, &[], 0, 54, &from_bottom(0))).pixels(), upright);

    // A header of version 5 has masks of the colors, and a color space.
    let short = bmp(width, 32, &[], 0, 138, &from_bottom(255));
    let mut long = short[..54].to_vec();
    long[14..18].copy_from_slice(&124_u32.to_le_bytes());
    long[30..34].copy_from_slice(&3_u32.to_le_bytes());
    for mask in [0xff_0000_u32, 0xff00, 0xff, 0xff00_0000] {
        long.extend(mask.to_le_bytes());
    }
    long.extend(b"BGRs");
    long.resize(138, 0);
    long.extend(&short[54..]);
    assert_eq!(decode(&long).pixels(), upright);
}
