//! Image files of every kind that is read, for the seeds.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};

use crate::tiff_parts::Parts;

/// Returns a name and the bytes of each file.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let picture = RgbImage::from_fn(17, 9, |x, y| [(x * 15) as u8, (y * 28) as u8, 99].into());
    let mut files = Vec::new();
    for (picture, kind) in [
        (DynamicImage::ImageRgb8(picture.clone()), "rgb"),
        (DynamicImage::ImageRgb8(picture).into_luma8().into(), "gray"),
    ] {
        for (format, name) in [
            (ImageFormat::Png, "png"),
            (ImageFormat::Jpeg, "jpeg"),
            (ImageFormat::Bmp, "bmp"),
            (ImageFormat::Tiff, "tiff"),
            (ImageFormat::WebP, "webp"),
            (ImageFormat::Gif, "gif"),
            (ImageFormat::Pnm, "pnm"),
        ] {
            let mut bytes = Cursor::new(Vec::new());
            // Gif has no gray images.
            if picture.write_to(&mut bytes, format).is_ok() {
                let bytes = bytes.into_inner();
                if format == ImageFormat::Jpeg {
                    files.extend(jpegs(&bytes).map(|(name, bytes)| (format!("{kind}-{name}"), bytes)));
                }
                files.push((format!("{kind}-{name}"), bytes));
            }
        }
    }
    files.extend(tiffs().map(|(name, tiff)| (format!("tiff-{name}"), tiff.bytes())));
    files.push(("pnm-text".into(), b"P2\n2 2\n15\n0 15\n5 10\n".to_vec()));
    files.push(("pnm-bits".into(), b"P4\n10 1\n\xa0\x40".to_vec()));
    files
        .push(("pam".into(), b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\nabcd".to_vec()));
    files
}

/// Returns a file without the marker at its end, with its height after the codes, and without Huffman tables.
fn jpegs(whole: &[u8]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let open = whole[..whole.len() - 2].to_vec();
    let mut lines = open.clone();
    if let Some(frame) = lines.windows(2).position(|pair| pair == [0xff, 0xc0]) {
        let height: Vec<u8> = lines.splice(frame + 5..frame + 7, [0, 0]).collect();
        lines.extend([&[0xff, 0xdc, 0, 4], &height[..], &[0xff, 0xd9]].concat());
    }
    let mut bare = whole.to_vec();
    while let Some(at) = bare.windows(2).position(|pair| pair == [0xff, 0xc4]) {
        let length = 2 + usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
        bare.drain(at..at + length);
    }
    [("jpeg-open", open), ("jpeg-lines", lines), ("jpeg-bare", bare)].into_iter()
}

fn tiffs() -> impl Iterator<Item = (&'static str, Parts)> {
    let data: Vec<u8> = (0..24 * 20 * 3u32).map(|at| if at % 9 < 4 { 7 } else { (at * at / 5) as u8 }).collect();
    let gray = Parts::new(24, 20, 1, 1, 8).strip(&data[..480]);
    let rgb = Parts::new(24, 20, 2, 3, 8);
    let planes = (0..3).fold(rgb.clone().with(284, &[2]), |tiff, plane| {
        tiff.tiles((16, 16), 24, 1, &data[plane * 480..(plane + 1) * 480])
    });
    let bits = Parts::new(24, 20, 0, 1, 1).strip(&data[..60]);
    [
        ("lzw", gray.clone().lzw()),
        ("tiles", rgb.clone().tiles((16, 16), 72, 3, &data)),
        ("lzw-tiles", rgb.clone().tiles((16, 32), 72, 3, &data).lzw().with(317, &[2])),
        ("planes", planes.clone()),
        ("lzw-planes", planes.lzw()),
        ("reversed", bits.clone().reversed()),
        ("fax", bits.with(259, &[4])),
        ("palette", gray.clone().with(262, &[3]).with(320, &[300; 768])),
        ("packed", gray.clone().with(259, &[32773])),
        ("deep", Parts::new(12, 20, 1, 1, 16).strip(&data[..480]).with(317, &[2])),
        ("alpha", Parts::new(12, 20, 1, 2, 8).strip(&data[..480]).with(338, &[2])),
        ("gray-planes", Parts { parts: vec![data[..480].to_vec(); 2], ..Parts::new(24, 20, 1, 2, 8).with(284, &[2]) }),
    ]
    .into_iter()
}
