//! Images: decoding, loading, resizing and drawing.

mod decoders;
mod images;
mod loader;
mod render;
mod resize;
#[path = "../support/mod.rs"]
mod support;
mod tiff;
mod tiff_parts;
