//! Folders of products, and names that may be labels.

use crate::support::{Tree, kinds, touch};
use dualad_data::{Dataset, Error, FindingKind, Split};

#[test]
fn the_defective_side_of_a_product_is_no_product() {
    let cases: [(&[&str], &str, &str); 9] = [
        (&["part_ok/1.png", "part_nok/2.png"], "(part_nok)", "part/test/nok"),
        (&["gear_ok/1.png", "gear_ng/2.png", "lid_ok/3.png", "lid_ng/4.png"], "(gear_ng, lid_ng)", "gear/test/ng"),
        (&["gear/1.png", "gear-defect/2.png"], "(gear-defect)", "gear/test/defect"),
        (&["NG_gear/1.png", "plate/2.png"], "(NG_gear)", "gear/test/ng"),
        (&["gear 1 bad/1.png"], "(gear 1 bad)", "gear_1/test/bad"),
        (&["gearOK/1.png", "gearNotOK/2.png"], "(gearNotOK)", "gear/test/not_ok"),
        (&["gearok/1.png", "gearnok/2.png"], "(gearnok, gearok)", "PRODUCT/test"),
        (&["part_ok/1.png", "part_rework/2.png"], "(part_rework)", "PRODUCT/test"),
        (&["lid_pos/1.png", "lid_neg/2.png"], "(lid_neg, lid_pos)", "PRODUCT/test"),
    ];
    for (files, names, advice) in cases {
        let tree = Tree::new();
        touch(&tree, files);
        let error = Dataset::open_products(tree.root()).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }), "{files:?}: {error}");
        let message = error.to_string();
        assert!(message.contains(names) && message.contains(advice) && message.contains("rename it"), "{message}");
    }
    // Products of which each has its normal side alone.
    for files in [&["gear_ok/1.png", "lid_ok/2.png"], &["line1_ok/1.png", "line2_ok/2.png"]] {
        let tree = Tree::new();
        touch(&tree, files);
        assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2, "{files:?}");
    }
    // A folder of defective images by itself is no product, either.
    let tree = Tree::new();
    touch(&tree, &["gear/NG/1.png", "c/train/good/1.png", "c/test/ok_cam1/2.png"]);
    let message = Dataset::open(tree.root().join("gear/NG")).unwrap_err().to_string();
    assert!(message.contains("its images are defective"), "{message}");
    let dataset = Dataset::open(tree.root().join("c")).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::UnclearLabel, "test/ok_cam1".into())]);
}

#[test]
fn folders_in_a_folder_of_defective_images_are_no_products() {
    for (files, opened) in [
        (&["NG/gear/1.png", "NG/nut/2.png"][..], "NG"),
        (&["NG/lot 1/1.png"], "NG"),
        (&["不良品/gear/1.png", "不良品/nut/2.png"], "不良品"),
        (&["x/NG/lot 1/1.png", "x/OK/2.png"], "x/NG/lot 1"),
        (&["y/test/scratch/lot 1/1.png", "y/train/good/2.png"], "y/test/scratch"),
        (&["y/test/scratch/lot 1/1.png", "y/train/good/2.png"], "y/test/scratch/lot 1"),
    ] {
        let tree = Tree::new();
        touch(&tree, files);
        let found = Dataset::open_products(tree.root().join(opened));
        let message = found.map(|dataset| dataset.categories.len()).unwrap_err().to_string();
        assert!(message.contains("its images are defective") || message.contains("images with defects"), "{message}");
    }
    // The folder of a project, and the normal images of a product.
    for (files, opened, count) in [
        (&["defects/parts/gear/1.png", "defects/parts/nut/2.png"][..], "defects/parts", 2),
        (&["NG/gear/good/1.png", "NG/nut/good/2.png"], "NG", 2),
    ] {
        let tree = Tree::new();
        touch(&tree, files);
        assert_eq!(Dataset::open_products(tree.root().join(opened)).unwrap().categories.len(), count, "{files:?}");
    }
}

#[test]
fn a_stray_picture_is_not_all_that_is_trained_on() {
    for (files, count) in [
        (&["overview.png", "gear/1.png", "plate/2.png"][..], "1 image of its own (such as overview.png), and 2"),
        (&["a.png", "b.png", "gear/train/1.png", "gear/train/2.png", "lid/good/3.png", "lid/good/4.png"], "and 4 in"),
        (&["preview.png", "images/1.png", "images/2.png"], "and 2 in"),
    ] {
        let tree = Tree::new();
        touch(&tree, files);
        match Dataset::open_products(tree.root()) {
            // Folders with a `good` or `train/good` are read as what they are.
            Ok(dataset) => panic!("{files:?}: {dataset:?}"),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains(count) && message.contains("move the images beside them away"), "{message}");
            }
        }
    }
    // Many images beside a folder of a few are the normal ones, and the folder is named.
    let tree = Tree::new();
    touch(&tree, &["1.png", "2.png", "3.png", "old/4.png", "scratch/5.png", "scratch/6.png", "NG/7.png"]);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!(dataset.samples(Split::Train).count(), 3);
    let names = ["NG", "old", "scratch"].map(|name| (FindingKind::LeftOut, name.to_string()));
    assert_eq!(kinds(&dataset), names);
}

