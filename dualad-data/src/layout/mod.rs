//! How datasets lie on disk. Each reader lists folders, and nothing else: what is in the files is [`crate::Check`]'s job.

mod folder;
mod left_out;
mod listing;
mod masks;
mod mvtec;
mod names;
mod recognize;
mod visa;

use std::path::Path;

use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::sample::Category;
use names::GOOD;
use recognize::FolderKind;

/// How a dataset lies on disk.
///
/// Hidden files and files without an image's extension (png, jpg, jpeg, bmp, tif, tiff, webp; in any case) are passed
/// over. Everything is sorted by name, byte by byte, on every platform. Images in a place that the layout does not read
/// are findings ([`crate::FindingKind::LeftOut`], [`crate::FindingKind::UnpairedMask`]), and never passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// MVTec AD, or any folder like it: `<category>/train/good`, `<category>/test/<type>` and
    /// `<category>/ground_truth/<type>/<stem>_mask.png` (or `<stem>.png`, or, as in MVTec LOCO, a folder `<stem>` whose
    /// masks count together, by any value but 0). The root may be one category itself.
    Mvtec,
    /// VisA: `split_csv/1cls.csv` names every image and mask.
    ///
    /// Its first line names the columns, in any order: `object` (the category), `split` (`train` or `test`), `label`
    /// (`normal` or `anomaly`; anything else is a type of defect, and a finding), `image` and `mask` (paths relative to the
    /// root, with `/`; a mask may be empty). Further columns are passed over, as are the masks of normal images.
    Visa,
    /// Normal images in one folder (the root itself, its `train`, `train/good` or `good`), and, if there is a `test`
    /// folder, test images in `test/good` and `test/<type>`, their masks in `ground_truth` as in MVTec AD.
    Folder,
}

impl Layout {
    /// Recognises the layout of a folder, by the first of these that holds:
    ///
    /// 1. It has `split_csv/1cls.csv`: [`Layout::Visa`].
    /// 2. Sub-folders of it have images in `train/good`: [`Layout::Mvtec`], each of them a category, as is each other
    ///    one with images in `train` or `test`.
    /// 3. Its own `train/good` has images: [`Layout::Mvtec`] of one category.
    /// 4. Images lie in it, its `train` or its `good`: [`Layout::Folder`].
    /// 5. Sub-folders, or else its own `train` and `test`, have images without any in `train/good`: [`Layout::Mvtec`]
    ///    with nothing to learn from, to test on.
    /// 6. A sub-folder, or else the folder, has an empty `train/good`: [`Layout::Mvtec`].
    ///
    /// Empty `train` and `test` folders say nothing.
    ///
    /// # Errors
    /// [`Error::Layout`] where none holds, where both the folder and its sub-folders are categories by 2 and 3 or by 5,
    /// and where more than one folder of 4 has images.
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
        match recognize::folder(root, &entries, recognize::plain(root)?)? {
            FolderKind::Category | FolderKind::Categories(_) => Ok(Self::Mvtec),
            FolderKind::Plain(_) => Ok(Self::Folder),
            FolderKind::Nothing => Err(Error::Layout { path: root.into(), reason: nothing(&entries) }),
        }
    }
}

fn nothing(entries: &listing::Listing) -> String {
    if entries.folders.iter().any(|folder| folder.path.join("Data/Images").is_dir()) {
        return format!("it looks like VisA without its {}; VisA's archive has that file", visa::TABLE);
    }
    let mut reason = String::from(
        "it has no <category>/train/good (MVTec AD), no split_csv/1cls.csv (VisA), and no images of its own",
    );
    let has_images =
        |folder: &&listing::Folder| listing::list(&folder.path).is_ok_and(|inner| !inner.images.is_empty());
    // Which of them is the normal one cannot be told: to name one would be to guess.
    let folders: Vec<_> =
        entries.folders.iter().filter(has_images).map(|folder| folder.name.to_string_lossy()).collect();
    if !folders.is_empty() {
        reason.push_str(&format!(
            "; images lie in {}: move the normal ones to train/{GOOD}, and those to test with to test/{GOOD} and \
             test/<type of defect>",
            folders.join(", ")
        ));
    }
    reason
}

/// Reads the categories of a dataset, sorted by name, and the findings, sorted by path.
pub(crate) fn read(layout: Layout, root: &Path) -> Result<(Vec<Category>, Vec<Finding>)> {
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
    if let Some([one, other]) = categories.array_windows().find(|[one, other]| one.name == other.name) {
        let (name, folders) = (&one.name, [&one.folder, &other.folder].map(|folder| folder.display().to_string()));
        let reason = format!("two of its categories read \"{name}\" ({}); rename one, in UTF-8", folders.join(", "));
        return Err(Error::Layout { path: root.into(), reason });
    }
    findings.sort_by(|a: &Finding, b| a.path.cmp(&b.path));
    Ok((categories, findings))
}
