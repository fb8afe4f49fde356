//! A detector as an application uses it: training, saving, loading, and inspection from several threads.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use dualad::backbones::{Backbone, Weights};
use dualad::calibration::{Calibration, Decision, ThresholdSource, Thresholds};
use dualad::candle_core::{DType, Device};
use dualad::data::image::{Frame, Limits, Picture, PixelFormat, RawImage};
use dualad::data::image_crate::{DynamicImage, RgbImage};
use dualad::data::synthetic::{self, Category, Options};
use dualad::data::{Cancel, Dataset, Split};
use dualad::detector::{Inspection, ModelBytes, OwnedRequest, Replicas, Request, Tiling};
use dualad::fit::{FitProgress, TrainingImages};
use dualad::{Detector, Error, ErrorKind, Model};
use rayon::prelude::*;

mod support;

use support::{recipe, recipe_for};

fn write(folder: &Path, categories: &[Category], train: usize) -> PathBuf {
    let options = Options { size: 64, train, test_good: 2, test_per_defect: 1, categories: categories.into(), seed: 1 };
    synthetic::write(folder, &options, |_, _| ()).unwrap();
    folder.into()
}

/// A dataset of two categories and a detector trained on it. All tests share one.
struct Fixture {
    _folder: tempfile::TempDir,
    data: PathBuf,
    detector: Detector,
    images: Vec<PathBuf>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = write(&folder.path().join("data"), &[Category::Gear, Category::Plate], 10);
        let detector = Detector::fit(&data).recipe(recipe()).epochs(6).run().unwrap().detector;
        let dataset = Dataset::open(&data).unwrap();
        let images = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
        Fixture { _folder: folder, data, detector, images }
    })
}

fn is_close(a: &Inspection, b: &Inspection) -> bool {
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    let largest = a.anomaly_map.values.iter().copied().fold(0.0f32, f32::max);
    near(a.image_score, b.image_score)
        && a.anomaly_map.values.len() == b.anomaly_map.values.len()
        && a.anomaly_map.values.iter().zip(&b.anomaly_map.values).all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
}

#[test]
fn a_detector_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Detector>();
    shared::<Replicas>();
}

#[test]
fn fitting_sets_thresholds_from_held_out_images() {
    let Fixture { detector, .. } = fixture();
    assert_eq!(detector.categories(), ["gear", "plate"]);
    assert_eq!(detector.config().train_images, 16);
    let calibration = detector.calibration().unwrap();
    let gear = &calibration.categories["gear"];
    assert_eq!((gear.normal_images, gear.anomalous_images), (2, 0));
    assert!(!gear.warnings.is_empty(), "two images are too few for one in a hundred");
    assert_eq!(calibration.pooled.as_ref().unwrap().normal_images, 4);
}

