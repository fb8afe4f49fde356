//! Folders of masks whose names do not say so.

use crate::support::Tree;
use dualad_data::{Dataset, Error};
use image::{ImageBuffer, Rgb};

/// Writes photographs of an uneven surface into a folder, in the format of the ending.
fn photographs(tree: &Tree, folder: &str, name: &str, range: std::ops::Range<u32>) {
    for index in range {
        tree.picture(&format!("{folder}/{}", name.replace("{}", &format!("{index:03}"))), 64, 48, index);
    }
}

/// Writes a picture with a disc of a color on black. Without a disc it is a mask without defects.
fn disc(tree: &Tree, name: &str, color: Option<[u8; 3]>) {
    let (x0, y0, radius) = (60, 50, 22);
    let inside = |x: u32, y: u32| x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2) < radius * radius;
    let image = ImageBuffer::from_fn(128, 96, |x, y| Rgb(color.filter(|_| inside(x, y)).unwrap_or([0; 3])));
    image.save(tree.path(name)).unwrap();
}

/// Returns the message of the refusal of a folder of products.
fn refused(tree: &Tree) -> String {
    match Dataset::open_products(tree.root()) {
        Err(error @ Error::Layout { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(dataset) => panic!("{:?}", dataset.categories.iter().map(|category| &category.name).collect::<Vec<_>>()),
    }
}

#[test]
fn a_folder_of_masks_is_no_product_whatever_its_name() {
    for masks in ["Masken", "layer_png", "binary", "roi", "masques", "マスク", "target", "overlay", "Y"] {
        let tree = Tree::new();
        photographs(&tree, "images", "{}.png", 0..12);
        (8..12).for_each(|index| disc(&tree, &format!("{masks}/{index:03}.png"), Some([255; 3])));
        let message = refused(&tree);
        for words in [masks, "images", "look like masks", "test/<type of defect>", "ground_truth", "is a product"] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
}

#[test]
fn masks_of_any_format_and_color_beside_products_are_no_product() {
    /// The color of the mark of each mask; none for a blank one.
    type Marks = [Option<[u8; 3]>; 4];
    let white = Some([255; 3]);
    let cases: [(&str, &str, Marks); 8] = [
        ("gear_Bereiche/{}.png", "white", [white; 4]),
        ("gear_layer/{}_a.png", "an ending", [white; 4]),
        ("Masken/{}.jpg", "jpeg", [white; 4]),
        ("Masken/{}.jpg", "red in jpeg", [Some([255, 0, 0]); 4]),
        ("Masken/{}.jpg", "dark red in jpeg", [Some([128, 0, 0]); 4]),
        ("Masken/{}.png", "red", [Some([200, 30, 0]); 4]),
        ("Masken/{}.png", "0 and 1", [Some([1; 3]); 4]),
        ("Masken/mask_{}.png", "blank ones", [None, None, None, white]),
    ];
    for (name, what, colors) in cases {
        let tree = Tree::new();
        photographs(&tree, "gear", "img_{}.png", 0..12);
        photographs(&tree, "bolt", "b{}.jpg", 30..36);
        for (index, color) in colors.into_iter().enumerate() {
            disc(&tree, &name.replace("{}", &format!("{index:03}")), color);
        }
        let message = refused(&tree);
        assert!(message.contains(name.split('/').next().unwrap()) && message.contains(" gear"), "{what}: {message}");
    }
}

#[test]
fn products_with_the_same_numbers_stay_products() {
    for (one, other) in [("cam1", "cam2"), ("bolt", "gear")] {
        let tree = Tree::new();
        photographs(&tree, one, "{}.png", 0..8);
        photographs(&tree, other, "{}.jpg", 0..8);
        assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2);
    }
    // Two products of silhouettes, and one of them without common names.
    let tree = Tree::new();
    for folder in ["bolt", "gear"] {
        (0..6).for_each(|index| disc(&tree, &format!("{folder}/{index:03}.png"), Some([255; 3])));
    }
    assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2);
    let tree = Tree::new();
    photographs(&tree, "gear", "{}.png", 0..6);
    (0..6).for_each(|index| disc(&tree, &format!("bolt/{}.png", 40 + index), Some([255; 3])));
    assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2);
}

/// The way out that the message names for a product of silhouettes.
#[test]
fn a_product_of_silhouettes_is_told_what_to_do() {
    let tree = Tree::new();
    photographs(&tree, "gear", "{}.png", 0..6);
    (0..6).for_each(|index| disc(&tree, &format!("bolt/{index:03}.png"), Some([255; 3])));
    let message = refused(&tree);
    assert!(message.contains("bolt is a product") && message.contains("move one of the two folders away"), "{message}");
    std::fs::rename(tree.path("gear"), tree.path("other/gear")).unwrap();
    assert_eq!(Dataset::open_products(tree.path("bolt")).unwrap().categories.len(), 1);
}
