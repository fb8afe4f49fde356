//! Datasets described by tables, COCO and LabelMe files.

mod support;

use dualad_data::image::Limits;
use dualad_data::{Dataset, Error, FindingKind, Label, Layout, Sample, Split};
use support::Tree;

/// Returns the images of a split with their categories and labels; `-` for a normal image.
fn images(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<(String, String, String)> {
    let root = tree.root().canonicalize().unwrap();
    let one = |sample: &Sample| {
        let path = sample.path.canonicalize().unwrap();
        let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let label = match &sample.label {
            Label::Normal => "-".to_string(),
            Label::Anomalous(kind) => kind.clone(),
        };
        (path, sample.category.clone(), label)
    };
    dataset.samples(split).map(one).collect()
}

fn paths(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<String> {
    images(tree, dataset, split).into_iter().map(|image| image.0).collect()
}

/// Returns the marked pixels of an image as `x,y`.
fn marked(dataset: &Dataset, name: &str) -> Vec<(usize, usize)> {
    let mut samples = dataset.categories.iter().flat_map(|category| &category.samples);
    let sample = samples.find(|sample| sample.path.ends_with(name)).unwrap();
    let size = dualad_data::image::Picture::read_size(&sample.path, &Limits::default()).unwrap();
    let mask = sample.read_mask(size, &Limits::default()).unwrap().unwrap();
    let width = size.0 as usize;
    let all = mask.pixels().iter().enumerate().filter(|(_, pixel)| **pixel != 0);
    all.map(|(index, _)| (index % width, index / width)).collect()
}

fn kinds(dataset: &Dataset) -> Vec<FindingKind> {
    let report = dataset.check().threads(1).run().unwrap();
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// Writes pictures of 8 x 4 pixels that differ.
fn pictures(tree: &Tree, names: &[&str]) {
    for (seed, name) in names.iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
}

#[test]
fn a_csv_table_names_the_images() {
    let tree = Tree::new();
    pictures(&tree, &["img/a.png", "img/b.png", "img/c.png", "img/d.png", "e.png"]);
    tree.mask("masks/c.png", 8, 4, 1);
    let table = "\u{feff}Path;category;label;split;mask;camera\r\n\
                 img/a.png;nut;good;train;;1\r\n\
                 img\\b.png;nut;OK;test;;1\r\n\
                 ./img/c.png;nut;dent;test;masks/c.png;2\r\n\
                 img/d.png;bolt;normal;train;masks/none.png;2\r\n\
                 e.png;bolt;scratch;valid;;2\r\n";
    let file = tree.write("parts.csv", table);
    for root in [tree.root(), &file] {
        assert_eq!(Layout::detect(root).unwrap(), Layout::Table);
        let dataset = Dataset::open(root).unwrap();
        let of = |path: &str, category: &str, label: &str| (path.to_string(), category.to_string(), label.to_string());
        let train = images(&tree, &dataset, Split::Train);
        assert_eq!(train, [of("img/d.png", "bolt", "-"), of("img/a.png", "nut", "-")]);
        let test = images(&tree, &dataset, Split::Test);
        let expected = [of("e.png", "bolt", "scratch"), of("img/b.png", "nut", "-"), of("img/c.png", "nut", "dent")];
        assert_eq!(test, expected);
        assert_eq!(marked(&dataset, "img/c.png").len(), 16, "a mask of 0 and 1");
        assert_eq!(kinds(&dataset), [FindingKind::MissingMask, FindingKind::NoNormalTests]);
    }
}

#[test]
fn json_lines_and_the_columns_of_anomalib_are_read() {
    let tree = Tree::new();
    let names: Vec<String> = (0..12).map(|index| format!("{index:02}.png")).collect();
    names.iter().enumerate().for_each(|(seed, name)| drop(tree.picture(name, 8, 4, seed as u32)));
    tree.mask("11_mask.png", 8, 4, 255);
    // Without a split, normal images named "normal_test" are tested on.
    let mut lines = String::new();
    for (index, name) in names.iter().enumerate() {
        let (label, anomalous) = if index == 11 {
            ("abnormal", 1)
        } else if index == 10 {
            ("normal_test", 0)
        } else {
            ("normal", 0)
        };
        let mask = if anomalous == 1 { "\"11_mask.png\"" } else { "null" };
        lines += &format!(
            "{{\"image_path\": \"{name}\", \"label\": \"{label}\", \"label_index\": {anomalous}, \"mask_path\": {mask}}}\n\n"
        );
    }
    tree.write("samples.jsonl", &lines);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::Table);
    assert_eq!(paths(&tree, &dataset, Split::Test), ["10.png", "11.png"]);
    assert_eq!(dataset.samples(Split::Train).count(), 10);
    assert_eq!(kinds(&dataset), []);

    // With nothing that divides them, a share of the normal images is chosen, and told.
    tree.write("samples.jsonl", lines.replace("normal_test", "normal"));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!((dataset.samples(Split::Train).count(), dataset.samples(Split::Test).count()), (8, 4));
    assert_eq!(kinds(&dataset), [FindingKind::Choice]);
    assert_eq!(paths(&tree, &Dataset::open(tree.root()).unwrap(), Split::Test), paths(&tree, &dataset, Split::Test));

    // The index alone is enough, and a whole path is one in the folder.
    let whole = tree.root().join("11.png").to_str().unwrap().replace('\\', "/");
    tree.write(
        "samples.jsonl",
        format!("{{\"path\":\"00.png\",\"label_index\":0}}\n{{\"path\":\"{whole}\",\"label_index\":1}}"),
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(paths(&tree, &dataset, Split::Test), ["11.png"]);
}

#[test]
fn faults_of_tables_name_line_and_column() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let message = |name: &str, content: &str| {
        let file = tree.write(name, content);
        let error = Dataset::open(&file).unwrap_err();
        assert!(matches!(error, Error::Table { .. }), "{error}");
        std::fs::remove_file(file).unwrap();
        error.to_string()
    };
    for (content, expected) in [
        ("path,label\na.png,good\n../b.png,good\n", "line 3: column path"),
        ("path,label\n/etc/passwd,good\n", "line 2: column path"),
        ("path,label\na.png,\n", "line 2: column label is empty"),
        ("path,label,label_index\na.png,good,1\n", "line 2: column label is \"good\", but column label_index is 1"),
        ("path,label,label_index\na.png,,2\n", "line 2: column label_index is \"2\""),
        ("path,label,split\na.png,good,train\nb.png,good,\n", "line 3: column split is empty"),
        ("path,label,split\na.png,good,holdout\n", "line 2: column split is \"holdout\"; write train"),
        ("path,label,mask\na.png,dent,../x.png\n", "line 2: column mask"),
        ("path,label,category\na.png,dent,../x\n", "line 2: column category"),
        ("path,split\na.png,train\n", "line 1: there is no column \"label\""),
        ("label,split\ngood,train\n", "line 1: there is no column \"path\""),
        ("path,label\na.png\n", "line 2: 1 fields"),
    ] {
        let message = message("t.csv", content);
        assert!(message.contains(expected), "{message}");
    }
    for (content, expected) in [
        ("{\"path\": \"a.png\", \"label\": [1]}", "line 1: \"label\" is a list"),
        ("\n\n{\"path\": \"a.png\",", "line 3: it is not complete"),
        ("[1]", "line 1: it does not have the expected content"),
    ] {
        let message = message("t.jsonl", content);
        assert!(message.contains(expected), "{message}");
    }
    // A row may be repeated, but not with another label.
    assert!(message("t.csv", "path,label\na.png,good\na.png,dent\n").contains("line 2 has another label"));
    let file = tree.write("t.csv", "path,label\na.png,good\na.png,ok\nb.png,good\n");
    let dataset = Dataset::open(&file).unwrap();
    assert!(dataset.findings.iter().any(|finding| finding.kind == FindingKind::Duplicate));
    assert_eq!(dataset.samples(Split::Train).chain(dataset.samples(Split::Test)).count(), 2);
    // Two tables are not guessed from.
    tree.write("u.csv", "path,label\na.png,good\n");
    let error = Dataset::open_as(Layout::Table, tree.root()).unwrap_err().to_string();
    assert!(error.contains("2 tables"), "{error}");
    // A table beside categories does not change how these are read.
    pictures(&tree, &["c/train/good/a.png", "c/test/good/b.png"]);
    assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::Mvtec);
    // A file of another kind is no dataset.
    assert!(matches!(Layout::detect(tree.write("a.txt", "path,label")), Err(Error::Layout { .. })));
}

/// Returns COCO's JSON of these images and annotations, each image with its index as identifier.
fn coco(images: &[&str], annotations: &[(usize, &str)]) -> String {
    let image = |(id, name): (usize, &&str)| {
        format!(r#"{{"id": {id}, "file_name": "{name}", "width": 8, "height": 4, "license": 1, "date_captured": 0}}"#)
    };
    let images: Vec<String> = images.iter().enumerate().map(image).collect();
    let annotation = |(id, (image, rest)): (usize, &(usize, &str))| {
        format!(r#"{{"id": {id}, "image_id": {image}, "iscrowd": 0, "area": 4, {rest}}}"#)
    };
    let annotations: Vec<String> = annotations.iter().enumerate().map(annotation).collect();
    format!(
        r#"{{"info": {{"year": "2026"}}, "licenses": [{{"name": "", "id": 0, "url": ""}}],
            "categories": [{{"id": 0, "name": "defects", "supercategory": "none"}}, {{"id": 1, "name": "dent"}},
                           {{"id": 2, "name": "scratch"}}, {{"id": 3, "name": "OK"}}],
            "images": [{}], "annotations": [{}]}}"#,
        images.join(", "),
        annotations.join(", ")
    )
}

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
    assert!(text.contains("without an outline: 1;") && text.contains("1 anomalous image is"), "{text}");
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
}

