//! The dataset: opened or generated, and checked before anything is computed.

use std::path::Path;

use dualad::data::synthetic::{self, Options};
use dualad::data::{Cancel, Dataset, Layout};

use super::{LayoutName, TrainArgs};
use crate::common::{Result, note};
use crate::progress::Bar;

/// Findings that are shown; the rest is counted.
const SHOWN: usize = 20;

/// The dataset asked for, or a generated one in `out`.
pub(crate) fn open(args: &TrainArgs, out: &Path, cancel: &Cancel) -> Result<Dataset> {
    let dataset = match (&args.data, args.layout) {
        (None, _) => Dataset::open(generated(out)?)?,
        (Some(root), LayoutName::Auto) => Dataset::open_products(root)?,
        (Some(root), LayoutName::Mvtec) => Dataset::open_as(Layout::Mvtec, root)?,
        (Some(root), LayoutName::Visa) => Dataset::open_as(Layout::Visa, root)?,
        (Some(root), LayoutName::Folder) => Dataset::open_as(Layout::Folder, root)?,
    };
    let dataset = if args.categories.is_empty() { dataset } else { dataset.select(&args.categories)? };
    if args.no_check || args.resume {
        return Ok(dataset);
    }
    let bar = Bar::new("checking the dataset");
    let report = dataset.check().cancel(cancel).run_with(|done, total| bar.set(done, total));
    drop(bar);
    let report = report.map_err(dualad::Error::from)?.into_result()?;
    for finding in report.findings.iter().take(SHOWN) {
        note(&finding.to_string());
    }
    if let Some(more @ 1..) = report.findings.len().checked_sub(SHOWN) {
        note(&format!("... and {more} more like these"));
    }
    Ok(dataset)
}

/// A small dataset, always the same; generated unless it is there.
fn generated(out: &Path) -> Result<std::path::PathBuf> {
    let folder = out.join("data");
    // It gets its name when it is complete.
    if !folder.join("readme.txt").is_file() {
        let bar = Bar::new("generating a dataset");
        synthetic::write(&folder, &Options::default(), |done, total| bar.set(done, total))?;
    }
    Ok(folder)
}
