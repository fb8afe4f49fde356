//! Masks of images to train on, in folders of any name.

mod support;

use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind};
use support::{Tree, kinds, relative};

/// A category with three images to train on, and test images.
fn category(tree: &Tree, good: &str) {
    (0..3).for_each(|index| drop(tree.picture(&format!("{good}/00{index}.png"), 32, 24, index)));
    tree.picture("c/test/good/100.png", 32, 24, 10);
    tree.picture("c/test/cut/200.png", 32, 24, 11);
    tree.mask("c/ground_truth/cut/200_mask.png", 32, 24, 255);
}

/// Returns the images to train on whose masks mark a defect, and all findings of opening the category.
fn marked(tree: &Tree) -> (Vec<String>, Vec<(FindingKind, String)>) {
    let dataset = Dataset::open_products(tree.root().join("c")).unwrap();
    let found = dataset.marked_normal_images(&Limits::default());
    assert!(found.iter().all(|finding| finding.kind == FindingKind::MarkedNormal), "{found:?}");
    (found.iter().map(|finding| relative(&dataset.root, &finding.path)).collect(), kinds(&dataset))
}

#[test]
fn a_mask_of_a_training_image_marks_it_wherever_it_lies() {
    for masks in [
        "train/masks/{}.png",
        "train/Masken/{}.png",
        "train/masques/{}_mask.png",
        "train/good/masks/{}.png",
        "train/masks/good/{}.png",
        "train_masks/{}.png",
        "masks_train/{}_gt.png",
        "ground_truth/good/{}.png",
        "ground_truth/good/{}_mask.png",
        "ground_truth/train/{}.png",
        "Masken/{}.png",
        "roi/mask_{}.png",
        "train/Y/m{}.png",
    ] {
        let tree = Tree::new();
        category(&tree, "c/train/good");
        let file = |name: &str| format!("c/{}", masks.replace("{}", name));
        for index in 0..3 {
            tree.mask(&file(&format!("00{index}")), 32, 24, 0);
        }
        let (found, findings) = marked(&tree);
        assert_eq!(found, Vec::<String>::new(), "{masks}: masks without a defect are fine");
        let is_advice = |kind: &FindingKind| *kind == FindingKind::LeftOut && !masks.starts_with("ground_truth");
        assert!(!findings.iter().any(|(kind, _)| is_advice(kind)), "{masks}: {findings:?}");
        tree.mask(&file("001"), 32, 24, 255);
        assert_eq!(marked(&tree).0, ["train/good/001.png"], "{masks}");
    }
}

#[test]
fn a_mask_beside_a_plain_folder_of_normal_images_marks_one() {
    for (good, masks) in [
        ("c", "c/Masken"),
        ("c", "c/roi"),
        ("c/train", "c/train/Y"),
        ("c/train", "c/Masken"),
        ("c/good", "c/good/Masken"),
    ] {
        let tree = Tree::new();
        (0..3).for_each(|index| drop(tree.picture(&format!("{good}/00{index}.png"), 32, 24, index)));
        tree.mask(&format!("{masks}/001.png"), 32, 24, 255);
        tree.mask(&format!("{masks}/002.png"), 32, 24, 0);
        let image = format!("{good}/001.png").replacen("c/", "", 1);
        assert_eq!(marked(&tree).0, [image], "{good} {masks}");
    }
}

#[test]
fn masks_of_test_images_mark_no_training_image() {
    let tree = Tree::new();
    category(&tree, "c/train/good");
    // The names of test images.
    for name in ["ground_truth/good/001.png", "Masken/002.png"] {
        tree.mask(&format!("c/{name}"), 32, 24, 255);
    }
    tree.picture("c/test/good/001.png", 32, 24, 12);
    tree.picture("c/test/cut/002.png", 32, 24, 13);
    assert_eq!(marked(&tree).0, Vec::<String>::new());
    // Photographs with the names of training images are no masks.
    (0..3).for_each(|index| drop(tree.picture(&format!("c/train/side view/00{index}.png"), 32, 24, 20 + index)));
    let (found, findings) = marked(&tree);
    assert_eq!(found, Vec::<String>::new());
    assert!(findings.contains(&(FindingKind::LeftOut, "train/side view".into())), "{findings:?}");
}

#[test]
fn a_folder_of_masks_is_not_told_to_hold_normal_images() {
    for folder in ["train/masks", "train/Masken", "Masken"] {
        let tree = Tree::new();
        category(&tree, "c/train/good");
        tree.mask(&format!("c/{folder}/seven.png"), 32, 24, 255);
        let dataset = Dataset::open(tree.root().join("c")).unwrap();
        let [finding] = &dataset.findings[..] else { panic!("{folder}: {:?}", dataset.findings) };
        assert!(finding.message.contains("masks") && !finding.message.contains("belong there"), "{finding}");
        // Some of its masks have an image.
        tree.mask(&format!("c/{folder}/001.png"), 32, 24, 0);
        let (_, findings) = marked(&tree);
        assert_eq!(findings, [(FindingKind::UnpairedMask, folder.to_string())]);
    }
}
