//! The images of defect types, with their masks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::beside::{Beside, note_by_content, report_derived, report_pairs, report_unclear, separate};
use super::derived;
use super::left_out::LeftOut;
use super::listing::{Folder, Listing, list, list_if_there};
use super::mask_name::composed;
use super::mask_pairs::separate_pairs;
use super::masks::Masks;
use super::names::{
    GOOD, Part, Stated, holds_images, holds_masks, is_defective, is_normal, label_of, may_be_negative, may_be_normal,
    may_hold_labels,
};
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Label, Sample, Split};

const TEST: &str = "test";
const TRUTH: &str = "ground_truth";

/// The folders of images of one category that have labels of defects, and the folder of their masks.
pub(super) struct Defects<'a> {
    /// The folder of the category.
    pub(super) top: &'a Path,
    pub(super) category: &'a str,
    /// The folder of the masks. It may be missing.
    pub(super) truth: &'a Path,
    /// The images to train on.
    trained: &'a [PathBuf],
    types: Vec<Type>,
    /// Folders of masks beside the folders of images, and the names of the types.
    beside: Vec<(std::ffi::OsString, PathBuf)>,
}

/// The images of a type.
struct Type {
    label: String,
    /// The names of its folder and of the one around it, which a folder of masks may have.
    names: Vec<std::ffi::OsString>,
    /// Its folder for messages, such as `test/cut`.
    place: String,
    /// Its images, and the masks beside them.
    beside: Beside,
}

impl<'a> Defects<'a> {
    pub(super) fn new(top: &'a Path, category: &'a str, truth: &'a Path, trained: &'a [PathBuf]) -> Self {
        Self { top, category, truth, trained, types: Vec::new(), beside: Vec::new() }
    }

    /// Adds a folder of masks that lies beside the folder of its images, whose name is `kind`.
    pub(super) fn add_masks(&mut self, kind: &Folder, masks: &Folder) {
        self.beside.push((kind.name.clone(), masks.path.clone()));
    }

    /// Adds the images of a folder. A folder for defects of any kind (`bad`) may have one folder for each type.
    pub(super) fn add(&mut self, folder: &Folder, findings: &mut Vec<Finding>) -> Result<()> {
        let listing = list(&folder.path)?;
        // Masks lie beside their images: `bad/masks`, or `cut/mask` in the folder of the images.
        let (masks, folders): (Vec<&Folder>, Vec<&Folder>) =
            listing.folders.iter().partition(|kind| holds_masks(&kind.name));
        let (derived, folders): (Vec<&Folder>, Vec<&Folder>) =
            folders.into_iter().partition(|kind| derived::fill(kind, self.top));
        LeftOut { top: self.top, category: self.category, findings }.folders(derived, derived::FOLDER);
        let mut inner = Vec::new();
        if is_defective(&folder.name) {
            for kind in &folders {
                match list(&kind.path) {
                    Ok(found) if !found.images.is_empty() && Part::of(&kind.name).is_none() => {
                        inner.push((*kind, found))
                    }
                    _ => {}
                }
            }
        }
        match (&masks[..], usize::from(!listing.images.is_empty()) + inner.len()) {
            ([masks], 1) => {
                let name = inner.first().map_or(&folder.name, |(kind, _)| &kind.name);
                self.beside.push((name.clone(), masks.path.clone()));
            }
            (masks, _) => {
                let advice = format!("they are masks by the name of the folder; masks belong in {TRUTH}/<type>");
                LeftOut { top: self.top, category: self.category, findings }.folders(masks.iter().copied(), &advice);
            }
        }
        let is_inner = |kind: &&Folder| !inner.iter().any(|(known, _)| known.path == kind.path);
        let mut left_out = LeftOut { top: self.top, category: self.category, findings };
        let advice = format!("images of {TEST}/<type> belong directly in that folder");
        left_out.folders(folders.into_iter().filter(is_inner), &advice);
        for (kind, found) in inner {
            left_out.folders(&found.folders, &advice);
            let names = vec![kind.name.clone(), folder.name.clone()];
            self.push(names, &kind.path, found.images, left_out.findings);
        }
        self.push(vec![folder.name.clone()], &folder.path, listing.images, findings);
        Ok(())
    }

