//! The assignment of masks to images by their stems. Positions in listings do not correspond.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::listing::{Folder, Listing, file_name, list, stem};
use super::mask_name::{Key, composed, image_of, is_numbered, key, part_of_number, without_image_ending};
use super::views::part_and_view;
use crate::error::{Result, without_path};
use crate::finding::{Finding, FindingKind};
use crate::image::MaskRule;
use crate::sample::Sample;
use crate::text::names_of;

/// The names of masks that are read, for messages.
const EXPECTED: &str = "masks are named <stem of the image>_mask.png (or _gt, _label, _seg), or <stem>.png, or several of them \
                        <stem>_0.png, <stem>_1.png, or are all in a folder <stem>";

/// The masks of one defect type.
pub(crate) struct Masks {
    files: Vec<MaskFile>,
    /// The positions in `files` of the masks that an image of this key may have, the best first.
    by_image: BTreeMap<Key, Vec<(Rank, usize)>>,
    /// The positions of the masks with the whole name of an image (`000.jpg.png`), for images of which others have the stem.
    by_whole_name: BTreeMap<String, Vec<(Rank, usize)>>,
    /// The folders of masks, one for each image (MVTec LOCO), and whether an image uses it.
    folders: Vec<(Folder, bool)>,
}

/// The strength of a mask's name. The ending `_mask` is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// `<stem>_mask`
    Mask,
    /// Another ending, such as `<stem>_gt`.
    Ending,
    /// An ending and a number, such as `<stem>_mask_0`, or a number alone if the content tells a mask: all of them are masks of the image.
    Numbered,
    /// `<stem>`
    Same,
    /// A number alone, such as `<stem>_0`: all of them are masks of the image.
    Number,
}

/// A mask file and the image that uses it.
struct MaskFile {
    path: PathBuf,
    image: Option<PathBuf>,
}

impl Masks {
    pub(crate) fn new(listing: Listing) -> Self {
        let mut by_image = BTreeMap::<Key, Vec<(Rank, usize)>>::new();
        for (index, path) in listing.images.iter().enumerate() {
            let key = key(path);
            if let Some(image) = image_of(&key) {
                let rank = if key.ends_with(b"_mask") {
                    Rank::Mask
                } else if is_numbered(&key) {
                    Rank::Numbered
                } else {
                    Rank::Ending
                };
                by_image.entry(image.to_vec()).or_default().push((rank, index));
            }
            by_image.entry(key).or_default().push((Rank::Same, index));
        }
        // The files of a rank stay in the order of their names.
        by_image.values_mut().for_each(|masks| masks.sort());
        let files = listing.images.into_iter().map(|path| MaskFile { path, image: None }).collect();
        Self {
            files,
            by_image,
            by_whole_name: BTreeMap::new(),
            folders: listing.folders.into_iter().map(|folder| (folder, false)).collect(),
        }
    }

    /// Adds masks that only their content tells, with the keys of their images. Those whose names end with a number are all masks of their
    /// image.
    pub(crate) fn add(&mut self, masks: Vec<(PathBuf, Key)>) {
        for (path, image) in masks {
            let is_numbered = part_and_view(&path).is_some_and(|(_, word)| word.bytes().all(|b| b.is_ascii_digit()));
            let of_whole_name = self.by_whole_name.get_mut(&composed(stem(&path)));
            let masks = of_whole_name.unwrap_or_else(|| self.by_image.entry(image).or_default());
            masks.push((if is_numbered { Rank::Numbered } else { Rank::Same }, self.files.len()));
            masks.sort();
            self.files.push(MaskFile { path, image: None });
        }
    }

