//! Datasets described by files of COCO.

use crate::support::Tree;
use crate::support::annotated::{coco, images, kinds, marked, paths, pictures};
use dualad_data::{Dataset, Error, FindingKind, Layout, Split};

#[test]
fn roboflow_divides_by_folders() {
    let tree = Tree::new();
    pictures(&tree, &["train/a.png", "train/b.png", "train/c.png", "valid/a.png", "test/d.png", "test/e.png"]);
    let polygon = r#""category_id": 1, "bbox": [2, 1, 3, 2], "segmentation": [[2, 1, 5, 1, 5, 3, 2, 3]]"#;
    let boxed = r#""category_id": 2, "bbox": [0, 0, 2, 1], "segmentation": []"#;
    tree.write("train/_annotations.coco.json", coco(&["a.png", "b.png", "c.png"], &[(1, polygon)]));
    tree.write("valid/_annotations.coco.json", coco(&["a.png"], &[]));
    tree.write("test/_annotations.coco.json", coco(&["d.png", "e.png"], &[(0, polygon), (0, boxed)]));
    tree.write("README.roboflow.txt", "exported");
    assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::Coco);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(paths(&tree, &dataset, Split::Train), ["train/a.png", "train/c.png"]);
    let test = images(&tree, &dataset, Split::Test);
    let test: Vec<(&str, &str)> = test.iter().map(|(path, _, label)| (path.as_str(), label.as_str())).collect();
    let expected = [("test/d.png", "dent+scratch"), ("test/e.png", "-"), ("train/b.png", "dent"), ("valid/a.png", "-")];
    assert_eq!(test, expected);
    let square: Vec<(usize, usize)> = vec![(2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2)];
    assert_eq!(marked(&dataset, "train/b.png"), square);
    assert_eq!(marked(&dataset, "test/d.png"), [&[(0, 0), (1, 0)][..], &square].concat());
    // One annotation is a box, and one anomalous image is in the training part.
    assert_eq!(kinds(&dataset), [FindingKind::Choice, FindingKind::Choice]);
    let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(
        text.contains("without an outline: 1;")
            && text.contains("1 anomalous image of the training part counts as a test image"),
        "{text}"
    );
}

#[test]
fn cvat_and_label_studio_name_images_in_their_own_way() {
    let polygon = r#""category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]], "bbox": [0, 0, 2, 1]"#;
    let normal = r#""category_id": 3, "segmentation": [], "bbox": [0, 0, 8, 4]"#;
    for names in [
        ["a.png", "b.png", "c.png"],
        ["images/a.png", "images/b.png", "images/c.png"],
        ["images\\\\a.png", "images\\\\b.png", "images\\\\c.png"],
        ["../../label-studio/data/media/upload/1/a.png", "/data/upload/1/b.png", "C:\\\\upload\\\\c.png"],
        ["images/1/ab12cd34-a.png", "images/1/00000000-b.png", "0f1e2d3c-c.png"],
    ] {
        for file in ["annotations/instances_default.json", "result.json"] {
            let tree = Tree::new();
            pictures(&tree, &["images/a.png", "images/b.png", "images/c.png"]);
            let file = tree.write(file, coco(&names, &[(1, polygon), (2, normal)]));
            for root in [tree.root(), &file] {
                let dataset = Dataset::open(root).unwrap();
                assert_eq!(dataset.layout, Layout::Coco, "{names:?}");
                let anomalous: Vec<_> = images(&tree, &dataset, Split::Test);
                let anomalous: Vec<_> = anomalous.iter().filter(|image| image.2 != "-").map(|image| &image.0).collect();
                assert_eq!(anomalous, ["images/b.png"]);
                assert_eq!(marked(&dataset, "images/b.png"), [(0, 0), (1, 0)]);
                assert_eq!(dataset.samples(Split::Train).count() + dataset.samples(Split::Test).count(), 3);
            }
        }
    }
}

