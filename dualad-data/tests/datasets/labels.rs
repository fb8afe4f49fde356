//! Labels that lie beside the images: files, folders of masks, and names of folders.

use crate::support::Tree;
use dualad_data::{Dataset, Error, Finding, FindingKind, Layout, Sample, Split};

/// Writes pictures that differ.
fn pictures(tree: &Tree, names: &[&str]) {
    for (seed, name) in names.iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
}

fn open(tree: &Tree) -> Dataset {
    Dataset::open_products(tree.root()).unwrap()
}

/// Returns the paths and labels of the images of a split.
fn images(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<String> {
    let one = |sample: &Sample| {
        let path = sample.path.strip_prefix(tree.root()).unwrap().to_str().unwrap().replace('\\', "/");
        if sample.label.is_anomalous() { format!("{path} -") } else { path }
    };
    dataset.samples(split).map(one).collect()
}

fn of_kind(dataset: &Dataset, kind: FindingKind) -> Vec<&Finding> {
    dataset.findings.iter().filter(|finding| finding.kind == kind).collect()
}

#[test]
fn files_of_labels_above_and_beside_the_images_are_named() {
    let coco = r#"{"images": [{"id": 1, "file_name": "a.png", "width"#;
    for (file, content) in [
        ("data.csv", "id,grade\na,1\n"),
        ("data.xlsx", "PK"),
        ("labels.json", r#"{"a": 1}"#),
        ("labels.txt", "a 1\n"),
        ("defect list.txt", "elsewhere\n"),
        ("meta/labels.csv", "path,label\n../images/a.png,ok\n"),
        ("meta/more/a.xml", "<annotation/>"),
        ("yolo/a.txt", "0 .5 .5 .1 .1\n"),
    ] {
        for image in ["images", "train", "gear"] {
            let tree = Tree::new();
            let names = ["a", "b"].map(|name| format!("{image}/{name}.png"));
            pictures(&tree, &names.each_ref().map(String::as_str));
            tree.write(file, content);
            let dataset = open(&tree);
            assert_eq!(dataset.samples(Split::Train).count(), 2, "{file} {image}");
            let found = of_kind(&dataset, FindingKind::LeftOut);
            let [finding] = found[..] else { panic!("{file} {image}: {:?}", dataset.findings) };
            assert!(finding.message.starts_with(&format!("{file} is not read, because ")), "{finding}");
            assert!(finding.message.contains("; to have it read, "), "{finding}");
        }
    }
    // A damaged one is told once.
    for image in ["images", "train", "gear"] {
        let tree = Tree::new();
        pictures(&tree, &["a", "b"].map(|name| format!("{image}/{name}.png")).each_ref().map(String::as_str));
        tree.write("instances.json", coco);
        let dataset = open(&tree);
        let [finding] = &dataset.findings[..] else { panic!("{image}: {:?}", dataset.findings) };
        assert!(finding.kind == FindingKind::Unreadable, "{finding}");
        assert!(finding.message.contains("instances.json, line 1: it is not complete and valid JSON"), "{finding}");
    }
    // Notes are no labels, and a folder named so has normal images only.
    for (image, file) in
        [("images/a.png", "notes.txt"), ("good/a.png", "labels.csv"), ("gear/good/a.png", "labels.csv")]
    {
        let tree = Tree::new();
        pictures(&tree, &[image]);
        tree.write(file, "not read");
        assert!(of_kind(&open(&tree), FindingKind::LeftOut).is_empty(), "{file}");
    }
}

#[test]
fn a_table_that_is_not_valid_is_named_beside_a_folder_of_masks() {
    for (file, content, why) in [
        ("parts.csv", "images/a.png,nut,normal\nimages/b.png,nut,dent\n", "has no columns path and label"),
        ("parts.csv", "# of Monday\npath,label\nimages/a.png,ok\nimages/b.png,dent\n", "has no columns path and label"),
        (
            "annotations/a.json",
            r#"{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}], "annotations": {}}"#,
            "neither the lists of COCO",
        ),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["images/a.png", "images/b.png"]);
        tree.mask("masks/b.png", 8, 4, 255);
        tree.write(file, content);
        let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(error.contains(&format!("{file} names 2 of its 2 images")) && error.contains(why), "{error}");
    }
}

#[test]
fn tables_of_spreadsheets_are_read() {
    let table = "path,is_anomaly\nimages/a.png,False\nimages/b.png,0\nimages/c.png,TRUE\n";
    let units = || table.encode_utf16();
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect();
    let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(units().flat_map(u16::to_be_bytes)).collect();
    for bytes in [table.as_bytes(), &little, &big] {
        let tree = Tree::new();
        pictures(&tree, &["images/a.png", "images/b.png", "images/c.png"]);
        tree.write("data.csv", bytes);
        let dataset = open(&tree);
        assert_eq!(dataset.layout, Layout::Table);
        assert_eq!(dataset.samples(Split::Train).count(), 1);
        assert!(images(&tree, &dataset, Split::Test).contains(&"images/c.png -".to_string()));
    }
}

#[test]
fn folders_of_masks_are_no_products() {
    for name in [
        "gear_masks",
        "gear_GT",
        "gear_mask",
        "gear_label",
        "gear-labels",
        "gear_seg",
        "gear_annotations",
        "gear masks",
        "gearMasks",
        "masks_gear",
        "Gear_Ground_Truth",
    ] {
        let tree = Tree::new();
        pictures(&tree, &["gear/0.png", "gear/1.png", &format!("{name}/0.png"), &format!("{name}/1.png")]);
        let error = Dataset::open_products(tree.root()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Layout { .. }) && message.contains(name), "{name}: {message}");
    }
    let tree = Tree::new();
    pictures(&tree, &["images/0.png", "images_masks/0.png"]);
    assert!(Dataset::open_products(tree.root()).is_err());
    // Without images beside them, their content tells.
    let tree = Tree::new();
    pictures(&tree, &["plate/0.png"]);
    tree.mask("gear_masks/0.png", 8, 4, 255);
    assert!(Dataset::open_products(tree.root()).is_err());
    // Some of the images have a mask.
    for mask in ["1_mask.png", "1.png.png"] {
        let tree = Tree::new();
        pictures(&tree, &["train/0.png", "train/1.png", &format!("train_masks/{mask}")]);
        let message = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(message.contains("1 of its 2 images has a mask") && message.contains("train_masks"), "{message}");
    }
    // Products whose names only resemble these words.
    let tree = Tree::new();
    pictures(&tree, &["face_mask/0.png", "bottle_label/0.png", "gear/0.png"]);
    assert_eq!(open(&tree).categories.len(), 3);
}

