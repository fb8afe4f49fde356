//! Masks among the photographs to train on, whose names do not say so.

use crate::support::{Tree, relative};
use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind, Severity};
use image::{ImageBuffer, Luma, Rgb};

/// Writes a silhouette: nearly black and nearly white, with this share of gray rows.
fn silhouette(tree: &Tree, name: &str, gray_rows: u32, seed: u32) {
    let image = ImageBuffer::from_fn(64, 100, |x, y| {
        let noise = ((x * 7 + y * 13 + seed * 5) % 17) as u8;
        Rgb([if y < gray_rows {
            100 + noise
        } else if x < 30 {
            noise
        } else {
            255 - noise
        }; 3])
    });
    image.save(tree.path(name)).unwrap();
}

/// Returns the masks that a check finds among the images to train on, and those that are found before training.
fn found(tree: &Tree) -> [Vec<String>; 2] {
    let dataset = Dataset::open_products(tree.root()).unwrap();
    let all = [dataset.check().run().unwrap().findings, dataset.marked_normal_images(&Limits::default())];
    all.map(|findings| {
        let found = findings.iter().filter(|finding| finding.kind == FindingKind::MaskInTraining);
        let found = found.inspect(|finding| assert_eq!(finding.severity(), Severity::Fatal));
        found.map(|finding| format!("{} {}", relative(&dataset.root, &finding.path), &finding.message[..8])).collect()
    })
}

#[test]
fn masks_among_photographs_to_train_on_are_fatal() {
    for good in ["c/train/good", "c"] {
        let tree = Tree::new();
        (0..12).for_each(|index| drop(tree.picture(&format!("{good}/{index:03}.png"), 64, 48, index)));
        assert_eq!(found(&tree), [vec![], vec![]] as [Vec<String>; 2], "{good}");
        // Without a defect, a mask cannot be told from a frame of a closed shutter.
        tree.mask(&format!("{good}/100.png"), 64, 48, 0);
        assert_eq!(found(&tree), [vec![], vec![]] as [Vec<String>; 2], "{good}");
        tree.mask(&format!("{good}/101.png"), 64, 48, 255);
        assert_eq!(found(&tree), [0; 2].map(|_| vec![format!("{good}/101.png 1 image ")]), "{good}");
        tree.mask(&format!("{good}/102.png"), 64, 48, 1);
        assert_eq!(found(&tree), [0; 2].map(|_| vec![format!("{good}/101.png 2 images")]), "{good}");
    }
    // Masks in jpeg files have many levels.
    let tree = Tree::new();
    (0..12).for_each(|index| drop(tree.picture(&format!("c/train/good/{index:03}.jpg"), 64, 96, index)));
    let mask = ImageBuffer::from_fn(64, 96, |x, _| Luma([if x < 32 { 255u8 } else { 0 }]));
    mask.save(tree.path("c/train/good/200.jpg")).unwrap();
    silhouette(&tree, "c/train/good/201.jpg", 0, 1);
    assert_eq!(found(&tree)[0], ["c/train/good/200.jpg 2 images"]);
}

#[test]
fn silhouettes_and_drawings_among_their_like_are_no_masks() {
    let tree = Tree::new();
    (0..8).for_each(|index| silhouette(&tree, &format!("c/train/good/{index:03}.png"), index, index));
    // One that is gray in most places.
    silhouette(&tree, "c/train/good/100.png", 60, 9);
    (0..8).for_each(|index| drop(tree.mask(&format!("plan/train/good/{index:03}.png"), 20 + index, 12, 255)));
    // Another view of a part by its name.
    let tree = Tree::new();
    for index in 0..40 {
        tree.picture(&format!("c/train/good/{index:03}_1.png"), 64, 100, index);
        silhouette(&tree, &format!("c/train/good/{index:03}_back.png"), 0, index);
    }
    assert_eq!(found(&tree), [vec![], vec![]] as [Vec<String>; 2]);
}

#[test]
fn pictures_of_two_colors_with_the_numbers_of_photographs_are_masks() {
    for [photograph, mask] in [["rgb", "bin"], ["cam", "mask"], ["a", "b"]] {
        let tree = Tree::new();
        for index in 0..40 {
            tree.picture(&format!("c/train/good/{index:03}_{photograph}.png"), 64, 48, index);
            tree.mask(&format!("c/train/good/{index:03}_{mask}.png"), 64, 48, 255);
        }
        let found = found(&tree);
        assert!(found.iter().all(|found| found.len() == 1), "{photograph} {mask}: {found:?}");
    }
}

#[test]
fn pictures_of_one_color_among_photographs_are_told() {
    let with = |blank: u32, name: &dyn Fn(u32) -> String| {
        let tree = Tree::new();
        (0..12).for_each(|index| drop(tree.picture(&format!("c/train/good/{index:03}.png"), 64, 48, index)));
        (0..blank).for_each(|index| drop(tree.mask(&name(index), 64, 48, 0)));
        let dataset = Dataset::open(tree.root()).unwrap();
        let of_check = dataset.check().run().unwrap().findings;
        let told: Vec<(FindingKind, bool)> =
            of_check.iter().map(|finding| (finding.kind, finding.message.contains("one color alone"))).collect();
        (told, dataset.marked_normal_images(&Limits::default()).len())
    };
    let named = |index| format!("c/train/good/m{index:03}.png");
    assert_eq!(with(0, &named), (vec![], 0));
    // A few may be frames of a closed shutter.
    assert_eq!(with(2, &named), (vec![(FindingKind::MaskAmongImages, true)], 0));
    assert_eq!(with(12, &named), (vec![(FindingKind::MaskInTraining, true)], 1));
    // Views of the photographs.
    assert_eq!(
        with(12, &|index| format!("c/train/good/{index:03}_back.png")),
        (vec![(FindingKind::MaskAmongImages, false)], 0)
    );
}