#[test]
fn a_product_that_states_its_normal_images_may_have_any_name() {
    let tree = Tree::new();
    touch(
        &tree,
        &["crack_sensor/good/0.png", "crack_sensor/good/1.png", "scratch_pad/ok/0.png", "ng_spring/good/0.png"],
    );
    let dataset = Dataset::open_products(tree.root()).unwrap();
    let names: Vec<&str> = dataset.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["crack_sensor", "ng_spring", "scratch_pad"]);
    let tree = Tree::new();
    touch(&tree, &["crack_sensor/0.png", "lid/good/0.png"]);
    let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
    assert!(error.contains("crack_sensor") && error.contains("folder good"), "{error}");
}

#[test]
fn other_words_for_defects_are_no_products() {
    for name in ["Ausschuss", "gear_def", "gear_defekt", "defekt", "schlecht", "rust"] {
        let tree = Tree::new();
        touch(&tree, &["gear/0.png", "gear/1.png", &format!("{name}/0.png")]);
        let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn a_word_in_the_name_of_a_product_does_not_decide_where_the_folders_are_clear() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["ng_spring/train/0.png", "gear/train/1.png"], &["gear", "ng_spring"]),
        (&["ng_spring/train/0.png"], &["ng_spring"]),
        (&["surface_crack/train/0.png", "gear/train/1.png"], &["gear", "surface_crack"]),
        (&["bottle/good/0.png", "bottle_label/good/1.png"], &["bottle", "bottle_label"]),
        (&["bottle/train/0.png", "bottle_label/train/1.png"], &["bottle", "bottle_label"]),
        (&["bent_tube/0.png", "gear/1.png", "plate/2.png"], &["bent_tube", "gear", "plate"]),
        (&["fail_safe_relay/0.png", "gear/1.png", "plate/2.png"], &["fail_safe_relay", "gear", "plate"]),
    ];
    for (files, expected) in cases {
        let tree = Tree::new();
        files.iter().enumerate().for_each(|(seed, file)| drop(tree.picture(file, 8, 4, seed as u32)));
        let dataset = Dataset::open_products(tree.root()).unwrap();
        assert_eq!(dataset.categories.iter().map(|category| category.name.as_str()).collect::<Vec<_>>(), expected);
        // A choice by the folders beside it alone is told.
        let is_told = kinds(&dataset).iter().any(|(kind, _)| *kind == FindingKind::UnclearLabel);
        assert_eq!(is_told, files.len() == 3, "{:?}", dataset.findings);
    }
    for files in [
        &["gear/train/0.png", "gear_ng/train/1.png"][..],
        &["ok/train/0.png", "ng/train/1.png"],
        &["pass/train/0.png", "gear/train/1.png"],
        &["gear/train/0.png", "scratch/train/1.png"],
        &["tube/0.png", "bent_tube/1.png", "gear/2.png"],
        &["straight_tube/0.png", "bent_tube/1.png"],
        &["gear/0.png", "plate/1.png", "surface_crack/2.png"],
        &["gear/0.png", "plate/1.png", "broken_large/2.png"],
    ] {
        let tree = Tree::new();
        files.iter().enumerate().for_each(|(seed, file)| drop(tree.picture(file, 8, 4, seed as u32)));
        assert!(Dataset::open_products(tree.root()).is_err(), "{files:?}");
    }
    // Masks with the folders of a product are masks by their content.
    let tree = Tree::new();
    tree.picture("bottle/good/0.png", 8, 4, 0);
    tree.mask("bottle_label/good/0.png", 8, 4, 255);
    assert!(Dataset::open_products(tree.root()).is_err());
    let tree = Tree::new();
    touch(&tree, &["fail_safe_relay/0.png"]);
    let message = Dataset::open_products(tree.root()).unwrap_err().to_string();
    assert!(message.contains("fail_safe_relay/good") && !message.contains("safe_relay/test"), "{message}");
}

#[test]
fn the_defective_side_of_a_category_is_no_category() {
    let cases: [(&[&str], Option<&str>); 7] = [
        (&["bottle_ok/train/good/0.png", "bottle_nok/train/good/1.png"], Some("(bottle_nok)")),
        (
            &["bottle/train/good/0.png", "bottle_defects/train/good/1.png", "lid/train/good/2.png"],
            Some("(bottle_defects)"),
        ),
        (&["ok/train/good/0.png", "ng/train/good/1.png"], Some("(ng)")),
        (&["bottle/train/good/0.png", "scratched bottle/train/good/1.png"], Some("(scratched bottle)")),
        (&["bottle/train/good/0.png", "NOK_seal/train/good/1.png", "normal_bolt/train/good/2.png"], None),
        (&["bottle_1/train/good/0.png", "bottle_2/train/good/1.png", "crack_sensor/train/good/2.png"], None),
        (&["bottle_ok/train/good/0.png", "lid_ok/train/good/1.png"], None),
    ];
    for (files, expected) in cases {
        let tree = Tree::new();
        touch(&tree, files);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let found: Vec<&dualad_data::Finding> =
            dataset.findings.iter().filter(|finding| finding.kind == FindingKind::SameProduct).collect();
        match expected {
            None => assert_eq!(dataset.findings, [], "{files:?}"),
            Some(names) => assert!(found.len() == 1 && found[0].message.contains(names), "{files:?}: {found:?}"),
        }
        let all: Vec<String> = dataset.categories.iter().map(|category| category.name.clone()).collect();
        assert_eq!(dataset.select(&all).unwrap().findings, []);
    }
    // A folder of masks by its own name.
    let tree = Tree::new();
    touch(&tree, &["masks/bottle/0.png", "masks/wood/1.png"]);
    let error = Dataset::open_products(tree.root().join("masks")).unwrap_err().to_string();
    assert!(error.contains("(\"masks\")") && error.contains("(bottle, wood)"), "{error}");
}
