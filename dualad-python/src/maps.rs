//! Anomaly maps: regions, other sizes, drawings.

use dualad::Error;
use dualad::data::image::Limits;
use dualad::data::image_crate::RgbImage;
use dualad::data::render::{self, ColorMap, Scale};
use dualad::detector::{AnomalyMap, RegionOptions, Stretch};
use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors;
use crate::images::{Image, picture};
use crate::work::try_run;

/// Returns the JSON of the regions at or above a value, in pixels of a picture of `[height, width]`.
#[pyfunction]
pub(crate) fn regions(
    py: Python<'_>,
    map: PyReadonlyArray2<'_, f32>,
    size: [usize; 2],
    value: f32,
    min_area: u64,
    max_regions: usize,
) -> PyResult<String> {
    let (sides, map) = owned(&map)?;
    try_run(py, None, move |_| {
        let options =
            RegionOptions::default().with_min_area(min_area).with_max_regions(max_regions).with_outlines(true);
        let found = dualad::detector::regions(&map, sides, value, &options)?;
        let stretch = Stretch::new(sides, size)?;
        let regions: Vec<_> = found.regions.iter().map(|region| stretch.to_original(region)).collect();
        serde_json::to_string(&regions).map_err(|error| errors::invalid("the regions", "no JSON", error))
    })
}

/// Returns a map of `[height, width]`.
#[pyfunction]
pub(crate) fn resize_map<'py>(
    py: Python<'py>,
    map: PyReadonlyArray2<'_, f32>,
    size: [u32; 2],
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (sides, values) = owned(&map)?;
    let [height, width] = size;
    let resized = try_run(py, None, move |_| Ok(AnomalyMap::new(sides, values)?.resized(width, height)))?;
    PyArray1::from_vec(py, resized.values).reshape([resized.height, resized.width])
}

/// Returns the picture `[height, width, 3]` with the map's colors over it.
#[pyfunction]
pub(crate) fn heat_map<'py>(
    py: Python<'py>,
    image: Image,
    map: PyReadonlyArray2<'_, f32>,
    range: Option<[f32; 2]>,
    opacity: f32,
    max_pixels: Option<u64>,
) -> PyResult<Bound<'py, PyArray3<u8>>> {
    let (sides, map) = owned(&map)?;
    let (pixels, size) = try_run(py, None, move |_| {
        let limits = max_pixels.map_or_else(Limits::default, Limits::for_pixels);
        let picture = RgbImage::from(picture(&image, &limits)?);
        let scale = match range {
            Some([low, high]) => Scale::new(low, high),
            None => Scale::over([map.as_slice()], 0.0, 100.0),
        };
        let data = |error: dualad::data::Error| Error::Data(error);
        let drawn = render::heat_map(&picture, &map, sides, scale.map_err(data)?, ColorMap::Inferno, opacity);
        let drawn = drawn.map_err(data)?;
        let size = [drawn.height() as usize, drawn.width() as usize, 3];
        Ok((drawn.into_raw(), size))
    })?;
    PyArray1::from_vec(py, pixels).reshape(size)
}

/// Returns the rows and columns of a map, and a copy of its values.
fn owned(map: &PyReadonlyArray2<'_, f32>) -> PyResult<([usize; 2], Vec<f32>)> {
    let &[height, width] = map.shape() else { return Err(errors::internal("a map of another shape")) };
    Ok(([height, width], map.as_array().iter().copied().collect()))
}
