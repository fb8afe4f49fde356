//! What a dataset is, whatever its layout on disk.

use std::path::{Path, PathBuf};

use crate::check::{Check, Finding, Report};
use crate::error::{Error, Result};
use crate::image::{Limits, Mask};
use crate::layout::{self, Layout};

/// What an image is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Learn what is normal from it.
    Train,
    /// Score it.
    Test,
}

/// What is known about an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// Without a defect.
    Normal,
    /// With a defect of this type: the name of its folder, or of its label in a table.
    Anomalous(String),
}

impl Label {
    /// Whether there is a defect.
    pub fn is_anomalous(&self) -> bool {
        matches!(self, Self::Anomalous(_))
    }
}

/// Which values of a mask mark a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MaskRule {
    /// 255 alone, or 65535 in a mask of 16 bits (MVTec AD).
    White,
    /// Everything but 0 (VisA).
    NonZero,
}

impl MaskRule {
    /// Whether this value marks a defect.
    #[inline]
    pub fn marks(self, value: u8) -> bool {
        match self {
            Self::White => value == 255,
            Self::NonZero => value != 0,
        }
    }
}

/// One image and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The image.
    pub path: PathBuf,
    /// The name of its category.
    pub category: String,
    /// What it is used for.
    pub split: Split,
    /// What is known about it.
    pub label: Label,
    /// The masks of its defects. Most datasets have one file for each anomalous image, MVTec LOCO has one for each defect:
    /// a pixel is defective if any of them marks it. Empty for an image without masks.
    pub masks: Vec<PathBuf>,
    /// The mask values that mark a defect.
    pub mask_rule: MaskRule,
}

impl Sample {
    /// A sample of one's own: a test image without a mask until told otherwise.
    pub fn new(path: impl Into<PathBuf>, category: impl Into<String>, split: Split, label: Label) -> Self {
        let (path, category) = (path.into(), category.into());
        Self { path, category, split, label, masks: Vec::new(), mask_rule: MaskRule::White }
    }

    /// The masks that count: all [`masks`](Self::masks) of an anomalous image, none of a normal one.
    pub fn defect_masks(&self) -> &[PathBuf] {
        if self.label.is_anomalous() { &self.masks } else { &[] }
    }

    /// Reads the [`defect_masks`](Self::defect_masks) and joins them: a pixel is set if any of them marks it. `None` if there
    /// are none. `size` is the width and height of the image.
    ///
    /// # Errors
    /// The errors of [`Mask::read`], and [`Error::MaskSize`] if a mask has another size than the image.
    pub fn read_mask(&self, size: (u32, u32), limits: &Limits) -> Result<Option<Mask>> {
        let mut all: Option<Mask> = None;
        for path in self.defect_masks() {
            let mask = Mask::read(path, self.mask_rule, limits)?;
            self.check_mask_size(path, (mask.width(), mask.height()), size)?;
            match &mut all {
                Some(all) => all.add(&mask),
                None => all = Some(mask),
            }
        }
        Ok(all)
    }

    pub(crate) fn check_mask_size(&self, mask: &Path, mask_size: (u32, u32), image_size: (u32, u32)) -> Result<()> {
        if mask_size == image_size {
            return Ok(());
        }
        Err(Error::MaskSize { mask: mask.into(), mask_size, image: self.path.clone(), image_size })
    }
}

/// One kind of object or texture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Category {
    /// Its name; a name that is not UTF-8 has its foreign bytes replaced.
    pub name: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// Its images: training before test, and by name within each folder.
    pub samples: Vec<Sample>,
}

/// Images on disk, read from any known [`Layout`]. Opening one lists folders and decodes nothing.
///
/// ```no_run
/// use dualad_data::{Dataset, Split};
///
/// let dataset = Dataset::open("mvtec")?.select(&["bottle", "screw"])?;
/// dataset.check().run()?.into_result()?;
/// for sample in dataset.samples(Split::Train) {
///     assert!(!sample.label.is_anomalous());
/// }
/// # Ok::<(), dualad_data::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dataset {
    /// The folder.
    pub root: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// By name.
    pub categories: Vec<Category>,
    /// What looked wrong while the folders were read, such as a mask without an image; part of every [`Dataset::check`].
    pub findings: Vec<Finding>,
}

impl Dataset {
    /// Reads a folder, whose layout is recognised.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        Self::open_as(Layout::detect(root)?, root)
    }

    /// [`Self::open`], and where that finds no dataset, a folder that holds nothing but a folder of images for each product:
    /// each is read as a category of its own.
    ///
    /// # Errors
    /// As [`Self::open`] of the folder, or of the first product that cannot be read.
    pub fn open_products(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let error = match Self::open(root) {
            Ok(dataset) => return Ok(dataset),
            Err(error) => error,
        };
        let Ok(entries) = std::fs::read_dir(root) else { return Err(error) };
        let mut products: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        products.retain(|path| !hidden(path));
        products.sort();
        // Images beside the folders would belong to none of them.
        if products.is_empty() || products.iter().any(|path| !path.is_dir()) {
            return Err(error);
        }
        let mut all = Self { root: root.into(), layout: Layout::Folder, categories: Vec::new(), findings: Vec::new() };
        for product in products {
            // What is wrong with one of them says more than that the whole is no dataset.
            let Self { categories, findings, .. } = Self::open_as(Layout::Folder, product)?;
            all.categories.extend(categories);
            all.findings.extend(findings);
        }
        Ok(all)
    }

    /// Reads a folder of this layout.
    pub fn open_as(layout: Layout, root: impl AsRef<Path>) -> Result<Self> {
        layout::read(layout, root.as_ref())
    }

    /// Keeps these categories, in this order, and their findings; a name that is given twice counts once.
    pub fn select<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self> {
        let mut kept = Vec::with_capacity(names.len());
        if names.is_empty() {
            let reason = "name at least one category".into();
            return Err(Error::Value { field: "categories", value: "[]".into(), reason });
        }
        for name in names.iter().map(AsRef::as_ref) {
            if kept.iter().any(|category: &Category| category.name == name) {
                continue;
            }
            let Some(position) = self.categories.iter().position(|category| category.name == name) else {
                let mut available: Vec<&str> = kept.iter().chain(&self.categories).map(|c| c.name.as_str()).collect();
                available.sort_unstable();
                return Err(Error::UnknownCategory { name: name.into(), available: available.join(", ") });
            };
            kept.push(self.categories.remove(position));
        }
        self.findings.retain(|finding| kept.iter().any(|category| category.name == finding.category));
        self.categories = kept;
        Ok(self)
    }

    /// Reads all masks by this rule, and not by the layout's own.
    #[must_use]
    pub fn mask_rule(mut self, rule: MaskRule) -> Self {
        for sample in self.categories.iter_mut().flat_map(|category| &mut category.samples) {
            sample.mask_rule = rule;
        }
        self
    }

    /// The images of one split, category after category.
    pub fn samples(&self, split: Split) -> impl Iterator<Item = &Sample> {
        self.categories.iter().flat_map(|category| &category.samples).filter(move |sample| sample.split == split)
    }

    /// A check of every file, to be run before training starts.
    pub fn check(&self) -> Check<'_> {
        Check::new(self)
    }

    /// [`Dataset::check`] with its defaults.
    pub fn checked(&self) -> Result<Report> {
        self.check().run()
    }
}
