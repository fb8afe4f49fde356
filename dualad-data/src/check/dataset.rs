//! The checks of categories and of images against each other.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use super::sample::{Inspected, NARROW};
use super::trained;
use crate::dataset::Dataset;
use crate::error::{Error, without_path};
use crate::finding::{Finding, FindingKind};
use crate::sample::{Category, Label, Sample, Split};
use crate::saturation::{self, Saturations};
use crate::text::shown;

/// The number of image sizes that a finding lists.
const MAX_SIZES: usize = 5;

/// Reports categories without normal images to train on or to test on.
pub(super) fn without_normal_images(dataset: &Dataset, findings: &mut Vec<Finding>) {
    for category in &dataset.categories {
        if !category.samples.iter().any(|sample| sample.split == Split::Train && !sample.label.is_anomalous()) {
            let places = left_out(dataset, &category.name);
            // They are told here, and not a second time.
            findings.retain(|finding| !places.told.contains(&finding));
            let what = format!(
                "category \"{}\" has no normal images to train on; add some or leave it out{}",
                category.name, places.text
            );
            findings.push(Finding::new(FindingKind::NoNormalImages, &category.name, &category.folder, what));
        }
        let mut tests = category.samples.iter().filter(|sample| sample.split == Split::Test).peekable();
        if tests.peek().is_some() && tests.all(|sample| sample.label.is_anomalous()) {
            let what = format!(
                "category \"{}\" has test images, but no normal ones; its AUROC and average precision are undefined",
                category.name
            );
            findings.push(Finding::new(FindingKind::NoNormalTests, &category.name, &category.folder, what));
        }
    }
}

/// The number of places that [`left_out`] lists.
const MAX_PLACES: usize = 3;

/// Places of a category whose images are left out.
struct Places<'a> {
    text: String,
    /// The findings in the text.
    told: Vec<&'a Finding>,
}

/// Lists the places of a category whose images are left out, and labels that are not clear: they may be the normal images.
fn left_out<'a>(dataset: &'a Dataset, category: &str) -> Places<'a> {
    let is_left_out = |finding: &&Finding| match finding.kind {
        FindingKind::LeftOut => finding.category == category,
        FindingKind::UnclearLabel => finding.category == category || finding.category.is_empty(),
        _ => false,
    };
    let found: Vec<&Finding> = dataset.findings.iter().filter(is_left_out).collect();
    let listed = found.iter().take(MAX_PLACES).map(|found| format!("; {}: {}", shown(&found.path), found.message));
    let rest = found.len().checked_sub(MAX_PLACES).filter(|rest| *rest > 0);
    let text = listed.chain(rest.map(|rest| format!("; and {rest} more places"))).collect();
    Places { text, told: found.into_iter().take(MAX_PLACES).collect() }
}

/// Reports categories whose images of 16 bits use a small part of their range.
pub(super) fn narrow_range(
    dataset: &Dataset,
    samples: &[Sample],
    inspected: &[Inspected],
    findings: &mut Vec<Finding>,
) {
    let mut by_category = HashMap::<&str, Vec<(&Sample, u16)>>::new();
    let mut captions = HashMap::<&str, u16>::new();
    let mut spans = HashMap::<&str, Vec<(&Sample, (u16, u16))>>::new();
    for (sample, inspected) in samples.iter().zip(inspected) {
        if let Some(largest) = inspected.largest {
            by_category.entry(&sample.category).or_default().push((sample, largest));
        }
        if let Some(level) = inspected.caption {
            let least = captions.entry(&sample.category).or_insert(level);
            *least = level.min(*least);
        }
        if let Some(span) = inspected.span {
            spans.entry(&sample.category).or_default().push((sample, span));
        }
    }
    for category in &dataset.categories {
        let Some(deep) = by_category.remove(category.name.as_str()) else { continue };
        // Pictures with colors may use the range.
        let spans = spans.remove(category.name.as_str()).filter(|spans| spans.len() == deep.len());
        let what = all_narrow(category, &deep).or_else(|| some_narrow(category, deep));
        let what = what.map(|what| match captions.get(category.name.as_str()) {
            Some(&u16::MAX) => what + ", and keep white (65535), such as that of a caption, which is not counted here",
            Some(least) => {
                format!("{what}, and keep the values from {least} on, such as those of a caption, which are not counted here")
            }
            None => what,
        });
        let Some(what) = what.or_else(|| shifted(category, &spans?)) else { continue };
        findings.push(Finding::new(FindingKind::NarrowRange, &category.name, &category.folder, what));
    }
}