fn labelme(shapes: &str) -> String {
    format!(
        r#"{{"version": "5.5.0", "flags": {{}}, "shapes": [{shapes}], "imagePath": "x.png", "imageData": "iVBORw0KGgo=",
            "imageHeight": 4, "imageWidth": 8}}"#
    )
}

#[test]
fn labelme_is_read_beside_the_images() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g.png"]);
    let shape = |label: &str, kind: &str, points: &str| {
        format!(
            r#"{{"label": "{label}", "points": [{points}], "group_id": null, "shape_type": "{kind}", "flags": {{}}}}"#
        )
    };
    let polygon = shape("dent", "polygon", "[1, 1], [3, 1], [3, 2], [1, 2]");
    let rectangle = shape("scratch", "rectangle", "[8.0, 4.0], [7.0, 3.0]");
    tree.write("a.json", labelme(&[polygon, rectangle].join(", ")));
    tree.write("b.json", labelme(&shape("dent", "circle", "[4, 2], [4, 2.8]")));
    tree.write("c.json", labelme(&shape("cut", "linestrip", "[0.5, 0.5], [2.5, 0.5], [2.5, 1.5]")));
    tree.write("d.json", labelme(&shape("OK", "rectangle", "[0, 0], [8, 4]")));
    tree.write("e.json", labelme(""));
    tree.write("unknown.json", labelme(""));
    tree.write("settings.json", "{}");
    assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::LabelMe);
    let dataset = Dataset::open(tree.root()).unwrap();
    let anomalous: Vec<_> = images(&tree, &dataset, Split::Test).into_iter().filter(|image| image.2 != "-").collect();
    let anomalous: Vec<_> = anomalous.iter().map(|(path, _, label)| (path.as_str(), label.as_str())).collect();
    assert_eq!(anomalous, [("a.png", "dent+scratch"), ("b.png", "dent"), ("c.png", "cut")]);
    assert_eq!(marked(&dataset, "a.png"), [(1, 1), (2, 1), (7, 3)]);
    assert_eq!(marked(&dataset, "b.png"), [(3, 1), (4, 1), (3, 2), (4, 2)]);
    assert_eq!(marked(&dataset, "c.png"), [(0, 0), (1, 0), (2, 0), (2, 1)]);
    assert_eq!(kinds(&dataset), [FindingKind::UnpairedMask, FindingKind::Choice, FindingKind::Choice]);
    let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(text.contains("without annotations beside them: 2;") && text.contains("1 of its 4 normal"), "{text}");

    tree.write("g.json", labelme(&shape("dent", "brush", "[0, 0]")));
    let error = Dataset::open(tree.root()).unwrap_err();
    assert!(error.to_string().contains("type brush") && error.to_string().contains("g.json"), "{error}");
    tree.write("g.json", labelme(&shape("dent", "circle", "[0, 0]")));
    assert!(Dataset::open(tree.root()).unwrap_err().to_string().contains("1 points"));
}

