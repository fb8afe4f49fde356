//! The loader: equal batches on any number of threads, bounded memory, cancellation, and invalid images.

use std::time::{Duration, Instant};

use crate::support::Tree;
use dualad_data::image::{Limits, Picture, Preprocess};
use dualad_data::{Batch, Cancel, Dataset, Error, Label, Loader, OnError, Result, Sample, Split};

fn samples(tree: &Tree, count: u32) -> Vec<Sample> {
    let sample = |i| {
        let path = tree.picture(&format!("{i:03}.png"), 12 + i % 5, 9, i);
        Sample::new(path, "c", Split::Train, Label::Normal)
    };
    (0..count).map(sample).collect()
}

fn preprocess() -> Preprocess {
    Preprocess::new(8, 16).unwrap()
}

fn all(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.batches(epoch).collect::<Result<_>>().unwrap()
}

fn indices(batches: &[Batch]) -> Vec<usize> {
    batches.iter().flat_map(|batch| batch.indices.iter().copied()).collect()
}

#[test]
fn batches_equal_those_of_a_plain_loop() {
    let tree = Tree::new();
    let samples = samples(&tree, 11);
    let batches = all(&Loader::new(samples.clone(), preprocess()).batch_size(4), 0);
    assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 3]);
    assert_eq!(indices(&batches), (0..11).collect::<Vec<_>>());
    for batch in &batches {
        assert_eq!((batch.height, batch.width), (8, 16));
        assert_eq!(batch.pixels.len(), batch.len() * 3 * 8 * 16);
        assert_eq!(batch.masks, None);
        for (position, &index) in batch.indices.iter().enumerate() {
            let picture = Picture::read(&samples[index].path, &Limits::default()).unwrap();
            assert_eq!(batch.samples[position], samples[index]);
            assert_eq!(batch.sizes[position], (picture.width(), picture.height()));
            let pixels = &batch.pixels[position * 3 * 8 * 16..][..3 * 8 * 16];
            assert_eq!(pixels, preprocess().pixels(&picture).unwrap());
        }
    }
}

#[test]
fn threads_and_prefetch_change_nothing() {
    let tree = Tree::new();
    let samples = samples(&tree, 23);
    for shuffled in [false, true] {
        let mut loader = Loader::new(samples.clone(), preprocess()).batch_size(5);
        if shuffled {
            loader = loader.shuffle(7);
        }
        let expected = all(&loader.clone().threads(1).prefetch(1), 3);
        for threads in 1..=4 {
            for prefetch in [1, 2, 100] {
                assert_eq!(all(&loader.clone().threads(threads).prefetch(prefetch), 3), expected);
            }
            assert_eq!(all(&loader.clone().threads(threads), 3), expected);
        }
    }
}

#[test]
fn shuffling_depends_only_on_seed_and_epoch() {
    let tree = Tree::new();
    let samples = samples(&tree, 23);
    let order = |seed, epoch| indices(&all(&Loader::new(samples.clone(), preprocess()).shuffle(seed), epoch));
    let first = order(1, 0);
    assert_eq!(first, order(1, 0));
    assert_ne!(first, order(1, 1));
    assert_ne!(first, order(2, 0));
    assert_ne!(first, (0..23).collect::<Vec<_>>());
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..23).collect::<Vec<_>>());
}

#[test]
fn the_last_batch_can_be_dropped() {
    let tree = Tree::new();
    let samples = samples(&tree, 7);
    let sizes = |loader: &Loader| all(loader, 0).iter().map(Batch::len).collect::<Vec<_>>();
    let loader = Loader::new(samples, preprocess()).batch_size(3);
    assert_eq!(sizes(&loader), [3, 3, 1]);
    assert_eq!(sizes(&loader.clone().drop_last(true)), [3, 3]);
    assert_eq!(sizes(&loader.clone().batch_size(0)), [1; 7]);
    assert_eq!(sizes(&loader.clone().batch_size(usize::MAX)), [7]);
    assert_eq!(sizes(&loader.clone().batch_size(7)), [7]);
    assert_eq!(sizes(&Loader::new([], preprocess())), [0usize; 0]);
}

#[test]
fn an_invalid_image_stops_the_epoch_or_is_skipped() {
    let tree = Tree::new();
    let samples = samples(&tree, 10);
    tree.write("003.png", "");
    tree.write("009.png", "words");
    let loader = Loader::new(samples, preprocess()).batch_size(4);
    for threads in 1..=3 {
        let mut batches = loader.clone().batch_size(2).threads(threads).batches(0);
        assert_eq!(batches.next().unwrap().unwrap().indices, [0, 1]);
        let error = batches.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("003.png"), "{error}");
        assert!(batches.next().is_none());
        assert!(batches.next().is_none());

        let mut batches = loader.clone().on_error(OnError::Skip).threads(threads).batches(0);
        let good: Vec<Batch> = batches.by_ref().collect::<Result<_>>().unwrap();
        assert_eq!(
            good.iter().map(|batch| batch.indices.clone()).collect::<Vec<_>>(),
            [vec![0, 1, 2, 4], vec![5, 6, 7, 8]]
        );
        let skipped: Vec<String> = batches.skipped().iter().map(Error::to_string).collect();
        assert_eq!(skipped.len(), 2);
        assert!(skipped[0].contains("003.png") && skipped[1].contains("009.png"), "{skipped:?}");
    }
}

