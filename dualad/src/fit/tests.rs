use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dualad_data::image::Picture;
use dualad_data::{Cancel, Label};

use crate::Detector;
use crate::calibration::Calibrator;
use crate::detector::{Request, TrainedImages};
use crate::fit::{Fit, FitProgress, PreparedFit, RunFolder, TrainingImages};
use crate::recipe::Recipe;
use crate::{Error, Variant, train};

/// A program with a user interface runs a fit on a thread of its own.
#[test]
fn a_fit_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Fit>();
    is_send::<PreparedFit>();
    is_send::<RunFolder>();
}

fn picture(index: usize) -> Picture {
    let pixels = (0..3 * 64 * 64).map(|value| ((value * (index + 3)) % 251) as u8).collect();
    Picture::new(64, 64, pixels).unwrap()
}

fn pictures(indices: std::ops::Range<usize>) -> TrainingImages {
    TrainingImages::pictures(indices.map(|index| ("part", picture(index))))
}

/// Returns a run of two epochs with a small network, on 12 pictures.
fn fit() -> Fit {
    fit_of(12)
}

fn fit_of(count: usize) -> Fit {
    Detector::fit(pictures(0..count)).recipe(recipe())
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::fast(Variant::Heterogeneous, dualad_backbones::Backbone::FilterBank);
    recipe.network = recipe.network.with_grid([4, 4]).with_neighbor_mask(Some([1, 1])).with_levels(2).with_heads(2);
    recipe.network = recipe.network.with_narrow_width(8).with_chunk_width(8).with_ffn_width(8).with_memory_slots(6);
    (recipe.train.epochs, recipe.train.batch_size) = (2, 4);
    recipe
}

#[test]
fn the_steps_of_a_prepared_fit_give_the_model_of_run() {
    let whole = fit().run().unwrap();
    let prepared = fit().prepare().unwrap();
    assert_eq!((prepared.train_images(), prepared.held_out_images()), (10, 2));
    let mut trainer = prepared.trainer().unwrap();
    for epoch in [1, 2] {
        trainer.run_to(epoch).unwrap();
    }
    assert!(trainer.is_finished());
    let (network, losses) = (trainer.network().unwrap(), trainer.losses());
    drop(trainer);
    let stepwise = prepared.finish(network, losses).unwrap();
    assert_eq!(stepwise.detector.config().sha256, whole.detector.config().sha256);
    assert_eq!((stepwise.losses, stepwise.held_out), (whole.losses, whole.held_out));
    assert_eq!(stepwise.detector.calibration(), whole.detector.calibration());
}

#[test]
fn a_log_replaces_no_file_of_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    let error = fit().checkpoint(&file).log(&file).run().unwrap_err();
    assert!(error.to_string().contains("checkpoint"), "{error}");
    std::fs::write(&file, "my notes\n").unwrap();
    let error = fit().log(&file).run().unwrap_err();
    assert!(error.to_string().contains("notes.txt") && error.to_string().contains("something else"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "my notes\n");
}

#[test]
fn rules_that_need_images_of_defects_are_refused_before_images_are_read() {
    use crate::calibration::{Calibrator, Rule};

    let quantile = Rule::Quantile { quantile: 0.9 };
    let rules = [
        Calibrator::new(Rule::F1Max),
        Calibrator::new(quantile).review(Rule::Recall { share: 0.9 }),
        Calibrator::new(Rule::Quantile { quantile: 2.0 }),
    ];
    for (calibrator, text) in rules.into_iter().zip(["images of defects", "images of defects", "from 0 to 1"]) {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let fit = fit().calibrator(calibrator).progress(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
        let error = fit.run().unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }) && error.to_string().contains(text), "{error}");
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
    assert!(fit().hold_out(0.0).calibrator(Calibrator::new(Rule::F1Max)).epochs(0).prepare().is_ok());
}

