//! The whole graph: an image to its score, its anomaly map and its category.

use dualad::Detector;
use dualad::parts::{BankParts, Parts, Upsampling};

use crate::backbone;
use crate::bank::{self, Category};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::network;
use crate::proto::{self, Dimension, FLOAT, INT64, Shape, TensorType, ValueInfo, ValueType};

/// The name of the input.
pub(crate) const IMAGE: &str = "image";
/// The name of the output of image scores.
pub(crate) const SCORE: &str = "score";
/// The name of the output of anomaly maps.
pub(crate) const MAP: &str = "anomaly_map";
/// The name of the output of categories.
pub(crate) const CATEGORY: &str = "category";

/// Writes the graph of a model.
///
/// # Errors
/// [`Error::Unsupported`], [`Error::TooLarge`], [`Error::Dualad`].
pub(crate) fn graph(detector: &Detector) -> Result<proto::Graph> {
    let parts = detector.parts()?;
    let Some(layers) = &parts.backbone else {
        let part = format!("the backbone {}", detector.config().backbone);
        return Err(Error::Unsupported { part, instead: "a pretrained backbone, such as resnet18" });
    };
    let mut graph = Graph::default();
    let image = normalized(&mut graph, detector);
    let maps = backbone::maps(&mut graph, layers, image);
    let network = detector.model().network();
    let errors = match &parts.errors {
        None => None,
        Some(_) => {
            let config = network.config();
            let tokens = backbone::tokens(&mut graph, &maps, &parts.stages, config.grid, config.token_stride);
            Some(network::errors(&mut graph, network, &tokens)?)
        }
    };
    let category = scores(&mut graph, &parts, &maps, errors);
    let [height, width] = parts.size;
    let mut outputs = vec![
        info(SCORE, FLOAT, &[], "The anomaly of each image. Larger is more anomalous."),
        info(MAP, FLOAT, &[height, width], "The anomaly of each pixel, on the scale of the score."),
    ];
    if let Category::Each(category) = category {
        // [batch, 1] to [batch]
        let axes = graph.integers(&[1]);
        let category = graph.node("Squeeze", &[&category, &axes], Vec::new());
        graph.output(CATEGORY, &category);
        outputs.push(info(CATEGORY, INT64, &[], "The number of each image's category in `dualad.categories`, from 0."));
    }
    let graph = graph.finish("dualad").map_err(|bytes| Error::TooLarge { bytes })?;
    let image = info(IMAGE, FLOAT, &[3, height, width], "RGB images, resized, with values from 0 to 255.");
    Ok(proto::Graph { input: vec![image], output: outputs, ..graph })
}

/// Returns the description of an input or output `[batch, ..]`.
fn info(name: &str, elem_type: i32, sides: &[usize], text: &str) -> ValueInfo {
    let batch = Dimension { dim_param: Some("batch".into()), dim_value: None };
    let side = |&side: &usize| Dimension { dim_value: Some(side as i64), dim_param: None };
    let shape = Shape { dim: std::iter::once(batch).chain(sides.iter().map(side)).collect() };
    let tensor_type = Some(TensorType { elem_type, shape: Some(shape) });
    ValueInfo { name: name.into(), value_type: Some(ValueType { tensor_type }), doc_string: text.into() }
}

/// Writes the normalization of pixels from 0 to 255.
fn normalized(graph: &mut Graph, detector: &Detector) -> Value {
    graph.begin("input");
    let input = &detector.config().input;
    let image = Graph::input(IMAGE);
    let levels = graph.number(255.0);
    let mean = graph.floats(&[1, 3, 1, 1], &input.mean);
    let std = graph.floats(&[1, 3, 1, 1], &input.standard_deviation);
    let unit = graph.div(&image, &levels);
    let centered = graph.sub(&unit, &mean);
    graph.div(&centered, &std)
}

/// Writes the scores and the anomaly maps. Returns the images' categories.
fn scores(graph: &mut Graph, parts: &Parts, maps: &[Value], errors: Option<Value>) -> Category {
    let mut sums = Sums { pixels: None, windows: None };
    let category = match &parts.bank {
        None => {
            graph.begin("score");
            if let (Some(errors), Some(upsampling)) = (&errors, &parts.errors) {
                sums.add(graph, upsampling, errors);
            }
            Category::Only(0)
        }
        Some(bank) => {
            let only = bank.scales.first().map_or(Some(0), bank::only_category);
            let scales: Vec<_> = bank
                .scales
                .iter()
                .map(|scale| (scale, bank::tokens(graph, scale, only), bank::queries(graph, scale, maps)))
                .collect();
            let category = match (only, scales.first()) {
                (None, Some((scale, tokens, queries))) => bank::category(graph, &bank.rule, scale, tokens, queries),
                (only, _) => Category::Only(only.unwrap_or(0)),
            };
            for (scale, tokens, queries) in &scales {
                let distances = bank::distances(graph, scale, tokens, queries, &category);
                graph.begin("score");
                let distances = weighted(graph, &distances, &scale.factors, &category);
                sums.add(graph, &scale.upsampling, &distances);
            }
            if let (Some(errors), Some(upsampling)) = (&errors, &parts.errors) {
                graph.begin("score");
                let BankParts { error_factors, .. } = bank;
                let errors = weighted(graph, errors, error_factors, &category);
                sums.add(graph, upsampling, &errors);
            }
            category
        }
    };
    if let Sums { pixels: Some(pixels), windows: Some(windows) } = sums {
        let score = graph.reduce("ReduceMax", &windows, &[1, 2], false);
        graph.output(SCORE, &score);
        graph.output(MAP, &pixels);
    }
    category
}

