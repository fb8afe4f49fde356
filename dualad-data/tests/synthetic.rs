//! The generator: equal bytes, exact masks, safe replacement of folders, and defects that a detector can find.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dualad_data::Error;
use dualad_data::synthetic::{Category, Defect, Options, SyntheticError, THRESHOLD, render, write};
use image::{GrayImage, RgbImage};

fn small() -> Options {
    Options { size: 33, train: 3, test_good: 2, test_per_defect: 1, ..Options::default() }
}

/// Every file of a folder by its relative path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn write_with_threads(folder: &Path, options: &Options, threads: usize) -> BTreeMap<PathBuf, Vec<u8>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| write(folder, options, |_, _| {})).unwrap();
    files(folder)
}

#[test]
fn same_seed_same_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let one = write_with_threads(&folder.path().join("one"), &small(), 1);
    let two = write_with_threads(&folder.path().join("two"), &small(), 2);
    assert!(one == two);
    let other = write_with_threads(&folder.path().join("other"), &Options { seed: 1, ..small() }, 2);
    assert!(one.keys().eq(other.keys()));
    let is_mask = |path: &Path| path.to_string_lossy().ends_with("_mask.png");
    for (path, bytes) in one.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "png") && !is_mask(path)) {
        assert!(bytes != &other[path], "{} is the same for another seed", path.display());
    }
}

#[test]
fn the_layout_is_that_of_mvtec_and_progress_counts_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut heard = Vec::new();
    let options = small();
    let summary = write(&folder.path().join("set"), &options, |done, total| heard.push((done, total))).unwrap();
    let defective: usize = Category::ALL.iter().map(|category| category.defects().len()).sum();
    assert_eq!((summary.train, summary.test_good, summary.test_defective), (15, 10, defective));
    let total = 25 + defective;
    assert_eq!(heard, (1..=total).map(|done| (done, total)).collect::<Vec<_>>());
    let mut expected = vec![PathBuf::from(".dualad-synthetic"), PathBuf::from("readme.txt")];
    for category in Category::ALL {
        expected.extend((0..3).map(|index| PathBuf::from(format!("{category}/train/good/{index:03}.png"))));
        expected.extend((0..2).map(|index| PathBuf::from(format!("{category}/test/good/{index:03}.png"))));
        for defect in category.defects() {
            expected.push(format!("{category}/test/{defect}/000.png").into());
            expected.push(format!("{category}/ground_truth/{defect}/000_mask.png").into());
        }
    }
    expected.sort();
    let found = files(&folder.path().join("set"));
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), expected);
    for (path, bytes) in &found {
        if path.extension().is_some_and(|extension| extension == "png") {
            let image = image::load_from_memory(bytes).unwrap();
            assert_eq!((image.width(), image.height()), (33, 33), "{}", path.display());
        }
    }
}

#[test]
fn masks_mark_the_changed_pixels() {
    for size in [32, 33, 47, 224] {
        for category in Category::ALL {
            let (good, mask) = render(category, 3, 5, None, size).unwrap();
            assert!(mask.pixels().all(|pixel| pixel.0 == [0]));
            for &defect in category.defects() {
                let (image, mask) = render(category, 3, 5, Some(defect), size).unwrap();
                assert_eq!((image.dimensions(), mask.dimensions()), ((size, size), (size, size)));
                let mut changed = 0;
                for ((before, after), mask) in good.pixels().zip(image.pixels()).zip(mask.pixels()) {
                    let most = before.0.iter().zip(after.0).map(|(before, after)| before.abs_diff(after)).max();
                    assert_eq!(mask.0[0], if most > Some(0) { 255 } else { 0 }, "{category}, {defect}, {size}");
                    assert!(most == Some(0) || most >= Some(THRESHOLD));
                    changed += usize::from(most > Some(0));
                }
                assert!(changed > 0, "{category}, {defect}, {size}: nothing changed");
            }
        }
    }
}

#[test]
fn defects_are_small_to_medium() {
    for category in Category::ALL {
        for &defect in category.defects() {
            for index in 0..8 {
                let (_, mask) = render(category, 9, index, Some(defect), 112).unwrap();
                let share = mask.pixels().filter(|pixel| pixel.0 != [0]).count() as f32 / (112.0 * 112.0);
                assert!((0.0015..0.07).contains(&share), "{category}, {defect}, {index}: {share}");
            }
        }
    }
}

