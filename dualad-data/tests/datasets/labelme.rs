//! Datasets described by files of LabelMe.

use crate::support::Tree;
use crate::support::annotated::{images, kinds, labelme, marked, paths, pictures};
use dualad_data::{Dataset, FindingKind, Layout, Split};

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
    // The settings are named.
    let expected = [FindingKind::UnpairedMask, FindingKind::Choice, FindingKind::Choice, FindingKind::OtherFiles];
    assert_eq!(kinds(&dataset), expected);
    let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(text.contains("without annotations beside them: 2;") && text.contains("1 of its 4 normal"), "{text}");

    tree.write("g.json", labelme(&shape("dent", "brush", "[0, 0]")));
    let error = Dataset::open(tree.root()).unwrap_err();
    assert!(error.to_string().contains("type brush") && error.to_string().contains("g.json"), "{error}");
    tree.write("g.json", labelme(&shape("dent", "circle", "[0, 0]")));
    assert!(Dataset::open(tree.root()).unwrap_err().to_string().contains("1 points"));
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
fn folders_of_normal_and_defective_images_decide() {
    let tree = Tree::new();
    pictures(&tree, &["good/0.png", "good/1.png", "good/2.png", "bad/0.png", "bad/1.png"]);
    tree.write("bad/0.json", labelme(DENT));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::Folder);
    assert_eq!(paths(&tree, &dataset, Split::Train), ["good/0.png", "good/1.png", "good/2.png"]);
    assert_eq!(paths(&tree, &dataset, Split::Test), ["bad/0.png", "bad/1.png"]);
    let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(text.contains("0.json") && !text.contains("count as normal"), "{text}");
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
    assert_eq!(names, ["a.png", "c.png", "d.jpg", "d.png", "geh\u{e4}use.png"]);
    // Images of one stem may show one part, and a part with a defect is not trained on.
    let [twin] = &dataset.findings.iter().filter(|f| f.kind != FindingKind::Choice).collect::<Vec<_>>()[..] else {
        panic!("{:?}", dataset.findings)
    };
    assert_eq!(twin.kind, FindingKind::AmbiguousMask);
    assert!(twin.message.contains("apart from the ending: 1 (") && twin.message.contains("d.png"), "{twin}");
    // A second file of an image is named.
    tree.write("a-2.json", drawn("a.png"));
    let dataset = Dataset::open(tree.root()).unwrap();
    let found: Vec<_> = dataset.findings.iter().filter(|f| f.kind == FindingKind::AmbiguousMask).collect();
    assert!(found.len() == 2 && found[1].path.ends_with("a-2.json"), "{found:?}");
    assert!(found[1].message.contains("a.JSON annotates"), "{found:?}");
    // A file that names the other image of the stem says what it shows.
    tree.write("d-2.json", labelme("").replace("x.png", "d.png"));
    let dataset = Dataset::open(tree.root()).unwrap();
    let mut samples = dataset.categories.iter().flat_map(|category| &category.samples);
    assert!(samples.any(|sample| sample.path.ends_with("d.png") && !sample.label.is_anomalous()));
    // The whole name of an image belongs to it alone.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "a.jpg", "b.png"]);
    tree.write("a.jpg.json", labelme(DENT));
    let dataset = Dataset::open(tree.root()).unwrap();
    let anomalous = dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous());
    let names: Vec<_> = anomalous.map(|sample| sample.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!((dataset.layout, names), (Layout::LabelMe, vec!["a.jpg"]));

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
fn a_foreign_file_among_the_annotations_is_named() {
    let tree = Tree::new();
    pictures(&tree, &["000.png", "a.png", "b.png"]);
    tree.write("000.json", r#"{"fps": 3}"#);
    let circle = r#"{"label": "dent", "points": [[4, 2], [4, 2.8]], "shape_type": "circle"}"#;
    tree.write("a.json", labelme(circle));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("000.json") && error.contains("shapes"), "{error}");
}

const DENT: &str = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;

#[test]
fn annotations_of_training_images_mark_defects_in_every_layout() {
    for file in ["good/1.json", "labels/1.json", "annotations/1.json", "good/json/1.json"] {
        for (good, layout) in [("c/train/good", Layout::Mvtec), ("c/good", Layout::Folder)] {
            let tree = Tree::new();
            let json = format!("{}/{file}", good.rsplit_once('/').unwrap().0);
            pictures(&tree, &["0", "1", "2"].map(|name| format!("{good}/{name}.png")).each_ref().map(String::as_str));
            let marked = || {
                let dataset = Dataset::open_as(layout, tree.root().join("c")).unwrap();
                let before = dataset.marked_normal_images(&dualad_data::image::Limits::default());
                let found = dataset.check().run().unwrap().findings;
                let found = found.into_iter().filter(|finding| finding.kind == FindingKind::MarkedNormal);
                let found: Vec<String> = found.map(|finding| finding.to_string()).collect();
                assert_eq!(before.len(), found.len(), "{json}");
                found
            };
            tree.write(&json, labelme(""));
            assert!(marked().is_empty(), "{json}");
            tree.write(&json, labelme(&DENT.replace("dent", "OK")));
            assert!(marked().is_empty(), "{json}");
            tree.write(&json, labelme(DENT));
            let found = marked();
            assert!(found.len() == 1 && found[0].contains("1.png") && found[0].contains("1.json"), "{json}: {found:?}");
            if !json.contains("good/1") {
                // The annotations of an image elsewhere.
                tree.write(&json, labelme(DENT).replace("x.png", "../bad/1.png"));
                assert!(marked().is_empty(), "{json}");
            }
        }
    }
}

#[test]
fn annotations_may_lie_in_a_folder_beside_the_images() {
    for (images, labels) in
        [("images", "labels"), ("images", "annotations"), (".", "json"), ("images", "images/labels")]
    {
        let tree = Tree::new();
        pictures(&tree, &["a", "b", "c"].map(|name| format!("{images}/{name}.png")).each_ref().map(String::as_str));
        tree.write(&format!("{labels}/b.json"), labelme(DENT));
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.layout, Layout::LabelMe, "{images} {labels}");
        let image = if images == "." { "b.png".to_string() } else { format!("{images}/b.png") };
        assert_eq!(paths(&tree, &dataset, Split::Test).iter().filter(|path| **path == image).count(), 1);
        assert_eq!(dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count(), 1);
    }
    // Files beside the dataset are none of it.
    let tree = Tree::new();
    pictures(&tree, &["c/a.png", "c/b.png", "c/c.png"]);
    tree.write("labels/b.json", labelme(DENT));
    let dataset = Dataset::open(tree.root().join("c")).unwrap();
    assert_eq!((dataset.layout, dataset.findings.len()), (Layout::Folder, 0));
    assert!(dataset.marked_normal_images(&dualad_data::image::Limits::default()).is_empty());
    // Elsewhere, the reason is a true one.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "c.png"]);
    tree.write("old/b.json", labelme(DENT));
    let dataset = Dataset::open(tree.root()).unwrap();
    let message = dataset.findings[0].to_string();
    assert!(message.contains("a file of LabelMe that belongs to no image beside it"), "{message}");
}