#[test]
fn images_that_nothing_describes_are_left_out_and_named() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "vis/a.png", "images/c.png"]);
    tree.write("b.json", labelme(r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#));
    let dataset = Dataset::open(tree.root()).unwrap();
    let mut all = [paths(&tree, &dataset, Split::Train), paths(&tree, &dataset, Split::Test)].concat();
    all.sort();
    assert_eq!((dataset.layout, all), (Layout::LabelMe, ["a.png", "b.png", "images/c.png"].map(String::from).to_vec()));
    let left_out = |dataset: &Dataset| {
        let findings = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::LeftOut);
        findings.map(|finding| finding.to_string()).collect::<Vec<_>>()
    };
    assert!(left_out(&dataset).len() == 1 && left_out(&dataset)[0].contains("vis: 1 image in it is left out"));
    let file = tree.write("t.csv", "path,label,mask\na.png,good,\nimages/c.png,good,vis/a.png\n");
    let found = left_out(&Dataset::open(&file).unwrap());
    assert!(
        found.len() == 1 && found[0].contains("1 image in it is left out") && found[0].contains("t.csv"),
        "{found:?}"
    );
}

#[test]
fn products_and_splits_may_be_folders() {
    let tree = Tree::new();
    pictures(&tree, &["nut/train/a.png", "nut/test/a.png", "nut/test/b.png", "bolt/a.png", "bolt/b.png"]);
    let boxed = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;
    tree.write("nut/test/a.json", labelme(boxed));
    tree.write("bolt/b.json", labelme(boxed));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::LabelMe);
    let names: Vec<&str> = dataset.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["bolt", "nut"]);
    assert_eq!(paths(&tree, &dataset, Split::Train), ["bolt/a.png", "nut/train/a.png"]);
    assert_eq!(paths(&tree, &dataset, Split::Test), ["bolt/b.png", "nut/test/a.png", "nut/test/b.png"]);
}

