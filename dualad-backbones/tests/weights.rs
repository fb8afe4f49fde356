//! Valid weight files load. Every kind of invalid file has its own error, and none is a panic.

mod support;

use candle_core::{DType, Device, Tensor};
use dualad_backbones::weights::synthetic;
use dualad_backbones::{Backbone, Error, FeatureExtractor, Weights, WeightsError, WeightsSource};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::Dtype;
use support::{File, Raw, SEED, resnet18_stage1, serialize};

fn build(weights: Weights) -> Result<Box<dyn FeatureExtractor>, Error> {
    Backbone::ResNet18.extractor().stages(&[1]).weights(weights).build()
}

fn error(file: &File) -> WeightsError {
    weights_error(build(Weights::bytes(serialize(file))))
}

fn weights_error(result: Result<Box<dyn FeatureExtractor>, Error>) -> WeightsError {
    match result {
        Err(Error::Weights(error)) => error,
        Err(other) => panic!("not an error of the weights: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

fn features(extractor: &dyn FeatureExtractor) -> Vec<f32> {
    let images = Tensor::arange(0f32, (3 * 32 * 48) as f32, &Device::Cpu).unwrap();
    let images = (images.reshape((1, 3, 32, 48)).unwrap() / 4608.0).unwrap();
    let maps = extractor.extract(&images).unwrap();
    assert_eq!(maps.len(), 1);
    maps[0].to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let scale = a.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    a.iter().zip(b).fold(0.0f32, |largest, (x, y)| largest.max((x - y).abs())) / scale
}

#[test]
fn a_file_bytes_and_synthetic_weights_give_the_same_features() {
    let file = resnet18_stage1();
    let expected = features(&*build(Weights::synthetic(SEED)).unwrap());
    let bytes = serialize(&file);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    std::fs::write(&path, &bytes).unwrap();

    let from_bytes = build(Weights::bytes(bytes)).unwrap();
    let from_file = build(Weights::file(&path)).unwrap();
    assert_eq!(features(&*from_bytes), expected);
    assert_eq!(features(&*from_file), expected);
    assert_eq!(from_file.provenance().source, WeightsSource::File);
    assert_eq!(from_file.provenance().location, path.display().to_string());
    assert_eq!(from_file.provenance().sha256, from_bytes.provenance().sha256);
    assert_eq!(from_file.provenance().sha256.as_deref(), Some(&*sha256sum(&path)));
}

fn sha256sum(path: &std::path::Path) -> String {
    dualad_store::sha256_of_file(path).unwrap()
}

#[test]
fn sha256_is_that_of_its_standard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abc");
    std::fs::write(&path, "abc").unwrap();
    // The example of FIPS 180-4.
    assert_eq!(sha256sum(&path), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn every_floating_point_dtype_loads() {
    let expected = features(&*build(Weights::synthetic(SEED)).unwrap());
    let convert = |dtype: Dtype, convert: fn(f32) -> Vec<u8>| {
        let mut file = resnet18_stage1();
        for raw in file.values_mut() {
            raw.bytes = raw.values().into_iter().flat_map(convert).collect();
            raw.dtype = dtype;
        }
        features(&*build(Weights::bytes(serialize(&file))).unwrap())
    };
    let f64s = convert(Dtype::F64, |v| f64::from(v).to_le_bytes().to_vec());
    let f16s = convert(Dtype::F16, |v| f16::from_f32(v).to_le_bytes().to_vec());
    let bf16s = convert(Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes().to_vec());
    assert_eq!(f64s, expected);
    assert!(largest_difference(&expected, &f16s) < 3e-3);
    assert!(largest_difference(&expected, &bf16s) < 3e-2);
}

#[test]
fn a_whole_networks_file_loads_for_its_first_stage() {
    let mut file = resnet18_stage1();
    // Tensors that a whole file holds beyond stage 1, and a batch norm's counter.
    file.insert("layer4.1.conv2.weight".into(), Raw::f32(&[1], &[0.0]));
    file.insert("fc.bias".into(), Raw::f32(&[1], &[0.0]));
    let counter = Raw { dtype: Dtype::I64, shape: vec![], bytes: vec![0; 8] };
    file.insert("layer1.0.bn1.num_batches_tracked".into(), counter);
    build(Weights::bytes(serialize(&file))).unwrap();
}

#[test]
fn a_missing_key_is_named() {
    let mut file = resnet18_stage1();
    file.remove("layer1.1.bn2.running_mean");
    file.remove("layer1.1.bn2.bias");
    let error = error(&file);
    let WeightsError::MissingKey { key, missing, .. } = &error else { panic!("{error}") };
    assert_eq!((key.as_str(), *missing), ("layer1.1.bn2.bias", 2));
    assert!(error.to_string().contains("\"layer1.1.bn2.bias\""), "{error}");
}

#[test]
fn an_extra_key_is_named_unless_allowed() {
    let mut file = resnet18_stage1();
    file.insert("layer1.0.attention.weight".into(), Raw::f32(&[1], &[0.0]));
    file.insert("layer9.weight".into(), Raw::f32(&[1], &[0.0]));
    let error = error(&file);
    let WeightsError::ExtraKey { key, extra, .. } = &error else { panic!("{error}") };
    assert_eq!((key.as_str(), *extra), ("layer1.0.attention.weight", 2));
    build(Weights::bytes(serialize(&file)).allow_extra_keys(true)).unwrap();
}

#[test]
fn another_networks_file_is_refused() {
    let error = weights_error(
        Backbone::ResNet50.extractor().stages(&[1]).weights(Weights::bytes(serialize(&resnet18_stage1()))).build(),
    );
    assert!(matches!(error, WeightsError::MissingKey { .. }), "{error}");
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let mut file = resnet18_stage1();
    let values = file["conv1.weight"].values();
    file.insert("conv1.weight".into(), Raw::f32(&[3, 64, 7, 7], &values));
    let error = error(&file);
    let WeightsError::Shape { key, expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!(key, "conv1.weight");
    assert_eq!((&expected[..], &found[..]), (&[64, 3, 7, 7][..], &[3, 64, 7, 7][..]));
}

#[test]
fn a_wrong_dtype_is_named() {
    let mut file = resnet18_stage1();
    file.get_mut("bn1.bias").unwrap().dtype = Dtype::I32;
    let error = error(&file);
    let WeightsError::DType { key, found, .. } = &error else { panic!("{error}") };
    assert_eq!((key.as_str(), found.as_str()), ("bn1.bias", "I32"));
}

#[test]
fn nan_and_infinity_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut file = resnet18_stage1();
        let mut values = file["layer1.0.conv2.weight"].values();
        values[17] = bad;
        file.insert("layer1.0.conv2.weight".into(), Raw::f32(&[64, 64, 3, 3], &values));
        let error = error(&file);
        assert!(matches!(&error, WeightsError::NotFinite { key, .. } if key == "layer1.0.conv2.weight"), "{error}");
    }
}

#[test]
fn weights_that_are_zero_everywhere_are_refused() {
    let mut file = resnet18_stage1();
    file.insert("layer1.0.conv2.weight".into(), Raw::f32(&[64, 64, 3, 3], &[0.0; 64 * 64 * 9]));
    let error = error(&file);
    assert!(matches!(&error, WeightsError::OnlyZeros { key, .. } if key == "layer1.0.conv2.weight"), "{error}");
    // Biases and means may be 0, and so may the scale of the last batch norm of a block.
    let mut file = resnet18_stage1();
    for key in ["bn1.bias", "bn1.running_mean", "layer1.0.bn2.weight"] {
        file.insert(key.into(), Raw::f32(&[64], &[0.0; 64]));
    }
    build(Weights::bytes(serialize(&file))).unwrap();
}

/// A download that ended early in a file of the full size, and pages that are missing.
#[test]
fn files_with_a_part_of_zeros_are_refused() {
    let good = serialize(&resnet18_stage1());
    let count = good.len();
    for (zeros, name) in [
        (count - count / 10..count, "layer1.1.conv2.weight"),
        (count - count / 100..count, "layer1.1.conv2.weight"),
        (count / 2..count / 2 + (64 << 10), "layer1.0.conv2.weight"),
    ] {
        let mut bytes = good.clone();
        bytes[zeros].fill(0);
        let error = weights_error(build(Weights::bytes(bytes)));
        assert!(matches!(&error, WeightsError::Gap { key, .. } if key == name), "{error}");
    }
}

/// A tensor that is not used tells that the file is damaged, too.
#[test]
fn a_part_of_zeros_beyond_the_stages_in_use_is_refused() {
    let mut file = resnet18_stage1();
    let shape = [128, 64, 3, 3];
    let mut values = synthetic::tensor("layer2.0.conv1.weight", &shape, SEED);
    file.insert("layer2.0.conv1.weight".into(), Raw::f32(&shape, &values));
    build(Weights::bytes(serialize(&file))).unwrap();
    values[70_000..].fill(0.0);
    file.insert("layer2.0.conv1.weight".into(), Raw::f32(&shape, &values));
    let error = error(&file);
    assert!(matches!(&error, WeightsError::Gap { key, .. } if key == "layer2.0.conv1.weight"), "{error}");
}

#[test]
fn pruned_weights_load() {
    let mut file = resnet18_stage1();
    for (key, raw) in file.iter_mut().filter(|(key, _)| key.contains("conv")) {
        let (mut values, chance) = (raw.values(), synthetic::tensor("input", &raw.shape, key.len() as u64));
        values.iter_mut().zip(chance).filter(|(_, chance)| *chance < 1.6).for_each(|(value, _)| *value = 0.0);
        // The last outputs as a whole.
        let count = values.len();
        values[count * 3 / 4..].fill(0.0);
        *raw = Raw::f32(&raw.shape, &values);
    }
    build(Weights::bytes(serialize(&file))).unwrap();
}

#[test]
fn a_negative_variance_is_refused() {
    let mut file = resnet18_stage1();
    file.insert("bn1.running_var".into(), Raw::f32(&[64], &[-1.0; 64]));
    let error = error(&file);
    assert!(matches!(&error, WeightsError::Overflow { key, .. } if key == "conv1.weight"), "{error}");
}

#[test]
fn weights_too_large_for_f16_are_refused_there_and_load_in_f32() {
    let mut file = resnet18_stage1();
    file.insert("bn1.weight".into(), Raw::f32(&[64], &[1e6; 64]));
    let weights = Weights::bytes(serialize(&file));
    let builder = Backbone::ResNet18.extractor().stages(&[1]).weights(weights);
    let error = weights_error(builder.clone().dtype(DType::F16).build());
    assert!(matches!(&error, WeightsError::Overflow { key, .. } if key == "conv1.weight"), "{error}");
    builder.build().unwrap();
}

#[test]
fn another_sha256_is_refused() {
    let weights = || Weights::bytes(serialize(&resnet18_stage1()));
    let right = build(weights()).unwrap().provenance().sha256.clone().unwrap();
    build(weights().sha256(right.to_uppercase())).unwrap();
    let wrong = format!("0000{}", &right[4..]);
    let error = weights_error(build(weights().sha256(&*wrong)));
    assert!(matches!(&error, WeightsError::Sha256 { found, .. } if *found == right), "{error}");
}

#[test]
fn an_invalid_sha256_is_refused() {
    for wrong in ["", "abc", "abc  model.safetensors\n", &"g".repeat(64), &"0".repeat(65)] {
        let error = weights_error(build(Weights::bytes(serialize(&resnet18_stage1())).sha256(wrong)));
        assert!(matches!(error, WeightsError::NotADigest { .. }), "{wrong:?}: {error}");
    }
}

/// Names from a file cannot control the terminal, nor fill it.
#[test]
fn keys_in_errors_are_escaped_and_cut() {
    let mut file = resnet18_stage1();
    file.insert(format!("\u{1b}]0;title\u{7}{}", "x".repeat(3000)), Raw::f32(&[1], &[0.0]));
    let text = error(&file).to_string();
    assert!(text.len() < 600 && !text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
}

#[test]
fn no_weights_and_no_such_file_say_what_to_do() {
    let error = weights_error(build(Weights::default()));
    assert!(error.to_string().contains("name a safetensors or PyTorch file"), "{error}");
    let error = weights_error(build(Weights::file("no/such/file.safetensors")));
    assert!(matches!(error, WeightsError::Io { .. }), "{error}");
    assert!(error.to_string().contains("no/such/file.safetensors"), "{error}");
}

#[test]
fn other_files_than_safetensors_are_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let good = serialize(&resnet18_stage1());
    let header = |json: &str, data: usize| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("zero bytes", vec![]),
        ("seven bytes", good[..7].to_vec()),
        ("cut in the header", good[..100].to_vec()),
        ("cut after the header", good[..4000].to_vec()),
        ("cut in the last tensor", good[..good.len() - 1].to_vec()),
        ("a byte too many", [&good[..], &[0]].concat()),
        ("a header of 2^64 - 1 bytes", [&u64::MAX.to_le_bytes()[..], &good[8..]].concat()),
        ("a header longer than the file", [&(1u64 << 20).to_le_bytes()[..], b"{}"].concat()),
        ("a zip, as PyTorch writes", b"PK\x03\x04\x00\x00\x08\x08 archive/data.pkl".to_vec()),
        ("a pickle", b"\x80\x02}q\x00(X\x06\x00\x00\x00conv1q\x01".to_vec()),
        ("a header that is not JSON", header("{\"conv1.weight\":", 0)),
        ("a header that is a list", header("[1, 2]", 0)),
        (
            "2^62 elements",
            header(r#"{"conv1.weight":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}"#, 4),
        ),
        (
            "elements that overflow",
            header(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,64],"data_offsets":[0,4]}}"#, 4),
        ),
        ("a negative shape", header(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4)),
        ("offsets beyond the end", header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4)),
        ("offsets that go backwards", header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4)),
        (
            "two tensors in one place",
            header(
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        ("an unknown dtype", header(r#"{"a":{"dtype":"Q3","shape":[1],"data_offsets":[0,4]}}"#, 4)),
    ];
    for (kind, bytes) in kinds {
        let path = folder.path().join(format!("{kind}.safetensors").replace(' ', "-"));
        std::fs::write(&path, &bytes).unwrap();
        for weights in [Weights::file(&path), Weights::bytes(bytes)] {
            let error = weights_error(build(weights));
            let found = match error {
                WeightsError::Empty { .. } => kind == "zero bytes",
                _ => matches!(error, WeightsError::Malformed { .. }),
            };
            assert!(found, "{kind}: {error}");
        }
    }
}

#[test]
fn an_extractor_can_be_used_by_many_threads() {
    let extractor = build(Weights::synthetic(SEED)).unwrap();
    let expected = features(&*extractor);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| features(&*extractor))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A damaged file gives an error or features, never a panic.
    #[test]
    fn damaged_files_never_panic(
        cut in 0usize..700_000,
        damage in prop::collection::vec((0usize..6_000, any::<u8>()), 0..6),
    ) {
        let mut bytes = serialize(&resnet18_stage1());
        for (at, byte) in damage {
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        if let Ok(extractor) = build(Weights::bytes(bytes)) {
            features(&*extractor);
        }
    }
}