#[test]
fn a_loaded_detector_gives_the_same_bits() {
    let Fixture { detector, images, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let loaded = Detector::load(folder.path()).unwrap();
    assert_eq!(loaded.calibration(), detector.calibration());
    let request = |path: &'static PathBuf| Request::from(path).category("gear");
    let requests: Vec<_> = images.iter().map(request).collect();
    let (before, after) = (detector.inspect_batch(requests.clone()), loaded.inspect_batch(requests.clone()));
    for (before, after) in before.into_iter().zip(after) {
        assert_eq!(before.unwrap(), after.unwrap());
    }

    // From memory, without a file system.
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (config, parameters, calibration) = (read("config.json"), read("model.safetensors"), read("calibration.json"));
    let bytes =
        ModelBytes { config: &config, parameters: &parameters, backbone: None, calibration: Some(&calibration) };
    let from_bytes = Detector::from_bytes(&bytes).unwrap();
    assert_eq!(from_bytes.inspect(requests[0]).unwrap(), detector.inspect(requests[0]).unwrap());
    assert_eq!(from_bytes.calibration(), detector.calibration());

    // To memory, from a detector whose files are elsewhere and from one that was never saved.
    for detector in [&loaded, detector] {
        let files = detector.to_bytes().unwrap();
        assert_eq!((&files.config, &files.parameters), (&config, &parameters));
        assert_eq!(files.calibration.as_deref(), Some(&calibration[..]));
        let again = Detector::from_bytes(&files.as_bytes()).unwrap();
        assert_eq!(again.inspect(requests[0]).unwrap(), detector.inspect(requests[0]).unwrap());
    }
    let without = detector.clone().with_calibration(None);
    assert_eq!(without.to_bytes().unwrap().calibration, None);
    let mut foreign = detector.calibration().unwrap().clone();
    foreign.model = Some("0".repeat(64));
    let refused = detector.clone().with_calibration(Some(foreign)).to_bytes();
    assert!(refused.unwrap_err().to_string().contains("another model"));

    // New thresholds need no training. They leave the model card and the parameters unchanged.
    let card = read("README.md");
    let hand_made = Calibration::new([].into(), Some(Thresholds::new(0.0, 1e9).unwrap()));
    loaded.clone().with_calibration(Some(hand_made.clone())).save(folder.path()).unwrap();
    assert_eq!(Detector::load(folder.path()).unwrap().calibration(), Some(&hand_made));
    assert_eq!((read("README.md"), read("model.safetensors")), (card, parameters));
    loaded.with_calibration(None).save(folder.path()).unwrap();
    assert!(Detector::load(folder.path()).unwrap().calibration().is_none());
}

/// Tokens of 14 x 14 pixels: an input of 56 x 56. DINOv3 has rotary positions and tokens of 16 x 16 pixels.
#[test]
fn a_detector_on_a_vision_transformer_gives_the_same_bits() {
    let Fixture { data, images, .. } = fixture();
    for (backbone, side) in [(Backbone::DinoV2Small, 56), (Backbone::DinoV2RegSmall, 56), (Backbone::DinoV3Small, 64)] {
        let fit = Detector::fit(data).recipe(recipe_for(backbone)).backbone(backbone, Weights::synthetic(4));
        let fitted = fit.epochs(1).run().unwrap();
        assert!(fitted.losses.iter().all(|loss| loss.is_finite()), "{backbone}");
        let folder = tempfile::tempdir().unwrap();
        fitted.detector.save(folder.path()).unwrap();
        let loaded = Detector::load(folder.path()).unwrap();
        assert_eq!(loaded.config().network.token_stride, backbone.token_stride());
        for path in images.iter().take(3) {
            let [before, after] = [&fitted.detector, &loaded].map(|detector| detector.inspect(path).unwrap());
            assert_eq!(before, after, "{backbone}");
            assert_eq!((before.anomaly_map.height, before.anomaly_map.width), (side, side));
            assert!(before.image_score > 0.0 && before.image_score.is_finite());
        }
        let replicas = replicas(&loaded, 2);
        for found in replicas.inspect_batch(images.iter().take(3).cycle().take(18)).into_iter().skip(15).zip(images) {
            assert_eq!(found.0.unwrap(), loaded.inspect(found.1).unwrap(), "{backbone}");
        }

        // A changed configuration.
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let stride = r#""token_stride": 14,"#;
        if side == 56 {
            assert!(text.contains(stride));
            std::fs::write(&path, text.replace(stride, r#""token_stride": 16,"#)).unwrap();
            let error = Detector::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("14 pixels") && error.contains("config.json was changed"), "{error}");
        } else {
            assert!(!text.contains("token_stride"), "the usual one is not written");
        }
    }
}

#[test]
fn a_file_or_no_name_in_place_of_a_folder_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Detector::load(file.path()).unwrap_err().to_string();
    assert!(error.contains("it is a file; name the folder") && !error.contains(".dualad"), "{error}");
    let error = Detector::load("").unwrap_err().to_string();
    assert!(error.contains("an empty path"), "{error}");
}

#[test]
fn scores_do_not_depend_on_the_batch_or_the_threads() {
    let Fixture { detector, images, .. } = fixture();
    let alone: Vec<Inspection> = images.iter().map(|path| detector.inspect(path).unwrap()).collect();
    let many: Vec<&PathBuf> = images.iter().cycle().take(3 * images.len() + 1).collect();
    for (index, found) in detector.inspect_batch(many).into_iter().enumerate() {
        assert!(is_close(&found.unwrap(), &alone[index % images.len()]), "image {index}");
    }
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    for threads in [1, 3] {
        let other = Detector::builder().threads(threads).load(folder.path()).unwrap();
        for (path, alone) in images.iter().zip(&alone) {
            assert!(is_close(&other.inspect(path).unwrap(), alone), "{threads} threads");
        }
    }
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (detector, alone, done) = (detector.clone(), &alone, &done);
            scope.spawn(move || {
                for (path, alone) in images.iter().zip(alone) {
                    assert!(is_close(&detector.inspect(path).unwrap(), alone));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 4 * images.len());
}

#[test]
fn every_kind_of_request_gives_the_same_result() {
    let Fixture { detector, images, .. } = fixture();
    let path = &images[0];
    let expected = detector.inspect(path).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let picture = Picture::read(path, &Limits::default()).unwrap();
    let rgb = RgbImage::from(picture.clone());
    let dynamic = DynamicImage::from(rgb.clone());
    let (width, height) = (picture.width(), picture.height());
    // BGR pixels, with a gap after each row.
    let stride = width as usize * 3 + 5;
    let mut bgr = vec![0; stride * height as usize];
    for (row, out) in picture.pixels().chunks_exact(width as usize * 3).zip(bgr.chunks_exact_mut(stride)) {
        for (pixel, out) in row.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
            out.copy_from_slice(&[pixel[2], pixel[1], pixel[0]]);
        }
    }
    let raw = RawImage::new(&bgr, width, height, PixelFormat::Bgr8).unwrap().stride(stride).unwrap();
    let text = path.display().to_string();
    let requests = [
        Request::from(path.as_path()),
        text.as_str().into(),
        Request::encoded(&bytes, "upload"),
        (&picture).into(),
        (&rgb).into(),
        (&dynamic).into(),
        raw.into(),
    ];
    for request in requests {
        assert_eq!(detector.inspect(request).unwrap(), expected, "{request:?}");
    }
    assert_eq!((expected.width, expected.height), (width, height));
    assert_eq!((expected.anomaly_map.width, expected.anomaly_map.height), (64, 64));
    let large = expected.anomaly_map.resized(100, 50);
    assert_eq!((large.width, large.height, large.values.len()), (100, 50, 5000));
    let heat_map = expected.heat_map(&picture).unwrap();
    assert_eq!(heat_map.dimensions(), (width, height));
}

/// As between the thread of a camera and the one that inspects.
#[test]
fn owned_requests_go_through_a_channel() {
    let Fixture { detector, images, .. } = fixture();
    let expected = detector.inspect(Request::from(&images[0]).category("gear")).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<OwnedRequest>();
    let path = images[0].clone();
    let camera = std::thread::spawn(move || {
        let bytes = std::fs::read(&path).unwrap();
        let picture = Picture::read(&path, &Limits::default()).unwrap();
        let rgb = RgbImage::from(picture.clone());
        let frame = Frame::new(rgb.clone().into_raw(), rgb.width(), rgb.height(), PixelFormat::Rgb8).unwrap();
        let dynamic = DynamicImage::from(rgb.clone());
        for request in [
            frame.into(),
            rgb.into(),
            dynamic.into(),
            picture.into(),
            path.into(),
            OwnedRequest::encoded(bytes, "part"),
        ] {
            sender.send(OwnedRequest::category(request, "gear")).unwrap();
        }
    });
    let requests: Vec<OwnedRequest> = receiver.iter().collect();
    camera.join().unwrap();
    assert_eq!(requests.len(), 6);
    for request in &requests {
        assert_eq!(detector.inspect(request).unwrap(), expected, "{request:?}");
    }
    for (found, request) in detector.inspect_batch(&requests).into_iter().zip(&requests) {
        assert!(is_close(&found.unwrap(), &expected), "{request:?}");
    }
    assert!(format!("{:?}", requests[0]).contains("gear") && format!("{:?}", requests[0]).len() < 200);
}

/// Callers that share threads take turns: the results have the bits of an image that is inspected alone.
#[test]
fn callers_that_share_threads_get_the_same_bits() {
    let Fixture { detector, images, .. } = fixture();
    let pool = std::sync::Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let shared = Detector::builder().pool(pool.clone()).load(folder.path()).unwrap();
    for detector in [detector.clone().with_threads(2).unwrap(), shared, detector.clone()] {
        let alone: Vec<Inspection> = images.iter().map(|path| detector.inspect(path).unwrap()).collect();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for (path, alone) in images.iter().zip(&alone) {
                        assert_eq!(&detector.inspect(path).unwrap(), alone);
                    }
                });
            }
            // A caller in a pool, which inspects many images at once.
            scope.spawn(|| {
                pool.install(|| images.par_iter().for_each(|path| assert!(detector.inspect(path).is_ok())));
            });
        });
    }
    assert!(detector.clone().with_threads(0).is_err());
}

