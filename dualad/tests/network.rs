//! The coupled dual-branch network: its size, its gradients, its files, and properties that hold for any input.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dualad::backbones::Backbone;
use dualad::{
    Branches, DualAd, DualAdConfig, Error, Jitter, JitterKind, Random, Variant, backbone_multiply_accumulates,
    backbone_parameter_count,
};
use proptest::prelude::*;

/// The paper's network at toy widths.
fn toy(variant: Variant) -> DualAdConfig {
    let mut config = DualAdConfig::paper(variant, Backbone::ResNet18)
        .with_stage_channels(vec![5, 3, 4])
        .with_grid([5, 6])
        .with_neighbor_mask(Some([3, 3]))
        .with_levels(3)
        .with_narrow_width(8)
        .with_chunk_width(6)
        .with_heads(2)
        .with_ffn_width(12)
        .with_encoder_layers(2);
    if config.memory_slots > 0 {
        config.memory_slots = 7;
    }
    config
}

fn every_kind() -> Vec<DualAdConfig> {
    let mut configs = Vec::new();
    for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
        for branches in [Branches::Coupled, Branches::WideShallow, Branches::NarrowDeep] {
            let mut config = toy(variant);
            config.branches = branches;
            configs.push(config);
        }
    }
    let unmasked = toy(Variant::Heterogeneous);
    let width = unmasked.narrow_width;
    let unmasked = unmasked.with_neighbor_mask(None).with_memory_slots(0).with_chunk_width(width);
    configs.push(unmasked);
    configs
}

fn network(config: DualAdConfig) -> DualAd {
    DualAd::new(config, &Random::new(1), &Device::Cpu).unwrap()
}

fn tokens(config: &DualAdConfig, batch: usize, seed: u64) -> Tensor {
    let shape = (batch, config.tokens(), config.channels());
    let values = Random::new(seed).stream().normal(batch * config.tokens() * config.channels());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The paper's models: backbone, variant, the table's millions of parameters and billions of multiply-accumulates, and the exact
/// number of parameters. The table's 98.0 million for the homogeneous ResNet-50 is left out: it contradicts the 137.3 million of
/// Wide ResNet-50-2, which has the same network because it has as many channels.
const PAPER: [(Backbone, Variant, Option<&str>, f64, usize); 10] = [
    (Backbone::WideResNet50x2, Variant::Heterogeneous, Some("97.5"), 15.5, 97_491_008),
    (Backbone::WideResNet50x2, Variant::Homogeneous, Some("137.3"), 24.1, 137_333_824),
    (Backbone::ResNet34, Variant::Heterogeneous, Some("40.9"), 7.2, 40_930_048),
    (Backbone::ResNet34, Variant::Homogeneous, Some("89.0"), 17.4, 89_030_400),
    (Backbone::ResNet50, Variant::Heterogeneous, Some("54.2"), 9.6, 54_164_800),
    (Backbone::ResNet50, Variant::Homogeneous, None, 18.2, 94_007_616),
    (Backbone::EfficientNetB4, Variant::Heterogeneous, Some("37.5"), 4.8, 37_545_024),
    (Backbone::EfficientNetB4, Variant::Homogeneous, Some("86.7"), 15.3, 86_726_720),
    (Backbone::VitSmallDino, Variant::Heterogeneous, Some("50.2"), 10.5, 50_225_024),
    (Backbone::VitSmallDino, Variant::Homogeneous, Some("91.6"), 19.4, 91_640_704),
];

#[test]
fn parameter_counts_are_those_of_the_paper() {
    for (backbone, variant, millions, _, exactly) in PAPER {
        let config = DualAdConfig::paper(variant, backbone);
        let count = config.parameter_count().unwrap() + backbone_parameter_count(backbone);
        assert_eq!(count, exactly, "{variant:?} {backbone}");
        if let Some(millions) = millions {
            assert_eq!(format!("{:.1}", count as f64 / 1e6), millions, "{variant:?} {backbone}");
        }
    }
}

#[test]
fn multiply_accumulates_are_those_of_the_paper() {
    for (backbone, variant, _, expected, _) in PAPER {
        let config = DualAdConfig::paper(variant, backbone);
        let network = config.multiply_accumulates().unwrap();
        let found = (network + backbone_multiply_accumulates(backbone, [224, 224]).unwrap()) as f64 / 1e9;
        let off = found / expected - 1.0;
        println!("{variant:?} {backbone}: {found:.2} G, the paper has {expected} ({:+.1}%)", 100.0 * off);
        assert!(off.abs() < 0.03, "{variant:?} {backbone}: {found:.2} G");
    }
}

#[test]
fn every_parameter_has_a_finite_nonzero_gradient() {
    for config in every_kind() {
        let network = network(config.clone());
        let clean = tokens(&config, 2, 2);
        let reconstruction = network.reconstruct_jittered(&clean, &mut Random::new(3)).unwrap();
        let gradients = network.loss(&clean, &reconstruction).unwrap().backward().unwrap();
        assert_eq!(network.variables().len(), config.parameters().unwrap().len());
        for (name, variable) in network.variables() {
            let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
            let gradient = values(gradient);
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}");
            let largest = gradient.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
            if name.ends_with("k_proj.bias") {
                // Softmax does not change under a shift of all keys.
                assert!(largest < 1e-6, "{name}: {largest}");
            } else {
                assert!(largest > 1e-9, "{name}: {largest} in {config:?}");
            }
        }
    }
}