#[test]
fn options_out_of_range_are_errors() {
    let message = |result: Result<(RgbImage, GrayImage), Error>| result.unwrap_err().to_string();
    for size in [0, 31, 4097, u32::MAX] {
        let message = message(render(Category::Gear, 0, 0, None, size));
        assert_eq!(message, format!("the option \"size\" cannot be {size}: choose 32 to 4096 pixels"));
    }
    let message = message(render(Category::Fabric, 0, 0, Some(Defect::Dent), 64));
    assert_eq!(message, "a fabric has no defect \"dent\"; choose from missing, stain, swapped");
    let error = "bottle".parse::<Category>().unwrap_err().to_string();
    assert_eq!(error, "there is no category \"bottle\"; choose from blister, board, fabric, gear, plate");
    for category in Category::ALL {
        assert_eq!(category.name().parse::<Category>().unwrap(), category);
    }
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    let wrong = [
        (Options { size: 8, ..small() }, "\"size\" cannot be 8"),
        (Options { train: 0, ..small() }, "\"train\" cannot be 0"),
        (Options { test_good: usize::MAX, ..small() }, "\"test_good\" cannot be"),
        (Options { categories: vec![], ..small() }, "\"categories\" cannot be []"),
        (Options { categories: vec![Category::Gear; 2], ..small() }, "each once"),
    ];
    for (options, part) in wrong {
        let message = write(&set, &options, |_, _| {}).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert!(!set.exists());
}

#[test]
fn a_folder_with_foreign_files_is_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    fs::create_dir_all(set.join("gear")).unwrap();
    fs::write(set.join("gear/notes.txt"), "mine").unwrap();
    let error = write(&set, &small(), |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Synthetic(SyntheticError::FolderInUse { .. })), "{error}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(fs::read(set.join("gear/notes.txt")).unwrap(), b"mine");

    // An empty folder is used, a generated dataset is replaced, and one with a foreign file is not.
    fs::remove_file(set.join("gear/notes.txt")).unwrap();
    write(&set, &small(), |_, _| {}).unwrap();
    let first = files(&set);
    write(&set, &Options { seed: 2, categories: vec![Category::Plate], ..small() }, |_, _| {}).unwrap();
    assert!(!set.join("gear").exists() && set.join("plate/train/good/000.png").exists());
    fs::write(set.join("plate/test/good/mine.png"), "mine").unwrap();
    let error = write(&set, &small(), |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("mine.png"), "{error}");
    fs::remove_file(set.join("plate/test/good/mine.png")).unwrap();
    write(&set, &small(), |_, _| {}).unwrap();
    assert_eq!(files(&set), first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "temporary folders are left");
}

#[test]
fn leftovers_are_removed_and_failures_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    // An interrupted call leaves its unfinished folder with the marker.
    write(&set, &small(), |_, _| {}).unwrap();
    let whole = files(&set);
    let partial = folder.path().join(".dualad-unfinished-set");
    fs::rename(&set, &partial).unwrap();
    fs::remove_dir_all(partial.join("gear/test")).unwrap();
    write(&set, &small(), |_, _| {}).unwrap();
    assert_eq!(files(&set), whole);
    assert!(!partial.exists());

    // A foreign folder of that name is not removed.
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("mine"), "mine").unwrap();
    let error = write(&set, &small(), |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Synthetic(SyntheticError::NotAFolder { .. })), "{error}");
    assert!(partial.join("mine").exists());

    // A file in the place of a folder prevents writing, for the root user too.
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = write(&file, &small(), |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Synthetic(SyntheticError::NotAFolder { .. })), "{error}");
    let error = write(&file.join("set"), &small(), |_, _| {}).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("file"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    let error = write(Path::new("/"), &small(), |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Synthetic(SyntheticError::NotAFolder { .. })), "{error}");
}

#[test]
fn a_dataset_that_an_interrupted_call_moved_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (set, old, partial) =
        (folder.path().join("set"), folder.path().join(".set.old"), folder.path().join(".dualad-unfinished-set"));
    let options = Options { categories: vec![Category::Plate], ..small() };
    write(&set, &options, |_, _| {}).unwrap();
    let whole = files(&set);
    // Between its two renames, a call leaves only the old dataset. A foreign file in it makes the next call fail without a
    // loss.
    fs::rename(&set, &old).unwrap();
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("mine"), "mine").unwrap();
    assert!(write(&set, &Options { seed: 5, ..options.clone() }, |_, _| {}).is_err());
    assert_eq!(files(&old), whole);
    // A call that fails later leaves it in place.
    fs::remove_dir_all(&partial).unwrap();
    let stopped = std::panic::catch_unwind(|| write(&set, &options, |_, _| panic!("as good as a crash")));
    assert!(stopped.is_err());
    assert_eq!(files(&set), whole);
    assert!(!old.exists());
    // An old dataset that could not be removed does not prevent a call.
    write(&old, &options, |_, _| {}).unwrap();
    write(&set, &Options { seed: 5, ..options }, |_, _| {}).unwrap();
    assert_ne!(files(&set), whole);
    assert!(!old.exists() && !partial.exists());
}

