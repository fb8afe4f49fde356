//! Datasets described by tables.

use crate::support::Tree;
use crate::support::annotated::{images, kinds, marked, paths, pictures};
use dualad_data::{Check, Dataset, Error, FindingKind, Layout, Severity, Split};

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
        // The mask of a normal image to train on is missing.
        let found = [FindingKind::MissingMask, FindingKind::UnclearLabel, FindingKind::NoNormalTests];
        assert_eq!(kinds(&dataset), found);
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

/// Returns the messages of the findings of a kind in a table of these rows.
fn messages(name: &str, content: &str, kind: FindingKind) -> Vec<String> {
    let tree = Tree::new();
    let names: Vec<String> = (0..6).map(|index| format!("{index}.png")).collect();
    pictures(&tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
    tree.write(name, content);
    let report = Dataset::open(tree.root()).unwrap().check().run().unwrap();
    report.findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.message.clone()).collect()
}

fn rows(column: &str, labels: &[&str]) -> String {
    let rows = labels.iter().enumerate().map(|(index, label)| format!("{index}.png,{label}\n"));
    format!("path,{column}\n{}", rows.collect::<String>())
}

#[test]
fn the_meaning_of_numbers_and_booleans_is_a_note() {
    for (column, normal, anomalous) in [
        ("label", "0", "1"),
        ("label", "False", "True"),
        ("Label", "0.0", "1.0"),
        ("label_index", "0", "1"),
        ("is_anomaly", "no", "yes"),
    ] {
        let table = rows(column, &[normal, normal, normal, normal, anomalous, anomalous]);
        let notes = messages("t.csv", &table, FindingKind::Choice);
        let expected =
            format!("{column} {normal} is read as normal (4 images), {anomalous} is read as anomalous (2 images)");
        assert!(notes.contains(&expected), "{notes:?}");
        assert!(messages("t.csv", &table, FindingKind::UnclearLabel).is_empty());
    }
    let notes = messages("t.csv", &rows("label", &["normal", "normal", "dent"]), FindingKind::Choice);
    assert!(notes.iter().all(|note| !note.contains("read as")), "{notes:?}");
    let line = "{\"path\": \"0.png\", \"label\": false}\n{\"path\": \"1.png\", \"label\": true}\n";
    let notes = messages("t.jsonl", line, FindingKind::Choice);
    assert!(notes.iter().any(|note| note.starts_with("label false is read as normal (1 image), true")), "{notes:?}");
}

#[test]
fn more_anomalous_than_normal_images_are_a_warning_where_labels_are_numbers() {
    let warnings = messages("t.csv", &rows("label", &["1", "1", "1", "1", "0", "0"]), FindingKind::UnclearLabel);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.contains("4 are read as anomalous and 2 as normal"), "{warning}");
    assert!(warning.contains("write the words normal and anomalous in the column label"), "{warning}");
    // Words say what they mean, and so does the name of a column.
    for table in [rows("label", &["dent", "dent", "dent", "normal"]), rows("is_defective", &["1", "1", "1", "0"])] {
        assert!(messages("t.csv", &table, FindingKind::UnclearLabel).is_empty());
    }
    // Of the images to train on.
    let table = "path,label,split\n0.png,1,train\n1.png,1,train\n2.png,0,train\n3.png,0,test\n4.png,0,test\n";
    let warnings = messages("t.csv", table, FindingKind::UnclearLabel);
    assert!(warnings.len() == 1 && warnings[0].contains("with the split train"), "{warnings:?}");
    // A selection of categories keeps it.
    let tree = Tree::new();
    pictures(&tree, &["0.png", "1.png", "2.png"]);
    tree.write("t.csv", "path,label,category\n0.png,1,a\n1.png,1,a\n2.png,0,a\n");
    let dataset = Dataset::open(tree.root()).unwrap().select(&["a"]).unwrap();
    assert!(dataset.findings.iter().any(|finding| finding.kind == FindingKind::UnclearLabel));
}

