//! Every kind of fault is found, named and weighed, and the fatal ones are listed together.

mod support;

use dualad_data::image::Limits;
use dualad_data::{Cancel, Dataset, Error, Kind, MaskRule, Report, Severity};
use support::Tree;

/// Two normal images to train on, one to test with, and one with a defect and its mask.
fn sound() -> Tree {
    let tree = Tree::new();
    tree.picture("c/train/good/000.png", 20, 10, 1);
    tree.picture("c/train/good/001.png", 20, 10, 2);
    tree.picture("c/test/good/000.png", 20, 10, 3);
    tree.picture("c/test/cut/000.png", 20, 10, 4);
    tree.mask("c/ground_truth/cut/000_mask.png", 20, 10, 255);
    tree
}

fn check(tree: &Tree) -> Report {
    Dataset::open(tree.root()).unwrap().check().threads(2).run().unwrap()
}

/// The one finding, of this kind and weight, at this file.
fn only(tree: &Tree, kind: Kind, severity: Severity, file: &str) -> String {
    let report = check(tree);
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.kind, finding.severity(), finding.category.as_str()), (kind, severity, "c"), "{finding}");
    assert_eq!(finding.path, tree.path(file), "{finding}");
    let line = finding.to_string();
    assert!(line.starts_with(&severity.to_string()), "{line}");
    assert_eq!(line.matches(&finding.path.display().to_string()).count(), 1, "{line}");
    assert_eq!(report.is_fatal(), severity == Severity::Fatal);
    assert_eq!(report.into_result().is_err(), severity == Severity::Fatal);
    line
}

#[test]
fn a_sound_dataset_has_no_findings() {
    let report = check(&sound());
    assert_eq!((report.findings.len(), report.images), (0, 4), "{:?}", report.findings);
}

#[test]
fn empty_files_are_fatal() {
    let tree = sound();
    tree.write("c/train/good/002.png", "");
    only(&tree, Kind::EmptyFile, Severity::Fatal, "c/train/good/002.png");
}

#[test]
fn unreadable_images_are_fatal() {
    let tree = sound();
    let path = tree.picture("c/test/good/009.png", 60, 60, 7);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    only(&tree, Kind::Unreadable, Severity::Fatal, "c/test/good/009.png");
}

#[test]
fn unreadable_masks_are_fatal() {
    let tree = sound();
    tree.write("c/ground_truth/cut/000_mask.png", "no png");
    only(&tree, Kind::Unreadable, Severity::Fatal, "c/ground_truth/cut/000_mask.png");
}

#[test]
fn images_over_the_limits_are_fatal() {
    let tree = sound();
    let report = Dataset::open(tree.root()).unwrap().check().limits(Limits::default().pixels(199)).run().unwrap();
    assert_eq!(report.findings.iter().filter(|finding| finding.kind == Kind::Unreadable).count(), 5);
    assert!(report.findings[0].what.contains("199"), "{}", report.findings[0]);
}

#[test]
fn masks_of_another_size_are_fatal() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/000_mask.png", 10, 20, 255);
    let line = only(&tree, Kind::MaskSize, Severity::Fatal, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("10x20") && line.contains("20x10"), "{line}");
}

#[test]
fn a_category_without_normal_images_is_fatal() {
    let tree = sound();
    std::fs::remove_dir_all(tree.path("c/train/good")).unwrap();
    let report = check(&tree);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].kind, Kind::NoNormalImages);
    assert!(report.into_result().unwrap_err().to_string().contains("category \"c\""));
}

#[test]
fn missing_masks_are_a_warning() {
    let tree = sound();
    std::fs::remove_file(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
    only(&tree, Kind::MissingMask, Severity::Warning, "c/test/cut/000.png");
}

#[test]
fn unpaired_masks_are_a_warning() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/001_mask.png", 20, 10, 255);
    only(&tree, Kind::UnpairedMask, Severity::Warning, "c/ground_truth/cut/001_mask.png");
}

#[test]
fn empty_masks_are_a_warning_by_the_masks_rule() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/000_mask.png", 20, 10, 1);
    only(&tree, Kind::EmptyMask, Severity::Warning, "c/ground_truth/cut/000_mask.png");
    let dataset = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
    assert_eq!(dataset.check().run().unwrap().findings, []);
}

#[test]
fn duplicates_are_found_by_content() {
    let tree = sound();
    // The same picture in another format and under another name.
    tree.picture("c/test/good/other.bmp", 20, 10, 2);
    let line = only(&tree, Kind::Duplicate, Severity::Warning, "c/test/good/other.bmp");
    assert!(line.contains(&tree.path("c/train/good/001.png").display().to_string()), "{line}");
}

#[test]
fn mixed_sizes_are_a_note() {
    let tree = sound();
    tree.picture("c/test/good/wide.png", 30, 10, 9);
    let line = only(&tree, Kind::MixedSizes, Severity::Note, "c/test/good/wide.png");
    assert!(line.contains("30x10") && line.contains("20x10"), "{line}");
}

#[test]
fn all_fatal_findings_are_listed_and_nothing_else() {
    let tree = sound();
    tree.write("c/train/good/a.png", "");
    tree.write("c/train/good/b.png", "words");
    tree.mask("c/ground_truth/cut/000_mask.png", 3, 3, 255);
    tree.picture("c/test/good/wide.png", 30, 10, 9);
    tree.picture("d/test/good/0.png", 5, 5, 0);
    let report = check(&tree);
    let severities: Vec<Severity> = report.findings.iter().map(|finding| finding.severity()).collect();
    assert!(severities.is_sorted_by(|a, b| a >= b), "{severities:?}");
    let error = report.into_result().unwrap_err();
    let Error::Dataset { findings } = &error else { panic!("{error}") };
    assert_eq!(findings.len(), 4);
    let message = error.to_string();
    assert_eq!(message.lines().count(), 5, "{message}");
    for name in ["a.png", "b.png", "000_mask.png", "category \"d\""] {
        assert!(message.contains(name), "{message}");
    }
    assert!(!message.contains("wide.png"), "{message}");
}

#[test]
fn a_check_tells_how_far_it_is_and_can_be_cancelled() {
    let tree = sound();
    let dataset = Dataset::open(tree.root()).unwrap();
    let mut seen = Vec::new();
    dataset.check().run_with(|done, all| seen.push((done, all))).unwrap();
    assert_eq!(seen, [(1, 4), (2, 4), (3, 4), (4, 4)]);

    let cancel = Cancel::default();
    let result = dataset.check().cancel(&cancel).run_with(|_, _| cancel.cancel());
    assert!(matches!(result, Err(Error::Cancelled)));
}

#[test]
fn threads_do_not_change_a_report() {
    let tree = sound();
    tree.write("c/train/good/a.png", "");
    tree.picture("c/test/good/other.png", 20, 10, 1);
    let dataset = Dataset::open(tree.root()).unwrap();
    let reports = [1, 2, 3, 8].map(|threads| dataset.check().threads(threads).run().unwrap());
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
}
