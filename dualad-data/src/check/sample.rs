//! The checks of one image and its masks.

use std::path::{Path, PathBuf};

use image::metadata::Orientation;

use super::trained::is_trained;
use crate::error::{Error, Result};
use crate::finding::{Finding, FindingKind};
use crate::image::decode::{orientation_of as orientation, size};
use crate::image::frames::frames;
use crate::image::levels::{MAX_LEVELS, MaskValues};
use crate::image::tiff_pages::pages;
use crate::image::{Drawing, Limits, Mask, MaskRule, Picture};
use crate::layout::{Look, is_by_content, look};
use crate::sample::{Sample, Split};
use crate::saturation::Saturations;

/// The results for one sample.
#[derive(Default)]
pub(super) struct Inspected {
    pub(super) size: Option<(u32, u32)>,
    /// The digest of all levels. Frames that differ by less than a level of 8 bits are not the same.
    pub(super) digest: Option<[u8; 32]>,
    /// The digest of an image of 16 bits after rounding to 8 bits, unless that leaves next to nothing of it.
    pub(super) rounded: Option<[u8; 32]>,
    /// The largest level of an image of 16 bits. The levels of a caption do not count if all others are those of a frame of at most 14 bits.
    pub(super) largest: Option<u16>,
    /// The smallest level of a caption that does not count.
    pub(super) caption: Option<u16>,
    /// The smallest level of a gray image of 16 bits, and the largest one below white.
    pub(super) span: Option<(u16, u16)>,
    /// The kind of an image to train on.
    pub(super) look: Option<Look>,
    /// The fault of a mask whose value the category's saturations do not have.
    pub(super) without_saturation: Option<Error>,
    /// The number of pages of a TIFF file, or of frames of an animated one, if there are several.
    pub(super) pages: Option<usize>,
    /// The first mask of several pages or frames, and the number of them.
    pub(super) mask_pages: Option<(PathBuf, usize)>,
    pub(super) findings: Vec<Finding>,
}

