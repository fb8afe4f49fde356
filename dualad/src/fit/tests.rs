use std::path::Path;

use dualad_data::image::Picture;

use crate::Detector;
use crate::fit::{Fit, PreparedFit, RunFolder, TrainingImages};
use crate::recipe::Recipe;
use crate::{Variant, train};

/// A program with a user interface runs a fit on a thread of its own.
#[test]
fn a_fit_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Fit>();
    is_send::<PreparedFit>();
    is_send::<RunFolder>();
}

/// Returns a run of two epochs with a small network, on 12 pictures.
fn fit() -> Fit {
    let picture = |index: usize| {
        let pixels = (0..3 * 64 * 64).map(|value| ((value * (index + 3)) % 251) as u8).collect();
        ("part", Picture::new(64, 64, pixels).unwrap())
    };
    let mut recipe = Recipe::fast(Variant::Heterogeneous, dualad_backbones::Backbone::FilterBank);
    recipe.network = recipe.network.with_grid([4, 4]).with_neighbor_mask(Some([1, 1])).with_levels(2).with_heads(2);
    recipe.network = recipe.network.with_narrow_width(8).with_chunk_width(8).with_ffn_width(8).with_memory_slots(6);
    (recipe.train.epochs, recipe.train.batch_size) = (2, 4);
    Detector::fit(TrainingImages::pictures((0..12).map(picture))).recipe(recipe)
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
