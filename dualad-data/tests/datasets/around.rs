//! Labels and masks around a folder of images that is opened by itself, and in texts beside the images.

use crate::support::annotated::{coco, labelme, pictures};
use crate::support::{Tree, kinds, relative};
use dualad_data::image::Limits;
use dualad_data::{Dataset, FindingKind};

/// Writes 8 images into a folder.
fn images(tree: &Tree, folder: &str) {
    let names: Vec<String> = (0..8).map(|index| format!("{folder}/part{index:03}.png")).collect();
    pictures(tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Returns a folder of images, and a file with this content.
fn with(folder: &str, file: &str, content: &str) -> Tree {
    let tree = Tree::new();
    images(&tree, folder);
    tree.write(file, content);
    tree
}

fn error(tree: &Tree, folder: &str) -> String {
    Dataset::open_products(tree.root().join(folder)).unwrap_err().to_string()
}

#[test]
fn masks_and_labels_beside_a_folder_of_images_are_seen() {
    for (folder, label) in [
        ("images", "masks/part003.png"),
        ("images", "masks/part003_mask.png"),
        ("images", "labels/part003.txt"),
        ("JPEGImages", "Annotations/part003.xml"),
        ("images/train", "labels/train/part003.txt"),
        ("train/images", "train/labels/part003.txt"),
        ("images", "masks/part003.png.png"),
        ("images", "labels/part003.png.json"),
        ("img", "ann/part003.png.json"),
        ("images", "annotations/part003.png.xml"),
    ] {
        let tree = Tree::new();
        images(&tree, folder);
        if label.ends_with("png") {
            tree.mask(label, 8, 4, 255);
        } else {
            tree.write(label, "0 0.5 0.5 0.1 0.1\n");
        }
        let error = error(&tree, folder);
        assert!(error.contains("masks or labels of 1 of its 8 images lie in"), "{label}: {error}");
    }
    // The folder above the images may be opened, too.
    let tree = Tree::new();
    images(&tree, "images/train");
    images(&tree, "images/val");
    tree.write("labels/train/part003.txt", "0 0.5 0.5 0.1 0.1\n");
    assert!(error(&tree, "images").contains("masks or labels of 1 of its 8 images lie in"));
    // The images of a folder for normal ones, and those beside test images, have no labels there.
    for (folder, other) in [("good", "masks/part003.png"), ("train", "ground_truth/cut/part003.png")] {
        let tree = Tree::new();
        images(&tree, folder);
        tree.mask(other, 8, 4, 255);
        if folder == "train" {
            tree.picture("test/cut/part003.png", 8, 4, 9);
        }
        assert_eq!(kinds(&Dataset::open(tree.root().join(folder)).unwrap()), [], "{other}");
    }
    // Labels of other images.
    let tree = with("images", "labels/other.txt", "0 0.5 0.5 0.1 0.1\n");
    assert_eq!(kinds(&Dataset::open(tree.root().join("images")).unwrap()), []);
}

#[test]
fn files_above_a_folder_of_images_are_read_for_their_labels() {
    let boxed = coco(&["part003.png", "part004.png"], &[(0, r#""bbox": [0, 0, 2, 2], "category_id": 1"#)]);
    for (file, content) in [
        ("results.csv", "file,result\npart003.png,NG\n".to_string()),
        ("../labels.csv", "file;state\nparts/images/part003.png;1\nparts/images/part004.png;0\n".into()),
        ("annotations.json", boxed),
        (
            "annotations.xml",
            "<annotations><image name=\"part003.png\"><box label=\"dent\"/></image><image name=\"part004.png\"/></annotations>"
                .into(),
        ),
    ] {
        let tree = with("parts/images", &format!("parts/{file}").replace("parts/../", ""), &content);
        let error = error(&tree, "parts/images");
        assert!(error.contains("of its 8 images"), "{file}: {error}");
    }
    // A file about other things.
    let tree = with("parts/images", "parts/settings.csv", "key,value\nexposure,20\n");
    assert_eq!(kinds(&Dataset::open(tree.root().join("parts/images")).unwrap()), []);
}

/// COCO's annotations of 8 images, of which two have a dent. The images lie in `folder`.
fn dents(folder: &str) -> String {
    let names: Vec<String> = (0..8).map(|index| format!("{folder}part{index:03}.png")).collect();
    let dent = r#""bbox": [0, 0, 2, 2], "category_id": 1"#;
    coco(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[(3, dent), (4, dent)])
}

const CVAT: &str =
    "<annotations><image name=\"part003.png\"><box label=\"dent\"/></image><image name=\"part004.png\"/></annotations>";

#[test]
fn files_in_folders_beside_a_folder_of_images_are_read_for_their_labels() {
    let table = "path,label\npart002.png,OK\npart003.png,NG\n";
    for (folder, file, content) in [
        ("images", "annotations/a.json", dents("")),
        ("images", "annotations/instances_default.json", dents("")),
        ("images/default", "annotations/instances_default.json", dents("")),
        ("images", "labels/a.json", dents("images/")),
        ("images", "labels/t.csv", table.into()),
        ("images", "annotations/t.csv", table.into()),
        ("images", "annotations/annotations.xml", CVAT.into()),
        ("images", "labels/labels.txt", "part003.png NG\n".into()),
        ("images", "labels/all/list.yaml", "part003.png: NG\n".into()),
    ] {
        let error = error(&with(folder, file, &content), folder);
        let name = file.rsplit('/').next().unwrap();
        assert!(error.contains(name) && error.contains("of its 8 images ha"), "{folder} {file}: {error}");
    }
    // The folder around an export of CVAT is a dataset.
    let tree = with("images/default", "annotations/instances_default.json", &dents(""));
    assert_eq!(Dataset::open(tree.root()).unwrap().categories[0].samples.len(), 8);
    // Labels of other images, and files about other things.
    for (file, content) in
        [("labels/t.csv", "path,label\nother.png,NG\n"), ("annotations/info.json", "{\"camera\": 2}")]
    {
        let tree = with("images", file, content);
        assert_eq!(kinds(&Dataset::open(tree.root().join("images")).unwrap()), [], "{file}");
    }
}

#[test]
fn files_around_a_product_that_say_that_its_images_have_defects_are_seen() {
    let table = "path,label\ngear/part003.png,NG\ngear/part004.png,OK\n";
    for (folder, file, content) in [
        ("gear", "a.json", dents("")),
        ("gear", "annotations/a.json", dents("gear/")),
        // Annotations of many images.
        ("images", "annotations/a.json", dents("") + &" ".repeat(33 << 20)),
        ("gear", "t.csv", table.into()),
        ("gear", "gear_labels/t.csv", table.into()),
        ("parts/gear", "t.csv", table.into()),
        ("gear", "annotations.xml", CVAT.into()),
        ("gear", "labels.txt", "part003.png NG\n".into()),
        ("Bilder/gear", "t.csv", table.replace("gear/", "Bilder/gear/")),
    ] {
        // The folder of several products may be opened, too.
        let opened = folder.strip_suffix("/gear").filter(|above| *above == "Bilder").unwrap_or(folder);
        let error = error(&with(folder, file, &content), opened);
        assert!(error.contains("of its 8 images ha"), "{folder} {file}: {error}");
    }
    // Labels of another product, of images of which nothing tells the product, of the part, and of normal images.
    let part = (0..8).map(|index| (index, r#""bbox": [0, 0, 2, 2], "category_id": 9"#)).collect::<Vec<_>>();
    let names: Vec<String> = (0..8).map(|index| format!("gear/part{index:03}.png")).collect();
    let part = coco(&names.iter().map(String::as_str).collect::<Vec<_>>(), &part);
    for (file, content) in [
        ("annotations/a.json", dents("box/")),
        ("a.json", dents("")),
        ("t.csv", table.replace("gear/", "box/")),
        ("t.csv", table.replace("gear/", "")),
        ("t.csv", table.replace("NG", "OK")),
        ("notes.txt", "gear/part003.png: scratch\n".into()),
        // Another product, which is not there.
        ("labels/a.json", dents("screws/")),
        ("t.csv", table.replace("gear/", "screws/")),
        ("t.csv", "image,pred_label,score\ngear/part003.png,anomalous,2.5\ngear/part004.png,normal,0.5\n".into()),
        ("results.jsonl", "{\"path\": \"gear/part003.png\", \"image_score\": 2.5, \"decision\": \"reject\"}\n".into()),
        ("a.json", part.replace("{\"id\": 1, \"name\": \"dent\"}", "{\"id\": 9, \"name\": \"gear\"}")),
    ] {
        let tree = with("gear", file, &content);
        images(&tree, "box");
        assert_eq!(kinds(&Dataset::open_products(tree.root().join("gear")).unwrap()), [], "{file}: {content}");
    }
}

/// Writes 80 folders of other things into a folder.
fn crowd(tree: &Tree, folder: &str) {
    (0..80).for_each(|index| drop(tree.write(&format!("{folder}/other{index}/notes.md"), "")));
}

#[test]
fn a_folder_with_many_entries_is_looked_at_by_their_names() {
    for (folder, file, content) in [
        ("a/images", "a/annotations/a.json", dents("")),
        ("a/images/default", "a/annotations/a.json", dents("")),
        ("a/images", "a/t.csv", "path,label\npart003.png,NG\npart004.png,OK\n".into()),
        ("a/images", "a/labels.txt", "part003.png NG\n".into()),
        ("a/gear", "a/t.csv", "path,label\ngear/part003.png,NG\ngear/part004.png,OK\n".into()),
    ] {
        let tree = with(folder, file, &content);
        crowd(&tree, "a");
        let error = error(&tree, folder);
        assert!(error.contains("of its 8 images ha"), "{folder} {file}: {error}");
    }
    let tree = Tree::new();
    images(&tree, "a/images");
    crowd(&tree, "a");
    tree.mask("a/masks/part003.png", 8, 4, 255);
    assert!(error(&tree, "a/images").contains("masks or labels of 1 of its 8 images lie in"));
    // Such a folder around a product or around a dataset may hold tables of anything.
    for (folder, file) in [("a/gear", "a/t.csv"), ("a/x/images", "a/t.csv")] {
        let tree = with(folder, file, "path,label\npart003.png,NG\npart004.png,OK\n");
        crowd(&tree, "a");
        assert_eq!(kinds(&Dataset::open(tree.root().join(folder)).unwrap()), [], "{folder}");
    }
    // More entries than are looked at.
    let tree = Tree::new();
    images(&tree, "a/images");
    (0..10_001).for_each(|index| std::fs::write(tree.path(&format!("a/{index}.bin")), "").unwrap());
    let dataset = Dataset::open(tree.root().join("a/images")).unwrap();
    let [finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
    assert!(finding.kind == FindingKind::Choice && finding.message.starts_with("more files around it"), "{finding}");
}

#[test]
fn lines_of_a_product_count_for_the_images_in_its_folder() {
    for (file, content) in [
        ("t.csv", "path,label,product\npart003.png,NG,gear\npart004.png,OK,gear\npart003.png,OK,box\n"),
        ("t.csv", "path,label,Teil\npart003.png,NG,Gear\npart004.png,OK,Gear\npart003.png,OK,Box\n"),
        ("t.csv", "path,label,product\npart003,NG,gear\npart004,OK,gear\npart003,OK,box\n"),
        (
            "t.csv",
            "path,label,product\nup/ab12cd34-part003.png,NG,gear\nup/ab12cd34-part004.png,OK,gear\npart003.png,OK,box\n",
        ),
        ("list.csv", "Teil;Foto;Urteil\ngear;part003.png;NG\nbox;part003.png;ok\n"),
        (
            "list.jsonl",
            "{\"product\": \"gear\", \"photo\": \"part003.png\", \"verdict\": \"NG\"}\n{\"product\": \"box\", \"photo\": \"part003.png\"}\n",
        ),
    ] {
        let tree = with("gear", file, content);
        images(&tree, "box");
        let error = error(&tree, "gear");
        assert!(error.contains("says that 1 of its 8 images has a defect"), "{content}: {error}");
        assert_eq!(kinds(&Dataset::open(tree.root().join("box")).unwrap()), [], "{content}");
        // Without the other product, too.
        let tree = with("box", file, content);
        assert_eq!(kinds(&Dataset::open(tree.root().join("box")).unwrap()), [], "{content}");
    }
    // The product is no folder.
    let tree = with("gear", "t.csv", "path,label,product\npart003.png,NG,A7\npart004.png,OK,A7\n");
    assert!(error(&tree, "gear").contains("says that 1 of its 8 images has a defect"));
}

#[test]
fn names_without_an_ending_count_in_files_above_a_product() {
    for (file, content) in [
        ("list.csv", "id,verdict\n003,NG\n004,ok\n"),
        ("t.csv", "path,label\n003,NG\n004,OK\n"),
        ("labels.txt", "003 NG\n004 ok\n"),
    ] {
        let tree = Tree::new();
        let names: Vec<String> = (0..8).map(|index| format!("gear/{index:03}.png")).collect();
        pictures(&tree, &names.iter().map(String::as_str).collect::<Vec<_>>());
        tree.write(file, content);
        let error = error(&tree, "gear");
        assert!(error.contains("says that 1 of its 8 images has a defect"), "{file}: {error}");
        // Another product with the same names.
        pictures(&tree, &["box/003.png", "box/004.png"]);
        assert_eq!(kinds(&Dataset::open(tree.root().join("gear")).unwrap()), [], "{file}");
    }
}

#[test]
fn folders_of_masks_have_many_names() {
    for (folder, masks) in [
        ("gear", "gear_masks"),
        ("gear", "masks/gear"),
        ("images", "segm"),
        ("images", "annot"),
        ("images", "png_masks"),
        ("images", "train_labels"),
        ("raw", "masks"),
        ("frames", "masks"),
    ] {
        for (value, is_refused) in [(255, true), (0, false)] {
            let tree = Tree::new();
            images(&tree, folder);
            tree.mask(&format!("{masks}/part003.png"), 8, 4, value);
            let found = Dataset::open_products(tree.root().join(folder)).map_err(|error| error.to_string());
            let is_of_masks =
                found.as_ref().is_err_and(|error| error.contains("masks or labels of 1 of its 8 images lie in"));
            assert!(is_of_masks == is_refused && found.is_ok() != is_refused, "{folder} {masks}: {found:?}");
        }
    }
    let tree = with("frames", "labels/part003.txt", "0 0.5 0.5 0.1 0.1\n");
    assert!(error(&tree, "frames").contains("masks or labels of 1 of its 8 images lie in"));
    // Annotations of a product are read.
    for (label, is_refused) in [("dent", true), ("OK", false)] {
        let shape = format!(r#"{{"label": "{label}", "points": [[0, 0], [2, 2]], "shape_type": "rectangle"}}"#);
        let tree = with("gear", "annotations/gear/part003.json", &labelme(&shape).replace("x.png", "part003.png"));
        assert_eq!(Dataset::open_products(tree.root().join("gear")).is_err(), is_refused, "{label}");
    }
    // Masks of another product.
    let tree = Tree::new();
    images(&tree, "gear");
    tree.mask("masks/box/part003.png", 8, 4, 255);
    tree.mask("box_masks/part003.png", 8, 4, 255);
    assert_eq!(kinds(&Dataset::open(tree.root().join("gear")).unwrap()), []);
}

#[test]
fn files_that_call_all_images_normal_refuse_nothing() {
    let names: Vec<String> = (0..8).map(|index| format!("part{index:03}.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let boxed = |category: u32| -> String {
        let annotation = format!(r#""bbox": [0, 0, 2, 2], "category_id": {category}"#);
        coco(&names, &(0..8).map(|index| (index, annotation.as_str())).collect::<Vec<_>>())
    };
    let table =
        |label: &str| names.iter().fold("path,label\n".to_string(), |all, name| all + name + "," + label + "\n");
    for (file, normal, other) in [("annotations/a.json", boxed(3), boxed(9)), ("t.csv", table("OK"), table("1"))] {
        let tree = with("images", file, &normal);
        assert_eq!(kinds(&Dataset::open(tree.root().join("images")).unwrap()), [], "{file}");
        // Nothing tells what this category and this number mean.
        assert!(error(&with("images", file, &other), "images").contains("of its 8 images"), "{file}");
    }
}

#[test]
fn files_around_a_product_that_cannot_be_read_are_named() {
    let utf16: Vec<u8> = "path,label\npart003.png,NG\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let shifted = [b"\xff\xfe", &utf16[..]].concat();
    let cut = dents("").as_bytes()[..800].to_vec();
    for (file, content, words) in [
        ("coco.json", &cut, "not complete and valid JSON"),
        ("x.json", &cut, "not complete and valid JSON"),
        ("labels.csv", &shifted, "neither UTF-8 nor UTF-16"),
        ("pruefung.csv", &b"Datei;Ergebnis\npart003.png;Kratzer, gr\xf6\xdfer\n".to_vec(), "neither UTF-8 nor UTF-16"),
        ("labels.json", &b"{\"part003.png\": \"gr\xf6\xdfer\"}".to_vec(), "neither UTF-8 nor UTF-16"),
        ("labels.csv", &b"file,label\npart003.png,N\0G\n".to_vec(), "neither UTF-8 nor UTF-16"),
        ("labels.xlsx", &b"PK".to_vec(), "save it as csv"),
        ("gear.xlsx", &b"PK".to_vec(), "save it as csv"),
    ] {
        let tree = Tree::new();
        images(&tree, "gear");
        tree.write(file, content);
        let dataset = Dataset::open_products(tree.root().join("gear")).unwrap();
        let [finding] = &dataset.findings[..] else { panic!("{file}: {:?}", dataset.findings) };
        assert_eq!((finding.kind, relative(tree.root(), &finding.path)), (FindingKind::LeftOut, file.into()));
        assert!(finding.message.contains(words), "{finding}");
    }
    for (file, content) in
        [("stock.xlsx", "PK"), ("config.json", "{"), ("stock.csv", "a"), ("labels.csv", "a.png,ok\n")]
    {
        let tree = with("gear", file, content);
        assert_eq!(kinds(&Dataset::open(tree.root().join("gear")).unwrap()), [], "{file}");
    }
}

#[test]
fn texts_of_any_name_that_label_images_are_refused() {
    for (file, content) in [
        ("list.txt", "part003.png NG\n"),
        ("notes.txt", "part003.png: scratch\n"),
        ("list.txt", "part000.png 0\npart001.png 0\npart002.png 0\npart003.png 1\n"),
        ("shift.log", "part003.png\tNG\n"),
        ("upload.csv", "image,id,choice\n/data/upload/1/ab12cd34-part003.png,3,Scratch\n"),
        ("part003.txt", "NG\n"),
        ("part003.png.txt", "NG\n"),
        ("part003.json", "{\"camera\": 2, \"verdict\": \"NG\"}"),
    ] {
        let error = error(&with("", file, content), "");
        assert!(error.contains(file) && error.contains("not read"), "{file}: {error}");
    }
    for (file, content) in [
        ("notes.txt", "Taken on Monday, all are fine.\n"),
        ("list.txt", "part000.png\npart001.png\npart002.png\npart003.png\npart004.png\n"),
        ("camera.log", "part000.png 12:00:01\npart001.png 12:00:02\npart002.png 12:00:03\npart003.png 12:00:04\n"),
        ("part003.json", "{\"exposure\": 20, \"verdict\": \"OK\"}"),
    ] {
        let tree = with("", file, content);
        assert_eq!(Dataset::open_products(tree.root()).unwrap().categories[0].samples.len(), 8, "{file}");
    }
}

#[test]
fn texts_beside_a_folder_of_normal_images_mark_them() {
    for (file, content) in [
        ("good/notes.txt", "part003.png: scratch\n"),
        ("list.txt", "part003.png NG\n"),
        ("good/part003.txt", "NG\n"),
        ("good/part003.png.txt", "NG\n"),
        ("ann/part003.png.json", "{\"objects\": [{\"classTitle\": \"scratch\"}]}"),
        ("good/part003.json", "{\"verdict\": \"NG\"}"),
    ] {
        let tree = with("good", file, content);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let marked = dataset.marked_normal_images(&Limits::default());
        let [finding] = &marked[..] else { panic!("{file}: {marked:?}") };
        assert_eq!(finding.kind, FindingKind::MarkedNormal);
        assert_eq!(relative(tree.root(), &finding.path), "good/part003.png", "{file}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_with_the_names_of_annotations_are_not_opened() {
    for name in
        ["c/anno.json", "c/train/good/labels.txt", "c/train/good/part003.json", "c/train/good/part003.xml", "t.csv"]
    {
        let tree = Tree::new();
        images(&tree, "c/train/good");
        let status = std::process::Command::new("mkfifo").arg(tree.path(name)).status().unwrap();
        assert!(status.success());
        let dataset = Dataset::open(tree.root()).unwrap();
        assert!(dataset.check().headers_only(true).run().unwrap().images == 8, "{name}");
    }
}
