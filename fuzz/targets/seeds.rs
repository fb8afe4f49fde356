//! Writes what each target begins with: `seeds FOLDER`.

use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use dualad::calibration::Calibration;
use dualad::data::image_crate::{DynamicImage, ImageFormat, RgbImage};

mod common;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("a folder for the seeds")?);
    let seed = |target: &str, name: &str, bytes: &[u8]| -> Result<(), Box<dyn Error>> {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("seed-{name}")), bytes)?)
    };

    let (config, parameters) = common::model();
    seed("model_config", "model", &config)?;
    seed("model_parameters", "model", &parameters)?;
    seed("weights", "other", &parameters)?;
    seed("weights", "empty", b"\x02\0\0\0\0\0\0\0{}")?;
    seed("weights", "long", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}")?;

    let picture = RgbImage::from_fn(17, 9, |x, y| [(x * 15) as u8, (y * 28) as u8, 99].into());
    for (picture, kind) in
        [(DynamicImage::ImageRgb8(picture.clone()), "rgb"), (DynamicImage::ImageRgb8(picture).into_luma8().into(), "grey")]
    {
        for (format, name) in [
            (ImageFormat::Png, "png"),
            (ImageFormat::Jpeg, "jpeg"),
            (ImageFormat::Bmp, "bmp"),
            (ImageFormat::Tiff, "tiff"),
            (ImageFormat::WebP, "webp"),
        ] {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format)?;
            seed("image", &format!("{kind}-{name}"), bytes.get_ref())?;
        }
    }
    seed("raw_image", "zeros", &[0; 64])?;

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    for file in std::fs::read_dir(fixtures)?.flatten().filter(|file| file.path().extension().is_some_and(|e| e == "pth")) {
        seed("pth", &file.file_name().to_string_lossy(), &std::fs::read(file.path())?)?;
    }
    seed("pth", "zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")?;

    let bounds = r#"{"format": 1, "pooled": {"review": 0.5, "reject": 0.7}, "categories": {}}"#;
    let text = Calibration::from_json("seed", bounds)?.to_json()?;
    seed("calibration", "plain", text.as_bytes())?;
    seed("recipe", "plain", br#"{"epochs": 3, "batch_size": 4, "optimizer": {"learning_rate": 0.001}, "schedule": {"cosine": {}}}"#)?;
    seed("layout", "mvtec", b"gear/train/good/0.png\ngear/test/good/0.png\ngear/test/dent/0.png\ngear/ground_truth/dent/0_mask.png\n")?;
    seed("layout", "folder", b"train/0.png\ntrain/1.jpg\ntest/good/2.png\n")?;
    seed("layout", "visa", b"split_csv/1cls.csv=object,split,label,image,mask|nut,train,normal,nut/Data/Images/Normal/0.JPG,\nnut/Data/Images/Normal/0.JPG\n")?;
    Ok(())
}
