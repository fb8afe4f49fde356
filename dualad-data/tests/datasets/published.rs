//! Published datasets: KolektorSDD, DAGM, MVTec 3D-AD, MVTec AD 2 and Real-IAD, as their archives are laid out.

use crate::support::Tree;
use dualad_data::{Dataset, FindingKind, Label, Layout, Sample, Split};

fn pictures(tree: &Tree, names: &[&str]) {
    for (seed, name) in names.iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
}

/// Returns the images of a split as `path label mask`; `-` for a normal image, and for no mask.
fn images(tree: &Tree, dataset: &Dataset, split: Split) -> Vec<String> {
    let relative =
        |path: &std::path::Path| path.strip_prefix(tree.root()).unwrap().to_str().unwrap().replace('\\', "/");
    let one = |sample: &Sample| {
        let label = match &sample.label {
            Label::Normal => "-",
            Label::Anomalous(kind) => kind,
        };
        format!("{} {label} {}", relative(&sample.path), sample.masks.first().map_or("-".into(), |mask| relative(mask)))
    };
    dataset.samples(split).map(one).collect()
}

/// Opens the dataset, checks its layout, and checks that no file is at fault.
fn open(tree: &Tree, layout: Layout) -> Dataset {
    assert_eq!(Layout::detect(tree.root()).unwrap(), layout);
    let dataset = Dataset::open(tree.root()).unwrap();
    let findings = dataset.check().run().unwrap().findings;
    assert!(findings.iter().all(|finding| finding.kind == FindingKind::Choice), "{findings:?}");
    assert_eq!(Dataset::open_as(layout, tree.root()).unwrap().categories, dataset.categories);
    dataset
}

fn text(dataset: &Dataset) -> String {
    dataset.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn kolektor_labels_images_by_their_masks() {
    let tree = Tree::new();
    for (seed, part) in
        ["kos01/Part0", "kos01/Part1", "kos02/Part0", "kos02/Part1", "kos02/Part2"].into_iter().enumerate()
    {
        tree.picture(&format!("{part}.jpg"), 8, 4, seed as u32);
        let mask = image::GrayImage::from_pixel(8, 4, image::Luma([if seed == 1 { 255 } else { 0 }]));
        let mut marked = mask.clone();
        (2..8).for_each(|x| marked.put_pixel(x, 0, image::Luma([0])));
        marked.save(tree.path(&format!("{part}_label.bmp"))).unwrap();
    }
    tree.write("kos01/Thumbs.db", "x");
    let dataset = open(&tree, Layout::Kolektor);
    assert_eq!(dataset.samples(Split::Train).count(), 3);
    let test = images(&tree, &dataset, Split::Test);
    assert!(test.contains(&"kos01/Part1.jpg defect kos01/Part1_label.bmp".to_string()) && test.len() == 2, "{test:?}");
    assert!(text(&dataset).contains("1 of its 4 normal images"), "{}", text(&dataset));

    let tree = Tree::new();
    for (name, value) in [("train/10", 0), ("train/11", 255), ("train/12", 0), ("test/20", 0), ("test/21", 255)] {
        tree.picture(&format!("{name}.png"), 8, 4, name.len() as u32 + name.as_bytes()[name.len() - 1] as u32);
        tree.mask(&format!("{name}_GT.png"), 8, 4, value);
    }
    let findings = {
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.layout, Layout::Kolektor);
        assert_eq!(images(&tree, &dataset, Split::Train), ["train/10.png - -", "train/12.png - -"]);
        let test = images(&tree, &dataset, Split::Test);
        assert_eq!(test, ["test/20.png - -", "test/21.png defect test/21_GT.png"]);
        text(&dataset)
    };
    assert!(findings.contains("neither trained nor tested on: 1"), "{findings}");
    // Without its mask, the label of an image is unknown.
    tree.picture("train/13.png", 8, 4, 99);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(dataset.samples(Split::Train).count(), 2);
    assert!(dataset.findings.iter().any(|finding| finding.kind == FindingKind::LeftOut), "{}", text(&dataset));
    // A mask that cannot be read is an error that names it.
    tree.write("train/13_GT.png", "x");
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("13_GT.png"), "{error}");
}

