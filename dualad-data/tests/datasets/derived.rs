//! Thumbnails, overlays and heat maps that lie among images, and folders of them.

use crate::support::{Tree, kinds, read, relative, touch};
use dualad_data::{Dataset, FindingKind, Layout};

/// Opens a dataset of this layout, and returns its images and the folders with images that are left out.
fn opened(tree: &Tree, layout: Layout) -> (Vec<String>, Vec<String>) {
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, layout);
    let left_out = kinds(&dataset).into_iter().filter(|(kind, _)| *kind == FindingKind::LeftOut);
    (read(&dataset), left_out.map(|(_, path)| path).collect())
}

#[test]
fn published_layouts_leave_them_out() {
    let tree = Tree::new();
    touch(&tree, &["C/Train/1.png", "C/Train/2.png", "C/Train/1_thumb.png", "C/Train/2_thumb.png"]);
    touch(&tree, &["C/Train/Label/2_label.png", "C/Test/Label/4_label.png"]);
    touch(&tree, &["C/Test/3.png", "C/Test/4.png", "C/Test/4_heatmap.png"]);
    let (images, left_out) = opened(&tree, Layout::Dagm);
    assert_eq!(images, ["C/Train/1.png train", "C/Test/3.png normal", "C/Test/4.png defect C/Test/Label/4_label.png"]);
    assert_eq!(left_out, ["C/Test", "C/Train"]);

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/train/good/0_thumb.png", "c/validation/good/0.png"]);
    touch(&tree, &["c/test_public/bad/1.png", "c/test_public/bad/1_overlay.png", "c/test_private/0.png"]);
    touch(&tree, &["c/test_public/good/2.png", "c/test_public/good/2_thumbnail.png", "c/test_private/0_thumb.png"]);
    touch(&tree, &["c/test_public/ground_truth/bad/1_mask.png"]);
    let (images, left_out) = opened(&tree, Layout::MvtecAd2);
    let bad = "c/test_public/bad/1.png bad c/test_public/ground_truth/bad/1_mask.png";
    assert_eq!(images, ["c/train/good/0.png train", bad, "c/test_public/good/2.png normal"]);
    assert_eq!(left_out, ["c/test_private", "c/test_public/bad", "c/test_public/good", "c/train/good"]);

    let tree = Tree::new();
    touch(&tree, &["c/train/good/rgb/0.png", "c/train/good/rgb/0_thumb.png", "c/test/hole/gt/1.png"]);
    touch(&tree, &["c/test/hole/rgb/1.png", "c/test/hole/rgb/1_overlay.png"]);
    let (images, left_out) = opened(&tree, Layout::Mvtec3d);
    assert_eq!(images, ["c/train/good/rgb/0.png train", "c/test/hole/rgb/1.png hole c/test/hole/gt/1.png"]);
    assert_eq!(left_out, ["c/test/hole/rgb", "c/train/good/rgb"]);
}

#[test]
fn words_before_the_name_of_the_image_count_too() {
    let tree = Tree::new();
    for name in ["0.png", "overlay_0.png", "Heatmap-0.png", "thumb_0.png", "thumb_1.png", "thumbs_0.png"] {
        touch(&tree, &[&format!("c/train/good/{name}")]);
    }
    let (images, left_out) = opened(&tree, Layout::Mvtec);
    let expected = ["0.png", "thumb_1.png", "thumbs_0.png"].map(|name| format!("c/train/good/{name} train"));
    assert_eq!((images, left_out), (expected.to_vec(), vec!["c/train/good".to_string()]));
}

#[test]
fn an_image_with_annotations_of_its_own_is_kept() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/dent/1.png", "c/test/dent/1_overlay.png", "c/test/dent/1_thumb.png"]);
    touch(&tree, &["c/ground_truth/dent/1_mask.png", "c/ground_truth/dent/1_overlay_mask.png"]);
    let (images, left_out) = opened(&tree, Layout::Mvtec);
    let expected = [
        "c/test/dent/1.png dent c/ground_truth/dent/1_mask.png",
        "c/test/dent/1_overlay.png dent c/ground_truth/dent/1_overlay_mask.png",
    ];
    assert_eq!((&images[1..], left_out), (&expected.map(String::from)[..], vec!["c/test/dent".to_string()]));

    let tree = Tree::new();
    tree.picture("0.png", 8, 8, 0);
    tree.picture("1.png", 8, 8, 1);
    tree.picture("1_overlay.png", 8, 8, 2);
    tree.picture("1_thumb.png", 8, 8, 3);
    let shape = r#"{"label": "dent", "points": [[1, 1], [6, 1], [6, 6]], "shape_type": "polygon"}"#;
    let json = format!(r#"{{"imagePath": "1_overlay.png", "imageWidth": 8, "imageHeight": 8, "shapes": [{shape}]}}"#);
    tree.write("1_overlay.json", json);
    let (images, _) = opened(&tree, Layout::LabelMe);
    assert!(images.contains(&"1_overlay.png dent".to_string()), "{images:?}");
    assert!(!images.iter().any(|image| image.starts_with("1_thumb")), "{images:?}");
}

