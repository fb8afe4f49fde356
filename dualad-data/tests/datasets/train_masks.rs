//! Masks of images to train on, in folders of any name.

use crate::support::{Tree, kinds, relative};
use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind, Severity};

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
fn a_mask_may_have_the_whole_name_of_its_image() {
    let tree = Tree::new();
    // No number tells the image.
    for (seed, name) in ["a_1", "b_1", "c_1"].into_iter().enumerate() {
        tree.picture(&format!("c/train/good/{name}.png"), 32, 24, seed as u32);
    }
    tree.mask("c/train/masks/b_1.png.png", 32, 24, 255);
    assert_eq!(marked(&tree).0, ["train/good/b_1.png"]);
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

#[test]
fn masks_of_training_images_that_cannot_be_read_are_fatal() {
    let damaged = |tree: &Tree, name: &str| {
        let whole = std::fs::read(tree.mask(name, 32, 24, 255)).unwrap();
        tree.write(name, &whole[..whole.len() / 2]);
    };
    for mask in [
        "train/masks/001.png",
        "train/good/001_mask.png",
        "train_masks/001.png",
        "ground_truth/good/001_mask.png",
        "ground_truth/train/001.png",
    ] {
        for write in [&damaged as &dyn Fn(&Tree, &str), &|tree, name| drop(tree.write(name, "")), &|tree, name| {
            tree.write(name, "<html>not found</html>");
        }] {
            let tree = Tree::new();
            category(&tree, "c/train/good");
            write(&tree, &format!("c/{mask}"));
            let dataset = Dataset::open(tree.root().join("c")).unwrap();
            for found in [dataset.marked_normal_images(&Limits::default()), dataset.check().run().unwrap().findings] {
                let fatal: Vec<_> = found.iter().filter(|found| found.severity() == Severity::Fatal).collect();
                let [finding] = fatal[..] else { panic!("{mask}: {found:?}") };
                assert_eq!(relative(&dataset.root, &finding.path), mask);
                assert!(finding.message.contains("001.png, an image to train on"), "{finding}");
            }
        }
    }
}

#[test]
fn a_defect_in_the_alpha_of_a_black_mask_counts() {
    for (alpha, expected) in [(0, vec![]), (255, vec!["train/good/001.png".to_string()])] {
        let tree = Tree::new();
        category(&tree, "c/train/good");
        let mask = image::RgbaImage::from_fn(32, 24, |x, _| image::Rgba([0, 0, 0, if x < 9 { alpha } else { 0 }]));
        mask.save(tree.path("c/train/masks/001.png")).unwrap();
        assert_eq!(marked(&tree).0, expected);
    }
}

#[test]
fn arrays_with_the_names_of_images_are_named() {
    for file in ["train/masks/001.npy", "train/Y/001.npy", "ground_truth/cut/200_mask.npz", "Masken/7.npy"] {
        let tree = Tree::new();
        category(&tree, "c/train/good");
        tree.write(&format!("c/{file}"), "x");
        let dataset = Dataset::open(tree.root().join("c")).unwrap();
        let found: Vec<String> = dataset.findings.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].contains(".np") && found[0].contains("not read"), "{file}: {found:?}");
    }
    // An archive beside the dataset may be a copy of it.
    let tree = Tree::new();
    category(&tree, "c/train/good");
    tree.write("c/test.zip", "x");
    tree.write("c/old.zip", "x");
    assert_eq!(marked(&tree).1, []);
    tree.write("c/bad.zip", "x");
    assert_eq!(marked(&tree).1, [(FindingKind::LeftOut, String::new())]);
}

#[test]
fn masks_beside_the_categories_mark_training_images() {
    for masks in [
        "masks/c/train/good/{}.png",
        "masks/c/{}.png",
        "c_train_masks/{}.png",
        "Masken/C/{}_mask.png",
        "masks/c_{}.png",
    ] {
        let tree = Tree::new();
        category(&tree, "c/train/good");
        let found = || {
            let dataset = Dataset::open_products(tree.root()).unwrap();
            let found = dataset.marked_normal_images(&Limits::default());
            found.iter().map(|finding| relative(&dataset.root, &finding.path)).collect::<Vec<_>>()
        };
        // Masks of test images.
        for name in ["100", "200"] {
            tree.mask(&masks.replace("{}", name), 32, 24, 255);
        }
        tree.mask("masks/c/test/cut/002.png", 32, 24, 255);
        assert_eq!(found(), Vec::<String>::new(), "{masks}");
        tree.mask(&masks.replace("{}", "001"), 32, 24, 255);
        assert_eq!(found(), ["c/train/good/001.png"], "{masks}");
    }
}