#[test]
fn dagm_has_masks_of_defective_images_only() {
    let tree = Tree::new();
    let names = ["Class1/Train/0001.PNG", "Class1/Train/0002.PNG", "Class1/Test/0001.PNG", "Class1/Test/0002.PNG"];
    for (seed, name) in names.into_iter().enumerate() {
        tree.picture(name, 8, 4, seed as u32);
    }
    tree.mask("Class1/Train/Label/0002_label.PNG", 8, 4, 255);
    tree.mask("Class1/Test/Label/0001_label.PNG", 8, 4, 255);
    tree.write("Class1/Train/Label/Labels.txt", "x");
    tree.picture("Class2/Train/0001.PNG", 8, 4, 9);
    tree.picture("Class2/Test/0001.PNG", 8, 4, 10);
    std::fs::create_dir_all(tree.path("Class2/Test/Label/x").parent().unwrap()).unwrap();
    let dataset = open(&tree, Layout::Dagm);
    assert_eq!(images(&tree, &dataset, Split::Train), ["Class1/Train/0001.PNG - -", "Class2/Train/0001.PNG - -"]);
    let expected = [
        "Class1/Test/0001.PNG defect Class1/Test/Label/0001_label.PNG",
        "Class1/Test/0002.PNG - -",
        "Class2/Test/0001.PNG - -",
    ];
    assert_eq!(images(&tree, &dataset, Split::Test), expected);
    assert!(text(&dataset).contains("neither trained nor tested on: 1; they are the anomalous"), "{}", text(&dataset));
    assert!(text(&dataset).contains("without the folder Label, its images count as normal: 1"), "{}", text(&dataset));
    let one = Dataset::open(tree.root().join("Class1")).unwrap();
    assert_eq!((one.layout, one.categories.len(), one.categories[0].samples.len()), (Layout::Dagm, 1, 3));
}

#[test]
fn the_color_images_of_mvtec_3d_are_read() {
    let tree = Tree::new();
    let all = [
        "train/good/rgb/000",
        "validation/good/rgb/000",
        "test/good/rgb/000",
        "test/hole/rgb/000",
        "test/hole/rgb/001",
    ];
    let names = all.map(|name| format!("bagel/{name}.png"));
    pictures(&tree, &names.each_ref().map(String::as_str));
    tree.write("bagel/train/good/xyz/000.tiff", "x");
    tree.write("bagel/calibration/camera_parameters.json", "{}");
    tree.mask("bagel/test/good/gt/000.png", 8, 4, 0);
    tree.mask("bagel/test/hole/gt/000.png", 8, 4, 255);
    tree.mask("bagel/test/hole/gt/001.png", 8, 4, 255);
    let dataset = open(&tree, Layout::Mvtec3d);
    assert_eq!(images(&tree, &dataset, Split::Train), ["bagel/train/good/rgb/000.png - -"]);
    let test = images(&tree, &dataset, Split::Test);
    assert_eq!(test[1], "bagel/test/hole/rgb/000.png hole bagel/test/hole/gt/000.png");
    assert!(test.len() == 3 && test[0].starts_with("bagel/test/good/rgb/000.png -"), "{test:?}");
    assert!(text(&dataset).contains("tested on: 1; they are for choosing thresholds"), "{}", text(&dataset));
}

