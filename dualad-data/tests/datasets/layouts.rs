//! Detection and reading of folders as MVTec AD and as plain folders, and the assignment of masks.

use std::path::Path;

use crate::support::{Tree, kinds, relative, touch};
use dualad_data::{Dataset, Error, FindingKind, Label, Layout, MaskRule, Sample, Split};

fn names<'a>(root: &Path, samples: impl Iterator<Item = &'a Sample>) -> Vec<String> {
    samples.map(|sample| relative(root, &sample.path)).collect()
}

#[test]
fn mvtec_is_read_in_order() {
    let tree = Tree::new();
    touch(
        &tree,
        &[
            "screw/train/good/010.png",
            "screw/train/good/002.PNG",
            "screw/train/good/.hidden.png",
            "screw/train/good/._002.png",
            "screw/train/good/Thumbs.db",
            "screw/test/good/000.png",
            "bottle/train/good/000.jpeg",
            "bottle/test/broken/001.png",
            "bottle/test/broken/000.png",
            "bottle/test/dirt/000.tif",
            "bottle/ground_truth/broken/000_mask.png",
            "bottle/ground_truth/broken/001_mask.png",
            "bottle/ground_truth/dirt/000.png",
            "bottle/readme.txt",
            "license.txt",
            "original/bottle/train/good/000.png",
            ".cache/train/good/000.png",
        ],
    );
    assert_eq!(Layout::detect(tree.root()).unwrap(), Layout::Mvtec);
    let dataset = Dataset::open(tree.root()).unwrap();
    let categories: Vec<&str> = dataset.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(categories, ["bottle", "screw"]);
    let train = names(tree.root(), dataset.samples(Split::Train));
    assert_eq!(train, ["bottle/train/good/000.jpeg", "screw/train/good/002.PNG", "screw/train/good/010.png"]);
    let test: Vec<&Sample> = dataset.samples(Split::Test).collect();
    let expected = [
        ("bottle/test/broken/000.png", Some("broken"), Some("bottle/ground_truth/broken/000_mask.png")),
        ("bottle/test/broken/001.png", Some("broken"), Some("bottle/ground_truth/broken/001_mask.png")),
        ("bottle/test/dirt/000.tif", Some("dirt"), Some("bottle/ground_truth/dirt/000.png")),
        ("screw/test/good/000.png", None, None),
    ];
    assert_eq!(test.len(), expected.len());
    for (sample, (path, kind, mask)) in test.into_iter().zip(expected) {
        assert_eq!(relative(tree.root(), &sample.path), path);
        assert_eq!(sample.label, kind.map_or(Label::Normal, |kind| Label::Anomalous(kind.into())));
        assert_eq!(sample.masks.first().map(|mask| relative(tree.root(), mask)).as_deref(), mask);
        assert_eq!(sample.mask_rule, MaskRule::White);
    }
    assert_eq!(kinds(&dataset), [(FindingKind::LeftOut, "original".into())]);
}

#[test]
fn the_root_may_be_one_category() {
    let tree = Tree::new();
    touch(&tree, &["wood/train/good/0.png", "wood/test/hole/0.png", "wood/ground_truth/hole/0_mask.png"]);
    let dataset = Dataset::open(tree.root().join("wood")).unwrap();
    assert_eq!((dataset.layout, dataset.categories.len()), (Layout::Mvtec, 1));
    assert_eq!(dataset.categories[0].name, "wood");
    assert!(dataset.samples(Split::Test).all(|sample| sample.masks.len() == 1));
}

