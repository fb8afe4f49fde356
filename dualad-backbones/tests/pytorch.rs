//! PyTorch files are read as PyTorch reads them, and every other file is refused with its own reason.

mod support;

use std::path::Path;

use candle_core::{Device, Tensor};
use dualad_backbones::weights::PyTorchReader;
use dualad_backbones::{Backbone, Error, FeatureExtractor, Weights, WeightsError};
use proptest::prelude::*;
use support::pytorch::{archive, saved};
use support::{File, Raw, SEED, resnet18_stage1, serialize};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch").join(name)).unwrap()
}

/// Returns the values that every fixture has.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| index as f32 / 8.0).collect()
}

#[test]
fn every_kind_of_file_that_pytorch_writes_is_read() {
    for (name, prefix) in [
        ("state_dict.pth", ""),
        ("checkpoint.pth", "state_dict.module.backbone."),
        ("before_1.6.pth", "state_dict.module.backbone."),
        ("protocol_4.pth", "state_dict.module.backbone."),
        ("module.pth", ""),
        ("script.pt", ""),
    ] {
        let bytes = fixture(name);
        let reader = PyTorchReader::new(name, &bytes).unwrap();
        let shapes: [(&str, &[usize]); 7] = [
            ("stem.conv.weight", &[4, 2, 3, 3]),
            ("stem.bn.weight", &[4]),
            ("stem.bn.bias", &[4]),
            ("stem.bn.running_mean", &[4]),
            ("stem.bn.running_var", &[4]),
            ("fc.weight", &[3, 4]),
            ("fc.bias", &[3]),
        ];
        for (key, shape) in shapes {
            let found = reader.read(&format!("{prefix}{key}"), shape);
            assert_eq!(found.unwrap(), values(shape.iter().product()), "{name}: {key}");
        }
        assert_eq!(reader.keys().count(), 8, "{name}: {:?}", reader.keys().collect::<Vec<_>>());
    }
}

#[test]
fn tensors_of_every_dtype_and_order_are_read() {
    let bytes = fixture("tensors.pth");
    let reader = PyTorchReader::new("tensors", &bytes).unwrap();
    for key in ["half", "bfloat16", "double", "part", "every_second", "parameter"] {
        assert_eq!(reader.read(key, &[2, 3]).unwrap(), values(6), "{key}");
    }
    assert_eq!(reader.read("channels_last", &[4, 3, 2, 2]).unwrap(), values(48));
    assert_eq!(reader.read("transposed", &[3, 2]).unwrap(), values(6));
    assert_eq!(reader.read("expanded", &[2, 3]).unwrap(), [0.0; 6]);
    assert_eq!(reader.read("scalar", &[]).unwrap(), [0.0]);
    assert!(reader.read("none", &[0, 3]).unwrap().is_empty());
    for (key, found) in [("long", "Long"), ("sparse", "_rebuild_sparse_tensor")] {
        let error = reader.read(key, &[6]).unwrap_err();
        assert!(matches!(&error, WeightsError::DType { found: dtype, .. } if dtype == found), "{error}");
    }
    assert!(matches!(reader.read("not_finite", &[2]), Err(WeightsError::NotFinite { .. })));
    assert!(matches!(reader.read("half", &[3, 2]), Err(WeightsError::Shape { .. })));
    assert!(matches!(reader.read("absent", &[1]), Err(WeightsError::Malformed { .. })));
}

fn build(weights: Weights) -> Result<Box<dyn FeatureExtractor>, Error> {
    Backbone::ResNet18.extractor().stages(&[1]).weights(weights).build()
}

fn error(bytes: Vec<u8>) -> WeightsError {
    match build(Weights::bytes(bytes)) {
        Err(Error::Weights(error)) => error,
        Err(other) => panic!("not an error of the weights: {other}"),
        Ok(_) => panic!("loaded"),
    }
}

fn features(extractor: &dyn FeatureExtractor) -> Vec<f32> {
    let images = (Tensor::arange(0f32, (3 * 32 * 32) as f32, &Device::Cpu).unwrap() / 3072.0).unwrap();
    let maps = extractor.extract(&images.reshape((1, 3, 32, 32)).unwrap()).unwrap();
    maps[0].flatten_all().unwrap().to_vec1().unwrap()
}

