//! Models of [dualad] as ONNX files, checked against onnxruntime.
//!
//! One graph holds the backbone, the reconstruction network, the bank of normal tokens and the scores. Its input `image`,
//! `[batch, 3, height, width]` in f32, has RGB images that are already resized, with values from 0 to 255; the graph normalizes them. Its outputs are
//! `score`, `[batch]`, `anomaly_map`, `[batch, height, width]`, and with a bank of several categories `category`, `[batch]` in i64. The batch
//! may have any size. `docs/onnx.md` describes the file.
//!
//! ```no_run
//! use dualad::Detector;
//! use dualad_onnx::{CheckImage, Export};
//!
//! let detector = Detector::builder().tiling(None).load("model")?;
//! let export = Export::new(&detector)?;
//! let check = export.check("libonnxruntime.so".as_ref(), &CheckImage::made(&detector, 8, 0)?)?;
//! dualad::store::write_atomically("model.onnx".as_ref(), &export.to_bytes(Some(&check))?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library of onnxruntime is loaded at run time. Nothing is linked.

mod backbone;
mod bank;
mod check;
mod error;
mod graph;
mod metadata;
mod model;
mod network;
mod onnxruntime;
mod proto;

pub use check::{Check, CheckImage, TOLERANCE};
pub use error::{Error, Result};

use dualad::Detector;
use prost::Message;

/// The version of the operators.
pub const OPSET: i64 = 17;

/// The name of the program that writes the files, as it stands in them.
const PRODUCER: &str = "dualad";

/// A model as an ONNX graph.
#[derive(Debug)]
pub struct Export<'a> {
    detector: &'a Detector,
    graph: proto::Graph,
}

impl<'a> Export<'a> {
    /// Makes the graph of a detector's model. The backbone's weights are read again.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the filter bank, [`Error::TooLarge`], and [`Error::Dualad`] if the weights cannot be read.
    pub fn new(detector: &'a Detector) -> Result<Self> {
        Ok(Self { detector, graph: model::graph(detector)? })
    }

    /// Returns the number of nodes.
    pub fn nodes(&self) -> usize {
        self.graph.node.len()
    }

    /// Returns the content of the file, which records the check.
    ///
    /// # Errors
    /// [`Error::Dualad`] if the thresholds have no JSON form.
    pub fn to_bytes(&self, check: Option<&Check>) -> Result<Vec<u8>> {
        let file = proto::Model {
            ir_version: proto::IR_VERSION,
            producer_name: PRODUCER.into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: "Anomaly detection: images to scores and anomaly maps. docs/onnx.md of dualad describes it."
                .into(),
            graph: None,
            opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
            metadata_props: metadata::properties(self.detector, check)?,
        };
        let mut bytes = file.encode_to_vec();
        // Fields may come in any order. The graph, which may be large, is not copied to be a part of the message.
        prost::encoding::message::encode(proto::GRAPH, &self.graph, &mut bytes);
        Ok(bytes)
    }

    /// Runs the graph in onnxruntime, whose library this is, and compares scores and maps with the detector's: first one image alone,
    /// then several at a time. A process uses the library that it loads first.
    ///
    /// # Errors
    /// [`Error::Differs`] if a score or a map differs by more than [`TOLERANCE`]; [`Error::Library`], [`Error::Runtime`],
    /// [`Error::Dualad`].
    pub fn check(&self, library: &std::path::Path, images: &[CheckImage]) -> Result<Check> {
        let mut runtime = onnxruntime::OnnxRuntime::load(library, &self.to_bytes(None)?)?;
        check::check(self.detector, &mut runtime, images)
    }
}

/// Returns true if a file begins as those of this crate do.
pub fn is_export(start: &[u8]) -> bool {
    let producer = [&[0x08, proto::IR_VERSION as u8, 0x12, PRODUCER.len() as u8], PRODUCER.as_bytes()].concat();
    start.starts_with(&producer)
}
