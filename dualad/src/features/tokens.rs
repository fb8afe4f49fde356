//! Pictures to pixels, and pixels to tokens (docs/method.md, sections 1 and 2).

#[cfg(feature = "train")]
use std::path::PathBuf;

#[cfg(feature = "train")]
use candle_core::DType;
use candle_core::{Device, Tensor};
#[cfg(feature = "train")]
use dualad_backbones::FeatureExtractor;
use dualad_data::image::{Picture, Preprocess};
#[cfg(feature = "train")]
use dualad_kernels::are_finite;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Returns the preprocessed pixels of pictures, `[pictures, 3, height, width]` in f32 on the CPU.
///
/// ```
/// use dualad::data::image::{Picture, Preprocess};
///
/// let picture = Picture::new(2, 1, vec![0, 10, 20, 30, 40, 50])?;
/// let pixels = dualad::features::pixels(&Preprocess::new(64, 48)?, &[&picture, &picture])?;
/// assert_eq!(pixels.dims(), [2, 3, 64, 48]);
/// # Ok::<(), dualad::Error>(())
/// ```
///
/// # Errors
/// [`Error::Data`] if a picture cannot be resized, [`Error::Candle`].
pub fn pixels(preprocess: &Preprocess, pictures: &[&Picture]) -> Result<Tensor> {
    let [height, width] = size(preprocess);
    let each = 3 * height * width;
    let mut values = vec![0.0f32; pictures.len() * each];
    let fill = |(values, picture): (&mut [f32], &&Picture)| {
        values.copy_from_slice(&preprocess.pixels(picture)?);
        Ok::<_, Error>(())
    };
    values.par_chunks_mut(each).zip(pictures).try_for_each(fill)?;
    images(preprocess, values)
}

/// Returns the rows and columns of preprocessed pixels.
pub(crate) fn size(preprocess: &Preprocess) -> [usize; 2] {
    [preprocess.height() as usize, preprocess.width() as usize]
}

/// Returns the tensor `[images, 3, height, width]` of preprocessed pixels.
pub(crate) fn images(preprocess: &Preprocess, pixels: Vec<f32>) -> Result<Tensor> {
    let [height, width] = size(preprocess);
    let images = pixels.len() / (3 * height * width).max(1);
    Ok(Tensor::from_vec(pixels, (images, 3, height, width), &Device::Cpu)?)
}

/// Returns the tokens of preprocessed images, `[images, tokens, channels]`, on a device and in a dtype.
#[cfg(feature = "train")]
fn tokens(extractor: &dyn FeatureExtractor, images: &Tensor, device: &Device, dtype: DType) -> Result<Tensor> {
    Ok(extractor.tokens(images)?.to_device(device)?.to_dtype(dtype)?)
}

/// Returns the number of tokens and of channels of an image.
#[cfg(feature = "train")]
pub(crate) fn shape(extractor: &dyn FeatureExtractor, preprocess: &Preprocess) -> [usize; 2] {
    let token_stride = extractor.backbone().token_stride();
    let [rows, columns] = size(preprocess).map(|side| side / token_stride);
    [rows * columns, extractor.token_channels()]
}

/// Returns the tokens of preprocessed images, row-major `[images, tokens, channels]`. `name` gives an image's path for errors.
///
/// # Errors
/// [`Error::Features`] for an image whose features are not finite, [`Error::Backbone`], [`Error::Candle`].
#[cfg(feature = "train")]
pub(crate) fn values(
    extractor: &dyn FeatureExtractor,
    images: &Tensor,
    name: impl Fn(usize) -> PathBuf,
) -> Result<Vec<f32>> {
    let tokens = tokens(extractor, images, &Device::Cpu, DType::F32)?;
    let each = tokens.dims().iter().skip(1).product::<usize>().max(1);
    let values: Vec<f32> = tokens.flatten_all()?.to_vec1()?;
    if let Some(index) = values.chunks(each).position(|values| !are_finite(values)) {
        let reason = "they hold NaN or infinity; look at the image, the backbone's weights, or compute in f32".into();
        return Err(Error::Features { path: name(index), reason });
    }
    Ok(values)
}