#[test]
fn labels_that_are_not_known_are_listed() {
    for (labels, expected) in [
        (["none", "none", "scratch"], ["\"none\" (2 images)", "\"scratch\" (1 image)"]),
        (["A", "B", "A"], ["\"A\" (2 images)", "\"B\" (1 image)"]),
        (["NaN", "NaN", "1"], ["\"NaN\" (2 images)", "\"1\" (1 image)"]),
        (["-1", "1", "1"], ["\"-1\" (1 image)", "\"1\" (2 images)"]),
    ] {
        let found = messages("t.csv", &rows("label", &labels), FindingKind::NoNormalImages);
        let [fatal] = &found[..] else { panic!("{found:?}") };
        assert!(expected.iter().all(|part| fatal.contains(part)), "{fatal}");
        assert!(fatal.contains("normal, good, ok, 0 or false"), "{fatal}");
    }
    // Beside known ones.
    for label in ["none", "NaN", "-1", "N/A"] {
        let found = messages("t.csv", &rows("label", &["ok", "ok", "ok", label]), FindingKind::UnclearLabel);
        assert!(found.len() == 1 && found[0].contains(&format!("column label is \"{label}\"")), "{found:?}");
    }
}

#[test]
fn a_column_or_a_key_that_is_there_twice_is_an_error() {
    let error = |name: &str, content: &str| {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png"]);
        Dataset::open(tree.write(name, content)).unwrap_err().to_string()
    };
    for (content, expected) in [
        ("path,path,label\na.png,b.png,ok\n", "line 1: the column \"path\" is there twice"),
        ("path,label,image\na.png,ok,b.png\n", "line 1: the columns \"path\" and \"image\" both mean path"),
        ("path,label,defect_type\na.png,ok,dent\n", "\"label\" and \"defect_type\" both mean label"),
        ("path,label,split,Split\na.png,ok,train,test\n", "\"split\" is there twice"),
    ] {
        let message = error("t.csv", content);
        assert!(message.contains(expected), "{message}");
    }
    for (content, expected) in [
        (
            "{\"path\": \"a.png\", \"label\": \"ok\", \"label\": \"dent\"}",
            "line 1: the column \"label\" is there twice",
        ),
        ("{\"path\": \"a.png\", \"image\": \"b.png\", \"label\": \"ok\"}", "both mean path"),
    ] {
        let message = error("t.jsonl", content);
        assert!(message.contains(expected), "{message}");
    }
    // A key without a value says nothing.
    let tree = Tree::new();
    pictures(&tree, &["a.png"]);
    let table = tree.write("t.jsonl", "{\"path\": \"a.png\", \"image\": null, \"label\": \"ok\"}\n");
    assert!(Dataset::open(table).is_ok());
    let visa = Tree::new();
    visa.write("split_csv/1cls.csv", "object,split,label,image,mask,label\na,train,normal,a/0.JPG,,anomaly\n");
    let message = Dataset::open(visa.root()).unwrap_err().to_string();
    assert!(message.contains("the column \"label\" is there twice"), "{message}");
}

#[test]
fn german_columns_and_labels_are_read() {
    for header in ["Datei;Ergebnis", "Bild;Klasse", "Dateiname;Ergebnis"] {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png", "c.png"]);
        tree.write("teile.csv", format!("{header}\r\na.png;iO\r\nb.png;i.O.\r\nc.png;niO\r\n"));
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.layout, Layout::Table);
        let all = [Split::Train, Split::Test].map(|split| images(&tree, &dataset, split)).concat();
        let labels: Vec<(&str, &str)> = all.iter().map(|(path, _, label)| (path.as_str(), label.as_str())).collect();
        assert!(labels.contains(&("a.png", "-")) && labels.contains(&("b.png", "-")), "{labels:?}");
        assert!(labels.contains(&("c.png", "niO")), "{labels:?}");
    }
}

