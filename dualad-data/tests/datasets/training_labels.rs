//! Labels around folders of normal images that say that some of these have defects.

use crate::support::annotated::{coco, labelme, pictures};
use crate::support::{Tree, relative};
use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind};

/// Writes a category with 8 images to train on, another one with the same names, and a test image.
fn categories(tree: &Tree) {
    for category in ["nut", "bolt"] {
        let names: Vec<String> = (0..8).map(|index| format!("{category}/train/good/{index:03}.png")).collect();
        pictures(tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
        tree.picture(&format!("{category}/test/good/100.png"), 8, 4, 20);
        tree.picture(&format!("{category}/test/dent/101.png"), 8, 4, 21);
    }
}

/// Returns the images to train on that have a defect, and the kinds of all findings of opening the dataset.
fn found(tree: &Tree) -> (Vec<String>, Vec<FindingKind>) {
    let dataset = Dataset::open_products(tree.root()).unwrap();
    let marked = dataset.marked_normal_images(&Limits::default());
    assert!(marked.iter().all(|finding| finding.kind == FindingKind::MarkedNormal), "{marked:?}");
    let paths = marked.iter().map(|finding| relative(tree.root(), &finding.path)).collect();
    (paths, dataset.findings.iter().map(|finding| finding.kind).collect())
}

const SHAPE: &str = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;

#[test]
fn annotations_and_tables_around_the_training_images_mark_them() {
    let of = |path: &str| labelme(SHAPE).replace("x.png", path);
    let boxed = |name: &str| coco(&[name], &[(0, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)]);
    let table = |name: &str| format!("path,label\n{name},scratch\n");
    for (file, content) in [
        ("nut/annotations/003.json", of("003.png")),
        ("nut/labels/good/003.json", of("003.png")),
        ("nut/labels/train/good/003.json", of("003.png")),
        ("nut/export/a.json", of("..\\\\train\\\\good\\\\003.png")),
        ("annotations/003.json", of("../nut/train/good/003.png")),
        ("nut/annotations.json", boxed("train/good/003.png")),
        ("nut/train/good/_annotations.coco.json", boxed("003.png")),
        ("annotations/instances.json", boxed("nut/train/good/003.png")),
        ("nut/labels.csv", table("train/good/003.png")),
        ("labels.csv", table("nut\\train\\good\\003.png")),
        ("nut/quality.csv", "filename,is_defect\ntrain/good/003.png,1\ntrain/good/004.png,0\n".into()),
        ("nut/t.jsonl", "{\"path\": \"train/good/003.png\", \"label\": \"Kratzer\"}\n".into()),
        // Two products have these names.
        ("t.csv", "path,label,product\n003.png,scratch,nut\n003.png,OK,bolt\n".into()),
        ("list.csv", "Teil;Foto;Urteil\nnut;003;Kratzer\nbolt;003;ok\n".into()),
    ] {
        let tree = Tree::new();
        categories(&tree);
        tree.write(file, content);
        assert_eq!(found(&tree).0, ["nut/train/good/003.png"], "{file}");
    }
    // In a folder of normal images alone.
    let tree = Tree::new();
    pictures(&tree, &["good/0.png", "good/1.png", "good/2.png"]);
    tree.write("annotations/1.json", of("1.png"));
    assert_eq!(found(&tree).0, ["good/1.png"]);
    // Beside products.
    let tree = Tree::new();
    pictures(&tree, &["nut/good/0.png", "nut/good/1.png", "bolt/good/2.png", "bolt/good/3.png", "bolt/good/4.png"]);
    tree.write("export/3.json", of("../bolt/good/3.png"));
    assert_eq!(found(&tree).0, ["bolt/good/3.png"]);
}

#[test]
fn labels_of_other_images_mark_no_training_image() {
    let of = |path: &str, label: &str| labelme(&SHAPE.replace("dent", label)).replace("x.png", path);
    let boxed = |name: &str, category: u32| {
        coco(&[name], &[(0, &format!(r#""bbox": [0, 0, 2, 2], "category_id": {category}"#))])
    };
    for (file, content) in [
        // Test images.
        ("nut/annotations/101.json", of("101.png", "dent")),
        ("nut/annotations.json", boxed("test/dent/101.png", 1)),
        ("nut/test/dent/101.json", of("../../../nut/train/good/003.png", "dent")),
        ("nut/labels.csv", "path,label\ntest/dent/101.png,dent\ntrain/good/001.png,good\n".into()),
        // An image of either category.
        ("annotations/003.json", of("003.png", "dent")),
        ("annotations/instances.json", boxed("003.png", 1)),
        // Normal ones.
        ("nut/annotations/003.json", of("003.png", "OK")),
        ("nut/annotations.json", boxed("train/good/003.png", 3)),
        // The name of the product, and numbers that may mean anything.
        (
            "nut/parts.csv",
            (0..8).fold("path,label\n".to_string(), |text, i| text + &format!("train/good/00{i}.png,nut\n")),
        ),
        ("nut/parts.csv", "path,label\ntrain/good/003.png,1\ntrain/good/004.png,1\n".into()),
        ("nut/defects_config.json", "{\"a\": 1}".into()),
    ] {
        let tree = Tree::new();
        categories(&tree);
        tree.write(file, content);
        let (marked, kinds) = found(&tree);
        assert_eq!(marked, Vec::<String>::new(), "{file}");
        assert!(kinds.iter().all(|kind| *kind == FindingKind::OtherFiles), "{file}: {kinds:?}");
    }
    // Outlines of the part in most images are a warning.
    let tree = Tree::new();
    categories(&tree);
    for index in 0..8 {
        tree.write(&format!("nut/annotations/00{index}.json"), of(&format!("00{index}.png"), "nut"));
    }
    assert_eq!(found(&tree), (vec![], vec![FindingKind::UnclearLabel]));
}

#[test]
fn files_that_call_normal_test_images_defective_are_named() {
    let of = |path: &str, label: &str| labelme(&SHAPE.replace("dent", label)).replace("x.png", path);
    let boxed = |name: &str| coco(&[name], &[(0, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)]);
    for (file, content, is_marked) in [
        ("nut/annotations/100.json", of("100.png", "dent"), true),
        ("nut/test/good/100.json", of("100.png", "dent"), true),
        ("nut/annotations.json", boxed("test/good/100.png"), true),
        ("nut/labels.csv", "path,label\ntest/good/100.png,scratch\n".into(), true),
        ("labels.csv", "path,label\nnut\\test\\good\\100.png,F12\nbolt/test/good/100.png,good\n".into(), true),
        ("nut/list.csv", "file;state\n100.png;Kratzer\n001.png;ok\n".into(), true),
        ("nut/labels.yaml", "test/good/100.png: scratch\n".into(), true),
        ("nut/defects.txt", "test/good/100.png\n".into(), true),
        ("nut/quality.csv", "filename,is_defect\ntest/good/100.png,1\ntrain/good/004.png,0\n".into(), true),
        // Normal ones: the file is read, and nothing is to be told.
        ("nut/annotations/100.json", of("100.png", "OK"), false),
        ("nut/labels.csv", "path,label\ntest/good/100.png,good\ntrain/good/001.png,ok\n".into(), false),
        ("nut/labels.yaml", "test/good/100.png: good\n".into(), false),
    ] {
        let tree = Tree::new();
        categories(&tree);
        let written = tree.write(file, content);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let found: Vec<_> = dataset.findings.iter().map(|found| (found.kind, found.path.clone())).collect();
        let expected = is_marked.then_some((FindingKind::Contradiction, written));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{file}");
        if let [finding] = &dataset.findings[..] {
            assert!(finding.message.contains("1 (nut/test/good/100.png)"), "{finding}");
        }
        assert_eq!(dataset.marked_normal_images(&Limits::default()), [], "{file}");
    }
    // Outlines of the parts are no defects.
    let tree = Tree::new();
    categories(&tree);
    for name in ["000", "001", "002", "003", "004", "100"] {
        tree.write(&format!("nut/annotations/{name}.json"), of(&format!("{name}.png"), "nut"));
    }
    assert_eq!(found(&tree), (vec![], vec![FindingKind::UnclearLabel]));
}

#[test]
fn a_list_whose_labels_are_read_is_not_said_to_be_unread() {
    let tree = Tree::new();
    categories(&tree);
    tree.write("nut/labels.csv", "path,label\ntrain/good/003.png,scratch\ntrain/good/004.png,good\n");
    tree.write("nut/other.csv", "time,celsius\n3,20\n");
    let dataset = Dataset::open(tree.root()).unwrap();
    let [finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
    assert!(finding.kind == FindingKind::OtherFiles && finding.message.contains("nut/other.csv"), "{finding}");
    assert!(!finding.message.contains("labels.csv"), "{finding}");
    // Beside products.
    let tree = Tree::new();
    pictures(&tree, &["nut/good/0.png", "nut/good/1.png", "bolt/good/2.png", "bolt/good/3.png", "bolt/good/4.png"]);
    tree.write("list.csv", "file,state\nbolt/good/3.png,scratch\n");
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert!(dataset.findings.iter().all(|finding| finding.kind != FindingKind::OtherFiles), "{:?}", dataset.findings);
}

#[test]
fn annotations_that_are_not_read_are_named_and_their_images_are_not_trained_on() {
    const VOC: &str = "<annotation><object><name>dent</name></object></annotation>";
    for (file, content, words) in [
        ("nut/train/labels/{}.txt", "0 .5 .5 .2 .2\n", "YOLO"),
        ("nut/train/good/{}.txt", "0 0.5 0.5 0.2 0.2\n", "YOLO"),
        ("nut/labels/train/{}.txt", "3 1 0 1 0 1 0\n", "YOLO"),
        ("nut/Annotations/{}.xml", VOC, "Pascal VOC"),
    ] {
        let tree = Tree::new();
        categories(&tree);
        ["002", "003"].iter().for_each(|name| drop(tree.write(&file.replace("{}", name), content)));
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let [finding] = &dataset.findings[..] else { panic!("{file}: {:?}", dataset.findings) };
        let folder = file.rsplit_once('/').unwrap().0;
        assert!(finding.kind == FindingKind::LeftOut && finding.message.contains(words), "{finding}");
        assert!(finding.message.contains(&format!("(images: 2; files: 2, the first in {folder})")), "{finding}");
        assert!(finding.message.contains("COCO JSON"), "{finding}");
        assert_eq!(found(&tree).0, ["nut/train/good/002.png", "nut/train/good/003.png"], "{file}");
    }
    let tree = Tree::new();
    categories(&tree);
    let shape = "<polygon label=\"dent\" points=\"0,0;1,1\"/>";
    let images = format!("<image id=\"0\" name=\"002.png\">{shape}</image><image id=\"1\" name=\"003.png\"></image>");
    tree.write("nut/annotations.xml", format!("<annotations>{images}</annotations>"));
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert!(dataset.findings.iter().any(|finding| finding.message.contains("CVAT")), "{:?}", dataset.findings);
    assert_eq!(found(&tree).0, ["nut/train/good/002.png"]);
}

#[test]
fn damaged_annotations_stop_training() {
    let coco = "{\"images\": [{\"id\": 1, \"file_name\": \"002.png\"}], \"annotations\": [{\"image_id\": 1, ";
    for (file, content, is_told) in [
        ("nut/annotations/instances.json", "{\"ima", true),
        ("nut/instances.json", coco, true),
        ("nut/train/good/002.json", "{\"shapes\": [", true),
        ("nut/names.json", "{\"002.png\": \"scr", true),
        ("nut/settings.json", "{\"exposure\": 12", false),
    ] {
        let tree = Tree::new();
        categories(&tree);
        tree.write(file, content);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let is = |finding: &&dualad_data::Finding| finding.kind == FindingKind::Unreadable;
        let found = dataset.findings.iter().find(is);
        assert_eq!(found.is_some(), is_told, "{file}: {:?}", dataset.findings);
        if let Some(finding) = found {
            assert!(
                finding.path.ends_with(file) && finding.message.contains("not complete and valid JSON"),
                "{finding}"
            );
            assert!(finding.message.contains(&*tree.path(file).to_string_lossy()), "{finding}");
        }
    }
}

#[test]
fn tables_that_cannot_be_read_stop_training() {
    const LIMIT: usize = 16 << 20;
    let long = |text: &str| format!("{text}{}", "\n".repeat(LIMIT));
    for (file, content, is_told) in [
        ("nut/labels.csv", long("file,grade\n"), true),
        ("nut/t.csv", long("file,verdict\n002.png,NG\n"), true),
        ("nut/t.csv", "path,label\ntrain/good/002.png,NG,7\n".into(), true),
        ("nut/t.csv", long("time,celsius\n12:00,20\n"), false),
        // It is valid, and says nothing of these images.
        ("nut/labels.csv", long("path,label\nother.png,NG\n"), false),
    ] {
        let tree = Tree::new();
        categories(&tree);
        tree.write(file, &content);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let found = dataset.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable);
        assert_eq!(found.is_some(), is_told, "{file} {:.40}: {:?}", content, dataset.findings);
        assert!(found.is_none_or(|finding| finding.path.ends_with(file)), "{found:?}");
    }
    // One without the permission to read it.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let tree = Tree::new();
        categories(&tree);
        let file = tree.write("nut/labels.csv", "path,label\ntrain/good/002.png,NG\n");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads every file.
        if std::fs::File::open(&file).is_err() {
            let dataset = Dataset::open_products(tree.root()).unwrap();
            assert!(
                dataset.findings.iter().any(|finding| finding.kind == FindingKind::Unreadable && finding.path == file)
            );
        }
    }
}

#[test]
fn empty_texts_and_notes_are_no_labels() {
    let tree = Tree::new();
    categories(&tree);
    tree.write("nut/labels/002.txt", "");
    tree.write("nut/labels/003.txt", "lens 5, lamp 2\n");
    assert_eq!(found(&tree), (vec![], vec![]));
}

#[test]
fn annotations_of_the_product_itself_mark_no_defect() {
    for (image, label, told) in [
        ("test/good/100.png", "nut", None),
        ("test/good/100.png", "Nut ", None),
        ("train/good/003.png", "NUT", Some(FindingKind::UnclearLabel)),
        ("test/good/100.png", "bolt", Some(FindingKind::Contradiction)),
    ] {
        let tree = Tree::new();
        categories(&tree);
        let content = coco(&[image], &[(0, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)]);
        tree.write("nut/annotations.json", content.replace("\"dent\"", &format!("\"{label}\"")));
        assert_eq!(found(&tree), (vec![], told.into_iter().collect()), "{image} {label}");
    }
}
