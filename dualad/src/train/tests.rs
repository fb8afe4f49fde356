//! Tests of whole runs: interrupted, resumed, in parts, and failing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use candle_core::Tensor;
use dualad_data::Cancel;

use crate::error::{Error, Result};
use crate::features::{Features, Identity, TokenSource};
use crate::recipe::{
    AdamWConfig, Augmentation, Curve, MemoryConfig, MemoryInit, Precision, Recipe, Schedule, TrainConfig,
};
use crate::testing::{RandomTokens, bits, dataset, small};
use crate::train::{LogLine, Trainer};

fn recipe() -> Recipe {
    let mut network = small();
    network.memory_temperature = 0.2;
    Recipe {
        network,
        bank: None,
        train: TrainConfig {
            epochs: 3,
            batch_size: 3,
            seed: 5,
            optimizer: AdamWConfig { learning_rate: 1e-2, ..AdamWConfig::default() },
            schedule: Schedule::new(Curve::Cosine).warmup(2),
            augmentation: Augmentation::default(),
            precision: Precision::F32,
            memory: MemoryConfig {
                init: MemoryInit::KMeans,
                start: 0.3,
                ramp: 0.3,
                temperature_start: Some(1.0),
                anneal: 0.8,
            },
        },
    }
}

/// Returns the tokens of 7 images: 3 steps per epoch, the last of one image.
fn source() -> RandomTokens {
    RandomTokens::new(&small(), 7)
}

fn new(source: &RandomTokens) -> Trainer<'_> {
    Trainer::builder(recipe(), source).build().unwrap()
}

#[test]
fn an_augmented_run_resumes_to_the_same_bits_and_another_recipe_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parts = dataset(folder.path());
    let extractor = dualad_backbones::Backbone::FilterBank.extractor().build().unwrap().into();
    let preprocess = dualad_data::image::Preprocess::new(64, 64).unwrap();
    let samples = parts.samples(dualad_data::Split::Train).cloned();
    let features = Features::of(samples, extractor, preprocess).compute().unwrap();
    let mut augmented = recipe();
    augmented.network.stage_channels =
        dualad_backbones::Backbone::FilterBank.default_stages().iter().map(|stage| stage.channels).collect();
    augmented.network.grid = [4, 4];
    augmented.train.augmentation = Augmentation { flip_vertical: true, quarter_turns: true, ..Augmentation::default() };
    let path = folder.path().join("checkpoint.safetensors");
    let run = |recipe: &Recipe, stop: u64| {
        let cancel = Cancel::default();
        let mut trainer = Trainer::builder(recipe.clone(), &features)
            .checkpoint(&path)
            .cancel(&cancel)
            .progress(|progress| {
                if progress.step == stop {
                    cancel.cancel();
                }
            })
            .build()
            .unwrap();
        let result = trainer.run();
        assert_eq!(result.is_err(), stop > 0);
        trainer.losses()
    };
    let whole = run(&augmented, 0);
    let mut plain = augmented.clone();
    plain.train.augmentation = Augmentation::default();
    assert_ne!(run(&plain, 0), whole);
    run(&augmented, 3);
    assert!(matches!(
        Trainer::builder(plain, &features).checkpoint(&path).resume(),
        Err(Error::CheckpointMismatch { .. })
    ));
    let mut resumed = Trainer::builder(augmented.clone(), &features).checkpoint(&path).resume().unwrap();
    resumed.run().unwrap();
    assert_eq!(resumed.losses(), whole);
    // Tokens without images cannot be augmented, and a CPU refuses bf16 and tf32.
    let source = source();
    let mut other = recipe();
    other.train.augmentation = augmented.train.augmentation;
    let error = Trainer::builder(other.clone(), &source).build().unwrap().run().unwrap_err();
    assert!(error.to_string().contains("augmentation"), "{error}");
    for (precision, name) in [(Precision::Bf16, "bf16"), (Precision::Tf32, "tf32")] {
        other.train.precision = precision;
        let error = Trainer::builder(other.clone(), &source).build().unwrap_err().to_string();
        assert!(error.contains("precision") && error.contains(name), "{error}");
    }
}

/// Asserts that two runs have the same losses and the same bits.
fn assert_same(one: &Trainer<'_>, other: &Trainer<'_>) {
    assert_eq!(one.losses(), other.losses());
    let (one, other) = (one.stepper.state().unwrap(), other.stepper.state().unwrap());
    assert_eq!(bits(&one.parameters), bits(&other.parameters));
    assert_eq!(bits(&one.optimizer.first_moment), bits(&other.optimizer.first_moment));
    assert_eq!(bits(&one.optimizer.second_moment), bits(&other.optimizer.second_moment));
}

#[test]
fn a_run_interrupted_after_any_step_and_resumed_has_the_same_bits() {
    let source = source();
    let mut whole = new(&source);
    whole.run().unwrap();
    assert!(whole.is_finished() && whole.losses().len() == 3 && whole.step_count() == 9);
    assert_eq!(whole.network().unwrap().config().memory_temperature, 0.2);

    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("checkpoint.safetensors"), folder.path().join("train.jsonl"));
    let builder = || Trainer::builder(recipe(), &source).checkpoint(&path).log(&log);
    let mut trainer = builder().build().unwrap();
    for interruptions in 0.. {
        let cancel = Cancel::default();
        let steps = AtomicUsize::new(0);
        let mut cancelled = trainer.cancel(&cancel).progress(|_| {
            steps.fetch_add(1, Ordering::Relaxed);
            cancel.cancel();
        });
        let result = cancelled.run();
        assert_eq!(steps.load(Ordering::Relaxed), 1);
        if result.is_ok() {
            // Cancelled after the last step: the run is finished.
            assert_eq!(interruptions, 8);
            assert_same(&cancelled, &whole);
            break;
        }
        assert!(matches!(result, Err(Error::Cancelled)));
        trainer = builder().resume().unwrap();
    }
    // The log has a line at the end of each epoch, as without interruptions.
    let lines = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<LogLine> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| (line.step, line.epoch)).collect::<Vec<_>>(), [(3, 1), (6, 2), (9, 3)]);
}