fn renamed(file: &File, prefix: &str) -> File {
    file.iter().map(|(key, raw)| (format!("{prefix}{key}"), raw.clone())).collect()
}

#[test]
fn the_network_is_found_under_the_prefix_of_any_wrapper() {
    let expected = features(&*build(Weights::synthetic(SEED)).unwrap());
    let file = resnet18_stage1();
    for prefix in
        ["", "module.", "model.", "backbone.", "encoder.", "student.", "_orig_mod.", "module.encoder_q.", "a.b.c."]
    {
        let mut file = renamed(&file, prefix);
        // A classifier and a head of one's own, and counters.
        for extra in [
            "fc.0.weight",
            "fc.3.bias",
            "proj_head.1.weight",
            "classifier.weight",
            "bn1.num_batches_tracked",
            "total_ops",
        ] {
            file.insert(format!("{prefix}{extra}"), Raw::f32(&[1], &[0.0]));
        }
        if !prefix.is_empty() {
            file.insert("decoder.conv1.bias".into(), Raw::f32(&[1], &[0.0]));
        }
        assert_eq!(features(&*build(Weights::bytes(serialize(&file))).unwrap()), expected, "{prefix:?}");
        for part in ["", "state_dict", "model_state_dict", "model"] {
            assert_eq!(
                features(&*build(Weights::bytes(saved(&[(part, &file)]))).unwrap()),
                expected,
                "{part} {prefix:?}"
            );
        }
    }
}

#[test]
fn a_file_with_two_networks_is_refused_unless_they_are_equal() {
    let file = resnet18_stage1();
    let mut other = file.clone();
    other.insert("bn1.bias".into(), Raw::f32(&[64], &[0.5; 64]));
    build(Weights::bytes(saved(&[("student", &file), ("teacher", &file)]))).unwrap();
    let error = error(saved(&[("student", &file), ("teacher", &other)]));
    let WeightsError::SeveralNetworks { prefixes, .. } = &error else { panic!("{error}") };
    assert_eq!(prefixes, &["student", "teacher"]);
    assert!(error.to_string().contains("save the tensors under the one to use"), "{error}");
}

/// A second network beside the one that is asked for has tensors of other shapes, or more of them.
#[test]
fn the_right_one_of_two_networks_is_found() {
    let expected = features(&*build(Weights::synthetic(SEED)).unwrap());
    let file = resnet18_stage1();
    // All tensors of ResNet-18 are in ResNet-50, in other shapes; in ResNet-34, in the same ones.
    for other in [Backbone::ResNet50, Backbone::ResNet34] {
        let tensors = other.tensors(&[1]).unwrap().into_iter();
        let other: File =
            tensors.map(|(key, shape)| (key, Raw::f32(&shape, &vec![0.25; shape.iter().product()]))).collect();
        assert!(file.keys().all(|key| other.contains_key(key)));
        for [name, second] in [["student", "teacher"], ["teacher", "a"], ["b", "teacher"]] {
            let bytes = saved(&[(name, &file), (second, &other)]);
            assert_eq!(features(&*build(Weights::bytes(bytes)).unwrap()), expected, "{name} {second}");
            let both = renamed(&file, &format!("{name}.")).into_iter().chain(renamed(&other, &format!("{second}.")));
            let bytes = serialize(&both.collect());
            assert_eq!(features(&*build(Weights::bytes(bytes)).unwrap()), expected, "{name} {second}");
        }
        // Neither is the right one.
        let error = error(saved(&[("student", &other), ("teacher", &other)]));
        assert!(matches!(error, WeightsError::Shape { .. } | WeightsError::ExtraKey { .. }), "{error}");
    }
    // At the top and under a prefix.
    let other = Backbone::ResNet50.tensors(&[1]).unwrap().into_iter();
    let mut both: File =
        other.map(|(key, shape)| (key, Raw::f32(&shape, &vec![0.25; shape.iter().product()]))).collect();
    both.extend(renamed(&file, "student."));
    assert_eq!(features(&*build(Weights::bytes(serialize(&both))).unwrap()), expected);
}