#[test]
fn messages_name_the_columns_of_the_file() {
    let error = |content: &str| {
        let tree = Tree::new();
        pictures(&tree, &["a.png", "b.png"]);
        Dataset::open(tree.write("t.csv", content)).unwrap_err().to_string()
    };
    for (content, expected) in [
        ("Datei,is_anomaly\na.png,2\n", "column is_anomaly is \"2\""),
        ("Datei,is_anomaly\na.png,\n", "column is_anomaly is empty"),
        ("Datei,Klasse\na.png,\n", "column Klasse is empty"),
        ("Datei,Klasse\n../a.png,ok\n", "column Datei is \"../a.png\""),
        ("path,Klasse,is_defect\na.png,ok,1\n", "column Klasse is \"ok\", but column is_defect is 1"),
        // Lines are counted, whatever ends them.
        ("path,label\na.png,ok\nb.png\n", "line 3: "),
        ("path,label\ra.png,ok\rb.png\r", "line 3: "),
        ("sep=,\r\npath,label\r\na.png,ok\r\nb.png\r\n", "line 4: "),
    ] {
        let message = error(content);
        assert!(message.contains(expected), "{message}");
    }
    // Single letters in a column that says what they mean.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let table = tree.write("t.csv", "path,is_defect\na.png,N\nb.png,Y\n");
    assert_eq!(Dataset::open(table).unwrap().samples(Split::Train).count(), 1);
}

#[test]
fn a_label_that_asks_is_not_normal() {
    for label in ["normal?", "ok ?", "good？"] {
        let found = messages("t.csv", &rows("label", &["ok", "ok", "ok", label]), FindingKind::UnclearLabel);
        assert!(found.len() == 1 && found[0].contains(&format!("column label is \"{label}\"")), "{found:?}");
    }
    let found = messages("t.csv", &rows("label", &["ok", "ok", "no_scratch"]), FindingKind::UnclearLabel);
    assert!(found.len() == 1 && found[0].contains("no_scratch"), "{found:?}");
}

#[test]
fn images_that_are_not_there_hide_nothing() {
    let tree = Tree::new();
    pictures(&tree, &["photos/000.png"]);
    let rows: String = (0..40).map(|index| format!("pics/{index:03}.png,ok\n")).collect();
    let table = tree.write("t.csv", format!("path,label\n{rows}"));
    let dataset = Dataset::open(&table).unwrap();
    let messages = |listed: usize| -> Vec<String> {
        let report = dataset.check().listed(listed).run().unwrap();
        let found = report.findings.iter().filter(|finding| finding.kind == FindingKind::Unreadable);
        found.map(ToString::to_string).collect()
    };
    let [of_table, files] = &messages(20)[..] else { panic!("{:?}", messages(20)) };
    assert!(files.contains("cannot read 40 files in") && files.contains("that folder is not there"), "{files}");
    assert!(files.contains("000.png, 001.png") && files.ends_with("and 20 more"), "{files}");
    assert!(of_table.contains("t.csv names images that are not there: 40 (such as line 2"), "{of_table}");
    assert!(of_table.contains("found at photos/000.png"), "{of_table}");
    // Each by itself.
    assert_eq!(messages(0).len(), 41);
}

#[test]
fn missing_images_in_many_folders_are_one_finding_after_that_of_the_table() {
    let tree = Tree::new();
    pictures(&tree, &["photos/000.png"]);
    let rows: String = (0..90).map(|index| format!("pics/{:02}/{index:03}.png,ok\n", index / 3)).collect();
    let table = tree.write("t.csv", format!("path,label\n{rows}"));
    let report = Dataset::open(&table).unwrap().check().run().unwrap();
    let fatal: Vec<_> = report.findings.iter().filter(|finding| finding.severity() == Severity::Fatal).collect();
    let [of_table, files, ..] = &fatal[..] else { panic!("{fatal:?}") };
    assert!(of_table.message.contains("names images that are not there: 90"), "{of_table}");
    assert!(files.message.contains("cannot read 90 files in 30 folders of"), "{files}");
    assert!(files.message.contains(": pics/00 (3), pics/01 (3), "), "{files}");
    assert_eq!(fatal.iter().filter(|finding| finding.kind == FindingKind::Unreadable).count(), 2, "{fatal:?}");
}

#[test]
fn an_image_without_its_folder_is_told_where_it_lies() {
    let tree = Tree::new();
    pictures(&tree, &["images/a.png", "images/b.png"]);
    let table = tree.write("t.csv", "path,label\na.png,ok\nb.png,dent\n");
    let dataset = Dataset::open(table).unwrap();
    let found = dataset.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).unwrap();
    assert!(found.message.contains("(such as line 2: \"a.png\", found at images/a.png)"), "{found}");
    let table = tree.write("t.csv", "path,label\nimages/a.jpg,ok\nimages/b.png,dent\n");
    let dataset = Dataset::open(table).unwrap();
    let found = dataset.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).unwrap();
    assert!(found.message.contains("\"images/a.jpg\"; images/a.png has this name with another ending)"), "{found}");
    for name in ["images/A.PNG", "a", "IMAGES\\a.png"] {
        let table = tree.write("t.csv", format!("path,label\n{name},ok\nimages/b.png,dent\n"));
        let dataset = Dataset::open(table).unwrap();
        let found = dataset.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).unwrap();
        assert!(found.message.contains("found at images/a.png"), "{found}");
    }
}