/// The sums of the terms of a score.
struct Sums {
    pixels: Option<Value>,
    windows: Option<Value>,
}

impl Sums {
    /// Adds a term `[batch, rows, columns]`.
    fn add(&mut self, graph: &mut Graph, upsampling: &Upsampling, term: &Value) {
        let mut added = |sum: &mut Option<Value>, [left, right]: &[dualad::parts::Matrix; 2]| {
            let values = bank::apply(graph, [left, right], term);
            *sum = Some(match sum.take() {
                Some(sum) => graph.add(&sum, &values),
                None => values,
            });
        };
        added(&mut self.pixels, &upsampling.pixels);
        added(&mut self.windows, &upsampling.windows);
    }
}

/// Multiplies a term `[batch, rows, columns]` by the factor of each image's category.
fn weighted(graph: &mut Graph, term: &Value, factors: &[f32], category: &Category) -> Value {
    match category {
        Category::Only(category) => graph.scale(term, factors.get(*category).copied().unwrap_or(1.0)),
        Category::Each(category) => {
            let factors = graph.floats(&[factors.len()], factors);
            let factors = graph.gather(&factors, category, 0);
            let factors = graph.unsqueeze(&factors, &[2]);
            graph.mul(term, &factors)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dualad::backbones::{Backbone, Weights};
    use dualad::candle_core::Device;
    use dualad::{Branches, DualAd, DualAdConfig, Model, Random, Variant};

    use super::*;

    /// Returns a detector with a small network that was not trained.
    fn detector(backbone: Backbone, change: impl Fn(DualAdConfig) -> DualAdConfig) -> Detector {
        let config = DualAdConfig::paper(Variant::Heterogeneous, backbone)
            .with_grid([2, 3])
            .with_neighbor_mask(Some([1, 1]))
            .with_levels(2)
            .with_narrow_width(8)
            .with_chunk_width(8)
            .with_heads(2)
            .with_ffn_width(8)
            .with_encoder_layers(1)
            .with_memory_slots(4);
        let network = DualAd::new(change(config), &Random::new(0), &Device::Cpu).unwrap();
        let stages: Vec<usize> = backbone.default_stages().iter().map(|stage| stage.index).collect();
        let weights = if backbone.has_weights() { Weights::synthetic(1) } else { Weights::default() };
        let extractor = backbone.extractor().stages(&stages).weights(weights.clone()).build().unwrap();
        let model = Model::new(network, backbone, &stages, extractor.provenance().clone());
        Detector::builder().weights(weights).from_model(model).unwrap()
    }

    /// Returns the operators of a graph, after checks of its order and names.
    fn operators(graph: &proto::Graph) -> BTreeSet<String> {
        let mut known: BTreeSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        for constant in &graph.initializer {
            assert!(known.insert(&constant.name), "{} is there twice", constant.name);
            let elements: i64 = constant.dims.iter().product();
            let width = if constant.data_type == INT64 { 8 } else { 4 };
            assert_eq!(constant.raw_data.len() as i64, elements * width, "{}", constant.name);
        }
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{} reads {input} before it is written", node.name);
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} is written twice");
            }
        }
        assert!(graph.output.iter().all(|output| known.contains(output.name.as_str())));
        graph.node.iter().map(|node| node.op_type.clone()).collect()
    }

    #[test]
    fn every_value_is_written_before_it_is_read() {
        for (backbone, of_its_own) in [
            (Backbone::ResNet18, "MaxPool"),
            (Backbone::EfficientNetB4, "GlobalAveragePool"),
            (Backbone::VitSmallDino, "Erf"),
            (Backbone::DinoV3Small, "Expand"),
        ] {
            for variant in [Variant::Heterogeneous, Variant::Homogeneous] {
                let slots = if variant == Variant::Homogeneous { 0 } else { 4 };
                for branches in [Branches::Coupled, Branches::WideShallow, Branches::NarrowDeep] {
                    let detector = detector(backbone, |config| {
                        config
                            .with_variant(variant)
                            .with_branches(branches)
                            .with_memory_slots(slots)
                            .with_chunk_width(12)
                    });
                    let graph = graph(&detector).unwrap();
                    let operators = operators(&graph);
                    assert!(operators.contains(of_its_own), "{operators:?}");
                    assert_eq!(operators.contains("Where"), slots > 0, "{operators:?}");
                    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
                    assert_eq!(names, [SCORE, MAP]);
                }
            }
        }
    }

    #[test]
    fn the_input_has_the_size_of_the_model_and_any_batch() {
        let graph = graph(&detector(Backbone::DinoV2Small, |config| config)).unwrap();
        let sides = |info: &ValueInfo| {
            let tensor = info.value_type.clone().unwrap().tensor_type.unwrap();
            let side = |side: Dimension| side.dim_param.or(side.dim_value.map(|side| side.to_string())).unwrap();
            tensor.shape.unwrap().dim.into_iter().map(side).collect::<Vec<_>>()
        };
        assert_eq!(sides(&graph.input[0]), ["batch", "3", "28", "42"]);
        assert_eq!(sides(&graph.output[1]), ["batch", "28", "42"]);
    }

    #[test]
    fn a_backbone_without_layers_is_named() {
        let error = graph(&detector(Backbone::FilterBank, |config| config)).unwrap_err().to_string();
        assert!(error.contains("filter-bank"), "{error}");
    }
}