#[test]
fn the_bits_depend_on_the_seed() {
    let source = source();
    let run = |seed| {
        let mut recipe = recipe();
        recipe.train.seed = seed;
        let mut trainer = Trainer::builder(recipe, &source).build().unwrap();
        trainer.run().unwrap();
        bits(trainer.network().unwrap().parameters())
    };
    let first = run(1);
    assert!(first == run(1) && first != run(2));
}

#[test]
fn a_run_in_parts_equals_a_run_at_once() {
    let source = source();
    let (mut whole, mut parts) = (new(&source), new(&source));
    whole.run().unwrap();
    for epoch in 1..=3 {
        parts.run_to(epoch).unwrap();
        assert_eq!(parts.epoch(), epoch);
    }
    assert_eq!(bits(whole.network().unwrap().parameters()), bits(parts.network().unwrap().parameters()));
}

#[test]
fn every_image_is_seen_once_an_epoch_in_another_order() {
    #[derive(Debug)]
    struct Seen(RandomTokens, std::sync::Mutex<Vec<usize>>);
    impl TokenSource for Seen {
        fn images(&self) -> usize {
            self.0.images()
        }
        fn batch(&self, indices: &[usize]) -> Result<Tensor> {
            self.1.lock().unwrap().extend(indices);
            self.0.batch(indices)
        }
        fn identity(&self) -> &Identity {
            self.0.identity()
        }
    }
    let source = Seen(source(), Default::default());
    let mut recipe = recipe();
    recipe.train.memory.init = MemoryInit::Drawn;
    let mut read = Vec::new();
    let builder = Trainer::builder(recipe, &source).progress(|_| read.push(source.1.lock().unwrap().len()));
    let mut trainer = builder.build().unwrap();
    source.1.lock().unwrap().clear();
    trainer.run().unwrap();
    drop(trainer);
    // Steps of 3, 3 and 1 images: during each, those of the next one in the epoch are read.
    assert_eq!(read, [6, 7, 7, 13, 14, 14, 20, 21, 21]);
    let seen = source.1.lock().unwrap().clone();
    let mut epochs: Vec<Vec<usize>> = seen.chunks(7).map(<[_]>::to_vec).collect();
    assert!(epochs.len() == 3 && epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    epochs.iter_mut().for_each(|epoch| epoch.sort_unstable());
    assert!(epochs.iter().all(|epoch| *epoch == (0..7).collect::<Vec<_>>()));
}

#[test]
fn training_reduces_the_loss_and_reports_progress() {
    let source = source();
    let mut recipe = recipe();
    recipe.train.epochs = 40;
    let (sender, receiver) = std::sync::mpsc::channel();
    let builder = Trainer::builder(recipe, &source).progress(move |progress| sender.send(*progress).unwrap());
    let mut trainer = builder.build().unwrap();
    trainer.run().unwrap();
    let heard: Vec<_> = receiver.try_iter().collect();
    let losses = trainer.losses();
    assert!(losses[39] < 0.9 * losses[0], "{losses:?}");
    assert_eq!(heard.len(), 120);
    assert_eq!((heard[0].step, heard[0].epoch, heard[0].steps, heard[0].epochs), (1, 1, 120, 40));
    assert_eq!((heard[119].step, heard[119].epoch, heard[119].remaining), (120, 40, Duration::ZERO));
    assert!(heard[0].learning_rate == 5e-3 && heard[1].learning_rate == 1e-2 && heard[119].learning_rate < 1e-4);
    assert!(heard.iter().all(|progress| progress.images_per_second > 0.0));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let source = source();
    let mut trainer = Trainer::builder(recipe(), &source).checkpoint(&path).build().unwrap();
    trainer.run_to(1).unwrap();
    let before = std::fs::read(&path).unwrap();
    trainer.recipe.train.optimizer.learning_rate = 1e30;
    let error = trainer.run().unwrap_err();
    assert!(
        matches!(error, Error::Training { step: 4.., .. }) && error.to_string().contains("check the scale"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn no_images_and_impossible_recipes_are_errors() {
    let empty = RandomTokens::new(&small(), 1);
    let empty = RandomTokens { identity: Identity::default(), ..empty };
    let new = |recipe, source| Trainer::builder(recipe, source).build().unwrap_err();
    assert!(matches!(new(recipe(), &empty), Error::NoImages { .. }));
    let mut impossible = recipe();
    impossible.train.batch_size = 0;
    assert!(matches!(new(impossible, &source()), Error::Config { field: "batch_size", .. }));
    let cancel = Cancel::default();
    cancel.cancel();
    let result = Trainer::builder(recipe(), &source()).cancel(&cancel).build().map(|_| ());
    assert!(matches!(result, Err(Error::Cancelled)));
}
