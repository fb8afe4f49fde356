//! Every kind of finding, with its severity and file.

use crate::support::Tree;
use dualad_data::image::Limits;
use dualad_data::{Cancel, Dataset, Error, FindingKind, MaskRule, Report, Severity};

/// A dataset without faults: two training images, a normal test image, and a defective one with its mask.
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

/// Checks that there is one finding, of this kind and severity and for this file, and returns its text.
fn only(tree: &Tree, kind: FindingKind, severity: Severity, file: &str) -> String {
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
fn a_dataset_without_faults_has_no_findings() {
    let report = check(&sound());
    assert_eq!((report.findings.len(), report.images), (0, 4), "{:?}", report.findings);
}

#[test]
fn empty_files_are_fatal() {
    let tree = sound();
    tree.write("c/train/good/002.png", "");
    only(&tree, FindingKind::EmptyFile, Severity::Fatal, "c/train/good/002.png");
}

#[test]
fn unreadable_images_are_fatal() {
    let tree = sound();
    let path = tree.picture("c/test/good/009.png", 60, 60, 7);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    only(&tree, FindingKind::Unreadable, Severity::Fatal, "c/test/good/009.png");
}

#[test]
fn unreadable_masks_are_fatal() {
    let tree = sound();
    tree.write("c/ground_truth/cut/000_mask.png", "no png");
    only(&tree, FindingKind::Unreadable, Severity::Fatal, "c/ground_truth/cut/000_mask.png");
}

#[test]
fn images_over_the_limits_are_fatal() {
    let tree = sound();
    let report = Dataset::open(tree.root()).unwrap().check().limits(Limits::default().with_pixels(199)).run().unwrap();
    assert_eq!(report.findings.iter().filter(|finding| finding.kind == FindingKind::TooLarge).count(), 5);
    assert!(report.findings[0].message.contains("199"), "{}", report.findings[0]);
}

#[test]
fn masks_of_another_size_are_fatal() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/000_mask.png", 10, 20, 255);
    let line = only(&tree, FindingKind::MaskSize, Severity::Fatal, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("10x20") && line.contains("20x10"), "{line}");
}

#[test]
fn a_category_without_normal_images_is_fatal() {
    let tree = sound();
    std::fs::remove_dir_all(tree.path("c/train/good")).unwrap();
    let report = check(&tree);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].kind, FindingKind::NoNormalImages);
    assert_eq!(report.findings[0].path, tree.path("c"));
    assert!(report.into_result().unwrap_err().to_string().contains("category \"c\""));
}

