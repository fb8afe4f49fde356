//! Tests with trained weights and real images. They are not part of the repository; without them the tests are skipped.

mod support;

use std::path::{Path, PathBuf};

use candle_core::{D, DType, Device, Tensor};
use dualad_backbones::{Backbone, FeatureExtractor, IMAGENET_MEAN, IMAGENET_STD, Weights};
use support::shared;

/// Reads an image as `[3, 224, 224]`, normalized.
fn image(path: &Path) -> Tensor {
    let pixels = image::open(path).unwrap().to_rgb8();
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let mut values = vec![0.0; 3 * height * width];
    for (at, pixel) in pixels.pixels().enumerate() {
        for channel in 0..3 {
            let value = f32::from(pixel[channel]) / 255.0;
            values[channel * height * width + at] = (value - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel];
        }
    }
    Tensor::from_vec(values, (3, height, width), &Device::Cpu).unwrap()
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn batch(paths: &[PathBuf]) -> Tensor {
    Tensor::stack(&paths.iter().map(|path| image(path)).collect::<Vec<_>>(), 0).unwrap()
}

/// Checks that maps are finite, that few channels are constant, and that tokens distinguish products.
fn check(extractor: &dyn FeatureExtractor) {
    let Some(data) = shared("data") else { return };
    let categories = ["bottle", "screw", "wood", "metal_plate"];
    let images: Vec<PathBuf> =
        categories.iter().flat_map(|name| paths(&data.join(name).join("train/good"))[..3].to_vec()).collect();
    let images = batch(&images);
    for (map, stage) in extractor.extract(&images).unwrap().iter().zip(extractor.stages()) {
        let map = map.to_dtype(DType::F32).unwrap();
        let channels = map.transpose(0, 1).unwrap().flatten_from(1).unwrap();
        let stds: Vec<f32> = channels.var(1).unwrap().sqrt().unwrap().to_vec1().unwrap();
        assert!(stds.iter().all(|std| std.is_finite()), "stage {}", stage.index);
        let alive = stds.iter().filter(|&&std| std > 1e-3).count();
        assert!(10 * alive >= 9 * stage.channels, "stage {}: {alive} of {} channels", stage.index, stage.channels);
    }
    // By mean tokens, the nearest other image of every image is of its own category.
    let tokens = extractor.tokens(&images).unwrap().to_dtype(DType::F32).unwrap().mean(1).unwrap();
    let norms = tokens.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap();
    let tokens = tokens.broadcast_div(&norms).unwrap();
    let similar: Vec<Vec<f32>> = tokens.matmul(&tokens.t().unwrap()).unwrap().to_vec2().unwrap();
    for (index, row) in similar.iter().enumerate() {
        let others = row.iter().enumerate().filter(|(other, _)| *other != index);
        let nearest = others.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(nearest / 3, index / 3, "image {index} of {categories:?}");
    }
}

fn weights(name: &str) -> Option<Weights> {
    Some(Weights::file(shared("weights")?.join(name)))
}

#[test]
fn resnet18_gives_features() {
    let Some(weights) = weights("resnet18_to_layer3.safetensors") else { return };
    check(&*Backbone::ResNet18.extractor().weights(weights).build().unwrap());
}

#[test]
fn resnet50_v1_gives_features_from_its_half_precision_file() {
    let Some(weights) = weights("resnet50_v1_to_layer3.safetensors") else { return };
    check(&*Backbone::ResNet50V1.extractor().weights(weights).build().unwrap());
}

#[test]
fn the_cpus_engine_equals_candles_operations_on_real_weights() {
    for (backbone, file) in [
        (Backbone::ResNet18, "resnet18_to_layer3.safetensors"),
        (Backbone::ResNet50V1, "resnet50_v1_to_layer3.safetensors"),
    ] {
        let (Some(weights), Some(data)) = (weights(file), shared("data")) else { return };
        let images = batch(&paths(&data.join("bottle/train/good"))[..2]);
        let maps = |plain: bool| {
            let builder = backbone.extractor().weights(weights.clone());
            let extractor = if plain { builder.plain() } else { builder }.build().unwrap();
            extractor.extract(&images).unwrap()
        };
        for (stage, (found, expected)) in maps(false).iter().zip(&maps(true)).enumerate() {
            let largest = expected.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
            let error = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let error = error.to_scalar::<f32>().unwrap() / largest;
            assert!(error <= 1e-4, "{backbone}, stage {}: {error:e} of the largest value", stage + 1);
        }
    }
}

#[test]
fn real_weights_hold_in_half_precision() {
    let (Some(weights), Some(data)) = (weights("resnet18_to_layer3.safetensors"), shared("data")) else { return };
    let images = batch(&paths(&data.join("bottle/train/good"))[..2]);
    let builder = Backbone::ResNet18.extractor().weights(weights);
    let exact = builder.clone().build().unwrap().tokens(&images).unwrap();
    for (dtype, tolerance) in [(DType::F16, 5e-3), (DType::BF16, 4e-2)] {
        let tokens = builder.clone().dtype(dtype).build().unwrap().tokens(&images).unwrap();
        let tokens = tokens.to_dtype(DType::F32).unwrap();
        let root_mean_square = |x: &Tensor| x.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        let error = root_mean_square(&(&tokens - &exact).unwrap()) / root_mean_square(&exact);
        assert!(error < tolerance, "{dtype:?}: {error}");
    }
}

#[test]
fn a_file_that_ends_after_stage_3_has_no_stage_4() {
    let Some(weights) = weights("resnet18_to_layer3.safetensors") else { return };
    let error = Backbone::ResNet18.extractor().stages(&[4]).weights(weights).build().unwrap_err();
    assert!(error.to_string().contains("\"layer4.0."), "{error}");
}

/// The score is the distance of a token to the nearest token of normal images, without training.
#[test]
fn the_filter_bank_separates_real_defects() {
    let Some(data) = shared("data") else { return };
    let bank = Backbone::FilterBank.extractor().build().unwrap();
    check(&*bank);
    let tokens = |paths: &[PathBuf]| bank.tokens(&batch(paths)).unwrap();
    for (category, min) in [("bottle", 0.95), ("metal_plate", 0.95)] {
        let root = data.join(category);
        let normal = tokens(&paths(&root.join("train/good"))[..30]);
        let normal = normal.flatten_to(1).unwrap();
        let squares = normal.sqr().unwrap().sum(1).unwrap();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for folder in paths(&root.join("test")) {
            let into = if folder.ends_with("good") { &mut good } else { &mut bad };
            for path in paths(&folder).chunks(8) {
                let test = tokens(path);
                for image in 0..path.len() {
                    let test = test.get(image).unwrap();
                    let products = test.matmul(&normal.t().unwrap()).unwrap();
                    // The minimum over y of |x - y|^2 - |x|^2; then the maximum over the image's tokens.
                    let nearest = (squares.broadcast_sub(&(products * 2.0).unwrap())).unwrap().min(D::Minus1).unwrap();
                    let distance = (nearest + test.sqr().unwrap().sum(1).unwrap()).unwrap();
                    into.push(distance.max(0).unwrap().to_scalar::<f32>().unwrap());
                }
            }
        }
        let pairs = bad.iter().flat_map(|bad| good.iter().map(move |good| (bad, good)));
        let right: f64 = pairs
            .map(|(bad, good)| {
                if bad > good {
                    1.0
                } else if bad == good {
                    0.5
                } else {
                    0.0
                }
            })
            .sum();
        let auroc = right / (bad.len() * good.len()) as f64;
        println!("{category}: image AUROC {auroc:.3} of {} normal and {} anomalous images", good.len(), bad.len());
        assert!(auroc > min, "{category}: image AUROC {auroc:.3}");
    }
}
