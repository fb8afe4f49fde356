//! The CPU's engine against candle's operations, for many sizes and batches.

use candle_core::{Device, Tensor};
use dualad_backbones::weights::synthetic;
use dualad_backbones::{Backbone, Weights};
use dualad_kernels::Precision;

fn images(batch: usize, [height, width]: [usize; 2], seed: u64) -> Tensor {
    let shape = [batch, 3, height, width];
    Tensor::from_vec(synthetic::tensor("input", &shape, seed), &shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_near(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!((found - expected).abs() <= 1e-4 * largest, "{what}, element {index}: {found}, not {expected}");
    }
}

/// Compares the maps of every stage, and the tokens.
fn check(backbone: Backbone, cases: &[(usize, [usize; 2])]) {
    let builder = || {
        let stages: Vec<usize> = backbone.stages().iter().map(|stage| stage.index).collect();
        backbone.extractor().stages(&stages).weights(Weights::synthetic(3))
    };
    let (fast, plain) = (builder().build().unwrap(), builder().plain().build().unwrap());
    for &(batch, size) in cases {
        let images = images(batch, size, 7);
        let what = format!("{backbone}, {batch} of {size:?}");
        let (found, expected) = (fast.extract(&images).unwrap(), plain.extract(&images).unwrap());
        assert_eq!(found.len(), expected.len());
        for (stage, (found, expected)) in fast.stages().iter().zip(found.iter().zip(&expected)) {
            assert_near(found, expected, &format!("{what}, stage {}", stage.index));
        }
        assert_near(&fast.tokens(&images).unwrap(), &plain.tokens(&images).unwrap(), &what);
        // A part of a larger tensor, with an offset into its memory.
        let several = Tensor::cat(&[&images, &images], 0).unwrap().narrow(0, batch, batch).unwrap();
        assert_near(&fast.extract(&several).unwrap()[0], &expected[0], &format!("{what}, narrowed"));
    }
}

/// Batches and sizes: one cell, odd rows and columns, more Winograd tiles than a group holds, several images.
const CASES: &[(usize, [usize; 2])] = &[(1, [16, 16]), (1, [32, 80]), (3, [48, 32]), (2, [112, 144])];

#[test]
fn resnets_equal_candles_operations() {
    for backbone in [Backbone::ResNet18, Backbone::ResNet50V1] {
        check(backbone, CASES);
    }
    check(Backbone::WideResNet50x2, &[(1, [224, 224]), (5, [32, 48])]);
    check(Backbone::ResNet34, &[(2, [64, 96])]);
}

#[test]
fn efficientnets_equal_candles_operations() {
    // Small sizes: candle's depthwise convolutions are slow.
    check(Backbone::EfficientNetB4, &CASES[..3]);
    check(Backbone::EfficientNetB4Timm, &[(2, [48, 80])]);
}

#[test]
fn vision_transformers_equal_candles_operations() {
    check(Backbone::VitSmallDino, &[(1, [224, 224]), (3, [48, 80]), (1, [16, 16])]);
    let of_patch_14 = [(1, [224, 224]), (3, [42, 70]), (2, [14, 14]), (1, [42, 70]), (1, [518, 518])];
    check(Backbone::DinoV2Small, &of_patch_14);
    check(Backbone::DinoV2RegSmall, &of_patch_14[..4]);
    check(Backbone::DinoV3Small, &[(1, [224, 224]), (3, [48, 80]), (2, [16, 16]), (1, [80, 48])]);
    check(Backbone::DinoV2Base, &[(2, [56, 42])]);
    check(Backbone::DinoV3Base, &[(2, [64, 48])]);
}

/// In 8-bit integers, the error's root mean square is a few percent of the maps'.
#[test]
fn maps_in_int8_are_near_those_in_f32() {
    for backbone in [Backbone::ResNet18, Backbone::ResNet50V1, Backbone::EfficientNetB4, Backbone::VitSmallDino] {
        let builder = || backbone.extractor().weights(Weights::synthetic(3));
        let exact = builder().build().unwrap();
        let fast = builder().precision(Precision::Int8).build().unwrap();
        assert_eq!((exact.precision(), fast.precision()), (Precision::F32, Precision::Int8));
        let size = if backbone == Backbone::VitSmallDino { [224, 224] } else { [48, 80] };
        let images = images(2, size, 7);
        let maps = exact.extract(&images).unwrap().into_iter().zip(fast.extract(&images).unwrap());
        for (stage, (expected, found)) in exact.stages().iter().zip(maps) {
            let square = |values: Vec<f32>| values.into_iter().map(|x| f64::from(x).powi(2)).sum::<f64>();
            let error = square(values(&(found - &expected).unwrap())).sqrt() / square(values(&expected)).sqrt();
            // The first stage of ResNet-18 is computed in f32.
            let is_exact = backbone == Backbone::ResNet18 && stage.index == 1;
            assert!(error <= 0.1 && (error == 0.0) == is_exact, "{backbone}, stage {}: {error}", stage.index);
        }
        // An image alone has the same bits.
        let alone = fast.extract(&images.narrow(0, 1, 1).unwrap()).unwrap();
        let both = fast.extract(&images).unwrap();
        assert_eq!(values(&alone[0]), values(&both[0].narrow(0, 1, 1).unwrap()), "{backbone}");
    }
}