#[test]
fn an_invalid_image_fails_alone() {
    let Fixture { detector, images, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.png");
    std::fs::write(&text, "no picture").unwrap();
    let missing = folder.path().join("missing.png");
    let paths = [&images[0], &text, &images[1], &missing];
    let found = detector.inspect_batch(paths);
    assert!(is_close(found[0].as_ref().unwrap(), &detector.inspect(&images[0]).unwrap()));
    assert!(is_close(found[2].as_ref().unwrap(), &detector.inspect(&images[1]).unwrap()));
    for (index, path) in [(1, &text), (3, &missing)] {
        let error = found[index].as_ref().unwrap_err();
        assert!(matches!(error, Error::Data(_)) && error.to_string().contains(&path.display().to_string()), "{error}");
    }
    assert!(detector.inspect_batch(Vec::<&Path>::new()).is_empty());

    let saved = tempfile::tempdir().unwrap();
    detector.save(saved.path()).unwrap();
    let strict = Detector::builder().limits(Limits::default().with_pixels(1000)).load(saved.path()).unwrap();
    let picture = Picture::new(100, 100, vec![0; 30_000]).unwrap();
    assert!(strict.inspect(&picture).is_err() && strict.inspect(&images[0]).is_err());
    assert!(detector.inspect(&picture).is_ok());
}

/// Constant pictures, one pixel, one row and one column.
#[test]
fn unusual_pictures_have_finite_scores() {
    let Fixture { detector, .. } = fixture();
    for (width, height, value) in [(64, 64, 0), (64, 64, 255), (1, 1, 7), (5000, 1, 90), (1, 3000, 200)] {
        let picture = Picture::new(width, height, vec![value; (width * height * 3) as usize]).unwrap();
        let found = detector.inspect(&picture).unwrap();
        assert!(found.image_score.is_finite() && found.anomaly_map.values.iter().all(|value| value.is_finite()));
        for region in &found.regions {
            let at = region.bounds;
            assert!(at.x + at.width <= width && at.y + at.height <= height && at.width > 0 && at.height > 0);
        }
    }
}

/// A model with extreme parameters gives a finite score or an error, never a score that is not finite.
#[test]
fn overflow_is_an_error_and_never_a_score() {
    let Fixture { detector, images, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (config, parameters) = (String::from_utf8(read("config.json")).unwrap(), read("model.safetensors"));
    let begin = 8 + u64::from_le_bytes(parameters[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for factor in [1e3, 1e5, 1e12, 1e36, -1e36, 0.0] {
        let mut scaled = parameters.clone();
        for value in scaled[begin..].as_chunks_mut::<4>().0 {
            *value = (f32::from_le_bytes(*value) * factor).clamp(f32::MIN, f32::MAX).to_le_bytes();
        }
        let digest = |bytes: &[u8]| dualad_store::sha256(bytes);
        let config = config.replace(&digest(&parameters), &digest(&scaled));
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let bytes =
                ModelBytes { config: config.as_bytes(), parameters: &scaled, backbone: None, calibration: None };
            let found = Detector::builder().dtype(dtype).from_bytes(&bytes).and_then(|d| d.inspect(&images[0]));
            match found {
                Ok(found) => {
                    let values = || found.anomaly_map.values.iter().chain([&found.image_score]);
                    assert!(values().all(|value| value.is_finite()), "{factor} in {dtype:?}");
                }
                Err(error) => {
                    refused += 1;
                    let typed = matches!(error, Error::NotFinite { .. } | Error::Parameter { .. } | Error::Weights(_));
                    assert!(typed, "{factor} in {dtype:?}: {error}");
                }
            }
        }
    }
    assert!(refused > 0, "nothing overflowed");
    assert!(Model::load(folder.path(), &Device::Cpu).is_ok());
}

#[test]
fn a_batch_can_be_cancelled() {
    let Fixture { detector, images, .. } = fixture();
    let many: Vec<&PathBuf> = images.iter().cycle().take(40).collect();
    let cancel = Cancel::default();
    let found = detector.inspect_batch_with(many.clone(), &cancel, |progress| {
        assert_eq!(progress.total, 40);
        if progress.done >= 16 {
            cancel.cancel();
        }
    });
    assert_eq!(found.len(), 40);
    assert!(found[..16].iter().all(Result::is_ok));
    assert!(found[16..].iter().all(|found| matches!(found, Err(Error::Cancelled))));
    let found = detector.inspect_batch_with(many, &cancel, |_| unreachable!());
    assert!(found.iter().all(|found| matches!(found, Err(Error::Cancelled))));
}

/// Returns replicas of a detector on so many devices, which are all the CPU.
fn replicas(detector: &Detector, count: usize) -> Replicas {
    let replicas = Replicas::new(detector.clone(), &vec![Device::Cpu; count - 1]).unwrap();
    assert_eq!(replicas.devices().len(), count);
    replicas
}

/// Any number of images, callers, devices and threads, with an image that cannot be read.
#[test]
fn replicas_give_the_bits_of_a_single_detector_in_order() {
    let Fixture { detector, images, .. } = fixture();
    let absent = PathBuf::from("absent.png");
    let paths: Vec<&PathBuf> = images.iter().cycle().take(43).collect();
    for (devices, threads, count) in [(1, 1, 17), (2, 1, 1), (2, 3, 0), (2, 5, 9), (3, 2, 43), (5, 2, 43)] {
        let replicas = replicas(&detector.clone().with_threads(threads).unwrap(), devices);
        let mut paths = paths[..count].to_vec();
        if count > 2 {
            paths[count / 2] = &absent;
        }
        let request = |(index, &path)| Request::from(path).category(["gear", "plate"][index % 2]);
        let requests: Vec<Request<'_>> = paths.iter().enumerate().map(request).collect();
        let expected = detector.inspect_batch(requests.clone());
        let check = || {
            let mut heard = vec![0];
            let found = replicas.inspect_batch_with(requests.clone(), &Cancel::default(), |progress| {
                assert_eq!(progress.total, count);
                heard.push(progress.done);
            });
            assert!(heard.is_sorted() && heard.last() == Some(&count), "{heard:?}");
            assert_eq!(found.len(), count);
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                match (found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                    (Err(found), Err(expected)) => {
                        assert_eq!((found.to_string(), index), (expected.to_string(), count / 2));
                    }
                    _ => panic!("{found:?} {expected:?}"),
                }
            }
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(check))));
        // A caller in a pool.
        rayon::join(check, check);
    }
}

