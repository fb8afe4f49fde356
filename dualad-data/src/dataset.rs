//! A dataset, whatever its layout on disk.

use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::layout::{self, Layout};
use crate::sample::{Category, Sample, Split};

/// A dataset on disk in a known [`Layout`]. Opening it lists folders. Only images that by their names may be masks of others, beside
/// them or around their folder, are decoded, and a few of each product.
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
    /// The layout.
    pub layout: Layout,
    /// The categories, sorted by name.
    pub categories: Vec<Category>,
    /// Faults that were noticed while the folders were listed, such as a mask without an image: one for each file or folder at
    /// fault, without a bound on their number, so that each can be looked up, apart from the lines of a table that name an image again.
    /// [`Dataset::check`] includes them, and lists the first of each kind.
    pub findings: Vec<Finding>,
}

impl Dataset {
    /// Opens a folder and detects its layout.
    ///
    /// # Errors
    /// The errors of [`Layout::detect`] and [`Self::open_as`].
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        Self::open_as(Layout::detect(root)?, root)
    }

    /// Opens a folder like [`Self::open`]. If that finds no layout and the folder contains folders of images, each of these
    /// becomes a category. Other files and folders in it do not matter, except for images. Folders that may show one product, by a few
    /// images of each or by their names, are a fatal finding ([`FindingKind::SameProduct`]); [`Self::select`] takes it away.
    ///
    /// # Errors
    /// The error of [`Self::open`] for the folder, or for the first of the folders in it that cannot be read. [`Error::Layout`]
    /// if names of folders or files say that some images are defective, and it is unknown which ones are normal.
    pub fn open_products(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        if let Some(layout) = layout::detect(root)? {
            return Self::open_as(layout, root);
        }
        let mut all = Self { root: root.into(), layout: Layout::Folder, categories: Vec::new(), findings: Vec::new() };
        for product in layout::products(root, &mut all.findings)? {
            // An error of one folder is more precise than the error of the whole.
            let (categories, findings) = layout::read(Layout::Folder, &product)?;
            all.categories.extend(categories);
            all.findings.extend(findings);
        }
        if all.categories.is_empty() {
            return Err(layout::unknown(root));
        }
        layout::report_files(root, &all.categories, &mut all.findings)?;
        // What is told of files around the folder says nothing about those in it.
        let mut around = Vec::new();
        layout::report_labels_around_products(root, &all.categories, &mut around)?;
        layout::mark_products(root, &mut all.categories, &mut all.findings);
        all.findings.append(&mut around);
        Ok(all)
    }

    /// Opens a folder of this layout.
    ///
    /// # Errors
    /// [`Error::Layout`] if the folder does not have this layout; [`Error::Table`] for a table or a JSON file that is not valid;
    /// [`Error::Annotations`] for annotations that contradict themselves or name a path outside; [`Error::Io`] if a folder cannot
    /// be listed or a file not be read; for KolektorSDD, the errors of [`Sample::read_mask`].
    pub fn open_as(layout: Layout, root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let (categories, mut findings) = layout::read(layout, root)?;
        if layout == Layout::Folder {
            layout::report_labels_around(&categories, &mut findings)?;
        }
        Ok(Self { root: root.into(), layout, categories, findings })
    }

    /// Keeps these categories and their findings, in this order, and findings about the labels of the whole dataset. A repeated name counts once.
    ///
    /// # Errors
    /// [`Error::UnknownCategory`] for a name that the dataset does not have, [`Error::Value`] for an empty list.
    pub fn select<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self> {
        let mut kept = Vec::with_capacity(names.len());
        if names.is_empty() {
            let reason = "name at least one category".into();
            return Err(Error::Value { field: "categories", value: "[]".into(), reason });
        }
        for name in names.iter().map(AsRef::as_ref) {
            // Accents may be spelled in two ways.
            let is = |category: &Category| category.name == name || category.name.nfc().eq(name.nfc());
            if kept.iter().any(is) {
                continue;
            }
            let Some(position) = self.categories.iter().position(is) else {
                let mut available: Vec<&str> = kept.iter().chain(&self.categories).map(|c| c.name.as_str()).collect();
                available.sort_unstable();
                // A name may have a comma.
                let available: Vec<String> = available.iter().map(|name| format!("\"{name}\"")).collect();
                return Err(Error::UnknownCategory { name: name.into(), available: available.join(", ") });
            };
            kept.push(self.categories.remove(position));
        }
        // Labels of a table are read in the same way for all categories.
        let is_of_table = |finding: &Finding| {
            finding.category.is_empty() && matches!(finding.kind, FindingKind::Choice | FindingKind::UnclearLabel)
        };
        self.findings
            .retain(|finding| is_of_table(finding) || kept.iter().any(|category| category.name == finding.category));
        self.categories = kept;
        Ok(self)
    }

    /// Sets the mask rule of all samples, instead of that of the layout.
    #[must_use]
    pub fn mask_rule(mut self, rule: MaskRule) -> Self {
        for sample in self.categories.iter_mut().flat_map(|category| &mut category.samples) {
            sample.mask_rule = rule;
        }
        self
    }

    /// Returns the images of one split, category after category.
    pub fn samples(&self, split: Split) -> impl Iterator<Item = &Sample> {
        self.categories.iter().flat_map(|category| &category.samples).filter(move |sample| sample.split == split)
    }
}