#[test]
fn missing_masks_are_a_warning() {
    let tree = sound();
    std::fs::remove_file(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
    only(&tree, FindingKind::MissingMask, Severity::Warning, "c/test/cut/000.png");
}

#[test]
fn images_without_masks_are_one_warning_for_each_folder() {
    let tree = sound();
    std::fs::remove_dir_all(tree.path("c/ground_truth")).unwrap();
    (1..30).for_each(|index| drop(tree.picture(&format!("c/test/cut/{index:03}.png"), 20, 10, index + 9)));
    let line = only(&tree, FindingKind::MissingMask, Severity::Warning, "c/test/cut");
    assert!(line.contains("30 anomalous images in it have no mask (such as 000.png)"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn categories_with_nearly_the_same_name_are_a_warning() {
    for [one, other] in [["gear", "Gear"], ["g\u{e9}ar", "ge\u{301}ar"]] {
        let tree = Tree::new();
        tree.picture(&format!("{one}/train/good/0.png"), 20, 10, 1);
        tree.picture(&format!("{other}/train/good/0.png"), 20, 10, 2);
        let report = check(&tree);
        let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
        assert_eq!((finding.kind, finding.severity()), (FindingKind::SimilarCategories, Severity::Warning));
        assert!(finding.message.contains("if they are one product"), "{finding}");
    }
}

#[test]
fn folders_in_train_good_are_named_with_what_to_do() {
    let tree = Tree::new();
    tree.picture("c/train/good/day1/0.png", 20, 10, 1);
    tree.picture("c/train/good/scratch/0.png", 20, 10, 2);
    tree.picture("c/test/good/0.png", 20, 10, 3);
    let message = check(&tree).into_result().unwrap_err().to_string();
    assert!(message.contains("only images directly in train/good are read"), "{message}");
    assert!(message.contains("if they are normal, move them up into train/good"), "{message}");
    assert!(message.contains("by its name, it holds defective images; move them to test/<type"), "{message}");
}

#[test]
fn unpaired_masks_are_a_warning() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/001_mask.png", 20, 10, 255);
    only(&tree, FindingKind::UnpairedMask, Severity::Warning, "c/ground_truth/cut/001_mask.png");
}

#[test]
fn masks_that_are_empty_by_their_rule_are_a_warning() {
    let tree = sound();
    tree.mask("c/ground_truth/cut/000_mask.png", 20, 10, 1);
    let line = only(&tree, FindingKind::EmptyMask, Severity::Warning, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("only 255") && line.contains("largest value is 1") && line.contains("non-zero"), "{line}");
    let dataset = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
    assert_eq!(dataset.check().run().unwrap().findings, []);
}

#[test]
fn duplicates_are_found_by_content() {
    let tree = sound();
    // The same pixels in another format and under another name.
    tree.picture("c/test/good/other.bmp", 20, 10, 2);
    let line = only(&tree, FindingKind::Duplicate, Severity::Warning, "c/test/good/other.bmp");
    assert!(line.contains(&tree.path("c/train/good/001.png").display().to_string()), "{line}");
}

#[test]
fn test_images_that_are_there_twice_are_a_warning() {
    let tree = sound();
    tree.picture("c/test/dent/7.png", 20, 10, 4);
    tree.mask("c/ground_truth/dent/7_mask.png", 20, 10, 255);
    let line = only(&tree, FindingKind::Duplicate, Severity::Warning, "c/test/dent/7.png");
    assert!(line.contains("of the type \"dent\"") && line.contains("000.png of the type \"cut\""), "{line}");
    let tree = sound();
    for name in ["007", "008"] {
        tree.picture(&format!("c/test/good/{name}.png"), 20, 10, 3);
    }
    let line = only(&tree, FindingKind::Duplicate, Severity::Warning, "c/test/good/007.png");
    assert!(line.contains("as others of the same label: 2 (such as this one and"), "{line}");
    // Those of another category count there.
    let tree = sound();
    tree.picture("d/train/good/000.png", 20, 10, 8);
    tree.picture("d/test/good/000.png", 20, 10, 3);
    assert_eq!(check(&tree).findings, []);
}

#[test]
fn a_training_image_with_the_pixels_of_a_defective_one_is_fatal() {
    let tree = sound();
    // The same pixels in another format and under another name.
    tree.picture("c/train/good/other.bmp", 20, 10, 4);
    let line = only(&tree, FindingKind::DefectInTraining, Severity::Fatal, "c/train/good/other.bmp");
    assert!(line.contains("000.png of the type \"cut\""), "{line}");
    assert!(line.contains("remove it from the training images if it shows a defect"), "{line}");
    // Each copy is named.
    tree.picture("c/train/good/second.png", 20, 10, 4);
    assert_eq!(check(&tree).findings.len(), 2);
    // The anomaly may be another product.
    let tree = sound();
    tree.picture("d/train/good/000.png", 20, 10, 4);
    let report = check(&tree);
    assert!(!report.is_fatal());
    assert_eq!(report.findings[0].kind, FindingKind::Duplicate);
    let line = report.findings[0].to_string();
    assert!(line.contains("of the type \"cut\"") && line.contains("trained on as normal in category \"d\""), "{line}");
}

#[test]
fn files_to_train_on_that_are_defective_test_images_are_found_without_decoding() {
    let kinds = |findings: &[dualad_data::Finding]| findings.iter().map(|finding| finding.kind).collect::<Vec<_>>();
    let tree = sound();
    std::fs::copy(tree.path("c/test/cut/000.png"), tree.path("c/train/good/copy.png")).unwrap();
    let found = Dataset::open(tree.root()).unwrap().marked_normal_images(&Limits::default());
    assert_eq!(kinds(&found), [FindingKind::DefectInTraining]);
    assert!(found[0].path.ends_with("copy.png"), "{found:?}");
    assert_eq!(Dataset::open(sound().root()).unwrap().marked_normal_images(&Limits::default()), []);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_of_defects_is_no_folder_to_train_on() {
    let tree = sound();
    std::fs::remove_dir_all(tree.path("c/train/good")).unwrap();
    std::os::unix::fs::symlink("../test/cut", tree.path("c/train/good")).unwrap();
    let dataset = Dataset::open(tree.root()).unwrap();
    for headers in [true, false] {
        let report = dataset.check().headers_only(headers).run().unwrap();
        let found: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(found, [FindingKind::DefectInTraining], "{:?}", report.findings);
    }
    assert_eq!(dataset.marked_normal_images(&Limits::default()).len(), 1);
}

#[test]
fn mixed_sizes_are_a_note() {
    let tree = sound();
    tree.picture("c/test/good/wide.png", 30, 10, 9);
    let line = only(&tree, FindingKind::MixedSizes, Severity::Note, "c");
    for part in ["\"c\"", "4 of 20x10 (such as train/good/000.png)", "1 of 30x10 (test/good/wide.png)"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Each category is reported by itself, with a limited number of sizes.
    for width in 1..8 {
        tree.picture(&format!("d/train/good/{width}.png"), width, 10, width);
    }
    let report = check(&tree);
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(report.findings.iter().map(|f| f.category.as_str()).collect::<Vec<_>>(), ["c", "d"], "{lines:?}");
    assert!(lines[1].contains("7 sizes") && lines[1].contains("and 2 other sizes"), "{lines:?}");
}

#[test]
fn masks_that_are_not_black_and_white_are_a_warning() {
    let tree = sound();
    let mask = |values: [u8; 4]| {
        let image =
            image::GrayImage::from_fn(20, 10, |x, y| image::Luma([if y == 0 { values[x as usize % 4] } else { 0 }]));
        image.save(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
    };
    mask([254, 255, 0, 3]);
    let line = only(&tree, FindingKind::GrayMask, Severity::Warning, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("10 pixels") && line.contains("non-zero"), "{line}");
    mask([255, 255, 0, 0]);
    assert_eq!(check(&tree).findings, []);
    // The rule for nonzero values accepts them ...
    mask([254, 255, 0, 3]);
    let by_any = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
    assert_eq!(by_any.check().run().unwrap().findings, []);
    // ... except at soft edges: white, and several values between it and black, or many up to nearly white ...
    let of_shades = |step: u8, largest: u8| {
        let level = |x: u32, y: u32| u8::try_from((1 + x + 20 * y) * u32::from(step)).unwrap_or(largest).min(largest);
        let image = image::GrayImage::from_fn(20, 10, |x, y| image::Luma([if y < 3 { level(x, y) } else { 0 }]));
        image.save(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
        let by_any = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
        by_any.check().run().unwrap().findings
    };
    for (step, largest, shades) in [(20, 255, 12), (5, 252, 51)] {
        let found = of_shades(step, largest);
        assert!(found.len() == 1 && found[0].kind == FindingKind::GrayMask, "{found:?}");
        assert!(found[0].message.contains(&format!("of {shades} different values")), "{found:?}");
    }
    // The numbers of defects.
    assert_eq!((of_shades(20, 250), of_shades(1, 60)), (vec![], vec![]));
    // ... and in a jpeg, whose compression produces them.
    std::fs::remove_file(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
    let image = image::GrayImage::from_fn(20, 10, |x, _| image::Luma([if x < 7 { 255 } else { 0 }]));
    image.save(tree.path("c/ground_truth/cut/000_mask.jpg")).unwrap();
    only(&tree, FindingKind::GrayMask, Severity::Warning, "c/ground_truth/cut/000_mask.jpg");
    let by_any = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
    let report = by_any.check().run().unwrap();
    assert_eq!(report.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::GrayMask], "{report:?}");
}

#[test]
fn the_masks_of_one_image_are_checked_together() {
    let tree = sound();
    std::fs::remove_file(tree.path("c/ground_truth/cut/000_mask.png")).unwrap();
    tree.mask("c/ground_truth/cut/000/000.png", 20, 10, 0);
    tree.mask("c/ground_truth/cut/000/001.png", 20, 10, 237);
    assert_eq!(check(&tree).findings, []);
    tree.mask("c/ground_truth/cut/000/001.png", 20, 10, 0);
    let line = only(&tree, FindingKind::EmptyMask, Severity::Warning, "c/ground_truth/cut/000/000.png");
    assert!(line.contains("black") && line.contains("draw the defect"), "{line}");
    tree.mask("c/ground_truth/cut/000/001.png", 2, 10, 9);
    only(&tree, FindingKind::MaskSize, Severity::Fatal, "c/ground_truth/cut/000/001.png");
}

#[test]
fn headers_show_sizes_and_files_that_are_not_images() {
    let tree = sound();
    tree.write("c/train/good/a.png", "");
    tree.write("c/train/good/b.png", "words");
    tree.picture("c/train/good/c.jpg", 20, 10, 5);
    tree.picture("c/train/good/d.tiff", 21, 10, 5);
    tree.picture("c/train/good/e.webp", 20, 10, 6);
    tree.picture("c/test/good/same.bmp", 20, 10, 1);
    tree.mask("c/ground_truth/cut/000_mask.png", 10, 20, 0);
    let cut = tree.picture("c/train/good/f.png", 20, 10, 7);
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..60]).unwrap();
    let run = |headers| {
        let check = Dataset::open(tree.root()).unwrap().check().headers_only(headers).run().unwrap();
        check.findings.iter().map(|finding| (finding.kind, finding.path.clone())).collect::<Vec<_>>()
    };
    let at = |kind, file: &str| (kind, tree.path(file));
    let both = [
        at(FindingKind::MaskSize, "c/ground_truth/cut/000_mask.png"),
        at(FindingKind::EmptyFile, "c/train/good/a.png"),
        at(FindingKind::Unreadable, "c/train/good/b.png"),
        at(FindingKind::MixedSizes, "c"),
    ];
    assert_eq!(run(true), both);
    let whole = run(false);
    for expected in both
        .iter()
        .chain(&[at(FindingKind::Unreadable, "c/train/good/f.png"), at(FindingKind::Duplicate, "c/test/good/same.bmp")])
    {
        assert!(whole.contains(expected), "{expected:?} is not in {whole:?}");
    }
}

#[test]
fn an_error_lists_exactly_the_fatal_findings() {
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
fn the_message_of_an_error_lists_twenty_findings() {
    let tree = Tree::new();
    for index in 0..30 {
        tree.write(&format!("c/train/good/{index:02}.png"), "");
    }
    let report = check(&tree);
    let last = report.findings.get(20).unwrap();
    assert!(last.count == 10 && last.to_string().ends_with("\"empty file\": 10, in c (10)"), "{last}");
    assert_eq!((report.findings.len(), report.count(Severity::Fatal)), (21, 30));
    let error = report.into_result().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("30 fatal faults") && message.ends_with("and 10 more"), "{message}");
    assert_eq!(message.lines().count(), 22, "{message}");
    // All of them, on request.
    let all = Dataset::open(tree.root()).unwrap().check().listed(0).run().unwrap();
    assert_eq!((all.findings.len(), all.count(Severity::Fatal)), (30, 30));
}

#[test]
fn a_check_reports_progress_and_can_be_cancelled() {
    let tree = sound();
    let dataset = Dataset::open(tree.root()).unwrap();
    let mut seen = Vec::new();
    dataset.check().progress(|done, all| seen.push((done, all))).run().unwrap();
    assert_eq!(seen, [(1, 4), (2, 4), (3, 4), (4, 4)]);

    let cancel = Cancel::default();
    let result = dataset.check().cancel(&cancel).progress(|_, _| cancel.cancel()).run();
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

#[test]
fn equal_normal_and_anomalous_images_are_a_contradiction() {
    let tree = sound();
    tree.picture("c/test/good/other.bmp", 20, 10, 4);
    let line = only(&tree, FindingKind::Contradiction, Severity::Warning, "c/test/cut/000.png");
    assert!(line.contains("other.bmp") && line.contains("\"cut\""), "{line}");
}

#[test]
fn a_test_set_without_normal_images_is_a_note() {
    let tree = sound();
    std::fs::remove_dir_all(tree.path("c/test/good")).unwrap();
    only(&tree, FindingKind::NoNormalTests, Severity::Note, "c");
}

#[test]
fn masks_that_mark_nearly_all_pixels_are_a_warning() {
    let tree = sound();
    image::GrayImage::from_fn(20, 10, |x, y| image::Luma([if x < 19 || y < 2 { 255 } else { 0 }]))
        .save(tree.path("c/ground_truth/cut/000_mask.png"))
        .unwrap();
    let line = only(&tree, FindingKind::FullMask, Severity::Warning, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("96 %"), "{line}");
    // Half of it and all of its edge: black may mark the defect.
    let mask = |marks: fn(u32, u32) -> bool| {
        image::GrayImage::from_fn(20, 10, |x, y| image::Luma([if marks(x, y) { 255 } else { 0 }]))
            .save(tree.path("c/ground_truth/cut/000_mask.png"))
            .unwrap();
    };
    mask(|x, y| !(6..12).contains(&x) || !(3..7).contains(&y));
    let line = only(&tree, FindingKind::FullMask, Severity::Warning, "c/ground_truth/cut/000_mask.png");
    assert!(line.contains("88 %") && line.contains("may be inverted"), "{line}");
    for marks in [(|x, _| x < 16) as fn(u32, u32) -> bool, |x, y| !(2..18).contains(&x) || !(1..9).contains(&y)] {
        mask(marks);
        assert_eq!(check(&tree).findings, []);
    }
}

#[test]
fn an_image_rotated_by_exif_with_a_mask_that_is_not_is_a_note() {
    let tree = sound();
    std::fs::remove_file(tree.path("c/test/cut/000.png")).unwrap();
    let path = tree.picture("c/test/cut/000.jpg", 20, 10, 4);
    assert_eq!(check(&tree).findings, []);
    // A segment after the first marker rotates the image by 180 degrees.
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.splice(2..2, *exif);
    std::fs::write(&path, bytes).unwrap();
    let report = check(&tree);
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.kind, finding.severity()), (FindingKind::RotatedImage, Severity::Note));
    assert!(finding.message.contains("000_mask.png"), "{finding}");
}

#[cfg(unix)]
#[test]
fn a_finding_is_one_line_for_any_file_name() {
    let tree = sound();
    tree.write("c/train/good/a\nfatal: b\u{1b}[2J\u{2028}.png", "words");
    let report = check(&tree);
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    let line = finding.to_string();
    assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}') && line.contains("a\\nfatal: b"), "{line}");
    assert_eq!(report.into_result().unwrap_err().to_string().lines().count(), 2);
}

#[test]
fn equal_images_to_train_on_in_two_categories_are_one_warning() {
    let tree = Tree::new();
    for index in 0..4 {
        tree.picture(&format!("c/train/good/{index}.png"), 16, 16, index);
        tree.picture(&format!("d/train/good/x{index}.png"), 16, 16, index + 1);
    }
    let message = only(&tree, FindingKind::Duplicate, Severity::Warning, "c/train/good/1.png");
    assert!(message.contains("category \"c\" with the same pixels as images of \"d\": 3 (such as"), "{message}");
}

#[test]
fn images_of_several_pages_are_counted_once() {
    let tree = Tree::new();
    for (index, pages) in [1, 3, 2].into_iter().enumerate() {
        let file = std::fs::File::create(tree.path(&format!("c/train/good/{index}.tif"))).unwrap();
        let mut file = tiff::encoder::TiffEncoder::new(file).unwrap();
        for page in 0..pages {
            let levels: Vec<u8> = (0..16 * 16).map(|pixel| (pixel * (7 + index + page)) as u8).collect();
            file.write_image::<tiff::encoder::colortype::Gray8>(16, 16, &levels).unwrap();
        }
    }
    let message = only(&tree, FindingKind::Choice, Severity::Note, "c");
    assert!(message.contains("the first alone is read: 2 (such as train/good/1.tif, with 3)"), "{message}");
}
