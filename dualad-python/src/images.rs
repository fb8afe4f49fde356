//! Images from Python: paths, the bytes of files, and arrays.

use std::path::PathBuf;

use dualad::Error;
use dualad::data::image::{Limits, Picture, PixelFormat, RawImage};
use dualad::detector::Request;
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;

/// An image, as `dualad._images.prepare` returns it. It can be sent to another thread.
#[derive(Debug)]
pub(crate) enum Image {
    /// A file.
    Path(PathBuf),
    /// The content of a file.
    Bytes(PyBackedBytes),
    /// Pixels, `[height, width]` or `[height, width, 3]`, red first.
    Array(Py<PyArrayDyn<u8>>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Image {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyBytes>() {
            return Ok(Self::Bytes(object.extract()?));
        }
        match object.cast::<PyArrayDyn<u8>>() {
            Ok(array) => Ok(Self::Array(array.to_owned().unbind())),
            Err(_) => Ok(Self::Path(object.extract()?)),
        }
    }
}

/// An image whose memory is borrowed.
enum Borrowing<'a, 'py> {
    Path(&'a PathBuf),
    Bytes(&'a [u8]),
    /// A contiguous array or a contiguous copy of one, its height, its width and the format of its pixels.
    Array(PyReadonlyArrayDyn<'py, u8>, [u32; 2], PixelFormat),
    /// An array of more pixels than the limits allow. It is not copied: an array of a few bytes can have any shape.
    TooLarge(u64),
}

impl<'a, 'py> Borrowing<'a, 'py> {
    fn new(py: Python<'py>, image: &'a Image, limits: &Limits) -> PyResult<Self> {
        Ok(match image {
            Image::Path(path) => Self::Path(path),
            Image::Bytes(bytes) => Self::Bytes(bytes),
            Image::Array(array) => {
                let array = array.bind(py);
                let (height, width, format) = match *array.shape() {
                    [height, width] => (height, width, PixelFormat::Gray8),
                    [height, width, 3] => (height, width, PixelFormat::Rgb8),
                    _ => return Err(errors::internal("an array of another shape")),
                };
                let size = [side(height)?, side(width)?];
                let found = u64::from(size[0]) * u64::from(size[1]);
                if !limits.allows_pixels(found) {
                    return Ok(Self::TooLarge(found));
                }
                // numpy copies many times as fast as an iterator over elements with any strides.
                let array = match array.is_c_contiguous() {
                    true => array.clone(),
                    false => array.call_method1("copy", ("C",))?.cast_into::<PyArrayDyn<u8>>()?,
                };
                Self::Array(array.try_readonly()?, size, format)
            }
        })
    }

    fn request(&self, limits: &Limits) -> Result<Request<'_>, Error> {
        let raw = |pixels, [height, width]: [u32; 2], format| RawImage::new(pixels, width, height, format);
        Ok(match self {
            Self::Path(path) => Request::from(*path),
            Self::Bytes(bytes) => Request::encoded(bytes, "<bytes>"),
            Self::Array(array, size, format) => {
                let pixels = array.as_slice().map_err(|error| Error::InvalidArgument {
                    argument: "the array".into(),
                    value: "not contiguous".into(),
                    reason: error.to_string(),
                })?;
                raw(pixels, *size, *format)?.into()
            }
            Self::TooLarge(found) => return Err(too_large(*found, limits)),
        })
    }
}

fn too_large(found: u64, limits: &Limits) -> Error {
    let (path, limit) = ("the image".into(), limits.pixels);
    Error::Data(dualad::data::Error::TooLarge { path, unit: "pixels", found, limit })
}

fn side(length: usize) -> PyResult<u32> {
    length.try_into().map_err(|_| errors::internal("an array of too many pixels"))
}

/// Calls `work` with the requests of images, without the interpreter's lock, and returns its result. `None` if the interpreter
/// is ending.
///
/// Arrays are borrowed meanwhile: contiguous ones are not copied.
pub(crate) fn with_requests<R: Send>(
    images: &[&Image],
    limits: &Limits,
    work: impl FnOnce(Vec<Result<Request<'_>, Error>>) -> R + Send,
) -> Option<PyResult<R>> {
    if !images.iter().any(|image| matches!(image, Image::Array(_))) {
        let requests = images.iter().map(|image| match image {
            Image::Path(path) => Ok(Request::from(path)),
            Image::Bytes(bytes) => Ok(Request::encoded(bytes, "<bytes>")),
            Image::Array(_) => Err(Error::Cancelled),
        });
        return Some(Ok(work(requests.collect())));
    }
    Python::try_attach(|py| {
        let borrowed = images.iter().map(|image| Borrowing::new(py, image, limits)).collect::<PyResult<Vec<_>>>()?;
        let requests: Vec<Result<Request<'_>, Error>> = borrowed.iter().map(|one| one.request(limits)).collect();
        Ok(py.detach(|| work(requests)))
    })
}

/// Reads an image into a picture of its own.
pub(crate) fn picture(image: &Image, limits: &Limits) -> Result<Picture, Error> {
    match image {
        Image::Path(path) => Ok(Picture::read(path, limits)?),
        Image::Bytes(bytes) => Ok(Picture::decode(bytes, "<bytes>", limits)?),
        Image::Array(_) => {
            let copied = Python::try_attach(|py| {
                let borrowed = Borrowing::new(py, image, limits).ok()?;
                let (pixels, [height, width], format) = match &borrowed {
                    Borrowing::Array(array, size, format) => (array.as_slice().ok()?, *size, *format),
                    Borrowing::TooLarge(found) => return Some(Err(too_large(*found, limits))),
                    _ => return None,
                };
                Some(RawImage::new(pixels, width, height, format).and_then(|raw| raw.to_picture()).map_err(Into::into))
            });
            copied.flatten().unwrap_or(Err(Error::Cancelled))
        }
    }
}
