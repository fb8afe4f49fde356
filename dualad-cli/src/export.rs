//! `dualad export`: write a model in another format.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use dualad::calibration::Calibration;
use dualad::data::image::Picture;
use dualad::data::is_image_name;
use dualad::store::write_atomically;
use dualad::{Detector, ModelFiles, Precision};
use dualad_onnx::{Check, CheckImage, Export, OPSET};
use serde::Serialize;

use crate::common::{CommonArgs, Result, note, parse_count, print};
use crate::guard::Guard;
use crate::limits::LimitArgs;
use crate::model::ModelSource;

/// The format of an exported model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An ONNX file, which onnxruntime, OpenVINO and TensorRT read
    Onnx,
}

/// Write a model as an ONNX file, for programs in other languages
///
/// The file gets its name after onnxruntime has run it: scores and maps of the images must equal the model's. Give the library of onnxruntime
/// with --onnxruntime or in ORT_DYLIB_PATH; the Python package has it as onnxruntime/capi/libonnxruntime.so.*
#[derive(Debug, clap::Args)]
#[command(mut_arg("seed", |arg| arg.help("Seed of the images that are made without --images [default: 0]")))]
pub(crate) struct Args {
    /// A trained model: its folder, or owner/name on the Hugging Face hub
    #[arg(value_name = "MODEL", required_unless_present = "model", conflicts_with = "model")]
    source: Option<String>,
    /// The same as MODEL
    #[arg(long, value_name = "DIR|owner/name")]
    model: Option<String>,
    /// The backbone's weights: a safetensors or PyTorch file, or `hub` for the Hugging Face hub [default: the file in the model's folder, or the weights that its configuration names]
    #[arg(long, value_name = "FILE|hub")]
    weights: Option<String>,
    /// Format of the file
    #[arg(long, value_enum, default_value_t = Format::Onnx)]
    format: Format,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "model.onnx")]
    out: PathBuf,
    /// Folder of images to compare the file's results with the model's on, such as parts of the line. Up to 64 are used [default: 8 made images]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Library of onnxruntime, 1.17 or newer: libonnxruntime.so, .dylib, or onnxruntime.dll [default: the file that ORT_DYLIB_PATH names]
    #[arg(long, value_name = "FILE", conflicts_with = "unchecked")]
    onnxruntime: Option<PathBuf>,
    /// Write the file without running it. The file records that it was not checked
    #[arg(long)]
    unchecked: bool,
    /// Number of threads to compute with [default: one for each core]
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_count(text, 1024))]
    threads: Option<usize>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// The precision that the graph computes in.
const PRECISION: Precision = Precision::F32;
/// The most images of a folder that a file is checked with.
const MAX_IMAGES: usize = 64;
/// The number of images that are made without a folder.
const MADE_IMAGES: usize = 8;
/// The variable that names the library of onnxruntime.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// The JSON of an export.
#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    out: String,
    bytes: usize,
    opset: i64,
    nodes: usize,
    /// `null` for a file that was not checked.
    check: Option<Check>,
}