/// Describes a fault of a category's saturations (MVTec LOCO).
fn saturation_fault(category: &Category, error: &Error) -> Finding {
    let what = without_path(error, &category.folder);
    Finding::new(FindingKind::Unreadable, &category.name, &category.folder.join(saturation::FILE), what)
}

/// Reads the saturations of the categories that have some, and reports files that are not valid.
pub(super) fn saturations(dataset: &Dataset, findings: &mut Vec<Finding>) -> BTreeMap<String, Saturations> {
    let mut found = BTreeMap::new();
    for category in &dataset.categories {
        match Saturations::of_category(category) {
            Err(error) => findings.push(saturation_fault(category, &error)),
            Ok(saturations) => found.extend(saturations.map(|saturations| (category.name.clone(), saturations))),
        }
    }
    found
}

/// Reports the first mask of each category with a value that its saturations do not have.
pub(super) fn without_saturation(
    dataset: &Dataset,
    samples: &[Sample],
    inspected: &[Inspected],
    findings: &mut Vec<Finding>,
) {
    for category in &dataset.categories {
        let mut of_category = samples.iter().zip(inspected).filter(|(sample, _)| sample.category == category.name);
        let fault = of_category.find_map(|(_, inspected)| inspected.without_saturation.as_ref());
        findings.extend(fault.map(|error| saturation_fault(category, error)));
    }
}

/// Returns the smallest usual number of bits that holds this level: 8, 10, 12, or else 14.
fn bits_of(largest: u16) -> u32 {
    [8, 10, 12].into_iter().find(|bits| largest < 1 << bits).unwrap_or(14)
}

/// Returns the path of an image in its category.
fn example<'a>(category: &Category, sample: &'a Sample) -> std::path::Display<'a> {
    sample.path.strip_prefix(&category.folder).unwrap_or(&sample.path).display()
}

/// Describes the images of 16 bits of a category if all of them use a small part of their range.
fn all_narrow(category: &Category, deep: &[(&Sample, u16)]) -> Option<String> {
    let largest = deep.iter().map(|(_, largest)| *largest).fold(0, u16::max);
    let (first, _) = deep.first().filter(|_| largest > 0 && largest < NARROW)?;
    let bits = bits_of(largest);
    Some(format!(
        "category \"{}\" has {} of 16 bits whose largest value is {largest} of 65535 (such as {}): {bits}-bit frames, which \
         are nearly black in 8 bits; multiply their values by {}",
        category.name,
        if deep.len() == 1 { "1 image".into() } else { format!("{} images", deep.len()) },
        example(category, first),
        1u32 << (16 - bits)
    ))
}

/// Describes the gray images of 16 bits of a category if all of them use a small part of their range that is not at its beginning, as frames
/// with an offset and inverted ones do.
fn shifted(category: &Category, spans: &[(&Sample, (u16, u16))]) -> Option<String> {
    /// The number of levels of 12 bits.
    const MOST: u16 = 1 << 12;
    let smallest = spans.iter().map(|(_, (smallest, _))| *smallest).min()?;
    let largest = spans.iter().map(|(_, (_, largest))| *largest).max()?;
    let (first, _) = spans.first().filter(|_| (1..MOST).contains(&largest.saturating_sub(smallest)))?;
    Some(format!(
        "category \"{}\" has {} of 16 bits whose values lie between {smallest} and {largest} of 65535 (such as {}), as those of frames of at \
         most 12 bits with an offset, or inverted: 8 bits leave at most {} levels of them; subtract {smallest} from the values of all images, \
         and multiply the rest by {}",
        category.name,
        if spans.len() == 1 { "1 image".into() } else { format!("{} images", spans.len()) },
        example(category, first),
        (largest - smallest) / 257 + 2,
        u16::MAX / (largest - smallest).max(1)
    ))
}

