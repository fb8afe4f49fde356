//! A generator of small synthetic datasets that look like industrial inspection.
//!
//! Five categories: two textures ([`Category::Fabric`], [`Category::Plate`]) and three objects ([`Category::Blister`],
//! [`Category::Board`], [`Category::Gear`]). Pose, light, exposure, texture and sensor noise vary between pictures, so a
//! comparison with a mean picture finds few defects. A picture with a defect is drawn twice, without and with the defect. The
//! mask marks the pixels that differ.
//!
//! [`write()`] creates a folder in the layout of MVTec AD, [`render()`] a single picture.
//!
//! ```
//! use dualad_data::synthetic::{self, Category, Defect, Options};
//!
//! let (image, mask) = synthetic::render(Category::Gear, 0, 7, Some(Defect::Missing), 64)?;
//! assert_eq!(image.dimensions(), (64, 64));
//! assert!(mask.pixels().any(|pixel| pixel.0 == [255]));
//!
//! let folder = tempfile::tempdir()?;
//! let options = Options { size: 32, train: 2, test_good: 1, test_per_defect: 1, ..Options::default() };
//! let summary = synthetic::write(&folder.path().join("parts"), &options, |_done, _total| {})?;
//! assert_eq!(summary.train, 2 * Category::ALL.len());
//! assert!(folder.path().join("parts/gear/ground_truth/missing/000_mask.png").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blister;
mod board;
mod category;
mod fabric;
mod folder;
mod gear;
mod light;
mod mark;
mod noise;
mod picture;
mod plate;
mod scene;
mod shape;
mod write;

pub use crate::error::SyntheticError;
pub use category::{Category, Defect};
pub use picture::{SIZES, THRESHOLD, render};
pub use write::{Options, Summary, write};