#[test]
fn devices_that_cannot_train_together_are_refused_before_images_are_read() {
    let others = [candle_core::Device::Cpu];
    let mut homogeneous = recipe();
    homogeneous.network.variant = Variant::Homogeneous;
    homogeneous.network.memory_slots = 0;
    let mut tf32 = recipe();
    tf32.train.precision = crate::recipe::Precision::Tf32;
    for (recipe, text) in [(homogeneous, "only a heterogeneous network"), (tf32, "only CUDA devices have it")] {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let fit = fit().recipe(recipe).data_parallel(&others);
        let error = fit.progress(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)).run().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
    let whole =
        |others: &[candle_core::Device]| fit().data_parallel(others).run().unwrap().detector.to_bytes().unwrap();
    assert_eq!(whole(&others), whole(&others));
    assert_ne!(whole(&others), whole(&[]));
}

#[test]
fn a_checkpoint_or_log_without_its_folder_is_refused_before_images_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing/x");
    for fit in [fit().checkpoint(&file), fit().log(&file)] {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let error = fit.progress(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)).run().unwrap_err();
        assert!(error.to_string().contains("missing/x"), "{error}");
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_run_that_begins_anew_sets_the_earlier_one_aside() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::take(temporary.path().join("run")).unwrap();
    let fit = || fit().checkpoint(folder.checkpoint()).log(folder.log());
    fit().run().unwrap();
    let lines = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<train::LogLine>(line).unwrap().step).collect::<Vec<_>>()
    };
    assert_eq!(lines(&folder.log()).last(), Some(&6));
    assert!(!folder.previous_checkpoint().exists());
    let earlier = std::fs::read(folder.checkpoint()).unwrap();

    // A finished run has nothing left to do.
    fit().run().unwrap();
    assert!(!folder.previous_checkpoint().exists());
    fit().resume(false).seed(1).run().unwrap();
    assert_eq!(std::fs::read(folder.previous_checkpoint()).unwrap(), earlier);
    assert_ne!(std::fs::read(folder.checkpoint()).unwrap(), earlier);
    assert_eq!(lines(&folder.path().join("train.previous.jsonl")), lines(&folder.log()));
}

#[test]
fn the_results_of_an_earlier_model_are_removed_and_other_files_stay() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::take(temporary.path()).unwrap();
    folder.remove_results().unwrap();
    std::fs::create_dir_all(folder.heat_maps().join("gear")).unwrap();
    std::fs::create_dir_all(folder.heat_maps().join("mine")).unwrap();
    let path = |name: &str| temporary.path().join(name);
    let removed = ["report.json", "report.html", "heatmaps/gear/a.png"];
    let kept = ["config.json", "heatmaps/notes.txt", "heatmaps/mine/notes.txt"];
    removed.iter().chain(&kept).for_each(|name| std::fs::write(path(name), "").unwrap());
    folder.remove_results().unwrap();
    assert!(removed.iter().all(|name| !path(name).exists()) && !path("heatmaps/gear").exists());
    assert!(kept.iter().all(|name| path(name).exists()));

    let reserved = RunFolder::reserved_files(temporary.path());
    for name in ["config.json", "model.safetensors", "checkpoint.safetensors", "train.jsonl", "report.html", ".lock"] {
        assert!(reserved.contains(&path(name)), "{name}");
    }
    assert!(!reserved.contains(&path("report.json")));
}

/// Returns the notices of a run, and the number of images whose features it computed.
fn outcome(fit: Fit) -> (crate::error::Result<Vec<String>>, usize) {
    let computed = Arc::new(AtomicUsize::new(0));
    let counter = computed.clone();
    let fit = fit.progress(move |progress| {
        if let FitProgress::Features(progress) = progress {
            counter.fetch_max(progress.done, Ordering::Relaxed);
        }
    });
    let notices = fit.run().map(|fitted| fitted.notices);
    (notices, computed.load(Ordering::Relaxed))
}