/// Checks the image and its masks by decoding them. `saturations` are those of its category.
pub(super) fn whole(sample: &Sample, saturations: Option<&Saturations>, limits: &Limits) -> Inspected {
    let mut inspected = Inspected::default();
    match Picture::read_levels(&sample.path, limits) {
        Ok(leveled) => {
            inspected.look = is_trained(sample).then(|| look(&leveled));
            let (picture, deep) = leveled;
            let rounded = picture.digest();
            inspected.digest = Some(deep.map_or(rounded, |deep| deep.digest));
            inspected.size = Some((picture.width(), picture.height()));
            inspected.pages = several_pages(&sample.path);
            if let Some(deep) = deep {
                let is_white = deep.largest == u16::MAX && (1..NARROW).contains(&deep.below_white);
                let caption = if is_white { Some((deep.below_white, u16::MAX)) } else { deep.caption };
                inspected.caption = caption.map(|(_, caption)| caption);
                let largest = caption.map_or(deep.largest, |(below, _)| below);
                inspected.largest = Some(largest);
                let bright = if deep.largest == u16::MAX { deep.below_white } else { deep.largest };
                inspected.span = deep.smallest.map(|smallest| (smallest, bright));
                inspected.rounded = (largest >= NARROW).then_some(rounded);
            }
        }
        Err(error) => inspected.findings.push(error_finding(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut inspected);
    inspected.findings.extend(marked_normal(sample, limits).or_else(|| marked_test(sample, limits)));
    let mut masks = Vec::new();
    for path in sample.defect_masks() {
        let read = Mask::read_values(path, sample.mask_rule, limits)
            .and_then(|read| fits(sample, path, (read.0.width(), read.0.height()), inspected.size).map(|()| read));
        match read {
            Ok((mask, values)) => masks.push((path.as_path(), mask, values)),
            Err(error) => inspected.findings.push(mask_finding(sample, path, &error, limits)),
        }
    }
    inspected.mask_pages = masks.iter().find_map(|(path, ..)| Some((path.to_path_buf(), several_pages(path)?)));
    if let Some(saturations) = saturations {
        let fault = |(path, mask, values): &(&Path, Mask, MaskValues)| saturations.share(path, mask, values).err();
        inspected.without_saturation = masks.iter().find_map(fault);
    }
    if let (Some(drawing), Some(size)) = (sample.defect_drawing(), inspected.size) {
        match sample.draw(drawing, size, limits) {
            // One file has the annotations of many images, so findings name the image.
            Ok(mask) => masks.push((sample.path.as_path(), mask, MaskValues::DRAWN)),
            Err(error) => inspected.findings.push(mask_finding(sample, &sample.path, &error, limits)),
        }
    }
    if let Some(what) = rotated(sample, &masks, &inspected, limits) {
        inspected.findings.push(Finding::new(FindingKind::RotatedImage, &sample.category, &sample.path, what));
    }
    if let [(path, first, values), rest @ ..] = &mut masks[..] {
        let mut all = first.clone();
        rest.iter().for_each(|(_, mask, _)| all.add(mask));
        let marked = all.pixels().iter().filter(|&&pixel| pixel != 0).count();
        if marked as f64 > MAX_MARKED_SHARE * all.pixels().len() as f64 {
            let share = 100.0 * marked as f64 / all.pixels().len() as f64;
            let what = match alpha_hint(sample, values) {
                Some(hint) => format!("this mask marks {share:.0} % of its image by its colors; {hint}"),
                None => format!("this mask marks {share:.0} % of its image; white marks the defect, black the rest"),
            };
            inspected.findings.push(Finding::new(FindingKind::FullMask, &sample.category, path, what));
        } else if 2 * marked > all.pixels().len() && marks_edge(&all) {
            let share = 100.0 * marked as f64 / all.pixels().len() as f64;
            let what = format!(
                "this mask marks {share:.0} % of its image, and all of the image's edge: it may be inverted; if black marks the defect in it, \
                 save it with white for the defect and black for the rest"
            );
            inspected.findings.push(Finding::new(FindingKind::FullMask, &sample.category, path, what));
        }
    }
    // One of several masks may be empty if another is not.
    let expected = sample.defect_masks().len() + usize::from(sample.defect_drawing().is_some());
    let size = inspected.size;
    let empty = masks.len() == expected && masks.iter().all(|(_, mask, _)| mask.is_empty());
    for (index, (path, _, values)) in masks.iter().enumerate() {
        let found =
            if empty { (index == 0).then(|| empty_mask(sample, values, size)) } else { gray_mask(sample, values) };
        inspected.findings.extend(found.map(|(kind, what)| Finding::new(kind, &sample.category, path, what)));
    }
    inspected
}

/// Returns the number of pages of a TIFF file, or of frames of an animation, if there are several.
fn several_pages(path: &Path) -> Option<usize> {
    pages(path).or_else(|| frames(path)).filter(|count| *count > 1)
}

/// Returns whether a mask marks all pixels at the edge of its image.
fn marks_edge(mask: &Mask) -> bool {
    let width = mask.width() as usize;
    let mut rows = mask.pixels().chunks_exact(width);
    let is_marked = |row: &[u8]| row.iter().all(|&pixel| pixel != 0);
    let ends = rows.next().is_some_and(is_marked) && rows.next_back().is_none_or(is_marked);
    ends && rows.all(|row| row.first().zip(row.last()).is_some_and(|(first, last)| *first != 0 && *last != 0))
}

/// The share of marked pixels above which a mask is reported.
const MAX_MARKED_SHARE: f64 = 0.95;

/// The level of 16 bits below which all levels of a category lie if its images are frames of at most 14 bits.
pub(super) const NARROW: u16 = 1 << 14;

/// Returns a finding for a normal training image with a mask that marks a defect, or that cannot be read: nothing tells what it marks.
pub(crate) fn marked_normal(sample: &Sample, limits: &Limits) -> Option<Finding> {
    if sample.split != Split::Train {
        return None;
    }
    if let Some(drawing) = sample.drawing.as_ref().filter(|_| !sample.label.is_anomalous()) {
        let what = format!(
            "this image is one of the normal ones to train on, and by {} it has a defect; move it to test/<type of defect>, or if it has none, \
             correct what that file says of it",
            drawing.file().display()
        );
        return Some(Finding::new(FindingKind::MarkedNormal, &sample.category, &sample.path, what));
    }
    let mask = match mask_of_normal(sample, limits)? {
        MaskOfNormal::Marks(mask) => mask,
        MaskOfNormal::Unreadable(mask, error) => {
            let mut finding = mask_finding(sample, mask, &error, limits);
            finding.message += &format!(
                "; it is the mask of {}, an image to train on, and nothing tells whether it marks a defect",
                sample.path.display()
            );
            return Some(finding);
        }
    };
    let what = if is_by_content(mask, &sample.path) {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (image, mask) = (name(&sample.path), name(mask));
        let ending = sample.path.extension().unwrap_or_default().to_string_lossy();
        format!(
            "{image} and {mask} look like an image to train on and a mask that marks a defect in it: one name begins with the other, and \
             {mask} has few colors. If it is a mask, move {image} to test/<type of defect>, and {mask} to ground_truth/<type of defect>. If \
             it is a photograph (such as a silhouette), rename one so that neither name begins with the other: {image}, such as {}_1.{ending}",
            sample.path.file_stem().unwrap_or_default().to_string_lossy()
        )
    } else {
        format!(
            "this image is one of the normal ones to train on, and its mask {} marks a defect; move it to test/<type of defect>, and \
             the mask to ground_truth/<type of defect>; if that is a photograph and no mask, rename it; if it marks the part and no defect, \
             move it out of the dataset",
            mask.display()
        )
    };
    Some(Finding::new(FindingKind::MarkedNormal, &sample.category, &sample.path, what))
}

/// Returns a finding for a normal test image with a mask that marks a defect.
fn marked_test(sample: &Sample, limits: &Limits) -> Option<Finding> {
    if sample.split != Split::Test {
        return None;
    }
    let Some(MaskOfNormal::Marks(mask)) = mask_of_normal(sample, limits) else { return None };
    let what = format!(
        "this image is one of the normal ones to test on, and its mask {} marks a defect; correct its label, or remove the mask",
        mask.display()
    );
    Some(Finding::new(FindingKind::Contradiction, &sample.category, &sample.path, what))
}

/// A mask of a normal image that tells something.
enum MaskOfNormal<'a> {
    Marks(&'a Path),
    Unreadable(&'a Path, Error),
}

/// Returns the first mask of a normal image that marks a defect, or else the first that cannot be read.
fn mask_of_normal<'a>(sample: &'a Sample, limits: &Limits) -> Option<MaskOfNormal<'a>> {
    if sample.label.is_anomalous() {
        return None;
    }
    // The colors of a mask whose defects are in its alpha mean nothing. Of any other, every level counts.
    let is_alpha = sample.mask_rule == MaskRule::Alpha;
    let rule = if is_alpha { MaskRule::Alpha } else { MaskRule::NonZero };
    let mut unreadable = None;
    for path in &sample.masks {
        let marks = match Mask::read_values(path, rule, limits) {
            Ok((mask, _)) if is_alpha => !mask.is_empty(),
            // The defects of a black mask may be in its alpha.
            Ok((_, MaskValues { largest: 0, alpha, .. })) => alpha.is_some_and(|(least, most)| least < most),
            Ok((_, values)) => values.largest > if values.lossy { values.white / 2 } else { 0 },
            Err(error) => {
                unreadable = unreadable.or(Some(MaskOfNormal::Unreadable(path, error)));
                false
            }
        };
        if marks {
            return Some(MaskOfNormal::Marks(path));
        }
    }
    unreadable
}

/// Describes an image that EXIF rotates or flips, if its mask may have been drawn on the stored pixels.
fn rotated(
    sample: &Sample,
    masks: &[(&Path, Mask, MaskValues)],
    inspected: &Inspected,
    limits: &Limits,
) -> Option<String> {
    let ((mask, ..), (width, height)) = (masks.first()?, inspected.size?);
    let is = |path| orientation(path, limits).unwrap_or(Orientation::NoTransforms);
    let found = is(&sample.path);
    // If the sizes differ, a mask of the upright size was drawn on the upright image.
    if found == Orientation::NoTransforms
        || is(mask) != Orientation::NoTransforms
        || found.to_exif() > 4 && width != height
    {
        return None;
    }
    let found = found.to_exif();
    Some(format!(
        "EXIF orientation {found} rotates or flips it, and its mask has none; make sure that {} was drawn on the upright image",
        mask.display()
    ))
}

/// Checks the image and its masks by their headers.
pub(super) fn headers(sample: &Sample, limits: &Limits) -> Inspected {
    let mut inspected = Inspected::default();
    match size(&sample.path, limits) {
        Ok(size) => inspected.size = Some(size),
        Err(error) => inspected.findings.push(error_finding(&sample.category, &sample.path, &error)),
    }
    missing_mask(sample, &mut inspected);
    for path in sample.defect_masks() {
        if let Err(error) = size(path, limits).and_then(|mask| fits(sample, path, mask, inspected.size)) {
            inspected.findings.push(mask_finding(sample, path, &error, limits));
        }
    }
    if let Some((drawing, drawn)) = sample.defect_drawing().and_then(|drawing| Some((drawing, drawing.size()?)))
        && let Err(error) = fits(sample, drawing.file(), drawn, inspected.size)
    {
        inspected.findings.push(mask_finding(sample, &sample.path, &error, limits));
    }
    inspected
}

/// Adds a finding for an anomalous image without masks.
fn missing_mask(sample: &Sample, inspected: &mut Inspected) {
    if sample.label.is_anomalous() && !sample.has_mask() {
        let what =
            "this anomalous image has no mask: its category's and the pooled pixel metrics are undefined".to_string();
        inspected.findings.push(Finding::new(FindingKind::MissingMask, &sample.category, &sample.path, what));
    }
}

/// Checks the size of a mask, if the size of the image is known.
fn fits(sample: &Sample, mask: &Path, mask_size: (u32, u32), image_size: Option<(u32, u32)>) -> Result<()> {
    image_size.map_or(Ok(()), |image_size| sample.check_mask_size(mask, mask_size, image_size))
}

/// Describes a mask that marks nothing.
fn empty_mask(sample: &Sample, values: &MaskValues, size: Option<(u32, u32)>) -> (FindingKind, String) {
    let what = if *values == MaskValues::DRAWN {
        let range = sample.defect_drawing().and_then(Drawing::range).zip(size).map(|([left, top, right, bottom], (width, height))| {
            format!(
                ": they reach from ({left}, {top}) to ({right}, {bottom}), and the image has {width}x{height} pixels (width x height); if it was \
                 resized or cropped after it was annotated, export the annotations for this size, or restore the image"
            )
        });
        let advice = range.unwrap_or_else(|| "; draw the defect inside the image".into());
        format!("its annotations mark no pixel of this anomalous image{advice}")
    } else if let Some(hint) = alpha_hint(sample, values) {
        format!("this mask of an anomalous image marks nothing by its colors; {hint}")
    } else if sample.mask_rule == MaskRule::Alpha && values.alpha.is_none() {
        format!(
            "this mask of an anomalous image marks nothing: the rule {} reads its alpha channel, and it has none; read the \
             dataset's masks by another rule",
            sample.mask_rule
        )
    } else if sample.mask_rule == MaskRule::Alpha {
        "this mask of an anomalous image is transparent; draw the defect, or read the dataset's masks by another rule"
            .into()
    } else if values.largest == 0 {
        "this mask of an anomalous image is black; draw the defect. Without a mask, the pixel metrics of its category \
         and the pooled ones are undefined"
            .to_string()
    } else {
        format!(
            "this mask of an anomalous image marks nothing: {} marks a defect ({}), and its largest value is {}; save it \
             in black and white, or read the dataset's masks by {}",
            if sample.mask_rule == MaskRule::Half {
                format!("a value above {}", values.white / 2)
            } else {
                format!("only {}", values.white)
            },
            sample.mask_rule,
            values.largest,
            MaskRule::NonZero
        )
    };
    (FindingKind::EmptyMask, what)
}

/// Describes a mask whose defect may be drawn in its alpha channel, which the rule does not read.
fn alpha_hint(sample: &Sample, values: &MaskValues) -> Option<String> {
    let (least, most) = values.alpha.filter(|(least, most)| least < most && sample.mask_rule != MaskRule::Alpha)?;
    Some(format!(
        "its alpha channel has values from {least} to {most}: if it shows the defect, read the dataset's masks by {}",
        MaskRule::Alpha
    ))
}

/// Returns whether a mask has the values of soft edges. Masks that number their defects have a few values without white, or small ones.
fn has_soft_edges(values: &MaskValues) -> bool {
    const MANY: usize = 32;
    let most = if values.largest == values.white { MAX_LEVELS } else { MANY };
    values.largest > values.white / 2 && values.shades > most
}

/// Describes a mask with values between black and white, if they matter.
fn gray_mask(sample: &Sample, values: &MaskValues) -> Option<(FindingKind, String)> {
    let pixels = match values.gray {
        0 => return None,
        1 => "1 pixel of this mask is".to_string(),
        gray => format!("{gray} pixels of this mask are"),
    };
    let what = match sample.mask_rule {
        MaskRule::White => format!(
            "{pixels} neither 0 nor {}, which the rule {} takes for normal; save it in black and white as png, or read \
             the dataset's masks by {} or {}",
            values.white,
            sample.mask_rule,
            MaskRule::NonZero,
            MaskRule::Half
        ),
        // Values other than 0 are correct unless the compression produced them.
        MaskRule::NonZero if values.lossy => format!(
            "{pixels} neither 0 nor {}, which the rule {} takes for a defect, but lossy compression produces such values at \
             every edge; save it as png, or read the dataset's masks by {}",
            values.white,
            sample.mask_rule,
            MaskRule::Half
        ),
        MaskRule::NonZero if has_soft_edges(values) => format!(
            "{pixels} neither 0 nor {}, of {} different values, which the rule {} takes for a defect; if the edges of the mask are soft, save it \
             in black and white, or read the dataset's masks by {}",
            values.white,
            values.shades,
            sample.mask_rule,
            MaskRule::Half
        ),
        MaskRule::NonZero | MaskRule::Half | MaskRule::Alpha => return None,
    };
    Some((FindingKind::GrayMask, what))
}

/// Converts the error of a mask or a drawing to a finding. If its size is that of the image before EXIF rotates it, the finding tells
/// that.
fn mask_finding(sample: &Sample, path: &Path, error: &Error, limits: &Limits) -> Finding {
    let mut finding = error_finding(&sample.category, path, error);
    if let Error::MaskSize { mask_size: (width, height), image_size, .. } = error
        && (*height, *width) == *image_size
        && let Ok(found) = orientation(&sample.path, limits)
        && found.to_exif() > 4
    {
        finding.message += &format!(
            "; EXIF orientation {} rotates the image, and the mask has the size before that: rotate the mask, or save the image upright",
            found.to_exif()
        );
    }
    finding
}

/// Converts the error of a file to a finding.
fn error_finding(category: &str, path: &Path, error: &Error) -> Finding {
    let kind = match error {
        Error::EmptyFile { .. } => FindingKind::EmptyFile,
        Error::MaskSize { .. } => FindingKind::MaskSize,
        Error::TooLarge { .. } => FindingKind::TooLarge,
        _ => FindingKind::Unreadable,
    };
    Finding::new(kind, category, path, error.to_string())
}
