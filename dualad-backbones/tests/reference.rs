//! Every network, every stage and the aggregated tokens against torchvision and timm, with synthetic weights and inputs
//! (`tools/reference/backbones.py` writes the fixture).

use candle_core::{DType, Device, Tensor};
use dualad_backbones::weights::synthetic;
use dualad_backbones::{Backbone, FeatureExtractor, Weights, aggregate};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Fixture {
    seed: u64,
    batch: usize,
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    parameters: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    size: [usize; 2],
    stages: Vec<Summary>,
    aggregated: Summary,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    mean: f64,
    std: f64,
    index: Vec<usize>,
    value: Vec<f64>,
}

impl Summary {
    /// Returns the largest error of the samples, the mean and the standard deviation, relative to the samples' largest magnitude.
    fn error(&self, tensor: &Tensor) -> f64 {
        assert_eq!(tensor.dims(), self.shape);
        let values: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        let scale = self.value.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
        let samples = self.index.iter().zip(&self.value).map(|(&i, v)| (f64::from(values[i]) - v).abs());
        let errors = samples.chain([(mean - self.mean).abs(), (variance.sqrt() - self.std).abs()]);
        errors.fold(0.0, |largest, error| if error.is_nan() { f64::NAN } else { largest.max(error) }) / scale
    }
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/backbones.json")).unwrap()
}

fn input(fixture: &Fixture, [height, width]: [usize; 2]) -> Tensor {
    let shape = [fixture.batch, 3, height, width];
    Tensor::from_vec(synthetic::tensor("input", &shape, fixture.seed), &shape, &Device::Cpu).unwrap()
}

fn extractor(backbone: Backbone, seed: u64, dtype: DType) -> Box<dyn FeatureExtractor> {
    let stages: Vec<usize> = backbone.stages().iter().map(|stage| stage.index).collect();
    let builder = backbone.extractor().weights(Weights::synthetic(seed)).stages(&stages).dtype(dtype);
    builder.build().unwrap()
}

/// Returns the error of every stage and of the tokens of a backbone, with a name for each.
fn errors(backbone: Backbone, dtype: DType) -> Vec<(String, f64)> {
    let fixture = fixture();
    let model = &fixture.models[backbone.name()];
    let extractor = extractor(backbone, fixture.seed, dtype);
    let used = backbone.default_stages();
    let mut errors = Vec::new();
    // Half precision of a vision transformer is slow on the CPU.
    let is_small = |case: &&Case| dtype == DType::F32 || case.size[0] * case.size[1] < 20_000;
    for case in model.cases.iter().filter(is_small) {
        let images = input(&fixture, case.size);
        let maps = extractor.extract(&images).unwrap();
        assert_eq!(maps.len(), case.stages.len());
        for ((map, stage), expected) in maps.iter().zip(extractor.stages()).zip(&case.stages) {
            assert_eq!(map.dtype(), dtype);
            assert_eq!(map.dims()[1..], stage.map_shape(case.size[0], case.size[1]));
            errors.push((format!("{backbone} {:?} stage {}", case.size, stage.index), expected.error(map)));
        }
        let tokens = aggregate(&maps[..used.len()], &used, case.size, backbone.token_stride()).unwrap();
        errors.push((format!("{backbone} {:?} tokens", case.size), case.aggregated.error(&tokens)));
    }
    errors
}

fn check(backbone: Backbone, dtype: DType, tolerance: f64) {
    for (name, error) in errors(backbone, dtype) {
        assert!(error <= tolerance, "{name} in {dtype:?}: relative error {error:e}");
    }
}

macro_rules! reference {
    ($($test:ident: $backbone:ident;)*) => {$(
        #[test]
        fn $test() {
            check(Backbone::$backbone, DType::F32, 2e-5);
        }
    )*};
}

reference! {
    resnet18: ResNet18;
    resnet34: ResNet34;
    resnet50: ResNet50;
    resnet50_v1: ResNet50V1;
    wide_resnet50_2: WideResNet50x2;
    efficientnet_b4: EfficientNetB4;
    efficientnet_b4_timm: EfficientNetB4Timm;
    vit_small_dino: VitSmallDino;
    dinov2_small: DinoV2Small;
    dinov2_base: DinoV2Base;
    dinov2_reg_small: DinoV2RegSmall;
    dinov2_reg_base: DinoV2RegBase;
    dinov3_small: DinoV3Small;
    dinov3_base: DinoV3Base;
}

/// One after the other: each needs up to 3 GB of memory.
#[test]
fn large_vision_transformers() {
    for backbone in [Backbone::DinoV2Large, Backbone::DinoV2RegLarge, Backbone::DinoV3Large] {
        check(backbone, DType::F32, 2e-5);
    }
}

#[test]
fn every_network_has_a_fixture_and_the_references_parameter_count() {
    let fixture = fixture();
    for backbone in Backbone::ALL {
        if !backbone.has_weights() {
            continue;
        }
        assert_eq!(backbone.parameter_count(), fixture.models[backbone.name()].parameters, "{backbone}");
    }
}

/// f16 has 11 bits of mantissa, bf16 has 8, and every layer rounds. One network of each kind is enough.
#[test]
fn half_precision_stays_near_f32() {
    for backbone in [
        Backbone::ResNet18,
        Backbone::EfficientNetB4,
        Backbone::VitSmallDino,
        Backbone::DinoV2RegSmall,
        Backbone::DinoV3Small,
    ] {
        check(backbone, DType::F16, 1e-2);
        check(backbone, DType::BF16, 8e-2);
    }
}