#[test]
fn tables_of_spreadsheets_are_read_as_they_are_written() {
    let rows = ["path;label", "images/a.png;ok", "images/b.png;ok", "images/c.png;dent"];
    for (name, text) in [
        ("old lines of the Macintosh", rows.join("\r")),
        ("the hint for Excel", format!("sep=;\r\n{}", rows.join("\r\n"))),
        ("emptied rows", format!("{}\n;\n;;\n", rows.join("\n"))),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["images/a.png", "images/b.png", "images/c.png"]);
        tree.write("t.csv", text);
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!((dataset.layout, dataset.categories[0].samples.len()), (Layout::Table, 3), "{name}");
        let labels: Vec<bool> = dataset.categories[0].samples.iter().map(|s| s.label.is_anomalous()).collect();
        assert_eq!(labels.iter().filter(|is| **is).count(), 1, "{name}");
    }
    let tree = Tree::new();
    let error = |text: &str| Dataset::open(tree.write("t.csv", text)).unwrap_err().to_string();
    let found = error("sep=;\npath;label\na.png;ok\nb.png\n");
    assert!(found.contains("line 4: 1 fields, but the first line names 2"), "{found}");
    let found = error("path,label\n");
    assert!(found.contains("no lines below the names of its columns"), "{found}");
}

#[test]
fn a_path_that_is_too_long_and_an_empty_number_are_described() {
    let tree = Tree::new();
    pictures(&tree, &["a.png"]);
    let error = |text: String| Dataset::open(tree.write("t.csv", text)).unwrap_err().to_string();
    let long = error(format!("path,label\n{}.png,ok\n", "a".repeat(1_000_000)));
    assert!(long.contains("has 1000004 bytes; a path has at most 4096") && long.len() < 1000, "{long}");
    let empty = error("path,is_defect\na.png,\n".into());
    assert!(empty.contains("column is_defect is empty; write 0 for normal, 1 for anomalous"), "{empty}");
}

