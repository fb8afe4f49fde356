//! The assignment of masks to images by their stems. Positions in listings do not correspond.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::listing::{Folder, Listing, list, stem};
use crate::error::{Result, without_path};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::sample::Sample;

/// The masks of one defect type.
pub(crate) struct Masks {
    by_stem: BTreeMap<OsString, Vec<MaskFile>>,
    /// The folders of masks, one for each image (MVTec LOCO), and whether an image uses it.
    folders: Vec<(Folder, bool)>,
}

/// A mask file and the image that uses it.
struct MaskFile {
    path: PathBuf,
    image: Option<PathBuf>,
}

impl Masks {
    pub(crate) fn new(listing: Listing) -> Self {
        let mut by_stem = BTreeMap::<_, Vec<_>>::new();
        for path in listing.images {
            by_stem.entry(stem(&path).to_os_string()).or_default().push(MaskFile { path, image: None });
        }
        Self { by_stem, folders: listing.folders.into_iter().map(|folder| (folder, false)).collect() }
    }

    /// Assigns the mask `<stem>_mask.*` to an image, or else `<stem>.*`, or else all masks of the folder `<stem>`. If several
    /// files match, the first by name is used, and a finding reports the others.
    pub(crate) fn pair(&mut self, sample: &mut Sample, findings: &mut Vec<Finding>) -> Result<()> {
        let mut with_suffix = stem(&sample.path).to_os_string();
        with_suffix.push("_mask");
        let keys = [with_suffix.as_os_str(), stem(&sample.path)];
        if keys.iter().all(|&key| self.by_stem.contains_key(key)) {
            // The mask without the suffix matches no other image. It is reported here, and not as unpaired.
            for mask in self.by_stem.get_mut(stem(&sample.path)).into_iter().flatten() {
                let what = format!("{} matches it too, and is not used", mask.path.display());
                findings.push(Finding::new(FindingKind::AmbiguousMask, &sample.category, &sample.path, what));
                mask.image = Some(sample.path.clone());
            }
        }
        let Some(masks) =
            keys.into_iter().find(|&key| self.by_stem.contains_key(key)).and_then(|key| self.by_stem.get_mut(key))
        else {
            return self.pair_folder(sample);
        };
        let several = masks.len() > 1;
        let Some(mask) = masks.first_mut() else { return Ok(()) };
        let mut ambiguous =
            |what| findings.push(Finding::new(FindingKind::AmbiguousMask, &sample.category, &sample.path, what));
        if several {
            ambiguous(format!("several masks have its stem; {} is used", mask.path.display()));
        }
        match &mask.image {
            Some(other) => ambiguous(format!(
                "it shares its stem, and so the mask {}, with {}",
                mask.path.display(),
                other.display()
            )),
            None => mask.image = Some(sample.path.clone()),
        }
        sample.masks = vec![mask.path.clone()];
        Ok(())
    }

    /// Assigns a folder of masks. Each of its masks marks one defect, with a gray value that encodes the type.
    fn pair_folder(&mut self, sample: &mut Sample) -> Result<()> {
        let Some((folder, used)) = self.folders.iter_mut().find(|(folder, _)| folder.name == stem(&sample.path)) else {
            return Ok(());
        };
        let masks = list(&folder.path)?.images;
        if !masks.is_empty() {
            *used = true;
            sample.masks = masks;
            sample.mask_rule = MaskRule::NonZero;
        }
        Ok(())
    }

    /// Reports masks without an image. `images` is the place where the images should be.
    pub(crate) fn report_unpaired(self, category: &str, images: &str, findings: &mut Vec<Finding>) {
        let mut add = |path: &Path, what| findings.push(Finding::new(FindingKind::UnpairedMask, category, path, what));
        for mask in self.by_stem.into_values().flatten().filter(|mask| mask.image.is_none()) {
            let name = stem(&mask.path).to_string_lossy();
            let name = name.strip_suffix("_mask").unwrap_or(&name);
            let what = format!("this mask is not used: {images} has no image \"{name}\" that it could belong to");
            add(&mask.path, what);
        }
        for (folder, _) in self.folders.iter().filter(|(_, used)| !used) {
            let name = folder.name.to_string_lossy();
            let what = match list(&folder.path) {
                Ok(listing) if listing.images.is_empty() && listing.folders.is_empty() => continue,
                Ok(listing) if listing.images.is_empty() => "it holds folders and no mask".to_string(),
                Ok(listing) => {
                    let (masks, are) = if listing.images.len() == 1 { ("mask", "is") } else { ("masks", "are") };
                    format!("{} {masks} in it {are} not used: {images} has no image \"{name}\"", listing.images.len())
                }
                Err(error) => without_path(&error, &folder.path),
            };
            let expected = "expected are <stem of the image>_mask.png, <stem>.png, or <stem>/ with several masks";
            add(&folder.path, format!("{what}; {expected}"));
        }
    }
}