#[test]
fn a_finished_run_with_other_images_begins_anew_and_an_unfinished_one_is_refused_before_features() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run.safetensors");
    let previous = temporary.path().join("run.previous.safetensors");
    let tiled = |fit: Fit| fit.tiling(Some(crate::detector::Tiling::new(32).unwrap()));
    for tiling in [false, true] {
        let fit = |count: usize| {
            let fit = fit_of(count).checkpoint(&path).hold_out(0.0);
            if tiling { tiled(fit) } else { fit }
        };
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(&previous);
        outcome(fit(8)).0.unwrap();
        // The same images: nothing is left to do, and nothing to say.
        assert!(outcome(fit(8)).0.unwrap().iter().all(|notice| !notice.contains("begins anew")));
        assert!(!previous.exists());
        // One image more.
        let notices = outcome(fit(9)).0.unwrap();
        assert!(notices[0].contains("begins anew") && notices[0].contains("run.previous"), "{notices:?}");
        assert!(previous.exists());

        // An unfinished run.
        let cancel = Cancel::default();
        let stop = cancel.clone();
        let stopped = fit(9).resume(false).cancel(&cancel).progress(move |progress| {
            if let FitProgress::Training(_) = progress {
                stop.cancel();
            }
        });
        assert!(matches!(stopped.run(), Err(Error::Cancelled)));
        let (error, computed) = outcome(fit(8));
        assert!(matches!(error, Err(Error::CheckpointMismatch { .. })), "{error:?}");
        assert_eq!(computed, 0);
        outcome(fit(9)).0.unwrap();
    }
}

#[test]
fn a_model_knows_the_pictures_that_it_was_trained_on() {
    let fitted = fit_of(12).run().unwrap();
    let detector = fitted.detector;
    let known = |detector: &Detector, index: usize| detector.model().was_trained_on(&picture(index)).unwrap();
    // The bank has tokens of the two held-out images.
    assert_eq!(detector.model().known_training_images(), Some(12));
    assert!((0..12).all(|index| known(&detector, index)));
    assert!(!known(&detector, 12));
    let temporary = tempfile::tempdir().unwrap();
    detector.save(temporary.path()).unwrap();
    let loaded = Detector::load(temporary.path()).unwrap();
    assert!((0..13).all(|index| known(&loaded, index) == known(&detector, index)));
    // A continued model knows the images of both runs.
    let extended = detector.extend(pictures(20..30)).epochs(1).hold_out(0.0).run().unwrap();
    assert_eq!(extended.detector.model().known_training_images(), Some(22));
    let mut recipe = recipe();
    recipe.bank = None;
    let alone = Detector::fit(pictures(0..12)).recipe(recipe).run().unwrap().detector;
    assert_eq!((0..12).filter(|&index| known(&alone, index)).count(), 10);
    // A model of an earlier version does not know any.
    std::fs::remove_file(temporary.path().join("training-images.json")).unwrap();
    let old = Detector::load(temporary.path()).unwrap();
    assert_eq!((old.model().known_training_images(), old.model().was_trained_on(&picture(0))), (None, None));
}

#[test]
fn a_held_out_image_is_scored_without_its_own_tokens() {
    let fitted = fit_of(12).epochs(0).run().unwrap();
    // With its own tokens an image has almost no distance from the bank.
    let own = |detector: &Detector| {
        let scores = (0..12).map(|index| detector.inspect(&picture(index)).unwrap().image_score);
        let mut scores: Vec<f32> = scores.collect();
        scores.sort_by(f32::total_cmp);
        scores
    };
    let least = |scores: &[(String, f32)]| scores.iter().map(|(_, score)| *score).fold(f32::INFINITY, f32::min);
    assert_eq!(fitted.held_out.len(), 2);
    assert!(
        least(&fitted.held_out) > 10.0 * own(&fitted.detector)[11],
        "{:?} {:?}",
        fitted.held_out,
        own(&fitted.detector)
    );

    // The bank of a continued model has tokens of the same images from before.
    let temporary = tempfile::tempdir().unwrap();
    fitted.detector.save(temporary.path()).unwrap();
    let loaded = Detector::load(temporary.path()).unwrap();
    let extended = loaded.extend(pictures(0..12)).epochs(0).run().unwrap();
    assert_eq!(extended.detector.config().held_out, fitted.detector.config().held_out);
    assert!(least(&extended.held_out) > 0.5 * least(&fitted.held_out), "{:?}", extended.held_out);
    assert_eq!(extended.changes.len(), 1);
    let before = extended.changes[0].mean[0];
    let mean = fitted.held_out.iter().map(|(_, score)| f64::from(*score)).sum::<f64>() / 2.0;
    assert!((before - mean).abs() < 1e-3 * mean, "{before} {mean}");
    // Images of another category leave the record of the held-out images as it was.
    let images = (30..36).map(|index| ("other", picture(index)));
    let extended = loaded.extend(TrainingImages::pictures(images)).epochs(0).run().unwrap();
    let held_out = &extended.detector.config().held_out;
    assert!(held_out.len() == 3 && loaded.config().held_out.iter().all(|digest| held_out.contains(digest)));
}