#[test]
fn labels_of_null_flags_of_normal_images_and_shares_are_understood() {
    for (content, is_defect) in [
        (labelme(r#"{"label": null, "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"good": false}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"good": true}"#), false),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"good": false, "dent": false}"#), false),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"class": "bad"}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"class": "ok"}"#), false),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"label": "porosity"}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"ok": "no"}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"defect": 1}"#), true),
        (labelme("").replace(r#""flags": {}"#, r#""flags": {"defect": "", "dent": null, "split": "train"}"#), false),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["x.png", "y.png", "z.png"]);
        tree.write("x.json", &content);
        let dataset = Dataset::open(tree.root()).unwrap();
        let found = dataset.samples(Split::Test).any(|sample| sample.label.is_anomalous());
        assert_eq!(found, is_defect, "{content}");
    }
    // A text that states nothing is no normal image.
    for flag in [r#"{"class": "X7"}"#, r#"{"class": ["bad"]}"#, r#"{"class": "ok?"}"#] {
        let tree = Tree::new();
        pictures(&tree, &["x.png", "y.png"]);
        tree.write("x.json", labelme("").replace(r#""flags": {}"#, &format!("\"flags\": {flag}")));
        let error = Dataset::open(tree.root()).unwrap_err().to_string();
        assert!(error.contains("its flag \"class\" is") && error.contains("x.json"), "{error}");
    }
    let tree = Tree::new();
    pictures(&tree, &["x.png", "y.png"]);
    tree.write("x.json", labelme(r#"{"label": "dent", "points": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]}"#));
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("values from 0 to 1"), "{error}");
}

#[test]
fn a_shape_whose_flag_denies_a_defect_marks_none() {
    let shape = |flags: &str| {
        format!(r#"{{"label": "dent", "points": [[0, 0], [4, 4]], "shape_type": "rectangle", "flags": {flags}}}"#)
    };
    for (flags, is_defect) in [
        (r#"{"ok": true}"#, false),
        (r#"{"OK": 1, "difficult": false}"#, false),
        (r#"{"ok": false}"#, true),
        (r#"{"ok": true, "difficult": true}"#, true),
        (r#"{"difficult": true}"#, true),
        ("{}", true),
        ("null", true),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["test/a.png", "train/b.png"]);
        tree.write("test/a.json", labelme(&shape(flags)));
        tree.write("train/b.json", labelme(""));
        let dataset = Dataset::open(tree.root()).unwrap();
        let sample = dataset.samples(Split::Test).find(|sample| sample.path.ends_with("a.png")).unwrap();
        assert_eq!((sample.label.is_anomalous(), sample.drawing.is_some()), (is_defect, is_defect), "{flags}");

        // In a folder of normal images, it marks none, too.
        let tree = Tree::new();
        pictures(&tree, &["c/train/good/a.png", "c/train/good/b.png", "c/train/good/c.png"]);
        tree.write("c/train/good/a.json", labelme(&shape(flags)));
        let dataset = Dataset::open(tree.root()).unwrap();
        let marked = dataset.marked_normal_images(&dualad_data::image::Limits::default());
        assert_eq!(marked.len(), usize::from(is_defect), "{flags}");
    }
}

#[test]
fn a_file_that_names_another_image_is_told() {
    let tree = Tree::new();
    pictures(&tree, &["000.png", "008.png", "009.png"]);
    let boxed = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;
    let warned = |name: &str| {
        tree.write("008.json", labelme(boxed).replace("x.png", name));
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count(), 1);
        let found = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::AmbiguousMask);
        found.map(|finding| finding.message.clone()).collect::<String>()
    };
    // An image that is not there was renamed.
    for name in ["008.png", "../img/008.png", "old.png"] {
        assert_eq!(warned(name), "", "{name}");
    }
    let found = warned("000.png");
    assert!(found.contains("(such as 008.json, which is used for 008.png, and names 000.png)"), "{found}");
}

#[test]
fn labels_that_mean_no_defect_are_ignored_or_told() {
    for (label, anomalous, is_told) in
        [("_background_", 0, false), ("__ignore__", 1, true), ("OK part", 1, true), ("cut", 1, false)]
    {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png", "c.png"]);
        let shape = format!(r#"{{"label": "{label}", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}}"#);
        tree.write("b.json", labelme(&shape));
        let dataset = Dataset::open(tree.root()).unwrap();
        let count = dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count();
        let told = dataset.findings.iter().any(|finding| finding.message.contains(&format!("\"{label}\" in 1")));
        assert_eq!((count, told), (anomalous, is_told), "{label}");
    }
}
