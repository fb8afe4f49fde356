//! Masks of test images in unusual places, and under unusual names.

use crate::support::{Tree, kinds, read};
use dualad_data::{Dataset, FindingKind};
use image::{ImageBuffer, Luma};

/// Writes a category with images to train on, and normal test images.
fn category(tree: &Tree) {
    for index in 0..3 {
        tree.picture(&format!("c/train/good/00{index}.png"), 64, 48, index);
        tree.picture(&format!("c/test/good/10{index}.png"), 64, 48, 10 + index);
    }
}

fn open(tree: &Tree) -> Dataset {
    Dataset::open(tree.root().join("c")).unwrap()
}

/// Returns the test images with a label other than `normal`, with their masks.
fn defects(dataset: &Dataset) -> Vec<String> {
    let all = read(dataset).into_iter();
    all.filter(|line| !line.ends_with(" train") && !line.contains(" normal")).collect()
}

#[test]
fn test_images_and_their_masks_may_differ_in_the_last_word() {
    for [image, mask] in [["_cam", "_mask"], ["_rgb", "_bin"], ["-image", "-label"], ["_photo", ""], [".img", ".anno"]]
    {
        let tree = Tree::new();
        category(&tree);
        for index in 0..3 {
            tree.picture(&format!("c/test/cut/{index:03}{image}.png"), 64, 48, 20 + index);
            tree.mask(&format!("c/test/cut/{index:03}{mask}.png"), 64, 48, 255);
        }
        let expected = |index| format!("test/cut/{index:03}{image}.png cut test/cut/{index:03}{mask}.png");
        assert_eq!(defects(&open(&tree)), (0..3).map(expected).collect::<Vec<_>>(), "{image} {mask}");
    }
    // Black masks of normal images are no images.
    let tree = Tree::new();
    category(&tree);
    for index in 0..3 {
        tree.picture(&format!("c/test/good/{index:03}_rgb.png"), 64, 48, 20 + index);
        tree.mask(&format!("c/test/good/{index:03}_bin.png"), 64, 48, 0);
    }
    assert_eq!(read(&open(&tree)).iter().filter(|line| line.contains(" normal")).count(), 6);
    // Photographs of several views, and silhouettes that are views by name.
    let tree = Tree::new();
    category(&tree);
    for index in 0..3 {
        tree.picture(&format!("c/test/cut/{index:03}_front.png"), 64, 48, 20 + index);
        tree.picture(&format!("c/test/cut/{index:03}_cam.png"), 64, 48, 30 + index);
        tree.mask(&format!("c/test/cut/{index:03}_back.png"), 64, 48, 255);
    }
    assert_eq!(defects(&open(&tree)).len(), 9);
}

#[test]
fn masks_whose_images_are_missing_are_no_test_images() {
    let tree = Tree::new();
    category(&tree);
    for index in 0..3 {
        tree.picture(&format!("c/test/cut/{index:03}.png"), 64, 48, 20 + index);
    }
    for mask in
        ["c/test/cut/000_mask.png", "c/test/cut/003_mask.png", "c/test/cut/004_mask.png", "c/test/good/077_mask.png"]
    {
        tree.mask(mask, 64, 48, 255);
    }
    let dataset = open(&tree);
    let cut = ["test/cut/000.png cut test/cut/000_mask.png", "test/cut/001.png cut", "test/cut/002.png cut"];
    assert_eq!(defects(&dataset), cut);
    assert_eq!(read(&dataset).iter().filter(|line| line.contains(" normal")).count(), 3);
    let found: Vec<String> = dataset.findings.iter().map(|finding| finding.to_string()).collect();
    assert!(
        found.iter().any(|text| text.contains("2 masks in it are not used") && text.contains("\"004\"")),
        "{found:?}"
    );
    assert!(found.iter().any(|text| text.contains("images are not in it: 1 (such as 077_mask.png)")), "{found:?}");
    // Photographs may be named so, and test images may all have few colors.
    tree.picture("c/test/cut/009_label.png", 64, 48, 60);
    assert_eq!(defects(&open(&tree)).len(), 4);
    let tree = Tree::new();
    category(&tree);
    for name in ["000", "001", "002", "003_mask"] {
        tree.mask(&format!("c/test/cut/{name}.png"), 64, 48, 255);
    }
    assert_eq!(defects(&open(&tree)).len(), 4);
}