/// Returns pictures that are much alike, different for indices below 31.
fn alike(indices: std::ops::Range<usize>) -> Vec<(String, Picture)> {
    let pixel = |index: usize, place: usize| ((place * 7) % 61 + (place * index) % 31 / 6) as u8;
    let picture = |index: usize| Picture::new(64, 64, (0..64 * 64 * 3).map(|place| pixel(index, place)).collect());
    indices.map(|index| ("part".to_owned(), picture(index).unwrap())).collect()
}

#[test]
fn thresholds_take_training_images_into_account_without_their_tokens() {
    // One image that is unlike the others and that is not held out.
    let mut images = alike(0..12);
    images[3].1 = picture(200);
    for (epochs, setting, trained_on) in [(0, 12, 0), (1, 2, 10)] {
        let fit = |images: Vec<(String, Picture)>| Detector::fit(images).recipe(recipe()).epochs(epochs);
        let fitted = fit(images.clone()).run().unwrap();
        let thresholds = &fitted.detector.calibration().unwrap().categories["part"];
        let known = thresholds.known_good.unwrap();
        assert_eq!((thresholds.normal_images, known.images, known.trained_on), (setting, 12, trained_on), "{epochs}");
        assert_eq!(known.rejected, 0);
        // With its tokens the bank has seen the image, which then scores as the others do.
        let held_out = fitted.held_out.iter().map(|(_, score)| *score).fold(0.0, f32::max);
        assert!(thresholds.reject > 1.5 * held_out, "{epochs}: {} {held_out}", thresholds.reject);
        // Copies count once, and have no tokens of each other.
        let copies = images.iter().chain(&images).cloned().collect();
        let with_copies = fit(copies).run().unwrap();
        let thresholds = &with_copies.detector.calibration().unwrap().categories["part"];
        assert_eq!((thresholds.normal_images, thresholds.known_good.unwrap().images), (setting, 12), "{epochs}");
        assert!(thresholds.reject > 1.5 * held_out, "{epochs}: {} {held_out}", thresholds.reject);
        // The file does not have the numbers of the training images.
        let temporary = tempfile::tempdir().unwrap();
        fitted.detector.save(temporary.path()).unwrap();
        assert_eq!(Detector::load(temporary.path()).unwrap().calibration(), fitted.detector.calibration());
    }
}

#[test]
fn the_bank_of_a_continued_model_says_nothing_on_images_that_it_had_before() {
    let fitted = Detector::fit(alike(0..12)).recipe(recipe()).epochs(0).run().unwrap();
    let new = alike(20..30).into_iter().map(|(_, picture)| ("other".to_owned(), picture));
    let images: Vec<(String, Picture)> = alike(0..12).into_iter().chain(new).collect();
    let extended = fitted.detector.extend(images).epochs(0).run().unwrap();
    let found = extended.detector.calibration().unwrap();
    assert_eq!(["part", "other"].map(|name| found.categories[name].normal_images), [2, 10]);
}

