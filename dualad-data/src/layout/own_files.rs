//! The files that the reader of a layout reads, apart from images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::coco_file::is_coco;
use super::files::parent;
use super::labelme::is_labelme;
use super::listing::file_name;
use super::mask_name::{Key, key};
use super::{Layout, tabular};
use crate::image_name::has_ending;
use crate::sample::Category;
use crate::saturation;

/// The files of a dataset that its reader reads, or that a published dataset has.
pub(super) struct OwnFiles {
    layout: Layout,
    /// The table of [`Layout::Table`].
    table: Option<PathBuf>,
    /// The names of the images, which the files of [`Layout::LabelMe`] have.
    names: BTreeSet<Key>,
}

impl OwnFiles {
    /// `root` is the folder of the dataset, or the file that was opened.
    pub(super) fn of(root: &Path, layout: Layout, categories: &[Category]) -> Self {
        let table = (layout == Layout::Table).then(|| tabular::table_of(root).ok()).flatten();
        // As a listing of its folder names it.
        let table = table.map(|table| parent(&table).join(file_name(&table)));
        let names = if layout == Layout::LabelMe {
            categories.iter().flat_map(|category| &category.samples).map(|sample| key(&sample.path)).collect()
        } else {
            BTreeSet::new()
        };
        Self { layout, table, names }
    }

    /// Returns whether a file is one of them.
    pub(super) fn have(&self, file: &Path) -> bool {
        let is_json = has_ending(file, &["json"]);
        match self.layout {
            Layout::Visa => {
                // The splits, and the table of each category.
                let is_in = |folder: &Path| folder.file_name().is_some_and(|name| name == "split_csv");
                has_ending(file, &["csv"]) && (file.parent().is_some_and(is_in) || file_name(file) == "image_anno.csv")
            }
            Layout::Table => self.table.as_deref() == Some(file),
            Layout::Coco => is_json && is_coco(file),
            Layout::LabelMe => is_json && (self.names.contains(&key(file)) || is_labelme(file)),
            Layout::RealIad | Layout::Mvtec3d => is_json,
            Layout::Dagm => has_ending(file, &["txt"]),
            Layout::Mvtec => file_name(file) == saturation::FILE,
            Layout::Folder | Layout::Kolektor | Layout::MvtecAd2 => false,
        }
    }
}
