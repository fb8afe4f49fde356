//! The layouts of datasets on disk. The readers list folders and read tables and annotations; [`crate::Check`] reads the images.
//! KolektorSDD's masks are read here, since they alone say which images are normal, and so are images that may be masks of others.

mod alike;
mod answers;
mod apart;
mod around;
mod around_files;
mod beside;
mod bounded;
mod coco;
mod coco_doubts;
mod coco_file;
mod coco_places;
mod columns;
mod content;
mod crops;
mod dagm;
mod defects;
mod derived;
mod divide;
mod encoding;
mod files;
mod folder;
mod foreign;
mod image_index;
mod kolektor;
mod label_files;
mod label_list;
mod labelme;
mod left_out;
mod listing;
mod mask_content;
mod mask_folders;
mod mask_name;
mod mask_pairs;
mod mask_words;
mod masks;
mod mvtec;
mod mvtec_3d;
mod mvtec_ad2;
mod named;
mod names;
mod near_names;
mod nearby;
mod own_files;
mod parts;
mod products;
mod readers;
mod real_iad;
mod recognize;
mod record;
mod records;
mod root_masks;
mod run_lengths;
mod separated;
mod siblings;
mod sides;
mod stated;
mod table_labels;
mod table_path;
mod table_repeats;
mod tabular;
mod train_masks;
mod training_images;
mod training_labels;
mod unread;
mod views;
mod visa;
mod words;
mod yaml;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::sample::{Category, Sample, Split};
pub(crate) use mask_content::{Look, look};
pub(crate) use mask_name::is_by_content;
#[cfg(all(feature = "render", feature = "tiff"))]
pub(crate) use mvtec_ad2::private_images;
pub(crate) use products::{products, report_files};
use recognize::FolderKind;
pub(crate) use views::{is_view, part_and_view};

/// The layout of a dataset on disk.
///
/// Hidden files and what operating systems, network storages and archivers leave (`Thumbs.db`, `@eaDir`, `__MACOSX`,
/// `lost+found`) are ignored. Files with an image's ending ([`crate::IMAGE_ENDINGS`]) are images. Files with the ending of
/// another format ([`crate::OTHER_IMAGE_ENDINGS`]) or without an ending are images if their content is. Everything is sorted by
/// name, byte by byte, on every platform. Images in a place where the layout has none, and images that are not read, are
/// findings ([`crate::FindingKind::LeftOut`], [`crate::FindingKind::UnpairedMask`]).
///
/// The names of folders have aliases, in upper or lower case:
///
/// | name | aliases |
/// |---|---|
/// | `good` | `ok`, `okay`, `normal`, `no_defect`, `defect_free`, and words of other languages (`良品`, `gut`, `bon`); only if there is no `good` with images |
/// | `train`, `test` | `training`, `testing` |
/// | `ground_truth` | `gt`, `mask`, `masks` |
///
/// A mask is named by the stem of its image, with one of the endings `_mask`, `_gt`, `_label`, `_seg` (`-mask` and so on, in
/// upper or lower case) and perhaps a number, or without. Masks among images are not read as images. Among images of the same
/// name, or with an ending that is not known, the content tells masks: they have the size of the image, and few colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// MVTec AD, or any folder like it: `<category>/train/good`, `<category>/test/<type>` and
    /// `<category>/ground_truth/<type>/<stem>_mask.png`. The mask may also be `<stem>.png`, or, as in MVTec LOCO, all masks
    /// of a folder `<stem>`, in which every value except 0 marks a defect. The root may be a category itself.
    Mvtec,
    /// VisA: `split_csv/1cls.csv` lists every image and mask.
    ///
    /// Its first line names the columns, in any order: `object` (the category), `split` (`train` or `test`), `label`
    /// (`normal` or `anomaly`; any other value is a defect type, and a finding), `image` and `mask` (paths relative to the
    /// root, with `/` or `\` between their parts; the mask may be empty). Other columns and the masks of normal images are ignored.
    Visa,
    /// A plain folder: normal images in the root, its `train`, `train/good` or `good`. Test images are optional: they lie in
    /// `test/good` and `test/<type>`, and their masks in `ground_truth`, as in MVTec AD. Beside a folder `good`, defective images
    /// may also lie in a folder named `bad` (`ng`, `ko`, `defect`, `anomaly`, `abnormal`, ..), or in its subfolders, one for each
    /// type; and in other folders for which `ground_truth` has a folder of masks.
    Folder,
    /// A table of images, CSV (`csv`, `tsv`) or JSON lines (`jsonl`, `ndjson`), in the root, or the root itself. Its columns
    /// are `path`, `label` (`normal` or a defect type), and optionally `category`, `split` (`train`, `val`, `test`) and `mask`;
    /// anomalib's names of columns count, too. Paths are relative to the table. Every mask value except 0 marks a defect.
    Table,
    /// COCO annotations as CVAT, Roboflow and Label Studio write them: polygons, run lengths or boxes. The file lies in the
    /// root, in `annotations`, or in folders `train`, `valid` and `test`; or it is the root itself. An image without
    /// annotations is normal.
    Coco,
    /// LabelMe annotations: `<stem>.json` beside the image, or a file beside it whose `imagePath` names it. An image without such a
    /// file is normal.
    LabelMe,
    /// KolektorSDD (`kos01/Part0.jpg`, `Part0_label.bmp`) and KolektorSDD2 (`train` and `test` with `10000.png`,
    /// `10000_GT.png`). An image is anomalous if its mask marks a pixel, so opening decodes the masks.
    Kolektor,
    /// DAGM 2007: `<class>/Train` and `<class>/Test`, with masks in their `Label`. An image without a mask is normal.
    Dagm,
    /// MVTec AD 2: `<category>/train/good`, `test_public/good`, `test_public/bad` and `test_public/ground_truth/bad`. The
    /// images of `validation`, `test_private` and `test_private_mixed` are noted, and not used.
    MvtecAd2,
    /// The color images of MVTec 3D-AD: `<category>/train/good/rgb`, `test/<type>/rgb` and `test/<type>/gt`.
    Mvtec3d,
    /// Real-IAD: `realiad_jsons/<category>.json` lists the images of `realiad_1024/<category>` (or of another size).
    /// [`Sample::object`](crate::Sample::object) names the object that an image is a view of.
    RealIad,
}