/// Describes the images of 16 bits of a category if some of them use a small part of their range, and the others several times as
/// much.
fn some_narrow(category: &Category, mut deep: Vec<(&Sample, u16)>) -> Option<String> {
    /// The ratio of the levels that only another number of bits explains.
    const RATIO: u32 = 4;
    deep.retain(|(_, largest)| *largest > 0);
    deep.sort_by_key(|(_, largest)| *largest);
    let is_gap =
        |pair: &[(&Sample, u16); 2]| pair[0].1 < NARROW && u32::from(pair[1].1) >= RATIO * u32::from(pair[0].1);
    let position = deep.array_windows().position(is_gap)?;
    let [(dark, largest), (bright, least)] = deep.array_windows().nth(position)?;
    let count = position + 1;
    Some(format!(
        "category \"{}\" has {} of 16 bits, {count} of which {} no value above {largest} of 65535 (such as {}), and the others reach \
         {least} (such as {}): frames of {} bits are nearly black in 8 bits, and look unlike the others; multiply their values by {}",
        category.name,
        format_args!("{} images", deep.len()),
        if count == 1 { "has" } else { "have" },
        example(category, dark),
        example(category, bright),
        bits_of(*largest),
        1u32 << (16 - bits_of(*largest))
    ))
}

/// Reports categories whose images differ in size.
pub(super) fn mixed_sizes(dataset: &Dataset, samples: &[Sample], inspected: &[Inspected], findings: &mut Vec<Finding>) {
    type Size = (u32, u32);
    let mut by_category = BTreeMap::<&str, BTreeMap<Size, (usize, &Path)>>::new();
    for (sample, inspected) in samples.iter().zip(inspected) {
        if let Some(size) = inspected.size {
            by_category.entry(&sample.category).or_default().entry(size).or_insert((0, &sample.path)).0 += 1;
        }
    }
    for (name, sizes) in by_category.into_iter().filter(|(_, sizes)| sizes.len() > 1) {
        let folder = dataset.categories.iter().find(|category| category.name == name).map(|c| c.folder.as_path());
        let folder = folder.unwrap_or(&dataset.root);
        let mut sizes: Vec<(Size, (usize, &Path))> = sizes.into_iter().collect();
        sizes.sort_by_key(|&(size, (count, _))| (Reverse(count), size));
        let listed: Vec<String> = sizes
            .iter()
            .take(MAX_SIZES)
            .map(|&((width, height), (count, example))| {
                let example = example.strip_prefix(folder).unwrap_or(example).display();
                if count == 1 {
                    format!("1 of {width}x{height} ({example})")
                } else {
                    format!("{count} of {width}x{height} (such as {example})")
                }
            })
            .collect();
        let rest = if sizes.len() > MAX_SIZES {
            format!(", and {} other sizes", sizes.len() - MAX_SIZES)
        } else {
            String::new()
        };
        let what = format!(
            "category \"{name}\" has images of {} sizes (width x height): {}{rest}; all are resized to one size",
            sizes.len(),
            listed.join(", ")
        );
        findings.push(Finding::new(FindingKind::MixedSizes, name, folder, what));
    }
}

