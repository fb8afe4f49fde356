//! Folders of one product under labels that no list of words knows.

use crate::support::{Tree, kinds, touch};
use dualad_data::{Dataset, FindingKind, Severity, Split};
use image::{ImageBuffer, Rgb};

/// The parts of a test.
#[derive(Clone, Copy)]
enum Part {
    Disc,
    Square,
    Stripes,
}

/// Writes photographs of a part into a folder: it lies a little apart in each, and may have a dark dent.
fn photographs(tree: &Tree, folder: &str, part: Part, side: u32, range: std::ops::Range<u32>, has_dent: bool) {
    for index in range {
        let (dx, dy) = (index * 7 % 5, index * 3 % 4);
        let image = ImageBuffer::from_fn(side, side, |x, y| {
            let (x, y) = (x + dx, y + dy);
            let noise = (x * 7 + y * 13 + index * 29) % 11;
            let level = match part {
                _ if has_dent && x.abs_diff(30) < 4 && y.abs_diff(36) < 4 => [15, 10, 10],
                Part::Disc if x.abs_diff(34).pow(2) + y.abs_diff(34).pow(2) < 400 => [180, 160, 60],
                Part::Square if x.abs_diff(34) < 14 && y.abs_diff(34) < 24 => [90, 110, 200],
                Part::Stripes if x / 6 % 2 == 0 => [200, 200, 210],
                _ => [60, 60, 64],
            };
            Rgb(level.map(|level| level + noise as u8))
        });
        image.save(tree.path(&format!("{folder}/{index:03}.png"))).unwrap();
    }
}

fn same_product(dataset: &Dataset) -> Vec<String> {
    let found = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::SameProduct);
    found.map(|finding| finding.message.clone()).collect()
}

#[test]
fn folders_of_one_product_are_not_two_products_whatever_their_names() {
    for (one, other) in [
        ("良い", "悪い"),
        ("Bra", "Dålig"),
        ("ohne Mangel", "Delle"),
        ("Referenz", "Reklamation"),
        ("gear_1", "gear_0"),
        ("A", "B"),
    ] {
        let tree = Tree::new();
        photographs(&tree, one, Part::Disc, 72, 0..12, false);
        photographs(&tree, other, Part::Disc, 72, 12..17, true);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let found = same_product(&dataset);
        let [message] = &found[..] else { panic!("{one} {other}: {:?}", dataset.findings) };
        for words in [one, other, "PRODUCT/train/good", "name the categories"] {
            assert!(message.contains(words), "{words}: {message}");
        }
        assert!(dataset.findings.iter().all(|finding| finding.severity() == Severity::Fatal));
        assert!(dataset.check().run().unwrap().is_fatal());
        // Both ways out.
        assert_eq!(dataset.select(&[one, other]).unwrap().findings, []);
        std::fs::create_dir_all(tree.root().join("part/train")).unwrap();
        std::fs::create_dir_all(tree.root().join("part/test")).unwrap();
        std::fs::rename(tree.root().join(one), tree.root().join("part/train/good")).unwrap();
        std::fs::rename(tree.root().join(other), tree.root().join("part/test").join(other)).unwrap();
        let dataset = Dataset::open_products(tree.root()).unwrap();
        assert_eq!((dataset.samples(Split::Train).count(), same_product(&dataset)), (12, vec![]));
    }
}

#[test]
fn products_that_look_different_are_read_without_a_word() {
    let tree = Tree::new();
    photographs(&tree, "gear", Part::Disc, 72, 0..12, false);
    photographs(&tree, "plate", Part::Square, 72, 0..12, false);
    photographs(&tree, "mesh", Part::Stripes, 72, 0..5, false);
    // Another camera.
    photographs(&tree, "large gear", Part::Disc, 80, 0..5, false);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!((dataset.categories.len(), kinds(&dataset)), (4, vec![]));
    // Folders in which the normal images are named are clear.
    let tree = Tree::new();
    photographs(&tree, "left/good", Part::Disc, 72, 0..6, false);
    photographs(&tree, "right/good", Part::Disc, 72, 0..6, false);
    photographs(&tree, "top/train", Part::Disc, 72, 0..6, false);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!((dataset.categories.len(), kinds(&dataset)), (3, vec![]));
}

#[test]
fn several_folders_of_one_product_are_one_finding() {
    let tree = Tree::new();
    for (index, name) in ["Charge 7", "Retoure", "neu"].into_iter().enumerate() {
        let first = 10 * index as u32;
        photographs(&tree, name, Part::Disc, 72, first..first + 4, index < 2);
    }
    photographs(&tree, "plate", Part::Square, 72, 0..4, false);
    let found = same_product(&Dataset::open_products(tree.root()).unwrap());
    assert!(found.len() == 1 && found[0].contains("(Charge 7, Retoure, neu)"), "{found:?}");
}

#[test]
fn names_that_differ_in_0_and_1_are_labels_if_one_has_few_images() {
    let tree = Tree::new();
    touch(&tree, &["gear_1/a.png", "gear_1/b.png", "gear_1/c.png", "gear_0/d.png", "lid/a.png"]);
    let found = same_product(&Dataset::open_products(tree.root()).unwrap());
    assert!(found.len() == 1 && found[0].contains("(gear_0, gear_1)") && found[0].contains("0 and 1"), "{found:?}");
    touch(&tree, &["gear_0/e.png", "gear_0/f.png"]);
    assert_eq!(same_product(&Dataset::open_products(tree.root()).unwrap()), Vec::<String>::new());
}