    fn push(
        &mut self,
        names: Vec<std::ffi::OsString>,
        folder: &Path,
        files: Vec<PathBuf>,
        findings: &mut Vec<Finding>,
    ) {
        let Some(name) = names.first() else { return };
        // `bad/images` has defects of any type.
        let label = names.iter().find(|name| !holds_images(name)).unwrap_or(name).to_string_lossy().into_owned();
        let may_be_good =
            is_normal(name) || may_be_normal(name) || may_be_negative(name) || label_of(name) == Stated::Normal;
        if may_hold_labels(name) && !files.is_empty() {
            let what = format!(
                "its images count as defects of type \"{label}\"; if they are masks, as its name says, they belong in \
                 {TRUTH}/<type>"
            );
            findings.push(Finding::new(FindingKind::UnclearLabel, self.category, folder, what));
        }
        if may_be_good && !files.is_empty() {
            let what = format!("its images count as defects of type \"{label}\"; normal ones belong in {TEST}/{GOOD}");
            findings.push(Finding::new(FindingKind::UnclearLabel, self.category, folder, what));
        }
        let mut beside = separate(files);
        separate_pairs(&mut beside, self.trained);
        report_derived(&beside, folder, self.category, findings);
        report_pairs(&beside.images, folder, self.category, findings);
        report_unclear(&beside, folder, self.category, findings);
        note_by_content(&beside, folder, self.category, findings);
        let place = folder.strip_prefix(self.top).unwrap_or(folder).display().to_string();
        self.types.push(Type { label, names, place, beside });
    }

    /// Returns the images with their masks, and reports masks that are not used.
    pub(super) fn read(self, findings: &mut Vec<Finding>) -> Result<Vec<Sample>> {
        let truth = list_if_there(self.truth)?;
        let mut used: Vec<&Path> = Vec::new();
        let with_images = self.types.iter().filter(|kind| !kind.beside.images.is_empty()).count();
        // The type of masks directly in the folder is known if there is one.
        let loose = with_images == 1 && !truth.images.is_empty();
        let mut samples = Vec::new();
        for kind in self.types {
            let folder = masks_of(&kind.names, &truth);
            let mut listing = match folder {
                Some(folder) => list(&folder.path)?,
                None if loose && !kind.beside.images.is_empty() => {
                    Listing { images: truth.images.clone(), ..Listing::default() }
                }
                None => Listing::default(),
            };
            used.extend(folder.map(|folder| folder.path.as_path()));
            listing.images.extend(kind.beside.masks);
            listing.images.extend(kind.beside.orphans);
            for (_, masks) in self.beside.iter().filter(|(name, _)| kind.names.first() == Some(name)) {
                let Listing { images, folders, .. } = list(masks)?;
                listing.images.extend(images);
                listing.folders.extend(folders);
            }
            let mut masks = Masks::new(listing);
            masks.expect(&kind.beside.images);
            masks.add(kind.beside.by_content.masks);
            for path in kind.beside.images {
                let mut sample = Sample::new(path, self.category, Split::Test, Label::Anomalous(kind.label.clone()));
                masks.pair(&mut sample, findings)?;
                samples.push(sample);
            }
            masks.report_unpaired(self.category, &kind.place, findings);
        }
        let rest = Unused { truth: self.truth, listing: &truth, used: &used, category: self.category };
        rest.report(!loose, findings)?;
        Ok(samples)
    }
}

/// Returns the folder of masks of a type: of the same name, in any case and spelling of accents, or of the name of the folder around the type.
pub(super) fn masks_of<'t>(names: &[std::ffi::OsString], truth: &'t Listing) -> Option<&'t Folder> {
    let same = |one: &OsStr, other: &OsStr| composed(one).to_lowercase() == composed(other).to_lowercase();
    names.iter().find_map(|name| {
        let exact = truth.folders.iter().find(|folder| folder.name == *name);
        exact.or_else(|| truth.folders.iter().find(|folder| same(&folder.name, name)))
    })
}

/// The folder of masks, of which some subfolders are used.
struct Unused<'a> {
    truth: &'a Path,
    listing: &'a Listing,
    used: &'a [&'a Path],
    category: &'a str,
}

impl Unused<'_> {
    /// Reports masks directly in the folder (`loose`), masks of types without test images, and masks of normal images.
    fn report(&self, loose: bool, findings: &mut Vec<Finding>) -> Result<()> {
        let masks = &self.listing.images;
        if loose && !masks.is_empty() {
            let what = format!(
                "{} not used, because their types are unknown: the mask of {TEST}/<type>/<stem>.png belongs in \
                 {TRUTH}/<type>/<stem>_mask.png",
                if masks.len() == 1 {
                    "1 mask in it is".to_string()
                } else {
                    format!("{} masks in it are", masks.len())
                },
            );
            findings.push(Finding::new(FindingKind::UnpairedMask, self.category, self.truth, what));
        }
        for kind in self.listing.folders.iter().filter(|kind| !self.used.contains(&kind.path.as_path())) {
            if is_normal(&kind.name) {
                let advice = "normal images have no defects; a mask that marks one is reported";
                LeftOut { top: self.truth, category: self.category, findings }.folders([kind], advice);
            } else {
                let images = format!("{TEST}/{}", kind.name.to_string_lossy());
                Masks::new(list(&kind.path)?).report_unpaired(self.category, &images, findings);
            }
        }
        Ok(())
    }
}
