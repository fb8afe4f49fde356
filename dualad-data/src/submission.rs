//! Submissions to the evaluation server of MVTec AD 2 (Heckler-Kram et al., 2025).

use std::io::Cursor;
use std::path::{Path, PathBuf};

use half::f16;
use image::GrayImage;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::ColorType;
use tiff::tags::{PhotometricInterpretation, SampleFormat};

use crate::error::{Error, Result};
use crate::layout::private_images;
use crate::render::save_png;

/// The folder of the anomaly maps, and of the maps with a threshold applied.
const MAPS: &str = "anomaly_images";
const DECISIONS: &str = "anomaly_images_thresholded";

/// An image of a private test set. Its label is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrivateImage {
    /// The path of the image.
    pub path: PathBuf,
    /// The name of the category.
    pub category: String,
    /// The test set: `test_private` or `test_private_mixed`.
    pub split: String,
}

impl PrivateImage {
    /// Returns the images of the private test sets below a folder: of MVTec AD 2, or of one of its categories.
    ///
    /// # Errors
    /// [`Error::Layout`] if there are none, [`Error::Io`] if a folder cannot be listed.
    pub fn list(root: impl AsRef<Path>) -> Result<Vec<Self>> {
        let root = root.as_ref();
        let images = private_images(root)?.into_iter();
        let found: Vec<Self> = images.map(|(category, split, path)| Self { path, category, split }).collect();
        if found.is_empty() {
            let reason = "it has no images in <category>/test_private (MVTec AD 2)".into();
            return Err(Error::Layout { path: root.into(), reason });
        }
        Ok(found)
    }

    /// Writes the anomaly map of this image, and the map with a threshold applied, where the server expects them in a folder:
    /// `anomaly_images/<category>/<split>/<stem>.tiff`, as 16-bit floating-point values, and
    /// `anomaly_images_thresholded/<category>/<split>/<stem>.png`, 255 for scores at or above the threshold and 0 for others.
    ///
    /// `map` is the map at the size of the image, `[height, width]`; `size` is its width and height. Scores beyond 65504, the
    /// largest 16-bit value, become this value.
    ///
    /// # Errors
    /// [`Error::Value`] if the map has another size or a score or the threshold is not finite, [`Error::Io`] if a file cannot be
    /// written.
    pub fn write(&self, folder: impl AsRef<Path>, map: &[f32], size: (u32, u32), threshold: f32) -> Result<()> {
        let (width, height) = size;
        let fault = |field, value: String, reason: &str| Error::Value { field, value, reason: reason.into() };
        if map.len() as u64 != u64::from(width) * u64::from(height) || map.is_empty() {
            let value = format!("{} values for {width}x{height} pixels", map.len());
            return Err(fault("the anomaly map", value, "it needs a value for each pixel of the image"));
        }
        if let Some(value) = map.iter().chain([&threshold]).find(|value| !value.is_finite()) {
            return Err(fault("a score or threshold", value.to_string(), "it must be finite"));
        }
        let place = |top: &str, ending: &str| {
            let name = Path::new(self.path.file_name().unwrap_or_default()).with_extension(ending);
            folder.as_ref().join(top).join(&self.category).join(&self.split).join(name)
        };
        let (map_file, decision_file) = (place(MAPS, "tiff"), place(DECISIONS, "png"));
        for file in [&map_file, &decision_file] {
            let parent = file.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(parent).map_err(|error| Error::Io {
                action: "create",
                path: parent.into(),
                error,
            })?;
        }
        let bytes =
            encode(map, size).map_err(|error| fault("the anomaly map", "a tiff file".into(), &error.to_string()))?;
        dualad_store::write_atomically(&map_file, &bytes).map_err(|error| Error::Io {
            action: "write",
            path: map_file,
            error,
        })?;
        let decisions = map.iter().map(|&score| if score >= threshold { 255 } else { 0 }).collect();
        // The length was checked, so this never returns the default.
        let decisions = GrayImage::from_raw(width, height, decisions).unwrap_or_default();
        save_png(&decision_file, &decisions)
    }
}

/// Gray floating-point values of 16 bits.
struct Gray16Float;

impl ColorType for Gray16Float {
    type Inner = u16;
    const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::BlackIsZero;
    const BITS_PER_SAMPLE: &'static [u16] = &[16];
    const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::IEEEFP];

    fn horizontal_predict(row: &[u16], result: &mut Vec<u16>) {
        // No prediction is used.
        result.extend_from_slice(row);
    }
}

/// Encodes a map as a TIFF file.
fn encode(map: &[f32], (width, height): (u32, u32)) -> tiff::TiffResult<Vec<u8>> {
    let limit = f16::MAX.to_f32();
    let values: Vec<u16> = map.iter().map(|score| f16::from_f32(score.clamp(-limit, limit)).to_bits()).collect();
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file)?;
    encoder.write_image::<Gray16Float>(width, height, &values)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use tiff::decoder::{Decoder, DecodingResult};

    use super::*;
    use crate::image::{Limits, Mask, MaskRule};

    #[test]
    fn maps_and_decisions_lie_where_the_server_expects_them() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("mvtec_ad_2");
        for name in ["can/train/good/0.png", "can/test_private/001_regular.png", "can/test_private_mixed/000_mixed.png"]
        {
            std::fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
            std::fs::write(data.join(name), "x").unwrap();
        }
        let images = PrivateImage::list(&data).unwrap();
        let names: Vec<_> = images.iter().map(|image| (image.category.as_str(), image.split.as_str())).collect();
        assert_eq!(names, [("can", "test_private"), ("can", "test_private_mixed")]);
        assert_eq!(PrivateImage::list(data.join("can")).unwrap(), images);
        assert!(matches!(PrivateImage::list(folder.path().join("mvtec_ad_2/can/train")), Err(Error::Layout { .. })));

        let (out, map) = (folder.path().join("out"), [0.0, 0.25, 0.5, 1e9, -3.0, 0.1]);
        images[0].write(&out, &map, (3, 2), 0.5).unwrap();
        let file = std::fs::File::open(out.join("anomaly_images/can/test_private/001_regular.tiff")).unwrap();
        let mut decoder = Decoder::new(file).unwrap();
        assert_eq!(decoder.dimensions().unwrap(), (3, 2));
        let DecodingResult::F16(values) = decoder.read_image().unwrap() else { panic!("not 16-bit floating-point") };
        let expected = [0.0, 0.25, 0.5, 65504.0, -3.0, 0.1].map(f16::from_f32);
        assert_eq!(values, expected);
        let decisions = out.join("anomaly_images_thresholded/can/test_private/001_regular.png");
        let decisions = Mask::read(decisions, MaskRule::White, &Limits::default()).unwrap();
        assert_eq!(decisions.pixels(), [0, 0, 1, 1, 0, 0]);

        assert!(matches!(images[0].write(&out, &map, (3, 3), 0.5), Err(Error::Value { .. })));
        assert!(matches!(images[0].write(&out, &[f32::NAN], (1, 1), 0.5), Err(Error::Value { .. })));
        assert!(matches!(images[0].write(&out, &[1.0], (1, 1), f32::INFINITY), Err(Error::Value { .. })));
    }
}