#[test]
fn folders_of_masks_among_types_of_defects_are_no_types() {
    for (masks, used) in [
        ("test/scratch_mask/2.png", true),
        ("test/scratch_GT/2_mask.png", true),
        ("test/masks/scratch/2.png", true),
        ("test/masks/2.png", true),
        ("test/ground_truth/scratch/2_mask.png", true),
        ("test/good_mask/1.png", false),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["train/good/0.png", "test/good/1.png", "test/scratch/2.png"]);
        tree.mask(masks, 8, 4, 255);
        let dataset = open(&tree);
        assert_eq!(images(&tree, &dataset, Split::Test), ["test/good/1.png", "test/scratch/2.png -"], "{masks}");
        assert_eq!(
            dataset.samples(Split::Test).filter(|sample| sample.has_mask()).count(),
            usize::from(used),
            "{masks}"
        );
        assert_eq!(
            of_kind(&dataset, FindingKind::LeftOut).len(),
            usize::from(!used),
            "{masks}: {:?}",
            dataset.findings
        );
    }
    // Beside a folder of masks, another one is named. So is a type that may be masks.
    let tree = Tree::new();
    pictures(&tree, &["train/good/0.png", "test/cut/2.png", "test/bent_mask/3.png"]);
    tree.mask("ground_truth/cut/2_mask.png", 8, 4, 255);
    tree.mask("test/masks/2.png", 8, 4, 255);
    let dataset = open(&tree);
    assert_eq!(images(&tree, &dataset, Split::Test), ["test/bent_mask/3.png -", "test/cut/2.png -"]);
    assert!(of_kind(&dataset, FindingKind::LeftOut)[0].path.ends_with("test/masks"));
    assert!(of_kind(&dataset, FindingKind::UnclearLabel)[0].path.ends_with("test/bent_mask"));
}

#[test]
fn negative_images_among_types_of_defects_are_named() {
    for name in ["negative", "NEG", "neg_samples", "0", "false"] {
        let tree = Tree::new();
        pictures(&tree, &["train/good/0.png", "test/good/1.png", "test/cut/2.png", &format!("test/{name}/3.png")]);
        let dataset = open(&tree);
        let found = of_kind(&dataset, FindingKind::UnclearLabel);
        assert!(found.len() == 1 && found[0].path.ends_with(name), "{name}: {:?}", dataset.findings);
    }
}