#[test]
fn labelme_files_belong_to_images_by_name_or_by_their_path() {
    let drawn = |path: &str| {
        let shape = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;
        labelme(shape).replace("x.png", path)
    };
    // An ending in capitals, an accent in two spellings, a path of another folder, and one of two images of a stem.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "geh\u{e4}use.png", "c.png", "d.png", "d.jpg", "e.png", "f.png"]);
    tree.write("a.JSON", drawn("a.png"));
    tree.write("geha\u{308}use.json", drawn("geha\u{308}use.png"));
    tree.write("label_7.json", drawn("..\\\\images\\\\c.png"));
    tree.write("d.Json", drawn("d.jpg"));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::LabelMe);
    let samples = || dataset.categories.iter().flat_map(|category| &category.samples);
    let anomalous = samples().filter(|sample| sample.label.is_anomalous());
    let mut names: Vec<_> = anomalous.map(|sample| sample.path.file_name().unwrap().to_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a.png", "c.png", "d.jpg", "geh\u{e4}use.png"]);
    assert!(dataset.findings.iter().all(|finding| finding.kind == FindingKind::Choice), "{:?}", dataset.findings);
    // A second file of an image is named.
    tree.write("a-2.json", drawn("a.png"));
    let dataset = Dataset::open(tree.root()).unwrap();
    let found: Vec<_> = dataset.findings.iter().filter(|f| f.kind == FindingKind::AmbiguousMask).collect();
    assert!(found.len() == 1 && found[0].path.ends_with("a-2.json"), "{found:?}");
    assert!(found[0].message.contains("a.JSON annotates"), "{found:?}");

    // Masks beside the images are no images.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.jpg", "c.png"]);
    tree.write("a.json", drawn("a.png"));
    tree.mask("a_mask.png", 8, 4, 255);
    tree.mask("b.png", 8, 4, 0);
    let dataset = Dataset::open(tree.root()).unwrap();
    let mut all = [paths(&tree, &dataset, Split::Train), paths(&tree, &dataset, Split::Test)].concat();
    all.sort();
    assert_eq!(all, ["a.png", "b.jpg", "c.png"]);
}

