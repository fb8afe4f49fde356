//! A network: its layers in the order of execution, and the values that are its stages' maps.

use crate::error::{Error, Result};
use crate::input::check_input_size;
use crate::network::op::{Op, Parameter, ValueShape};
use crate::stage::Stage;

/// A value in the network: the image, or a layer's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Value(usize);

impl Value {
    /// The image batch.
    pub(crate) const IMAGE: Self = Self(0);

    /// Returns the index in the list of values: the image, then every layer's output.
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// An operation and the values that it reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    /// The operation.
    pub(crate) op: Op,
    /// The value that the operation is applied to.
    pub(crate) input: Value,
    /// The value that is added, of the output's shape.
    pub(crate) residual: Option<Value>,
}

/// A backbone's layers in the order of execution, and the values that are its stages' maps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Network {
    name: &'static str,
    token_stride: usize,
    layers: Vec<Layer>,
    stages: Vec<(Stage, Value)>,
    head: Vec<Parameter>,
}

impl Network {
    /// Returns the backbone's name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the side of a token in pixels.
    pub(crate) fn token_stride(&self) -> usize {
        self.token_stride
    }

    /// Returns the layers. Layer `i` computes value `i + 1`.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the stages, first to last.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        self.stages.iter().map(|(stage, _)| *stage).collect()
    }

    /// Returns the value of each stage's map, in the order of [`Self::stages`].
    pub(crate) fn outputs(&self) -> impl ExactSizeIterator<Item = Value> + '_ {
        self.stages.iter().map(|(_, value)| *value)
    }

    /// Returns the index of the last layer that reads each value, or `usize::MAX` for the stages' maps.
    pub(crate) fn last_use(&self) -> Vec<usize> {
        let mut last_use = vec![0; self.layers.len() + 1];
        for (index, layer) in self.layers.iter().enumerate() {
            for value in std::iter::once(layer.input).chain(layer.residual) {
                last_use[value.index()] = index;
            }
        }
        for output in self.outputs() {
            last_use[output.index()] = usize::MAX;
        }
        last_use
    }

    /// Returns the tensors of every layer, then those of the classification head, which a weight file may hold and which is never run.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters: Vec<_> = self.layers.iter().flat_map(|layer| layer.op.parameters()).collect();
        parameters.extend(self.head.iter().cloned());
        parameters
    }

    /// Returns the number of trainable parameters of the whole network, head included.
    pub(crate) fn parameter_count(&self) -> usize {
        self.parameters().iter().filter(|p| p.trainable).map(Parameter::len).sum()
    }

    /// Returns the number of trainable parameters of the classifier, whose keys start with `fc.` or `classifier.`.
    pub(crate) fn classifier_parameter_count(&self) -> usize {
        let is_classifier = |p: &&Parameter| p.key.starts_with("fc.") || p.key.starts_with("classifier.");
        self.head.iter().filter(is_classifier).map(Parameter::len).sum()
    }

    /// Returns the part of the network that the given stages (numbers from 1, ascending) need.
    ///
    /// # Errors
    /// [`Error::Stages`] if no stage is given, the backbone does not have one of them, or they do not ascend.
    pub(crate) fn up_to(&self, stages: &[usize]) -> Result<Self> {
        let chosen = choose_stages(&self.stages(), stages, self.name)?;
        let outputs: Vec<_> = self.stages.iter().filter(|(stage, _)| chosen.contains(stage)).cloned().collect();
        let last = outputs.iter().map(|(_, value)| value.index()).max().unwrap_or(0);
        // Drop layers that no chosen stage needs, such as a ViT's token-to-map layers of other stages.
        let mut needed = vec![false; last + 1];
        for (_, value) in &outputs {
            needed[value.index()] = true;
        }
        for index in (1..=last).rev() {
            if needed[index] {
                let layer = &self.layers[index - 1];
                needed[layer.input.index()] = true;
                if let Some(residual) = layer.residual {
                    needed[residual.index()] = true;
                }
            }
        }
        let mut renumbered = vec![Value::IMAGE; last + 1];
        let mut layers = Vec::new();
        for index in 1..=last {
            if needed[index] {
                let layer = &self.layers[index - 1];
                layers.push(Layer {
                    op: layer.op.clone(),
                    input: renumbered[layer.input.index()],
                    residual: layer.residual.map(|value| renumbered[value.index()]),
                });
                renumbered[index] = Value(layers.len());
            }
        }
        let stages = outputs.into_iter().map(|(stage, value)| (stage, renumbered[value.index()])).collect();
        Ok(Self { name: self.name, token_stride: self.token_stride, layers, stages, head: Vec::new() })
    }

    /// Returns the shape of every value for an input of `height` x `width` pixels: the image first, then each layer's output.
    ///
    /// # Errors
    /// [`Error::InputSize`] if a side is not a positive multiple of [`Self::token_stride`].
    pub(crate) fn shapes(&self, height: usize, width: usize) -> Result<Vec<ValueShape>> {
        let token_stride = self.token_stride;
        check_input_size(height, width, token_stride)?;
        let mut shapes = vec![ValueShape::Map { channels: 3, rows: height, columns: width }];
        for layer in &self.layers {
            let shape = layer.op.output_shape(shapes[layer.input.index()]);
            shapes.push(shape.ok_or(Error::InputSize { height, width, token_stride })?);
        }
        Ok(shapes)
    }

    /// Returns the multiply-accumulates for one image of `height` x `width` pixels, at most `u64::MAX`.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub(crate) fn multiply_accumulates(&self, height: usize, width: usize) -> Result<u64> {
        let shapes = self.shapes(height, width)?;
        Ok(self
            .layers
            .iter()
            .zip(&shapes[1..])
            .map(|(layer, &output)| layer.op.multiply_accumulates(shapes[layer.input.index()], output))
            .fold(0, u64::saturating_add))
    }
}