/// A thread of a pool that waited for a device could wait for itself, and callers that take all threads of a pool leave none to decode.
#[test]
fn threads_of_a_pool_can_call_replicas() {
    let Fixture { detector, images, .. } = fixture();
    let pool = std::sync::Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let shared = Detector::builder().pool(pool.clone()).load(folder.path()).unwrap();
    let expected: Vec<Inspection> = images.iter().map(|path| detector.inspect(path).unwrap()).collect();
    for detector in [detector, &shared] {
        let replicas = replicas(detector, 2);
        let check = || {
            images.par_iter().zip(&expected).for_each(|(path, expected)| {
                assert_eq!(&replicas.inspect(path).unwrap(), expected);
            });
            let batches: Vec<_> = (0..6).into_par_iter().map(|_| replicas.inspect_batch(&images[..3])).collect();
            assert!(batches.iter().flatten().all(Result::is_ok));
        };
        pool.install(check);
        rayon::join(check, check);
    }
}

#[test]
fn replicas_have_the_settings_of_their_detector() {
    let Fixture { detector, images, .. } = fixture();
    let replicas = replicas(detector, 3);
    let found = |replicas: &Replicas| -> Vec<Inspection> {
        // One after the other: each device has its turn.
        images.iter().take(5).map(|path| replicas.inspect(path).unwrap()).collect()
    };
    assert!(found(&replicas).iter().all(|found| found.verdict.is_some()));
    assert_eq!(replicas.detector().calibration(), detector.calibration());
    let without = replicas.clone().with_calibration(None);
    assert!(found(&without).iter().all(|found| found.verdict.is_none()));
    assert_eq!(without.detector().calibration(), None);
    // Thresholds that no loading checked, as the detector has them, and its limits.
    let lowest = Calibration::new([].into(), Some(Thresholds::new(0.0, 0.0).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let limits = Limits::default().with_pixels(64 * 64);
    let strict = Detector::builder().limits(limits).load(folder.path()).unwrap().with_calibration(Some(lowest));
    let strict = self::replicas(&strict, 2);
    let rejected = |found: &Inspection| found.verdict.as_ref().unwrap().decision == Decision::Reject;
    assert!(found(&strict).iter().all(rejected));
    let picture = Picture::new(65, 64, vec![0; 65 * 64 * 3]).unwrap();
    assert!((0..4).all(|_| strict.inspect(&picture).is_err()));
}

#[test]
fn a_batch_of_replicas_can_be_cancelled() {
    let Fixture { detector, images, .. } = fixture();
    let replicas = replicas(detector, 3);
    let many: Vec<&PathBuf> = images.iter().cycle().take(200).collect();
    let cancel = Cancel::default();
    let found = replicas.inspect_batch_with(many.clone(), &cancel, |progress| {
        if progress.done >= 16 {
            cancel.cancel();
        }
    });
    let inspected = found.iter().filter(|found| found.is_ok()).count();
    let cancelled = found.iter().filter(|found| matches!(found, Err(Error::Cancelled))).count();
    assert_eq!(inspected + cancelled, 200);
    // Those that the devices had begun are inspected.
    assert!((16..=16 + 2 * 3 * 8).contains(&inspected), "{inspected}");
    let found = replicas.inspect_batch_with(many, &cancel, |_| unreachable!());
    assert!(found.len() == 200 && found.iter().all(|found| matches!(found, Err(Error::Cancelled))));
    assert!(replicas.inspect(&images[0]).is_ok());
}

#[test]
fn decisions_name_the_source_of_their_thresholds() {
    let Fixture { detector, images, .. } = fixture();
    let score = detector.inspect(&images[0]).unwrap().image_score;
    let text = format!(
        r#"{{"categories": {{"gear": {{"review": {}, "reject": {}}}}}, "pooled": {{"reject": {}}}}}"#,
        score * 0.5,
        score * 2.0,
        score * 0.9
    );
    let calibration = Calibration::from_json("test", &text).unwrap();
    let detector = detector.clone().with_calibration(Some(calibration));
    let verdict = |request: Request<'_>| detector.inspect(request).unwrap().verdict.unwrap();
    let gear = verdict(Request::from(&images[0]).category("gear"));
    assert_eq!((gear.decision, gear.source), (Decision::Review, ThresholdSource::Category { name: "gear".into() }));
    let pooled = verdict(Request::from(&images[0]));
    assert_eq!((pooled.decision, pooled.source), (Decision::Reject, ThresholdSource::Pooled { instead_of: None }));
    let unknown = verdict(Request::from(&images[0]).category("bolt"));
    assert_eq!(unknown.source, ThresholdSource::Pooled { instead_of: Some("bolt".into()) });

    // Regions are at or above the region value.
    let found = detector.inspect(Request::from(&images[0]).category("gear")).unwrap();
    assert!(!found.regions.is_empty());
    assert!(found.regions.windows(2).all(|pair| pair[0].peak >= pair[1].peak));
    assert!(found.regions.iter().all(|region| region.peak >= score * 0.5 && !region.outline.is_empty()));
    let bare = detector.with_calibration(None).inspect(&images[0]).unwrap();
    assert!(bare.verdict.is_none() && bare.regions.is_empty());
    assert_eq!(bare.regions_above(score * 0.5, &Default::default()).unwrap().len(), found.regions.len());
}

#[test]
fn pictures_in_memory_train_the_same_network_as_files() {
    let Fixture { data, .. } = fixture();
    let dataset = Dataset::open(data).unwrap();
    let pictures = || {
        let read = |sample: &dualad::data::Sample| Picture::read(&sample.path, &Limits::default()).unwrap();
        TrainingImages::pictures(
            dataset.samples(Split::Train).map(move |sample| (sample.category.clone(), read(sample))),
        )
    };
    let fit = |images: TrainingImages| Detector::fit(images).recipe(recipe()).epochs(2).seed(7).run().unwrap();
    let (memory, files) = (fit(pictures()), fit(TrainingImages::from(data)));
    assert_eq!(memory.losses, files.losses);
    assert_eq!(memory.held_out, files.held_out);
    assert_eq!(memory.losses.len(), 2);
    // Same seed, same bits.
    assert_eq!(fit(pictures()).held_out, memory.held_out);
}

#[test]
fn a_new_category_is_learned_and_the_old_ones_are_kept() {
    let Fixture { detector, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let categories = [Category::Gear, Category::Plate, Category::Fabric];
    let data = write(&folder.path().join("data"), &categories, 10);
    let extended = detector.extend(&data).epochs(4).run().unwrap();
    assert_eq!(extended.detector.categories(), ["fabric", "gear", "plate"]);
    let changed: Vec<&str> = extended.changes.iter().map(|change| change.category.as_str()).collect();
    assert_eq!(changed, ["gear", "plate"]);
    assert!(extended.changes.iter().all(|change| change.images == 2 && change.mean.iter().all(|mean| *mean > 0.0)));
    assert!(extended.detector.calibration().unwrap().categories.contains_key("fabric"));
    // Training continued: the new category scores lower than before. The original detector is unchanged.
    let score = |detector: &Detector| {
        let dataset = Dataset::open(&data).unwrap();
        let samples: Vec<_> = dataset.samples(Split::Train).filter(|sample| sample.category == "fabric").collect();
        let scores = samples.iter().map(|sample| f64::from(detector.inspect(&sample.path).unwrap().image_score));
        scores.sum::<f64>() / samples.len() as f64
    };
    let (before, after) = (score(detector), score(&extended.detector));
    assert!(after < 0.9 * before, "fabric: {before} before, {after} after");
    assert_eq!(detector.categories(), ["gear", "plate"]);

    // Of the old categories, exactly the images that were held out before are held out again.
    let held_out = &detector.config().held_out;
    assert_eq!(held_out.len(), 4);
    assert!(held_out.iter().all(|digest| extended.detector.config().held_out.contains(digest)));
    let trained_on_all = detector.clone().with_calibration(None);
    let folder_of_all = folder.path().join("all");
    trained_on_all.save(&folder_of_all).unwrap();
    let config = folder_of_all.join("config.json");
    let mut value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("held_out");
    std::fs::write(&config, value.to_string()).unwrap();
    let trained_on_all = Detector::load(&folder_of_all).unwrap();
    let fitted = trained_on_all.extend(&data).epochs(1).run().unwrap();
    let calibration = fitted.detector.calibration().unwrap();
    assert_eq!(calibration.categories.keys().collect::<Vec<_>>(), ["fabric"]);
    assert_eq!(fitted.notices.iter().filter(|notice| notice.contains("trained on every image")).count(), 2);

    // A notice names each old category without images.
    let only_new = write(&folder.path().join("new"), &[Category::Fabric], 6);
    let forgetful = detector.extend(&only_new).epochs(1).run().unwrap();
    assert_eq!(forgetful.notices.iter().filter(|notice| notice.contains("may forget")).count(), 2);
    // Training cannot continue with another network.
    let mut other = recipe();
    other.network.narrow_width = 16;
    assert!(matches!(detector.extend(&data).recipe(other).run(), Err(Error::Config { field: "network", .. })));
}

#[test]
fn a_fit_reports_progress_and_resumes_after_cancelling() {
    let Fixture { data, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.safetensors");
    let whole = Detector::fit(data).recipe(recipe()).run().unwrap();
    let cancel = Cancel::default();
    let (heard, stop) = (std::sync::Arc::new(AtomicUsize::new(0)), cancel.clone());
    let counter = heard.clone();
    let result = Detector::fit(data).recipe(recipe()).checkpoint(&file).cancel(&cancel).progress(move |progress| {
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(progress, FitProgress::Training(step) if step.step == 5) {
            stop.cancel();
        }
    });
    assert!(matches!(result.run(), Err(Error::Cancelled)));
    assert!(heard.load(Ordering::Relaxed) >= 5 && file.exists());
    let resumed = Detector::fit(data).recipe(recipe()).checkpoint(&file).run().unwrap();
    assert_eq!((resumed.losses, resumed.held_out), (whole.losses, whole.held_out));
}

#[test]
fn training_errors_name_their_cause() {
    let Fixture { data, .. } = fixture();
    let error = |fit: dualad::fit::Fit| fit.run().unwrap_err().to_string();
    assert!(error(Detector::fit(TrainingImages::pictures(Vec::<(String, Picture)>::new()))).contains("no images"));
    assert!(error(Detector::fit(data).recipe(recipe()).hold_out(1.0)).contains("hold_out"));
    assert!(error(Detector::fit(data).recipe(recipe()).hold_out(f64::NAN)).contains("hold_out"));
    let wrong = Detector::fit(data).recipe(recipe()).backbone(Backbone::ResNet18, Weights::synthetic(0));
    assert!(error(wrong).contains("448"));
    let mut wrong = recipe_for(Backbone::DinoV2Small);
    wrong.network = wrong.network.with_token_stride(16);
    let wrong = error(Detector::fit(data).recipe(wrong).backbone(Backbone::DinoV2Small, Weights::synthetic(0)));
    assert!(wrong.contains("network.token_stride") && wrong.contains("14 pixels"), "{wrong}");
    assert!(error(Detector::fit("/no/such/folder")).contains("/no/such/folder"));
    // Without held-out images there are no thresholds.
    let fitted = Detector::fit(data).recipe(recipe()).epochs(1).hold_out(0.0).run().unwrap();
    assert!(fitted.detector.calibration().is_none() && fitted.held_out.is_empty());
    assert_eq!(fitted.detector.config().train_images, 20);
}

/// A defect that would vanish in the reduced picture is found, at its place, with tiles.
#[test]
fn tiling_finds_a_small_defect() {
    let texture = |seed: usize| {
        // Uniform stripes with some noise.
        let value = |index: usize| {
            let (x, noise) = (index % 320, (index * 7919 + seed * 104_729) % 13);
            (100 + 20 * (x / 8 % 2) + noise) as u8
        };
        (0..320 * 320).flat_map(|index| [value(index); 3]).collect::<Vec<u8>>()
    };
    let good = |seed| ("weave".to_owned(), Picture::new(320, 320, texture(seed)).unwrap());
    let tiling = Tiling::new(64).unwrap();
    let fit = Detector::fit(TrainingImages::pictures((0..6).map(good))).recipe(recipe()).epochs(8);
    let detector = fit.tiling(Some(tiling)).hold_out(0.0).run().unwrap().detector;
    assert_eq!(detector.config().input.tiling, Some(tiling));
    let mut pixels = texture(9);
    for y in 200..206 {
        for x in 90..96 {
            pixels[(y * 320 + x) * 3..][..3].copy_from_slice(&[250, 250, 250]);
        }
    }
    let defective = detector.inspect(&Picture::new(320, 320, pixels).unwrap()).unwrap();
    let normal = detector.inspect(&good(10).1).unwrap();
    assert!(defective.image_score > 1.2 * normal.image_score, "{} {}", defective.image_score, normal.image_score);
    let map = &defective.anomaly_map;
    assert_eq!((map.width, map.height), (320, 320));
    let peak = map.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    let (x, y) = (peak % map.width, peak / map.width);
    assert!(x.abs_diff(93) <= 16 && y.abs_diff(203) <= 16, "{x} {y}");
    // The tiling is a part of the model.
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let loaded = Detector::load(folder.path()).unwrap();
    assert_eq!(loaded.inspect(&good(10).1).unwrap(), normal);
    let replicas = replicas(&loaded, 2);
    assert!((0..3).all(|_| replicas.inspect(&good(10).1).unwrap() == normal));
    let whole = Detector::builder().tiling(None).load(folder.path()).unwrap();
    assert_eq!(whole.inspect(&good(10).1).unwrap().anomaly_map.width, 64);
}

#[test]
fn damaged_model_folders_are_refused() {
    let Fixture { detector, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let error = || Detector::load(folder.path()).unwrap_err().to_string();
    assert!(error().contains("config.json"));
    detector.save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, word) in [
        (r#""backbone": "filter-bank""#, r#""backbone": "resnet18""#, "weights"),
        (r#""height": 64"#, r#""height": 128"#, "grid"),
        (r#""sha256": ""#, r#""sha256": "0"#, "SHA-256"),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = error();
        assert!(error.contains(word), "{to}: {error}");
    }
    std::fs::write(&path, &text).unwrap();
    // Another model's thresholds.
    let other = with_other_digest(&detector.calibration().unwrap().to_json().unwrap(), &detector.config().sha256);
    std::fs::write(folder.path().join("calibration.json"), other).unwrap();
    assert!(error().contains("another model"));
    std::fs::write(folder.path().join("calibration.json"), r#"{"pooled": {"reject": "high"}}"#).unwrap();
    assert!(error().contains("calibration.json"));
}

/// Replaces the model's digest in a calibration.
fn with_other_digest(calibration: &str, sha256: &str) -> String {
    assert!(calibration.contains(sha256));
    calibration.replace(sha256, &"0".repeat(64))
}

/// An inspection frees all the memory that it allocates.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_images_inspected() {
    const NAME: &str = "memory_does_not_grow_with_the_images_inspected";
    // In a process of its own: other tests take memory too.
    if std::env::var_os("DUALAD_TEST_ALONE").is_none() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", NAME]).env("DUALAD_TEST_ALONE", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let Fixture { detector, images, .. } = fixture();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        line.strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let inspect = |rounds: usize| {
        for _ in 0..rounds {
            assert!(detector.inspect_batch(images).iter().all(Result::is_ok));
        }
    };
    inspect(30);
    let before = resident();
    inspect(150);
    let grown = resident().saturating_sub(before);
    // A leak of the anomaly maps alone would take 16 KiB for each image.
    let (maps, limit) = (150 * images.len() * 16, 8 << 10);
    assert!(maps > 2 * limit && grown < limit as u64, "{grown} of {maps} KiB");
}

/// A setting without effect is refused, in loading and in training.
#[test]
fn weights_of_a_backbone_without_weights_are_refused() {
    let Fixture { detector, data, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    detector.save(folder.path()).unwrap();
    let loaded = Detector::builder().weights(Weights::file("absent.safetensors")).load(folder.path());
    let fitted = Detector::fit(data).backbone(Backbone::FilterBank, Weights::synthetic(1)).run();
    for error in [loaded.unwrap_err(), fitted.err().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("filter-bank has no weights"), "{error}");
    }
}

/// A folder that includes the backbone's weights is complete: another machine needs nothing else.
#[test]
fn a_model_can_include_its_backbone() {
    let Some(weights) = shared("weights/resnet18_to_layer3.safetensors") else { return };
    let Fixture { data, images, .. } = fixture();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("weights.safetensors");
    std::fs::copy(weights, &copy).unwrap();
    let fit = Detector::fit(data)
        .recipe(recipe_for(Backbone::ResNet18))
        .epochs(1)
        .backbone(Backbone::ResNet18, Weights::file(&copy));
    let detector = fit.run().unwrap().detector;
    let expected = detector.inspect(&images[0]).unwrap();
    let model = folder.path().join("model");
    detector.save(&model).unwrap();
    assert_eq!(Detector::load(&model).unwrap().inspect(&images[0]).unwrap(), expected);
    // From memory, the file that the configuration names is not opened, although it is there.
    let [config, parameters] =
        ["config.json", "model.safetensors"].map(|name| std::fs::read(model.join(name)).unwrap());
    let mut in_memory = ModelBytes { config: &config, parameters: &parameters, backbone: None, calibration: None };
    let error = Detector::from_bytes(&in_memory).unwrap_err();
    assert!(matches!(error, Error::ModelWeights { .. }), "{error}");
    let backbone = std::fs::read(&copy).unwrap();
    in_memory.backbone = Some(&backbone);
    assert_eq!(
        Detector::from_bytes(&in_memory).unwrap().inspect(&images[0]).unwrap().image_score,
        expected.image_score
    );
    detector.save_with_backbone(&model).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let loaded = Detector::load(&model).unwrap();
    assert_eq!(loaded.inspect(&images[0]).unwrap(), expected);
    // The weights of the loaded detector can be saved again.
    let again = folder.path().join("again");
    loaded.save_with_backbone(&again).unwrap();
    let loaded = Detector::load(&again).unwrap();
    assert_eq!(loaded.inspect(&images[0]).unwrap(), expected);
    let replicas = replicas(&loaded, 2);
    assert!((0..3).all(|_| replicas.inspect(&images[0]).unwrap() == expected));
    // The weights are read again for each device.
    std::fs::remove_dir_all(&again).unwrap();
    assert!(Replicas::new(loaded, &[Device::Cpu]).unwrap_err().to_string().contains("backbone.safetensors"));
    // Other weights are refused.
    let bytes = std::fs::read(model.join("backbone.safetensors")).unwrap();
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(model.join("backbone.safetensors"), other).unwrap();
    assert!(Detector::load(&model).unwrap_err().to_string().contains("SHA-256"));
    let given = Detector::builder().weights(Weights::bytes(bytes)).load(&model).unwrap();
    assert_eq!(given.inspect(&images[0]).unwrap(), expected);
}

/// Returns the path of a file that is not part of the repository, if it is there.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}
