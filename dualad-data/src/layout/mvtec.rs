//! MVTec AD (Bergmann et al., CVPR 2019), MVTec LOCO (Bergmann et al., IJCV 2022) and folders like them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::apart::{VALIDATION, note_apart};
use super::beside::{report_beside, report_derived, report_pairs, report_unclear, separate};
use super::defects::{Defects, masks_of};
use super::files::images_below;
use super::left_out::LeftOut;
use super::listing::{Folder, Listing, display_name, list, list_if_there};
use super::mask_content::may_be_masks;
use super::mask_name::{Key, key};
use super::mask_pairs::{Images, images_of, separate_pairs};
use super::masks::Masks;
use super::names::{
    GOOD, Part, are_labels_of, holds_images, holds_labels, holds_masks, is_defect_type, is_defective, is_normal,
};
use super::parts::{normal, part, part_of};
use super::recognize::{self, FolderKind};
use super::train_masks::{self, Place};
use super::{derived, label_files, labelme, root_masks, sides, stated};
use crate::error::Result;
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Label, Sample, Split};

const TRAIN: &str = "train";
const TEST: &str = "test";

/// Reads the categories of a folder.
pub(crate) fn read(root: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Category>> {
    let listing = list(root)?;
    let names = match recognize::folder(root, &listing, Vec::new())? {
        FolderKind::Categories(names) | FolderKind::Products(names) => names,
        FolderKind::Category => return Ok(vec![read_category(root, findings)?]),
        FolderKind::Plain(_) | FolderKind::Nothing => return Ok(Vec::new()),
    };
    let is_category = |folder: &&Folder| names.contains(&folder.name) && !derived::fill(folder, root);
    let mut left_out = LeftOut { top: root, category: "", findings };
    let advice = "they belong to no category; move them away";
    left_out.loose(root, listing.images.len(), advice);
    let others = listing.folders.iter().filter(|folder| !is_category(folder));
    let advice =
        format!("it is not a category, because it has no images in {TRAIN}/{GOOD}; move it away, or open it by itself");
    let of_masks = "they are masks by the name of the folder; masks belong in CATEGORY/ground_truth/<type of defect>";
    let is_of_masks = |folder: &Folder| {
        holds_masks(&folder.name) || names.iter().any(|category| are_labels_of(&folder.name, category))
    };
    for folder in others {
        let usual = if is_of_masks(folder) { of_masks } else { &advice };
        left_out.folders([folder], if names.contains(&folder.name) { derived::FOLDER } else { usual });
    }
    let categories = listing.folders.iter().filter(is_category);
    let mut found = categories.map(|folder| read_category(&folder.path, findings)).collect::<Result<Vec<_>>>()?;
    sides::report(root, &found, findings);
    let others: Vec<&Folder> = listing.folders.iter().filter(|folder| !is_category(folder)).collect();
    let told = root_masks::assign(&mut found, &others, findings);
    findings.retain(|finding| finding.kind != FindingKind::LeftOut || !told.contains(&finding.path));
    Ok(found)
}

fn read_category(folder: &Path, findings: &mut Vec<Finding>) -> Result<Category> {
    let name = display_name(folder);
    let listing = list(folder)?;
    let train_folder = part(folder, &listing, Part::Train);
    let train = list_if_there(&train_folder)?;
    let mut left_out = LeftOut { top: folder, category: &name, findings };
    let advice = format!("normal images belong in {TRAIN}/{GOOD}, test images in {TEST}/{GOOD} and {TEST}/<type>");
    left_out.loose(folder, listing.images.len(), &advice);
    // The folders that are not read, with the advice for each.
    let truth = truth_of(folder, &listing)?;
    let is_other = |inner: &&Folder| part_of(inner, folder, &listing).is_none() && inner.path != truth;
    let mut others: Vec<(Folder, String)> =
        listing.folders.iter().filter(is_other).map(|inner| (inner.clone(), advice.clone())).collect();
    let beside_train = others.len();
    let good = normal(&train)?;
    let read = good.first().map_or(GOOD.into(), |folder| folder.name.to_string_lossy());
    let yolo = label_files::yolo(&listing).unwrap_or_default();
    let advice = format!("training reads only {TRAIN}/{read}; normal images belong there{yolo}");
    left_out.loose(&train_folder, train.images.len(), &advice);
    let mut samples = Vec::new();
    for kind in &train.folders {
        if good.iter().any(|good| good.path == kind.path) {
            let inner = list(&kind.path)?;
            others.extend(inner.folders.into_iter().map(|folder| {
                let advice = advice_inside(&folder, &format!("{TRAIN}/{read}"));
                (folder, advice)
            }));
            stated::report(&inner.images, &kind.path, &name, findings);
            samples.extend(normal_samples(inner.images, Vec::new(), &kind.path, &name, None, findings)?);
        } else {
            let advice = if is_of_defects(kind) { OF_DEFECTS } else { &advice };
            others.push((kind.clone(), advice.into()));
        }
    }
    let tests = test_samples(folder, &listing, &[], &paths_of(&samples), &name, findings)?;
    let (beside, inside) = others.split_at(beside_train);
    let beside: Vec<&Folder> = beside.iter().map(|(folder, _)| folder).collect();
    let inside: Vec<&Folder> = inside.iter().map(|(folder, _)| folder).collect();
    let told = masks_of_training(&mut samples, &tests, folder, &listing, [&beside, &inside], &name, findings)?;
    others.retain(|(other, _)| !told.contains(&other.path));
    for (other, count) in validation(&others) {
        note_apart(&name, &other, count, VALIDATION, findings);
        others.retain(|(folder, _)| !other.starts_with(&folder.path));
    }
    report_folders(others, folder, &name, findings);
    samples.extend(tests);
    Ok(Category { name, folder: folder.into(), samples })
}

/// Returns the folders of normal images for choosing thresholds, as MVTec LOCO has them, and their numbers of images. A folder for
/// validation with other images, too, is none.
fn validation(others: &[(Folder, String)]) -> Vec<(PathBuf, usize)> {
    let good = |(folder, _): &(Folder, String)| {
        let is_named = ["validation", "valid", "val"].iter().any(|name| folder.name.eq_ignore_ascii_case(name));
        let inner = list(&folder.path).ok().filter(|inner| is_named && inner.images.is_empty())?;
        let [good] = &inner.folders[..] else { return None };
        let found = list(&good.path).ok().filter(|found| is_normal(&good.name) && found.folders.is_empty())?;
        Some((good.path.clone(), found.images.len()))
    };
    others.iter().filter_map(good).collect()
}

/// Reports folders that are not read, each with this advice, or another one if they hold masks.
pub(super) fn report_folders(folders: Vec<(Folder, String)>, top: &Path, category: &str, findings: &mut Vec<Finding>) {
    let mut left_out = LeftOut { top, category, findings };
    for (folder, advice) in folders {
        let found = images_below(&folder.path).unwrap_or_default();
        let is_of_masks = holds_masks(&folder.name) || may_be_masks(&found);
        let of_masks = "they are masks by the name of the folder or by their content, and are not read; masks belong in \
                        ground_truth/<type of defect>, under the names of the images";
        left_out.folders([&folder], if is_of_masks { of_masks } else { &advice });
    }
}

/// Gives images to train on the masks in folders `beside` their own folder and `inside` it or the one for training, and those in the
/// folder of masks. Returns the folders of masks among the first two.
pub(super) fn masks_of_training(
    samples: &mut [Sample],
    tests: &[Sample],
    folder: &Path,
    listing: &Listing,
    [beside, inside]: [&[&Folder]; 2],
    category: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<PathBuf>> {
    let keys = |samples: &[&Sample]| samples.iter().map(|sample| key(&sample.path)).collect::<BTreeSet<Key>>();
    let of_tests = keys(&tests.iter().collect::<Vec<_>>());
    let of_good_tests = keys(&tests.iter().filter(|sample| !sample.label.is_anomalous()).collect::<Vec<_>>());
    let none = BTreeSet::new();
    let truth = list_if_there(&truth_of(folder, listing)?)?;
    let is_of_normal = |folder: &&Folder| is_normal(&folder.name) || Part::of(&folder.name) == Some(Part::Train);
    let of_truth = truth.folders.iter().filter(is_of_normal);
    // Masks beside the folder for training may be those of test images, unless it says so.
    let others = |folder: &Folder| if are_labels_of(&folder.name, TRAIN.as_ref()) { &none } else { &of_tests };
    let places = of_truth.map(|folder| Place { folder, others: &of_good_tests, is_of_masks: true });
    let places = places.chain(beside.iter().map(|folder| {
        let is_of_masks = are_labels_of(&folder.name, TRAIN.as_ref());
        Place { folder, others: others(folder), is_of_masks }
    }));
    let inside = inside.iter().map(|folder| Place { folder, others: &none, is_of_masks: false });
    let places: Vec<Place> = places.chain(inside).collect();
    Ok(train_masks::assign(samples, &places, category, findings))
}

/// The advice for a folder of defective images in the folder for training.
const OF_DEFECTS: &str = "by its name, it holds defective images; move them to test/<type of defect>";

fn is_of_defects(folder: &Folder) -> bool {
    is_defective(&folder.name) || is_defect_type(&folder.name)
}

/// Returns the advice for a folder in the folder of normal images.
fn advice_inside(folder: &Folder, good: &str) -> String {
    if is_of_defects(folder) {
        OF_DEFECTS.into()
    } else if holds_labels(&folder.name) {
        format!("by its name, it holds masks or labels; move it out of {good}")
    } else {
        format!(
            "only images directly in {good} are read, not those in folders in it; if they are normal, move them up into {good}, under names \
             that differ"
        )
    }
}

/// Returns the paths of images.
pub(super) fn paths_of(samples: &[Sample]) -> Vec<PathBuf> {
    samples.iter().map(|sample| sample.path.clone()).collect()
}

/// Returns samples of the normal images of a folder. Masks beside them are reported. Images get these masks and those in
/// `masks`: the check of a dataset reports an image for training whose mask marks a defect. `trained` are the images to train on, if those
/// of the folder are test images.
pub(super) fn normal_samples(
    files: Vec<PathBuf>,
    masks: Vec<PathBuf>,
    folder: &Path,
    category: &str,
    trained: Option<&[PathBuf]>,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Sample>> {
    let split = if trained.is_some() { Split::Test } else { Split::Train };
    let mut beside = separate(files);
    if let Some(trained) = trained {
        separate_pairs(&mut beside, trained);
    }
    report_derived(&beside, folder, category, findings);
    report_pairs(&beside.images, folder, category, findings);
    report_beside(&beside, folder, category, findings);
    report_unclear(&beside, folder, category, findings);
    let images = beside.masks.into_iter().chain(masks).collect();
    let mut masks = Masks::new(Listing { images, ..Listing::default() });
    masks.add(beside.by_content.masks);
    let mut samples = Vec::with_capacity(beside.images.len());
    for path in beside.images {
        let mut sample = Sample::new(path, category, split, Label::Normal);
        // Two images of one name make the assignment unclear, which does not matter for images without defects.
        masks.pair(&mut sample, &mut Vec::new())?;
        samples.push(sample);
    }
    if split == Split::Train {
        labelme::mark(folder, &mut samples);
    }
    Ok(samples)
}

/// Returns the folder of masks: `ground_truth`, or else one of another name in the folder of test images, or beside it with folders of the
/// names of types.
pub(super) fn truth_of(folder: &Path, listing: &Listing) -> Result<PathBuf> {
    let truth = part(folder, listing, Part::Truth);
    if truth.is_dir() {
        // Masks may be divided as the images are: `masks/test/<type>`.
        let inner = list(&truth)?;
        let of_tests = inner.folders.iter().find(|inner| Part::of(&inner.name) == Some(Part::Test));
        return Ok(match of_tests.filter(|_| inner.images.is_empty() && inner.folders.len() == 1) {
            Some(masks) => masks.path.clone(),
            None => truth,
        });
    }
    let test = list_if_there(&part(folder, listing, Part::Test))?;
    let inside: Vec<&Folder> = test.folders.iter().filter(|kind| holds_masks(&kind.name)).collect();
    let is_type = |inner: &Folder| test.folders.iter().any(|kind| kind.name == inner.name);
    let has_types = |folder: &&Folder| list(&folder.path).is_ok_and(|masks| masks.folders.iter().any(is_type));
    let beside = || listing.folders.iter().filter(|folder| holds_masks(&folder.name)).filter(has_types);
    let found = if inside.is_empty() { beside().collect() } else { inside };
    Ok(if let [masks] = found[..] { masks.path.clone() } else { truth })
}

/// Reads the images of `test/<type>`, and those of other folders of defects, with their masks from `ground_truth/<type>`. `trained` are the
/// images to train on.
pub(super) fn test_samples(
    folder: &Path,
    listing: &Listing,
    others: &[&Folder],
    trained: &[PathBuf],
    category: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Sample>> {
    let (test, truth) = (part(folder, listing, Part::Test), truth_of(folder, listing)?);
    let inner = list_if_there(&test)?;
    let mut left_out = LeftOut { top: folder, category, findings };
    let advice = format!("their labels are unknown; sort them into {TEST}/{GOOD} and {TEST}/<defect type>");
    left_out.loose(&test, inner.images.len(), &advice);
    let good = normal(&inner)?;
    let all_masks = list_if_there(&truth)?;
    let mut samples = Vec::new();
    let mut defects = Defects::new(folder, category, &truth, trained);
    for kind in &inner.folders {
        let by_name = inner.folders.iter().find(|other| are_labels_of(&kind.name, &other.name));
        let by_content = if by_name.is_none() { images_of(kind, &inner.folders) } else { None };
        if kind.path == truth {
            // It is read with the types.
        } else if holds_masks(&kind.name) {
            let advice = format!("they are masks by the name of the folder; masks belong in {}", truth.display());
            LeftOut { top: folder, category, findings }.folders([kind], &advice);
        } else if let Some(Images::OfOne) = by_content {
            let advice = "its files look like masks of images in the folders beside it, by their names and their content; masks belong in \
                          ground_truth/<type>, and photographs need other names than those in the folders beside it";
            LeftOut { top: folder, category, findings }.folders([kind], advice);
        } else if let Some(images) = by_name.or(match by_content {
            Some(Images::Of(images)) => Some(images),
            _ => None,
        }) {
            if by_name.is_none() {
                let what = format!(
                    "its files are read as masks of the images in {}, by their names and their content; if they are photographs, give them other \
                     names",
                    images.name.to_string_lossy()
                );
                findings.push(Finding::new(FindingKind::Choice, category, &kind.path, what));
            }
            if good.iter().any(|good| good.path == images.path) {
                let advice = "normal images have no defects, so their masks are not read";
                LeftOut { top: folder, category, findings }.folders([kind], advice);
            } else {
                defects.add_masks(images, kind);
            }
        } else if good.iter().any(|good| good.path == kind.path) {
            let found = list(&kind.path)?;
            let mut left_out = LeftOut { top: folder, category, findings };
            left_out.folders(&found.folders, &format!("images of {TEST}/<type> belong directly in that folder"));
            // A check reports those that mark a defect.
            let masks = match masks_of(std::slice::from_ref(&kind.name), &all_masks) {
                Some(masks) => list(&masks.path)?.images,
                None => Vec::new(),
            };
            samples.extend(normal_samples(found.images, masks, &kind.path, category, Some(trained), findings)?);
        } else if derived::fill(kind, folder) {
            LeftOut { top: folder, category, findings }.folders([kind], derived::FOLDER);
        } else if holds_images(&kind.name) {
            let advice = format!(
                "its name is not that of a type of defect, so their labels are unknown; sort them into {TEST}/{GOOD} and {TEST}/<type of defect>"
            );
            LeftOut { top: folder, category, findings }.folders([kind], &advice);
        } else {
            defects.add(kind, findings)?;
        }
    }
    for other in others {
        defects.add(other, findings)?;
    }
    samples.extend(defects.read(findings)?);
    samples.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(samples)
}
