//! SQL functions for [DataFusion](https://docs.rs/datafusion) that inspect images with a model of [`dualad`].
//!
//! | in SQL | result |
//! |---|---|
//! | `inspect(image [, category])` | `score`, `decision`, `threshold`, `regions` and `error` of an image, a struct |
//! | `anomaly_map(image [, category])` | `height`, `width`, `values` in half precision, and `error`, a struct |
//! | `inspect_with(model, image [, category])` | as `inspect`, with a model that the query names ([`Models`]) |
//! | `images('FOLDER')` | a table of the image files of a folder: `path`, `size`, `modified`, `image`, `error` |
//!
//! `image` is the content of an image file, a column of type Binary, LargeBinary or BinaryView. An image that cannot be inspected has
//! the `error` in its row, and the query goes on. NULL gives NULL.
//!
//! A query holds as many images in memory as a batch has rows, for each partition. Set `datafusion.execution.batch_size` to 64 or so:
//! the default of 8192 is meant for numbers.
//!
//! The functions work in the process, and without a change in the workers of
//! [datafusion-distributed](https://docs.rs/datafusion-distributed) and Ballista: see [`Inspector::functions`]. The guide is
//! [docs/scale.md](https://github.com/dualad/dualad/blob/main/docs/scale.md).
//!
//! ```
//! use datafusion::prelude::{SessionConfig, SessionContext};
//! use dualad_datafusion::Inspector;
//!
//! # use dualad::data::synthetic::{self, Category, Options};
//! # use dualad::backbones::Backbone;
//! # use dualad::recipe::Recipe;
//! # use dualad::{Detector, Variant};
//! # let folder = tempfile::tempdir().unwrap();
//! # let parts = folder.path().join("parts");
//! # let options = Options { size: 64, train: 10, test_good: 1, test_per_defect: 1, categories: vec![Category::Gear], ..Options::default() };
//! # synthetic::write(&parts, &options, |_, _| {}).unwrap();
//! # let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
//! # recipe.train.epochs = 0;
//! # let detector = Detector::fit(parts.as_path()).recipe(recipe).run()?.detector;
//! # let parts = parts.display();
//! // let detector = Detector::load("model")?;
//! let context = SessionContext::new_with_config(SessionConfig::new().with_batch_size(64));
//! Inspector::new(detector)?.register(&context);
//!
//! let query = format!("SELECT path, inspect(image)['score'] AS score FROM images('{parts}') WHERE path LIKE '%/test/%' ORDER BY score DESC");
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let rows = context.sql(&query).await?.collect().await?;
//! assert!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>() > 1);
//! # Ok::<(), datafusion::error::DataFusionError>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod anomaly_map;
mod columns;
mod error;
mod folder;
mod function;
mod inspect;
mod inspector;
mod models;
mod packed;
mod recent;
mod register;

pub use error::{Error, Result};
pub use inspector::Inspector;
pub use models::Models;
pub use packed::pack;