    /// Tells the images that are to be paired. A mask whose name belongs to none may have the whole name of an image (`000.png.png`), or a
    /// number after its stem (`000_0`, `000_1`), unless images differ in such a number, too.
    pub(crate) fn expect<'p>(&mut self, images: impl IntoIterator<Item = &'p PathBuf>) {
        let mut by_stem = BTreeMap::<Key, Vec<&PathBuf>>::new();
        images.into_iter().for_each(|image| by_stem.entry(key(image)).or_default().push(image));
        let shared = by_stem.values().filter(|images| images.len() > 1).flatten();
        self.by_whole_name = shared.map(|image| (composed(file_name(image)), Vec::new())).collect();
        let counts: BTreeMap<Key, usize> = by_stem.into_iter().map(|(stem, images)| (stem, images.len())).collect();
        let is_image = |stem: &[u8]| counts.contains_key(stem);
        let numbered: BTreeSet<Key> =
            counts.keys().filter_map(|image| part_of_number(image)).map(<[u8]>::to_vec).collect();
        for (index, mask) in self.files.iter().enumerate() {
            let key = key(&mask.path);
            if is_image(&key) || image_of(&key).is_some_and(is_image) {
                continue;
            }
            let whole = image_of(&key).unwrap_or(&key);
            if let Some(masks) = self.by_whole_name.get_mut(&*String::from_utf8_lossy(whole)) {
                masks.push((if is_numbered(&key) { Rank::Numbered } else { Rank::Same }, index));
                masks.sort();
                continue;
            }
            let of_whole = without_image_ending(whole).filter(|stem| counts.get(*stem) == Some(&1));
            let of_number = || part_of_number(&key).filter(|stem| is_image(stem) && !numbered.contains(*stem));
            let found =
                of_whole.map(|stem| (Rank::Same, stem)).or_else(|| of_number().map(|stem| (Rank::Number, stem)));
            if let Some((rank, stem)) = found {
                let masks = self.by_image.entry(stem.to_vec()).or_default();
                masks.push((rank, index));
                masks.sort();
            }
        }
    }

    /// Assigns the mask `<stem>_mask.*` to an image without masks, or else `<stem>` with another ending of masks, or else all masks with
    /// such an ending and a number, or else `<stem>.*`, or else all masks `<stem>_<number>.*` ([`Self::expect`]), or else all masks of the
    /// folder `<stem>`. If several files match otherwise,
    /// the first is used, and a finding reports the others.
    pub(crate) fn pair(&mut self, sample: &mut Sample, findings: &mut Vec<Finding>) -> Result<()> {
        let of_whole_name = self.by_whole_name.get(&composed(file_name(&sample.path)));
        let of_stem = || self.by_image.get(&key(&sample.path));
        let Some(masks) = of_whole_name.filter(|masks| !masks.is_empty()).or_else(of_stem) else {
            return self.pair_folder(sample);
        };
        let Some(&(best, _)) = masks.first() else { return Ok(()) };
        let mut ambiguous =
            |what| findings.push(Finding::new(FindingKind::AmbiguousMask, &sample.category, &sample.path, what));
        for &(rank, index) in masks.iter().skip(1).filter(|(rank, _)| *rank > best) {
            let Some(mask) = self.files.get_mut(index) else { continue };
            // It matches no other image by this name. It is reported here, and not as unpaired.
            let is_named = matches!(rank, Rank::Ending | Rank::Numbered);
            if mask.image.is_none() && (is_named || image_of(&key(&mask.path)).is_none()) {
                ambiguous(format!(
                    "{} may be a mask of this image, too, and is not read, because another mask has a clearer name; remove or rename one",
                    mask.path.display()
                ));
                mask.image = Some(sample.path.clone());
            }
        }
        let equal: Vec<usize> = masks.iter().filter(|(rank, _)| *rank == best).map(|&(_, index)| index).collect();
        let [used, others @ ..] = &equal[..] else { return Ok(()) };
        let is_united = matches!(best, Rank::Numbered | Rank::Number);
        for index in others {
            let Some(mask) = self.files.get_mut(*index) else { continue };
            // Those that are not used are reported here, and not as unpaired.
            mask.image.get_or_insert_with(|| sample.path.clone());
            if is_united {
                sample.masks.push(mask.path.clone());
            }
        }
        let Some(mask) = self.files.get_mut(*used) else { return Ok(()) };
        if !is_united && !others.is_empty() {
            ambiguous(format!(
                "{} masks have the name of this image, and {} alone is read; remove or rename the others",
                equal.len(),
                mask.path.display()
            ));
        }
        match &mask.image {
            Some(other) => ambiguous(format!(
                "this image has the same name as {}, apart from the ending, so {} is the mask of both; rename one of the images and its mask",
                other.display(),
                mask.path.display()
            )),
            None => mask.image = Some(sample.path.clone()),
        }
        sample.masks.insert(0, mask.path.clone());
        Ok(())
    }

    /// Assigns a folder of masks. Each of its masks marks one defect, with a gray value that encodes the type.
    fn pair_folder(&mut self, sample: &mut Sample) -> Result<()> {
        let image = composed(stem(&sample.path));
        let Some((folder, used)) = self.folders.iter_mut().find(|(folder, _)| composed(&folder.name) == image) else {
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
        let mut unpaired = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
        for mask in self.files.into_iter().filter(|mask| mask.image.is_none()) {
            unpaired.entry(mask.path.parent().unwrap_or(&mask.path).into()).or_default().push(mask.path);
        }
        let names = |path: &Path| {
            let key = key(path);
            format!("\"{}\"", String::from_utf8_lossy(image_of(&key).unwrap_or(&key)))
        };
        for (folder, masks) in unpaired {
            match &masks[..] {
                [mask] => {
                    let name = names(mask);
                    add(
                        mask,
                        format!(
                            "this mask is not used: {images} has no image {name} that it could belong to; {EXPECTED}"
                        ),
                    );
                }
                masks => {
                    let names: Vec<String> = masks.iter().map(|mask| names(mask)).collect();
                    let what = format!(
                        "{} masks in it are not used: {images} has no images {} that they could belong to; {EXPECTED}",
                        masks.len(),
                        names_of(&names)
                    );
                    add(&folder, what);
                }
            }
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
            add(&folder.path, format!("{what}; {EXPECTED}"));
        }
    }
}
