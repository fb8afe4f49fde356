//! Decoding of every kind of image file, and the errors for damaged files.

use std::io::Cursor;

use crate::support::{FORMATS, Tree, fixture, png};
use dualad_data::image::{Limits, Mask, Picture};
use dualad_data::{Error, MaskRule};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use png::{BitDepth, ColorType};

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode(bytes, "picture", &Limits::default()).unwrap()
}

fn error(bytes: &[u8]) -> Error {
    let error = Picture::decode(bytes, "some/picture.png", &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("some/picture.png"), "{error}");
    error
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn rgb() -> ImageBuffer<Rgb<u8>, Vec<u8>> {
    ImageBuffer::from_fn(5, 3, |x, y| Rgb([x as u8 * 40, y as u8 * 90, 255 - x as u8]))
}

#[test]
fn lossless_formats_decode_exactly() {
    let expected = rgb();
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Pnm] {
        let picture = decode(&encode(expected.clone(), format));
        assert_eq!((picture.width(), picture.height()), (5, 3), "{format:?}");
        assert_eq!(picture.pixels(), expected.as_raw().as_slice(), "{format:?}");
    }
}

#[test]
fn jpeg_decodes_approximately() {
    let gray = ImageBuffer::from_pixel(16, 16, Rgb([90u8, 120, 200]));
    let picture = decode(&encode(gray, ImageFormat::Jpeg));
    for pixel in picture.pixels().chunks(3) {
        let off = pixel.iter().zip([90u8, 120, 200]).map(|(a, b)| a.abs_diff(b)).max();
        assert!(off <= Some(4), "{pixel:?}");
    }
    let gray: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_pixel(9, 9, Luma([77u8]));
    assert!(decode(&encode(gray, ImageFormat::Jpeg)).pixels().iter().all(|level| level.abs_diff(77) <= 1));
}

#[test]
fn gray_becomes_rgb() {
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        let gray = ImageBuffer::from_fn(4, 2, |x, y| Luma([(x * 50 + y) as u8]));
        let picture = decode(&encode(gray.clone(), format));
        let expected: Vec<u8> = gray.as_raw().iter().flat_map(|&level| [level; 3]).collect();
        assert_eq!(picture.pixels(), expected, "{format:?}");
    }
    let with_alpha = png(2, 1, ColorType::GrayscaleAlpha, BitDepth::Eight, &[], &[10, 0, 20, 255]);
    assert_eq!(decode(&with_alpha).pixels(), [10, 10, 10, 20, 20, 20]);
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    // 65535 / 255 = 257, and 128 is half a level, which rounds up.
    let levels = [0u16, 127, 129, 257, 40_000, 65_535];
    let expected = [0u8, 0, 1, 1, 156, 255];
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let gray = ImageBuffer::<Luma<u16>, _>::from_vec(6, 1, levels.to_vec()).unwrap();
        let picture = decode(&encode(gray, format));
        assert_eq!(picture.pixels(), expected.iter().flat_map(|&level| [level; 3]).collect::<Vec<_>>(), "{format:?}");
        let color = ImageBuffer::<Rgb<u16>, _>::from_vec(2, 1, levels.to_vec()).unwrap();
        assert_eq!(decode(&encode(color, format)).pixels(), expected, "{format:?}");
    }
}

#[test]
fn alpha_is_dropped() {
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP] {
        let image = ImageBuffer::from_fn(3, 2, |x, y| Rgba([x as u8 * 9, y as u8 * 9, 7, 100 + x as u8]));
        let picture = decode(&encode(image.clone(), format));
        let expected: Vec<u8> = image.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        assert_eq!(picture.pixels(), expected, "{format:?}");
    }
}

#[test]
fn a_palette_becomes_its_colors() {
    let palette = [255, 0, 0, 0, 255, 0, 1, 2, 3, 250, 251, 252];
    let eight = png(3, 1, ColorType::Indexed, BitDepth::Eight, &palette, &[2, 0, 1]);
    assert_eq!(decode(&eight).pixels(), [1, 2, 3, 255, 0, 0, 0, 255, 0]);
    let two = png(3, 1, ColorType::Indexed, BitDepth::Two, &palette, &[0b11_00_01_00]);
    assert_eq!(decode(&two).pixels(), [250, 251, 252, 255, 0, 0, 0, 255, 0]);
}