/// Writes small pictures of these sizes into a folder.
fn crops(tree: &Tree, folder: &str, sizes: &[(u32, u32)]) {
    for (index, (width, height)) in sizes.iter().enumerate() {
        tree.picture(&format!("{folder}/{index}.png"), *width, *height, index as u32);
    }
}

const VARIED: [(u32, u32); 5] = [(20, 12), (14, 25), (30, 18), (16, 17), (22, 27)];

#[test]
fn parts_cut_out_of_images_are_no_product() {
    for (name, sizes) in [
        ("crops", &VARIED[..]),
        ("crops", &[(72, 72); 5]),
        ("gear_crops", &VARIED),
        ("Ausschnitte", &VARIED),
        ("缺口裁剪", &VARIED),
        // By their sizes alone.
        ("neu", &VARIED),
    ] {
        for product in ["gear", "gear/good", "gear/train"] {
            let tree = Tree::new();
            photographs(&tree, product, Part::Disc, 72, 0..12, false);
            photographs(&tree, "plate", Part::Square, 80, 0..12, false);
            crops(&tree, name, sizes);
            let dataset = Dataset::open_products(tree.root()).unwrap();
            let found = same_product(&dataset);
            let [message] = &found[..] else { panic!("{name} {product}: {:?}", dataset.findings) };
            assert!(message.contains(&format!("({name})")) && message.contains("cut out of images"), "{message}");
            assert!(dataset.check().run().unwrap().is_fatal());
            // Both ways out.
            assert_eq!(same_product(&dataset.select(&["gear", "plate", name]).unwrap()), Vec::<String>::new());
            std::fs::create_dir_all(tree.root().join("part")).unwrap();
            std::fs::rename(tree.root().join(name), tree.root().join("part/good")).unwrap();
            std::fs::rename(tree.root().join("part"), tree.root().join(name)).unwrap();
            let dataset = Dataset::open_products(tree.root()).unwrap();
            assert_eq!((dataset.categories.len(), same_product(&dataset)), (3, vec![]));
        }
    }
    // The defective side of a product by name names the product.
    let tree = Tree::new();
    photographs(&tree, "gear", Part::Disc, 72, 0..12, false);
    crops(&tree, "gear_defects_crops", &VARIED);
    let message = Dataset::open_products(tree.root()).unwrap_err().to_string();
    assert!(message.contains("to gear/test/defects"), "{message}");
}

#[test]
fn small_images_may_be_those_of_a_product() {
    // Images of one size, which nothing else tells from crops, are named.
    let tree = Tree::new();
    photographs(&tree, "gear", Part::Disc, 72, 0..12, false);
    photographs(&tree, "nut", Part::Stripes, 16, 0..5, false);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::UnclearLabel, "nut".into())]);
    assert!(dataset.findings[0].message.contains("small beside those of gear"), "{:?}", dataset.findings);
    // All products may be cut out of larger images, and one that states its normal images may have any size.
    let tree = Tree::new();
    photographs(&tree, "gear_crops", Part::Disc, 72, 0..12, false);
    photographs(&tree, "plate_crops", Part::Square, 72, 0..12, false);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!((dataset.categories.len(), kinds(&dataset)), (2, vec![]));
    let tree = Tree::new();
    photographs(&tree, "gear", Part::Disc, 72, 0..12, false);
    crops(&tree, "nut/good", &VARIED);
    crops(&tree, "crop_sensor/good", &[(16, 16); 5]);
    assert_eq!(kinds(&Dataset::open_products(tree.root()).unwrap()), []);
}

/// Tests on real images, where they are.
#[test]
fn real_products_are_told_from_labels() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        return println!("skipped: {} is not there", data.display());
    }
    let copy = |tree: &Tree, folder: &str, from: &str| {
        for (index, entry) in std::fs::read_dir(data.join(from)).unwrap().enumerate().take(40) {
            let path = entry.unwrap().path();
            let ending = path.extension().unwrap().to_string_lossy().into_owned();
            std::fs::copy(&path, tree.path(&format!("{folder}/{index}.{ending}"))).unwrap();
        }
    };
    let products = ["bottle", "screw", "wood", "metal_plate", "transistor", "capsules"];
    let tree = Tree::new();
    products.into_iter().for_each(|name| copy(&tree, name, &format!("{name}/train/good")));
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!((dataset.categories.len(), kinds(&dataset)), (6, vec![]));
    for name in products {
        for kind in std::fs::read_dir(data.join(name).join("test")).unwrap() {
            let kind = kind.unwrap().file_name().into_string().unwrap();
            let tree = Tree::new();
            copy(&tree, "one", &format!("{name}/train/good"));
            copy(&tree, "other", &format!("{name}/test/{kind}"));
            let dataset = Dataset::open_products(tree.root()).unwrap();
            assert_eq!(same_product(&dataset).len(), 1, "{name} {kind}");
        }
    }
}
