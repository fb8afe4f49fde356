//! Masks among the photographs to train on that only their content tells: their names are those of no photograph.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;

use super::sample::Inspected;
use super::trained::is_trained;
use crate::dataset::Dataset;
use crate::finding::{Finding, FindingKind, Severity};
use crate::image::{Limits, Picture};
use crate::layout::{Look, is_view, look, part_and_view};
use crate::sample::{Category, Sample};

/// Reports the categories whose images to train on are photographs and masks.
pub(super) fn report(dataset: &Dataset, samples: &[Sample], inspected: &[Inspected], findings: &mut Vec<Finding>) {
    let looks = samples.iter().zip(inspected).filter_map(|(sample, inspected)| Some((sample, inspected.look?)));
    let looks: Vec<(&Sample, Look)> = looks.collect();
    for category in &dataset.categories {
        let of_category = looks.iter().filter(|(sample, _)| sample.category == category.name).copied();
        let of_category: Vec<(&Sample, Look)> = of_category.collect();
        let names: Vec<&Path> = of_category.iter().map(|(sample, _)| sample.path.as_path()).collect();
        findings.extend(of_one_color(category, &of_category, &names, 1));
        findings.extend(among_photographs(category, of_category, &names));
    }
}

/// Returns the finding of [`report`] for a category of which the smallest files and a few others are read: a mask takes fewer bytes than a
/// photograph.
pub(super) fn of_small_files(category: &Category, limits: &Limits) -> Option<Finding> {
    /// The number of small files that are read, and that of others.
    const READ: (usize, usize) = (64, 8);
    let trained = category.samples.iter().filter(|sample| is_trained(sample));
    let size = |sample: &Sample| std::fs::metadata(&sample.path).map(|metadata| metadata.len()).ok();
    let mut sized: Vec<(u64, &Sample)> = trained.filter_map(|sample| Some((size(sample)?, sample))).collect();
    sized.sort_by_key(|(bytes, _)| *bytes);
    let (largest, _) = sized.last()?;
    let (small, others) = sized.split_at(sized.partition_point(|(bytes, _)| 2 * bytes <= *largest));
    if small.is_empty() {
        return None;
    }
    let step = others.len().div_ceil(READ.1).max(1);
    let read: Vec<&Sample> =
        small.iter().take(READ.0).chain(others.iter().step_by(step)).map(|(_, sample)| *sample).collect();
    let looks = read.into_par_iter().filter_map(|sample| {
        let picture = Picture::read_levels(&sample.path, limits).ok()?;
        Some((sample, look(&picture)))
    });
    let looks: Vec<(&Sample, Look)> = looks.collect();
    let names: Vec<&Path> = sized.iter().map(|(_, sample)| sample.path.as_path()).collect();
    let blank = of_one_color(category, &looks, &names, small.len().div_ceil(READ.0));
    among_photographs(category, looks, &names).or_else(|| blank.filter(|found| found.severity() == Severity::Fatal))
}

/// Returns a finding if some images have one color alone, and others are photographs: masks without a defect, or empty frames. Many are a
/// fatal one. Each of the images looked at stands for `weight` of all.
fn of_one_color(category: &Category, looks: &[(&Sample, Look)], names: &[&Path], weight: usize) -> Option<Finding> {
    /// The images for each one of them from which on few are a warning.
    const SHARE: usize = 3;
    let of_kind = |kind| looks.iter().filter(move |(_, look)| *look == kind).map(|(sample, _)| sample.path.as_path());
    of_kind(Look::Photograph).next()?;
    let mut found: Vec<&Path> = of_kind(Look::Blank).collect();
    let others: HashSet<&Path> = found.iter().copied().collect();
    let views = Views::of(names.iter().copied().filter(|name| !others.contains(name)));
    found.retain(|image| !views.have(image));
    found.sort();
    let first = found.first()?;
    let is_many = found.len() > 1 && SHARE * weight * found.len() >= names.len();
    let kind = if is_many { FindingKind::MaskInTraining } else { FindingKind::MaskAmongImages };
    let what = format!(
        "images to train on in category \"{}\" with one color alone, such as black (the first is this one): {}; if they are masks without a \
         defect or empty frames, move them away: they are trained on as normal",
        category.name,
        found.len()
    );
    Some(Finding::new(kind, &category.name, first, what))
}

/// Returns a finding if some images are masks by their content, and others are photographs. `names` are those of all images to train on.
fn among_photographs(category: &Category, looks: Vec<(&Sample, Look)>, names: &[&Path]) -> Option<Finding> {
    let has = |look| looks.iter().any(|(_, found)| *found == look);
    if !has(Look::Photograph) {
        return None;
    }
    // Beside silhouettes, one that is nearly black and white may be another.
    let is_mask = |look: Look| match look {
        Look::FewColors => true,
        Look::BlackAndWhite => !has(Look::MostlyBlackAndWhite),
        Look::Blank | Look::Tiny | Look::MostlyBlackAndWhite | Look::Photograph => false,
    };
    let of_kind = |is: &dyn Fn(Look) -> bool| -> Vec<&Path> {
        looks.iter().filter(|(_, look)| is(*look)).map(|(sample, _)| sample.path.as_path()).collect()
    };
    let mut masks = of_kind(&is_mask);
    let others: HashSet<&Path> = masks.iter().copied().collect();
    let views = Views::of(names.iter().copied().filter(|name| !others.contains(name)));
    masks.retain(|mask| !views.have(mask));
    masks.sort();
    let first = masks.first()?;
    let what = format!(
        "{} to train on in category \"{}\" (such as this one) {} the few colors of {}, and others are photographs; if {}, move {} to \
         ground_truth/<type of defect>, and the images whose defects {} to test/<type of defect>; if {}, keep images of both kinds in \
         folders of their own",
        if masks.len() == 1 { "1 image".to_string() } else { format!("{} images", masks.len()) },
        category.name,
        if masks.len() == 1 { "has" } else { "have" },
        if masks.len() == 1 { "a mask" } else { "masks" },
        if masks.len() == 1 { "it is one" } else { "they are masks" },
        if masks.len() == 1 { "it" } else { "them" },
        if masks.len() == 1 { "it marks" } else { "they mark" },
        if masks.len() == 1 { "it is an image" } else { "they are images" },
    );
    Some(Finding::new(FindingKind::MaskInTraining, &category.name, first, what))
}

/// The parts of which photographs show views by a number or a word for a view: `000` for `000_1.png` and `000_front.png`.
struct Views(HashMap<String, usize>);

impl Views {
    fn of<'a>(photographs: impl Iterator<Item = &'a Path>) -> Self {
        let mut parts = HashMap::new();
        for (part, _) in photographs.filter_map(part_and_view).filter(|(_, view)| is_view(view)) {
            *parts.entry(part).or_default() += 1;
        }
        Self(parts)
    }

    /// Returns whether a picture is another view of a part by its name, such as the silhouette `000_back.png`, or `000.png` alone. A part
    /// has a number, and few views.
    fn have(&self, picture: &Path) -> bool {
        const MOST: usize = 8;
        let is_part = |part: &str| {
            part.bytes().any(|byte| byte.is_ascii_digit()) && self.0.get(part).is_some_and(|count| *count <= MOST)
        };
        picture.file_stem().is_some_and(|stem| is_part(&stem.to_string_lossy()))
            || part_and_view(picture)
                .is_some_and(|(part, view)| view.starts_with(char::is_alphabetic) && is_part(&part))
    }
}