/// Selects stages by their numbers.
pub(crate) fn choose_stages(available: &[Stage], wanted: &[usize], backbone: &'static str) -> Result<Vec<Stage>> {
    let ascending = wanted.windows(2).all(|pair| pair[0] < pair[1]);
    let chosen: Vec<Stage> = available.iter().filter(|stage| wanted.contains(&stage.index)).copied().collect();
    if wanted.is_empty() || !ascending || chosen.len() != wanted.len() {
        return Err(Error::Stages {
            backbone,
            wanted: wanted.to_vec(),
            available: available.iter().map(|stage| stage.index).collect(),
        });
    }
    Ok(chosen)
}

/// Builds a [`Network`] layer by layer.
#[derive(Debug)]
pub(crate) struct Builder(Network);

impl Builder {
    pub(crate) fn new(name: &'static str, token_stride: usize) -> Self {
        Self(Network { name, token_stride, layers: Vec::new(), stages: Vec::new(), head: Vec::new() })
    }

    pub(crate) fn push(&mut self, op: Op, input: Value, residual: Option<Value>) -> Value {
        self.0.layers.push(Layer { op, input, residual });
        Value(self.0.layers.len())
    }

    /// Declares a value to be the next stage's map.
    pub(crate) fn stage(&mut self, value: Value, channels: usize, stride: usize) {
        let index = self.0.stages.len() + 1;
        self.0.stages.push((Stage::new(index, channels, stride), value));
    }

    pub(crate) fn finish(mut self, head: Vec<Parameter>) -> Network {
        self.0.head = head;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use crate::backbone::Backbone;
    use crate::network::op::ValueShape;

    #[test]
    fn a_part_of_a_network_has_its_own_stages_only() {
        let part = Backbone::ResNet18.network().unwrap().up_to(&[2]).unwrap();
        let error = part.up_to(&[1]).unwrap_err();
        assert!(error.to_string().contains("has stages [2]"), "{error}");
    }

    #[test]
    fn positions_saturate() {
        let shape = ValueShape::Map { channels: 1, rows: usize::MAX, columns: 2 };
        assert_eq!(shape.positions(), usize::MAX);
    }

    #[test]
    fn shapes_of_enormous_images_do_not_panic() {
        for backbone in Backbone::ALL.into_iter().filter(|backbone| backbone.has_weights()) {
            for side in [14 << 20, 1 << 20, 1 << 40, 14 << 40, usize::MAX & !15, usize::MAX / 14 * 14] {
                let _ = backbone.network().unwrap().shapes(side, side);
            }
        }
    }
}