#[test]
fn mvtec_ad_2_is_read_from_its_public_test_set() {
    let tree = Tree::new();
    let names = [
        "can/train/good/000_regular.png",
        "can/validation/good/000_regular.png",
        "can/test_public/good/000_overexposed.png",
        "can/test_public/bad/000_regular.png",
        "can/test_private/000_regular.png",
        "can/test_private/001_regular.png",
        "can/test_private_mixed/000_mixed.png",
    ];
    pictures(&tree, &names);
    tree.mask("can/test_public/ground_truth/bad/000_regular_mask.png", 8, 4, 255);
    let dataset = open(&tree, Layout::MvtecAd2);
    assert_eq!(images(&tree, &dataset, Split::Train), ["can/train/good/000_regular.png - -"]);
    let expected = [
        "can/test_public/bad/000_regular.png bad can/test_public/ground_truth/bad/000_regular_mask.png",
        "can/test_public/good/000_overexposed.png - -",
    ];
    assert_eq!(images(&tree, &dataset, Split::Test), expected);
    let text = text(&dataset);
    for expected in
        ["validation/good: images that are neither trained nor tested on: 1;", "on: 2; only the evaluation server"]
    {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn real_iad_is_listed_in_json_with_views_of_objects() {
    let tree = Tree::new();
    let view = |class: &str, object: usize, view: usize| {
        format!("{class}/S{object:04}/audiojack_{object:04}_{}_C{view}.jpg", class.replace('/', "_"))
    };
    let entry = |class: &str, path: &str, mask: bool| {
        let mask = if mask { format!("\"{}\"", path.replace(".jpg", "_mask.png")) } else { "null".into() };
        format!(
            r#"{{"category": "audiojack", "anomaly_class": "{class}", "image_path": "{path}", "mask_path": {mask}}}"#
        )
    };
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for number in 1..=5 {
        for (seed, path) in [view("OK", 1, number), view("OK", 2, number), view("NG/BX", 1, number)].iter().enumerate()
        {
            tree.picture(&format!("realiad_512/audiojack/{path}"), 8, 4, (seed * 5 + number) as u32);
        }
        train.push(entry("OK", &view("OK", 1, number), false));
        test.push(entry("OK", &view("OK", 2, number), false));
        // The defect is visible in two views.
        let path = view("NG/BX", 1, number);
        let visible = number <= 2;
        test.push(entry(if visible { "BX" } else { "OK" }, &path, visible));
        if visible {
            tree.mask(&format!("realiad_512/audiojack/{}", path.replace(".jpg", "_mask.png")), 8, 4, 255);
        }
    }
    let json = format!(
        r#"{{"meta": {{"normal_class": "OK", "prefix": "audiojack/"}}, "train": [{}], "test": [{}]}}"#,
        train.join(", "),
        test.join(", ")
    );
    tree.write("realiad_jsons/realiad_jsons/audiojack.json", &json);
    tree.write("realiad_jsons/realiad_jsons/zipper.json", &json);
    tree.write("realiad_jsons/realiad_jsons_sv/audiojack.json", "{}");
    let dataset = open(&tree, Layout::RealIad);
    assert_eq!((dataset.categories.len(), dataset.samples(Split::Train).count()), (1, 5));
    let test: Vec<&Sample> = dataset.samples(Split::Test).collect();
    assert_eq!((test.len(), test.iter().filter(|sample| sample.label.is_anomalous()).count()), (10, 2));
    assert_eq!(
        (test[0].object.as_deref(), test[0].label.clone()),
        (Some("NG/BX/S0001"), Label::Anomalous("BX".into()))
    );
    assert_eq!((test[4].object.as_deref(), test[4].label.clone()), (Some("NG/BX/S0001"), Label::Normal));
    assert_eq!(test[9].object.as_deref(), Some("OK/S0002"));

    let outside = json.replacen("OK/S0001", "../S0001", 1);
    tree.write("realiad_jsons/realiad_jsons/audiojack.json", outside);
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("audiojack.json") && error.contains("../S0001"), "{error}");
}

#[test]
fn folders_that_published_datasets_do_not_have_are_named() {
    let left_out = |tree: &Tree, layout: Layout| {
        let dataset = Dataset::open(tree.root()).unwrap();
        assert_eq!(dataset.layout, layout);
        let found = dataset.findings.iter().filter(|finding| finding.kind == FindingKind::LeftOut);
        let relative =
            |path: &std::path::Path| path.strip_prefix(tree.root()).unwrap().to_str().unwrap().replace('\\', "/");
        found.map(|finding| relative(&finding.path)).collect::<Vec<_>>()
    };
    // An image in a folder that is not known, and one beside the known folders, at each level.
    let stray = |tree: &Tree, folders: &[&str]| {
        for folder in folders {
            pictures(tree, &[&*format!("{folder}x/0.png")]);
        }
    };
    let tree = Tree::new();
    pictures(&tree, &["can/train/good/0.png", "can/test_public/good/1.png", "can/test_public/bad/2.png", "3.png"]);
    stray(&tree, &["", "can/", "can/train/", "can/train/good/", "can/test_public/", "can/test_public/bad/"]);
    let expected = ["", "can/test_public/bad/x", "can/test_public/x", "can/train/good/x", "can/train/x", "can/x", "x"];
    assert_eq!(left_out(&tree, Layout::MvtecAd2), expected);

    let tree = Tree::new();
    pictures(&tree, &["bagel/train/good/rgb/0.png", "bagel/test/hole/rgb/1.png", "bagel/test/hole/2.png"]);
    tree.mask("bagel/test/hole/gt/1.png", 8, 4, 255);
    pictures(&tree, &["bagel/train/good/xyz/0.tiff"]);
    stray(&tree, &["", "bagel/", "bagel/train/", "bagel/test/hole/"]);
    let expected = ["bagel/test/hole", "bagel/test/hole/x", "bagel/train/x", "bagel/x", "x"];
    assert_eq!(left_out(&tree, Layout::Mvtec3d), expected);

    let tree = Tree::new();
    pictures(&tree, &["Class1/Train/0.png", "Class1/Test/1.png", "Class1/2.png"]);
    tree.mask("Class1/Test/Label/1_label.png", 8, 4, 255);
    stray(&tree, &["", "Class1/", "Class1/Train/"]);
    assert_eq!(left_out(&tree, Layout::Dagm), ["Class1", "Class1/Train/x", "Class1/x", "x"]);

    let tree = Tree::new();
    pictures(&tree, &["train/0.png", "test/1.png", "2.png"]);
    tree.mask("train/0_GT.png", 8, 4, 0);
    tree.mask("test/1_GT.png", 8, 4, 255);
    stray(&tree, &["", "train/"]);
    assert_eq!(left_out(&tree, Layout::Kolektor), ["", "train/x", "x"]);

    let tree = Tree::new();
    pictures(
        &tree,
        &["realiad_512/nut/OK/0.png", "realiad_512/bolt/OK/0.png", "realiad_512/1.png", "2.png", "x/3.png"],
    );
    let json = r#"{"meta": {"normal_class": "OK"}, "train": [{"anomaly_class": "OK", "image_path": "OK/0.png"}]}"#;
    tree.write("realiad_jsons/nut.json", json);
    assert_eq!(left_out(&tree, Layout::RealIad), ["", "realiad_512", "realiad_512/bolt", "x"]);
}