#[test]
fn run_lengths_are_read_plain_and_compressed() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    // Columns of 4 pixels: the second and third pixel of the first column, and the first of the second.
    let plain =
        r#""category_id": 1, "segmentation": {"counts": [1, 2, 1, 1, 27], "size": [4, 8]}, "bbox": [0, 0, 1, 1]"#;
    // The same lengths: 1, 2, 1, 1 - 2, 27 - 1, in groups of 5 bits.
    let compressed = r#""category_id": 1, "segmentation": {"counts": "121Oj0", "size": [4, 8]}"#;
    tree.write("labels.json", coco(&["a.png", "b.png"], &[(0, plain), (1, compressed)]));
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected = [(0, 1), (0, 2), (1, 0)].map(|(x, y)| (x, y));
    for name in ["a.png", "b.png"] {
        let mut found = marked(&dataset, name);
        found.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn faults_of_coco_are_errors_and_findings() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let open = |images: &[&str], annotations: &[(usize, &str)]| {
        let file = tree.write("labels.json", coco(images, annotations));
        Dataset::open(&file)
    };
    for (annotation, expected) in [
        (r#""segmentation": [[1, 2, 3]]"#, "3 numbers"),
        (r#""segmentation": {"counts": [3], "size": [4, 8]}"#, "3 pixels"),
        (r#""segmentation": {"counts": "~~~", "size": [4, 8]}"#, "damaged"),
        (r#""segmentation": [[1e30, 0, 1, 1, 2, 2]]"#, "beyond"),
        (r#""bbox": [1, 2]"#, "bbox"),
        (r#""bbox": [1, 2, -5, 1]"#, "bbox"),
    ] {
        let error = open(&["a.png", "b.png"], &[(0, annotation)]).unwrap_err();
        assert!(matches!(error, Error::Annotations { .. }) && error.to_string().contains(expected), "{error}");
    }
    let error = open(&["a.png"], &[(7, r#""bbox": [1, 1, 1, 1]"#)]).unwrap_err();
    assert!(error.to_string().contains("image_id 7"), "{error}");
    let error = open(&[".."], &[]).unwrap_err();
    assert!(error.to_string().contains("names no file"), "{error}");
    let file = tree.write("labels.json", "{\"images\": [], \"annotations\": [");
    assert!(matches!(Dataset::open_as(Layout::Coco, &file), Err(Error::Table { .. })));

    // An image that is listed and not there, one that is there and not listed, and shapes for another size.
    let boxed = r#""bbox": [0, 0, 2, 2]"#;
    let findings = kinds(&open(&["a.png", "gone.png"], &[(0, boxed)]).unwrap());
    assert!(findings.contains(&FindingKind::Unreadable) && findings.contains(&FindingKind::LeftOut), "{findings:?}");
    tree.picture("b.png", 9, 4, 7);
    let dataset = open(&["a.png", "b.png"], &[(1, boxed)]).unwrap();
    assert!(kinds(&dataset).contains(&FindingKind::MaskSize));
    let headers = dataset.check().headers_only(true).run().unwrap();
    assert!(headers.findings.iter().any(|finding| finding.kind == FindingKind::MaskSize));
    // A shape outside of its image marks nothing.
    let dataset = open(&["a.png", "b.png"], &[(0, r#""bbox": [50, 50, 2, 2]"#)]).unwrap();
    let report = dataset.check().run().unwrap();
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::EmptyMask).unwrap();
    assert!(finding.path.ends_with("a.png") && finding.message.contains("annotations mark no pixel"), "{finding}");
    assert!(finding.message.contains("(50, 50) to (52, 52), and the image has 8x4 pixels"), "{finding}");
}

#[test]
fn images_that_coco_finds_elsewhere_are_named() {
    let text = |dataset: &Dataset| dataset.findings.iter().map(|finding| format!("{finding}\n")).collect::<String>();
    // One that is listed is missing, and another has its name.
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png", "old/c.png"]);
    for name in ["c.png", "images/c.png"] {
        tree.write("labels.json", coco(&["images/a.png", "images/b.png", name], &[]));
        let dataset = Dataset::open(tree.root()).unwrap();
        let found = text(&dataset);
        assert!(found.contains("in another folder than most") && found.contains("old/c.png"), "{found}");
        assert!(dataset.findings.iter().any(|finding| finding.kind == FindingKind::AmbiguousMask), "{found}");
    }
    tree.write("labels.json", coco(&["images/a.png", "images/b.png"], &[]));
    assert!(!text(&Dataset::open(tree.root()).unwrap()).contains("another folder"));
    // Paths of another machine are found by name, which is told once.
    tree.write("labels.json", coco(&["/data/1/a.png", "/data/1/b.png"], &[]));
    let found = text(&Dataset::open(tree.root()).unwrap());
    assert!(found.contains("found by name: 2 (such as \"data/1/a.png\""), "{found}");
    // An image cannot be two.
    tree.write("labels.json", coco(&["images/a.png", "test/a.png"], &[]));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("both stand for") && error.contains("test/a.png"), "{error}");
    // The images of a folder `train` are not those of another.
    let tree = Tree::new();
    pictures(&tree, &["valid/a.png", "train/b.png"]);
    tree.write("train/_annotations.coco.json", coco(&["a.png"], &[]));
    let found = text(&Dataset::open(tree.root()).unwrap());
    assert!(found.contains("found by name: 1") && found.contains("valid/a.png"), "{found}");
    // Letters with accents have two spellings.
    let tree = Tree::new();
    pictures(&tree, &["geh\u{e4}use/ro\u{308}hre.png", "a.png"]);
    tree.write("labels.json", coco(&["geha\u{308}use/r\u{f6}hre.png"], &[(0, r#""bbox": [0, 0, 2, 2]"#)]));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert!(dataset.samples(Split::Test).next().unwrap().path.exists());
}

#[test]
fn files_of_coco_are_bounded_while_they_are_read() {
    let tree = Tree::new();
    pictures(&tree, &["a.png"]);
    let open = |annotation: &str| {
        tree.write("labels.json", coco(&["a.png"], &[(0, annotation)]));
        assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::Coco);
        Dataset::open(tree.root())
    };
    // Short texts that stand for much memory.
    let many = format!(r#""segmentation": [{}[]]"#, "[],".repeat(9 << 20));
    let error = open(&many).unwrap_err().to_string();
    assert!(error.contains("more than 256 MiB of memory") && error.contains("divide the file"), "{error}");
    let error = open(r#""segmentation": {"counts": {}, "size": [4, 8]}"#).unwrap_err().to_string();
    assert!(error.contains("run lengths"), "{error}");
    // A file that ends in the middle, and one that is too large, are not passed over.
    let file = tree.write("labels.json", r#"{"images": [], "annotations": [{"image_id": 1,"#);
    assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::Coco);
    assert!(matches!(Dataset::open(tree.root()), Err(Error::Table { .. })));
    let content = coco(&["a.png"], &[]);
    std::fs::write(&file, &content).unwrap();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len((256 << 20) + 1).unwrap();
    assert!(matches!(Dataset::open(tree.root()), Err(Error::TooLarge { .. })));
}

#[cfg(unix)]
#[test]
fn links_in_circles_are_followed_once() {
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png"]);
    for link in 0..40 {
        std::os::unix::fs::symlink(tree.root(), tree.path(&format!("images/link{link}"))).unwrap();
    }
    tree.write("labels.json", coco(&["a.png", "b.png"], &[(1, r#""bbox": [1, 1, 2, 2]"#)]));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(paths(&tree, &dataset, Split::Train), ["images/a.png"]);
    assert_eq!(paths(&tree, &dataset, Split::Test), ["images/b.png"]);
}

#[test]
fn a_folder_of_annotations_alone_has_its_images_above_it() {
    let dent = r#""category_id": 1, "bbox": [0, 0, 2, 2]"#;
    for (file, name) in [
        ("export/result.json", "a.png"),
        ("export/result.json", "images/a.png"),
        ("annotations/instances.json", "../images/a.png"),
        ("export/coco/result.json", "images/a.png"),
        ("labels/a.json", "/somewhere/images/a.png"),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["data/images/a.png", "data/images/b.png"]);
        let names = [name, &name.replace("a.png", "b.png")];
        let names = if file.starts_with("labels") { ["images/a.png", "images/b.png"] } else { names };
        let path = tree.write(&format!("data/{file}"), coco(&names, &[(1, dent)]));
        let folder = path.parent().unwrap();
        let mut opened = vec![path.as_path(), folder];
        if file.matches('/').count() == 1 {
            opened.push(folder.parent().unwrap());
        }
        for opened in opened {
            let dataset = Dataset::open(opened).unwrap();
            assert_eq!(paths(&tree, &dataset, Split::Test), ["data/images/b.png"], "{} {name}", opened.display());
            assert_eq!(dataset.categories[0].name, "data");
            assert!(!dataset.check().run().unwrap().is_fatal(), "{}", opened.display());
        }
    }
    // CVAT's own export: the folder of images has the name of the file.
    let tree = Tree::new();
    pictures(&tree, &["data/images/default/a.png", "data/images/default/b.png"]);
    let file = tree.write("data/annotations/instances_default.json", coco(&["a.png", "b.png"], &[(1, dent)]));
    for opened in [file.as_path(), file.parent().unwrap(), &tree.root().join("data")] {
        let dataset = Dataset::open(opened).unwrap();
        assert_eq!(paths(&tree, &dataset, Split::Test), ["data/images/default/b.png"], "{}", opened.display());
    }
    let tree = Tree::new();
    let images: Vec<String> = (0..16).map(|index| format!("{index}.png")).collect();
    let names: Vec<&str> = images.iter().map(String::as_str).collect();
    let path = tree.write("data/export/result.json", coco(&names, &[(1, dent)]));
    for opened in [path.as_path(), path.parent().unwrap()] {
        let error = Dataset::open(opened).unwrap_err().to_string();
        assert!(error.contains("none of its 16 images") && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn what_files_leave_in_doubt_is_told() {
    let boxed = |bbox: &str| coco(&["a.png", "b.png"], &[(1, &format!(r#""category_id": 1, "bbox": {bbox}"#))]);
    let open = |content: &str| {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png"]);
        tree.write("annotations.json", content);
        Dataset::open(tree.root())
    };
    // Shares of the size of the image.
    for shares in ["[0.1, 0.1, 0.2, 0.2]", "[0, 0.5, 1, 0.5]"] {
        let error = open(&boxed(shares)).unwrap_err().to_string();
        assert!(error.contains("values from 0 to 1") && error.contains("multiply"), "{error}");
    }
    let polygon =
        coco(&["a.png", "b.png"], &[(1, r#""category_id": 1, "segmentation": [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]"#)]);
    assert!(open(&polygon).is_err());
    let messages = |content: &str, kind: FindingKind| {
        let dataset = open(content).unwrap();
        let found = dataset.findings.iter().filter(|finding| finding.kind == kind);
        found.map(|finding| finding.message.clone()).collect::<Vec<_>>()
    };
    // Pixels, which may be few.
    for pixels in ["[0, 0, 1, 1]", "[0.5, 0.5, 3.5, 2]"] {
        assert!(messages(&boxed(pixels), FindingKind::UnclearLabel).is_empty());
    }
    let found = messages(&boxed("[2, 2, 0, 0]"), FindingKind::UnclearLabel);
    assert!(found.len() == 1 && found[0].contains("boxes without an area: 1"), "{found:?}");
    let found = messages(&coco(&["a.png", "b.png"], &[]), FindingKind::Choice);
    assert!(found.iter().any(|note| note.contains("so all count as normal: 2")), "{found:?}");
    assert!(
        !messages(&boxed("[1, 1, 2, 2]"), FindingKind::Choice).iter().any(|note| note.contains("all count as normal"))
    );
    // One image in two splits.
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png"]);
    tree.write("annotations/train.json", boxed("[1, 1, 2, 2]"));
    tree.write("annotations/val.json", coco(&["a.png", "b.png"], &[]));
    let dataset = Dataset::open(tree.root()).unwrap();
    let found: Vec<_> = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::Duplicate).collect();
    let [finding] = found[..] else { panic!("{:?}", dataset.findings) };
    assert!(finding.message.contains("splits: 2 (such as images/a.png, in train.json and in val.json)"), "{finding}");
}

#[test]
fn a_file_of_which_each_image_has_a_defect_says_by_which_words() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let of = |category: u32| format!(r#""bbox": [0, 0, 2, 2], "category_id": {category}"#);
    tree.write("labels.json", coco(&["a.png", "b.png"], &[(0, &of(1)), (0, &of(2)), (1, &of(2))]));
    let dataset = Dataset::open(tree.root()).unwrap();
    let report = dataset.check().run().unwrap();
    let fatal = report.findings.iter().find(|finding| finding.kind == FindingKind::NoNormalImages).unwrap();
    assert!(fatal.message.contains("none counts as normal"), "{fatal}");
    assert!(fatal.message.contains(" in 2"), "{fatal}");
}

#[test]
fn images_that_are_listed_and_not_there_are_named_as_the_file_does() {
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png"]);
    tree.write("annotations/x.json", coco(&["a.png", "b.png", "gone/c.png"], &[]));
    let dataset = Dataset::open(tree.root()).unwrap();
    let found = dataset.findings.iter().find(|finding| finding.path.ends_with("x.json")).unwrap();
    assert!(found.message.contains("are not in") && found.message.contains("1 (gone/c.png)"), "{found}");
}

#[test]
fn two_categories_with_one_id_are_an_error() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let text = coco(&["a.png", "b.png"], &[(0, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)]);
    tree.write("a.json", text.replace(r#"{"id": 3, "name": "OK"}"#, r#"{"id": 1, "name": "OK"}"#));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains(r#"the categories "dent" and "OK" both have the id 1"#), "{error}");
}

#[test]
fn missing_images_are_expected_where_the_others_lie() {
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png"]);
    for (names, expected) in [
        (["a.png", "b.png", "c.png"], "images/c.png"),
        (["images/a.png", "images/b.png", "images/sub/c.png"], "images/sub/c.png"),
        (["/data/1/a.png", "/data/1/b.png", "/data/1/c.png"], "images/c.png"),
    ] {
        tree.write("annotations/x.json", coco(&names, &[]));
        let dataset = Dataset::open(tree.root()).unwrap();
        let mut samples = dataset.categories[0].samples.iter();
        assert!(samples.any(|sample| sample.path == tree.root().join(expected)), "{names:?}");
        let note =
            dataset.findings.iter().find(|finding| finding.message.contains("that it lists are not in")).unwrap();
        assert!(note.message.contains("nor in the folders in it, of which 6 levels are searched: 1"), "{note}");
    }
}

#[test]
fn a_file_that_lists_images_alone_is_named() {
    let text = coco(&["a.png", "b.png"], &[]).replace("\"annotations\": []", "\"x\": []");
    for file in ["annotations/x.json", "x.json", "train/x.json"] {
        let tree = Tree::new();
        pictures(&tree, &["images/a.png", "images/b.png"]);
        let path = tree.write(file, &text);
        for opened in [tree.root(), path.parent().unwrap(), &path] {
            let error = Dataset::open(opened).unwrap_err().to_string();
            assert!(error.contains("x.json") && error.contains("no list \"annotations\""), "{file}: {error}");
        }
        let products = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(products.contains("x.json") && products.contains("no list \"annotations\""), "{file}: {products}");
    }
}

#[test]
fn images_in_the_sixth_folder_are_found() {
    for (folders, is_found) in [("a/b/c/d/e/f", true), ("a/b/c/d/e/f/g", false)] {
        let tree = Tree::new();
        let images: Vec<String> =
            (0..2).map(|id| format!(r#"{{"id": {id}, "file_name": "{id}.png", "width": 8, "height": 8}}"#)).collect();
        (0..2).for_each(|seed| drop(tree.picture(&format!("{folders}/{seed}.png"), 8, 8, seed)));
        let json = format!(r#"{{"images": [{}], "annotations": [], "categories": []}}"#, images.join(", "));
        tree.write("i.json", json);
        match Dataset::open(tree.root()) {
            Ok(dataset) => assert!(is_found && dataset.categories[0].samples.iter().all(|s| s.path.is_file())),
            Err(error) => assert!(!is_found && error.to_string().contains("within 6 folders below it"), "{error}"),
        }
    }
}

#[test]
fn names_of_categories_that_may_mean_no_defect_are_told() {
    let open = |name: &str| {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png", "c.png", "d.png"]);
        let of = |category: u32| format!(r#""bbox": [0, 0, 2, 2], "category_id": {category}"#);
        let text = coco(&["a.png", "b.png", "c.png", "d.png"], &[(0, &of(1)), (1, &of(2))]);
        tree.write("a.json", text.replace("\"scratch\"", &format!("\"{name}\"")));
        let dataset = Dataset::open(tree.root()).unwrap();
        let warned = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::UnclearLabel);
        let warned = warned.map(|finding| finding.message.clone()).collect::<String>();
        (dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count(), warned)
    };
    for name in ["background", "_background_", "Background", "good"] {
        assert_eq!(open(name), (1, String::new()), "{name}");
    }
    for name in ["None", "negative", "OK part", "normal area", "ignore"] {
        let (count, warned) = open(name);
        assert!(count == 2 && warned.contains(&format!("\"{name}\" in 1")), "{name}: {warned}");
    }
    assert_eq!(open("cut"), (2, String::new()));
}

#[test]
fn a_single_shape_in_shares_is_an_error() {
    let open = |annotations: &[(usize, &str)]| {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png", "c.png"]);
        Dataset::open(tree.write("a.json", coco(&["a.png", "b.png", "c.png"], annotations)))
    };
    let pixels = r#""bbox": [1, 1, 3, 2], "segmentation": [[1, 1, 4, 1, 4, 3]]"#;
    let shares = r#""bbox": [1, 1, 3, 2], "segmentation": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]]"#;
    for annotations in
        [&[(1, shares)][..], &[(0, pixels), (1, shares)], &[(0, pixels), (1, r#""bbox": [0.1, 0.2, 0.3, 0.1]"#)]]
    {
        let error = open(annotations).unwrap_err().to_string();
        assert!(error.contains("values from 0 to 1 in an annotation of the image 1, but those of COCO"), "{error}");
    }
    // A box without an outline, run lengths, and a polygon of which one corner is in the first pixel.
    let runs = r#""bbox": [0.1, 0.2, 0.5, 0.5], "segmentation": {"counts": [1, 2, 29], "size": [4, 8]}"#;
    let corner = r#""bbox": [0.5, 0.5, 1, 1], "segmentation": [[0.5, 0.5, 1.5, 0.5, 1, 1.5]]"#;
    assert!(open(&[(0, runs), (1, corner)]).is_ok());
}

#[test]
fn images_under_almost_the_same_name_are_told() {
    let open = |names: &[&str]| {
        let tree = Tree::new();
        pictures(&tree, &["images/000.png", "images/my part.png"]);
        tree.write("a.json", coco(names, &[]));
        Dataset::open(tree.root())
    };
    for (name, found) in [("000.PNG", "images/000.png"), ("my%20part.png", "images/my part.png")] {
        let error = open(&[name]).unwrap_err().to_string().replace('\\', "/");
        assert!(error.contains(&format!("(such as \"{name}\", found at {found})")), "{error}");
    }
    let dataset = open(&["000.png", "my%20part.png"]).unwrap();
    let text: String = dataset.findings.iter().map(|finding| finding.message.replace('\\', "/")).collect();
    assert!(text.contains("(my%20part.png, found at images/my part.png)"), "{text}");
}

#[test]
fn faults_of_shapes_name_the_image() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    for shape in
        [r#""segmentation": {"counts": [30000], "size": [4, 8]}"#, r#""segmentation": [[1e30, 0, 1, 1, 2, 2]]"#]
    {
        let file = tree.write("a.json", coco(&["a.png", "b.png"], &[(1, shape)]));
        let error = Dataset::open(file).unwrap_err().to_string();
        assert!(error.contains("the annotations of ") && error.contains("b.png: "), "{error}");
    }
    // A fault that is found when they are drawn.
    tree.picture("b.png", 128, 128, 1);
    let boxed = (1, r#""bbox": [0, 0, 128, 128]"#);
    let text = coco(&["a.png", "b.png"], &[boxed; 70]).replace(r#""width": 8, "height": 4,"#, "");
    let report = Dataset::open(tree.write("a.json", text)).unwrap().check().run().unwrap();
    let found = report.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).unwrap().to_string();
    assert!(found.contains("b.png: the shapes of an image together cover it more than 64 times"), "{found}");
}