#[test]
fn masks_pair_by_stem_and_not_by_position() {
    let tree = Tree::new();
    touch(
        &tree,
        &[
            "c/train/good/0.png",
            "c/test/cut/000.png",
            "c/test/cut/001.png",
            "c/test/cut/002.png",
            "c/test/cut/003.jpg",
            "c/test/cut/003.png",
            "c/test/cut/004.png",
            "c/ground_truth/cut/001_mask.png",
            "c/ground_truth/cut/002_mask.bmp",
            "c/ground_truth/cut/002_mask.png",
            "c/ground_truth/cut/003_mask.png",
            "c/ground_truth/cut/004.png",
            "c/ground_truth/cut/004_mask.png",
            "c/ground_truth/cut/099_mask.png",
            "c/ground_truth/gone/000_mask.png",
        ],
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    let masks: Vec<Option<String>> =
        dataset.samples(Split::Test).map(|s| s.masks.first().map(|m| relative(tree.root(), m))).collect();
    let at = |name: &str| Some(format!("c/ground_truth/cut/{name}"));
    let expected =
        [None, at("001_mask.png"), at("002_mask.bmp"), at("003_mask.png"), at("003_mask.png"), at("004_mask.png")];
    assert_eq!(masks, expected);
    let expected = [
        (FindingKind::UnpairedMask, "c/ground_truth/cut/099_mask.png"),
        (FindingKind::UnpairedMask, "c/ground_truth/gone/000_mask.png"),
        (FindingKind::AmbiguousMask, "c/test/cut/002.png"),
        (FindingKind::AmbiguousMask, "c/test/cut/003.png"),
        (FindingKind::AmbiguousMask, "c/test/cut/004.png"),
    ];
    assert_eq!(kinds(&dataset), expected.map(|(kind, path)| (kind, path.to_string())));
}

#[test]
fn unused_images_are_findings() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/train/bad/0.png", "c/test/0.png", "c/test/good/1.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(
        kinds(&dataset),
        [(FindingKind::LeftOut, "c/test".into()), (FindingKind::LeftOut, "c/train/bad".into())]
    );
    assert_eq!(dataset.samples(Split::Test).count(), 1);
}

#[test]
fn plain_folders_of_normal_images_are_read() {
    for normal in ["", "train/", "good/"] {
        let tree = Tree::new();
        touch(&tree, &[&format!("parts/{normal}b.png"), &format!("parts/{normal}a.BMP")]);
        let root = tree.root().join("parts");
        let dataset = Dataset::open(&root).unwrap();
        assert_eq!((dataset.layout, dataset.categories[0].name.as_str()), (Layout::Folder, "parts"), "{normal}");
        let expected = ["a.BMP", "b.png"].map(|name| format!("{normal}{name}"));
        assert_eq!(names(&root, dataset.samples(Split::Train)), expected);
        assert_eq!(dataset.samples(Split::Test).count(), 0);

        touch(&tree, &["parts/test/good/c.png", "parts/test/scratch/d.png", "parts/ground_truth/scratch/d_mask.png"]);
        let dataset = Dataset::open(&root).unwrap();
        assert_eq!(dataset.layout, Layout::Folder, "{normal}");
        assert_eq!(names(&root, dataset.samples(Split::Test)), ["test/good/c.png", "test/scratch/d.png"]);
        assert_eq!(dataset.samples(Split::Test).last().unwrap().masks.len(), 1);
    }
}

#[test]
fn empty_and_stray_folders_beside_categories_change_nothing() {
    let tree = Tree::new();
    touch(&tree, &["a/train/good/0.png", "b/train/good/0.png", "c/test/cut/0.png"]);
    for name in ["train", "test/good", "good", "empty/deep/deeper", "lost+found"] {
        std::fs::create_dir_all(tree.root().join(name)).unwrap();
    }
    let names = |dataset: &Dataset| dataset.categories.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!((dataset.layout, names(&dataset)), (Layout::Mvtec, ["a", "b", "c"].map(String::from).into()));
    assert_eq!(dataset.findings, []);
    // Images in them are findings, and change nothing else.
    touch(
        &tree,
        &["test/good/1.png", "train/2.png", "good/3.png", "loose.jpg", "empty/deep/deeper/4.png", "loose.txt"],
    );
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!((dataset.layout, names(&dataset).len()), (Layout::Mvtec, 3));
    let left_out = ["", "empty", "good", "test", "train"].map(|name| (FindingKind::LeftOut, name.to_string()));
    let (files, found): (Vec<_>, Vec<_>) =
        kinds(&dataset).into_iter().partition(|(kind, _)| *kind == FindingKind::OtherFiles);
    assert_eq!((found, files), (left_out.to_vec(), vec![(FindingKind::OtherFiles, String::new())]));
}

