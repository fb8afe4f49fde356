//! The head and the body of an upload. The head is checked first: a body that cannot be used is not read.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use dualad::Detector;
use dualad::data::image::{Limits, Picture, PixelFormat, RawImage};
use dualad::detector::Request;

use crate::bodies::{BodyMemory, BodyShare};
use crate::client::Client;
use crate::failure::{EMPTY, Failure};

/// The first capacity of a body, in bytes, if it is not smaller.
const MIN_ROOM: usize = 64 << 10;

/// The image's description in the head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    name: String,
    raw: Option<RawShape>,
    /// The value of `Content-Length`, in bytes.
    length: Option<u64>,
}

/// The shape of an upload of raw pixels.
#[derive(Debug, Clone, Copy)]
struct RawShape {
    width: u32,
    height: u32,
    format: PixelFormat,
}

impl RawShape {
    fn bytes(self) -> u64 {
        (u64::from(self.width) * u64::from(self.height)).saturating_mul(self.format.bytes() as u64)
    }
}

/// An uploaded image. It is decoded from memory: its name is never opened as a path.
#[derive(Debug)]
pub(crate) struct Upload {
    head: Head,
    bytes: Vec<u8>,
    _memory: BodyShare,
}

/// The limits of an upload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadLimits {
    /// The largest body, in bytes.
    pub(crate) bytes: u64,
    /// The largest image, in pixels.
    pub(crate) pixels: u64,
    /// The limits of decoding.
    pub(crate) image: Limits,
}

impl Head {
    pub(crate) fn parse(headers: &HeaderMap, limits: UploadLimits) -> Result<Self, Failure> {
        let length = match text(headers, "content-length")? {
            Some(length) => Some(length.parse().map_err(|_| Failure::bad("Content-Length is not a number"))?),
            None => None,
        };
        if length.is_some_and(|length| length > limits.bytes) {
            return Err(too_large(limits));
        }
        if text(headers, "content-encoding")?.is_some_and(|encoding| encoding != "identity") {
            return Err(unsupported("the body is compressed; send it as it is"));
        }
        let kind = text(headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default().to_ascii_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let raw = raw(headers, kind, limits)?;
        // `curl --data-binary` sends x-www-form-urlencoded by default. The content tells the image's format.
        let image = ["", "application/octet-stream", "application/x-www-form-urlencoded"].contains(&kind);
        if !image && !kind.starts_with("image/") {
            return Err(unsupported("the body must be an image file itself, with a Content-Type such as image/png"));
        }
        let name = text(headers, "x-image-name")?.unwrap_or("upload");
        if name.is_empty() || name.len() > 255 {
            return Err(Failure::bad("X-Image-Name must have 1 to 255 characters"));
        }
        if let (Some(raw), Some(length)) = (raw, length) {
            check_length(raw, length)?;
        }
        Ok(Self { name: name.to_owned(), raw, length })
    }

    /// Reads the whole body of a client.
    pub(crate) async fn read(
        self,
        body: Body,
        client: &Arc<Client>,
        memory: &BodyMemory,
        limits: UploadLimits,
        timeout: Duration,
    ) -> Result<Upload, Failure> {
        memory.begin(client);
        let read = read_body(body, self.length, client, memory, limits);
        let read = tokio::time::timeout(timeout, read).await;
        client.begin();
        let (bytes, memory) = read.map_err(|_| {
            let message = format!("the upload was not complete within {} s", timeout.as_secs());
            Failure::new(StatusCode::REQUEST_TIMEOUT, message)
        })??;
        if let Some(raw) = self.raw {
            check_length(raw, bytes.len() as u64)?;
        }
        if bytes.is_empty() {
            return Err(Failure::bad(EMPTY));
        }
        Ok(Upload { head: self, bytes, _memory: memory })
    }
}

impl Upload {
    /// Returns the peak memory of [`Self::decode`] in bytes.
    pub(crate) fn decoding_memory(&self, limits: &Limits) -> Result<u64, dualad::Error> {
        Ok(match self.head.raw {
            Some(RawShape { width, height, .. }) => 3 * u64::from(width) * u64::from(height),
            None => Picture::decoding_memory(&self.bytes, &self.head.name, limits)?,
        })
    }

