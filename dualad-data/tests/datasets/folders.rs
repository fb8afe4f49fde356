//! Folders as people have them: other names, stray files and near misses.

use crate::support::{Tree, kinds, read, relative, touch};
use dualad_data::{Dataset, FindingKind, Layout, Split};

#[test]
fn btad_has_other_names_for_normal_and_defective_images() {
    let tree = Tree::new();
    touch(&tree, &["01/train/ok/0.bmp", "01/test/ok/1.bmp", "01/test/ko/2.bmp", "01/ground_truth/ko/2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.layout, Layout::Mvtec);
    let expected =
        ["01/train/ok/0.bmp train", "01/test/ko/2.bmp ko 01/ground_truth/ko/2.png", "01/test/ok/1.bmp normal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);
}

#[test]
fn names_of_folders_are_known_in_any_case() {
    let tree = Tree::new();
    touch(&tree, &["c/Train/Good/0.png", "c/TEST/OK/1.png", "c/TEST/Bad/2.png", "c/Ground_Truth/bad/2_mask.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected =
        ["c/Train/Good/0.png train", "c/TEST/Bad/2.png Bad c/Ground_Truth/bad/2_mask.png", "c/TEST/OK/1.png normal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);
    // The usual name counts before others.
    touch(&tree, &["c/Train/ok/3.png"]);
    assert_eq!(Dataset::open(tree.root()).unwrap().samples(Split::Train).count(), 2);
    touch(&tree, &["c/Train/good/4.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset)[0], "c/Train/good/4.png train");
    assert_eq!(dataset.samples(Split::Train).count(), 1);
    assert!(kinds(&dataset).contains(&(FindingKind::LeftOut, "c/Train/ok".into())));
}

#[test]
fn anomalibs_folders_are_read() {
    let tree = Tree::new();
    touch(
        &tree,
        &["toy/good/0.jpg", "toy/NG/crack/1.jpg", "toy/mask/crack/1.jpg", "toy/NG/2.jpg", "toy/mask/NG/2.png"],
    );
    let dataset = Dataset::open(tree.root().join("toy")).unwrap();
    assert_eq!(dataset.layout, Layout::Folder);
    let expected = ["good/0.jpg train", "NG/2.jpg NG mask/NG/2.png", "NG/crack/1.jpg crack mask/crack/1.jpg"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);

    touch(&tree, &["my/normal/0.png", "my/abnormal/1.png", "my/abnormal/2.png", "my/masks/1.png"]);
    let dataset = Dataset::open(tree.root().join("my")).unwrap();
    let expected = ["normal/0.png train", "abnormal/1.png abnormal masks/1.png", "abnormal/2.png abnormal"];
    assert_eq!(read(&dataset), expected);
    assert_eq!(dataset.findings, []);

    // A folder beside the normal images has defects if it has masks.
    touch(&tree, &["nut/good/0.png", "nut/crack/1.png", "nut/mask/crack/1_mask.png", "nut/old/2.png"]);
    let dataset = Dataset::open(tree.root().join("nut")).unwrap();
    assert_eq!(read(&dataset), ["good/0.png train", "crack/1.png crack mask/crack/1_mask.png"]);
    assert_eq!(kinds(&dataset), [(FindingKind::LeftOut, "old".into())]);

    // The folder above holds a product each.
    let dataset = Dataset::open_products(tree.root()).unwrap();
    assert_eq!(dataset.categories.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["my", "nut", "toy"]);
    assert_eq!(dataset.samples(Split::Train).count(), 3);
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(message.contains("datasets lie in") && message.contains("toy"), "{message}");
}

#[test]
fn stray_files_and_folders_change_nothing() {
    let stray = [
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "LICENSE",
        "LICENSE.txt",
        "readme.md",
        "checksums.sha256",
        "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
        "@eaDir/1.png",
        "System Volume Information/2.png",
        "lost+found/3.png",
        "__MACOSX/gear/train/good/4.png",
        "$RECYCLE.BIN/5.png",
        ".cache/6.png",
        "notes/text.txt",
    ];
    let trees: [&[&str]; 4] = [
        &["gear/0.png", "plate/0.png"],
        &["gear/train/good/0.png", "gear/test/cut/1.png", "gear/ground_truth/cut/1_mask.png"],
        &["train/good/0.png", "test/good/1.png"],
        &["0.png", "test/good/1.png"],
    ];
    for files in trees {
        let tree = Tree::new();
        touch(&tree, files);
        let plain = Dataset::open_products(tree.root()).unwrap();
        // In the root, and in every folder.
        let mut folders = vec![String::new()];
        for file in files {
            let parts: Vec<&str> = file.split('/').collect();
            folders.extend((1..parts.len()).map(|end| parts[..end].join("/") + "/"));
        }
        for folder in folders {
            for name in stray {
                tree.write(&format!("{folder}{name}"), "x");
            }
        }
        let dataset = Dataset::open_products(tree.root()).unwrap();
        assert_eq!(dataset.categories, plain.categories, "{files:?}");
        assert_eq!(dataset.findings, plain.findings, "{files:?}");
    }
}

#[test]
fn images_of_unusual_names_are_read_by_their_content_or_reported() {
    let tree = Tree::new();
    tree.picture("c/train/good/0.jpg", 20, 10, 0);
    let jpeg = std::fs::read(tree.path("c/train/good/0.jpg")).unwrap();
    for name in ["1.jfif", "2.JPE", "3.heic", "4", "frame.2026.11.28"] {
        tree.write(&format!("c/train/good/{name}"), &jpeg);
    }
    for (name, content) in [
        ("5.heic", &b"\0\0\0\x18ftypheic"[..]),
        ("6.avif", b"\0\0\0\x1cftypavif"),
        ("7.heic", b"x"),
        ("BMW", b"BMW parts"),
        ("notes", b"words"),
        ("data.xyz", b"words"),
    ] {
        tree.write(&format!("c/train/good/{name}"), content);
    }
    tree.write("c/train/good/0.jpg.1", &jpeg);
    tree.write("c/train/good/8.bak", &jpeg);
    let dataset = Dataset::open(tree.root()).unwrap();
    let read: Vec<String> =
        dataset.samples(Split::Train).map(|s| relative(&tree.path("c/train/good"), &s.path)).collect();
    assert_eq!(read, ["0.jpg", "1.jfif", "2.JPE", "3.heic", "4", "frame.2026.11.28"]);
    let [other, finding] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
    assert_eq!((finding.kind, finding.category.as_str()), (FindingKind::LeftOut, "c"));
    assert!(other.message.starts_with("3 files beside the images are not read: "), "{other}");
    let line = finding.to_string();
    for words in ["3 images are left out (.heic: 2, .avif: 1", "convert them", "2 images are left out (.1: 1, .bak: 1"]
    {
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(dataset.check().run().unwrap().into_result().unwrap().images, 6);
}

#[test]
fn a_folder_of_images_that_are_not_read_names_them() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.heic", "c/train/good/1.heic"]);
    let message = Dataset::open(tree.root()).unwrap().check().run().unwrap().into_result().unwrap_err().to_string();
    assert!(message.contains("no normal images") && message.contains(".heic: 2"), "{message}");
    let message = Dataset::open(tree.root().join("c/train/good")).unwrap_err().to_string();
    assert!(message.contains(".heic: 2") && message.contains("convert them to png"), "{message}");
}

#[test]
fn near_misses_are_named() {
    let fatal = |files: &[&str]| {
        let tree = Tree::new();
        for (index, name) in files.iter().enumerate() {
            tree.picture(name, 8, 8, index as u32);
        }
        match Dataset::open_products(tree.root()) {
            Ok(dataset) => dataset.check().run().unwrap().into_result().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let message = fatal(&["c/train/nominal/0.png", "c/test/good/1.png"]);
    assert!(message.contains("train/nominal") && message.contains("1 image in or below it is left out"), "{message}");
    // As MVTec AD, these have no normal images; as products, they have (`tests/labels.rs`).
    for (file, words) in [("c/train/0.png", "belong there"), ("c/0.png", "1 image in it is left out")] {
        let tree = Tree::new();
        touch(&tree, &[file, "c/test/good/1.png"]);
        let dataset = Dataset::open_as(Layout::Mvtec, tree.root()).unwrap();
        let message = dataset.check().headers_only(true).run().unwrap().into_result().unwrap_err().to_string();
        assert!(message.contains("no normal images") && message.contains(words), "{message}");
    }
    for depth in ["a", "a/b", "a/b/c"] {
        let message = fatal(&[&format!("{depth}/screw/train/good/0.png")]);
        assert!(message.contains("a dataset lies in") && message.contains(&format!("{depth}: open that")), "{message}");
    }
    let message = fatal(&["a/gear/good/0.png", "b/gear/good/0.png"]);
    assert!(message.contains("datasets lie in"), "{message}");
    let message = fatal(&["a/001/front.png", "a/002/front.png"]);
    assert!(message.contains("images lie in a/001, a/002: move the normal ones"), "{message}");
    // A list of many is bounded.
    let names: Vec<String> = (0..40).map(|index| format!("a/p{index:02}/x/0.png")).collect();
    let message = fatal(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(message.len() < 2000, "{message}");
}

#[test]
fn accents_may_have_two_spellings() {
    let tree = Tree::new();
    touch(
        &tree,
        &["c/train/good/0.png", "c/test/riss/geh\u{e4}use.png", "c/ground_truth/riss/geha\u{308}use_mask.png"],
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.samples(Split::Test).next().unwrap().masks.len(), 1);
    assert_eq!(dataset.findings, []);
}

#[test]
fn a_type_of_defect_named_label_is_not_dagm() {
    let tree = Tree::new();
    touch(&tree, &["p/train/good/0.png", "p/test/good/1.png", "p/test/Label/2.png"]);
    assert_eq!(Dataset::open(tree.root()).unwrap().layout, Layout::Mvtec);
}

#[test]
fn folders_have_names_in_other_languages() {
    for [good, bad] in [
        ["良品", "不良"],
        ["合格", "不合格"],
        ["正常", "异常"],
        ["正常品", "異常品"],
        ["无缺陷", "缺陷"],
        ["ＯＫ", "ＮＧ"],
        ["OK品", "NG品"],
        ["양품", "불량"],
        ["정상", "비정상"],
        ["gut", "schlecht"],
        ["iO", "NiO"],
        ["i.O.", "n.i.O."],
        ["Gut", "Fehler"],
        ["bon", "mauvais"],
        ["conforme", "non conforme"],
        ["sans defaut", "d\u{e9}faut"],
        ["sans_d\u{e9}faut", "De\u{301}faut"],
        ["bueno", "defectuoso"],
        ["buoni", "scarti"],
        ["dobre", "z\u{142}e"],
        ["dobr\u{e9}", "vadn\u{e9}"],
        ["\u{130}yi", "k\u{f6}t\u{fc}"],
        ["годные", "брак"],
    ] {
        // The plain folder, and MVTec AD's.
        let tree = Tree::new();
        touch(&tree, &[&format!("a/{good}/0.png"), &format!("a/{bad}/1.png")]);
        let dataset = Dataset::open(tree.root().join("a")).unwrap();
        assert_eq!(read(&dataset), [format!("{good}/0.png train"), format!("{bad}/1.png {bad}")]);
        touch(
            &tree,
            &[&format!("b/train/{good}/0.png"), &format!("b/test/{good}/1.png"), &format!("b/test/{bad}/2.png")],
        );
        let dataset = Dataset::open(tree.root().join("b")).unwrap();
        assert_eq!(dataset.findings, [], "{good} {bad}");
        assert_eq!(dataset.samples(Split::Test).filter(|sample| sample.label.is_anomalous()).count(), 1, "{good}");
        assert_eq!(dataset.samples(Split::Train).count(), 1, "{good}");
        // As a part of a name.
        touch(&tree, &[&format!("c/lid_7_{good}/0.png"), &format!("c/lid_7_{bad}/1.png")]);
        assert!(Dataset::open_products(tree.root().join("c")).is_err(), "{bad}");
        touch(&tree, &[&format!("d/{good}_0.png"), &format!("d/{bad}_1.png")]);
        assert!(Dataset::open_products(tree.root().join("d")).is_err(), "{bad}");
    }
    // Words of several meanings, and names of parts, say nothing.
    let tree = Tree::new();
    touch(&tree, &["bom/0.png", "io_board/1.png", "不锈钢/2.png", "gutter/3.png", "lone/4.png"]);
    assert_eq!(Dataset::open_products(tree.root()).unwrap().categories.len(), 5);
}

#[test]
fn a_number_may_stand_before_the_names_of_labels() {
    for [good, bad] in [["1_OK", "2_NOK"], ["0-good", "1-bad"], ["01 gut", "02 schlecht"]] {
        let tree = Tree::new();
        touch(&tree, &[&format!("{good}/0.png"), &format!("{bad}/1.png"), &format!("{bad}/2_scratch/2.png")]);
        let dataset = Dataset::open(tree.root()).unwrap();
        let expected =
            [format!("{good}/0.png train"), format!("{bad}/1.png {bad}"), format!("{bad}/2_scratch/2.png 2_scratch")];
        assert_eq!((dataset.layout, read(&dataset)), (Layout::Folder, expected.to_vec()));

        let tree = Tree::new();
        touch(&tree, &[&format!("train/{good}/0.png"), &format!("test/{good}/1.png"), &format!("test/{bad}/2.png")]);
        let dataset = Dataset::open(tree.root()).unwrap();
        let mut expected = vec![
            format!("test/{good}/1.png normal"),
            format!("test/{bad}/2.png {bad}"),
            format!("train/{good}/0.png train"),
        ];
        let mut found = read(&dataset);
        expected.sort();
        found.sort();
        assert_eq!((dataset.layout, found), (Layout::Mvtec, expected));
    }
}