#[test]
fn a_dataset_that_was_edited_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    write(&set, &small(), |_, _| {}).unwrap();
    let file = files(&set).into_keys().find(|file| file.extension().is_some_and(|kind| kind == "png")).unwrap();
    let path = set.join(&file);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.last_mut().unwrap();
    *last ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = write(&set, &small(), |_, _| {}).unwrap_err();
    assert!(
        matches!(&error, Error::Synthetic(SyntheticError::Changed { found, .. }) if path.ends_with(found)),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // A removed file does not prevent the replacement.
    fs::remove_file(&path).unwrap();
    write(&set, &small(), |_, _| {}).unwrap();
    assert!(path.exists());
}

#[test]
fn a_dataset_is_recognized_by_its_marker() {
    let folder = tempfile::tempdir().unwrap();
    let (set, partial) = (folder.path().join("set"), folder.path().join(".dualad-unfinished-set"));
    write(&set, &small(), |_, _| {}).unwrap();
    let readme = fs::read(set.join("readme.txt")).unwrap();
    // Foreign notes in a folder of the name of the unfinished dataset.
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join("readme.txt"), &readme).unwrap();
    fs::write(partial.join("notes.txt"), "mine").unwrap();
    assert!(write(&set, &small(), |_, _| {}).is_err());
    assert_eq!(fs::read(partial.join("notes.txt")).unwrap(), b"mine");
    // Files that the marker does not list are foreign.
    fs::copy(set.join(".dualad-synthetic"), partial.join(".dualad-synthetic")).unwrap();
    assert!(write(&set, &small(), |_, _| {}).is_err());
    assert_eq!(fs::read(partial.join("notes.txt")).unwrap(), b"mine");
    // A killed call leaves half a picture, or a part of the marker.
    fs::remove_file(partial.join("notes.txt")).unwrap();
    fs::create_dir_all(partial.join("gear/train/good")).unwrap();
    fs::write(partial.join("gear/train/good/001.png"), "half").unwrap();
    write(&set, &small(), |_, _| {}).unwrap();
    assert!(!partial.exists());
    for half in ["", "A generated dataset: dua"] {
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join(".dualad-synthetic"), half).unwrap();
        write(&set, &small(), |_, _| {}).unwrap();
        assert!(!partial.exists());
    }
}

#[cfg(unix)]
#[test]
fn pipes_do_not_block() {
    for name in ["readme.txt", ".dualad-synthetic"] {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("set");
        fs::create_dir(&set).unwrap();
        let made = std::process::Command::new("mkfifo").arg(set.join(name)).status();
        assert!(made.is_ok_and(|status| status.success()));
        // Reading either pipe would wait forever for a writer.
        let error = write(&set, &small(), |_, _| {}).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        let image = set.join("train.png");
        fs::rename(set.join(name), &image).unwrap();
        assert!(matches!(dualad_data::image::Picture::read(&image, &Default::default()), Err(Error::Io { .. })));
    }
}

/// Describes every 16 x 16 block by its colors, standard deviations and mean gradients at the scales 1, 2 and 4.
fn describe(image: &RgbImage) -> Vec<Vec<f32>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let at = |x: usize, y: usize| image.get_pixel(x as u32, y as u32).0.map(f32::from);
    let mut blocks = Vec::new();
    for top in (0..height - 15).step_by(8) {
        for left in (0..width - 15).step_by(8) {
            let mut values = Vec::new();
            for channel in 0..3 {
                let level = |x: usize, y: usize| at((left + x).min(width - 1), (top + y).min(height - 1))[channel];
                let mean = (0..256).map(|i| level(i % 16, i / 16)).sum::<f32>() / 256.0;
                let spread = (0..256).map(|i| (level(i % 16, i / 16) - mean).powi(2)).sum::<f32>() / 256.0;
                // The light varies between pictures, so brightness has little information.
                values.extend([0.25 * mean, spread.sqrt()]);
                for scale in [1, 2, 4] {
                    let mut energy = [0.0; 2];
                    for (x, y) in (0..256).map(|i| (i % 16, i / 16)) {
                        energy[0] += (level(x + scale, y) - level(x, y)).abs();
                        energy[1] += (level(x, y + scale) - level(x, y)).abs();
                    }
                    values.extend(energy.map(|energy| energy / 256.0));
                }
            }
            blocks.push(values);
        }
    }
    blocks
}

