//! Datasets described by tables.

mod support;

use dualad_data::{Dataset, Error, FindingKind, Layout, Split};
use support::Tree;
use support::annotated::{images, kinds, marked, paths, pictures};

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

#[test]
fn a_mask_of_a_normal_line_is_checked() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    tree.mask("m.png", 8, 4, 1);
    tree.write("t.csv", "path,label,split,mask\na.png,normal,train,m.png\nb.png,normal,test,\n");
    let dataset = Dataset::open(tree.root()).unwrap();
    assert!(kinds(&dataset).contains(&FindingKind::MarkedNormal), "{dataset:?}");
}
