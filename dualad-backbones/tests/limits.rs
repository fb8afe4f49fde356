//! Enormous sizes and values that are not finite are errors or saturate. They do not panic and allocate no memory.

use candle_core::{DType, Device, Tensor};
use dualad_backbones::{Backbone, Error, Stage, Weights};

#[test]
fn counting_saturates() {
    for backbone in Backbone::ALL {
        if !backbone.has_weights() {
            assert_eq!(backbone.multiply_accumulates(&[1], [224, 224]).unwrap(), 0);
            continue;
        }
        let stages: Vec<usize> = backbone.stages().iter().map(|stage| stage.index).collect();
        for side in [1 << 20, 1 << 40, usize::MAX & !15, usize::MAX / 14 * 14] {
            let _ = backbone.multiply_accumulates(&stages, [side, side]);
        }
        assert_eq!(backbone.multiply_accumulates(&stages, [7 << 40, 7 << 40]).unwrap(), u64::MAX, "{backbone}");
        let small = backbone.multiply_accumulates(&stages, [224, 224]).unwrap();
        assert!((1_000_000_000..100_000_000_000).contains(&small), "{backbone}: {small}");
    }
    assert_eq!(Stage::new(1, 4, 0).map_shape(16, 16), [4, 0, 0]);
    assert_eq!(Stage::new(1, 4, usize::MAX).map_shape(16, 16), [4, 1, 1]);
}

#[test]
fn sizes_that_the_patch_does_not_divide_are_refused() {
    for (backbone, height, good) in [
        (Backbone::DinoV2Small, 230, "224x196"),
        (Backbone::DinoV3Small, 210, "208x192"),
        (Backbone::ResNet18, 230, "224x192"),
    ] {
        let extractor = backbone.extractor().weights(Weights::synthetic(0)).stages(&[1]).build().unwrap();
        let images = Tensor::zeros((1, 3, height, 196), DType::F32, &Device::Cpu).unwrap();
        for error in [extractor.extract(&images).unwrap_err(), extractor.tokens(&images).unwrap_err()] {
            assert!(matches!(error, Error::InputSize { token_stride, .. } if token_stride == backbone.token_stride()));
            assert!(error.to_string().contains(good), "{error}");
        }
        assert!(backbone.multiply_accumulates(&[1], [height, 196]).is_err());
    }
}

#[test]
fn unknown_stages_are_refused() {
    for wanted in [&[][..], &[0], &[5], &[2, 1], &[1, 1], &[1, 2, 3, 4, 5]] {
        let count = Backbone::ResNet18.multiply_accumulates(wanted, [32, 32]);
        assert!(matches!(count, Err(Error::Stages { .. })), "{wanted:?}");
    }
    let error = Backbone::ResNet18.multiply_accumulates(&[7], [32, 32]).unwrap_err();
    assert!(error.to_string().contains("has stages [1, 2, 3, 4]"), "{error}");
}

#[test]
fn enormous_broadcast_batches_are_refused() {
    let bank = Backbone::FilterBank.extractor().build().unwrap();
    let pixel = Tensor::zeros((1, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
    for batch in [1usize << 40, 1 << 62] {
        let Ok(claimed) = pixel.broadcast_as((batch, 3, 16, 16)) else { continue };
        assert!(matches!(bank.tokens(&claimed), Err(Error::InputBatch { .. })), "{batch}");
    }
}

#[test]
fn images_that_are_not_finite_are_refused() {
    for backbone in [Backbone::FilterBank, Backbone::ResNet18] {
        let weights = if backbone.has_weights() { Weights::synthetic(0) } else { Weights::default() };
        let extractor = backbone.extractor().weights(weights).stages(&[1]).build().unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![0.5; 3 * 16 * 16];
            values[300] = bad;
            let image = Tensor::from_vec(values, (1, 3, 16, 16), &Device::Cpu).unwrap();
            assert!(matches!(extractor.extract(&image), Err(Error::InputNotFinite)), "{backbone}: {bad}");
        }
    }
}