/// Returns the share of pairs in which the defective picture has the higher score.
fn auroc(good: &[f32], bad: &[f32]) -> f32 {
    let pair = |(good, bad): (f32, f32)| if bad > good { 1.0 } else { 0.5 * f32::from(u8::from(bad == good)) };
    let pairs = good.iter().flat_map(|&good| bad.iter().map(move |&bad| (good, bad)));
    pairs.map(pair).sum::<f32>() / (good.len() * bad.len()) as f32
}

#[test]
fn a_detector_is_better_than_chance_and_random_scores_are_not() {
    use rayon::prelude::*;
    let (train, good, bad) = (30, 12, 24);
    let mean = |image: &RgbImage| image.as_raw().iter().map(|&level| f32::from(level)).sum::<f32>();
    let (mut working, mut bright, mut random) = (Vec::new(), Vec::new(), Vec::new());
    for category in Category::ALL {
        let normal = |index| render(category, 11, index, None, 112).unwrap().0;
        let memory: Vec<Vec<f32>> =
            (0..train).into_par_iter().flat_map_iter(|index| describe(&normal(index))).collect();
        let score = |image: &RgbImage| {
            let blocks = describe(image);
            let nearest = blocks.iter().map(|block| {
                let distance = |known: &Vec<f32>| block.iter().zip(known).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
                memory.iter().map(distance).fold(f32::INFINITY, f32::min)
            });
            nearest.fold(0.0, f32::max)
        };
        let goods: Vec<RgbImage> = (train..train + good).map(normal).collect();
        let bads: Vec<RgbImage> = (0..bad)
            .map(|index| {
                let defect = category.defects()[index % category.defects().len()];
                render(category, 11, train + good + index, Some(defect), 112).unwrap().0
            })
            .collect();
        let all = |images: &[RgbImage]| -> Vec<f32> { images.par_iter().map(score).collect() };
        working.push(auroc(&all(&goods), &all(&bads)));
        let all = |images: &[RgbImage]| -> Vec<f32> { images.iter().map(mean).collect() };
        bright.push(auroc(&all(&goods), &all(&bads)));
        // Random scores: a hash of the index.
        let noise = |from: usize, count: usize| -> Vec<f32> {
            (from..from + count).map(|i| ((i as u32 + 1).wrapping_mul(2_654_435_761) >> 8) as f32).collect()
        };
        random.push(auroc(&noise(working.len() * 100, good), &noise(working.len() * 100 + good, bad)));
    }
    let average = |scores: &[f32]| scores.iter().sum::<f32>() / scores.len() as f32;
    println!("working {working:.2?}, bright {bright:.2?}, random {random:.2?}");
    assert!(average(&working) > 0.85 && working.iter().all(|&area| area > 0.75), "{working:?}");
    // Not all defects are easy to find.
    assert!(average(&working) < 0.97, "{working:?}");
    for (name, broken) in [("brightness", &bright), ("random", &random)] {
        assert!((0.35..=0.65).contains(&average(broken)), "{name}: {broken:?}");
    }
}

#[test]
fn test_good_looks_like_train() {
    // No global statistic distinguishes the two, because their scenes come from one sequence.
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    let options = Options { size: 32, train: 40, test_good: 40, test_per_defect: 0, ..Options::default() };
    write(&set, &options, |_, _| {}).unwrap();
    for category in Category::ALL {
        let statistics = |part: &str| -> Vec<[f32; 2]> {
            let read = |index| image::open(set.join(format!("{category}/{part}/good/{index:03}.png"))).unwrap();
            let images = (0..40).map(|index: usize| read(index).to_rgb8().into_raw());
            let both = images.map(|raw| {
                let mean = raw.iter().map(|&level| f32::from(level)).sum::<f32>() / raw.len() as f32;
                let spread = raw.iter().map(|&level| (f32::from(level) - mean).powi(2)).sum::<f32>();
                [mean, (spread / raw.len() as f32).sqrt()]
            });
            both.collect()
        };
        let (train, test) = (statistics("train"), statistics("test"));
        for statistic in 0..2 {
            let column = |rows: &[[f32; 2]]| rows.iter().map(|row| row[statistic]).collect::<Vec<_>>();
            let area = auroc(&column(&train), &column(&test));
            // Three standard deviations for 40 against 40 pictures are 0.19.
            assert!((area - 0.5).abs() < 0.2, "{category}, statistic {statistic}: {area}");
        }
    }
}