#[test]
fn levels_of_few_bits_are_scaled_to_eight() {
    let one = png(4, 1, ColorType::Grayscale, BitDepth::One, &[], &[0b0101_0000]);
    assert_eq!(decode(&one).pixels(), [0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255]);
    let four = png(2, 1, ColorType::Grayscale, BitDepth::Four, &[], &[0x0f]);
    assert_eq!(decode(&four).pixels(), [0, 0, 0, 255, 255, 255]);
}

/// A jpeg with an APP1 segment whose only entry is the orientation.
fn oriented(orientation: u8) -> Vec<u8> {
    let image = ImageBuffer::from_fn(32, 16, |x, y| match (x < 16, y < 8) {
        (true, true) => Rgb([250u8, 10, 10]),
        (false, true) => Rgb([10, 250, 10]),
        _ => Rgb([10, 10, 10]),
    });
    let jpeg = encode(image, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn exif_orientation_is_applied() {
    // The upright corners of the start (red) and the end (green) of the first stored row: JEITA CP-3451, tag 274.
    let corners = [
        ("tl", "tr"),
        ("tr", "tl"),
        ("br", "bl"),
        ("bl", "br"),
        ("tl", "bl"),
        ("tr", "br"),
        ("br", "tr"),
        ("bl", "tl"),
    ];
    for (orientation, (red, green)) in (1u8..).zip(corners) {
        let picture = decode(&oriented(orientation));
        let size = if orientation < 5 { (32, 16) } else { (16, 32) };
        assert_eq!((picture.width(), picture.height()), size, "orientation {orientation}");
        for (corner, channel) in [(red, 0), (green, 1)] {
            let x = if corner.ends_with('l') { 1 } else { size.0 as usize - 2 };
            let y = if corner.starts_with('t') { 1 } else { size.1 as usize - 2 };
            let pixel = &picture.pixels()[(y * size.0 as usize + x) * 3..][..3];
            assert!(pixel[channel] > 200, "orientation {orientation}: {pixel:?} at {corner}");
        }
    }
    // An invalid orientation is ignored.
    assert_eq!(decode(&oriented(77)).width(), 32);
}

#[test]
fn orientation_in_png_and_webp_is_applied() {
    use image::ImageEncoder;
    use image::codecs::{png::PngEncoder, webp::WebPEncoder};

    let image = rgb();
    // A rotation by 90 degrees, in a TIFF directory with one entry, as in both formats.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let (mut png, mut webp) = (Vec::new(), Vec::new());
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif.clone()).unwrap();
    encoder.write_image(&image, 5, 3, image::ExtendedColorType::Rgb8).unwrap();
    let mut encoder = WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(&image, 5, 3, image::ExtendedColorType::Rgb8).unwrap();
    let rotated = image::imageops::rotate90(&image);
    for (format, bytes) in [("png", png), ("webp", webp)] {
        let picture = decode(&bytes);
        assert_eq!((picture.width(), picture.height()), (3, 5), "{format}");
        assert_eq!(picture.pixels(), rotated.as_raw().as_slice(), "{format}");
    }
}

#[test]
fn a_bmps_palette_becomes_its_colors() {
    // A BITMAPINFOHEADER with 8 bits, four colors (blue first), and rows of 4 bytes from the bottom up.
    let mut bytes = b"BM".to_vec();
    for number in [14 + 40 + 16 + 8, 0, 14 + 40 + 16, 40, 3, 2u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 8, 0]);
    for number in [0, 8, 0, 0, 4, 0u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([3, 2, 1, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0]);
    bytes.extend([0, 1, 2, 0, 3, 3, 0, 0]);
    let expected = [[0, 0, 255], [0, 0, 255], [1, 2, 3], [1, 2, 3], [255, 0, 0], [0, 255, 0u8]];
    assert_eq!(decode(&bytes).pixels(), expected.as_flattened());
}

#[test]
fn damaged_jpeg_codes_are_errors() {
    let image = ImageBuffer::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x * 4) as u8, (y * 4) as u8]));
    let bytes = encode(image, ImageFormat::Jpeg);
    let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
    let (mut found, mut shown) = (0, 0);
    for position in scan..bytes.len() - 3 {
        if bytes[position - 1..position + 2].contains(&0xff) {
            continue;
        }
        for value in [0x00, 0x55, 0xaa, 0xfe] {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            let strict = Picture::decode(&damaged, "damaged.jpg", &Limits::default());
            let lenient = image::load_from_memory(&damaged);
            assert!(lenient.is_ok() || strict.is_err());
            if let Err(error) = strict {
                assert!(matches!(error, Error::Decode { .. }), "{error}");
                found += 1;
                shown += usize::from(lenient.is_ok());
            }
        }
    }
    assert!(shown > 0, "none of {found} errors is one that another decoder passes over");
}