#[test]
fn folders_below_a_plain_folder_do_not_change_its_layout() {
    let tree = Tree::new();
    touch(&tree, &["parts/0.png", "parts/old/test/good/1.png", "parts/old/2.png", "parts/test/good/3.png"]);
    touch(&tree, &["parts/raw/a/4.png", "parts/test/good/more/5.png"]);
    let root = tree.root().join("parts");
    let dataset = Dataset::open(&root).unwrap();
    assert_eq!(dataset.layout, Layout::Folder);
    assert_eq!(names(&root, dataset.samples(Split::Train)), ["0.png"]);
    assert_eq!(names(&root, dataset.samples(Split::Test)), ["test/good/3.png"]);
    let left_out = ["old", "raw", "test/good/more"].map(|name| (FindingKind::LeftOut, name.to_string()));
    assert_eq!(kinds(&dataset), left_out);
    assert!(dataset.findings[0].message.starts_with("2 images"), "{}", dataset.findings[0]);
}

#[test]
fn an_ambiguous_layout_is_an_error() {
    let cases: [(&[&str], &[&str]); 5] = [
        // Two folders of normal images.
        (&["0.png", "good/1.png", "good/2.png"], &["has 1", "good has 2"]),
        (&["train/0.png", "good/1.png"], &["train has 1", "good has 1"]),
        // A category that contains a category.
        (&["train/good/0.png", "bottle/train/good/0.png"], &["bottle"]),
        (&["test/cut/0.png", "bottle/test/cut/0.png"], &["bottle"]),
        (
            &[
                "train/good/0.png",
                "a/train/good/0.png",
                "b/train/good/0.png",
                "c/train/good/0.png",
                "d/train/good/0.png",
            ],
            &["a, b, c, .."],
        ),
    ];
    for (files, words) in cases {
        let tree = Tree::new();
        touch(&tree, files);
        let error = Dataset::open(tree.root()).unwrap_err();
        assert!(matches!(error, Error::Layout { .. }), "{files:?}: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{files:?}: {error}");
        }
    }
    let tree = Tree::new();
    touch(&tree, &["0.png", "good/1.png"]);
    assert!(matches!(Dataset::open_as(Layout::Folder, tree.root()), Err(Error::Layout { .. })));
}