#[test]
fn what_a_wrapped_file_lacks_or_has_too_much_is_named_in_full() {
    let mut file = renamed(&resnet18_stage1(), "module.");
    file.insert("module.layer1.0.se.fc1.weight".into(), Raw::f32(&[1], &[0.0]));
    let extra = error(saved(&[("model", &file)]));
    assert!(
        matches!(&extra, WeightsError::ExtraKey { key, extra: 1, .. } if key == "model.module.layer1.0.se.fc1.weight"),
        "{extra}"
    );
    file.remove("module.layer1.1.bn2.bias");
    let missing = error(saved(&[("model", &file)]));
    assert!(
        matches!(&missing, WeightsError::MissingKey { key, missing: 1, .. } if key == "model.module.layer1.1.bn2.bias"),
        "{missing}"
    );
}

#[test]
fn a_file_is_read_from_disk_and_saved_as_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("resnet18.pth"), folder.path().join("copy.safetensors"));
    std::fs::write(&path, saved(&[("state_dict", &renamed(&resnet18_stage1(), "module."))])).unwrap();
    let extractor = build(Weights::file(&path)).unwrap();
    let digest = Weights::file(&path).save(Backbone::ResNet18, &copy).unwrap();
    assert_eq!(digest, extractor.provenance().sha256);
    assert_eq!(std::fs::read(&copy).unwrap(), serialize(&resnet18_stage1()));
    assert_eq!(Weights::file(&copy).save(Backbone::ResNet18, folder.path().join("again")).unwrap(), None);
}

#[test]
fn a_relative_path_is_recorded_in_full() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = Path::new(folder.path().file_name().unwrap()).join("weights.safetensors");
    std::fs::write(&path, serialize(&resnet18_stage1())).unwrap();
    let location = build(Weights::file(&path)).unwrap().provenance().location.clone();
    assert!(Path::new(&location).is_absolute() && location.ends_with("weights.safetensors"), "{location}");
}

#[test]
fn other_files_are_called_what_they_are_and_nobody_is_told_to_delete_one() {
    let empty =
        archive(&[("archive/data.pkl".into(), b"\x80\x02}q\0.".to_vec()), ("archive/data/0".into(), vec![0; 4000])]);
    let several =
        archive(&[("a/data.pkl".into(), b"\x80\x02}.".to_vec()), ("b/data.pkl".into(), b"\x80\x02}.".to_vec())]);
    let big = archive(&[("a/data.pkl".into(), b"\x80\x02}.".to_vec()), ("a/byteorder".into(), b"big".to_vec())]);
    let good = saved(&[("", &resnet18_stage1())]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (empty, "holds no tensors by name"),
        (several, "more than one data.pkl"),
        (big, "big-endian"),
        (archive(&[("weights.npy".into(), vec![0; 9])]), "without a data.pkl"),
        (good[..good.len() - 10].to_vec(), "zip archive cannot be read"),
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0}.".to_vec(), "a pickle, but not one of torch.save"),
        (fixture("before_1.6.pth")[..1900].to_vec(), "ends early"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(), "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46\n".to_vec(), "git lfs pull"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "unpack it"),
        (b"\x89HDF\r\n\x1a\n\0".to_vec(), "an HDF5 file"),
        ([&[0; 257][..], b"ustar\0"].concat(), "a tar archive"),
        (
            b"\x08\x07\x12\x07pytorch\x1a\x052.3.0:\x90\x03".to_vec(),
            "an ONNX model, not a safetensors or PyTorch file; save",
        ),
        (b"\x08\x0a:\xa0\x86\x01\x0a\x10".to_vec(), "an ONNX model"),
        (b"<?xml version=\"1.0\"?><net name=\"n\"/>".to_vec(), "OpenVINO"),
        (Vec::new(), "is empty (0 bytes)"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (bytes, reason) in cases {
        let path = folder.path().join("weights.pth");
        std::fs::write(&path, &bytes).unwrap();
        for weights in [Weights::file(&path), Weights::bytes(bytes)] {
            let error = build(weights).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("delete"), "{reason}: {error}");
        }
    }
}

