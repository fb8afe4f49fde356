//! The first inputs of every target.

use std::io::Cursor;
use std::path::Path;

use dualad::calibration::Calibration;
use image::{DynamicImage, ImageFormat, RgbImage};

use crate::readers;

/// A target's name, a name for the input, and the input.
pub type Seed = (&'static str, String, Vec<u8>);

/// Returns the seeds of all targets.
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut seed = |target, name: &str, bytes: &[u8]| seeds.push((target, name.to_owned(), bytes.to_vec()));

    let (config, parameters) = readers::model();
    seed("model_config", "model", config);
    seed("model_parameters", "model", parameters);
    seed("weights", "other", parameters);
    seed("weights", "empty", b"\x02\0\0\0\0\0\0\0{}");
    seed("weights", "long", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}");

    let picture = RgbImage::from_fn(17, 9, |x, y| [(x * 15) as u8, (y * 28) as u8, 99].into());
    for (picture, kind) in [
        (DynamicImage::ImageRgb8(picture.clone()), "rgb"),
        (DynamicImage::ImageRgb8(picture).into_luma8().into(), "grey"),
    ] {
        for (format, name) in [
            (ImageFormat::Png, "png"),
            (ImageFormat::Jpeg, "jpeg"),
            (ImageFormat::Bmp, "bmp"),
            (ImageFormat::Tiff, "tiff"),
            (ImageFormat::WebP, "webp"),
        ] {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).expect("an encoded picture");
            seed("image", &format!("{kind}-{name}"), bytes.get_ref());
        }
    }
    seed("raw_image", "rgb", &[&[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[7u8; 18][..]].concat());
    seed("raw_image", "strided", &[&[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 2], &[7u8; 11][..]].concat());

    let requests: [(&str, &str, &[u8]); 6] = [
        ("health", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        (
            "raw",
            "POST /inspect?heatmap=1 HTTP/1.1\r\nContent-Type: application/octet-stream\r\nX-Image-Shape: 2,3,3\r\nContent-Length: 18\r\n\r\n",
            &[7; 18],
        ),
        (
            "grey",
            "POST /heatmap HTTP/1.1\r\nContent-Type: application/octet-stream\r\nX-Image-Shape: 2,2,1\r\nX-Image-Format: grey8\r\nContent-Length: 4\r\n\r\n",
            &[9; 4],
        ),
        (
            "chunked",
            "POST /inspect HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Image-Name: a.png\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
            b"",
        ),
        (
            "category",
            "POST /inspect?category=%67ear HTTP/1.1\r\nContent-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            b"\x89PN",
        ),
        (
            "nowhere",
            "PUT /../etc HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"",
        ),
    ];
    for (name, head, body) in requests {
        seed("serve", name, &[head.as_bytes(), body].concat());
    }

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dualad/tests/fixtures");
    for file in std::fs::read_dir(fixtures).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.contains(".pth") {
            seed("pth", &name, &std::fs::read(file.path()).expect("a fixture"));
        }
    }
    seed("pth", "zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    let bounds = r#"{"format": 1, "pooled": {"review": 0.5, "reject": 0.7}, "categories": {}}"#;
    let text =
        Calibration::from_json("seed", bounds).and_then(|calibration| calibration.to_json()).expect("thresholds");
    seed("calibration", "plain", text.as_bytes());
    let recipe = r#"{"network": {"grid": [4, 4], "neighbor_mask": [1, 1], "levels": 2, "memory_slots": 6, "jitter": null},
        "train": {"epochs": 3, "batch_size": 4, "optimizer": {"clip_norm": null}, "schedule": {"warmup_steps": 2}}}"#;
    seed("recipe", "plain", recipe.as_bytes());
    seed(
        "layout",
        "mvtec",
        b"gear/train/good/0.png\ngear/test/good/0.png\ngear/test/dent/0.png\ngear/ground_truth/dent/0_mask.png\n",
    );
    seed("layout", "folder", b"train/0.png\ntrain/1.jpg\ntest/good/2.png\n");
    seed("layout", "visa", b"split_csv/1cls.csv=object,split,label,image,mask|nut,train,normal,nut/Data/Images/Normal/0.JPG,\nnut/Data/Images/Normal/0.JPG\n");
    seeds
}
