//! Near misses of layouts: each is read, or named with the way out.

use crate::support::annotated::pictures;
use crate::support::{Tree, kinds, read, touch};
use dualad_data::image::{Limits, Picture};
use dualad_data::{Dataset, FindingKind, Layout};

#[test]
fn paths_that_begin_with_the_name_of_the_folder_of_their_table_are_read() {
    let tree = Tree::new();
    let names = ["Data/Images/Normal/0.JPG", "Data/Images/Normal/1.JPG", "Data/Images/Anomaly/2.JPG"];
    pictures(&tree, &names.map(|name| format!("candle/{name}")).each_ref().map(String::as_str));
    tree.mask("candle/Data/Masks/Anomaly/2.png", 8, 4, 1);
    // The table of a category of VisA.
    let rows = "candle/Data/Images/Normal/0.JPG,normal,\ncandle\\Data\\Images\\Normal\\1.JPG,normal,\n\
                candle/Data/Images/Anomaly/2.JPG,\"bent, dent\",candle/Data/Masks/Anomaly/2.png\n";
    tree.write("candle/image_anno.csv", format!("image,label,mask\n{rows}"));
    let dataset = Dataset::open(tree.root().join("candle")).unwrap();
    let mut found = read(&dataset);
    found.sort();
    assert_eq!(found[0], "Data/Images/Anomaly/2.JPG bent, dent Data/Masks/Anomaly/2.png");
    assert!(dataset.findings.iter().all(|finding| finding.kind == FindingKind::Choice), "{:?}", dataset.findings);
    assert!(!dataset.check().run().unwrap().is_fatal());
    // Above it, the table of the whole dataset is missed.
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("image_anno.csv"), "{error}");
}