/// Decoders fill missing parts with gray, and an end marker hides the damage.
#[test]
fn truncated_jpeg_codes_are_errors() {
    for (width, height) in [(64, 64), (200, 120)] {
        let image = ImageBuffer::from_fn(width, height, |x, y| Rgb([(x * y) as u8, (x * 4) as u8, (y * 4) as u8]));
        let bytes = encode(image, ImageFormat::Jpeg);
        decode(&bytes);
        let marker = |kind| bytes.windows(2).position(|pair| pair == [0xff, kind]).unwrap();
        let (start, end) = (marker(0xda) + 14, bytes.len() - 2);
        for part in 1..8 {
            let mut cut = bytes[..start + (end - start) * part / 8].to_vec();
            if cut.ends_with(&[0xff]) {
                cut.pop();
            }
            cut.extend([0xff, 0xd9]);
            assert!(matches!(error(&cut), Error::Decode { .. }), "{part}");
        }
        let mut last = bytes[..end - 4].to_vec();
        last.extend([0xff, 0xd9]);
        assert!(matches!(error(&last), Error::Decode { .. }));
        // A height and a width for which the codes are too short.
        let frame = marker(0xc0);
        for (at, value) in [(frame + 5, 2 * height as u16), (frame + 7, 2 * width as u16)] {
            let mut larger = bytes.clone();
            larger[at..at + 2].copy_from_slice(&value.to_be_bytes());
            assert!(matches!(error(&larger), Error::Decode { .. }));
        }
        // Missing restarts.
        let mut restarts = bytes.clone();
        restarts.splice(2..2, [0xff, 0xdd, 0, 4, 0, 1]);
        assert!(error(&restarts).to_string().contains("restart"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn files_of_length_zero_are_not_read() {
    // A file of the kernel. Reading others may never end.
    let error = Picture::read("/proc/self/status", &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::EmptyFile { .. }), "{error}");
}

#[test]
fn cmyk_becomes_rgb() {
    let picture = Picture::read(fixture("cmyk.jpg"), &Limits::default()).unwrap();
    let row = &picture.pixels()[4 * 8 * 3..][..8 * 3];
    let (cyan, white) = (&row[..3], &row[21..]);
    assert!(cyan[0] < 8 && cyan[1] > 247 && cyan[2] > 247, "{cyan:?}");
    assert!(white.iter().all(|&level| level > 247), "{white:?}");
}

#[test]
fn the_first_frame_of_an_animation_is_read() {
    for name in ["animated.webp", "animated.gif"] {
        let picture = Picture::read(fixture(name), &Limits::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), (8, 8), "{name}");
        assert_eq!(picture.pixels()[..3], [200, 30, 30], "{name}");
    }
}

#[test]
fn the_format_is_detected_by_content() {
    let tree = Tree::new();
    let path = tree.write("really.jpg", encode(rgb(), ImageFormat::Png));
    assert_eq!(Picture::read(path, &Limits::default()).unwrap().width(), 5);
    let jpeg = tree.write("photo.jfif", encode(rgb(), ImageFormat::Jpeg));
    assert_eq!(Picture::read(jpeg, &Limits::default()).unwrap().width(), 5);
    let text = error(b"just some words, and no picture");
    assert!(matches!(text, Error::Decode { .. }), "{text}");
}

#[test]
fn odd_sizes_decode() {
    let dot = png(1, 1, ColorType::Rgb, BitDepth::Eight, &[], &[1, 2, 3]);
    assert_eq!(decode(&dot).pixels(), [1, 2, 3]);
    let line = png(20_000, 1, ColorType::Grayscale, BitDepth::Eight, &[], &[5; 20_000]);
    assert_eq!(decode(&line).width(), 20_000);
}

#[test]
fn errors_name_damaged_files_and_nothing_panics() {
    assert!(matches!(error(b""), Error::EmptyFile { .. }));
    for format in FORMATS {
        let bytes = encode(ImageBuffer::from_fn(40, 30, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])), format);
        for end in 1..bytes.len() {
            // A decoder may not need the last bytes, like that of jpeg, but must not panic.
            let result = Picture::decode(&bytes[..end], "cut", &Limits::default());
            if end < bytes.len() / 3 {
                assert!(result.is_err(), "{format:?} cut to {end} of {} bytes", bytes.len());
            }
        }
        for position in 0..bytes.len().min(400) {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] = value;
                let _ = Picture::decode(&damaged, "damaged", &Limits::default());
            }
        }
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    for format in FORMATS {
        let image = ImageBuffer::from_fn(200, 200, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
        let bytes = encode(image, format);
        for percent in [10, 50, 90] {
            let error = error(&bytes[..bytes.len() * percent / 100]);
            assert!(matches!(error, Error::Decode { .. }), "{format:?} at {percent} %: {error}");
        }
    }
}

