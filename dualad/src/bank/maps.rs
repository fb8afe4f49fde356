//! The stage maps of a batch: their shapes, and their values on the CPU.

use candle_core::{DType, Device, Tensor};
use dualad_kernels::are_finite;

use crate::bank::projection::StageMap;
use crate::error::{Error, Result};

/// The maps of a batch, one for each stage.
#[derive(Debug)]
pub(super) struct Maps {
    images: usize,
    /// For each stage, `[images, channels, rows, columns]`.
    values: Vec<Vec<f32>>,
    grids: Vec<[usize; 2]>,
    channels: Vec<usize>,
}

impl Maps {
    /// Copies maps `[images, channels, rows, columns]` to the CPU.
    pub(super) fn new(maps: &[Tensor], stage_channels: &[usize]) -> Result<Self> {
        let (images, grids) = shape(maps, stage_channels)?;
        let of_stage = |map: &Tensor| {
            let map: Vec<f32> = map.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            if !are_finite(&map) {
                let advice = "look at the image and the backbone's weights, or compute in f32";
                return Err(Error::NotFinite { values: "the backbone's maps".into(), advice });
            }
            Ok(map)
        };
        let values = maps.iter().map(of_stage).collect::<Result<_>>()?;
        Ok(Self { images, values, grids, channels: stage_channels.into() })
    }

    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Returns the maps of one image, one for each stage.
    pub(super) fn image(&self, image: usize) -> Vec<StageMap<'_>> {
        let stages = self.values.iter().zip(&self.grids).zip(&self.channels);
        stages
            .map(|((values, &grid), channels)| {
                let each = channels * grid[0] * grid[1];
                StageMap { values: values.get(image * each..(image + 1) * each).unwrap_or_default(), grid }
            })
            .collect()
    }
}

/// Returns the number of images, and the rows and columns of each stage.
///
/// # Errors
/// [`Error::InvalidArgument`] if the maps are not those of the bank's stages.
pub(super) fn shape(maps: &[Tensor], stage_channels: &[usize]) -> Result<(usize, Vec<[usize; 2]>)> {
    let wrong = |found: String| {
        let reason = format!("must be one for each of the bank's stages, with {stage_channels:?} channels");
        Err(Error::invalid_argument("the list of stage maps", found, reason))
    };
    if maps.len() != stage_channels.len() {
        return wrong(format!("{} long", maps.len()));
    }
    let (mut images, mut grids) = (None, Vec::new());
    for (map, &wanted) in maps.iter().zip(stage_channels) {
        let (batch, channels, rows, columns) = map.dims4()?;
        if channels != wanted || images.is_some_and(|images| images != batch) || rows * columns == 0 {
            return wrong(format!("of shape {:?}", map.dims()));
        }
        images = Some(batch);
        grids.push([rows, columns]);
    }
    Ok((images.unwrap_or(0), grids))
}
