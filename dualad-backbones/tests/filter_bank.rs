//! The filter bank against its definition in f64 (`tools/reference/filter_bank.py` writes the fixture), and properties that hold for
//! every image.

use candle_core::{DType, Device, Tensor};
use dualad_backbones::{Backbone, Error, FeatureExtractor, Weights, WeightsError};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    size: [usize; 2],
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    shape: Vec<usize>,
    sums: Vec<f64>,
    index: Vec<usize>,
    value: Vec<f64>,
}

fn bank() -> Box<dyn FeatureExtractor> {
    Backbone::FilterBank.extractor().build().unwrap()
}

#[test]
fn weights_are_refused() {
    let build = |weights| Backbone::FilterBank.extractor().weights(weights).build();
    assert!(build(Weights::default()).is_ok());
    // A file is not opened.
    for weights in [Weights::file("absent.safetensors"), Weights::bytes(Vec::new()), Weights::synthetic(0)] {
        let error = build(weights).unwrap_err();
        assert!(matches!(error, Error::Weights(WeightsError::NotUsed { backbone: Backbone::FilterBank })), "{error}");
    }
}

fn tensor([rows, columns]: [usize; 2], value: impl Fn(usize, usize, usize) -> f64) -> Tensor {
    let mut values = Vec::new();
    for c in 0..3 {
        for i in 0..rows {
            values.extend((0..columns).map(|j| value(c, i, j) as f32));
        }
    }
    Tensor::from_vec(values, (1, 3, rows, columns), &Device::Cpu).unwrap()
}

/// Returns the fixture's input.
fn waves(size: [usize; 2]) -> Tensor {
    tensor(size, |c, i, j| {
        let (c, i, j) = (c as f64 + 1.0, i as f64, j as f64);
        (0.1 * c * i + 0.05 * j * j / c).sin() + 0.5 * (0.37 * j - 0.21 * i * c).cos()
    })
}

fn values(map: &Tensor) -> Vec<f32> {
    map.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn equals_its_definition() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/filter_bank.json")).unwrap();
    for case in fixture.cases {
        let maps = bank().extract(&waves(case.size)).unwrap();
        assert_eq!(maps.len(), case.stages.len());
        for (map, stage) in maps.iter().zip(&case.stages) {
            assert_eq!(map.dims()[1..], stage.shape);
            let values = values(map);
            for (&index, expected) in stage.index.iter().zip(&stage.value) {
                let error = (f64::from(values[index]) - expected).abs();
                assert!(error < 2e-5, "{:?}: cell {index}: {} {expected}", case.size, values[index]);
            }
            let cells = values.len() / stage.shape[0];
            for (channel, expected) in values.chunks(cells).zip(&stage.sums) {
                let sum: f64 = channel.iter().map(|&v| f64::from(v)).sum();
                assert!((sum - expected).abs() < 1e-5 * cells as f64, "{:?}: {sum} {expected}", case.size);
            }
        }
    }
}

/// Channels 12 to 14 of every stage are means; all others are energies.
#[test]
fn a_constant_image_has_means_and_no_energy() {
    let color = [0.7, -1.3, 2.1];
    let maps = bank().extract(&tensor([48, 32], |c, _, _| color[c])).unwrap();
    let expected = [(0.7 - 1.3 + 2.1) / 3.0, 4.0 * (0.7 + 1.3), 0.7 - 1.3 - 4.2];
    for map in maps {
        let cells: usize = map.dims()[2..].iter().product();
        for (channel, values) in values(&map).chunks(cells).enumerate() {
            let expected = if (12..15).contains(&channel) { expected[channel - 12] } else { 0.0 };
            assert!(values.iter().all(|&v| (f64::from(v) - expected).abs() < 1e-4), "channel {channel}: {values:?}");
        }
    }
}

