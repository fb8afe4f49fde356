//! Masks beside their images, told by name or by content.

use crate::support::{Tree, kinds, read, touch};
use dualad_data::{Dataset, FindingKind, Split};

#[test]
fn masks_among_images_are_no_images() {
    for (image, mask) in [
        ("1030{}.png", "1030{}_GT.png"),
        ("Part{}.jpg", "Part{}_label.bmp"),
        ("{}.png", "{}_mask.png"),
        ("{}.png", "{}-Mask.png"),
        ("{}.png", "{} seg.png"),
    ] {
        let tree = Tree::new();
        for index in 0..3 {
            let name = |pattern: &str| format!("parts/{}", pattern.replace("{}", &index.to_string()));
            touch(&tree, &[&name(image), &name(mask)]);
        }
        let dataset = Dataset::open(tree.root().join("parts")).unwrap();
        assert_eq!(dataset.samples(Split::Train).count(), 3, "{mask}");
        let [finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
        assert_eq!(finding.kind, FindingKind::MaskAmongImages);
        assert!(finding.message.starts_with("3 files in it are by name masks"), "{finding}");
    }
    // Beside them, test images have folders with labels.
    let tree = Tree::new();
    touch(&tree, &["train/1.png", "train/1_GT.png", "test/good/2.png", "test/bad/3.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset), ["train/1.png train train/1_GT.png", "test/bad/3.png bad", "test/good/2.png normal"]);
    assert_eq!(kinds(&dataset), [(FindingKind::MaskAmongImages, "train".into())]);
    // An ending that is not known is reported.
    let tree = Tree::new();
    touch(&tree, &["parts/a.png", "parts/a_x.png", "parts/b.png", "parts/b_x.png"]);
    let dataset = Dataset::open(tree.root().join("parts")).unwrap();
    assert_eq!(dataset.samples(Split::Train).count(), 4);
    assert_eq!(kinds(&dataset), [(FindingKind::MaskAmongImages, String::new())]);
    // Beside defective images, they are their masks.
    touch(&tree, &["c/train/good/0.png", "c/test/bad/1.png", "c/test/bad/1_GT.png"]);
    let dataset = Dataset::open(tree.root().join("c")).unwrap();
    assert_eq!(read(&dataset)[1], "test/bad/1.png bad test/bad/1_GT.png");
    assert_eq!(dataset.findings, []);
}

#[test]
fn photographs_with_the_names_of_masks_are_images() {
    for pattern in ["gt_{}.png", "{}_label.png", "{}-GT.bmp"] {
        let tree = Tree::new();
        let name = |index: u32| format!("parts/{}", pattern.replace("{}", &index.to_string()));
        for index in 0..3 {
            tree.picture(&format!("parts/{index}.png"), 64, 48, index);
            tree.picture(&name(index), 64, 48, 10 + index);
        }
        let dataset = Dataset::open(tree.root().join("parts")).unwrap();
        assert_eq!(dataset.samples(Split::Train).count(), 6, "{pattern}");
        assert!(dataset.samples(Split::Train).all(|sample| sample.masks.is_empty()));
        let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
        assert!(text.contains("the many colors of photographs: 3 (such as"), "{text}");
        // A copy of the image with something drawn in it, and a mask with soft edges.
        for is_copy in [true, false] {
            for index in 0..3 {
                let mut picture = image::open(tree.path(&format!("parts/{index}.png"))).unwrap().into_rgb8();
                for (x, y, pixel) in picture.enumerate_pixels_mut() {
                    let level = 20_u32.saturating_sub(x.abs_diff(20) + y.abs_diff(20)) as u8;
                    match is_copy {
                        true if level > 10 => *pixel = image::Rgb([255, 0, 0]),
                        true => {}
                        false => *pixel = image::Rgb([level * 12; 3]),
                    }
                }
                picture.save(tree.path(&name(index))).unwrap();
            }
            let dataset = Dataset::open(tree.root().join("parts")).unwrap();
            assert_eq!(dataset.samples(Split::Train).count(), 3, "{pattern} {is_copy}");
        }
    }
}

#[test]
fn an_image_whose_mask_marks_a_defect_is_not_trained_on() {
    let tree = Tree::new();
    for index in 0..3 {
        tree.picture(&format!("parts/{index}.png"), 20, 10, index);
        tree.mask(&format!("parts/{index}_GT.png"), 20, 10, 0);
    }
    let check = || Dataset::open(tree.root().join("parts")).unwrap().check().run().unwrap();
    assert!(!check().is_fatal());
    for value in [255, 1] {
        tree.mask("parts/1_GT.png", 20, 10, value);
        let report = check();
        assert_eq!(report.findings[0].kind, FindingKind::MarkedNormal, "{report:?}");
        assert_eq!(report.findings[0].path, tree.path("parts/1.png"));
        assert_eq!(report.findings.len(), 2);
    }
    let dataset = Dataset::open(tree.root().join("parts")).unwrap();
    assert_eq!(dataset.marked_normal_images(&Default::default()).len(), 1);
}

#[test]
fn masks_beside_images_are_told_by_their_content() {
    // The same name with another ending, and an ending that no mask has by itself.
    for name in ["{}.png", "{}_x.png", "{}-roi.bmp"] {
        for folder in ["parts", "c/train/good", "c/test/dent"] {
            let tree = Tree::new();
            tree.picture("c/train/good/9.png", 20, 10, 9);
            for index in 0..6 {
                tree.picture(&format!("{folder}/{index}.jpg"), 20, 10, index);
            }
            // Defective images alone have a mask; one of them is black.
            for (index, value) in [(1, 255), (4, 0)] {
                let mask = format!("{folder}/{}", name.replace("{}", &index.to_string()));
                tree.mask("mask.png", 20, 10, value);
                image::open(tree.path("mask.png")).unwrap().save(tree.path(&mask)).unwrap();
            }
            std::fs::remove_file(tree.path("mask.png")).unwrap();
            let root = tree.root().join(folder.split('/').next().unwrap());
            let dataset = Dataset::open(&root).unwrap();
            let samples = || dataset.categories.iter().flat_map(|category| &category.samples);
            let with_mask: Vec<_> =
                samples().filter(|sample| !sample.masks.is_empty()).map(|sample| sample.path.clone()).collect();
            assert_eq!(with_mask, [1, 4].map(|index| tree.path(&format!("{folder}/{index}.jpg"))), "{folder} {name}");
            assert_eq!(
                samples().filter(|sample| sample.path.parent() == with_mask[0].parent()).count() % 6,
                usize::from(folder == "c/train/good")
            );
            if folder != "c/test/dent" {
                let [finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
                assert!(finding.message.starts_with("2 files in it are by content masks"), "{finding}");
                let report = dataset.check().run().unwrap();
                assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::MarkedNormal), "{report:?}");
            }
        }
    }
    // Pictures of the same name and of few colors each: nothing tells, which is said. Photographs are read.
    let tree = Tree::new();
    for (name, seed) in [("a.png", 1), ("a.jpg", 2), ("a_top.png", 3), ("b.png", 4)] {
        tree.picture(name, 20, 10, seed);
    }
    assert_eq!(Dataset::open(tree.root()).unwrap().findings, []);
    assert_eq!(Dataset::open(tree.root()).unwrap().samples(Split::Train).count(), 4);
    tree.mask("b.png", 20, 10, 255);
    image::open(tree.path("b.png")).unwrap().save(tree.path("b.bmp")).unwrap();
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.samples(Split::Train).count(), 5);
    assert!(dataset.findings[0].message.contains("share their name with another and may be masks: 2"), "{dataset:?}");
}

#[test]
fn numbered_masks_are_masks_of_one_image() {
    let tree = Tree::new();
    touch(&tree, &["parts/0.png", "parts/0_mask_0.png", "parts/0_mask_1.png", "parts/1.png", "parts/1-GT (2).png"]);
    let dataset = Dataset::open(tree.root().join("parts")).unwrap();
    assert_eq!(dataset.samples(Split::Train).map(|sample| sample.masks.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(kinds(&dataset), [(FindingKind::MaskAmongImages, String::new())]);
    touch(
        &tree,
        &[
            "c/train/good/0.png",
            "c/test/cut/1.png",
            "c/ground_truth/cut/1_mask_0.png",
            "c/ground_truth/cut/1_mask_1.png",
        ],
    );
    let dataset = Dataset::open(tree.root().join("c")).unwrap();
    assert_eq!(read(&dataset)[1], "test/cut/1.png cut ground_truth/cut/1_mask_0.png ground_truth/cut/1_mask_1.png");
    assert_eq!(dataset.findings, []);
}

#[test]
fn masks_are_found_by_their_usual_names() {
    for name in ["0_mask", "0_label", "0_gt", "0-mask", "0_MASK", "0.seg", "0"] {
        let tree = Tree::new();
        touch(&tree, &["c/train/good/0.png", "c/test/spot/0.png", &format!("c/ground_truth/spot/{name}.png")]);
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.samples(Split::Test).next().unwrap().masks.len(), 1, "{name}");
        assert_eq!(dataset.findings, [], "{name}");
    }
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/spot/0.png", "c/ground_truth/spot/0_x.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert!(dataset.findings[0].message.contains("_mask.png (or _gt, _label, _seg)"), "{}", dataset.findings[0]);
}

#[test]
fn two_photographs_of_a_part_are_told_from_an_image_and_its_mask() {
    for (name, other) in
        [("000.png", "000_back.png"), ("000.png", "000_df.png"), ("000.jpg", "000_cam2.png"), ("000.jpg", "000.png")]
    {
        for folder in ["parts", "c/train/good"] {
            let tree = Tree::new();
            tree.picture(&format!("{folder}/{name}"), 20, 10, 0);
            // A silhouette.
            tree.mask(&format!("{folder}/{other}"), 20, 10, 255);
            let root = tree.root().join(folder.split('/').next().unwrap());
            let error = Dataset::open(&root).unwrap().check().run().unwrap().into_result().unwrap_err();
            let message = error.to_string();
            for words in
                [name, other, "look like", "test/<type of defect>", "ground_truth/<type of defect>", "photograph"]
            {
                assert!(message.contains(words), "{words}: {message}");
            }
            // The way out that it names.
            let renamed = message.split("such as ").last().unwrap().split(' ').next().unwrap();
            assert_eq!(renamed, "000_1.".to_string() + name.rsplit('.').next().unwrap(), "{message}");
            let folder = tree.path(folder);
            std::fs::rename(folder.join(name), folder.join(renamed)).unwrap();
            let dataset = Dataset::open(&root).unwrap();
            assert_eq!(dataset.samples(Split::Train).count(), 2, "{name} {other}");
            dataset.check().run().unwrap().into_result().unwrap();
        }
    }
    // A number is no ending of masks.
    let tree = Tree::new();
    tree.picture("000.png", 20, 10, 0);
    tree.mask("000_2.png", 20, 10, 255);
    assert_eq!(Dataset::open(tree.root()).unwrap().samples(Split::Train).count(), 2);
    // Of defective images, the choice is noted.
    let tree = Tree::new();
    tree.picture("c/train/good/0.png", 20, 10, 0);
    tree.picture("c/test/dent/1.png", 20, 10, 1);
    tree.mask("c/test/dent/1_back.png", 20, 10, 255);
    let dataset = Dataset::open(tree.root().join("c")).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::Choice, "test/dent".to_string())]);
    let message = &dataset.findings[0].message;
    assert!(message.contains("1_back.png") && message.contains("photograph"), "{message}");
}