#[test]
fn images_outside_the_layout_of_a_category_are_findings() {
    let tree = Tree::new();
    touch(&tree, &["c/0.png", "c/train/1.png", "c/train/good/2.png", "c/train/good/more/3.png", "c/test/4.png"]);
    touch(&tree, &["c/test/cut/5.png", "c/test/cut/more/6.png", "c/validation/other/7.png", "c/train/bad/deep/8.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let places = ["", "/test", "/test/cut/more", "/train", "/train/bad", "/train/good/more", "/validation"];
    assert_eq!(kinds(&dataset), places.map(|place| (FindingKind::LeftOut, format!("c{place}"))));
    assert!(dataset.findings.iter().all(|finding| finding.message.starts_with("1 image ")), "{:?}", dataset.findings);
    let read: Vec<String> = names(tree.root(), dataset.categories[0].samples.iter());
    assert_eq!(read, ["c/train/good/2.png", "c/test/cut/5.png"]);
}

#[test]
fn a_folder_of_the_stem_holds_several_masks_of_an_image() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/cut/000.png", "c/test/cut/001.png", "c/test/cut/002.png"]);
    touch(
        &tree,
        &["c/ground_truth/cut/000/001.png", "c/ground_truth/cut/000/000.png", "c/ground_truth/cut/002_mask.png"],
    );
    touch(&tree, &["c/ground_truth/cut/007/000.png", "c/ground_truth/cut/001/inner/000.png"]);
    std::fs::create_dir_all(tree.root().join("c/ground_truth/cut/empty")).unwrap();
    let dataset = Dataset::open(tree.root()).unwrap();
    let samples: Vec<&Sample> = dataset.samples(Split::Test).collect();
    let masks = samples.iter().map(|s| s.masks.iter().map(|mask| relative(tree.root(), mask)).collect::<Vec<_>>());
    let at = |name: &str| format!("c/ground_truth/cut/{name}");
    let expected = [vec![at("000/000.png"), at("000/001.png")], vec![], vec![at("002_mask.png")]];
    assert_eq!(masks.collect::<Vec<_>>(), expected);
    // In these masks, the value encodes the defect type.
    assert_eq!(samples[0].mask_rule, MaskRule::NonZero);
    assert_eq!(samples[2].mask_rule, MaskRule::White);
    assert_eq!(kinds(&dataset), [at("001"), at("007")].map(|path| (FindingKind::UnpairedMask, path)));
    for (finding, word) in dataset.findings.iter().zip(["folders and no mask", "no image \"007\""]) {
        assert!(finding.message.contains(word) && finding.message.contains("_mask.png"), "{finding}");
    }
}

#[test]
fn ground_truth_outside_the_layout_is_a_finding() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/cut/000.png", "c/ground_truth/000_mask.png", "c/ground_truth/1.png"]);
    touch(&tree, &["c/ground_truth/good/000_mask.png", "c/ground_truth/c/cut/000.png", "c/test/good/0.png"]);
    // With one type, all masks would be its.
    touch(&tree, &["c/test/dent/000.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    let expected = [
        (FindingKind::UnpairedMask, "c/ground_truth"),
        (FindingKind::UnpairedMask, "c/ground_truth/c/cut"),
        (FindingKind::LeftOut, "c/ground_truth/good"),
    ];
    assert_eq!(kinds(&dataset), expected.map(|(kind, path)| (kind, path.to_string())));
    let words = ["2 masks in it are not used", "test/c has no image", "normal images have no defects"];
    for (finding, word) in dataset.findings.iter().zip(words) {
        assert!(finding.message.contains(word), "{finding}");
    }
    assert!(dataset.findings[0].message.contains("ground_truth/<type>/<stem>_mask.png"));
}

#[test]
fn names_that_may_mean_normal_images_are_findings() {
    for name in ["ok", "OK", "Good", "normal", "GOOD", "No_Defect", "defect-free"] {
        let tree = Tree::new();
        touch(&tree, &["c/train/good/0.png", "c/test/good/0.png", "c/test/cut/1.png"]);
        touch(&tree, &[&format!("c/test/{name}/2.png")]);
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(kinds(&dataset), [(FindingKind::UnclearLabel, format!("c/test/{name}"))]);
        assert!(dataset.findings[0].message.contains("belong in test/good"), "{}", dataset.findings[0]);
    }
}

#[test]
fn masks_among_images_are_findings() {
    let tree = Tree::new();
    touch(&tree, &["parts/a.png", "parts/a_mask.png", "parts/b.png", "parts/face_mask.png"]);
    let dataset = Dataset::open(tree.root().join("parts")).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::MaskAmongImages, String::new())]);
    assert!(dataset.findings[0].message.contains("(a_mask.png)"), "{}", dataset.findings[0]);
}

#[test]
fn the_error_for_a_folder_that_is_not_a_dataset_names_what_is_missing() {
    let tree = Tree::new();
    touch(&tree, &["notes/readme.txt"]);
    let error = Dataset::open(tree.root()).unwrap_err();
    assert!(matches!(error, Error::Layout { .. }), "{error}");
    assert!(error.to_string().contains("train/good"), "{error}");
    for layout in [Layout::Mvtec, Layout::Folder] {
        assert!(matches!(Dataset::open_as(layout, tree.root()), Err(Error::Layout { .. })));
    }
    assert!(matches!(Dataset::open_as(Layout::Visa, tree.root()), Err(Error::Io { .. })));
    assert!(matches!(Dataset::open(tree.root().join("gone")), Err(Error::Io { .. })));

    // Images in subfolders: the error lists all of them, and calls none of them the normal one.
    touch(&tree, &["notes/0.png", "broken/1.png", "fine/2.png"]);
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(message.contains("in broken, fine, notes: move the normal ones to train/good"), "{message}");
    assert!(message.contains("test/<type"), "{message}");
    touch(&tree, &["candle/Data/Images/Normal/0.JPG"]);
    assert!(Dataset::open(tree.root()).unwrap_err().to_string().contains("1cls.csv"));
}

