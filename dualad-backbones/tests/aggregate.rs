//! The aggregation, stage by stage, equals the paper's upsampling, concatenation and pooling.

#![allow(clippy::print_stdout)]

use candle_core::{DType, Device, Tensor};
use dualad_backbones::{Backbone, Error, Stage, TOKEN_STRIDE, aggregate};
use proptest::prelude::*;

/// Returns a map of deterministic values of both signs.
fn map(batch: usize, [channels, rows, columns]: [usize; 3], seed: u64) -> Tensor {
    let values = dualad_backbones::weights::synthetic::tensor("input", &[batch, channels, rows, columns], seed);
    Tensor::from_vec(values, (batch, channels, rows, columns), &Device::Cpu).unwrap()
}

/// Computes the paper's definition in f64: nearest upsampling of every map to the finest stride (at most the tokens'), concatenation
/// over channels, and an average pool to the tokens' stride.
fn definition(maps: &[Tensor], stages: &[Stage], [height, width]: [usize; 2], token_stride: usize) -> Vec<f64> {
    let finest = stages[0].stride.min(token_stride);
    let [rows, columns] = [height / finest, width / finest];
    let kernel = token_stride / finest;
    let batch = maps[0].dims()[0];
    let channels: usize = stages.iter().map(|stage| stage.channels).sum();
    let grid = [rows / kernel, columns / kernel];
    let mut joined = vec![0.0; batch * channels * rows * columns];
    for image in 0..batch {
        let mut channel = 0;
        for (map, stage) in maps.iter().zip(stages) {
            let cells: Vec<Vec<Vec<Vec<f32>>>> = (0..batch).map(|b| map.get(b).unwrap().to_vec3().unwrap()).collect();
            for plane in &cells[image] {
                for row in 0..rows {
                    for column in 0..columns {
                        let scale = stage.stride / finest;
                        let at = ((image * channels + channel) * rows + row) * columns + column;
                        joined[at] = f64::from(plane[row / scale][column / scale]);
                    }
                }
                channel += 1;
            }
        }
    }
    let mut tokens = Vec::new();
    for image in 0..batch {
        for row in 0..grid[0] {
            for column in 0..grid[1] {
                for channel in 0..channels {
                    let mut sum = 0.0;
                    for y in row * kernel..(row + 1) * kernel {
                        for x in column * kernel..(column + 1) * kernel {
                            sum += joined[((image * channels + channel) * rows + y) * columns + x];
                        }
                    }
                    tokens.push(sum / (kernel * kernel) as f64);
                }
            }
        }
    }
    tokens
}

proptest! {
    #[test]
    fn equals_the_definition(
        // The first used stage of the backbone, and the number of used stages.
        backbone in prop::sample::select(vec![
            Backbone::ResNet18, Backbone::EfficientNetB4, Backbone::VitSmallDino, Backbone::DinoV2Small,
            Backbone::FilterBank,
        ]),
        first in 0usize..4, used in 1usize..5,
        batch in 1usize..3, token_rows in 1usize..6, token_columns in 1usize..6,
        seed in any::<u64>(),
    ) {
        let stages = backbone.stages();
        let first = first.min(stages.len() - 1);
        let last = (first + used).min(stages.len());
        // Stages with few channels keep the slow definition fast.
        let stages: Vec<Stage> = stages[first..last]
            .iter()
            .enumerate()
            .map(|(index, stage)| Stage::new(stage.index, 1 + index % 3, stage.stride))
            .collect();
        let stride = backbone.token_stride();
        let size = [token_rows * stride, token_columns * stride];
        let maps: Vec<Tensor> = stages
            .iter()
            .enumerate()
            .map(|(index, stage)| map(batch, stage.map_shape(size[0], size[1]), seed.wrapping_add(index as u64)))
            .collect();
        let tokens = aggregate(&maps, &stages, size, stride).unwrap();
        let channels: usize = stages.iter().map(|stage| stage.channels).sum();
        prop_assert_eq!(tokens.dims(), [batch, token_rows * token_columns, channels]);
        let expected = definition(&maps, &stages, size, stride);
        let found: Vec<f32> = tokens.flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((f64::from(*found) - expected).abs() <= 1e-6, "{} {}", found, expected);
        }
    }
}