#[test]
fn the_configuration_lists_the_parameters_of_the_network() {
    for config in every_kind() {
        let listed: BTreeMap<_, _> = config.parameters().unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
        let made = network(config);
        let made: BTreeMap<_, _> =
            made.parameters().iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect();
        assert_eq!(listed, made);
    }
}

#[test]
fn half_precision_scores_are_within_one_percent() {
    for mut config in [toy(Variant::Heterogeneous), toy(Variant::Homogeneous)] {
        config = config
            .with_narrow_width(32)
            .with_chunk_width(32)
            .with_heads(4)
            .with_ffn_width(64)
            .with_stage_channels(vec![32, 64]);
        let network = network(config.clone());
        let clean = tokens(&config, 4, 5);
        let score = |network: &DualAd| {
            let reconstruction = network.reconstruct(&clean).unwrap();
            values(&network.score(&clean, &reconstruction).unwrap().image_score)
        };
        let exact = score(&network);
        for dtype in [DType::F16, DType::BF16] {
            let half = network.frozen(dtype, &Device::Cpu).unwrap();
            assert_eq!(half.reconstruct(&clean).unwrap().dtype(), dtype);
            for (exact, half) in exact.iter().zip(score(&half)) {
                assert!((exact - half).abs() <= 0.01 * exact, "{dtype:?}: {exact} {half}");
            }
        }
    }
}

#[test]
fn results_depend_on_the_seed_alone() {
    let config = toy(Variant::Heterogeneous);
    let train = |seed: u64| {
        let network = DualAd::new(config.clone(), &Random::new(seed), &Device::Cpu).unwrap();
        let clean = tokens(&config, 3, 9);
        let mut random = Random::new(seed);
        let mut optimizer = dualad::train::AdamW::new(network.variables(), Default::default()).unwrap();
        for _ in 0..2 {
            let reconstruction = network.reconstruct_jittered(&clean, &mut random).unwrap();
            let loss = network.loss(&clean, &reconstruction).unwrap();
            optimizer.step(&loss.backward().unwrap()).unwrap();
        }
        values(&network.reconstruct(&clean).unwrap())
    };
    assert_eq!(train(4), train(4));
    assert_ne!(train(4), train(5));
    // An initial value depends on the parameter's name only: a deeper network starts with the values of the shallower one.
    let mut deeper = config.clone();
    deeper.encoder_layers += 1;
    let (shallow, deep) = (network(config), network(deeper));
    for (name, tensor) in shallow.parameters() {
        assert_eq!(values(tensor), values(&deep.parameters()[name]), "{name}");
    }
}

