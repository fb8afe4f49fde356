//! Faults of datasets, and the reasons that are told.

use crate::support::Tree;
use dualad_data::{Dataset, FindingKind, Layout, MaskRule, Report, Split};

fn pictures(tree: &Tree, names: &[&str]) {
    for (seed, name) in names.iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
}

fn check(tree: &Tree) -> Report {
    Dataset::open_products(tree.root()).unwrap().check().threads(1).run().unwrap()
}

/// Returns the messages of one kind.
fn of_kind(report: &Report, kind: FindingKind) -> Vec<String> {
    report.findings.iter().filter(|finding| finding.kind == kind).map(ToString::to_string).collect()
}

fn reason(tree: &Tree) -> String {
    Dataset::open_products(tree.root()).unwrap_err().to_string()
}

#[test]
fn accents_of_folders_may_have_two_spellings() {
    let tree = Tree::new();
    pictures(&tree, &["gear/train/good/0.png", "gear/test/kr\u{e4}tz/1.png", "r\u{f6}hre/train/good/2.png"]);
    tree.mask("gear/ground_truth/kra\u{308}tz/1_mask.png", 8, 4, 255);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert!(dataset.samples(Split::Test).all(|sample| sample.has_mask()), "{dataset:?}");
    let selected = dataset.select(&["ro\u{308}hre", "r\u{f6}hre"]).unwrap();
    assert_eq!(selected.categories.len(), 1);
    assert!(selected.select(&["rohre"]).is_err());
}

#[test]
fn a_whole_path_inside_the_dataset_is_read() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let whole = tree.root().canonicalize().unwrap().join("a.png");
    tree.write("t.csv", format!("path,label\n{},ok\nb.png,ok\n", whole.display()));
    // By another path to the same folder.
    let other = tree.root().join("..").join(tree.root().file_name().unwrap());
    for root in [tree.root(), &other] {
        assert_eq!(Dataset::open(root).unwrap().categories[0].samples.len(), 2);
    }
    tree.write("t.csv", "path,label\n/elsewhere/a.png,ok\n");
    assert!(Dataset::open(tree.root()).is_err());
}

#[test]
fn labels_of_tables_that_may_mean_no_defect_are_named() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "c.png"]);
    tree.write("t.csv", "path,label\na.png,ok\nb.png,Negative\nc.png,positive\n");
    let found = of_kind(&check(&tree), FindingKind::UnclearLabel);
    assert!(found.len() == 1 && found[0].contains("line 3") && found[0].contains("\"Negative\""), "{found:?}");
}

#[test]
fn a_table_names_its_missing_images_by_line() {
    let tree = Tree::new();
    pictures(&tree, &["a.png"]);
    tree.write("t.csv", "path,label\na.png,ok\nimages/zz.png,ok\nimages/yy.png,ok\n");
    let found = of_kind(&check(&tree), FindingKind::Unreadable);
    let named = found.iter().any(|line| line.contains("2 (such as line 3: \"images/zz.png\")"));
    assert!(named, "{found:?}");
}

#[test]
fn two_masks_of_one_image_are_told_once() {
    let tree = Tree::new();
    pictures(&tree, &["train/good/0.png", "test/good/1.png", "test/cut/000.png"]);
    tree.mask("ground_truth/cut/000_mask.png", 8, 4, 255);
    std::fs::copy(tree.path("ground_truth/cut/000_mask.png"), tree.path("ground_truth/cut/000_mask.bmp")).unwrap();
    let report = check(&tree);
    assert_eq!(of_kind(&report, FindingKind::AmbiguousMask).len(), 1, "{report:?}");
    assert!(of_kind(&report, FindingKind::UnpairedMask).is_empty(), "{report:?}");
}

#[test]
fn a_mask_of_the_size_before_rotation_is_told() {
    let tree = Tree::new();
    pictures(&tree, &["train/good/0.png", "test/good/1.png"]);
    tree.picture("test/cut/2.jpg", 8, 4, 2);
    let mut bytes = std::fs::read(tree.path("test/cut/2.jpg")).unwrap();
    // The orientation is 6.
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    bytes.splice(2..2, *exif);
    tree.write("test/cut/2.jpg", bytes);
    tree.mask("ground_truth/cut/2_mask.png", 8, 4, 255);
    let found = of_kind(&check(&tree), FindingKind::MaskSize);
    assert!(found.len() == 1 && found[0].contains("EXIF orientation 6 rotates"), "{found:?}");
    // Another wrong size has nothing to do with it.
    tree.mask("ground_truth/cut/2_mask.png", 9, 4, 255);
    let found = of_kind(&check(&tree), FindingKind::MaskSize);
    assert!(found.len() == 1 && !found[0].contains("EXIF"), "{found:?}");
}