/// Compares images of 16 bits in 8 bits if some of 8 bits have the same pixels then: one is a copy of the other.
pub(super) fn round_copies(inspected: &mut [Inspected]) {
    let shallow: HashSet<[u8; 32]> = inspected
        .iter()
        .filter(|inspected| inspected.largest.is_none())
        .filter_map(|inspected| inspected.digest)
        .collect();
    for inspected in inspected {
        if let Some(rounded) = inspected.rounded.filter(|rounded| shallow.contains(rounded)) {
            inspected.digest = Some(rounded);
        }
    }
}

/// Reports images with the same pixels in training and testing, or with contradicting labels.
pub(super) fn duplicates(samples: &[Sample], inspected: &[Inspected], findings: &mut Vec<Finding>) {
    let of = |split| samples.iter().zip(inspected).filter(move |(sample, _)| sample.split == split);
    let digests = samples.iter().zip(inspected).filter_map(|(sample, inspected)| Some((sample, inspected.digest?)));
    findings.extend(trained::defects(digests));
    let mut trained = HashMap::<[u8; 32], &Sample>::new();
    let mut of_category = HashSet::<(&str, [u8; 32])>::new();
    let mut normal = HashMap::<[u8; 32], &Path>::new();
    for (sample, inspected) in of(Split::Train) {
        if let Some(digest) = inspected.digest {
            trained.entry(digest).or_insert(sample);
            of_category.insert((&sample.category, digest));
        }
    }
    for (sample, inspected) in of(Split::Test).filter(|(sample, _)| !sample.label.is_anomalous()) {
        if let Some(digest) = inspected.digest {
            normal.entry(digest).or_insert(&sample.path);
        }
    }
    for (sample, inspected) in of(Split::Test) {
        if let Label::Anomalous(kind) = &sample.label
            && let Some(path) = inspected.digest.and_then(|digest| normal.get(&digest))
        {
            let what = format!(
                "this test image of the type \"{kind}\" has the same pixels as the normal one {}; remove the one with the \
                 wrong label",
                path.display()
            );
            findings.push(Finding::new(FindingKind::Contradiction, &sample.category, &sample.path, what));
        }
        // An anomalous one has a finding with the training image.
        let is_reported = |digest| sample.label.is_anomalous() && of_category.contains(&(&sample.category, digest));
        if let Some(same) = inspected.digest.filter(|digest| !is_reported(*digest)).and_then(|d| trained.get(&d)) {
            let path = same.path.display();
            let what = match &sample.label {
                // In another category, the image may be the anomaly: a wrong product.
                Label::Anomalous(kind) => format!(
                    "this test image of the type \"{kind}\" has the same pixels as {path}, which is trained on as normal in category \"{}\"; if it shows \
                     a defect, remove it from the training images, and if it is normal in that category alone, nothing is wrong",
                    same.category
                ),
                Label::Normal => {
                    format!("this test image has the same pixels as the training image {path}; remove one")
                }
            };
            findings.push(Finding::new(FindingKind::Duplicate, &sample.category, &sample.path, what));
        }
    }
}

/// Reports test images with the same pixels as another of their category: of another type of defect, or once for each category, those of the
/// same label.
pub(super) fn repeated_tests(samples: &[Sample], inspected: &[Inspected], findings: &mut Vec<Finding>) {
    let mut first = HashMap::<(&str, [u8; 32]), &Sample>::new();
    let mut repeated = BTreeMap::<&str, (usize, [&Sample; 2])>::new();
    for (sample, inspected) in samples.iter().zip(inspected).filter(|(sample, _)| sample.split == Split::Test) {
        let Some(digest) = inspected.digest else { continue };
        let other = *first.entry((&sample.category, digest)).or_insert(sample);
        match (&other.label, &sample.label) {
            _ if other.path == sample.path => {}
            (Label::Anomalous(one), Label::Anomalous(kind)) if one != kind => {
                let what = format!(
                    "this test image of the type \"{kind}\" has the same pixels as {} of the type \"{one}\"; remove the one with the wrong type",
                    shown(&other.path)
                );
                findings.push(Finding::new(FindingKind::Duplicate, &sample.category, &sample.path, what));
            }
            (one, label) if one == label => repeated.entry(&sample.category).or_insert((0, [other, sample])).0 += 1,
            // A contradiction has a finding of its own.
            _ => {}
        }
    }
    for (category, (count, [one, other])) in repeated {
        let what = format!(
            "test images in category \"{category}\" with the same pixels as others of the same label: {count} (such as this one and {}); they count \
             several times in the metrics: remove copies",
            shown(&one.path)
        );
        findings.push(Finding::new(FindingKind::Duplicate, category, &other.path, what));
    }
}