#[test]
fn invalid_images_alone_give_no_batch() {
    let tree = Tree::new();
    let sample = |i| Sample::new(tree.write(&format!("{i}.png"), ""), "c", Split::Train, Label::Normal);
    let loader = Loader::new((0..3).map(sample), preprocess()).on_error(OnError::Skip);
    let mut batches = loader.batches(0);
    assert!(batches.next().is_none());
    assert_eq!(batches.skipped().len(), 3);
}

#[test]
fn masks_are_loaded_with_their_images() {
    let tree = Tree::new();
    tree.picture("c/train/good/0.png", 16, 8, 0);
    for name in ["c/test/cut/0.png", "c/test/cut/1.png", "c/test/good/0.png"] {
        tree.picture(name, 16, 8, 1);
    }
    tree.mask("c/ground_truth/cut/1_mask.png", 16, 8, 255);
    let dataset = Dataset::open(tree.root()).unwrap();
    let loader = Loader::new(dataset.samples(Split::Test).cloned(), preprocess()).masks(true);
    let batches = all(&loader, 0);
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].mask_known, [false, true, true]);
    let masks: Vec<&[u8]> = batches[0].masks.as_ref().unwrap().chunks(8 * 16).collect();
    let half: Vec<u8> = (0..8 * 16).map(|i| u8::from(i % 16 < 8)).collect();
    assert_eq!(masks, [&[0u8; 8 * 16][..], &half, &[0; 8 * 16]]);

    // The masks of one image are joined.
    let mut two = dataset.samples(Split::Test).nth(1).unwrap().clone();
    two.masks.push(tree.mask("other.png", 16, 8, 0));
    tree.dot("other.png", 15, 7);
    let two = all(&Loader::new([two], preprocess()).masks(true), 0);
    let joined: Vec<u8> = half.iter().enumerate().map(|(i, &mark)| if i == 8 * 16 - 1 { 1 } else { mark }).collect();
    assert_eq!((two[0].mask_known.as_slice(), two[0].masks.as_deref()), (&[true][..], Some(&joined[..])));
    // Without `masks`, no mask is known.
    assert_eq!(all(&loader.clone().masks(false), 0)[0].mask_known, [false; 3]);

    tree.mask("c/ground_truth/cut/1_mask.png", 8, 16, 255);
    let error = loader.batches(0).next().unwrap().unwrap_err();
    assert!(matches!(error, Error::MaskSize { .. }), "{error}");
    assert!(loader.masks(false).batches(0).all(|batch| batch.is_ok()));
}

#[test]
fn a_cancelled_loader_returns_the_error_and_ends() {
    let tree = Tree::new();
    let cancel = Cancel::default();
    let loader = Loader::new(samples(&tree, 20), preprocess()).batch_size(2).cancel(&cancel).on_error(OnError::Skip);
    let mut batches = loader.batches(0);
    assert!(batches.next().unwrap().is_ok());
    std::thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
    });
    assert!(matches!(batches.next(), Some(Err(Error::Cancelled))));
    assert!(batches.next().is_none());
    assert!(matches!(loader.batches(1).next(), Some(Err(Error::Cancelled))));
}

#[test]
fn a_dropped_loader_stops_promptly() {
    let tree = Tree::new();
    let path = tree.picture("large.png", 1500, 1500, 1);
    let many = (0..10_000).map(|_| Sample::new(&path, "c", Split::Train, Label::Normal));
    let loader = Loader::new(many, preprocess()).threads(2).batch_size(1);
    for taken in 0..3 {
        let mut batches = loader.batches(0);
        for _ in 0..taken {
            batches.next().unwrap().unwrap();
        }
        let started = Instant::now();
        drop(batches);
        // Each thread finishes one image. All 10 000 would take minutes; the limit allows for a busy machine.
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn look_ahead_is_bounded() {
    let tree = Tree::new();
    let samples = samples(&tree, 40);
    let mut batches = Loader::new(samples.clone(), preprocess()).batch_size(2).threads(3).prefetch(4).batches(0);
    batches.next().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // Two images are read and four are ahead. Later files are not open yet, so removing them causes errors.
    for sample in &samples[6..] {
        std::fs::remove_file(&sample.path).unwrap();
    }
    assert_eq!(batches.next().unwrap().unwrap().indices, [2, 3]);
    assert_eq!(batches.next().unwrap().unwrap().indices, [4, 5]);
    assert!(batches.next().unwrap().is_err());
}