/// Runs this test binary with one thread and with several, and compares the bits.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    const CHILD: &str = "DUALAD_TEST_BITS";
    let bits = || {
        let mut config = toy(Variant::Heterogeneous);
        // Large enough that every product and every loop is split.
        config = config
            .with_narrow_width(64)
            .with_chunk_width(64)
            .with_ffn_width(128)
            .with_heads(4)
            .with_stage_channels(vec![100, 60])
            .with_grid([14, 14]);
        let network = network(config.clone());
        let clean = tokens(&config, 3, 9);
        let mut random = Random::new(11);
        let reconstruction = network.reconstruct_jittered(&clean, &mut random).unwrap();
        let gradients = network.loss(&clean, &reconstruction).unwrap().backward().unwrap();
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        let gradients = network.variables().values().map(|variable| gradients.get(variable).unwrap().clone());
        for tensor in std::iter::once(reconstruction).chain(gradients) {
            for value in values(&tensor) {
                hash = (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01B3);
            }
        }
        format!("bits {hash:016x}")
    };
    if std::env::var_os(CHILD).is_some() {
        println!("{}", bits());
        return;
    }
    let child = |threads: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "any_number_of_threads_gives_the_same_bits", "--nocapture"])
            .env(CHILD, "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with("bits ")).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let one = child("1");
    for threads in ["2", "3", "5"] {
        assert_eq!(child(threads), one, "{threads} threads");
    }
}

#[test]
fn copies_keep_their_weights_when_the_original_trains() {
    let config = toy(Variant::Heterogeneous);
    let network = network(config.clone());
    let clean = tokens(&config, 1, 1);
    let frozen = network.frozen(DType::F32, &Device::Cpu).unwrap();
    let copy = frozen.trainable().unwrap();
    let before = values(&network.reconstruct(&clean).unwrap());
    let loss = network.loss(&clean, &network.reconstruct(&clean).unwrap()).unwrap();
    let mut optimizer = dualad::train::AdamW::new(network.variables(), Default::default()).unwrap();
    optimizer.step(&loss.backward().unwrap()).unwrap();
    assert_ne!(values(&network.reconstruct(&clean).unwrap()), before);
    assert_eq!(values(&frozen.reconstruct(&clean).unwrap()), before);
    assert_eq!(values(&copy.reconstruct(&clean).unwrap()), before);
    assert!(frozen.variables().is_empty());
    assert_eq!(copy.variables().len(), network.variables().len());
}