#[test]
fn a_webp_that_is_shorter_than_its_header_tells_is_an_error() {
    let image = ImageBuffer::from_fn(200, 200, |x, y| Rgb([(x * y) as u8, x as u8, y as u8]));
    for bytes in [encode(image, ImageFormat::WebP), std::fs::read(fixture("animated.webp")).unwrap()] {
        decode(&bytes[..bytes.len() - 1]);
        for missing in [2, 3, 20, bytes.len() / 10] {
            let error = error(&bytes[..bytes.len() - missing]);
            assert!(matches!(error, Error::Decode { .. }), "{missing}: {error}");
        }
    }
}

#[test]
fn bytes_after_the_end_of_a_jpeg_are_ignored() {
    let mut bytes = encode(rgb(), ImageFormat::Jpeg);
    bytes.extend(b"a camera's own data");
    assert_eq!(decode(&bytes).width(), 5);
}

#[test]
fn a_decompression_bomb_is_an_error_before_decoding() {
    let mut bomb = Vec::new();
    let mut encoder = png::Encoder::new(&mut bomb, 50_000, 50_000);
    encoder.set_color(ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 1, 0, 0, 0xff, 0xff]).unwrap();
    drop(writer);
    let error = error(&bomb);
    let Error::TooLarge { unit, found, limit, .. } = &error else { panic!("{error}") };
    assert_eq!((*unit, *found, *limit), ("pixels", 2_500_000_000, 100_000_000));

    // The header of a bmp may declare as many pixels.
    let mut bmp = encode(rgb(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000i32.to_le_bytes());
    assert!(Picture::decode(&bmp, "bomb", &Limits::default()).is_err());
}

#[test]
fn the_limits_of_the_caller_apply() {
    let tree = Tree::new();
    let path = tree.picture("a.png", 20, 10, 0);
    assert!(Picture::read(&path, &Limits::default().with_pixels(200)).is_ok());
    let pixels = Picture::read(&path, &Limits::default().with_pixels(199)).unwrap_err();
    assert!(matches!(pixels, Error::TooLarge { unit: "pixels", found: 200, limit: 199, .. }), "{pixels}");
    let memory = Picture::read(&path, &Limits::default().with_memory(599)).unwrap_err();
    assert!(matches!(memory, Error::TooLarge { unit: "bytes of memory to decode", limit: 599, .. }), "{memory}");
    let bytes = Picture::read(&path, &Limits::default().with_file_bytes(20)).unwrap_err();
    assert!(matches!(bytes, Error::TooLarge { unit: "bytes", limit: 20, .. }), "{bytes}");
}

