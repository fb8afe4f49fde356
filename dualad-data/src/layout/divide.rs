//! The division of images into training and testing, for datasets whose files leave it open.

use std::path::Path;

use super::answers::{number, says_nothing, truth};
use super::names::{self, Stated, label_of, may_be_negative};
use super::words::letters;
use crate::finding::{Finding, FindingKind};
use crate::random::Random;
use crate::sample::{Category, Sample, Split};

/// The seed that chooses the normal test images.
const SEED: u64 = 0;

/// One of this many normal images becomes a test image.
const TEST_SHARE: usize = 5;

/// Returns the split that a name stands for: validation images are test images, too.
pub(super) fn split(name: &str) -> Option<Split> {
    match name.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "test" | "testing" | "val" | "valid" | "validation" | "eval" => Some(Split::Test),
        _ => None,
    }
}

/// Returns whether a label in a file stands for something normal. In doubt, it does not.
pub(super) fn is_normal(label: &str) -> bool {
    !is_doubtful(label) && (names::is_normal(label.as_ref()) || names::may_be_normal(label.as_ref()))
}

/// Returns whether a shape with this label marks no defect: something normal, or what is behind the part.
pub(super) fn marks_no_defect(label: &str) -> bool {
    is_normal(label) || is_background(label)
}

/// Returns whether a label is the usual one of what is behind a part: `_background_`.
fn is_background(label: &str) -> bool {
    const NAMES: [&str; 7] = ["background", "hintergrund", "fondo", "sfondo", "фон", "背景", "배경"];
    NAMES.contains(&letters(label).as_str())
}

/// Returns whether a label asks: `normal?`.
pub(super) fn is_doubtful(label: &str) -> bool {
    label.contains(['?', '？', '¿'])
}

/// Returns whether a label other than those of normal images may mean that there is no defect, or that nothing is known.
pub(super) fn is_unclear(label: &str) -> bool {
    const IGNORED: [&str; 4] = ["dontcare", "ignore", "ignored", "void"];
    says_nothing(label)
        || truth(label) == Some(false)
        || number(label).is_some_and(|number| number < 0.0)
        || is_background(label)
        || IGNORED.contains(&letters(label).as_str())
        || may_be_negative(label.as_ref())
        || is_doubtful(label)
        || label_of(label.as_ref()) == Stated::Normal
}

/// Divides the images of a category, and reports the choices that this takes. If any image is a test image, the other
/// normal images are trained on, and the other anomalous ones are test images, too. Otherwise a share of the normal images is
/// chosen by a fixed seed, and tested on with the anomalous ones.
pub(super) fn divide(
    name: &str,
    folder: &Path,
    images: Vec<(Option<Split>, Sample)>,
    findings: &mut Vec<Finding>,
) -> Category {
    let given = images.iter().any(|(split, _)| *split == Some(Split::Test));
    let mut samples: Vec<Sample> = Vec::with_capacity(images.len());
    let mut moved = 0;
    for (split, mut sample) in images {
        let trains = split != Some(Split::Test);
        moved += usize::from(split == Some(Split::Train) && sample.label.is_anomalous());
        sample.split = if trains && !sample.label.is_anomalous() { Split::Train } else { Split::Test };
        samples.push(sample);
    }
    samples.sort_by(|a, b| a.path.cmp(&b.path));
    let mut choice = |what| findings.push(Finding::new(FindingKind::Choice, name, folder, what));
    if moved > 0 {
        choice(format!(
            "{moved} anomalous {}, because only normal images are trained on",
            if moved == 1 {
                "image of the training part counts as a test image"
            } else {
                "images of the training part count as test images"
            }
        ));
    }
    if !given {
        let mut normal: Vec<&mut Sample> = samples.iter_mut().filter(|sample| !sample.label.is_anomalous()).collect();
        let count = normal.len();
        // One image is kept for training. The name of the folder does not matter, so a copy of a dataset has the same division.
        let tests = count.div_ceil(TEST_SHARE).min(count.saturating_sub(1));
        let order = Random::new(SEED).named("test images").permutation(count);
        for &index in order.iter().take(tests) {
            normal[index].split = Split::Test;
        }
        if count > 0 {
            choice(format!(
                "its files do not tell which images to test on: {tests} of its {count} normal images, chosen by the seed {SEED}, \
                 and all anomalous ones are test images; divide the images into train and test to choose others"
            ));
        }
    }
    samples.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
    Category { name: name.into(), folder: folder.into(), samples }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Label;

    fn image(name: usize, split: Option<Split>, anomalous: bool) -> (Option<Split>, Sample) {
        let label = if anomalous { Label::Anomalous("dent".into()) } else { Label::Normal };
        (split, Sample::new(format!("{name:03}.png"), "part", Split::Train, label))
    }

    #[test]
    fn a_share_of_the_normal_images_is_chosen_by_the_seed() {
        let mut findings = Vec::new();
        let images = || (0..52).map(|index| image(index, None, index >= 50)).collect::<Vec<_>>();
        let category = divide("part", Path::new("part"), images(), &mut findings);
        let tests: Vec<&Sample> = category.samples.iter().filter(|sample| sample.split == Split::Test).collect();
        assert_eq!((tests.len(), tests.iter().filter(|sample| sample.label.is_anomalous()).count()), (12, 2));
        assert!(findings[0].message.contains("10 of its 50 normal images"), "{}", findings[0]);
        // The order of the images does not matter, and the choice is not simply the first or last.
        let mut reversed = images();
        reversed.reverse();
        assert_eq!(divide("part", Path::new("part"), reversed, &mut findings), category);
        assert!(tests.iter().any(|sample| sample.path.as_path() < Path::new("020.png")));
        assert!(tests.iter().any(|sample| sample.path.as_path() > Path::new("030.png")));
        // The name of the dataset's folder does not matter.
        let renamed = divide("other", Path::new("other"), images(), &mut findings);
        let splits =
            |category: &Category| category.samples.iter().map(|s| (s.path.clone(), s.split)).collect::<Vec<_>>();
        assert_eq!(splits(&renamed), splits(&category));
        // One image is trained on rather than tested on.
        let one = divide("part", Path::new("part"), vec![image(0, None, false)], &mut findings);
        assert_eq!(one.samples[0].split, Split::Train);
    }

    #[test]
    fn given_splits_are_kept_apart_from_anomalous_training_images() {
        let (train, test) = (Some(Split::Train), Some(Split::Test));
        let images = vec![image(0, train, false), image(1, train, true), image(2, test, false), image(3, None, false)];
        let mut findings = Vec::new();
        let category = divide("part", Path::new("part"), images, &mut findings);
        let splits: Vec<(&Path, Split)> = category.samples.iter().map(|s| (s.path.as_path(), s.split)).collect();
        let expected =
            [("000.png", Split::Train), ("003.png", Split::Train), ("001.png", Split::Test), ("002.png", Split::Test)];
        assert_eq!(splits, expected.map(|(path, split)| (Path::new(path), split)));
        assert!(
            findings.len() == 1
                && findings[0]
                    .message
                    .starts_with("1 anomalous image of the training part counts as a test image, because"),
            "{findings:?}"
        );
    }
}