#[test]
fn a_column_that_contradicts_a_normal_label_is_an_error() {
    let tree = Tree::new();
    let error = |name: &str, content: &str| {
        let file = tree.write(name, content);
        let opened = Dataset::open(&file).map(|_| ());
        std::fs::remove_file(file).unwrap();
        opened.map_err(|error| error.to_string())
    };
    pictures(&tree, &["a.png", "b.png"]);
    for (column, value) in [
        ("anomaly", "1"),
        ("is_anomalous", "1"),
        ("is_defect", "true"),
        ("Defect", "yes"),
        ("defect_count", "2"),
        ("has_scratch", "1"),
        ("ok", "0"),
        ("num_defects", "2"),
        ("n_defects", "2"),
        ("Fehleranzahl", "2"),
        ("number of defects", "2"),
        ("缺陷数", "2"),
        ("ok", "nein"),
        ("iO", "nein"),
        ("défaut", "oui"),
        ("defect", "F12"),
        ("defect", "scratch at edge"),
        ("defect", "dent near hole"),
        ("Fehler", "Kratzer am Rand"),
        ("verdict", "NG"),
        ("verdict", "nicht in Ordnung"),
        ("remark", "scratch"),
        ("defect_type", "scratch"),
        ("defect_found", "yes"),
        ("defects_found", "2"),
        ("defect_present", "1"),
        ("pass", "0"),
        ("Befund", "ja"),
        ("Befund", "Kratzer am Rand"),
        ("error", "yes"),
        ("hata", "evet"),
        ("vada", "ano"),
        ("defect", "no hole"),
        ("Befund", "keine Bohrung"),
        ("defect", "hole not found"),
    ] {
        let found = error("t.csv", &format!("path,label,{column}\na.png,normal,\nb.png,normal,{value}\n"));
        let found = found.expect_err(column);
        assert!(found.contains(column), "{found}");
        let json = if value == "true" || value.parse::<u8>().is_ok() { value.into() } else { format!("\"{value}\"") };
        for json in [json.clone(), format!("[{json}]")] {
            // Numbers in a list may be anything.
            if json.starts_with("[") && (column == "defect_type" || value.parse::<u8>().is_ok()) {
                continue;
            }
            let line = format!("{{\"path\": \"b.png\", \"label\": \"normal\", \"{column}\": {json}}}");
            assert!(error("t.jsonl", &line).is_err(), "{line}");
        }
    }
    let line = |rest: &str| format!("{{\"path\": \"b.png\", \"label\": \"normal\", {rest}}}");
    assert!(error("t.jsonl", &line(r#""defects": [{"box": [1, 2, 3, 4]}]"#)).is_err());
    for rest in [r#""defects": []"#, r#""defects": {"count": 0}"#, r#""anomaly": [0.1, 0.2]"#, r#""tags": ["a", "b"]"#]
    {
        assert_eq!(error("t.jsonl", &line(rest)), Ok(()), "{rest}");
    }
    // A number says the contrary, too.
    let found = error("t.csv", "path,label,anomaly\na.png,0,1\n").unwrap_err();
    assert!(found.contains("line 2: column label is \"0\", but column anomaly is \"1\"; correct one"), "{found}");
    for (column, value) in [
        ("anomaly", "0"),
        ("anomaly_score", "1"),
        ("anomaly", "0.31"),
        ("defect", "none"),
        ("defect", "-"),
        ("ok", "1"),
        ("defect_id", "17"),
        ("verdict", "ok"),
        ("camera", "bent_tube"),
        ("remark", "the lamp was broken on that day"),
        ("remark", "no scratch"),
        ("remark", "scratch?"),
        ("count", "3"),
        ("source", "defect/b.png"),
        ("defect_class", "-1"),
        ("num_defects", "0"),
        ("Fehleranzahl", "0"),
        ("Fehler", "in Ordnung"),
        ("remark", "bent tube clamp"),
        ("defect", "scratch seen long before cleaning"),
        ("defect", "k.A."),
        ("defect_code", "E0"),
        ("defect_code", "F00"),
        ("defect_class_count", "3"),
        ("error", "0.02"),
        ("error", "3"),
        ("pass", "1"),
        ("Befund", "o.B."),
        ("Befund", "ohne"),
        ("Befund", "kein Befund"),
        ("Befund", "keine Mängel"),
        ("Befund", "nicht vorhanden"),
        ("Befund", "Oberfläche in Ordnung"),
        ("Befund", "sauber"),
        ("Befund", "siehe Foto"),
        ("defect_found", "not found"),
        ("defect_found", "none found"),
        ("defects_found", "0 of 5"),
        ("Fehler", "0 Stück"),
        ("vada", "není"),
        ("vada", "bez vady"),
        ("hata", "hatasız"),
        ("wada", "brak"),
        ("дефект", "не обнаружен"),
        ("defeito", "ausente"),
        ("défaut", "sans"),
        ("缺陷", "没有"),
        ("欠陥", "ありません"),
    ] {
        let found = error("t.csv", &format!("path,label,{column}\na.png,normal,\nb.png,normal,{value}\n"));
        assert_eq!(found, Ok(()), "{column}: {value}");
    }
    // The number of a scan. 0 alone says that the part did not pass.
    assert_eq!(error("t.csv", "path,label,pass\na.png,normal,0\nb.png,normal,2\n"), Ok(()));
    assert!(error("t.csv", "path,label,pass\na.png,normal,0\nb.png,normal,1\n").is_err());
    assert!(error("t.csv", "path,label,ok\na.png,normal,0\nb.png,normal,2\n").is_err());
    // A table beside a folder of normal images.
    for table in
        ["path,label,anomaly\na.png,normal,0\nb.png,normal,1\n", "path,label,is_defect\na.png,good,0\nb.png,good,1\n"]
    {
        let tree = Tree::new();
        pictures(&tree, &["good/a.png", "good/b.png", "good/c.png"]);
        tree.write("good/labels.csv", table);
        let found = Check::of(&Dataset::open_as(Layout::Folder, tree.root()).unwrap()).run().unwrap();
        assert!(found.findings.iter().any(|finding| finding.kind == FindingKind::MarkedNormal), "{found:?}");
    }
}

#[test]
fn flags_for_defects_are_read_in_several_languages() {
    for (column, no, yes) in [
        ("Fehler", "nein", "ja"),
        ("Fehler", "FALSCH", "WAHR"),
        ("Fehler", "\"0,0\"", "\"1,0\""),
        ("défaut", "non", "oui"),
        ("vada", "ne", "ano"),
        ("defect", "không", "có"),
        ("дефект", "нет", "да"),
        ("欠陥", "なし", "あり"),
        ("缺陷", "无", "有"),
        ("불량", "아니오", "예"),
        ("defects", "[]", "['scratch']"),
        ("defects", "{}", "x"),
        ("Fehler", "--", "x"),
        ("defect", "/", "x"),
        ("Fehler", "keiner", "x"),
        ("défaut", "aucun", "x"),
        ("defecto", "ninguno", "x"),
    ] {
        let table = |of_normal: &str| {
            format!("path,label,{column}\n0.png,OK,{no}\n1.png,OK,{of_normal}\n2.png,scratch,{yes}\n")
        };
        assert!(messages("t.csv", &table(no), FindingKind::UnclearLabel).is_empty(), "{column} {no}");
        let tree = Tree::new();
        pictures(&tree, &["0.png", "1.png", "2.png"]);
        let error = Dataset::open(tree.write("t.csv", table(yes))).unwrap_err().to_string();
        assert!(error.contains(&format!("line 3: column label is \"OK\", but column {column} is")), "{error}");
    }
    // The column that decides has the same words.
    let table = "path,is_defect\n0.png,nein\n1.png,nein\n2.png,ja\n";
    let notes = messages("t.csv", table, FindingKind::Choice);
    assert!(notes.iter().any(|note| note.contains("nein is read as normal (2 images)")), "{notes:?}");
}

#[test]
fn words_for_normal_images_are_those_of_folders() {
    for label in ["in Ordnung", "хорошо", "ohne Befund", "fehlerlos", "konform", "perfekt", "Perfect", "o.B.", "i.O."]
    {
        let tree = Tree::new();
        pictures(&tree, &["0.png", "1.png", "2.png"]);
        tree.write("t.csv", rows("label", &["OK", label, "scratch"]));
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count(), 1, "{label}");
    }
    for label in ["Negativ", "nein", "background", "ignore", "--", "keiner"] {
        let found = messages("t.csv", &rows("label", &["OK", "OK", "OK", label]), FindingKind::UnclearLabel);
        assert!(found.len() == 1 && found[0].contains(&format!("is \"{label}\"")), "{label}: {found:?}");
    }
}

#[test]
fn a_label_that_says_both_is_refused() {
    let open = |label: &str| {
        let tree = Tree::new();
        pictures(&tree, &["0.png", "1.png", "2.png"]);
        let table = tree.write("t.csv", rows("label", &["OK", &format!("\"{label}\""), "scratch"]));
        Dataset::open(table).map(drop).map_err(|error| error.to_string())
    };
    for label in ["OK/NOK", "good, bad", "i.O. | n.i.O."] {
        let error = open(label).unwrap_err();
        assert!(error.contains(&format!("line 3: column label is \"{label}\", which says")), "{error}");
    }
    for label in ["n.i.O.", "scratch/dent", "not ok", "bad/scratch"] {
        assert_eq!(open(label), Ok(()), "{label}");
    }
}

#[test]
fn a_table_has_a_bounded_number_of_rows_and_of_repeats() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    let table = tree.write("t.csv", "path,label\n".to_string() + &"a.png,ok\n".repeat(500_001));
    let error = Dataset::open(&table).unwrap_err().to_string();
    assert!(error.contains("line 500002: it has more than 500000 rows; divide the table"), "{error}");
    tree.write("t.csv", "path,label\n".to_string() + &"a.png,ok\nb.png,ok\n".repeat(1000));
    let dataset = Dataset::open(&table).unwrap();
    let found: Vec<_> = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::Duplicate).collect();
    assert_eq!((found.len(), found.iter().map(|finding| finding.count).sum::<usize>()), (21, 1998));
    let report = dataset.check().run().unwrap();
    let found = report.findings.iter().filter(|finding| finding.kind == FindingKind::Duplicate);
    assert_eq!(found.map(|finding| finding.count).sum::<usize>(), 1998);
}

#[test]
fn an_image_may_have_a_line_for_each_mask_but_one_split() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "c.png"]);
    tree.mask("m/0.png", 8, 4, 1);
    tree.mask("m/1.png", 8, 4, 0);
    tree.dot("m/1.png", 7, 3);
    let rows = "path,label,mask\na.png,ok,\nb.png,ok,\nc.png,dent,m/0.png\nc.png,scratch,m/1.png\n";
    let table = tree.write("t.csv", rows);
    let dataset = Dataset::open(&table).unwrap();
    assert_eq!(marked(&dataset, "c.png").len(), 17, "the left half, and a pixel");
    let text: String = dataset.findings.iter().map(|finding| format!("{finding}\n")).collect();
    assert!(text.contains("another mask of an image that an earlier line names: 1 (such as line 5: c.png"), "{text}");
    assert!(dataset.findings.iter().all(|finding| finding.kind != FindingKind::Duplicate), "{text}");
    let rows = "path,label,split\na.png,ok,train\nb.png,ok,test\nc.png,ok,train\na.png,ok,test\n";
    let error = Dataset::open(tree.write("t.csv", rows)).unwrap_err().to_string();
    assert!(error.contains("line 5: line 2 has another split for this image"), "{error}");
}