#[test]
fn only_regular_files_are_read() {
    let tree = Tree::new();
    let mut paths = vec![tree.root().to_path_buf(), tree.path("missing.png")];
    if cfg!(unix) {
        // Reading this file never ends.
        paths.push("/dev/zero".into());
    }
    for path in paths {
        let error = Picture::read(&path, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn floating_point_samples_are_refused() {
    let image = ImageBuffer::<Rgb<f32>, _>::from_pixel(2, 2, Rgb([0.5f32, 100.0, -1.0]));
    let error = error(&encode(DynamicImage::ImageRgb32F(image), ImageFormat::Tiff));
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn masks_are_read_by_their_rule() {
    let mask = |bytes: &[u8], rule| Mask::decode(bytes, "mask", rule, &Limits::default()).unwrap().pixels().to_vec();
    let levels = [0, 1, 128, 254, 255];
    let gray = png(5, 1, ColorType::Grayscale, BitDepth::Eight, &[], &levels);
    assert_eq!(mask(&gray, MaskRule::White), [0, 0, 0, 0, 1]);
    assert_eq!(mask(&gray, MaskRule::NonZero), [0, 1, 1, 1, 1]);
    let color = png(3, 1, ColorType::Rgb, BitDepth::Eight, &[], &[0, 0, 0, 0, 0, 1, 255, 255, 255]);
    assert_eq!(mask(&color, MaskRule::White), [0, 0, 1]);
    assert_eq!(mask(&color, MaskRule::NonZero), [0, 1, 1]);
    let bits = png(2, 1, ColorType::Grayscale, BitDepth::One, &[], &[0b0100_0000]);
    assert_eq!(mask(&bits, MaskRule::White), [0, 1]);
    let sixteen = png(2, 1, ColorType::Grayscale, BitDepth::Sixteen, &[], &[0, 0, 255, 255]);
    assert_eq!(mask(&sixteen, MaskRule::White), [0, 1]);
    // The rule applies at the depth of the file: 1 and 128 of 65535 are not 0, and 65534 is not white.
    let deep = [0, 0, 0, 1, 0, 128, 255, 254, 255, 255];
    let deep = png(5, 1, ColorType::Grayscale, BitDepth::Sixteen, &[], &deep);
    assert_eq!(mask(&deep, MaskRule::White), [0, 0, 0, 0, 1]);
    assert_eq!(mask(&deep, MaskRule::NonZero), [0, 1, 1, 1, 1]);
}

#[test]
fn pixels_must_match_the_size() {
    assert!(Picture::new(2, 2, vec![0; 12]).is_ok());
    assert!(matches!(Picture::new(2, 2, vec![0; 11]), Err(Error::Value { field: "pixels", .. })));
    assert!(Picture::new(0, 2, vec![]).is_err());
    assert!(Mask::new(u32::MAX, u32::MAX, vec![]).is_err());
}

#[test]
fn pictures_convert_to_the_image_crate_and_back() {
    let image = rgb();
    let picture = Picture::try_from(image.clone()).unwrap();
    assert_eq!((picture.width(), picture.height(), picture.pixels()), (5, 3, image.as_raw().as_slice()));
    assert_eq!(dualad_data::image::RgbImage::from(picture), image);
    let error = Picture::try_from(image::RgbImage::new(0, 4)).unwrap_err();
    assert!(matches!(error, Error::Value { .. }), "{error}");
    // A buffer may be longer than its image.
    let long = image::RgbImage::from_raw(1, 1, vec![1, 2, 3, 4, 5]).unwrap();
    assert_eq!(Picture::try_from(long).unwrap().pixels(), [1, 2, 3]);
    let mask = image::GrayImage::from(Mask::new(2, 1, vec![1, 0]).unwrap());
    assert_eq!(mask.as_raw().as_slice(), [255, 0]);
}
