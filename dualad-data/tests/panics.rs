//! No decoder panics for damaged files. A panic would print before it becomes an error.

mod support;

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use dualad_data::image::{Limits, Picture};
use image::{DynamicImage, Rgb, RgbImage};
use support::FORMATS;
use support::tiff::Parts;

static PANICS: AtomicUsize = AtomicUsize::new(0);

fn files() -> Vec<(String, Vec<u8>)> {
    let image = RgbImage::from_fn(40, 24, |x, y| Rgb([(x * y) as u8, (x * 6) as u8, (y * 9) as u8]));
    let mut files = Vec::new();
    for image in [DynamicImage::ImageRgb8(image.clone()), DynamicImage::ImageRgb8(image.clone()).into_luma8().into()] {
        for format in FORMATS {
            let mut bytes = Cursor::new(Vec::new());
            if image.write_to(&mut bytes, format).is_ok() {
                files.push((format!("{format:?} {:?}", image.color()), bytes.into_inner()));
            }
        }
    }
    let data = image.into_raw();
    let rgb = Parts::new(40, 24, 2, 3, 8);
    let planes = |count: usize| {
        (0..count).fold(Parts::new(40, 24, 2, count, 8).with(284, &[2]), |tiff, plane| {
            tiff.tiles((16, 16), 40, 1, &data[plane * 960..(plane + 1) * 960])
        })
    };
    let bits = Parts::new(40, 24, 1, 1, 1).strip(&data[..5 * 24]);
    for (name, tiff) in [
        ("tiles", rgb.clone().tiles((16, 16), 120, 3, &data)),
        ("LZW tiles", rgb.clone().tiles((32, 16), 120, 3, &data).lzw()),
        ("predicted", rgb.clone().tiles((16, 32), 120, 3, &data).lzw().with(317, &[2])),
        ("planes", planes(3)),
        ("LZW planes", planes(3).lzw()),
        ("planes with alpha", planes(3).reversed()),
        ("bits", bits.clone()),
        ("reversed bits", bits.clone().reversed()),
        ("fax", bits.with(259, &[4])),
        ("palette", Parts::new(40, 24, 3, 1, 8).with(320, &[7; 768]).strip(&data[..960]).lzw()),
        ("packed", Parts::new(40, 24, 1, 1, 8).strip(&data[..960]).with(259, &[32773])),
        ("deflate", Parts::new(40, 24, 1, 1, 8).strip(&data[..960]).with(259, &[8])),
        ("16 bits", Parts::new(20, 24, 1, 1, 16).tiles((16, 16), 40, 2, &data[..960]).with(317, &[2])),
    ] {
        files.push((format!("tiff of {name}"), tiff.bytes()));
    }
    files
}

#[test]
fn no_decoder_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        print(panic);
    }));
    let limits = Limits::default().with_pixels(1 << 20).with_memory(16 << 20);
    for (name, bytes) in files() {
        let try_all = |what: &str, bytes: &[u8]| {
            let _ = Picture::decode(bytes, "damaged", &limits);
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{name}, {what}");
        };
        for end in 1..bytes.len().min(600) {
            try_all(&format!("cut to {end}"), &bytes[..end]);
        }
        // The headers are at the start, and the tags of a tiff at the end.
        let at_end = bytes.len().saturating_sub(400)..bytes.len();
        for at in (0..bytes.len().min(400)).chain(at_end) {
            for value in [0, 1, 2, 3, 5, 7, 8, 16, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                try_all(&format!("byte {at} = {value}"), &damaged);
            }
        }
    }
}