#[test]
fn a_mask_belongs_to_the_defective_image_of_its_name() {
    for [bad, mask] in [
        ["bad/000.png", "mask/000.png"],
        ["test/cut/000.png", "mask/000_mask.png"],
        ["ng/cut/000.png", "masks/000.png"],
    ] {
        let tree = Tree::new();
        pictures(&tree, &["good/000.png", "good/001.png", bad]);
        tree.mask(mask, 8, 4, 255);
        let dataset = open(&tree);
        assert_eq!(images(&tree, &dataset, Split::Train), ["good/000.png", "good/001.png"]);
        assert_eq!(dataset.samples(Split::Test).filter(|sample| sample.has_mask()).count(), 1, "{bad}");
        dataset.check().threads(1).run().unwrap().into_result().unwrap();
    }
}

#[test]
fn products_may_have_folders_for_testing() {
    let tree = Tree::new();
    pictures(
        &tree,
        &[
            "gear/train/0.png",
            "gear/test/good/1.png",
            "gear/test/cut/2.png",
            "plate/good/3.png",
            "plate/test/good/4.png",
            "plate/test/dent/5.png",
        ],
    );
    tree.mask("gear/ground_truth/cut/2_mask.png", 8, 4, 255);
    let dataset = open(&tree);
    let names: Vec<&str> = dataset.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!((dataset.layout, &names[..]), (Layout::Folder, &["gear", "plate"][..]));
    assert_eq!(images(&tree, &dataset, Split::Train), ["gear/train/0.png", "plate/good/3.png"]);
    assert_eq!(
        images(&tree, &dataset, Split::Test),
        ["gear/test/cut/2.png -", "gear/test/good/1.png", "plate/test/dent/5.png -", "plate/test/good/4.png"]
    );
    assert!(dataset.findings.is_empty(), "{:?}", dataset.findings);
    // As MVTec AD, they are test sets without training images.
    assert_eq!(Dataset::open_as(Layout::Mvtec, tree.root()).unwrap().categories.len(), 2);
    // Without normal images, they are test sets.
    let tree = Tree::new();
    pictures(&tree, &["gear/test/good/1.png", "plate/test/dent/5.png"]);
    assert_eq!(open(&tree).layout, Layout::Mvtec);
}

#[test]
fn the_name_of_a_folder_does_not_change_the_division() {
    let divided = |folder: &str| {
        let tree = Tree::new();
        let names: Vec<String> = (0..20).map(|index| format!("{folder}/{index:02}.png")).collect();
        pictures(&tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let lines: String = (0..20).map(|index| format!("{index:02}.png,ok\n")).collect();
        tree.write(&format!("{folder}/t.csv"), format!("path,label\n{lines}"));
        let dataset = Dataset::open(tree.root().join(folder)).unwrap();
        let name = |sample: &Sample| sample.path.file_name().unwrap().to_os_string();
        dataset.samples(Split::Test).map(name).collect::<Vec<_>>()
    };
    assert_eq!(divided("parts").len(), 4);
    assert_eq!(divided("parts"), divided("a copy"));
}

#[test]
fn a_visa_image_has_one_label_and_one_split() {
    let head = "object,split,label,image,mask\npcb1,train,normal,pcb1/0.JPG,\n";
    for (line, word) in [("pcb1,test,anomaly,pcb1/0.JPG,\n", "label"), ("pcb1,test,normal,pcb1/0.JPG,\n", "split")] {
        let tree = Tree::new();
        tree.write("split_csv/1cls.csv", format!("{head}{line}"));
        let message = Dataset::open(tree.root()).unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains(&format!("line 2 has another {word}")), "{message}");
    }
    // Its words may be in upper case.
    let tree = Tree::new();
    tree.write("split_csv/1cls.csv", format!("{head}pcb1,Test,Normal,pcb1/1.JPG,\npcb1,test,ANOMALY,pcb1/2.JPG,\n"));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(images(&tree, &dataset, Split::Test), ["pcb1/1.JPG", "pcb1/2.JPG -"]);
    assert!(dataset.findings.is_empty(), "{:?}", dataset.findings);
}

#[test]
fn one_sentence_says_why_a_file_beside_products_is_not_read_and_how_it_is() {
    for (file, content, why, how) in [
        (
            "config.json",
            r#"{"exposure": 12}"#,
            "neither the lists of COCO nor the shapes of LabelMe",
            "as COCO or LabelMe does",
        ),
        (
            "sensor.csv",
            "time;celsius\n1;20\n",
            "its first line \"time;celsius\" has no columns path and label",
            "give it the columns",
        ),
        ("labels.json", "{\"images\": [", "not complete and valid JSON", "write it anew"),
        ("book.xlsx", "PK", "spreadsheets are not supported", "save it as csv"),
        ("a.xml", "<annotation/>", "XML", "export them as COCO JSON"),
        ("gear/labels.csv", "path,label\n0.png,ok\n", "a table inside", "open it by its path"),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["gear/0.png", "gear/1.png", "plate/2.png"]);
        tree.write(file, content);
        let dataset = open(&tree);
        let found = of_kind(&dataset, FindingKind::LeftOut);
        let [finding] = found[..] else { panic!("{file}: {:?}", dataset.findings) };
        let first = finding.message.split(". ").next().unwrap();
        let name = file.rsplit('/').next().unwrap();
        assert!(first.starts_with(&format!("{name} is not read")), "{finding}");
        assert!(first.contains(why) && first.contains("; to have it read, ") && first.contains(how), "{finding}");
        assert!(of_kind(&dataset, FindingKind::OtherFiles).is_empty(), "{:?}", dataset.findings);
    }
}

