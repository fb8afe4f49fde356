//! Folders as people have them: other names, stray files, near misses, and images without labels.

mod support;

use std::path::Path;

use dualad_data::{Dataset, Error, FindingKind, Label, Layout, Split};
use support::Tree;

/// Creates files with any content: readers only list them.
fn touch(tree: &Tree, names: &[&str]) {
    for name in names {
        tree.write(name, "x");
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/")
}

/// Returns the images of a dataset: path, label, and mask.
fn read(dataset: &Dataset) -> Vec<String> {
    let samples = dataset.categories.iter().flat_map(|category| &category.samples);
    let line = |sample: &dualad_data::Sample| {
        let label = match &sample.label {
            Label::Normal if sample.split == Split::Train => "train",
            Label::Normal => "normal",
            Label::Anomalous(kind) => kind,
        };
        let masks: Vec<String> = sample.masks.iter().map(|mask| relative(&dataset.root, mask)).collect();
        format!("{} {label} {}", relative(&dataset.root, &sample.path), masks.join(" ")).trim_end().to_string()
    };
    samples.map(line).collect()
}

fn kinds(dataset: &Dataset) -> Vec<(FindingKind, String)> {
    dataset.findings.iter().map(|finding| (finding.kind, relative(&dataset.root, &finding.path))).collect()
}

#[test]
fn btad_has_other_names_for_normal_and_defective_images() {
    let tree = Tree::new();
    touch(&tree, &["01/train/ok/0.bmp", "01/test/ok/1.bmp", "01/test/ko/2.bmp", "01/ground_truth/ko/2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::Mvtec);
    let expected =
        ["01/train/ok/0.bmp train", "01/test/ko/2.bmp ko 01/ground_truth/ko/2.png", "01/test/ok/1.bmp normal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);
}

#[test]
fn names_of_folders_are_known_in_any_case() {
    let tree = Tree::new();
    touch(&tree, &["c/Train/Good/0.png", "c/TEST/OK/1.png", "c/TEST/Bad/2.png", "c/Ground_Truth/bad/2_mask.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected =
        ["c/Train/Good/0.png train", "c/TEST/Bad/2.png Bad c/Ground_Truth/bad/2_mask.png", "c/TEST/OK/1.png normal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);
    // The usual name counts before others.
    touch(&tree, &["c/Train/ok/3.png"]);
    assert_eq!(Dataset::open(tree.root()).unwrap().samples(Split::Train).count(), 2);
    touch(&tree, &["c/Train/good/4.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[0], "c/Train/good/4.png train");
    assert_eq!(dataset.samples(Split::Train).count(), 1);
    assert!(kinds(&dataset).contains(&(FindingKind::LeftOut, "c/Train/ok".into())));
}

#[test]
fn anomalibs_folders_are_read() {
    let tree = Tree::new();
    touch(
        &tree,
        &["toy/good/0.jpg", "toy/NG/crack/1.jpg", "toy/mask/crack/1.jpg", "toy/NG/2.jpg", "toy/mask/NG/2.png"],
    );
    let dataset = Dataset::open(tree.root().join("toy")).unwrap();
    assert_eq!(dataset.layout, Layout::Folder);
    let expected = ["good/0.jpg train", "NG/2.jpg NG mask/NG/2.png", "NG/crack/1.jpg crack mask/crack/1.jpg"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);

    touch(&tree, &["my/normal/0.png", "my/abnormal/1.png", "my/abnormal/2.png", "my/masks/1.png"]);
    let dataset = Dataset::open(tree.root().join("my")).unwrap();
    let expected = ["normal/0.png train", "abnormal/1.png abnormal masks/1.png", "abnormal/2.png abnormal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);

    // A folder beside the normal images has defects if it has masks.
    touch(&tree, &["nut/good/0.png", "nut/crack/1.png", "nut/mask/crack/1_mask.png", "nut/old/2.png"]);
    let dataset = Dataset::open(tree.root().join("nut")).unwrap();
    assert_eq!(read(&dataset), ["good/0.png train", "crack/1.png crack mask/crack/1_mask.png"]);
    assert_eq!(kinds(&dataset), [(FindingKind::LeftOut, "old".into())]);

    // The folder above holds a product each.
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!(dataset.categories.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["my", "nut", "toy"]);
    assert_eq!(dataset.samples(Split::Train).count(), 3);
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(message.contains("datasets lie in") && message.contains("toy"), "{message}");
}

#[test]
fn stray_files_and_folders_change_nothing() {
    let stray = [
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "LICENSE",
        "LICENSE.txt",
        "readme.md",
        "checksums.sha256",
        "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
        "@eaDir/1.png",
        "System Volume Information/2.png",
        "lost+found/3.png",
        "__MACOSX/gear/train/good/4.png",
        "$RECYCLE.BIN/5.png",
        ".cache/6.png",
        "notes/text.txt",
    ];
    let trees: [&[&str]; 4] = [
        &["gear/0.png", "plate/0.png"],
        &["gear/train/good/0.png", "gear/test/cut/1.png", "gear/ground_truth/cut/1_mask.png"],
        &["train/good/0.png", "test/good/1.png"],
        &["0.png", "test/good/1.png"],
    ];
    for files in trees {
        let tree = Tree::new();
        touch(&tree, files);
        let plain = Dataset::open_products(tree.root()).unwrap();
        // In the root, and in every folder.
        let mut folders = vec![String::new()];
        for file in files {
            let parts: Vec<&str> = file.split('/').collect();
            folders.extend((1..parts.len()).map(|end| parts[..end].join("/") + "/"));
        }
        for folder in folders {
            for name in stray {
                tree.write(&format!("{folder}{name}"), "x");
            }
        }
        let dataset = Dataset::open_products(tree.root()).unwrap();
        assert_eq!(dataset.categories, plain.categories, "{files:?}");
        assert_eq!(dataset.findings, plain.findings, "{files:?}");
    }
}

#[test]
fn images_of_unusual_names_are_read_by_their_content_or_reported() {
    let tree = Tree::new();
    tree.picture("c/train/good/0.jpg", 20, 10, 0);
    let jpeg = std::fs::read(tree.path("c/train/good/0.jpg")).unwrap();
    for name in ["1.jfif", "2.JPE", "3.heic", "4", "frame.2026.11.28"] {
        tree.write(&format!("c/train/good/{name}"), &jpeg);
    }
    for (name, content) in [
        ("5.heic", &b"\0\0\0\x18ftypheic"[..]),
        ("6.avif", b"\0\0\0\x1cftypavif"),
        ("7.heic", b"x"),
        ("BMW", b"BMW parts"),
        ("notes", b"words"),
        ("data.xyz", b"words"),
    ] {
        tree.write(&format!("c/train/good/{name}"), content);
    }
    tree.write("c/train/good/0.jpg.1", &jpeg);
    tree.write("c/train/good/8.bak", &jpeg);
    let dataset = Dataset::open(tree.root()).unwrap();
    let read: Vec<String> =
        dataset.samples(Split::Train).map(|s| relative(&tree.path("c/train/good"), &s.path)).collect();
    assert_eq!(read, ["0.jpg", "1.jfif", "2.JPE", "3.heic", "4", "frame.2026.11.28"]);
    let [finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
    assert_eq!((finding.kind, finding.category.as_str()), (FindingKind::LeftOut, "c"));
    let line = finding.to_string();
    for words in ["3 images are left out (.heic: 2, .avif: 1", "convert them", "2 images are left out (.1: 1, .bak: 1"]
    {
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(dataset.check().run().unwrap().into_result().unwrap().images, 6);
}

#[test]
fn a_folder_of_images_that_are_not_read_names_them() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.heic", "c/train/good/1.heic"]);
    let message = Dataset::open(tree.root()).unwrap().check().run().unwrap().into_result().unwrap_err().to_string();
    assert!(message.contains("no normal images") && message.contains(".heic: 2"), "{message}");
    let message = Dataset::open(tree.root().join("c/train/good")).unwrap_err().to_string();
    assert!(message.contains(".heic: 2") && message.contains("convert them to png"), "{message}");
}

#[test]
fn near_misses_are_named() {
    let fatal = |files: &[&str]| {
        let tree = Tree::new();
        for (index, name) in files.iter().enumerate() {
            tree.picture(name, 8, 8, index as u32);
        }
        match Dataset::open_products(tree.root()) {
            Ok(dataset) => dataset.check().run().unwrap().into_result().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let message = fatal(&["c/train/pass/0.png", "c/test/good/1.png"]);
    assert!(message.contains("train/pass") && message.contains("1 image in or below it is left out"), "{message}");
    // As MVTec AD, these have no normal images; as products, they have (`tests/labels.rs`).
    for (file, words) in [("c/train/0.png", "belong there"), ("c/0.png", "1 image in it is left out")] {
        let tree = Tree::new();
        touch(&tree, &[file, "c/test/good/1.png"]);
        let dataset = Dataset::open_as(Layout::Mvtec, tree.root()).unwrap();
        let message = dataset.check().headers_only(true).run().unwrap().into_result().unwrap_err().to_string();
        assert!(message.contains("no normal images") && message.contains(words), "{message}");
    }
    for depth in ["a", "a/b", "a/b/c"] {
        let message = fatal(&[&format!("{depth}/screw/train/good/0.png")]);
        assert!(message.contains("a dataset lies in") && message.contains(&format!("{depth}: open that")), "{message}");
    }
    let message = fatal(&["a/gear/good/0.png", "b/gear/good/0.png"]);
    assert!(message.contains("datasets lie in"), "{message}");
    // A list of many is bounded.
    let names: Vec<String> = (0..40).map(|index| format!("a/p{index:02}/x/0.png")).collect();
    let message = fatal(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(message.len() < 2000, "{message}");
}

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
fn mixed_images_without_labels_are_refused() {
    let cases: [&[&str]; 12] = [
        // Names of files.
        &["ok_1.png", "ok_2.png", "ng_1.png"],
        &["001.png", "002.png", "003_defect.png"],
        &["train/good1.png", "train/Bad2.png"],
        &["good_1.png", "scratch_1.png"],
        &["gear/1.png", "gear/2-NG.png", "plate/1.png"],
        // Names of folders.
        &["gear/1.png", "scratch/1.png"],
        &["NG/1.png", "dent/2.png"],
        &["0/1.png", "1/2.png"],
        &["positive/1.png", "negative/2.png"],
        // Masks.
        &["images/1.png", "masks/1.png"],
        &["images/1.png", "labels/1.txt"],
        &["1.png", "2.png", "masks/2_mask.png"],
    ];
    for files in cases {
        let tree = Tree::new();
        touch(&tree, files);
        let error = Dataset::open_products(tree.root()).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }), "{files:?}: {error}");
        let message = error.to_string();
        assert!(message.contains("move the normal ones to") && message.contains("test/<type of defect>"), "{message}");
    }
    // Products, whose names only resemble these words.
    for files in
        [&["spring/1.png", "badge/2.png"], &["dental/spring_1.png", "crackers/tokyo.png"], &["7/1.png", "8/2.png"]]
    {
        let tree = Tree::new();
        touch(&tree, files);
        assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 2, "{files:?}");
    }
    // A folder that is named for normal images is believed, with a finding.
    let tree = Tree::new();
    touch(&tree, &["c/train/good/1.png", "c/train/good/ng_2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::UnclearLabel, "c/train/good".into())]);
    // Masks are not a product.
    let tree = Tree::new();
    touch(&tree, &["ground_truth/cut/0.png", "ground_truth/hole/1.png", "masks/0.png"]);
    for folder in ["ground_truth", "masks"] {
        assert!(Dataset::open_products(tree.root().join(folder)).is_err(), "{folder}");
    }
}

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
fn accents_may_have_two_spellings() {
    let tree = Tree::new();
    touch(
        &tree,
        &["c/train/good/0.png", "c/test/riss/geh\u{e4}use.png", "c/ground_truth/riss/geha\u{308}use_mask.png"],
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.samples(Split::Test).next().unwrap().masks.len(), 1);
    assert_eq!(dataset.findings, []);
}

mod any_tree {
    use super::*;
    use proptest::prelude::*;

    /// Names of folders with a meaning, and without.
    const FOLDERS: [&str; 18] = [
        "train",
        "Test",
        "test",
        "good",
        "OK",
        "normal",
        "NG",
        "bad",
        "scratch",
        "ground_truth",
        "mask",
        "gear",
        "kos01",
        "@eaDir",
        "lost+found",
        "abnormal",
        "0",
        "1",
    ];
    const FILES: [&str; 12] = [
        "0.png",
        "1.JPG",
        "0_mask.png",
        "1_GT.png",
        "ng_2.png",
        "ok_3.png",
        "Thumbs.db",
        "LICENSE",
        "4.heic",
        "0-x.png",
        "1-x.png",
        "mask_0.png",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// No image to train on is in a folder of defects or of masks, or is a mask by its name.
        #[test]
        fn nothing_but_normal_images_is_trained_on(
            files in prop::collection::vec((prop::collection::vec(prop::sample::select(&FOLDERS[..]), 0..4), prop::sample::select(&FILES[..])), 1..14)
        ) {
            let tree = Tree::new();
            for (folders, file) in &files {
                let folder = folders.iter().map(|folder| format!("{folder}/")).collect::<String>();
                tree.write(&format!("{folder}{file}"), "x");
            }
            let Ok(dataset) = Dataset::open_products(tree.root()) else { return Ok(()) };
            for sample in dataset.samples(Split::Train) {
                let path = relative(tree.root(), &sample.path);
                let folder = path.rsplit('/').nth(1).unwrap_or_default();
                let is_wrong = ["NG", "bad", "scratch", "ground_truth", "mask", "abnormal", "@eaDir", "lost+found"].contains(&folder);
                prop_assert!(!is_wrong, "{path}: {files:?}");
                let image = path.replace("_mask.png", ".png").replace("_GT.png", ".JPG").replace("mask_", "");
                prop_assert!(image == path || !tree.root().join(&image).exists(), "{path}: {files:?}");
            }
            prop_assert!(dataset.check().run().is_ok());
        }
    }
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
fn a_type_of_defect_named_label_is_not_dagm() {
    let tree = Tree::new();
    touch(&tree, &["p/train/good/0.png", "p/test/good/1.png", "p/test/Label/2.png"]);
    assert_eq!(Dataset::open(tree.root()).unwrap().layout, Layout::Mvtec);
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
