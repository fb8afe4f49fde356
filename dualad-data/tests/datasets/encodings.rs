//! Tables and annotations in every encoding that programs write.

use crate::support::Tree;
use crate::support::annotated::{coco, labelme, marked, paths, pictures};
use dualad_data::{Dataset, Error, Layout, Split};

/// Returns a text in UTF-8 with a mark, and in UTF-16 of both byte orders with and without one.
fn encoded(text: &str) -> [Vec<u8>; 5] {
    let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let (little, big) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
    [
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [b"\xff\xfe", &little[..]].concat(),
        [b"\xfe\xff", &big[..]].concat(),
        little,
        big,
    ]
}

#[test]
fn files_in_utf_16_are_read() {
    let boxed = r#""category_id": 1, "segmentation": [], "bbox": [0, 0, 2, 1]"#;
    let drawn = labelme(r#"{"label": "dent", "points": [[0, 0], [2, 1]], "shape_type": "rectangle"}"#);
    let lines = "{\"path\": \"geh\u{e4}use.png\", \"label\": \"good\"}\n{\"path\": \"b.png\", \"label\": \"dent\"}\n";
    for (file, text, layout) in [
        ("t.csv", "path;label\r\ngeh\u{e4}use.png;good\r\nb.png;dent\r\n", Layout::Table),
        ("t.tsv", "path\tlabel\ngeh\u{e4}use.png\tgood\nb.png\tdent\n", Layout::Table),
        ("t.jsonl", lines, Layout::Table),
        ("labels.json", &coco(&["geh\u{e4}use.png", "b.png"], &[(1, boxed)]), Layout::Coco),
        ("b.json", &drawn, Layout::LabelMe),
    ] {
        for (index, bytes) in encoded(text).into_iter().enumerate() {
            let tree = Tree::new();
            pictures(&tree, &["geh\u{e4}use.png", "b.png"]);
            tree.write(file, bytes);
            let dataset = Dataset::open(tree.root()).unwrap_or_else(|error| panic!("{file}, {index}: {error}"));
            assert_eq!(dataset.layout, layout, "{file}, {index}");
            assert_eq!(paths(&tree, &dataset, Split::Train), ["geh\u{e4}use.png"], "{file}, {index}");
            assert_eq!(paths(&tree, &dataset, Split::Test), ["b.png"], "{file}, {index}");
            if layout != Layout::Table {
                assert_eq!(marked(&dataset, "b.png"), [(0, 0), (1, 0)]);
            }
        }
    }
}

#[test]
fn other_encodings_are_named() {
    let tree = Tree::new();
    pictures(&tree, &["b.png"]);
    for (file, layout, bytes) in [
        ("t.csv", Layout::Table, &b"path,label\ngeh\xe4use.png,good\n"[..]),
        ("t.jsonl", Layout::Table, b"{\"path\": \"geh\xe4use.png\", \"label\": \"good\"}\n"),
        (
            "labels.json",
            Layout::Coco,
            b"{\"images\": [{\"id\": 1, \"file_name\": \"geh\xe4use.png\"}], \"annotations\": []}",
        ),
    ] {
        let error = Dataset::open_as(layout, tree.write(file, bytes)).unwrap_err();
        assert!(matches!(error, Error::Table { .. }) && error.to_string().contains("as UTF-8"), "{file}: {error}");
    }
}
