//! A request that owns what it names.

use std::path::PathBuf;

use dualad_data::image::{Frame, Picture};
use dualad_data::image_crate::{DynamicImage, RgbImage};

use crate::detector::request::Request;

/// An image to inspect that owns its memory, with its category if that is known. It can be sent through a channel, from the thread
/// of a camera to the one that inspects, and kept in a queue. [`Request`] borrows instead.
///
/// Made from a [`Frame`] for a camera's buffer, a [`Picture`], an image of the `image` crate, a path, or the bytes of an image file
/// ([`OwnedRequest::encoded`]).
///
/// ```
/// use dualad::data::image::{Frame, PixelFormat};
/// use dualad::detector::{OwnedRequest, Request};
///
/// let (sender, requests) = std::sync::mpsc::channel();
/// std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let frame = Frame::new(vec![128; 640 * 480], 640, 480, PixelFormat::Gray8)?;
///     Ok(sender.send(OwnedRequest::from(frame).category("gear"))?)
/// });
/// let request = requests.recv()?;
/// // detector.inspect(&request)?;
/// assert!(format!("{request:?}").contains("640x480"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OwnedRequest {
    image: OwnedImage,
    category: Option<String>,
}

#[derive(Clone)]
enum OwnedImage {
    Path(PathBuf),
    Encoded { bytes: Vec<u8>, name: String },
    Picture(Picture),
    Dynamic(DynamicImage),
    Rgb(RgbImage),
    Frame(Frame),
}

/// Prints kinds and sizes, not the pixels.
impl std::fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owned{:?}", Request::from(self))
    }
}

impl OwnedRequest {
    fn of(image: OwnedImage) -> Self {
        Self { image, category: None }
    }

    /// Makes a request for the content of an image file. `name` is its name in errors.
    pub fn encoded(bytes: Vec<u8>, name: impl Into<String>) -> Self {
        Self::of(OwnedImage::Encoded { bytes, name: name.into() })
    }

    /// Sets the category, whose thresholds decide. It does not affect the score.
    #[must_use]
    pub fn category(mut self, name: impl Into<String>) -> Self {
        self.category = Some(name.into());
        self
    }
}

impl<'a> From<&'a OwnedRequest> for Request<'a> {
    fn from(owned: &'a OwnedRequest) -> Self {
        let request = match &owned.image {
            OwnedImage::Path(path) => path.into(),
            OwnedImage::Encoded { bytes, name } => Request::encoded(bytes, name),
            OwnedImage::Picture(picture) => picture.into(),
            OwnedImage::Dynamic(image) => image.into(),
            OwnedImage::Rgb(image) => image.into(),
            OwnedImage::Frame(frame) => frame.into(),
        };
        match &owned.category {
            Some(category) => request.category(category),
            None => request,
        }
    }
}

impl From<PathBuf> for OwnedRequest {
    fn from(path: PathBuf) -> Self {
        Self::of(OwnedImage::Path(path))
    }
}

impl From<Picture> for OwnedRequest {
    fn from(picture: Picture) -> Self {
        Self::of(OwnedImage::Picture(picture))
    }
}

impl From<DynamicImage> for OwnedRequest {
    fn from(image: DynamicImage) -> Self {
        Self::of(OwnedImage::Dynamic(image))
    }
}

impl From<RgbImage> for OwnedRequest {
    fn from(image: RgbImage) -> Self {
        Self::of(OwnedImage::Rgb(image))
    }
}

impl From<Frame> for OwnedRequest {
    fn from(frame: Frame) -> Self {
        Self::of(OwnedImage::Frame(frame))
    }
}
