//! Images without labels, some of which may be defective.

mod support;

use dualad_data::{Dataset, Error, FindingKind, Split};
use support::{Tree, kinds, relative, touch};

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