#[test]
fn data_without_the_checksum_of_its_archive_is_refused() {
    for name in ["state_dict.pth", "checkpoint.pth", "protocol_4.pth"] {
        let good = fixture(name);
        let reader = PyTorchReader::new(name, &good).unwrap();
        let keys: Vec<&str> = reader.keys().filter(|key| key.ends_with("stem.conv.weight")).collect();
        let [key] = keys[..] else { panic!("{keys:?}") };
        // 1.0, the ninth value.
        let at =
            good.windows(8).position(|bytes| bytes == [0.875f32.to_le_bytes(), 1f32.to_le_bytes()].concat()).unwrap();
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let error = PyTorchReader::new(name, &bytes).unwrap().read(key, &[4, 2, 3, 3]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("\"data/0\"") && error.contains("CRC-32"), "{name}: {error}");
        let mut bytes = good.clone();
        let at = good.windows(7).position(|bytes| bytes == b"running").unwrap();
        bytes[at] ^= 1;
        let error = PyTorchReader::new(name, &bytes).unwrap_err().to_string();
        assert!(error.contains("data.pkl\"") && error.contains("CRC-32"), "{name}: {error}");
    }
}

/// A few bytes can describe a tensor of any size, and nest values to any depth.
#[test]
fn sizes_are_checked_before_memory_is_taken() {
    // A tensor of 2^31 x 2^31 values in a storage of one: strides of 0.
    let tensor = [
        &b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"[..],
        b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86K\0K\0\x86tRs.",
    ]
    .concat();
    let bytes = archive(&[("a/data.pkl".into(), tensor), ("a/data/0".into(), vec![0; 4])]);
    let reader = PyTorchReader::new("large", &bytes).unwrap();
    let side = 0x7fff_ffff;
    assert!(matches!(reader.read("a", &[side, side]), Err(WeightsError::Malformed { .. })));
    assert!(matches!(reader.read("a", &[64, 3]), Err(WeightsError::Shape { .. })));
    // A negative offset: the tensor is there, and damaged.
    let tensor = [
        &b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"[..],
        b"X\x01\0\0\x000X\x03\0\0\0cpuK\x01tQJ\xff\xff\xff\xffK\x01K\x01\x86K\x01K\x01\x86tRs.",
    ]
    .concat();
    let bytes = archive(&[("a/data.pkl".into(), tensor), ("a/data/0".into(), vec![0; 4])]);
    let error = PyTorchReader::new("negative", &bytes).unwrap().read("a", &[1, 1]).unwrap_err().to_string();
    assert!(error.contains("tensor \"a\": its values are not in the file"), "{error}");
    let nested = [&b"\x80\x02"[..], &b"}X\x01\0\0\0a".repeat(100_000), b"N", &b"s".repeat(100_000), b"."].concat();
    let error = PyTorchReader::new("deep", &archive(&[("a/data.pkl".into(), nested)])).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
    // Each dictionary holds the one before twice: 2^40 names.
    let mut wide = b"\x80\x02}q\0".to_vec();
    for level in 1..=30u8 {
        wide.extend(
            [b"}q", &[level][..], b"(X\x01\0\0\0ah", &[level - 1], b"X\x01\0\0\0bh", &[level - 1], b"u"].concat(),
        );
    }
    wide.push(b'.');
    let error = PyTorchReader::new("wide", &archive(&[("a/data.pkl".into(), wide)])).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A damaged file gives an error or values, never a panic.
    #[test]
    fn damaged_files_never_panic(
        which in 0usize..3,
        cut in 0usize..15_000,
        damage in prop::collection::vec((0usize..5_000, any::<u8>()), 0..6),
    ) {
        let mut bytes = fixture(["checkpoint.pth", "before_1.6.pth", "tensors.pth"][which]);
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut);
        if let Ok(reader) = PyTorchReader::new("damaged", &bytes) {
            for key in reader.keys() {
                for shape in [&[2, 3][..], &[4], &[4, 2, 3, 3], &[4, 3, 2, 2]] {
                    let _ = reader.read(key, shape);
                }
            }
        }
    }
}