impl std::fmt::Display for Layout {
    /// Writes the name in lower case: `mvtec`, `visa`, `mvtec-ad2`, `real-iad` and so on.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mvtec => "mvtec",
            Self::Visa => "visa",
            Self::Folder => "folder",
            Self::Table => "table",
            Self::Coco => "coco",
            Self::LabelMe => "labelme",
            Self::Kolektor => "kolektor",
            Self::Dagm => "dagm",
            Self::MvtecAd2 => "mvtec-ad2",
            Self::Mvtec3d => "mvtec-3d",
            Self::RealIad => "real-iad",
        })
    }
}

impl Layout {
    /// Detects the layout of a folder by the first of these rules that applies:
    ///
    /// 1. The folder has `split_csv/1cls.csv`: [`Layout::Visa`].
    /// 2. The folder has the names of a published dataset: [`Layout::RealIad`], [`Layout::MvtecAd2`], [`Layout::Mvtec3d`],
    ///    [`Layout::Kolektor`], [`Layout::Dagm`].
    /// 3. The root is a file, or neither it nor a subfolder has images in `train/good`: a table with the columns `path` and
    ///    `label` ([`Layout::Table`]), then COCO's files ([`Layout::Coco`]), then `<stem>.json` beside an image
    ///    ([`Layout::LabelMe`]); these also in subfolders.
    /// 4. Subfolders have images in `train/good`: [`Layout::Mvtec`]. These subfolders are categories, and so are other
    ///    subfolders with images in `train` or `test`.
    /// 5. The folder has images in `train/good`: [`Layout::Mvtec`] with one category.
    /// 6. The folder, its `train` or its `good` has images: [`Layout::Folder`].
    /// 7. Subfolders, or else the folder, have images in `train` or `test`, but none in `train/good`: [`Layout::Mvtec`]
    ///    without training images. No rule applies if such a subfolder is one of rule 6: it is a product
    ///    ([`crate::Dataset::open_products`]).
    /// 8. A subfolder, or else the folder, has an empty `train/good`: [`Layout::Mvtec`].
    ///
    /// Empty `train` and `test` folders are ignored.
    ///
    /// # Errors
    /// [`Error::Layout`] if no rule applies, if both the folder and its subfolders are categories by rules 4 and 5 or by rule
    /// 7, and if several folders of rule 6 have images. [`Error::Io`] if a folder cannot be listed.
    ///
    /// ```no_run
    /// use dualad_data::Layout;
    ///
    /// assert_eq!(Layout::detect("VisA_20220922")?, Layout::Visa);
    /// # Ok::<(), dualad_data::Error>(())
    /// ```
    pub fn detect(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        detect(root)?.ok_or_else(|| unknown(root))
    }
}

/// Detects the layout of a folder, if it has one.
pub(crate) fn detect(root: &Path) -> Result<Option<Layout>> {
    if root.is_file() {
        return readers::of_file(root).map(Some);
    }
    let entries = listing::list(root)?;
    if root.join(visa::TABLE).is_file() {
        return Ok(Some(Layout::Visa));
    }
    if let Some(layout) = readers::published(root, &entries) {
        return Ok(Some(layout));
    }
    if let Some(layout) = readers::annotated(root, &entries)? {
        return Ok(Some(layout));
    }
    Ok(match recognize::folder(root, &entries, recognize::plain(root)?)? {
        FolderKind::Category | FolderKind::Categories(_) => Some(Layout::Mvtec),
        FolderKind::Plain(_) => Some(Layout::Folder),
        // Each is read by itself.
        FolderKind::Products(_) | FolderKind::Nothing => None,
    })
}

