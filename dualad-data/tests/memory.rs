//! The memory of decoding stays within its limit, as measured by the system.

mod support;

use std::io::Cursor;

use dualad_data::Error;
use dualad_data::image::{Limits, Picture};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};

/// A size for which the allocator requests each buffer from the system, and does not reuse freed memory.
const WIDTH: u32 = 4500;
const HEIGHT: u32 = 3000;

/// Returns the peak memory of the process since [`forget_peak`], in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

fn forget_peak() -> Option<()> {
    std::fs::write("/proc/self/clear_refs", "5").ok()
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Adds an APP1 segment with a rotation by 90 degrees.
fn rotated(jpeg: &[u8]) -> Vec<u8> {
    let mut exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06".to_vec();
    exif.resize(2 + 0x22, 0);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
#[allow(clippy::print_stderr)] // A test that did nothing must say so.
fn decoding_stays_within_its_memory_limit() {
    if forget_peak().is_none() || peak().is_none() {
        return eprintln!("skipped: this system does not tell how much memory a process held");
    }
    let rgb = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgb([x as u8, y as u8, (x / 16) as u8]));
    let deep = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgba([x as u16, y as u16, 9, 9]));
    let gray = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Luma([(x ^ y) as u8]));
    let jpeg = encode(rgb.clone(), ImageFormat::Jpeg);
    let files = [
        ("rgb png", 3, encode(rgb.clone(), ImageFormat::Png)),
        ("gray png", 1, encode(gray, ImageFormat::Png)),
        ("16-bit rgba png", 8, encode(deep.clone(), ImageFormat::Png)),
        ("16-bit rgba tiff", 8, encode(deep, ImageFormat::Tiff)),
        ("bmp", 3, encode(rgb.clone(), ImageFormat::Bmp)),
        ("webp", 3, encode(rgb, ImageFormat::WebP)),
        ("rotated jpeg", 3, rotated(&jpeg)),
        ("jpeg", 3, jpeg),
    ];
    for (kind, stored, bytes) in files {
        // The size of the image is never enough.
        let limits = Limits::default().with_memory(u64::from(WIDTH * HEIGHT) * stored);
        let error = Picture::decode(&bytes, kind, &limits).unwrap_err();
        let Error::TooLarge { found: counted, .. } = error else { panic!("{kind}: {error}") };
        forget_peak();
        let before = peak().unwrap();
        let picture = Picture::decode(&bytes, kind, &Limits::default()).unwrap();
        let taken = peak().unwrap() - before;
        assert_eq!(u64::from(picture.width()) * u64::from(picture.height()), u64::from(WIDTH * HEIGHT));
        println!("{kind}: {} KiB taken, {} KiB counted", taken >> 10, counted >> 10);
        // The header tells it too.
        assert_eq!(Picture::decoding_memory(&bytes, kind, &Limits::default()).unwrap(), counted, "{kind}");
        let refused = Picture::decoding_memory(&bytes, kind, &limits).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { found, .. } if found == counted), "{kind}: {refused}");
        assert!(taken <= counted, "{kind}: {taken} bytes taken, {counted} counted");
        // The estimate must not be far too high either. The worst case of WebP is twice that of others.
        assert!(3 * taken >= counted, "{kind}: {taken} bytes taken, {counted} counted");
    }
}