#[test]
fn normal_images_for_validation_are_noted() {
    let tree = Tree::new();
    touch(&tree, &["box/train/good/0.png", "box/validation/good/1.png", "box/test/logical_anomalies/2.png"]);
    touch(&tree, &["nut/train/good/0.png", "nut/validation/good/1.png", "nut/validation/dent/2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    // Other images for validation are left out.
    let expected =
        [(FindingKind::Choice, "box/validation/good".into()), (FindingKind::LeftOut, "nut/validation".into())];
    assert_eq!(kinds(&dataset), expected);
    assert!(dataset.findings[0].message.contains("calibrate on this folder"), "{}", dataset.findings[0]);
}

#[test]
fn the_test_images_of_a_category_are_named_as_such() {
    let tree = Tree::new();
    touch(&tree, &["nut/train/good/0.png", "nut/test/good/1.png", "nut/test/dent/2.png"]);
    let dataset = Dataset::open(tree.root().join("nut/test")).unwrap();
    assert_eq!(dataset.findings[0].kind, FindingKind::UnclearLabel);
    assert!(dataset.findings[0].message.contains("test images of the category nut"), "{}", dataset.findings[0]);
    // Nothing contradicts it.
    assert!(dataset.findings.iter().all(|finding| !finding.message.contains("ove ")), "{:?}", dataset.findings);
    // A product of this name.
    let tree = Tree::new();
    touch(&tree, &["test/good/1.png", "test/bad/2.png"]);
    assert_eq!(kinds(&Dataset::open(tree.root().join("test")).unwrap()), []);
}

#[test]
fn masks_beside_the_categories_are_told_where_they_belong() {
    let tree = Tree::new();
    touch(&tree, &["nut/train/good/0.png", "nut/test/dent/2.png", "ground_truth/nut/dent/2.png"]);
    touch(&tree, &["bolt/train/good/0.png", "other/2.png", "nut_masks/2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset).len(), 3);
    for (finding, told) in dataset.findings.iter().zip([
        "CATEGORY/ground_truth/<type of defect>",
        "CATEGORY/ground_truth/<type of defect>",
        "it is not a category",
    ]) {
        assert!(finding.message.contains(told), "{finding}");
    }
}

#[test]
fn folders_beside_the_normal_ones_may_be_normal_ones_to_test_on() {
    let tree = Tree::new();
    touch(&tree, &["normal/0.png", "normal_test/1.png", "abnormal/2.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::LeftOut, "normal_test".into())]);
    assert!(dataset.findings[0].message.contains("or to test/good to test on them"), "{}", dataset.findings[0]);
}

#[test]
fn folders_beside_each_other_in_the_words_of_standards_are_no_products() {
    for (good, bad) in [
        ("conforming", "nonconforming"),
        ("Conform", "Non-conform"),
        ("acceptable", "unacceptable"),
        ("accept", "decline"),
        ("accepted", "declined"),
        ("approved", "rejected"),
        ("undamaged", "damaged"),
        ("intact", "damaged"),
        ("passed", "failed"),
        ("PASS", "FAIL"),
    ] {
        let tree = Tree::new();
        touch(&tree, &[&format!("{good}/0.png"), &format!("{good}/1.png"), &format!("{bad}/2.png")]);
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let found = read(&dataset);
        assert_eq!(dataset.layout, Layout::Folder);
        assert!(found.contains(&format!("{good}/0.png train")), "{found:?}");
        assert!(found.contains(&format!("{bad}/2.png {bad}")), "{found:?}");
    }
}

#[test]
fn a_folder_that_is_given_as_an_image_is_called_one() {
    let tree = Tree::new();
    pictures(&tree, &["dent/0.png"]);
    let error = Picture::read(tree.root().join("dent"), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("it is a folder; name the images in it"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_that_is_gone_is_called_one() {
    let tree = Tree::new();
    pictures(&tree, &["nut/train/good/0.png", "nut/train/good/1.png"]);
    std::os::unix::fs::symlink("gone.png", tree.path("nut/train/good/2.png")).unwrap();
    let report = Dataset::open(tree.root()).unwrap().check().run().unwrap();
    let found = report.findings.iter().find(|finding| finding.kind == FindingKind::Unreadable).unwrap();
    assert!(found.message.contains("it is a link to gone.png, which is not there"), "{found}");
    // One that leads to itself, alone and beside others.
    let message = || -> String {
        let report = Dataset::open(tree.root()).unwrap().check().run().unwrap();
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.kind == FindingKind::Unreadable).collect();
        let [finding] = &found[..] else { panic!("{found:?}") };
        finding.to_string()
    };
    std::fs::remove_file(tree.path("nut/train/good/2.png")).unwrap();
    std::os::unix::fs::symlink("3.png", tree.path("nut/train/good/3.png")).unwrap();
    assert!(message().contains("it is a link to 3.png, which cannot be followed"), "{}", message());
    std::os::unix::fs::symlink("gone.png", tree.path("nut/train/good/2.png")).unwrap();
    let expected = "cannot read 2 files in";
    assert!(message().contains(expected) && message().contains("such as 2.png, a link to gone.png"), "{}", message());
}

#[cfg(unix)]
#[test]
fn links_to_folders_that_are_gone_are_reported() {
    let tree = Tree::new();
    pictures(&tree, &["nut/train/good/0.png", "nut/train/good/1.png", "nut/test/good/2.png"]);
    std::os::unix::fs::symlink("../../gone/dent", tree.path("nut/test/dent")).unwrap();
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(kinds(&dataset), [(FindingKind::LeftOut, "nut/test".into())]);
    let message = &dataset.findings[0].message;
    assert!(message.contains("dent is a link to ../../gone/dent, which is not there"), "{message}");
    // Nothing else is in the folder.
    let tree = Tree::new();
    std::os::unix::fs::symlink("gone", tree.path("nut/train/good")).unwrap();
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    assert!(error.contains("good is a link to gone"), "{error}");
}

#[test]
fn animations_of_which_one_frame_is_read_are_counted() {
    let frame = |seed: u8| -> Vec<u8> { (0..16 * 16 * 4).map(|at: usize| (at * 7) as u8 ^ (seed * 60)).collect() };
    let tree = Tree::new();
    pictures(&tree, &["c/train/good/0.png", "c/train/good/1.gif", "c/train/good/2.webp"]);
    let file = std::fs::File::create(tree.path("c/train/good/a.gif")).unwrap();
    let mut gif = image::codecs::gif::GifEncoder::new(file);
    for seed in 0..3 {
        let pixels = image::RgbaImage::from_raw(16, 16, frame(seed)).unwrap();
        gif.encode_frame(image::Frame::new(pixels)).unwrap();
    }
    drop(gif);
    let file = std::fs::File::create(tree.path("c/train/good/b.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 16, 16);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    (3..5).for_each(|seed| writer.write_image_data(&frame(seed)).unwrap());
    writer.finish().unwrap();
    // A file of one picture in the form of an animation.
    let mut webp = std::fs::read(tree.path("c/train/good/2.webp")).unwrap();
    let picture = webp.split_off(12);
    let of_frame = |body: &[u8]| [&b"ANMF"[..], &(body.len() as u32).to_le_bytes(), body].concat();
    let head = [&[0; 6][..], &[7, 0, 0, 3, 0, 0], &[9, 0, 0, 0]].concat();
    let of_frame = of_frame(&[&head[..], &picture].concat());
    let control = b"VP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x03\0\0ANIM\x06\0\0\0\0\0\0\0\0\0";
    let mut whole = [&webp[..], control, &of_frame, &of_frame].concat();
    let length = (whole.len() as u32 - 8).to_le_bytes();
    whole[4..8].copy_from_slice(&length);
    tree.write("c/train/good/c.webp", whole);
    let report = Dataset::open(tree.root()).unwrap().check().run().unwrap();
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.kind == FindingKind::Choice).collect();
    let [finding] = &found[..] else { panic!("{:?}", report.findings) };
    assert!(finding.message.contains("the first alone is read: 3 (such as train/good/a.gif, with 3)"), "{finding}");
}

#[test]
fn masks_of_which_one_page_is_read_are_counted() {
    let tree = Tree::new();
    pictures(&tree, &["c/train/good/0.png", "c/train/good/1.png"]);
    for index in 0..2 {
        tree.picture(&format!("c/test/cut/{index}.png"), 16, 16, 9 + index);
        let file = std::fs::File::create(tree.path(&format!("c/ground_truth/cut/{index}.gif"))).unwrap();
        let mut gif = image::codecs::gif::GifEncoder::new(file);
        for page in 0..2 {
            let marked = |x: u32| if x < 4 + page { [255; 4] } else { [0, 0, 0, 255] };
            let pixels = image::RgbaImage::from_fn(16, 16, |x, _| image::Rgba(marked(x)));
            gif.encode_frame(image::Frame::new(pixels)).unwrap();
        }
    }
    let report = Dataset::open(tree.root()).unwrap().check().run().unwrap();
    let is = |kind| report.findings.iter().filter(move |finding| finding.kind == kind).collect::<Vec<_>>();
    let [finding] = is(FindingKind::AmbiguousMask)[..] else { panic!("{:?}", report.findings) };
    let expected = "masks of several pages or frames, of which the first alone is read: 2 (such as ground_truth/cut/0.gif, with 2)";
    assert!(finding.message.contains(expected), "{finding}");
}

#[test]
fn a_table_with_other_separators_is_refused_among_images_without_labels() {
    for separator in [" ", "|", " | "] {
        let tree = Tree::new();
        let names = ["000", "001", "002", "003"].map(|name| format!("images/{name}.png"));
        pictures(&tree, &names.each_ref().map(String::as_str));
        let rows: Vec<String> = names.iter().map(|name| format!("{name}{separator}normal")).collect();
        tree.write("t.csv", format!("path{separator}label\n{}\n", rows.join("\n")));
        let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
        assert!(error.contains("t.csv names 4 of its 4 images and is not read"), "{error}");
    }
}

#[test]
fn parts_of_a_dataset_may_have_other_names() {
    for (train, test) in [
        ("train_set", "test_set"),
        ("Train Images", "Test Images"),
        ("Trainingsdaten", "Testdaten"),
        ("训练集", "测试集"),
        ("entrenamiento", "prueba"),
        ("学習", "評価"),
    ] {
        let tree = Tree::new();
        let names = [
            format!("{train}/OK/0.png"),
            format!("{train}/OK/1.png"),
            format!("{test}/OK/2.png"),
            format!("{test}/NG/3.png"),
        ];
        pictures(&tree, &names.each_ref().map(String::as_str));
        let dataset = Dataset::open_products(tree.root()).unwrap();
        let mut found = read(&dataset);
        found.sort();
        let mut expected = vec![
            format!("{train}/OK/0.png train"),
            format!("{train}/OK/1.png train"),
            format!("{test}/OK/2.png normal"),
            format!("{test}/NG/3.png NG"),
        ];
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn categories_in_train_and_test_are_told_where_they_belong() {
    let tree = Tree::new();
    for category in ["bottle", "screw"] {
        touch(&tree, &[&format!("train/{category}/good/0.png"), &format!("test/{category}/good/1.png")]);
        touch(&tree, &[&format!("test/{category}/bad/2.png")]);
    }
    let error = Dataset::open_products(tree.root()).unwrap_err().to_string();
    assert!(error.contains("bottle/train/good") && !error.contains("open "), "{error}");
}

#[test]
fn masks_in_the_folder_of_a_type_are_read() {
    for (image, mask) in [
        ("c/test/cut/0.png", "c/test/cut/mask/0.png"),
        ("c/test/bad/0.png", "c/test/bad/masks/0.png"),
        ("c/test/defects/images/0.png", "c/test/defects/masks/0.png"),
        ("c/test/cut/0.png", "c/masks/test/cut/0.png"),
    ] {
        let tree = Tree::new();
        pictures(&tree, &["c/train/good/0.png", "c/train/good/1.png", image]);
        tree.mask(mask, 8, 4, 255);
        let dataset = Dataset::open(tree.root()).unwrap();
        let found: Vec<String> = read(&dataset).into_iter().filter(|line| line.contains("test")).collect();
        let label = image.split('/').nth(2).unwrap();
        assert_eq!(found, [format!("{image} {label} {mask}")]);
        assert_eq!(kinds(&dataset), []);
    }
}

#[test]
fn a_folder_named_images_is_no_type_of_defect() {
    let tree = Tree::new();
    touch(&tree, &["c/train/good/0.png", "c/test/images/1.png", "c/test/images/2.png", "c/train/scratch/3.png"]);
    let dataset = Dataset::open(tree.root()).unwrap();
    assert_eq!(read(&dataset).len(), 1);
    let message = |name: &str| {
        let found = dataset.findings.iter().find(|finding| finding.path.ends_with(name)).unwrap();
        assert_eq!(found.kind, FindingKind::LeftOut);
        found.message.clone()
    };
    assert!(message("images").contains("their labels are unknown"), "{}", message("images"));
    assert!(message("scratch").contains("by its name, it holds defective images"), "{}", message("scratch"));
}

#[test]
fn datasets_far_below_are_named() {
    let tree = Tree::new();
    touch(&tree, &["1/2/3/4/5/gear/train/good/0.png"]);
    let error = Dataset::open(tree.root()).unwrap_err().to_string();
    let expected = format!("a dataset lies in {}", tree.path("1/2/3/4/5").display());
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn the_folder_with_products_of_normal_images_is_named() {
    let tree = Tree::new();
    touch(&tree, &["OK/gear/0.png", "OK/lid/0.png", "NG/gear/1.png"]);
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    let open = format!("open {}", tree.root().join("OK").display());
    for words in ["in folders of OK (gear, lid)", &open, "gear/good and gear/bad"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(Dataset::open_products(tree.root().join("OK")).unwrap().categories.len(), 2);
}

#[test]
fn a_folder_of_defects_among_normal_images_is_not_called_normal() {
    let tree = Tree::new();
    touch(&tree, &["good/day1/0.png", "good/NG/1.png"]);
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    for words in ["those in day1 are normal", "those in NG have defects by name", "a folder bad beside it"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(!message.contains("NG/good"), "{message}");
}

#[cfg(unix)]
#[test]
fn paths_of_windows_as_names_are_refused() {
    for names in [["parts\\train\\good\\0.png", "parts\\test\\A01\\0.png"], ["train\\0.png", "test\\0.png"]] {
        let tree = Tree::new();
        touch(&tree, &names);
        for found in [Dataset::open(tree.root()), Dataset::open_as(Layout::Folder, tree.root())] {
            let message = found.unwrap_err().to_string();
            assert!(message.contains("2 of its 2 images have backslashes") && message.contains("7z"), "{message}");
        }
    }
    // One alone is a name.
    let tree = Tree::new();
    touch(&tree, &["a\\b.png", "c.png"]);
    assert_eq!(Dataset::open(tree.root()).unwrap().categories[0].samples.len(), 2);
}

#[test]
fn datasets_at_several_depths_are_named() {
    let tree = Tree::new();
    touch(
        &tree,
        &["a/x/train/good/0.png", "b/c/d/good/0.png", "e/f/g/h/i/train/good/0.png", "e/f/g/h/i/test/cut/0.png"],
    );
    let message = Dataset::open(tree.root()).unwrap_err().to_string();
    for folder in ["a", "b/c/d", "e/f/g/h"] {
        let path = folder.split('/').fold(tree.root().to_path_buf(), |path, part| path.join(part));
        assert!(message.contains(&path.display().to_string()), "{folder}: {message}");
    }
    assert!(message.contains("datasets lie in") && message.contains("open one"), "{message}");
}
