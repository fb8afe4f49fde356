//! A target for each reader of outside bytes. A target panics only where an assertion fails: that is a defect.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use dualad::backbones::weights::PyTorchReader;
use dualad::backbones::{Backbone, Weights};
use dualad::calibration::Calibration;
use dualad::candle_core::Device;
use dualad::data::image::{Limits, Mask, Picture, PixelFormat, Preprocess, RawImage};
use dualad::data::{Dataset, Layout, MaskRule};
use dualad::recipe::Recipe;
use dualad::{DualAd, DualAdConfig, Model, Random, Variant};
use dualad_store::sha256;
use tempfile::TempDir;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// The targets of this module.
pub const TARGETS: [Target; 13] = [
    ("weights", weights),
    ("model_config", model_config),
    ("model_parameters", model_parameters),
    ("pth", pth),
    ("pytorch", pytorch),
    ("calibration", calibration),
    ("recipe", recipe),
    ("layout", layout),
    ("table", table),
    ("coco", coco),
    ("labelme", labelme),
    ("image", image),
    ("raw_image", raw_image),
];

/// Returns the configuration of a network for 32 x 32 pixels, which is fast.
pub fn small() -> DualAdConfig {
    DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
        .with_narrow_width(4)
        .with_chunk_width(4)
        .with_ffn_width(4)
        .with_heads(2)
        .with_encoder_layers(1)
        .with_memory_slots(3)
        .with_grid([2, 2])
        .with_neighbor_mask(None)
}

/// Returns a small model's configuration and parameters, as `Model::save` writes them.
pub fn model() -> &'static (Vec<u8>, Vec<u8>) {
    static MODEL: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
        let network = DualAd::new(small(), &Random::new(0), &Device::Cpu).expect("a small network");
        let extractor = Backbone::FilterBank.extractor().build().expect("a filter bank");
        let model = Model::new(network, Backbone::FilterBank, &[1, 2, 3], extractor.provenance().clone());
        let folder = tempfile::tempdir().expect("a folder");
        model.save(folder.path(), "").expect("a saved model");
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("the model's file");
        (read("config.json"), read("model.safetensors"))
    });
    &MODEL
}

/// Reads a backbone's weights, a safetensors or a PyTorch file.
pub fn weights(data: &[u8]) {
    let _ = Backbone::ResNet18.extractor().weights(Weights::bytes(data.to_vec())).build();
}

/// Reads a model's configuration, with the parameters of the small model.
pub fn model_config(data: &[u8]) {
    let _ = Model::from_bytes(Path::new("fuzzed"), data, &model().1, &Device::Cpu);
}

/// Reads a model's parameters, with the configuration of the small model.
pub fn model_parameters(data: &[u8]) {
    // The configuration holds the parameters' digest. It is replaced here, so that loading goes past its check.
    let (config, parameters) = model();
    let config = String::from_utf8_lossy(config).replace(&sha256(parameters), &sha256(data));
    let _ = Model::from_bytes(Path::new("fuzzed"), config.as_bytes(), data, &Device::Cpu);
}

/// Reads a checkpoint of the published PyTorch code: a zip file that contains a pickle.
pub fn pth(data: &[u8]) {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));
    let path: PathBuf = FOLDER.path().join("fuzzed.pth");
    std::fs::write(&path, data).expect("a file to read");
    for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
        // The sizes of the seeds' checkpoints.
        let config = DualAdConfig::paper(variant, Backbone::ResNet18);
        let slots = config.memory_slots.min(3);
        let config = config
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
            .with_memory_slots(slots);
        let _ = DualAd::load_pth(config, &path, &Device::Cpu);
    }
}

/// Reads all tensors of a PyTorch file of any kind.
pub fn pytorch(data: &[u8]) {
    let Ok(reader) = PyTorchReader::new("fuzzed", data) else { return };
    for key in reader.keys() {
        let shape = reader.shape(key).unwrap_or_default();
        // A storage of one value can be a tensor of any size.
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if let Some(count) = count.filter(|&count| count <= 1 << 16)
            && let Ok(values) = reader.read(key, shape)
        {
            assert_eq!(values.len(), count);
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
}

/// Reads thresholds as JSON, which users edit. Valid ones are written and read again, and must be equal.
pub fn calibration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(calibration) = Calibration::from_json("fuzzed", text) {
        let written = calibration.to_json().expect("what was read can be written");
        let again = Calibration::from_json("written", &written).expect("what was written can be read");
        assert_eq!(again.to_json().expect("as above"), written);
    }
}

/// Reads a recipe's JSON and checks its configuration.
pub fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let base = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    if let Ok(recipe) = base.with_json("fuzzed", text) {
        let _ = recipe.validate();
    }
}