#[test]
fn known_images_set_thresholds_once_and_leave_those_of_other_categories() {
    let images = (0..20).map(|index| (if index < 10 { "gear" } else { "plate" }, picture(index)));
    let detector = Detector::fit(TrainingImages::pictures(images)).recipe(recipe()).epochs(1).run().unwrap().detector;
    let earlier = detector.calibration().unwrap();
    let pictures: Vec<Picture> = (0..54).map(picture).collect();
    let good = |index: usize, category| (Request::from(&pictures[index]).category(category), Label::Normal);
    let calibrate = |images: &[(Request<'_>, Label)]| {
        detector.calibrate(&Calibrator::default(), images.iter().cloned(), &Cancel::default(), |_| {})
    };
    let found = calibrate(&[good(50, "gear"), good(51, "gear"), good(50, "gear"), good(50, "gear")]).unwrap();
    let gear = &found.categories["gear"];
    assert_eq!((gear.normal_images, gear.known_good.unwrap().images), (2, 2));
    assert_eq!((&found.categories["plate"], &found.pooled), (&earlier.categories["plate"], &earlier.pooled));
    // With images of every category the pooled ones change. Copies need not be side by side.
    let mixed = [good(50, "gear"), good(50, "plate"), good(50, "gear"), good(51, "plate")];
    let found = calibrate(&mixed).unwrap();
    assert_eq!(["gear", "plate"].map(|name| found.categories[name].normal_images), [1, 2]);
    assert_eq!(found.pooled.unwrap().normal_images, 3);
    // Thresholds of another model are not kept.
    let mut other = earlier.clone();
    other.model = Some("another".into());
    let refused = detector.check_calibration(&other).unwrap_err().to_string();
    assert!(refused.contains("another model"), "{refused}");
    assert!(detector.check_calibration(earlier).is_ok());
    let others = detector.clone().with_calibration(Some(other));
    let folder = tempfile::tempdir().unwrap();
    let refused = others.save(folder.path().join("model")).unwrap_err().to_string();
    assert!(refused.contains("another model") && !folder.path().join("model").exists(), "{refused}");
    let found = others.calibrate(&Calibrator::default(), [good(50, "gear")], &Cancel::default(), |_| {}).unwrap();
    assert_eq!(found.categories.keys().collect::<Vec<_>>(), ["gear"]);

    let defect = (good(50, "plate").0, Label::Anomalous("scratch".into()));
    let error = calibrate(&[good(50, "gear"), defect]).unwrap_err().to_string();
    assert!(error.contains("one as defective") && error.contains("same pixels"), "{error}");
    let trained = [good(0, "gear"), good(50, "gear")];
    assert!(matches!(calibrate(&trained), Err(Error::TrainedOn { of: 2, .. })));
    let known = |use_of| detector.known_images(trained.iter().cloned(), use_of, false, &Cancel::default(), |_| {});
    let left_out = known(TrainedImages::LeaveOut).unwrap();
    assert_eq!((left_out.images.len(), left_out.left_out.len(), left_out.trained_on), (1, 1, 1));
    let used = known(TrainedImages::Use).unwrap();
    let on = |known, good: &[Request<'_>]| {
        detector.calibrate_on(&Calibrator::default(), known, good, &Cancel::default(), |_| {}).unwrap()
    };
    let found = &on(&used, &[]).categories["gear"];
    assert!(found.warnings.iter().any(|warning| warning.contains("trained on 1 of the 2 images")), "{found:?}");
    // The bank has the tokens of images that it was trained on.
    let checked = [good(1, "gear").0, good(51, "gear").0];
    assert_eq!(on(&left_out, &checked).categories["gear"].known_good.unwrap().images, 2);
}

#[test]
fn training_images_count_as_known_good_images_of_a_network_alone() {
    let mut recipe = recipe();
    recipe.bank = None;
    let detector = Detector::fit(pictures(0..12)).recipe(recipe).hold_out(0.0).run().unwrap().detector;
    let (new, trained) = (picture(50), picture(0));
    let images = [(Request::from(&new).category("part"), Label::Normal)];
    let known = detector.known_images(images, TrainedImages::Refuse, false, &Cancel::default(), |_| {}).unwrap();
    let good = [Request::from(&trained).category("part")];
    let found = detector.calibrate_on(&Calibrator::default(), &known, &good, &Cancel::default(), |_| {}).unwrap();
    let known = found.categories["part"].known_good.unwrap();
    assert_eq!((known.images, known.trained_on), (2, 1));
}
