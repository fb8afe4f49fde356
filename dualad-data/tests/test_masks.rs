//! Masks of test images in unusual places, and under unusual names.

mod support;

use dualad_data::{Dataset, FindingKind};
use image::{ImageBuffer, Luma};
use support::{Tree, kinds, read};

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
    all.filter(|line| !line.ends_with(" train") && !line.ends_with(" normal")).collect()
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
