//! The network compared with a plain PyTorch implementation. `tools/reference/network.py` writes the fixture; the parameters and
//! tokens are synthetic.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use dualad::backbones::weights::synthetic;
use dualad::{DualAd, DualAdConfig};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    seed: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: DualAdConfig,
    reconstruction: Vec<f64>,
    /// The values of every seventh row and column.
    anomaly_map: Vec<f64>,
    image_score: Vec<f64>,
    loss: f64,
    gradients: BTreeMap<String, Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    index: usize,
    value: f64,
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * scale, "{what}: {found} {expected}");
    }
}

#[test]
fn results_and_gradients_equal_pytorchs() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/network.json")).unwrap();
    for case in fixture.cases {
        let config = case.config;
        let make = |name: &str, shape: &[usize]| {
            Tensor::from_vec(synthetic::tensor(name, shape, fixture.seed), shape, &Device::Cpu).unwrap()
        };
        let parameters = config.parameters().unwrap().into_iter();
        let parameters = parameters.map(|p| (p.name.clone(), make(&p.name, &p.shape))).collect();
        let network = DualAd::from_parameters(config.clone(), parameters).unwrap().trainable().unwrap();
        let tokens = make("input", &[2, config.tokens(), config.channels()]);

        let reconstruction = network.reconstruct(&tokens).unwrap();
        assert_near(&values(&reconstruction), &case.reconstruction, 1e-5, "reconstruction");
        let scores = network.score(&tokens, &reconstruction).unwrap();
        let maps: Vec<Vec<Vec<f32>>> = scores.anomaly_map.squeeze(1).unwrap().to_vec3().unwrap();
        let sampled: Vec<f64> = maps
            .iter()
            .flat_map(|map| map.iter().step_by(7))
            .flat_map(|row| row.iter().step_by(7))
            .map(|&value| f64::from(value))
            .collect();
        assert_near(&sampled, &case.anomaly_map, 1e-5, "anomaly map");
        assert_near(&values(&scores.image_score), &case.image_score, 1e-5, "image score");

        let loss = network.loss(&tokens, &reconstruction).unwrap();
        assert_near(&values(&loss), &[case.loss], 1e-5, "loss");
        let gradients = loss.backward().unwrap();
        assert_eq!(network.variables().len(), case.gradients.len());
        for (name, variable) in network.variables() {
            let (gradient, expected) = (values(gradients.get(variable).unwrap()), &case.gradients[name]);
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            if name.ends_with("k_proj.bias") {
                // Zero up to rounding: softmax does not change under a shift of all keys.
                assert!(norm < 1e-6 && expected.norm < 1e-6, "{name}: {norm} {}", expected.norm);
                continue;
            }
            assert_near(&[norm], &[expected.norm], 1e-4, name);
            assert_near(&[gradient[expected.index]], &[expected.value], 1e-4, name);
        }
    }
}