/// Rotating an image by 90 degrees turns orientation k into k + 2 and changes nothing else.
#[test]
fn orientations_rotate_with_the_image() {
    let size = 64;
    let image = |i: usize, j: usize| (0.9 * i as f64 + 0.1 * j as f64).sin() + (0.003 * (i * j) as f64).cos();
    let straight = bank().extract(&tensor([size, size], |_, i, j| image(i, j))).unwrap();
    let rotated = bank().extract(&tensor([size, size], |_, i, j| image(j, size - 1 - i))).unwrap();
    for (straight, rotated) in straight.iter().zip(&rotated) {
        let side = straight.dims()[2];
        let (a, b) = (values(straight), values(rotated));
        for level in 0..2 {
            for k in 0..4 {
                for i in 0..side {
                    for j in 0..side {
                        let x = a[((level * 4 + k) * side + j) * side + side - 1 - i];
                        let y = b[((level * 4 + (k + 2) % 4) * side + i) * side + j];
                        assert!((x - y).abs() < 1e-4, "level {level}, orientation {k}: {x} {y}");
                    }
                }
            }
        }
    }
}

/// The energy of vertical stripes is in orientation 0 (waves along x), that of horizontal ones in orientation 2.
#[test]
fn stripes_are_distinguished() {
    let energy = |image: Tensor| -> Vec<f32> {
        let map = bank().extract(&image).unwrap().swap_remove(0);
        let cells: usize = map.dims()[2..].iter().product();
        values(&map).chunks(cells).take(4).map(|cells| cells.iter().sum::<f32>() / cells.len() as f32).collect()
    };
    let stripe = |x: usize| if x % 4 < 2 { 1.0 } else { -1.0 };
    let vertical = energy(tensor([64, 64], |_, _, j| stripe(j)));
    let horizontal = energy(tensor([64, 64], |_, i, _| stripe(i)));
    for other in [1, 2, 3] {
        assert!(vertical[0] > 1.2 * vertical[other], "{vertical:?}");
        assert!(horizontal[2] > 1.2 * horizontal[(2 + other) % 4], "{horizontal:?}");
    }
}

#[test]
fn some_stages_equal_those_of_all() {
    let image = waves([48, 64]);
    let all = bank().extract(&image).unwrap();
    for stages in [vec![1], vec![2], vec![3], vec![1, 2], vec![1, 3]] {
        let some = Backbone::FilterBank.extractor().stages(&stages).build().unwrap();
        let maps = some.extract(&image).unwrap();
        assert_eq!(maps.len(), stages.len());
        for (map, index) in maps.iter().zip(stages) {
            assert_eq!(values(map), values(&all[index - 1]));
        }
    }
}

#[test]
fn half_precision_maps_are_rounded_f32_maps() {
    let image = waves([32, 32]);
    let exact = bank().extract(&image).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let maps = Backbone::FilterBank.extractor().dtype(dtype).build().unwrap().extract(&image).unwrap();
        for (map, exact) in maps.iter().zip(&exact) {
            assert_eq!(map.dtype(), dtype);
            assert_eq!(values(map), values(&exact.to_dtype(dtype).unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// For any size, maps have the declared shapes and are finite, and an image has the same bits alone and in a batch.
    #[test]
    fn any_size_and_any_batch(rows in 1usize..5, columns in 1usize..5, seed in any::<u64>()) {
        let (rows, columns) = (rows * 16, columns * 16);
        let shape = [3, 3, rows, columns];
        let values_in = dualad_backbones::weights::synthetic::tensor("input", &shape, seed);
        let batch = Tensor::from_vec(values_in, &shape, &Device::Cpu).unwrap();
        let bank = bank();
        let maps = bank.extract(&batch).unwrap();
        for (map, stage) in maps.iter().zip(bank.stages()) {
            prop_assert_eq!(&map.dims()[1..], stage.map_shape(rows, columns));
            prop_assert!(values(map).iter().all(|v| v.is_finite()));
        }
        let alone = bank.extract(&batch.narrow(0, 1, 1).unwrap()).unwrap();
        for (map, alone) in maps.iter().zip(&alone) {
            prop_assert_eq!(values(&map.narrow(0, 1, 1).unwrap()), values(alone));
        }
    }
}