/// Runs `dualad export`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let source = ModelSource {
        model: args.source.clone().or_else(|| args.model.clone()).unwrap_or_default(),
        weights: args.weights.clone(),
        threads: args.threads,
        precision: Some(PRECISION),
    };
    check_precision(&source)?;
    let images = args.images.as_deref().map(image_files).transpose()?;
    let guard = Guard::default().reads(source.files()).reads(images.iter().flatten());
    args.common.check_json(&guard)?;
    if args.out.as_os_str() == "-" {
        return Err("--out -: the graph is not written to standard output; name a file".into());
    }
    guard.check_export(&args.out)?;
    let library = library(args)?;
    // The graph is that of one input. Its metadata names the tiling.
    let builder = source.builder(&args.common)?.tiling(None).limits(args.limits.limits());
    let detector = source.load(builder)?;
    let Format::Onnx = args.format;
    let export = Export::new(&detector)?;
    let check = match library {
        None => None,
        Some(library) => {
            let images = match &images {
                Some(files) => read(files, &detector)?,
                None => CheckImage::made(&detector, MADE_IMAGES, args.common.seed.unwrap_or(0))?,
            };
            Some(export.check(&library, &images)?)
        }
    };
    let bytes = export.to_bytes(check.as_ref())?;
    // Again: the file may be new.
    guard.check_export(&args.out)?;
    let out = args.out.display().to_string();
    write_atomically(&args.out, &bytes).map_err(|error| format!("cannot write {out}: {error}"))?;
    if detector.config().input.tiling.is_some() {
        note("the model cuts images into tiles; the graph takes one tile, and its metadata describes the tiling");
    }
    let outcome = Outcome { format: 1, out, bytes: bytes.len(), opset: OPSET, nodes: export.nodes(), check };
    args.common.write_json(&outcome)?;
    if args.common.json_to_stdout() { Ok(()) } else { print(&text(&outcome)) }
}

/// Refuses thresholds of another precision than that of the graph, and names the way out.
fn check_precision(source: &ModelSource) -> Result<()> {
    // On the hub, the detector refuses them.
    let Some(files) = source.folder()?.map(ModelFiles::of) else { return Ok(()) };
    // Thresholds that cannot be read are the detector's error, too.
    let Ok(thresholds) = Calibration::load(&files.calibration) else { return Ok(()) };
    if thresholds.precision == PRECISION {
        return Ok(());
    }
    let is_restorable = |path: &PathBuf| {
        let is_same = |found: Calibration| found.precision == PRECISION && found.model == thresholds.model;
        Calibration::load(path).is_ok_and(is_same)
    };
    let (path, found, model) = (files.calibration.display(), thresholds.precision, &source.model);
    let restored = match files.earlier_calibrations().into_iter().find(is_restorable) {
        Some(earlier) => format!("copy {} there, which has those in {PRECISION}, or ", earlier.display()),
        None => String::new(),
    };
    Err(format!(
        "the graph computes in {PRECISION}, and the thresholds in {path} are for scores in {found}; {restored}set new ones with `dualad calibrate --model {model} --data FOLDER --precision {PRECISION}`"
    )
    .into())
}

/// Returns the library of onnxruntime, or `None` for a file without a check.
fn library(args: &Args) -> Result<Option<PathBuf>> {
    if args.unchecked {
        return Ok(None);
    }
    let named = std::env::var_os(LIBRARY).filter(|path| !path.is_empty()).map(PathBuf::from);
    match args.onnxruntime.clone().or(named) {
        Some(library) => Ok(Some(library)),
        None => Err(format!(
            "the file is checked with onnxruntime, and no library of it was named; give --onnxruntime FILE, set {LIBRARY}, or insist with --unchecked"
        )
        .into()),
    }
}

/// Returns images of a folder, spread evenly over their names if there are many.
fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && is_image_name(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("{} holds no images; --images names a folder of image files", folder.display()).into());
    }
    files.sort();
    let count = files.len().min(MAX_IMAGES);
    Ok((0..count).filter_map(|index| files.get(index * files.len() / count).cloned()).collect())
}

fn read(files: &[PathBuf], detector: &Detector) -> Result<Vec<CheckImage>> {
    let read = files.iter().map(|file| {
        let picture: Picture = detector.picture(file)?;
        Ok(CheckImage::new(file.display().to_string(), picture))
    });
    read.collect()
}

fn text(Outcome { out, bytes, opset, nodes, check, .. }: &Outcome) -> String {
    let mib = *bytes as f64 / f64::from(1 << 20);
    let checked = match check {
        None => "not checked".into(),
        Some(Check { runtime, version, images, score_difference, map_difference, .. }) => format!(
            "{runtime} {version} on {images} images: scores differ by at most {score_difference:.1e}, maps by {map_difference:.1e}"
        ),
    };
    format!("{out}: {mib:.1} MiB, {nodes} nodes of opset {opset}; {checked}\n")
}
