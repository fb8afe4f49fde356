//! Images that tables and annotations leave out, and contradictions in them.

use crate::support::Tree;
use crate::support::annotated::{coco, labelme, paths, pictures};
use dualad_data::{Dataset, FindingKind, Label, Layout, Split};

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

#[test]
fn labels_that_are_not_read_are_named() {
    for file in ["labels.csv", "result.json", "annotations.xml", "data.xlsx", "a.txt", "a.json"] {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png"]);
        tree.write(file, "not read");
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!((dataset.layout, dataset.findings.len()), (Layout::Folder, 1), "{file}: {:?}", dataset.findings);
        let finding = &dataset.findings[0];
        // Nothing tells what a damaged file with the name of an image marks.
        let kind = if file == "a.json" { FindingKind::Unreadable } else { FindingKind::LeftOut };
        assert!(finding.kind == kind && finding.to_string().contains(file), "{finding}");
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