#[test]
fn masks_with_a_number_after_the_stem_of_their_image_are_united() {
    for (image, masks) in [
        ("000", vec!["000_0", "000_1"]),
        ("part_3", vec!["part_3_0", "part_3_1"]),
        ("000", vec!["000-1"]),
        ("000", vec!["000 (1)", "000 (2)"]),
        // The whole name of the image.
        ("000", vec!["000.png"]),
        ("000", vec!["000.jpg_mask"]),
    ] {
        let tree = Tree::new();
        let image = format!("test/dent/{image}.jpg");
        let masks: Vec<String> = masks.iter().map(|mask| format!("ground_truth/dent/{mask}.png")).collect();
        touch(&tree, &["train/good/0.png", &image, "test/dent/other.jpg", "ground_truth/dent/other_0.png"]);
        touch(&tree, &masks.iter().map(String::as_str).collect::<Vec<_>>());
        let dataset = Dataset::open(tree.root()).unwrap();
        let expected = format!("{image} dent {}", masks.join(" "));
        assert!(read(&dataset).contains(&expected), "{expected}: {:?}", read(&dataset));
        assert_eq!(dataset.findings, [], "{masks:?}");
    }
    // Images that differ in such a number, too: the masks may be of either.
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png", "test/dent/a.png", "test/dent/a_0.png"]);
    touch(&tree, &["ground_truth/dent/a_0.png", "ground_truth/dent/a_1.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[1..], ["test/dent/a.png dent", "test/dent/a_0.png dent ground_truth/dent/a_0.png"]);
    assert_eq!(kinds(&dataset), [(FindingKind::UnpairedMask, "ground_truth/dent/a_1.png".into())]);
    // Two images of one stem: the whole name of one decides.
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png", "test/dent/a.png", "test/dent/a.jpg", "ground_truth/dent/a.jpg.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let of_jpg = "test/dent/a.jpg dent ground_truth/dent/a.jpg.png";
    assert_eq!(read(&dataset)[1..], [of_jpg, "test/dent/a.png dent"]);
    touch(&tree, &["ground_truth/dent/a.png_mask.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[1..], [of_jpg, "test/dent/a.png dent ground_truth/dent/a.png_mask.png"]);
    assert_eq!(dataset.findings, []);
    // Beside the images, their content tells that they are masks.
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png"]);
    for (image, seed) in [("a.jpg", 1), ("a.bmp", 2)] {
        tree.picture(&format!("test/dent/{image}"), 64, 48, seed);
        tree.mask(&format!("test/dent/{image}.png"), 64, 48, 255);
    }
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected = ["a.bmp", "a.jpg"].map(|image| format!("test/dent/{image} dent test/dent/{image}.png"));
    assert_eq!(read(&dataset)[1..], expected);
    // A date is no number of a mask.
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png", "test/dent/cam.png", "ground_truth/dent/cam_20260102.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[1..], ["test/dent/cam.png dent"]);
    assert_eq!(kinds(&dataset), [(FindingKind::UnpairedMask, "ground_truth/dent/cam_20260102.png".into())]);
    // A mask of the image's own name counts more.
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png", "test/dent/a.png", "ground_truth/dent/a.png", "ground_truth/dent/a_1.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[1], "test/dent/a.png dent ground_truth/dent/a.png");
    assert_eq!(kinds(&dataset), [(FindingKind::AmbiguousMask, "test/dent/a.png".into())]);
}

#[test]
fn thumbnails_overlays_and_heat_maps_beside_images_are_passed_over() {
    let tree = Tree::new();
    let good = ["a.png", "a_thumb.png", "a-Overlay.png", "b.png", "b_heatmap.png", "lone_thumb.png"];
    touch(&tree, &good.map(|name| format!("c/train/good/{name}")).each_ref().map(String::as_str));
    touch(&tree, &["c/test/dent/0.png", "c/test/dent/0_heatmap.png", "c/ground_truth/dent/0_mask.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected = ["a.png", "b.png", "lone_thumb.png"].map(|name| format!("c/train/good/{name} train"));
    assert_eq!(read(&dataset)[..3], expected);
    assert_eq!(read(&dataset)[3..], ["c/test/dent/0.png dent c/ground_truth/dent/0_mask.png"]);
    let found = ["c/test/dent", "c/train/good"].map(|folder| (FindingKind::LeftOut, folder.into()));
    assert_eq!(kinds(&dataset), found);
    assert!(dataset.findings[1].message.contains("in it: 3 (such as a-Overlay.png)"), "{:?}", dataset.findings);
}
