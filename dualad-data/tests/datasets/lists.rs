//! Lists of labels that name a few of the images, and that no layout reads.

use crate::support::annotated::{coco, labelme, pictures};
use crate::support::{Tree, relative};
use dualad_data::image::Limits;
use dualad_data::{Dataset, Finding, FindingKind, Layout, Severity};

/// Writes 30 images into a folder.
fn thirty(tree: &Tree, folder: &str) {
    let names: Vec<String> = (0..30).map(|index| format!("{folder}/{index:03}.png")).collect();
    pictures(tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

fn of_kind(dataset: &Dataset, kind: FindingKind) -> Vec<&Finding> {
    dataset.findings.iter().filter(|finding| finding.kind == kind).collect()
}

/// Files that say of two images that they have defects.
const DEFECTIVE: [(&str, &str); 12] = [
    ("labels.yaml", "003.png: scratch\n007.png: dent\n"),
    ("any.yml", "- file: img/003.png\n  label: ng\n- label: ng\n  file: img/007.png\n"),
    ("report.yaml", "scratch:\n  - 003.png\n  - 007.png\n"),
    ("report.json", "{\"003.png\": \"ng\", \"007.png\": \"ng\"}"),
    (
        "report.json",
        "[{\"name\": \"003\", \"defect\": true}, {\"name\": \"007\", \"defect\": true}, {\"name\": \"008\", \"defect\": false}]",
    ),
    ("list.csv", "img,fault\n003.png,scratch\n007.png,dent\n"),
    ("list.csv", "Aufnahme;Urteil\n003.png;niO\n007.png;Kratzer\n"),
    ("defects.csv", "image_id,code\n003.png,F12\n007.png,F12\n"),
    ("ng_list.txt", "003.png\n007.png\n"),
    ("notes.txt", "line 4, night shift\nbad parts: 003, 007\n"),
    ("notes.txt", "bad: 003.png, 007.png\n"),
    ("list.tsv", "003.png\tng\n007.png\tng\n"),
];

#[test]
fn a_list_that_labels_a_few_images_is_refused_and_the_others_are_named() {
    for (file, content) in DEFECTIVE {
        // Above the images, and beside them.
        for place in ["", "img/"] {
            let tree = Tree::new();
            thirty(&tree, "img");
            tree.write(&format!("{place}{file}"), content);
            let message = match Dataset::open_products(tree.root()) {
                Ok(dataset) => panic!("{place}{file}: {:?}", dataset.findings),
                Err(error) => error.to_string(),
            };
            assert!(message.contains("of its 30 images and is not read"), "{message}");
            assert!(message.contains("it does not name 2") && message.contains("000.png, "), "{message}");
            assert!(message.contains("; to have it read, ") && message.contains(" more"), "{message}");
        }
    }
    // A list by its name, without words for defects.
    let tree = Tree::new();
    thirty(&tree, "img");
    tree.write("labels.yaml", "001.png: good\n002.png: good\n");
    let message = Dataset::open_products(tree.root()).unwrap_err().to_string();
    assert!(message.contains("names 2 of its 30 images") && message.contains("it does not name 28: "), "{message}");
}

#[test]
fn a_file_that_names_an_image_is_a_warning_that_names_the_others() {
    let tree = Tree::new();
    thirty(&tree, "img");
    tree.write("settings.yaml", "version: 2\nreference: 001.png\n");
    let dataset = Dataset::open_products(tree.root()).unwrap();
    let found = of_kind(&dataset, FindingKind::LeftOut);
    let [finding] = found[..] else { panic!("{:?}", dataset.findings) };
    assert!(finding.message.contains("It names 1 of the 30 images; it does not name 29: "), "{finding}");
    assert!(finding.message.ends_with(" and 9 more"), "{finding}");
    assert!(of_kind(&dataset, FindingKind::OtherFiles).is_empty(), "{:?}", dataset.findings);
    // Settings that name no image are a note.
    tree.write("settings.yaml", "names: [scratch, dent]\ntrain: img\n");
    assert_eq!(of_kind(&Dataset::open_products(tree.root()).unwrap(), FindingKind::OtherFiles).len(), 1);
}

#[test]
fn images_that_a_file_of_labels_does_not_list_are_counted_and_named() {
    let shape = r#"{"label": "dent", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}"#;
    let visa: String = (0..5).map(|index| format!("img,train,normal,img/{index:03}.png,\n")).collect();
    let table: String = (0..5).map(|index| format!("img/{index:03}.png,ok\n")).collect();
    let names: Vec<String> = (0..5).map(|index| format!("img/{index:03}.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (file, content, layout, kind, names) in [
        ("t.csv", format!("path,label\n{table}"), Layout::Table, FindingKind::LeftOut, "005.png, 006.png, "),
        ("c.json", coco(&names, &[]), Layout::Coco, FindingKind::LeftOut, "img/005.png, img/006.png, "),
        ("img/003.json", labelme(shape), Layout::LabelMe, FindingKind::Choice, "000.png, "),
        (
            "split_csv/1cls.csv",
            format!("object,split,label,image,mask\n{visa}"),
            Layout::Visa,
            FindingKind::LeftOut,
            "005.png, 006.png, ",
        ),
    ] {
        let tree = Tree::new();
        thirty(&tree, "img");
        tree.write(file, content);
        let root = if layout == Layout::LabelMe { tree.root().join("img") } else { tree.root().to_path_buf() };
        let dataset = Dataset::open(root).unwrap();
        assert_eq!(dataset.layout, layout);
        let found = of_kind(&dataset, kind);
        let line = found.iter().map(|finding| finding.to_string()).find(|line| line.contains(names));
        let line = line.unwrap_or_else(|| panic!("{file}: {:?}", dataset.findings));
        let (count, more) = if layout == Layout::LabelMe { ("29", " and 9 more") } else { ("25", " and 5 more") };
        assert!(line.contains(count) && line.contains(more), "{line}");
    }
    // Folders of which nothing is listed.
    let tree = Tree::new();
    pictures(&tree, &["a/0.png", "b/1.png", "b/2.png"]);
    tree.write("t.csv", "path,label\na/0.png,ok\n");
    let line = of_kind(&Dataset::open(tree.root()).unwrap(), FindingKind::LeftOut)[0].to_string();
    assert!(line.contains("2 images in it are left out") && line.ends_with(": 1.png, 2.png"), "{line}");
    let tree = Tree::new();
    pictures(&tree, &["a/0.png", "b/1.png"]);
    tree.write("split_csv/1cls.csv", "object,split,label,image,mask\na,train,normal,a/0.png,\n");
    let line = of_kind(&Dataset::open(tree.root()).unwrap(), FindingKind::LeftOut)[0].to_string();
    assert!(line.contains("1 image in it is left out") && line.ends_with(": 1.png"), "{line}");
}

#[test]
fn lists_mark_the_images_to_train_on_in_every_layout() {
    for (file, content) in DEFECTIVE {
        for layout in [Layout::Mvtec, Layout::Folder, Layout::Table, Layout::Coco] {
            let tree = Tree::new();
            let folder = match layout {
                Layout::Mvtec => "train/good",
                Layout::Folder => "good",
                _ => "img",
            };
            thirty(&tree, folder);
            let names: Vec<String> = (0..30).map(|index| format!("{folder}/{index:03}.png")).collect();
            if layout == Layout::Table {
                let lines: String = names.iter().map(|name| format!("{name},ok,train\n")).collect();
                tree.write("parts.csv", format!("path,label,split\n{lines}"));
            } else if layout == Layout::Coco {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                tree.write("train/_annotations.coco.json", coco(&names, &[]));
            }
            tree.write(file, content.replace("img/", &format!("{folder}/")));
            let dataset = Dataset::open_products(tree.root()).unwrap();
            assert_eq!(dataset.layout, layout, "{file}");
            let marked = dataset.marked_normal_images(&Limits::default());
            let paths: Vec<String> = marked.iter().map(|finding| relative(tree.root(), &finding.path)).collect();
            assert_eq!(paths, [3, 7].map(|index| format!("{folder}/{index:03}.png")), "{file} {layout}");
            assert!(
                marked
                    .iter()
                    .all(|finding| finding.kind == FindingKind::MarkedNormal && finding.message.contains(file))
            );
        }
    }
}

#[test]
fn lists_that_may_mean_anything_mark_nothing_and_are_named() {
    let all = |label: &str| -> String { (0..30).map(|index| format!("{index:03}.png,{label}\n")).collect() };
    for (file, content, severity) in [
        // By its name, it has labels; its numbers may mean anything.
        ("labels.csv", "img,grade\n003.png,1\n007.png,4\n".to_string(), Severity::Warning),
        ("defects.csv", "img,flag\n003.png,1\n007.png,0\n".into(), Severity::Warning),
        ("labels.csv", format!("img,part\n{}", all("crack_sensor")), Severity::Warning),
        ("exposure.csv", "img,ms\n003.png,12\n007.png,15\n".into(), Severity::Note),
        ("parts.csv", format!("img,part\n{}", all("crack_sensor")), Severity::Note),
        ("remarks.csv", "img,remark\n003.png,the lamp was broken on monday\n".into(), Severity::Note),
    ] {
        let tree = Tree::new();
        thirty(&tree, "train/good");
        tree.write(file, content);
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.marked_normal_images(&Limits::default()), [], "{file}");
        let [finding] = &dataset.findings[..] else { panic!("{file}: {:?}", dataset.findings) };
        assert_eq!(finding.severity(), severity, "{finding}");
        assert!(finding.to_string().contains(file), "{finding}");
        if severity == Severity::Warning {
            assert!(finding.message.contains("to have it read, ") && finding.message.contains("003.png"), "{finding}");
        }
    }
    // What it says is read, and agrees with the folder.
    let tree = Tree::new();
    thirty(&tree, "train/good");
    tree.write("labels.csv", "img,state\n003.png,ok\n007.png,good\n");
    assert_eq!(Dataset::open(tree.root()).unwrap().findings, []);
}

#[test]
fn a_second_table_is_not_passed_over() {
    for (table, content) in [
        ("parts.csv", "path,label,split\n000.png,ok,train\n001.png,dent,test\n".to_string()),
        ("c.json", coco(&["000.png", "001.png"], &[(1, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)])),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["000.png", "001.png"]);
        tree.write(table, content);
        tree.write("faults.csv", "img,code\n001.png,F12\n");
        tree.write("faults.json", "{\"version\": 3}");
        let dataset = Dataset::open(tree.root()).unwrap();
        let found = of_kind(&dataset, FindingKind::OtherFiles);
        let [finding] = found[..] else { panic!("{table}: {:?}", dataset.findings) };
        assert!(finding.message.contains("faults.csv, faults.json"), "{finding}");
        assert!(finding.message.contains("the columns path and label"), "{finding}");
    }
}