#[test]
fn half_precision_sums_are_computed_in_f32() {
    let stages = [Backbone::ResNet18.stages()[0]];
    let stage = stages[0];
    // A sum of 16 values of 3001 loses digits in f16.
    let map = Tensor::full(3001f32, (1, stage.channels, 8, 8), &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    let tokens = aggregate(&[map], &stages, [32, 32], TOKEN_STRIDE).unwrap();
    assert_eq!(tokens.dtype(), DType::F16);
    let tokens: Vec<f32> = tokens.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert!(tokens.iter().all(|&token| token == half::f16::from_f32(3001.0).to_f32()));
}

#[test]
fn maps_that_do_not_fit_are_refused() {
    let stages = Backbone::ResNet18.default_stages();
    let size = [32, 48];
    let good: Vec<Tensor> = stages.iter().map(|stage| map(2, stage.map_shape(size[0], size[1]), 0)).collect();
    aggregate(&good, &stages, size, TOKEN_STRIDE).unwrap();
    let refused =
        |maps: &[Tensor], stages: &[Stage], size, index: usize| match aggregate(maps, stages, size, TOKEN_STRIDE) {
            Err(Error::FeatureMap { index: found, .. }) => assert_eq!(found, index),
            other => panic!("{other:?}"),
        };
    refused(&good, &stages, [48, 48], 0);
    refused(&good[..2], &stages, size, 2);
    refused(&[], &[], size, 0);
    refused(&[good[0].clone(), good[0].clone(), good[2].clone()], &stages, size, 1);
    let other_batch = good[2].narrow(0, 0, 1).unwrap();
    refused(&[good[0].clone(), good[1].clone(), other_batch], &stages, size, 2);
    refused(&[good[0].flatten_all().unwrap(), good[1].clone(), good[2].clone()], &stages, size, 0);
    for stride in [0, 3, 24] {
        refused(&good[..1], &[Stage::new(1, 64, stride)], size, 0);
    }
    let integers = good[0].to_dtype(DType::I64).unwrap();
    refused(&[integers, good[1].clone(), good[2].clone()], &stages, size, 0);
    let other_dtype = good[1].to_dtype(DType::F16).unwrap();
    refused(&[good[0].clone(), other_dtype, good[2].clone()], &stages, size, 1);
    let size_refused =
        |size, stride| assert!(matches!(aggregate(&good, &stages, size, stride), Err(Error::InputSize { .. })));
    size_refused([40, 48], 16);
    size_refused([0, 48], 16);
    size_refused(size, 0);
    size_refused(size, 14);
    // 14 and the strides 4 and 8 do not divide one another.
    assert!(matches!(aggregate(&good, &stages, [28, 42], 14), Err(Error::FeatureMap { index: 0, .. })));
}

/// Memory does not grow with the stride: the map has one cell for the whole image.
#[test]
fn enormous_strides_need_no_memory() {
    for stride in [1 << 20, 1 << 40, 1 << 63, usize::MAX - 15] {
        let map = Tensor::full(2f32, (1, 1, 1, 1), &Device::Cpu).unwrap();
        let tokens = aggregate(&[map], &[Stage::new(1, 1, stride)], [32, 48], TOKEN_STRIDE).unwrap();
        assert_eq!(tokens.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [2.0; 6]);
    }
}

#[test]
fn devices_agree() {
    let stages = [Stage::new(1, 3, 4), Stage::new(2, 33, 8), Stage::new(3, 70, 16), Stage::new(4, 5, 32)];
    let [height, width] = [64, 96];
    for (name, device) in dualad_gpu::devices() {
        let Ok(device) = device.inspect_err(|error| println!("skipped: no {name} device ({error})")) else { continue };
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 8e-3)] {
            let maps = stages.iter().map(|stage| map(2, stage.map_shape(height, width), 3).to_dtype(dtype).unwrap());
            let maps: Vec<Tensor> = maps.collect();
            let expected = definition(
                &maps.iter().map(|map| map.to_dtype(DType::F32).unwrap()).collect::<Vec<_>>(),
                &stages,
                [height, width],
                TOKEN_STRIDE,
            );
            let maps: Vec<Tensor> = maps.iter().map(|map| map.to_device(&device).unwrap()).collect();
            let found = aggregate(&maps, &stages, [height, width], TOKEN_STRIDE).unwrap();
            let found = found.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() <= tolerance * expected.abs().max(1.0),
                    "{device:?} {dtype:?}"
                );
            }
        }
    }
}