#[test]
fn a_loaded_network_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for config in every_kind() {
        let path = folder.path().join("model.safetensors");
        let network = network(config.clone());
        network.save(&path).unwrap();
        let loaded = DualAd::load(config.clone(), &path, &Device::Cpu).unwrap();
        let clean = tokens(&config, 2, 3);
        let expected = values(&network.reconstruct(&clean).unwrap());
        assert_eq!(values(&loaded.reconstruct(&clean).unwrap()), expected);
        // No temporary file is left.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let error = network(toy(Variant::Homogeneous)).save(folder.path().join("no/such/folder/x")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// A configuration of `tools/reference/checkpoint.py`.
fn published(variant: Variant) -> DualAdConfig {
    let config = DualAdConfig::paper(variant, Backbone::ResNet18);
    let slots = config.memory_slots.min(3);
    config
        .with_stage_channels(vec![6])
        .with_grid([2, 3])
        .with_neighbor_mask(None)
        .with_levels(2)
        .with_narrow_width(4)
        .with_chunk_width(4)
        .with_ffn_width(6)
        .with_encoder_layers(1)
        .with_wide_layers(1)
        .with_heads(2)
        .with_memory_slots(slots)
}

#[test]
fn published_checkpoints_load() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (variant, name) in [(Variant::Heterogeneous, "heterogeneous"), (Variant::Homogeneous, "homogeneous")] {
        let config = published(variant);
        for file in [format!("{name}.pth.tar"), format!("{name}_bare.pth")] {
            let network = DualAd::load_pth(config.clone(), fixtures.join(&file), &Device::Cpu).unwrap();
            for parameter in config.parameters().unwrap() {
                let expected = dualad::backbones::weights::synthetic::tensor(&parameter.name, &parameter.shape, 3);
                assert_eq!(values(&network.parameters()[&parameter.name]), expected, "{file}: {}", parameter.name);
            }
            assert!(values(&network.reconstruct(&tokens(&config, 1, 1)).unwrap()).iter().all(|x| x.is_finite()));
        }
        // Names and shapes tell the sizes; the other variant has other ones.
        let other = if variant == Variant::Homogeneous { Variant::Heterogeneous } else { Variant::Homogeneous };
        let paper = DualAdConfig::paper(other, Backbone::ResNet18).with_neighbor_mask(None).with_heads(2);
        for file in [format!("{name}.pth.tar"), format!("{name}_bare.pth")] {
            let sizes = paper.clone().with_stage_channels(vec![6]).with_sizes_of(fixtures.join(&file)).unwrap();
            assert_eq!(sizes, config, "{file}");
            let error = paper.clone().with_sizes_of(fixtures.join(&file)).unwrap_err().to_string();
            assert!(error.contains("takes 6 channels") && error.contains("448"), "{error}");
        }
        // For a configuration that does not fit the file, the error names the key.
        let wider = config.clone().with_narrow_width(8).with_chunk_width(8);
        let error = DualAd::load_pth(wider, fixtures.join(format!("{name}.pth.tar")), &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("has shape"), "{error}");
        let mut deeper = config.clone();
        deeper.encoder_layers = 2;
        let error = DualAd::load_pth(deeper, fixtures.join(format!("{name}.pth.tar")), &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("encoder.layers.1."), "{error}");
        let mut shallower = config;
        shallower.branches = Branches::WideShallow;
        let error = DualAd::load_pth(shallower, fixtures.join(format!("{name}.pth.tar")), &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("does not know"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    for bytes in [&b""[..], b"not a zip", b"PK\x03\x04"] {
        let path = folder.path().join("broken.pth");
        std::fs::write(&path, bytes).unwrap();
        let error = DualAd::load_pth(published(Variant::Homogeneous), &path, &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::Weights(_)), "{error}");
    }
}

#[test]
fn tokens_that_do_not_fit_are_refused() {
    let config = toy(Variant::Heterogeneous);
    let network = network(config.clone());
    let (n, c) = (config.tokens(), config.channels());
    for shape in [vec![1, n + 1, c], vec![1, n, c - 1], vec![n, c], vec![0, n, c], vec![1, n, c, 1]] {
        let wrong = Tensor::zeros(shape.as_slice(), DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(network.reconstruct(&wrong), Err(Error::InvalidArgument { .. })), "{shape:?}");
    }
    let integers = Tensor::zeros((1, n, c), DType::U32, &Device::Cpu).unwrap();
    assert!(matches!(network.reconstruct(&integers), Err(Error::InvalidArgument { .. })));
    let good = tokens(&config, 1, 1);
    assert!(matches!(network.score(&good, &integers), Err(Error::InvalidArgument { .. })));
}

#[test]
fn constant_images_score_finite_and_never_negative() {
    for config in every_kind() {
        let network = network(config.clone());
        for value in [0.0f32, 1.0, -3.0, 1e4] {
            let clean = Tensor::full(value, (2, config.tokens(), config.channels()), &Device::Cpu).unwrap();
            let reconstruction = network.reconstruct_jittered(&clean, &mut Random::new(1)).unwrap();
            for reconstruction in [clean.clone(), network.reconstruct(&clean).unwrap(), reconstruction] {
                let scores = network.score(&clean, &reconstruction).unwrap();
                let mut all = values(&scores.anomaly_map);
                all.extend(values(&scores.image_score));
                assert!(all.iter().all(|&x| x.is_finite() && x >= 0.0), "{value}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// An image's result does not depend on its place in the batch.
    #[test]
    fn permuting_the_batch_permutes_the_result(seed in any::<u64>(), homogeneous in any::<bool>()) {
        let config = toy(if homogeneous { Variant::Homogeneous } else { Variant::Heterogeneous });
        let network = network(config.clone());
        let clean = tokens(&config, 3, seed);
        let result = network.reconstruct(&clean).unwrap();
        let order = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
        let permuted = network.reconstruct(&clean.index_select(&order, 0).unwrap()).unwrap();
        let expected = values(&result.index_select(&order, 0).unwrap());
        for (found, expected) in values(&permuted).iter().zip(expected) {
            prop_assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()));
        }
    }

    /// An invalid value of any field is refused, and the error names the field.
    #[test]
    fn errors_name_the_invalid_field(which in 0usize..16) {
        let mut config = DualAdConfig::paper(Variant::Homogeneous, Backbone::ResNet18);
        let field = [
            "levels", "narrow_width", "chunk_width", "heads", "ffn_width", "encoder_layers", "wide_layers",
            "wide_ffn_ratio", "stage_channels", "grid", "narrow_width", "heads", "memory_slots", "neighbor_mask", "dropout",
            "jitter.scale",
        ][which];
        match which {
            0 => config.levels = 0,
            1 => config.narrow_width = 0,
            2 => config.chunk_width = 0,
            3 => config.heads = 0,
            4 => config.ffn_width = usize::MAX,
            5 => config.encoder_layers = 0,
            6 => config.wide_layers = 0,
            7 => config.wide_ffn_ratio = 0,
            8 => config.stage_channels = vec![4, 0],
            9 => config.grid = [14, 1 << 40],
            10 => config.narrow_width = 255,
            11 => config.heads = 7,
            12 => config.memory_slots = 1,
            13 => config.neighbor_mask = Some([27, 28]),
            14 => config.dropout = 1.0,
            _ => config.jitter = Some(Jitter { kind: JitterKind::Channel, scale: f64::NAN }),
        }
        let error = config.validate().unwrap_err();
        let Error::Config { field: found, .. } = &error else { panic!("{error}") };
        prop_assert_eq!(*found, field);
        prop_assert!(DualAd::new(config.clone(), &Random::new(0), &Device::Cpu).is_err());
        prop_assert!(config.parameters().is_err() && config.multiply_accumulates().is_err());
    }
}

#[test]
fn an_enormous_configuration_is_refused_before_memory_is_taken() {
    let mut config = DualAdConfig::paper(Variant::Homogeneous, Backbone::ResNet18)
        .with_levels(256)
        .with_chunk_width(1 << 20)
        .with_narrow_width(1 << 20)
        .with_wide_ffn_ratio(1 << 20)
        .with_wide_layers(256);
    let error = config.validate().unwrap_err();
    assert!(error.to_string().contains("parameters"), "{error}");
    // Sums and products of an invalid configuration saturate.
    config = config.with_levels(usize::MAX).with_grid([usize::MAX, 2]).with_stage_channels(vec![usize::MAX; 2]);
    assert_eq!([config.wide_width(), config.tokens(), config.channels()], [usize::MAX; 3]);
    assert!(config.validate().is_err() && config.multiply_accumulates().is_err());
    // The largest valid configuration can be counted, and the deepest valid graph can be dropped.
    let mut large = toy(Variant::Heterogeneous)
        .with_grid([64, 64])
        .with_neighbor_mask(None)
        .with_encoder_layers(256)
        .with_wide_layers(256);
    assert!(large.multiply_accumulates().unwrap() > 1 << 32);
    large.grid = [2, 2];
    let deep = network(large.clone());
    let clean = tokens(&large, 1, 1);
    deep.loss(&clean, &deep.reconstruct(&clean).unwrap()).unwrap().backward().unwrap();
    for grid in [[65, 64], [1, 257], [0, 4]] {
        let mut config = toy(Variant::Heterogeneous);
        config.grid = grid;
        assert!(config.validate().unwrap_err().to_string().contains("`grid`"));
    }
}

#[test]
fn a_trainable_copy_shares_nothing_with_the_original() {
    let config = toy(Variant::Heterogeneous);
    let original = network(config.clone());
    let copy = original.trainable().unwrap();
    let clean = tokens(&config, 2, 1);
    let before = values(&original.reconstruct(&clean).unwrap());
    let loss = copy.loss(&clean, &copy.reconstruct(&clean).unwrap()).unwrap();
    let mut optimizer = dualad::train::AdamW::new(copy.variables(), Default::default()).unwrap();
    optimizer.step(&loss.backward().unwrap()).unwrap();
    assert_eq!(values(&original.reconstruct(&clean).unwrap()), before);
    // An optimizer refuses the gradients of another network.
    let loss = original.loss(&clean, &original.reconstruct(&clean).unwrap()).unwrap();
    let error = optimizer.step(&loss.backward().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Training { step: 2, .. }), "{error}");
}

#[test]
fn steps_with_gradients_that_are_not_finite_change_nothing() {
    use dualad::recipe::AdamWConfig;
    use dualad::train::AdamW;
    let config = toy(Variant::Heterogeneous);
    let network = network(config.clone());
    let clean = tokens(&config, 1, 1);
    let before = values(&network.reconstruct(&clean).unwrap());
    let mut optimizer = AdamW::new(network.variables(), AdamWConfig::default()).unwrap();
    let loss = network.loss(&clean, &network.reconstruct(&clean).unwrap()).unwrap();
    for scale in [f64::NAN, f64::INFINITY, 1e30] {
        let error = optimizer.step(&(&loss * scale).unwrap().backward().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Training { step: 1, .. }), "{error}");
    }
    assert_eq!(values(&network.reconstruct(&clean).unwrap()), before);
    let good = AdamWConfig::default();
    let bad = [
        AdamWConfig { learning_rate: f64::NAN, ..good },
        AdamWConfig { beta1: 1.0, ..good },
        AdamWConfig { beta2: 2.0, ..good },
        AdamWConfig { eps: 0.0, ..good },
        AdamWConfig { weight_decay: -1.0, ..good },
        AdamWConfig { clip_norm: Some(-1.0), ..good },
        AdamWConfig { clip_norm: Some(f64::NAN), ..good },
    ];
    for config in bad {
        assert!(matches!(AdamW::new(network.variables(), config), Err(Error::Config { .. })), "{config:?}");
    }
    assert!(optimizer.set_learning_rate(f64::INFINITY).is_err());
}

#[test]
fn tokens_that_are_not_finite_are_refused_and_huge_ones_are_scored() {
    let config = toy(Variant::Heterogeneous);
    let network = network(config.clone());
    let clean = tokens(&config, 1, 1);
    for bad in [f64::NAN, f64::INFINITY] {
        let invalid = (&clean + bad).unwrap();
        assert!(matches!(network.reconstruct(&invalid), Err(Error::NotFinite { .. })));
        assert!(matches!(network.reconstruct_jittered(&invalid, &mut Random::new(0)), Err(Error::NotFinite { .. })));
    }
    for scale in [1e10, 1e13, 1e20, 1e30, 1e37] {
        let large = (&clean * scale).unwrap();
        let scores = network.score(&large, &clean).unwrap();
        let mut all = values(&scores.anomaly_map);
        all.extend(values(&scores.image_score));
        assert!(all.iter().all(|&x| x.is_finite() && x > 0.0), "{scale}");
    }
}

#[test]
fn errors_name_the_wrong_parameter() {
    let config = toy(Variant::Heterogeneous);
    let good = network(config.clone()).parameters().clone();
    let refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), part: &str| {
        let mut parameters = good.clone();
        change(&mut parameters);
        let error = DualAd::from_parameters(config.clone(), parameters).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }) && error.to_string().contains(part), "{error}");
    };
    let name = "out_proj.0.bias";
    refused(&|p| drop(p.remove(name)), "is missing");
    refused(&|p| drop(p.insert("odd".into(), good[name].clone())), "\"odd\" is not one");
    refused(&|p| drop(p.insert(name.into(), good["out_proj.2.bias"].clone())), "has shape");
    refused(&|p| drop(p.insert(name.into(), good[name].to_dtype(DType::F16).unwrap())), "has dtype");
    let network = DualAd::from_parameters(config, good.clone()).unwrap();
    assert!(matches!(network.frozen(DType::U8, &Device::Cpu), Err(Error::InvalidArgument { .. })));
    // Parameters that cannot be loaded are not saved, and the existing file stays.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    network.save(&path).unwrap();
    let mut invalid = good.clone();
    invalid.insert(name.into(), (&good[name] * f64::NAN).unwrap());
    let invalid = DualAd::from_parameters(network.config().clone(), invalid).unwrap();
    assert!(matches!(invalid.save(&path), Err(Error::Parameter { .. })));
    DualAd::load(network.config().clone(), &path, &Device::Cpu).unwrap();
    // While several threads save, every read is complete.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| network.save(&path).unwrap()));
        }
        for _ in 0..20 {
            DualAd::load(network.config().clone(), &path, &Device::Cpu).unwrap();
        }
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Opening or reading these files would wait for ever: they are refused first.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), std::path::Path::new("/dev/zero"), folder.path()] {
        let config = toy(Variant::Heterogeneous);
        assert!(matches!(DualAd::load(config.clone(), path, &Device::Cpu), Err(Error::Weights(_))));
        assert!(matches!(DualAd::load_pth(config, path, &Device::Cpu), Err(Error::Weights(_))));
    }
}

