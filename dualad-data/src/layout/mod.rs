//! How datasets lie on disk. Each reader lists folders, and nothing else: what is in the files is [`crate::Check`]'s job.

mod folder;
mod listing;
mod mvtec;
mod visa;

use std::path::Path;

use crate::check::Finding;
use crate::dataset::{Category, Dataset};
use crate::error::{Error, Result};

/// The folder of normal images, wherever types of defects have folders.
pub(crate) const GOOD: &str = "good";

/// How a dataset lies on disk.
///
/// Hidden files and files without an image's extension (png, jpg, jpeg, bmp, tif, tiff, webp; in any case) are passed
/// over. Everything is sorted by name, byte by byte, on every platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// MVTec AD, or any folder like it: `<category>/train/good`, `<category>/test/<type>` and
    /// `<category>/ground_truth/<type>/<stem>_mask.png` (or `<stem>.png`). The root may be one category itself.
    Mvtec,
    /// VisA: `split_csv/1cls.csv` names every image and mask.
    Visa,
    /// Normal images in one folder (the root itself, its `train` or its `good`), and, if there is a `test` folder, test
    /// images in `test/good` and `test/<type>`, their masks in `ground_truth` as in MVTec AD.
    Folder,
}

impl Layout {
    /// Recognises the layout of a folder.
    ///
    /// ```no_run
    /// use dualad_data::Layout;
    ///
    /// assert_eq!(Layout::detect("VisA_20220922")?, Layout::Visa);
    /// # Ok::<(), dualad_data::Error>(())
    /// ```
    pub fn detect(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let entries = listing::list(root)?;
        if root.join(visa::TABLE).is_file() {
            return Ok(Self::Visa);
        }
        if mvtec::is_category(root) || entries.folders.iter().any(|folder| mvtec::is_category(&folder.path)) {
            return Ok(Self::Mvtec);
        }
        if folder::normal_images(root)?.is_some() {
            return Ok(Self::Folder);
        }
        let reason = if entries.folders.iter().any(|folder| folder.path.join("Data/Images").is_dir()) {
            format!("it looks like VisA without its {}; VisA's archive has that file", visa::TABLE)
        } else {
            "it has no <category>/train/good (MVTec AD), no split_csv/1cls.csv (VisA), and no images of its own".into()
        };
        Err(Error::Layout { path: root.into(), reason })
    }
}

pub(crate) fn read(layout: Layout, root: &Path) -> Result<Dataset> {
    let mut findings = Vec::new();
    let mut categories = match layout {
        Layout::Mvtec => mvtec::read(root, &mut findings)?,
        Layout::Visa => visa::read(root, &mut findings)?,
        Layout::Folder => folder::read(root, &mut findings)?,
    };
    if categories.is_empty() {
        let reason = format!("as {layout:?}, it has no categories; check the path, or open it as another layout");
        return Err(Error::Layout { path: root.into(), reason });
    }
    categories.sort_by(|a: &Category, b| a.name.cmp(&b.name));
    findings.sort_by(|a: &Finding, b| a.path.cmp(&b.path));
    Ok(Dataset { root: root.into(), layout, categories, findings })
}
