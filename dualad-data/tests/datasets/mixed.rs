//! Images without labels, some of which may be defective.

use crate::support::{Tree, kinds, relative, touch};
use dualad_data::{Dataset, Error, FindingKind, Split};

#[test]
fn mixed_images_without_labels_are_refused() {
    let cases: [&[&str]; 12] = [
        // Names of files.
        &["ok_1.png", "ok_2.png", "ng_1.png"],
        &["001.png", "002.png", "003_defect.png"],
        &["train/good1.png", "train/Bad2.png"],
        &["good_1.png", "scratch_1.png"],
        &["gear/1.png", "gear/2-NG.png", "plate/1.png"],
        // Names of folders.
        &["gear/1.png", "scratch/1.png"],
        &["NG/1.png", "dent/2.png"],
        &["0/1.png", "1/2.png"],
        &["positive/1.png", "negative/2.png"],
        // Masks.
        &["images/1.png", "masks/1.png"],
        &["images/1.png", "labels/1.txt"],
        &["1.png", "2.png", "masks/2_mask.png"],
    ];
    for files in cases {
        let tree = Tree::new();
        touch(&tree, files);
        let error = Dataset::open_products(tree.root()).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }), "{files:?}: {error}");
        let message = error.to_string();
        assert!(message.contains("move the normal ones to") && message.contains("test/<type of defect>"), "{message}");
    }
    // Products, whose names only resemble these words.
    for files in
        [&["spring/1.png", "badge/2.png"], &["dental/spring_1.png", "crackers/tokyo.png"], &["7/1.png", "8/2.png"]]
    {
        let tree = Tree::new();
        touch(&tree, files);
        assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2, "{files:?}");
    }
    // A folder that is named for normal images is believed, with a finding.
    let tree = Tree::new();
    touch(&tree, &["c/train/good/1.png", "c/train/good/ng_2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::UnclearLabel, "c/train/good".into())]);
    // Masks are not a product.
    let tree = Tree::new();
    touch(&tree, &["ground_truth/cut/0.png", "ground_truth/hole/1.png", "masks/0.png"]);
    for folder in ["ground_truth", "masks"] {
        assert!(Dataset::open_products(tree.root().join(folder)).is_err(), "{folder}");
    }
}

mod any_tree {
    use super::*;
    use proptest::prelude::*;

    /// Names of folders with a meaning, and without.
    const FOLDERS: [&str; 18] = [
        "train",
        "Test",
        "test",
        "good",
        "OK",
        "normal",
        "NG",
        "bad",
        "scratch",
        "ground_truth",
        "mask",
        "gear",
        "kos01",
        "@eaDir",
        "lost+found",
        "abnormal",
        "0",
        "1",
    ];
    const FILES: [&str; 12] = [
        "0.png",
        "1.JPG",
        "0_mask.png",
        "1_GT.png",
        "ng_2.png",
        "ok_3.png",
        "Thumbs.db",
        "LICENSE",
        "4.heic",
        "0-x.png",
        "1-x.png",
        "mask_0.png",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// No image to train on is in a folder of defects or of masks, or is a mask by its name.
        #[test]
        fn nothing_but_normal_images_is_trained_on(
            files in prop::collection::vec((prop::collection::vec(prop::sample::select(&FOLDERS[..]), 0..4), prop::sample::select(&FILES[..])), 1..14)
        ) {
            let tree = Tree::new();
            for (folders, file) in &files {
                let folder = folders.iter().map(|folder| format!("{folder}/")).collect::<String>();
                tree.write(&format!("{folder}{file}"), "x");
            }
            let Ok(dataset) = Dataset::open_products(tree.root()) else { return Ok(()) };
            for sample in dataset.samples(Split::Train) {
                let path = relative(tree.root(), &sample.path);
                let folder = path.rsplit('/').nth(1).unwrap_or_default();
                let is_wrong = ["NG", "bad", "scratch", "ground_truth", "mask", "abnormal", "@eaDir", "lost+found"].contains(&folder);
                prop_assert!(!is_wrong, "{path}: {files:?}");
                let image = path.replace("_mask.png", ".png").replace("_GT.png", ".JPG").replace("mask_", "");
                prop_assert!(image == path || !tree.root().join(&image).exists(), "{path}: {files:?}");
            }
            prop_assert!(dataset.check().run().is_ok());
        }
    }
}

#[test]
fn names_that_may_be_labels_are_told_once() {
    let numbers = || (0..6).map(|index| format!("{index:03}.png"));
    let with = |others: &[&str]| numbers().chain(others.iter().map(|name| name.to_string())).collect::<Vec<String>>();
    let ended = |usual: &str, rare: &str| {
        let names = (0..9).map(|index| format!("{index}_{}.png", if index < 6 { usual } else { rare }));
        names.collect::<Vec<String>>()
    };
    for (names, expected) in [
        (
            with(&["scratch_050.png", "scratch_051.png"]),
            "type of defect in their names: 2 of 8 (such as scratch_050.png)",
        ),
        (with(&["050_dent.png"]), "1 of 7 (such as 050_dent.png)"),
        (with(&["Kratzer 7.png"]), "1 of 7 (such as Kratzer 7.png)"),
        (with(&["cam1-050-crack-2.png"]), "1 of 7"),
        (with(&["broken050.png"]), "1 of 7"),
        (ended("0", "1"), "end with \"1\", and the others \"0\": 3 of 9 (such as 6_1.png)"),
        (ended("1", "0"), "end with \"0\", and the others \"1\": 3 of 9"),
        (ended("P", "F"), "end with \"f\", and the others \"p\": 3 of 9"),
    ] {
        for folder in ["c/train/good", "c/good", "c", "c/train"] {
            let tree = Tree::new();
            names.iter().for_each(|name| touch(&tree, &[&format!("{folder}/{name}")]));
            let dataset = Dataset::open(tree.root().join("c")).unwrap();
            let [finding] = &dataset.findings[..] else { panic!("{folder} {names:?}: {:?}", dataset.findings) };
            assert!(finding.kind == FindingKind::UnclearLabel && finding.message.contains(expected), "{finding}");
            assert_eq!(dataset.samples(Split::Train).count(), names.len());
        }
    }
    // Views, cameras, the name of a product, and names that deny a defect.
    let views = (0..8).map(|index| format!("{}_{}.png", index / 2, index % 2)).collect();
    let frames = (0..8).map(|index| format!("cam_{}.png", index % 2 + 2 * index)).collect();
    let cameras = (0..8).map(|index| format!("{index:03}_{}.png", index % 3)).collect();
    let products = (0..8).map(|index| format!("rust_remover_{index}.png")).collect();
    let denied = with(&["no_scratch_7.png", "rust-free 8.png"]);
    for names in [views, frames, cameras, products, denied, with(&[])] as [Vec<String>; 6] {
        let tree = Tree::new();
        names.iter().for_each(|name| touch(&tree, &[&format!("c/train/good/{name}")]));
        assert_eq!(kinds(&Dataset::open(tree.root()).unwrap()), [], "{names:?}");
    }
}

#[test]
fn a_folder_of_a_category_is_no_dataset_of_normal_images() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/good/1.png", "c/test/xyz/2.png", "c/ground_truth/xyz/2.png"]);
    touch(
        &tree,
        &["d/good/0.png", "d/broken_large/1.png", "d/spare/2.png", "test/gear/0.png", "test/train/gear/0.png"],
    );
    for (folder, expected) in [
        ("c/test/xyz", Some("test images with defects of the category c")),
        ("c/ground_truth/xyz", Some("masks of the category c")),
        ("d/broken_large", Some("images with defects of the category d")),
        ("c/test/good", None),
        ("d/spare", None),
        ("test/gear", None),
    ] {
        match (Dataset::open(tree.root().join(folder)), expected) {
            (Ok(dataset), None) => assert_eq!(dataset.samples(Split::Train).count(), 1, "{folder}"),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (found, _) => panic!("{folder}: {found:?}"),
        }
    }
}

#[test]
fn lists_of_defects_and_settings_that_label_images_are_refused() {
    for (file, content, count) in [
        ("defects.csv", "Bildname,Kommentar\n4.png,Kratzer\n", 1),
        ("ng_list.txt", "4.png\n5.png\n", 2),
        ("labels.yaml", "0.png: good\n1.png: good\n4.png: crack\n", 3),
    ] {
        let tree = Tree::new();
        touch(&tree, &["images/0.png", "images/1.png", "images/2.png", "images/3.png", "images/4.png", "images/5.png"]);
        tree.write(file, content);
        let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(error.contains(&format!("{file} names {count} of its 6 images and is not read")), "{error}");
    }
}