#[test]
fn folders_of_masks_in_several_languages_are_no_types() {
    for masks in [
        "test/Maske",
        "test/Masken/cut",
        "test/mascaras",
        "test/マスク",
        "test/cut_binary",
        "test/cut_Maske",
        "test/xyz",
        "Segmentierung/cut",
    ] {
        let tree = Tree::new();
        category(&tree);
        for index in 0..4 {
            tree.picture(&format!("c/test/cut/{index:03}.png"), 64, 48, 20 + index);
            tree.mask(&format!("c/{masks}/{index:03}.png"), 64, 48, 255);
        }
        let dataset = open(&tree);
        let expected = |index| format!("test/cut/{index:03}.png cut {masks}/{index:03}.png");
        assert_eq!(defects(&dataset), (0..4).map(expected).collect::<Vec<_>>(), "{masks}: {:?}", dataset.findings);
        // What the content alone tells is a note.
        let notes: Vec<FindingKind> = kinds(&dataset).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(notes, if masks.ends_with("xyz") { vec![FindingKind::Choice] } else { vec![] }, "{masks}");
    }
    // Of two types, nothing tells which one.
    let tree = Tree::new();
    category(&tree);
    for index in 0..4 {
        tree.picture(&format!("c/test/cut/{index:03}.png"), 64, 48, 20 + index);
        tree.picture(&format!("c/test/dent/{index:03}.png"), 64, 48, 30 + index);
        tree.mask(&format!("c/test/xyz/{index:03}.png"), 64, 48, 255);
    }
    let dataset = open(&tree);
    assert_eq!((defects(&dataset).len(), kinds(&dataset)), (8, vec![(FindingKind::LeftOut, "test/xyz".into())]));
}

#[test]
fn types_of_defects_with_the_same_names_are_types() {
    let tree = Tree::new();
    category(&tree);
    for index in 0..4 {
        tree.picture(&format!("c/test/cut/{index:03}.png"), 64, 48, 20 + index);
        // Small files, as of a dark chamber.
        let dark =
            ImageBuffer::from_fn(64, 48, |x, y| Luma([if (x + y + index) % 9 == 0 { (x / 4) as u8 } else { 3 }]));
        dark.save(tree.path(&format!("c/test/dark/{index:03}.png"))).unwrap();
    }
    let dataset = open(&tree);
    assert_eq!((defects(&dataset).len(), kinds(&dataset)), (8, vec![]));
}

#[test]
fn masks_of_test_images_may_be_told_by_a_number() {
    for [image, mask] in [["_0", "_1"], ["_1", "_0"], ["", "_0"], ["-1", "-2"], [" 0", " 1"]] {
        let tree = Tree::new();
        category(&tree);
        for index in 0..3 {
            tree.picture(&format!("c/test/cut/{index:03}{image}.png"), 64, 48, 20 + index);
            tree.mask(&format!("c/test/cut/{index:03}{mask}.png"), 64, 48, 255);
            // A black one of a normal image.
            tree.picture(&format!("c/test/good/00{index}{image}.png"), 64, 48, 40 + index);
            tree.mask(&format!("c/test/good/00{index}{mask}.png"), 64, 48, 0);
        }
        let dataset = open(&tree);
        let expected = |index| format!("test/cut/{index:03}{image}.png cut test/cut/{index:03}{mask}.png");
        assert_eq!(defects(&dataset), (0..3).map(expected).collect::<Vec<_>>(), "{image} {mask}");
        assert_eq!(read(&dataset).iter().filter(|line| line.contains(" normal")).count(), 6);
        let note = (FindingKind::Choice, "test/cut".to_string());
        assert!(kinds(&dataset).contains(&note), "{:?}", dataset.findings);
        assert!(!dataset.check().run().unwrap().is_fatal());
    }
    // Several masks of an image, in a folder of defects beside the normal images.
    let tree = Tree::new();
    for index in 0..3 {
        tree.picture(&format!("c/good/00{index}.png"), 64, 48, index);
        tree.picture(&format!("c/bad/10{index}.png"), 64, 48, 10 + index);
        tree.mask(&format!("c/bad/10{index}_0.png"), 64, 48, 255);
        tree.mask(&format!("c/bad/10{index}_1.png"), 64, 48, 255);
    }
    let expected = |index| format!("bad/10{index}.png bad bad/10{index}_0.png bad/10{index}_1.png");
    assert_eq!(defects(&open(&tree)), (0..3).map(expected).collect::<Vec<_>>());
}

#[test]
fn numbers_may_name_views_and_images() {
    // Photographs, and a part that has no number.
    let tree = Tree::new();
    category(&tree);
    for index in 0..3 {
        tree.picture(&format!("c/test/cut/{index:03}_0.png"), 64, 48, 20 + index);
        tree.picture(&format!("c/test/cut/{index:03}_1.png"), 64, 48, 30 + index);
        tree.picture(&format!("c/test/dent/dent_{index}.png"), 64, 48, 40 + index);
    }
    tree.mask("c/test/dent/dent_3.png", 64, 48, 255);
    assert_eq!(defects(&open(&tree)).len(), 10);
    // Silhouettes are views if the normal parts have them, too.
    let tree = Tree::new();
    for index in 0..3 {
        for (place, seed) in [("train/good", 0), ("test/good", 10), ("test/cut", 20)] {
            tree.picture(&format!("c/{place}/00{index}_0.png"), 64, 48, seed + index);
            tree.mask(&format!("c/{place}/00{index}_1.png"), 64, 48, 255);
        }
    }
    let dataset = open(&tree);
    assert_eq!((defects(&dataset).len(), read(&dataset).len()), (6, 18), "{:?}", dataset.findings);
}