/// Opens and checks a dataset. Each line is the path of a file; the text after `=` is its content.
pub fn layout(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for line in text.lines().take(40) {
        let (line, content) = line.split_once('=').unwrap_or((line, ""));
        let path = Path::new(line);
        // Within the folder: what lies elsewhere is not the fuzzer's.
        if line.is_empty() || line.contains('\0') || !path.components().all(|part| matches!(part, Component::Normal(_)))
        {
            continue;
        }
        let path = folder.path().join(path);
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let _ = std::fs::write(path, content.replace('|', "\n"));
    }
    if let Ok(dataset) = Dataset::open_products(folder.path()) {
        let _ = dataset.check().threads(1).run();
    }
}

/// Reads a table of two pictures, as CSV and as JSON lines.
pub fn table(data: &[u8]) {
    annotated(Layout::Table, "labels.csv", data);
    annotated(Layout::Table, "labels.jsonl", data);
}

/// Reads COCO annotations of two pictures.
pub fn coco(data: &[u8]) {
    annotated(Layout::Coco, "labels.json", data);
}

/// Reads LabelMe annotations of a picture.
pub fn labelme(data: &[u8]) {
    annotated(Layout::LabelMe, "a.json", data);
}

/// Opens and checks two pictures with a file that describes them.
fn annotated(layout: Layout, name: &str, data: &[u8]) {
    static PICTURE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut file = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(8, 4).write_to(&mut file, image::ImageFormat::Bmp).expect("an encoded picture");
        file.into_inner()
    });
    let folder = tempfile::tempdir().expect("a folder");
    for picture in ["a.bmp", "b.bmp"] {
        std::fs::write(folder.path().join(picture), &*PICTURE).expect("a picture");
    }
    std::fs::write(folder.path().join(name), data).expect("a file");
    let _ = Layout::detect(folder.path());
    if let Ok(dataset) = Dataset::open_as(layout, folder.path()) {
        let _ = dataset.check().threads(1).run();
        for sample in dataset.categories.iter().flat_map(|category| &category.samples) {
            // A mask that is drawn has the size of its picture.
            if let Ok(Some(mask)) = sample.read_mask((8, 4), &Limits::default()) {
                assert_eq!((mask.width(), mask.height()), (8, 4));
                assert!(mask.pixels().iter().all(|&pixel| pixel <= 1));
            }
        }
    }
}

/// Decodes an image and a mask.
pub fn image(data: &[u8]) {
    // Low limits keep the target fast: decoded images are resized, too.
    let limits = Limits::default().with_pixels(1 << 20).with_memory(64 << 20);
    if let Ok(picture) = Picture::decode(data, "fuzzed", &limits) {
        assert_eq!(picture.pixels().len(), 3 * picture.width() as usize * picture.height() as usize);
        let pixels =
            Preprocess::new(32, 48).and_then(|preprocess| preprocess.pixels(&picture)).expect("a picture's pixels");
        assert!(pixels.iter().all(|value| value.is_finite()));
    }
    let _ = Mask::decode(data, "fuzzed", MaskRule::NonZero, &limits);
}

/// Reads a camera's buffer: 4 bytes of width, 4 of height, 8 of stride, 1 of format, and the pixels.
pub fn raw_image(data: &[u8]) {
    let Some((head, pixels)) = data.split_at_checked(17) else { return };
    let number = |range: std::ops::Range<usize>| head[range].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (width, height, stride) = (number(0..4) as u32, number(4..8) as u32, number(8..16) as usize);
    let formats = [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8, PixelFormat::Rgba8, PixelFormat::Bgra8];
    let format = formats[usize::from(head[16]) % formats.len()];
    let Ok(image) = RawImage::new(pixels, width, height, format) else { return };
    let image = if stride == 0 { Ok(image) } else { image.stride(stride) };
    if let Ok(picture) = image.and_then(|image| image.to_picture()) {
        assert_eq!((picture.width(), picture.height()), (width, height));
    }
}
