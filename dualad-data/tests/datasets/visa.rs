//! VisA's table of images.

use std::path::Path;

use crate::support::{Tree, kinds, relative, touch};
use dualad_data::{Dataset, Error, FindingKind, Layout, MaskRule, Sample, Split};

fn names<'a>(root: &Path, samples: impl Iterator<Item = &'a Sample>) -> Vec<String> {
    samples.map(|sample| relative(root, &sample.path)).collect()
}

const VISA: &str = "object,split,label,image,mask
pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png
pcb1,test,normal,pcb1/Data/Images/Normal/0001.JPG,
pcb1,train,normal,pcb1/Data/Images/Normal/0002.JPG,
pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,
candle,train,normal,candle/Data/Images/Normal/0000.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/007.JPG,
";

#[test]
fn repeated_lines_are_findings_and_shared_masks_of_normal_images_are_not() {
    let tree = Tree::new();
    let line = "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png\n";
    let normal = "pcb1,test,normal,pcb1/x.JPG,pcb1/black.png\npcb1,test,normal,pcb1/y.JPG,pcb1/black.png\n";
    tree.write("split_csv/1cls.csv", format!("{VISA}{line}{normal}"));
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::Duplicate, "pcb1/Data/Images/Anomaly/000.JPG".into())]);
    assert!(dataset.findings[0].message.contains("line 2 and in line 8"), "{}", dataset.findings[0]);
}

#[test]
fn visa_is_read_from_its_table() {
    let tree = Tree::new();
    tree.write("split_csv/1cls.csv", VISA);
    touch(&tree, &["pcb1/Data/Masks/Anomaly/000.png", "pcb1/Data/Masks/Anomaly/055.png"]);
    touch(&tree, &["candle/Data/Masks/Anomaly/006.png", "candle/Data/Masks/Anomaly/007.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::Visa);
    let all: Vec<String> = dataset.categories.iter().flat_map(|c| names(tree.root(), c.samples.iter())).collect();
    let expected = [
        "candle/Data/Images/Normal/0000.JPG",
        "candle/Data/Images/Anomaly/007.JPG",
        "pcb1/Data/Images/Normal/0000.JPG",
        "pcb1/Data/Images/Normal/0002.JPG",
        "pcb1/Data/Images/Anomaly/000.JPG",
        "pcb1/Data/Images/Normal/0001.JPG",
    ];
    assert_eq!(all, expected);
    let masks: Vec<String> = dataset
        .samples(Split::Test)
        .flat_map(|sample| sample.masks.iter().map(|mask| relative(tree.root(), mask)))
        .collect();
    // The second mask is not in the table, and is found by its stem.
    assert_eq!(masks, ["candle/Data/Masks/Anomaly/007.png", "pcb1/Data/Masks/Anomaly/000.png"]);
    assert!(dataset.samples(Split::Test).all(|sample| sample.mask_rule == MaskRule::NonZero));
    let unpaired = ["candle/Data/Masks/Anomaly/006.png", "pcb1/Data/Masks/Anomaly/055.png"];
    assert_eq!(kinds(&dataset), unpaired.map(|path| (FindingKind::UnpairedMask, path.to_string())));
    // Images that the table does not list.
    touch(&tree, &["pcb1/Data/Images/Normal/0000.JPG", "pcb1/Data/Images/Normal/0009.JPG"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset)[1], (FindingKind::LeftOut, "pcb1/Data/Images/Normal".into()));
    assert!(dataset.findings[1].message.starts_with("1 image in it is"), "{}", dataset.findings[1]);
}

#[test]
fn a_table_with_backslashes_is_read() {
    let tree = Tree::new();
    tree.write("split_csv/1cls.csv", VISA.replace('/', "\\"));
    let dataset = Dataset::open(tree.root()).unwrap();
    tree.write("split_csv/1cls.csv", VISA);
    let expected = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.categories, expected.categories);
}

#[test]
fn columns_may_be_in_any_order() {
    let tree = Tree::new();
    tree.write("split_csv/1cls.csv", "\u{feff}Mask,image, label,split,object,more\r\n,a/b.png,normal,train,a,x\r\n");
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(names(tree.root(), dataset.samples(Split::Train)), ["a/b.png"]);
}

#[test]
fn an_invalid_table_is_an_error_with_the_line() {
    let header = "object,split,label,image,mask\n";
    let cases: [(String, u64, &str); 10] = [
        ("object,split,label,image\n".into(), 1, "column \"mask\""),
        (format!("{header}a,train,normal,x.png,\na,dev,normal,x.png,\n"), 3, "split is \"dev\""),
        (format!("{header}a,train,,x.png,\n"), 2, "label"),
        (format!("{header}a,train,anomaly,x.png,\n"), 2, "for training"),
        (format!("{header}a,train,normal,,\n"), 2, "image is empty"),
        (format!("{header}a,train,normal,../x.png,\n"), 2, "image is \"../x.png\""),
        (format!("{header}a,train,normal,..\\x.png,\n"), 2, "image is \"..\\x.png\""),
        (format!("{header}a,test,anomaly,x.png,/etc/m.png\n"), 2, "mask is \"/etc/m.png\""),
        (format!("{header}../a,train,normal,x.png,\n"), 2, "object"),
        (format!("{header}a,train\n"), 2, "2 fields"),
    ];
    for (table, line, word) in cases {
        let tree = Tree::new();
        let path = tree.write("split_csv/1cls.csv", &table);
        let error = Dataset::open(tree.root()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Table { line: found, .. } if found == line), "{message}");
        assert!(message.contains(word) && message.contains(&path.display().to_string()), "{message}");
    }
    let tree = Tree::new();
    tree.write("split_csv/1cls.csv", [header.as_bytes(), b"a,train,normal,\xff.png,\n"].concat());
    assert!(Dataset::open(tree.root()).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn a_label_that_is_not_one_of_visas_is_a_finding() {
    let tree = Tree::new();
    let table = format!("{VISA}pcb1,test,ok,pcb1/a.JPG,\npcb1,test,ok,pcb1/b.JPG,\npcb1,test,bent,pcb1/c.JPG,\n");
    tree.write("split_csv/1cls.csv", table);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), vec![(FindingKind::UnclearLabel, "split_csv/1cls.csv".into()); 2]);
    assert!(
        dataset.findings[0].message.contains("line 8") && dataset.findings[0].message.contains("normal or anomaly")
    );
}
