//! A request to inspect an image.

use std::borrow::Cow;
use std::path::Path;

use dualad_data::image::{Frame, Limits, Picture, RawImage};
use dualad_data::image_crate::{DynamicImage, RgbImage};

use crate::error::{Error, Result};

/// An image to inspect, with its category if that is known.
///
/// Made from a path, a [`Picture`], an `image::DynamicImage`, a [`RawImage`] or [`Frame`] for a camera's buffer, or the bytes of an
/// image file ([`Request::encoded`]). It borrows its image; [`OwnedRequest`](crate::detector::OwnedRequest) owns it.
///
/// ```
/// use dualad::data::image::{PixelFormat, RawImage};
/// use dualad::detector::Request;
///
/// let buffer = vec![128; 640 * 480];
/// let frame = RawImage::new(&buffer, 640, 480, PixelFormat::Gray8)?;
/// let request = Request::from(frame).category("gear");
/// let from_file = Request::from(std::path::Path::new("part.png"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    image: Image<'a>,
    category: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Image<'a> {
    Path(&'a Path),
    Encoded { bytes: &'a [u8], name: &'a str },
    Picture(&'a Picture),
    Dynamic(&'a DynamicImage),
    Rgb(&'a RgbImage),
    Raw(RawImage<'a>),
}

/// Prints kinds and sizes, not the pixels.
impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({path:?})"),
            Self::Encoded { bytes, name } => write!(f, "Encoded({name:?}, {} bytes)", bytes.len()),
            Self::Picture(picture) => picture.fmt(f),
            Self::Dynamic(image) => write!(f, "DynamicImage({}x{})", image.width(), image.height()),
            Self::Rgb(image) => write!(f, "RgbImage({}x{})", image.width(), image.height()),
            Self::Raw(raw) => raw.fmt(f),
        }
    }
}

impl<'a> Request<'a> {
    fn of(image: Image<'a>) -> Self {
        Self { image, category: None }
    }

    /// Makes a request for the content of an image file. `name` is its name in errors.
    pub fn encoded(bytes: &'a [u8], name: &'a str) -> Self {
        Self::of(Image::Encoded { bytes, name })
    }

    /// Sets the category, whose thresholds decide. It does not affect the score.
    #[must_use]
    pub fn category(mut self, name: &'a str) -> Self {
        self.category = Some(name);
        self
    }

    /// Returns the image's name in errors: its path, or else its position in a list.
    pub(super) fn name(&self, index: usize) -> String {
        match self.image {
            Image::Path(path) => path.display().to_string(),
            Image::Encoded { name, .. } => name.to_owned(),
            _ => format!("image number {index}"),
        }
    }

    /// Returns the category, if one was set.
    pub fn named_category(&self) -> Option<&'a str> {
        self.category
    }

    /// Returns the category, or for an image without one a name that no category has.
    pub(crate) fn category_or_none(&self) -> &'a str {
        self.category.unwrap_or_default()
    }

    /// Returns the picture, read and decoded as needed.
    pub(crate) fn picture(&self, limits: &Limits) -> Result<Cow<'a, Picture>> {
        let within = |width: u32, height: u32| {
            let pixels = u64::from(width) * u64::from(height);
            if limits.allows_pixels(pixels) {
                return Ok(());
            }
            let limit = limits.pixels;
            Err(Error::Data(dualad_data::Error::TooLarge {
                path: "the image".into(),
                unit: "pixels",
                found: pixels,
                limit,
            }))
        };
        Ok(match self.image {
            Image::Path(path) => Cow::Owned(Picture::read(path, limits)?),
            Image::Encoded { bytes, name } => Cow::Owned(Picture::decode(bytes, name, limits)?),
            Image::Picture(picture) => {
                within(picture.width(), picture.height())?;
                Cow::Borrowed(picture)
            }
            Image::Dynamic(image) => {
                within(image.width(), image.height())?;
                Cow::Owned(image.try_into()?)
            }
            Image::Rgb(image) => {
                within(image.width(), image.height())?;
                Cow::Owned(image.clone().try_into()?)
            }
            Image::Raw(raw) => {
                within(raw.width(), raw.height())?;
                Cow::Owned(raw.to_picture()?)
            }
        })
    }
}

impl<'a> From<&'a Path> for Request<'a> {
    fn from(path: &'a Path) -> Self {
        Self::of(Image::Path(path))
    }
}

impl<'a> From<&'a std::path::PathBuf> for Request<'a> {
    fn from(path: &'a std::path::PathBuf) -> Self {
        Self::of(Image::Path(path))
    }
}

/// Takes the text as a path.
impl<'a> From<&'a str> for Request<'a> {
    fn from(path: &'a str) -> Self {
        Self::of(Image::Path(Path::new(path)))
    }
}

impl<'a> From<&'a Picture> for Request<'a> {
    fn from(picture: &'a Picture) -> Self {
        Self::of(Image::Picture(picture))
    }
}

impl<'a> From<&'a DynamicImage> for Request<'a> {
    fn from(image: &'a DynamicImage) -> Self {
        Self::of(Image::Dynamic(image))
    }
}

impl<'a> From<&'a RgbImage> for Request<'a> {
    fn from(image: &'a RgbImage) -> Self {
        Self::of(Image::Rgb(image))
    }
}

impl<'a> From<&'a Frame> for Request<'a> {
    fn from(frame: &'a Frame) -> Self {
        frame.as_raw().into()
    }
}

impl<'a> From<RawImage<'a>> for Request<'a> {
    fn from(raw: RawImage<'a>) -> Self {
        Self::of(Image::Raw(raw))
    }
}
