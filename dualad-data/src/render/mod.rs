//! Drawing: heat maps of anomaly maps, outlines of masks, pictures side by side, PNG files.
//!
//! ```
//! use dualad_data::render::{self, ColorMap, Scale};
//! use dualad_data::image_crate::{GrayImage, Luma, Rgb, RgbImage};
//!
//! let image = RgbImage::from_pixel(64, 64, Rgb([120, 120, 120]));
//! let map: Vec<f32> = (0..14 * 14).map(|token| token as f32).collect();
//! // One scale for all pictures of a set makes their colors comparable.
//! let scale = Scale::over([map.as_slice()], 1.0, 99.5)?;
//! let heat = render::heat_map(&image, &map, [14, 14], scale, ColorMap::Inferno, 0.5)?;
//!
//! let mask = GrayImage::from_fn(64, 64, |x, y| Luma([if x.max(y) < 20 { 255 } else { 0 }]));
//! let mut outlined = image.clone();
//! render::outline(&mut outlined, &mask, Rgb([0, 255, 0]))?;
//!
//! let folder = tempfile::tempdir()?;
//! render::save_png(&folder.path().join("strip.png"), &render::strip(&[&image, &outlined, &heat])?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod color_map;
mod compose;
mod heat_map;
pub(crate) mod png;

pub use crate::error::RenderError;
pub use color_map::ColorMap;
pub use compose::{outline, stack, strip};
pub use heat_map::{Scale, heat_map, heat_map_placed};
pub use png::{encode_heat_map, is_heat_map, save_png};