#[test]
fn saturations_are_checked() {
    let tree = Tree::new();
    pictures(&tree, &["c/train/good/0.png", "c/test/good/1.png", "c/test/logical_anomalies/2.png"]);
    tree.mask("c/ground_truth/logical_anomalies/2/0.png", 8, 4, 200);
    let config = |value: u16| {
        format!(
            r#"[{{"defect_name": "a", "pixel_value": {value}, "saturation_threshold": 1, "relative_saturation": true}}]"#
        )
    };
    for (text, word) in [(config(200), ""), (config(201), "pixel_value 200"), ("[{]".into(), "not a list of defects")] {
        tree.write("c/defects_config.json", &text);
        let found = of_kind(&check(&tree), FindingKind::Unreadable);
        if word.is_empty() {
            assert!(found.is_empty(), "{found:?}");
        } else {
            assert!(found.len() == 1 && found[0].contains(word) && found[0].contains("defects_config"), "{found:?}");
        }
    }
}

#[test]
fn files_that_may_hold_images_are_counted_and_named() {
    let tree = Tree::new();
    pictures(&tree, &["c/train/good/0.png", "c/test/good/1.png"]);
    for name in ["a.npy", "b.NPY", "c.pdf", "d.zip", "e.h5"] {
        tree.write(&format!("c/train/good/{name}"), "x");
    }
    // An archive of the dataset itself.
    tree.write("c.zip", "x");
    let found = of_kind(&check(&tree), FindingKind::LeftOut);
    assert!(
        found.len() == 1 && found[0].contains("5 files that may hold images") && found[0].contains(".npy: 2"),
        "{found:?}"
    );
    // If there are no images, the error names them.
    let tree = Tree::new();
    tree.write("c/train/good/a.npy", "x");
    tree.write("c/more/b.npy", "x");
    let found = Dataset::open_products(tree.root().join("c/more")).unwrap_err().to_string();
    assert!(found.contains("1 file that may hold images"), "{found}");
}

#[test]
fn near_misses_are_named() {
    // The lists of Real-IAD without its images.
    let tree = Tree::new();
    tree.write("realiad_jsons/pcb.json", "{}");
    assert!(reason(&tree).contains("none of the folders of its images (realiad_1024"), "{}", reason(&tree));
    // Labels of YOLO.
    for (images, labels) in
        [("train/images", "train/labels"), ("images/train", "labels/train"), ("a/images", "a/labels")]
    {
        let tree = Tree::new();
        pictures(&tree, &[&format!("{images}/0.png")]);
        tree.write(&format!("{labels}/0.txt"), "0 .5 .5 .1 .1\n");
        let message = match Dataset::open_products(tree.root()) {
            Ok(dataset) => dataset.check().run().unwrap().into_result().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(message.contains("labels"), "{message}");
        assert_eq!(message.contains("YOLO"), images != "images/train", "{message}");
    }
    // A table says which columns it needs.
    let tree = Tree::new();
    pictures(&tree, &["images/0.png"]);
    tree.write("data.csv", "name,class\n0.png,ok\n");
    let found = of_kind(&check(&tree), FindingKind::LeftOut);
    assert!(found.len() == 1 && found[0].contains("the columns path"), "{found:?}");
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_listed_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let tree = Tree::new();
    pictures(&tree, &["data/train/good/0.png"]);
    let folder = tree.path("data");
    let set = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0);
    if std::fs::read_dir(&folder).is_ok() {
        println!("skipped: this user may list every folder");
    } else {
        assert!(reason(&tree).contains("cannot list"), "{}", reason(&tree));
    }
    set(0o755);
}

#[test]
fn a_mask_of_a_normal_test_image_that_marks_a_defect_is_told() {
    let tree = Tree::new();
    pictures(&tree, &["train/good/0.png", "test/good/1.png", "test/good/2.png", "test/cut/3.png"]);
    tree.mask("ground_truth/cut/3_mask.png", 8, 4, 255);
    tree.mask("ground_truth/good/1_mask.png", 8, 4, 255);
    tree.mask("ground_truth/good/2_mask.png", 8, 4, 0);
    let found = of_kind(&check(&tree), FindingKind::Contradiction);
    assert!(found.len() == 1 && found[0].contains("1.png") && found[0].contains("marks a defect"), "{found:?}");
}

#[test]
fn rules_and_layouts_have_the_names_that_users_type() {
    assert_eq!(MaskRule::NonZero.to_string(), "non-zero");
    assert_eq!(
        [Layout::Mvtec, Layout::MvtecAd2, Layout::LabelMe].map(|layout| layout.to_string()),
        ["mvtec", "mvtec-ad2", "labelme"]
    );
    let tree = Tree::new();
    std::fs::create_dir_all(tree.root().join("empty")).unwrap();
    let error = Dataset::open_as(Layout::MvtecAd2, tree.root()).unwrap_err().to_string();
    assert!(error.contains("as mvtec-ad2,"), "{error}");
}