/// Reports images to train on that have the same pixels as those of another category, once for each two categories.
pub(super) fn shared_between_categories(samples: &[Sample], inspected: &[Inspected], findings: &mut Vec<Finding>) {
    let mut first = HashMap::<[u8; 32], &Sample>::new();
    let mut pairs = BTreeMap::<[&str; 2], (usize, [&Sample; 2])>::new();
    for (sample, inspected) in samples.iter().zip(inspected).filter(|(sample, _)| trained::is_trained(sample)) {
        let Some(digest) = inspected.digest else { continue };
        let other = *first.entry(digest).or_insert(sample);
        if other.category != sample.category {
            pairs.entry([&other.category, &sample.category]).or_insert((0, [other, sample])).0 += 1;
        }
    }
    for ([one, other], (count, [sample, same])) in pairs {
        let what = format!(
            "images to train on in category \"{one}\" with the same pixels as images of \"{other}\": {count} (such as this one and {}); if both \
             show one product, keep them in one category, and otherwise remove the wrong ones",
            shown(&same.path)
        );
        findings.push(Finding::new(FindingKind::Duplicate, one, &sample.path, what));
    }
}

/// Reports images and masks of which several pages or frames are not read, once for each category.
pub(super) fn several_pages(
    dataset: &Dataset,
    samples: &[Sample],
    inspected: &[Inspected],
    findings: &mut Vec<Finding>,
) {
    for category in &dataset.categories {
        let of_category = || samples.iter().zip(inspected).filter(|(sample, _)| sample.category == category.name);
        let images: Vec<(&Path, usize)> =
            of_category().filter_map(|(sample, found)| Some((sample.path.as_path(), found.pages?))).collect();
        let masks = of_category().filter_map(|(_, found)| found.mask_pages.as_ref());
        let masks: Vec<(&Path, usize)> = masks.map(|(path, pages)| (path.as_path(), *pages)).collect();
        for (found, kind, what, advice) in [
            (images, FindingKind::Choice, "images", "if each is an image, save it as a file of its own"),
            (masks, FindingKind::AmbiguousMask, "masks", "save the marks of all of them in one page"),
        ] {
            let Some((first, pages)) = found.first() else { continue };
            let what = format!(
                "{what} of several pages or frames, of which the first alone is read: {} (such as {}, with {pages}); {advice}",
                found.len(),
                shown(first.strip_prefix(&category.folder).unwrap_or(first))
            );
            findings.push(Finding::new(kind, &category.name, &category.folder, what));
        }
    }
}

/// Reports categories whose names differ only in upper and lower case, or in how accents are composed.
pub(super) fn similar_names(dataset: &Dataset, findings: &mut Vec<Finding>) {
    let mut seen = HashMap::<String, &Category>::new();
    for category in &dataset.categories {
        let key = category.name.nfc().collect::<String>().to_lowercase();
        match seen.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(category),
            Entry::Occupied(entry) => {
                let what = format!(
                    "the categories \"{}\" and \"{}\" differ only in upper and lower case or in how accents are composed, and are read \
                     as two; if they are one product, give them one name",
                    entry.get().name,
                    category.name
                );
                findings.push(Finding::new(FindingKind::SimilarCategories, &category.name, &category.folder, what));
            }
        }
    }
}