#[test]
fn categories_are_selected_in_the_given_order() {
    let tree = Tree::new();
    touch(&tree, &["a/train/good/0.png", "b/train/good/0.png", "c/train/good/0.png", "a/ground_truth/x/0_mask.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.findings.len(), 1);
    let selected = dataset.clone().select(&["c", "b"]).unwrap();
    assert_eq!(names(tree.root(), selected.samples(Split::Train)), ["c/train/good/0.png", "b/train/good/0.png"]);
    assert_eq!(selected.findings, []);
    let error = dataset.select(&["b", "d"]).unwrap_err();
    assert_eq!(error.to_string(), "there is no category \"d\"; choose from \"a\", \"b\", \"c\"");
}

#[test]
fn masks_can_be_read_by_another_rule() {
    let tree = Tree::new();
    touch(&tree, &["train/good/0.png", "test/x/0.png"]);
    let dataset = Dataset::open(tree.root()).unwrap().mask_rule(MaskRule::NonZero);
    assert!(dataset.samples(Split::Test).all(|sample| sample.mask_rule == MaskRule::NonZero));
}

#[cfg(unix)]
#[test]
fn loops_of_links_and_names_that_are_not_utf8_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/good/0.png"]);
    let c = tree.root().join("c");
    symlink(&c, c.join("train/good/loop")).unwrap();
    symlink(&c, c.join("test/up")).unwrap();
    symlink(c.join("self"), c.join("self")).unwrap();
    symlink("nowhere.png", c.join("train/good/absent.png")).unwrap();
    let foreign = OsStr::from_bytes(b"\xff\xfe");
    for folder in ["test", "ground_truth"] {
        std::fs::create_dir_all(c.join(folder).join(foreign)).unwrap();
    }
    std::fs::write(c.join("test").join(foreign).join(OsStr::from_bytes(b"\xfa.png")), "x").unwrap();
    std::fs::write(c.join("ground_truth").join(foreign).join(OsStr::from_bytes(b"\xfa_mask.png")), "x").unwrap();
    std::fs::write(c.join("ground_truth").join(foreign).join(OsStr::from_bytes(b"\xfb_mask.png")), "x").unwrap();

    let dataset = Dataset::open(tree.root()).unwrap();
    // Links into the dataset are not findings. A broken link with the name of an image is listed, so that the check reports it.
    assert_eq!(dataset.samples(Split::Train).count(), 2);
    let odd = dataset.samples(Split::Test).find(|sample| sample.label.is_anomalous()).unwrap();
    assert_eq!(odd.masks.len(), 1);
    let [link, unpaired] = &dataset.findings[..] else { panic!("{:?}", dataset.findings) };
    assert_eq!((unpaired.kind, link.kind), (FindingKind::UnpairedMask, FindingKind::LeftOut));
    assert!(link.message.starts_with("self is a link to "), "{link}");
    let report = dataset.check().run().unwrap();
    assert!(report.into_result().unwrap_err().to_string().contains("absent.png"));
}

/// The root user can read every folder, which gives another finding of the same form.
#[cfg(unix)]
#[test]
fn messages_are_one_line_and_name_a_path_once() {
    use std::os::unix::fs::PermissionsExt;

    let tree = Tree::new();
    touch(&tree, &["a\nb/notes.txt", "a\nb/x\ny/0.png"]);
    let message = Dataset::open(tree.root().join("a\nb")).unwrap_err().to_string();
    assert!(message.lines().count() == 1 && message.contains("x\\ny"), "{message}");

    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/shut/1.png"]);
    let shut = tree.root().join("c/shut");
    std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o000)).unwrap();
    let dataset = Dataset::open(tree.root()).unwrap();
    let line = dataset.findings[0].to_string();
    std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(line.matches(&shut.display().to_string()).count(), 1, "{line}");
}

#[cfg(unix)]
#[test]
fn two_names_that_display_equally_are_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let tree = Tree::new();
    for name in [b"\xff", b"\xfe"] {
        let folder = tree.root().join(OsStr::from_bytes(name)).join("train/good");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0.png"), "x").unwrap();
    }
    let error = Dataset::open(tree.root()).unwrap_err();
    assert!(matches!(error, Error::Layout { .. }) && error.to_string().contains("rename"), "{error}");
}