#[test]
fn json_keeps_a_configuration_and_refuses_unknown_fields() {
    for config in every_kind() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DualAdConfig>(&text).unwrap(), config);
        for field in ["neighbor_mask", "jitter", "dropout"] {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value.as_object_mut().unwrap().remove(field);
            let error = serde_json::from_value::<DualAdConfig>(value).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        let odd = text.replacen('{', "{\"widht\": 3, ", 1);
        let error = serde_json::from_str::<DualAdConfig>(&odd).unwrap_err();
        assert!(error.to_string().contains("widht"), "{error}");
    }
}

/// The standard deviations stay in f32: a value below the range of half precision must not become a division by zero. Values
/// from a file are checked.
#[test]
fn standard_deviations_stay_in_f32_and_are_checked() {
    let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18)
        .with_stage_channels(vec![3, 2])
        .with_grid([4, 4])
        .with_neighbor_mask(Some([3, 3]))
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(8)
        .with_memory_slots(4)
        .with_standardize(true)
        .with_standardize_errors(true);
    let network = DualAd::new(config.clone(), &Random::new(0), &Device::Cpu).unwrap();
    let small = [1e-9f32; 5];
    let network = network.with_standardization(&[0.0; 5], &small).unwrap().with_error_std(&[1e-8; 5]).unwrap();
    let tokens = Tensor::full(1e-9f32, (1, 16, 5), &Device::Cpu).unwrap();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let frozen = network.frozen(dtype, &Device::Cpu).unwrap();
        let scores = frozen.score(&tokens, &frozen.reconstruct(&tokens).unwrap()).unwrap();
        let score = scores.image_score.to_vec1::<f32>().unwrap()[0];
        assert!(score.is_finite() && score > 0.0, "{dtype:?}: {score}");
    }
    for name in ["standardisation.deviation", "standardisation.error"] {
        for value in [0.0f32, -1.0, f32::NAN, f32::INFINITY] {
            let mut parameters = network.parameters().clone();
            parameters.insert(name.into(), Tensor::full(value, 5, &Device::Cpu).unwrap());
            let error = DualAd::from_parameters(config.clone(), parameters).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("channel 0"), "{error}");
        }
    }
    assert!(network.with_standardization(&[0.0; 4], &small).is_err());
}