#[test]
fn folders_of_defective_images_hold_no_normal_ones() {
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png", "ng/c.png", "ng/d.png"]);
    let boxed = r#""bbox": [0, 0, 2, 2]"#;
    tree.write("labels.json", coco(&["images/a.png", "images/b.png", "ng/c.png", "ng/d.png"], &[(2, boxed)]));
    let of_coco = Dataset::open(tree.root()).unwrap();
    let other = Tree::new();
    pictures(&other, &["gear/a.png", "gear_nok/c.png", "gear_nok/d.png"]);
    let drawn = labelme(r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#);
    other.write("gear_nok/c.json", &drawn);
    other.write("gear/a.json", labelme(""));
    let of_labelme = Dataset::open(other.root()).unwrap();
    assert_eq!((of_coco.layout, of_labelme.layout), (Layout::Coco, Layout::LabelMe));
    for (dataset, name) in [(of_coco, "ng"), (of_labelme, "gear_nok")] {
        let samples = || dataset.categories.iter().flat_map(|category| &category.samples);
        let d = samples().find(|sample| sample.path.ends_with("d.png")).unwrap();
        assert_eq!((&d.label, d.split), (&Label::Anomalous(name.into()), Split::Test));
        let finding = dataset.findings.iter().find(|finding| finding.kind == FindingKind::UnclearLabel).unwrap();
        assert!(finding.message.contains("defective by name: 1 (such as"), "{finding}");
    }
    // The name of a single dataset may mean anything.
    pictures(&tree, &["anomaly/a.png", "anomaly/b.png"]);
    tree.write("anomaly/labels.json", coco(&["a.png", "b.png"], &[(0, boxed)]));
    let dataset = Dataset::open(tree.root().join("anomaly")).unwrap();
    assert_eq!(paths(&tree, &dataset, Split::Train), ["anomaly/b.png"]);
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
    assert!(error.contains("more than 67108864 values") && error.contains("divide the file"), "{error}");
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

#[test]
fn products_without_annotations_beside_others_are_named() {
    let boxed = r#""bbox": [0, 0, 2, 2]"#;
    let drawn = labelme(r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#);
    for (file, content, layout) in
        [("labels.json", coco(&["a.png"], &[(0, boxed)]), Layout::Coco), ("a.json", drawn, Layout::LabelMe)]
    {
        let tree = Tree::new();
        pictures(&tree, &["nut/a.png", "bolt/b.png", "bolt/c.png", "lid/train/d.png", "cover.png"]);
        tree.write(&format!("nut/{file}"), content);
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!((dataset.layout, dataset.categories.len()), (layout, 1));
        let findings = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::LeftOut);
        let found: Vec<String> = findings.map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for expected in ["bolt: 2 images", "lid: 1 image", "1 image in it is left out: they belong to no folder"] {
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
    }
    // Folders that a table does not name.
    let tree = Tree::new();
    pictures(&tree, &["nut/a.png", "bolt/b.png", "bolt/new/c.png"]);
    tree.mask("masks/a.png", 8, 4, 255);
    tree.write("t.csv", "path,label\nnut/a.png,good\n");
    let dataset = Dataset::open(tree.root()).unwrap();
    let found: Vec<String> = dataset.findings.iter().map(ToString::to_string).collect();
    assert!(found.iter().any(|line| line.contains("bolt: 2 images") && line.contains("t.csv")), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("masks")), "{found:?}");
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
fn a_foreign_file_among_the_annotations_is_named() {
    let tree = Tree::new();
    pictures(&tree, &["000.png", "a.png", "b.png"]);
    tree.write("000.json", r#"{"fps": 3}"#);
    let circle = r#"{"label": "dent", "points": [[4, 2], [4, 2.8]], "shape_type": "circle"}"#;
    tree.write("a.json", labelme(circle));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("000.json") && error.contains("shapes"), "{error}");
}

#[test]
fn labels_that_are_not_read_are_named() {
    for file in ["labels.csv", "result.json", "annotations.xml", "data.xlsx", "a.txt", "a.json"] {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png"]);
        tree.write(file, "not read");
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!((dataset.layout, dataset.findings.len()), (Layout::Folder, 1), "{file}: {:?}", dataset.findings);
        let finding = &dataset.findings[0];
        assert!(finding.kind == FindingKind::LeftOut && finding.to_string().contains(file), "{finding}");
    }
    // Notes are no labels, and a folder named so has normal images only.
    for (image, file) in [("a.png", "notes.txt"), ("good/a.png", "good/labels.csv")] {
        let tree = Tree::new();
        pictures(&tree, &[image]);
        tree.write(file, "not read");
        let dataset = Dataset::open(tree.root()).unwrap();
        let is_note = |finding: &dualad_data::Finding| finding.kind == FindingKind::OtherFiles;
        assert!(dataset.findings.iter().all(is_note), "{file}: {:?}", dataset.findings);
    }
}

#[test]
fn contradictions_are_errors() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    tree.write("t.csv", "path,label\na.png,normal\nb.png,normal\na.png,dent\n");
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("line 2 has another label") && error.contains('4'), "{error}");

    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let images = r#"{"id": 9, "file_name": "a.png", "width": 8, "height": 4}, {"id": 9, "file_name": "b.png", "width": 8, "height": 4}"#;
    tree.write("coco.json", format!(r#"{{"images": [{images}], "annotations": [], "categories": []}}"#));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("two images have the id 9"), "{error}");
}

#[test]
fn a_mask_of_a_normal_line_is_checked() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    tree.mask("m.png", 8, 4, 1);
    tree.write("t.csv", "path,label,split,mask\na.png,normal,train,m.png\nb.png,normal,test,\n");
    let dataset = Dataset::open(tree.root()).unwrap();
    assert!(kinds(&dataset).contains(&FindingKind::MarkedNormal), "{dataset:?}");
}