#[test]
fn folders_of_them_are_neither_products_nor_types_of_defects() {
    let tree = Tree::new();
    for product in ["gear", "nut"] {
        for index in 0..4 {
            let seed = if product == "gear" { index } else { 90 + 7 * index };
            tree.picture(&format!("{product}/good/{product}{index}.png"), 16, 16, seed);
        }
    }
    for index in 0..4 {
        tree.picture(&format!("thumbs/gear{index}.png"), 8, 8, index);
    }
    tree.picture("overlay/nut1_overlay.png", 16, 16, 3);
    tree.picture("previews/other.png", 16, 16, 200);
    let dataset = Dataset::open_products(tree.root()).unwrap();
    let names: Vec<&str> = dataset.categories.iter().map(|category| &*category.name).collect();
    assert_eq!(names, ["gear", "nut", "previews"]);
    let left_out: Vec<_> = kinds(&dataset).into_iter().filter(|(kind, _)| *kind == FindingKind::LeftOut).collect();
    assert_eq!(left_out, ["overlay", "thumbs"].map(|name| (FindingKind::LeftOut, name.to_string())));

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/dent/1.png", "c/test/thumbs/1.png", "c/test/heatmap/1_heatmap.png"]);
    touch(&tree, &["c/test/preview/7.png", "c/test/overlay/1.png", "c/ground_truth/overlay/1_mask.png"]);
    touch(&tree, &["c/ground_truth/dent/1_mask.png", "thumbs/train/good/0.png"]);
    let (images, left_out) = opened(&tree, Layout::Mvtec);
    let expected = [
        "c/train/good/0.png train",
        "c/test/dent/1.png dent c/ground_truth/dent/1_mask.png",
        "c/test/overlay/1.png overlay c/ground_truth/overlay/1_mask.png",
        "c/test/preview/7.png preview",
    ];
    assert_eq!(images, expected);
    assert_eq!(left_out, ["c/test/heatmap", "c/test/thumbs", "thumbs"]);
}

#[test]
fn folders_of_them_inside_folders_of_defects_are_no_defects() {
    let tree = Tree::new();
    touch(&tree, &["good/0.png", "bad/1.png", "bad/thumbs/1.png", "bad/overlays/1_overlay.png", "bad/dent/2.png"]);
    touch(&tree, &["bad/previews/7.png"]);
    let (images, left_out) = opened(&tree, Layout::Folder);
    assert_eq!(images, ["good/0.png train", "bad/1.png bad", "bad/dent/2.png dent", "bad/previews/7.png previews"]);
    assert_eq!(left_out, ["bad/overlays", "bad/thumbs"]);

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/bad/1.png", "c/test/bad/thumbs/1_thumb.png", "c/test/dent/2.png"]);
    touch(&tree, &["c/test/dent/thumbs/2.png"]);
    let (images, left_out) = opened(&tree, Layout::Mvtec);
    assert_eq!(images, ["c/train/good/0.png train", "c/test/bad/1.png bad", "c/test/dent/2.png dent"]);
    assert_eq!(left_out, ["c/test/bad/thumbs", "c/test/dent/thumbs"]);
}

#[test]
fn folders_of_them_inside_published_datasets_are_told() {
    let told = |tree: &Tree, layout| {
        let dataset = Dataset::open_as(layout, tree.root()).unwrap();
        let is = |finding: &&dualad_data::Finding| finding.message.contains("thumbnails, overlays or heat maps");
        let told = dataset.findings.iter().filter(is).map(|finding| relative(tree.root(), &finding.path));
        (dataset.categories.len(), read(&dataset), told.collect::<Vec<_>>())
    };
    let tree = Tree::new();
    touch(&tree, &["c/train/good/rgb/0.png", "c/test/cut/rgb/1.png", "c/test/cut/rgb/thumbs/1.png"]);
    touch(&tree, &["c/test/cut/gt/1.png", "c/test/overlay/rgb/1.png", "thumbs/train/good/rgb/0.png"]);
    let (categories, images, told_3d) = told(&tree, Layout::Mvtec3d);
    assert_eq!((categories, images.len()), (1, 2), "{images:?}");
    assert_eq!(told_3d, ["c/test/cut/rgb/thumbs", "c/test/overlay", "thumbs"]);

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test_public/good/1.png", "c/test_public/bad/2.png"]);
    touch(&tree, &["c/test_public/bad/thumbs/2.png", "c/test_public/thumbs/2.png", "thumbs/train/good/0.png"]);
    touch(&tree, &["thumbs/test_public/bad/2.png"]);
    let (categories, images, told_2) = told(&tree, Layout::MvtecAd2);
    assert_eq!((categories, images.len()), (1, 3), "{images:?}");
    assert_eq!(told_2, ["c/test_public/bad/thumbs", "c/test_public/thumbs", "thumbs"]);

    let tree = Tree::new();
    touch(&tree, &["Class1/Train/1.PNG", "Class1/Train/Label/2_label.PNG", "Class1/Train/2.PNG", "Class1/Test/3.PNG"]);
    touch(&tree, &["Class1/Test/thumbs/3.PNG", "thumbs/Train/1.PNG", "thumbs/Train/Label/2_label.PNG"]);
    let (categories, images, told_dagm) = told(&tree, Layout::Dagm);
    assert_eq!((categories, images.len()), (1, 2), "{images:?}");
    assert_eq!(told_dagm, ["Class1/Test/thumbs", "thumbs"]);
}
