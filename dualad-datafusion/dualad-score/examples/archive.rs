//! Writes an archive of generated images as a Parquet file, and a model for them.
//!
//!     cargo run --example archive -- FOLDER [IMAGES] [SIDE]
//!
//! `FOLDER/images.parquet` has the columns `id`, `line`, `taken`, `category` and `image`, in row groups of 500 images. One image in 20 has
//! a defect, and one in 1,000 is broken. `FOLDER/model` is a bank without training.
#![allow(clippy::print_stderr, reason = "the example's progress")]

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use dualad::backbones::Backbone;
use dualad::data::image_crate::ImageFormat;
use dualad::data::synthetic::{self, Category, Options, render};
use dualad::recipe::Recipe;
use dualad::{Detector, Variant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The number of images of a row group.
const GROUP: usize = 500;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder")?;
    let images: usize = arguments.next().map_or(Ok(1_000), |count| count.parse())?;
    let side: u32 = arguments.next().map_or(Ok(64), |side| side.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    model(folder, side)?;
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP))
        .set_compression(Compression::UNCOMPRESSED)
        .build();
    let first = batch(0..1, side)?;
    let mut writer =
        ArrowWriter::try_new(File::create(folder.join("images.parquet"))?, first.schema(), Some(properties))?;
    for start in (0..images).step_by(GROUP) {
        writer.write(&batch(start..images.min(start + GROUP), side)?)?;
        if start % (20 * GROUP) == 0 {
            eprintln!("{start} of {images} images");
        }
    }
    writer.close()?;
    Ok(())
}

/// Fits a bank on good images of two products.
fn model(folder: &Path, side: u32) -> Result<()> {
    let parts = folder.join("parts");
    let options = Options {
        size: side,
        train: 20,
        test_good: 2,
        test_per_defect: 1,
        categories: vec![Category::Gear, Category::Plate],
        ..Options::default()
    };
    synthetic::write(&parts, &options, |_, _| {})?;
    let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    recipe.train.epochs = 0;
    Detector::fit(parts.as_path()).recipe(recipe).run()?.detector.save(folder.join("model"))?;
    Ok(())
}

fn batch(ids: std::ops::Range<usize>, side: u32) -> Result<RecordBatch> {
    let (mut id, mut line, mut category) = (Int64Builder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut taken, mut image) = (TimestampMillisecondBuilder::new(), BinaryBuilder::new());
    for number in ids {
        let product = if number % 2 == 0 { Category::Gear } else { Category::Plate };
        let defect = product.defects().first().copied().filter(|_| number % 20 == 7);
        let mut content = Cursor::new(Vec::new());
        render(product, 1, number, defect, side)?.0.write_to(&mut content, ImageFormat::Png)?;
        let mut content = content.into_inner();
        if number % 1000 == 999 {
            content.truncate(content.len() / 2);
        }
        id.append_value(i64::try_from(number)?);
        line.append_value(if number % 3 == 0 { "north" } else { "south" });
        category.append_value(product.name());
        // One image a second from 2026-01-01 on.
        taken.append_value(1_767_225_600_000 + 1000 * i64::try_from(number)?);
        image.append_value(content);
    }
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(id.finish())),
        ("line", Arc::new(line.finish())),
        ("taken", Arc::new(taken.finish())),
        ("category", Arc::new(category.finish())),
        ("image", Arc::new(image.finish())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