    /// Returns the image's name and the picture that the detector inspects.
    pub(crate) fn decode(self, detector: &Detector) -> Result<(String, Picture), dualad::Error> {
        let request: Request<'_> = match self.head.raw {
            Some(RawShape { width, height, format }) => RawImage::new(&self.bytes, width, height, format)?.into(),
            None => Request::encoded(&self.bytes, &self.head.name),
        };
        let picture = detector.picture(request)?;
        Ok((self.head.name, picture))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Failure::bad(format!("the header {name} is not ASCII")))?;
    Ok(Some(value.trim()))
}

fn raw(headers: &HeaderMap, kind: &str, limits: UploadLimits) -> Result<Option<RawShape>, Failure> {
    let format = text(headers, "x-image-format")?;
    let Some(shape) = text(headers, "x-image-shape")? else {
        let alone = "X-Image-Format describes raw pixels; give X-Image-Shape: HEIGHT,WIDTH,CHANNELS with it";
        return if format.is_some() { Err(Failure::bad(alone)) } else { Ok(None) };
    };
    if kind != "application/octet-stream" {
        return Err(unsupported("raw pixels (X-Image-Shape) need Content-Type: application/octet-stream"));
    }
    let sides: Vec<u32> = shape.split(',').map_while(|side| side.trim().parse().ok()).collect();
    let &[height, width, channels @ (1 | 3)] = sides.as_slice() else {
        let message = format!("X-Image-Shape is {shape:?}, and must be HEIGHT,WIDTH,CHANNELS with 1 or 3 channels");
        return Err(Failure::bad(message));
    };
    if width == 0 || height == 0 || shape.split(',').count() != 3 {
        return Err(Failure::bad(format!("X-Image-Shape is {shape:?}; height and width must be at least 1")));
    }
    let format = match (format, channels) {
        (None | Some("rgb8"), 3) => PixelFormat::Rgb8,
        (Some("bgr8"), 3) => PixelFormat::Bgr8,
        (None | Some("grey8"), 1) => PixelFormat::Gray8,
        (other, channels) => {
            let other = other.unwrap_or_default();
            let message =
                format!("X-Image-Format is {other:?}, and must be rgb8, bgr8 (3 channels) or grey8 (1 channel)");
            return Err(Failure::bad(format!("{message}; X-Image-Shape has {channels}")));
        }
    };
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels {
        return Err(Failure::too_large(format!("the image has {pixels} pixels, and the limit is {}", limits.pixels)));
    }
    let raw = RawShape { width, height, format };
    if raw.bytes() > limits.bytes { Err(too_large(limits)) } else { Ok(Some(raw)) }
}

fn check_length(raw: RawShape, length: u64) -> Result<(), Failure> {
    if length == raw.bytes() {
        return Ok(());
    }
    let RawShape { width, height, format } = raw;
    let needed = raw.bytes();
    Err(Failure::bad(format!("the body has {length} bytes, and {width}x{height} pixels of {format:?} take {needed}")))
}

fn too_large(limits: UploadLimits) -> Failure {
    Failure::too_large(format!("the upload is larger than {} bytes, the limit", limits.bytes))
}

fn unsupported(message: &str) -> Failure {
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

async fn read_body(
    mut body: Body,
    length: Option<u64>,
    client: &Client,
    memory: &BodyMemory,
    limits: UploadLimits,
) -> Result<(Vec<u8>, BodyShare), Failure> {
    let (mut bytes, mut share) = (Vec::new(), BodyShare::default());
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| Failure::bad(format!("the upload is incomplete: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        let whole = bytes.len() + data.len();
        if whole as u64 > limits.bytes {
            return Err(too_large(limits));
        }
        client.received(data.len() as u64);
        if !memory.grow(client, &mut share, whole as u64).await {
            return Err(Failure::busy("the uploads that are arriving take all memory; ask again"));
        }
        if whole > bytes.capacity() {
            // No more than twice what has arrived: a large length without a body costs nothing.
            let room = whole.max(2 * bytes.capacity()).max(MIN_ROOM);
            let room = length.map_or(room, |length| room.min(length.max(whole)));
            let reserved = bytes.try_reserve_exact(room - bytes.len());
            reserved.map_err(|_| Failure::busy("there is no memory for the upload"))?;
        }
        bytes.extend_from_slice(data);
    }
    Ok((bytes, share))
}