#[test]
fn paths_may_leave_their_folder_and_come_back() {
    let tree = Tree::new();
    pictures(&tree, &["data/images/a.png", "data/images/b.png"]);
    let open = |path: &str| {
        let table = format!("path,label\n{path},ok\nimages/b.png,ok\n");
        let dataset = Dataset::open(tree.write("data/t.csv", table)).map_err(|error| error.to_string())?;
        let is_there = dataset.categories[0].samples.iter().all(|sample| sample.path.is_file());
        Ok::<_, String>((is_there, dataset.categories[0].samples.len()))
    };
    for path in ["./images/../images/a.png", "x\\..\\images\\a.png", "../data/images/a.png", "data/images/a.png"] {
        assert_eq!(open(path), Ok((true, 2)), "{path}");
    }
    for path in ["../images/a.png", "images/../../a.png", "../data", "../../data/images/a.png"] {
        assert!(open(path).unwrap_err().contains("name a file inside the folder"), "{path}");
    }
    // The name of a category is one of a folder for results.
    let table = tree.write("data/t.csv", "path,label,category\nimages/a.png,ok,x/../y\n");
    assert!(Dataset::open(table).unwrap_err().to_string().contains("column category"));
}

#[cfg(unix)]
#[test]
fn whole_paths_may_lead_through_a_link() {
    let tree = Tree::new();
    pictures(&tree, &["data/images/a.png", "data/images/b.png", "other/a.png"]);
    std::os::unix::fs::symlink(tree.path("data"), tree.path("link")).unwrap();
    let table = |folder: &str| {
        let rows = ["a", "b"].map(|name| format!("{}/images/{name}.png,ok\n", tree.path(folder).display()));
        tree.write("data/t.csv", format!("path,label\n{}", rows.concat()))
    };
    for (folder, opened) in [("link", "data"), ("data", "link"), ("link", "link")] {
        table(folder);
        let dataset = Dataset::open(tree.path(opened)).unwrap();
        assert!(dataset.categories[0].samples.iter().all(|sample| sample.path.is_file()), "{folder}");
    }
    assert!(Dataset::open(table("other")).unwrap_err().to_string().contains("name a file inside the folder"));
}

#[test]
fn german_columns_of_products_and_masks_are_read() {
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png", "c.png"]);
    tree.mask("m.png", 8, 4, 1);
    tree.write(
        "t.csv",
        "Datei;Produkt;Ergebnis;Maske\na.png;Mutter;iO;\nb.png;Bolzen;iO;\nc.png;Mutter;Kratzer;m.png\n",
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    let names: Vec<&str> = dataset.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["Bolzen", "Mutter"]);
    assert_eq!(marked(&dataset, "c.png").len(), 16);
}