#[test]
fn files_beside_images_that_are_not_read_are_named_and_counted() {
    let tree = Tree::new();
    pictures(&tree, &["c/train/good/0.png", "c/train/good/1.png", "c/test/cut/2.png", "notes/3.png"]);
    let names: Vec<String> = (0..30).map(|index| format!("c/train/good/{index:02}.dat")).collect();
    for name in ["c/labels.yaml", "parts.db", "c/test/Thumbs.db", "c/README", "c/train/desktop.ini", "old/more.db"] {
        tree.write(name, "x");
    }
    names.iter().for_each(|name| drop(tree.write(name, "x")));
    let dataset = open(&tree);
    let found = of_kind(&dataset, FindingKind::OtherFiles);
    let [finding] = found[..] else { panic!("{:?}", dataset.findings) };
    assert_eq!(finding.severity(), dualad_data::Severity::Note);
    let line = finding.to_string();
    assert!(
        line.contains("32 files beside the images are not read: parts.db, c/labels.yaml, c/train/good/00.dat"),
        "{line}"
    );
    assert!(line.contains(" and 12 more") && !line.contains("Thumbs") && !line.contains("README"), "{line}");
    // Beside products, and in one.
    let tree = Tree::new();
    pictures(&tree, &["gear/0.png", "plate/1.png"]);
    for name in ["labels.yaml", "gear/parts.db", "Thumbs.db"] {
        tree.write(name, "x");
    }
    let messages: Vec<String> =
        of_kind(&open(&tree), FindingKind::OtherFiles).iter().map(|finding| finding.message.clone()).collect();
    assert!(
        messages.len() == 2 && messages[0].contains("parts.db") && messages[1].contains("labels.yaml"),
        "{messages:?}"
    );
    // What a layout reads is no other file.
    let tree = Tree::new();
    pictures(&tree, &["a.png", "b.png"]);
    tree.write("t.csv", "path,label,split\na.png,ok,train\nb.png,dent,test\n");
    assert!(of_kind(&open(&tree), FindingKind::OtherFiles).is_empty());
}

#[test]
fn a_table_that_names_most_images_and_is_not_read_is_an_error() {
    for (file, content) in [
        ("teile.csv", "Aufnahme;Urteil\na.png;iO\nb.png;niO\n"),
        ("list.csv", "filename,class\na.png,good\nb.png,bad\n"),
        ("list.csv", "image,defect\na.png,0\nb.png,1\n"),
        ("meta/labels.csv", "path,label\n../images/a.png,ok\n../images/b.png,dent\n"),
        ("labels.json", "{\"a.png\": \"ok\", \"b.png\": \"ng\"}"),
        ("labels.txt", "a.png 0\nb.png 1\n"),
    ] {
        for image in ["images", "train", "gear"] {
            let tree = Tree::new();
            pictures(&tree, &["a", "b", "c"].map(|name| format!("{image}/{name}.png")).each_ref().map(String::as_str));
            tree.write(file, content);
            let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
            assert!(error.contains(&format!("{file} names 2 of its 3 images and is not read")), "{error}");
            assert!(error.contains("; to have it read, ") && error.contains("move the normal images to train/good"));
        }
    }
    // The folder of the images says their label.
    let tree = Tree::new();
    pictures(&tree, &["train/good/a.png", "train/good/b.png"]);
    tree.write("list.csv", "filename,class\na.png,good\nb.png,bad\n");
    assert!(of_kind(&open(&tree), FindingKind::LeftOut).is_empty());
}

#[test]
fn a_layout_that_is_named_reads_no_list_of_labels_away() {
    let tree = Tree::new();
    pictures(&tree, &["0.png", "1.png", "2.png"]);
    tree.write("report.csv", "Aufnahme;Urteil\n0.png;gut\n1.png;schlecht\n2.png;gut\n");
    for opened in [Dataset::open(tree.root()), Dataset::open_as(Layout::Folder, tree.root())] {
        let message = opened.unwrap_err().to_string();
        assert!(message.contains("report.csv names 3 of its 3 images"), "{message}");
    }
}
