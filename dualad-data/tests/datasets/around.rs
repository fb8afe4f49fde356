//! Labels and masks around a folder of images that is opened by itself, and in texts beside the images.

use crate::support::annotated::{coco, pictures};
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