/// Returns the error for a folder without a known layout. It names the near misses.
pub(crate) fn unknown(root: &Path) -> Error {
    if let Some(error) = coco::incomplete(root) {
        return error;
    }
    match listing::list(root) {
        Ok(entries) => Error::Layout { path: root.into(), reason: nearby::describe(root, &entries) },
        Err(error) => error,
    }
}

/// Marks the images to train on of products in which files beside the products mark a defect, and reports the other files there.
pub(crate) fn mark_products(root: &Path, categories: &mut [Category], findings: &mut Vec<Finding>) {
    let known: HashSet<PathBuf> = categories.iter().map(|category| category.folder.clone()).collect();
    let read = training_labels::mark(root, &known, None, categories, findings);
    let others = listing::list(root).map_or(Vec::new(), |listing| listing.others);
    let others: Vec<PathBuf> = others.into_iter().filter(|file| !read.contains(file)).collect();
    // The readers of the products name the files in them.
    let mut beside: Vec<Finding> = findings.extract_if(.., |finding| finding.category.is_empty()).collect();
    unread::other_files(root, &others, "", &mut beside);
    findings.append(&mut beside);
}

/// Returns an error if masks or labels of the images to train on lie around their folder, and reports files there that cannot be read.
pub(crate) fn report_labels_around(categories: &[Category], findings: &mut Vec<Finding>) -> Result<()> {
    let trained = || categories.iter().flat_map(|category| &category.samples).filter(|s| s.split == Split::Train);
    let Some(folder) = trained().next().and_then(|sample| sample.path.parent()) else { return Ok(()) };
    let images: Vec<PathBuf> = trained().map(|s| s.path.clone()).filter(|path| path.parent() == Some(folder)).collect();
    around::report(folder, &images, findings)
}

/// Returns an error if masks or labels of the images of products lie around the folder of the products, and reports files there that cannot be
/// read. Folders for normal images, and products with test images, are not looked at: labels there may be those of other images.
pub(crate) fn report_labels_around_products(
    root: &Path,
    categories: &[Category],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let is_trained = |sample: &Sample| sample.split == Split::Train;
    let is_stated = |sample: &Sample| sample.path.parent().and_then(Path::file_name).is_some_and(names::is_normal);
    let samples = categories.iter().map(|category| &category.samples).filter(|samples| samples.iter().all(is_trained));
    let images = samples.flatten().filter(|sample| !is_stated(sample)).map(|sample| sample.path.clone());
    around::report(root, &images.collect::<Vec<_>>(), findings)
}

/// Reads the categories of a dataset, sorted by name, and the findings, sorted by path.
pub(crate) fn read(layout: Layout, root: &Path) -> Result<(Vec<Category>, Vec<Finding>)> {
    if root.is_dir() {
        listing::refuse_paths_as_names(root)?;
    }
    let mut findings = Vec::new();
    let mut categories = match layout {
        Layout::Mvtec => mvtec::read(root, &mut findings)?,
        Layout::Visa => visa::read(root, &mut findings)?,
        Layout::Folder => folder::read(root, &mut findings)?,
        Layout::Table => tabular::read(root, &mut findings)?,
        Layout::Coco => coco::read(root, &mut findings)?,
        Layout::LabelMe => labelme::read(root, &mut findings)?,
        Layout::Kolektor => kolektor::read(root, &mut findings)?,
        Layout::Dagm => dagm::read(root, &mut findings)?,
        Layout::MvtecAd2 => mvtec_ad2::read(root, &mut findings)?,
        Layout::Mvtec3d => mvtec_3d::read(root, &mut findings)?,
        Layout::RealIad => real_iad::read(root, &mut findings)?,
    };
    if categories.is_empty() {
        let reason = format!("as {layout}, it has no categories; check the path, or open it as another layout");
        return Err(Error::Layout { path: root.into(), reason });
    }
    categories.sort_by(|a: &Category, b| a.name.cmp(&b.name));
    if let Some([one, other]) = categories.array_windows().find(|[one, other]| one.name == other.name) {
        let (name, folders) = (&one.name, [&one.folder, &other.folder].map(|folder| folder.display().to_string()));
        let reason = format!("two of its categories read \"{name}\" ({}); rename one, in UTF-8", folders.join(", "));
        return Err(Error::Layout { path: root.into(), reason });
    }
    let own = own_files::OwnFiles::of(root, layout, &categories);
    let folder = if root.is_file() { files::parent(root) } else { root };
    let read = training_labels::mark(folder, &HashSet::new(), Some(&own), &mut categories, &mut findings);
    unread::report(folder, layout, &|file| own.have(file) || read.contains(file), &categories, &mut findings);
    findings.sort_by(|a: &Finding, b| a.path.cmp(&b.path));
    Ok((categories, findings))
}