/// Returns a zip file with one uncompressed entry.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let (crc, length) = (crc32(content).to_le_bytes(), (content.len() as u32).to_le_bytes());
    let name_length = (name.len() as u16).to_le_bytes();
    // Version, flags, method, time and date, then the fields that both headers share.
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], &crc[..], &length, &length, &name_length, &[0, 0]].concat();
    let entry = [b"PK\x03\x04", &common[..], name.as_bytes(), content].concat();
    let directory = [b"PK\x01\x02\x14\0", &common[..], &[0; 14], name.as_bytes()].concat();
    let (at, size) = ((entry.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &size[..], &at, &[0, 0]].concat();
    [entry, directory, end].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// Python's unpickler would run the command.
#[test]
fn a_pickle_cannot_run_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("malicious.pth"), folder.path().join("victim"));
    let command = format!("touch {}", victim.display());
    for (before, after) in [(&b""[..], &b""[..]), (b"}X\x0a\0\0\0state_dict", b"s")] {
        let length = (command.len() as u32).to_le_bytes();
        let call = [b"cposix\nsystem\nX", &length[..], command.as_bytes(), b"\x85R"].concat();
        let pickle = [b"\x80\x02", before, &call, after, b"."].concat();
        std::fs::write(&path, zip("archive/data.pkl", &pickle)).unwrap();
        let error = DualAd::load_pth(toy(Variant::Heterogeneous), &path, &Device::Cpu).unwrap_err();
        assert!(matches!(error, Error::Weights(_)), "{error}");
        assert!(!victim.exists(), "the command was run");
    }
}
